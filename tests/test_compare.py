"""Comparing two sets of flow records: each planted change is found, alone, and nothing where nothing differs."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import flowgauge as fg
from flowgauge.comparing.drift import SMALLEST, find_drift
from flowgauge.comparing.matching import Times, match
from flowgauge.comparing.result import LabelChange, TypeChange

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "captures"
LABEL = "{app}_{action}_*.pcap"
ALL_GROUPS = "size,iat,flags,tcp,ip,splt,activity,bulk,payload,distribution,raw"
SECOND = 1_000_000_000
FOUND = (
    *("only_a", "only_b", "splits", "merges", "swapped", "offset_s", "columns", "labels"),
    *("only_in_a", "only_in_b", "types", "drift"),
)


@pytest.fixture(scope="module")
def flows() -> pa.Table:
    """The records of the example captures, with every group that has no knowledge of its own."""
    return fg.read(EXAMPLES, features=ALL_GROUPS, label=LABEL).combine_chunks()


def found_in(comparison: fg.Comparison) -> set[str]:
    """What kinds of differences there are."""
    kinds = set()
    for kind in FOUND:
        value = getattr(comparison, kind)
        if getattr(value, "number", value):
            kinds.add(kind)
    assert comparison.same == (not kinds)
    return kinds


def with_column(table: pa.Table, name: str, values: Any, kind: pa.DataType | None = None) -> pa.Table:
    """The table with other values in a column, of its own type or another."""
    field = table.schema.field(name)
    field = field if kind is None else field.with_type(kind)
    if pa.types.is_timestamp(field.type):
        values = pa.array(np.asarray(values, np.int64))
    array = pa.array(values, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)
    place = table.schema.get_field_index(name)
    plain = field.with_type(array.type)
    return table.set_column(place, plain, array)


def changed(table: pa.Table, name: str, row: int, change: Callable[[Any], Any]) -> pa.Table:
    """The table with one value changed."""
    values = (
        ns(table, name).tolist() if pa.types.is_timestamp(table.schema.field(name).type) else table[name].to_pylist()
    )
    values[row] = change(values[row])
    return with_column(table, name, values)


def ns(table: pa.Table, name: str) -> Any:
    """A column of times as integers."""
    return table[name].cast(pa.int64()).to_numpy()


class TestNothing:
    """Identical runs differ in nothing."""

    def test_the_same_table(self, flows: pa.Table) -> None:
        """A table is itself, in every pair and column."""
        comparison = fg.compare(flows, flows)
        assert found_in(comparison) == set()
        assert (comparison.matched, comparison.compared) == (len(flows), flows.num_columns)
        assert not comparison.reordered

    @pytest.mark.parametrize("seed", range(3))
    def test_another_order(self, flows: pa.Table, seed: int) -> None:
        """The order of rows and columns is no difference; that of rows is told."""
        rng = np.random.default_rng(seed)
        other = flows.take(pa.array(rng.permutation(len(flows))))
        other = other.select([str(name) for name in rng.permutation(flows.column_names)])
        comparison = fg.compare(flows, other)
        assert found_in(comparison) == set() and comparison.matched == len(flows) and comparison.reordered

    @pytest.mark.slow
    def test_other_formats(self, tmp_path: Path) -> None:
        """Parquet, Arrow, CSV and JSON Lines, also compressed, hold the same records, whatever they lack of types."""
        paths = [tmp_path / f"flows.{form}" for form in ("parquet", "arrow", "csv", "csv.gz", "jsonl", "jsonl.zst")]
        for path in paths:
            fg.extract(EXAMPLES, path, features=ALL_GROUPS, label=LABEL)
        for a, b in itertools.pairwise([*paths, paths[0]]):
            comparison = fg.compare(a, b)
            assert found_in(comparison) == set(), (a.name, b.name)
            assert comparison.matched == comparison.rows[0] == comparison.rows[1] == 80

    @pytest.mark.slow
    @pytest.mark.parametrize("schema", ["basic", "zeek", "nfstream", "cic", "cic2017"])
    def test_tables_of_other_schemas(self, tmp_path: Path, schema: str) -> None:
        """Tables with the columns of other tools are the same as CSV and as Parquet, and matched to the last record."""
        for form in ("csv", "parquet"):
            fg.extract(EXAMPLES, tmp_path / f"flows.{form}", schema=schema)
        comparison = fg.compare(tmp_path / "flows.csv", tmp_path / "flows.parquet")
        assert found_in(comparison) == set() and comparison.matched == comparison.rows[0]

    @pytest.mark.slow
    def test_logs_of_zeek(self, tmp_path: Path) -> None:
        """A log of Zeek rounds times to microseconds, which is no difference."""
        fg.extract(EXAMPLES, tmp_path / "conn.log", schema="zeek", format="zeek")
        fg.extract(EXAMPLES, tmp_path / "conn.parquet", schema="zeek")
        assert found_in(fg.compare(tmp_path / "conn.log", tmp_path / "conn.parquet")) == set()

    def test_labels_that_look_like_numbers(self, tmp_path: Path) -> None:
        """Numbers of files keep their zeros in CSV, and numbers of own columns are numbers there."""
        table = fg.read(EXAMPLES / "voip_call_01.pcap", label="{app}_{action}_{n}.pcap")
        table = table.append_column("own", pa.array(np.arange(len(table)) / 7))
        fg.write(table, tmp_path / "flows.csv")
        fg.write(table, tmp_path / "flows.parquet")
        assert table["n"][0].as_py() == "01"
        assert found_in(fg.compare(tmp_path / "flows.csv", tmp_path / "flows.parquet")) == set()

    def test_json_leaves_out_what_is_null(self, tmp_path: Path) -> None:
        """Columns of nothing but null are no difference where a format leaves them out."""
        for form in ("jsonl", "parquet"):
            fg.extract(EXAMPLES / "voip_call_01.pcap", tmp_path / f"conn.{form}", schema="zeek")
        assert found_in(fg.compare(tmp_path / "conn.jsonl", tmp_path / "conn.parquet")) == set()

    def test_tables_without_ends(self, flows: pa.Table) -> None:
        """Rows that nothing tells apart are compared by their place, where both sides have as many."""
        features = fg.features_of(flows)
        assert found_in(fg.compare(features, features)) == set()
        (column,) = fg.compare(features, changed(features, "packets", 3, lambda value: value + 1)).columns
        assert column.column == "packets" and column.examples[0].record == "row 4"
        assert found_in(fg.compare(features, features.slice(1))) == {"only_a", "only_b"}

    def test_nothing_in_both(self, flows: pa.Table) -> None:
        """Two tables without rows are the same."""
        assert found_in(fg.compare(flows.slice(0, 0), flows.slice(0, 0))) == set()


ROW = 5


class TestPlanted:
    """One change each, as small as it can be: it is found, and nothing else."""

    def test_a_missing_record(self, flows: pa.Table) -> None:
        """A record that b lacks is only in a."""
        comparison = fg.compare(flows, flows.slice(1))
        assert found_in(comparison) == {"only_a"}
        assert comparison.only_a.number == 1 and flows["client_ip"][0].as_py() in comparison.only_a.examples[0]

    def test_one_more_record(self, flows: pa.Table) -> None:
        """A record that a lacks, here a copy of one, is only in b."""
        comparison = fg.compare(flows, pa.concat_tables([flows, flows.slice(ROW, 1)]))
        assert found_in(comparison) == {"only_b"} and comparison.only_b.number == 1

    @pytest.mark.parametrize("name", ["frame_bytes", "up_packets", "flow_id", "part", "protocol"])
    def test_an_integer(self, flows: pa.Table, name: str) -> None:
        """One integer that is larger by 1."""
        comparison = fg.compare(flows, changed(flows, name, ROW, lambda value: value + 1))
        assert found_in(comparison) == {"columns"}
        (column,) = comparison.columns
        before = flows[name][ROW].as_py()
        assert (column.column, column.differ, column.compared) == (name, 1, len(flows))
        assert [(example.a, example.b) for example in column.examples] == [(before, before + 1)]

    def test_the_largest_three_are_shown(self, flows: pa.Table) -> None:
        """Of several differences the examples are the three largest, by size."""
        packets = flows["packets"].to_numpy() + np.arange(len(flows))
        (column,) = fg.compare(flows, with_column(flows, "packets", packets)).columns
        assert column.differ == len(flows) - 1
        assert [example.b - example.a for example in column.examples] == [79, 78, 77]

    def test_a_float_beyond_tolerance(self, flows: pa.Table) -> None:
        """A float differs beyond the tolerance, and does not within."""
        row = int(np.argmax(flows["duration_s"].to_numpy()))
        for change, tolerance, kinds in (
            (1 + 2e-9, 1e-9, {"columns"}),
            (1 + 0.5e-9, 1e-9, set()),
            (1.01, 0.02, set()),
            (1.03, 0.02, {"columns"}),
        ):
            other = changed(flows, "duration_s", row, lambda value, change=change: value * change)
            assert found_in(fg.compare(flows, other, tolerance=tolerance)) == kinds, change

    @pytest.mark.parametrize("name", ["vlan", "tcp_state", "iat_mean_s", "up_payload_head", "splt_ip_len"])
    def test_a_value_in_place_of_null(self, flows: pa.Table, name: str) -> None:
        """A value where there is none on the other side, in columns of every type."""
        values = flows[name].to_pylist()
        row = next((row for row, value in enumerate(values) if value is None), ROW)
        instead = {"vlan": 7, "tcp_state": "SF", "iat_mean_s": 0.5, "up_payload_head": b"\0"}
        values[row] = instead.get(name)
        comparison = fg.compare(flows, with_column(flows, name, values))
        assert [(column.column, column.differ) for column in comparison.columns] == [(name, 1)]
        assert found_in(comparison) == {"columns"}

    def test_a_value_in_a_list(self, flows: pa.Table) -> None:
        """One packet of one sequence."""
        other = changed(flows, "splt_payload_len", ROW, lambda values: [*values[:-1], values[-1] + 1])
        comparison = fg.compare(flows, other)
        assert found_in(comparison) == {"columns"} and comparison.columns[0].differ == 1

    def test_a_text(self, flows: pa.Table) -> None:
        """One text that is another."""
        comparison = fg.compare(flows, changed(flows, "source", ROW, lambda text: f"{text}x"))
        assert found_in(comparison) == {"columns"} and comparison.columns[0].differ == 1

    def test_exchanged_ends(self, flows: pa.Table) -> None:
        """One record with client and server, and all that is theirs, exchanged."""
        other = flows
        for name in flows.column_names:
            for one, two in (("client_", "server_"), ("up_", "down_")):
                twin = two + name.removeprefix(one)
                if name.startswith(one) and twin in flows.column_names:
                    mine, theirs = flows[name].to_pylist(), flows[twin].to_pylist()
                    mine[ROW], theirs[ROW] = theirs[ROW], mine[ROW]
                    other = with_column(with_column(other, name, mine), twin, theirs)
        comparison = fg.compare(flows, other)
        assert found_in(comparison) == {"swapped"} and comparison.swapped.number == 1

    @pytest.mark.parametrize("back", [False, True])
    def test_a_split_record(self, flows: pa.Table, back: bool) -> None:
        """One record here, three there: a split, and the other way round a merge; no pair, no columns."""
        row = int(np.argmax(flows["packets"].to_numpy()))
        start, end = (ns(flows, name)[row] for name in ("start", "end"))
        packets, step = flows["packets"][row].as_py(), (end - start) // 3
        pieces = pa.concat_tables([flows.slice(row, 1)] * 3)
        pieces = with_column(pieces, "start", [start + step * place for place in range(3)])
        pieces = with_column(pieces, "end", [start + step * (place + 1) - 1 for place in range(3)])
        pieces = with_column(pieces, "packets", [packets // 3, packets // 3, packets - 2 * (packets // 3)])
        split = pa.concat_tables([flows.slice(0, row), pieces, flows.slice(row + 1)])
        comparison = fg.compare(split, flows) if back else fg.compare(flows, split)
        apart = comparison.merges if back else comparison.splits
        assert found_in(comparison) == {"merges" if back else "splits"}
        assert apart.number == 1 and comparison.matched == len(flows) - 1
        assert apart.examples[0].endswith("1 record in b, 3 in a" if back else "1 record in a, 3 in b")

    def test_a_record_of_the_same_ends_is_no_piece(self, flows: pa.Table) -> None:
        """A record that does not lie within another's time, or has more packets than that, is one of its own."""
        row = int(np.argmax(flows["packets"].to_numpy()))
        start, end = (int(ns(flows, name)[row]) for name in ("start", "end"))
        for begin, packets in ((end + 1, 1), (start + 1, flows["packets"][row].as_py())):
            more = with_column(with_column(flows.slice(row, 1), "start", [begin]), "end", [max(begin, end)])
            other = pa.concat_tables([flows, with_column(more, "packets", [packets])])
            assert found_in(fg.compare(flows, other)) == {"only_b"}

    @pytest.mark.parametrize("offset", [1, 1_000_000, -5 * SECOND, 3600 * SECOND, 400 * 86_400 * SECOND])
    def test_another_clock(self, flows: pa.Table, offset: int) -> None:
        """All times by the same amount later or earlier: the clock is told, and nothing else differs."""
        other = flows
        for name in ("start", "end"):
            other = with_column(other, name, ns(flows, name) + offset)
        comparison = fg.compare(flows, other)
        assert found_in(comparison) == {"offset_s"} and comparison.offset_s == offset / SECOND

    def test_one_time(self, flows: pa.Table) -> None:
        """One start that is 1 ns later is a difference of that column, and no clock's."""
        comparison = fg.compare(flows, changed(flows, "start", ROW, lambda time: time + 1))
        assert found_in(comparison) == {"columns"} and comparison.columns[0].column == "start"

    def test_a_label(self, flows: pa.Table) -> None:
        """One record with another label, and what it became."""
        before = flows["app"][ROW].as_py()
        comparison = fg.compare(flows, changed(flows, "app", ROW, lambda text: "mail"))
        assert found_in(comparison) == {"labels"}
        assert comparison.labels == (LabelChange("app", before, "mail", 1),)

    def test_a_missing_column(self, flows: pa.Table) -> None:
        """A column that one side lacks."""
        comparison = fg.compare(flows, flows.drop_columns(["splt_flags"]))
        assert found_in(comparison) == {"only_in_a"} and comparison.only_in_a == ("splt_flags",)
        for name in ("app", "client_ip", "community_id", "end"):
            assert found_in(fg.compare(flows.drop_columns([name]), flows)) == {"only_in_b"}, name

    def test_a_type(self, flows: pa.Table) -> None:
        """A column that holds the same numbers as another type."""
        comparison = fg.compare(flows, with_column(flows, "packets", flows["packets"].to_pylist(), pa.float64()))
        assert found_in(comparison) == {"types"}
        assert comparison.types == (TypeChange("packets", "int64", "double"),)

    def test_options_are_told(self) -> None:
        """Options and versions that differ are told where both sides say what made them."""
        a, b = (fg.read(EXAMPLES, active_timeout=seconds) for seconds in (1800, 3600))
        comparison = fg.compare(a, b)
        assert found_in(comparison) == set() and comparison.options == {"active_timeout": (1800.0, 3600.0)}


def another_day(rows: int, seed: int, grown: float = 0.0) -> pa.Table:
    """Records of no ends that another seed has: sizes and states by chance, a share of the sizes larger."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(6, 2, rows).astype(np.int64)
    sizes[: round(grown * rows)] += 1_000_000
    columns = {
        "client_ip": [f"10.{seed % 256}.{number >> 8}.{number & 255}" for number in range(rows)],
        "client_port": pa.array(rng.integers(1024, 65536, rows), pa.uint16()),
        "server_ip": ["192.0.2.1"] * rows,
        "server_port": pa.array([443] * rows, pa.uint16()),
        "protocol": pa.array([6] * rows, pa.uint8()),
        "start": pa.array(rng.integers(0, 10**15, rows), pa.timestamp("ns", "UTC")),
        "frame_bytes": sizes,
        "duration_s": pa.array(rng.exponential(3, rows), mask=rng.random(rows) < 0.2),
        "tcp_state": rng.choice(["SF", "S0", "RSTO"], rows, p=[0.7, 0.2, 0.1]).tolist(),
        "syn_packets": rng.poisson(1, rows),
    }
    return pa.table(columns)


class TestDrift:
    """Distributions, where no record is matched."""

    @pytest.mark.parametrize("rows", [10, 100, 3000])
    @pytest.mark.parametrize("seed", range(0, 40, 2))
    def test_equal_distributions_have_none(self, rows: int, seed: int) -> None:
        """What differs by chance alone is no drift, of few records or many."""
        comparison = fg.compare(another_day(rows, seed), another_day(rows, seed + 1))
        assert found_in(comparison) == {"only_a", "only_b"}

    def test_a_share_of_larger_values(self) -> None:
        """A seventh of the values far away is a drift of that column; of a twentieth, nothing is said."""
        one, two = another_day(3000, 0), another_day(3000, 1, grown=1 / 7)
        (drift,) = fg.compare(one, two).drift
        assert drift.column == "frame_bytes" and drift.distance == pytest.approx(1 / 7, abs=0.03)
        assert fg.compare(one, another_day(3000, 1, grown=1 / 20)).drift == ()

    def test_nulls_and_categories(self) -> None:
        """More nulls are a drift of numbers, and other shares of a category one of texts."""
        numbers = pa.array(np.arange(2000.0))
        fewer = pa.array(np.arange(2000.0), mask=np.arange(2000) % 5 == 0)
        drift = find_drift("x", numbers, fewer, 10)
        assert drift is not None and drift.distance == pytest.approx(0.2, abs=0.01)
        texts = pa.array(["SF"] * 1500 + ["S0"] * 500), pa.array(["SF"] * 1200 + ["S0"] * 800)
        drift = find_drift("state", *texts, 10)
        assert drift is not None and drift[1:] == (pytest.approx(0.15), "S0 25%", "S0 40%")

    def test_the_smallest(self) -> None:
        """A distance that is not above the smallest one is none, however many values say so."""
        one = pa.array(np.zeros(200_000))
        for share, told in ((SMALLEST - 0.001, False), (SMALLEST + 0.001, True)):
            other = pa.array((np.arange(200_000) < share * 200_000).astype(np.float64))
            assert (find_drift("x", one, other, 100) is not None) == told


OTHER_MEANING = {"duration_s", "up_payload_bytes", "down_payload_bytes", "tcp_state", "tcp_history"}
"""Columns that Zeek defines otherwise: without the time after a close, by sequence numbers, of UDP too."""


@pytest.mark.slow
class TestOtherTools:
    """Tables of other tools against native ones."""

    @pytest.mark.parametrize("schema", ["zeek", "nfstream", "cic", "cic2017"])
    def test_the_same_records(self, tmp_path: Path, schema: str) -> None:
        """What other schemas have of the same records is found to be the same, in their own units."""
        fg.extract(EXAMPLES, tmp_path / "theirs.csv", schema=schema)
        comparison = fg.compare(fg.read(EXAMPLES), tmp_path / "theirs.csv")
        assert {column.column for column in comparison.columns} == (OTHER_MEANING if schema == "zeek" else set())
        assert comparison.offset_s == 0
        assert comparison.matched >= 78 and comparison.compared >= 8

    def test_a_difference_in_another_unit(self, tmp_path: Path) -> None:
        """A duration of NFStream, in ms, is compared in seconds."""
        table = fg.read(EXAMPLES, schema="nfstream")
        row = int(np.argmax(table["bidirectional_duration_ms"].to_numpy()))
        theirs = changed(table, "bidirectional_duration_ms", row, lambda ms: ms + 10)
        (column,) = fg.compare(fg.read(EXAMPLES), theirs).columns
        (example,) = column.examples
        assert column.column == "duration_s" and example.b - example.a == pytest.approx(0.01, abs=0.002)

    def test_no_column_of_both(self, flows: pa.Table) -> None:
        """Tables without a column of the same meaning are an error, and so is what is no table."""
        with pytest.raises(fg.ConfigError, match="no column of the same meaning"):
            fg.compare(flows, pa.table({"other": [1]}))
        with pytest.raises(fg.ConfigError, match="no table by its extension"):
            fg.compare(flows, "flows.xlsx")
        with pytest.raises(fg.ConfigError, match=r"cannot read the table none\.csv: No such file"):
            fg.compare(flows, "none.csv")
        with pytest.raises(fg.ConfigError, match="not 7"):
            fg.compare(flows, 7)
        with pytest.raises(fg.ConfigError, match="tolerance"):
            fg.compare(flows, flows, tolerance=-1)


def times(*records: tuple[int, int, int]) -> Times:
    """Key, start and end of records."""
    return Times(*np.array(records, np.int64).reshape(-1, 3).T)


class TestMatching:
    """Which record is which."""

    @pytest.mark.parametrize(
        ("a", "b", "pairs"),
        [
            ([(1, 0, 5)], [(2, 0, 5)], []),
            ([(1, 0, 5), (1, 20, 25)], [(1, 19, 25), (1, 1, 5)], [(0, 1), (1, 0)]),
            ([(1, 0, 0), (1, 4, 4)], [(1, 3, 3)], [(1, 0)]),
            ([(1, 0, 0)], [(1, 11, 11)], []),
            ([(1, 0, 50)], [(1, 30, 60)], [(0, 0)]),
            ([(1, 0, 3), (1, 0, 9)], [(1, 0, 9), (1, 0, 3)], [(0, 1), (1, 0)]),
        ],
        ids=["other key", "nearest", "nearer of two", "too far", "overlap", "same start"],
    )
    def test_pairs(self, a: list[Any], b: list[Any], pairs: list[tuple[int, int]]) -> None:
        """Records of one key are paired by time, one to one, up to 10 ns apart or where they overlap."""
        found = match(times(*a), times(*b), 10)
        assert sorted(zip(found.a.tolist(), found.b.tolist(), strict=True)) == pairs
        assert len(found.only_a) == len(a) - len(pairs) and len(found.only_b) == len(b) - len(pairs)

    @pytest.mark.parametrize("seed", range(20))
    def test_nothing_is_lost(self, seed: int) -> None:
        """Every record is in a pair, alone or a piece, exactly once, and pairs have one key."""
        rng = np.random.default_rng(seed)
        sides = []
        for _ in range(2):
            count = int(rng.integers(0, 200))
            start = rng.integers(0, 300, count)
            sides.append(Times(rng.integers(0, 12, count), start, start + rng.integers(0, 30, count)))
        a, b = sides
        found = match(a, b, 3)
        for rows, alone, pieces, side in (
            (found.a, found.only_a, found.merges, a),
            (found.b, found.only_b, found.splits, b),
        ):
            assert sorted([*rows, *alone, *pieces[:, 1]]) == list(range(len(side.key)))
        assert (a.key[found.a] == b.key[found.b]).all()


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowgauge", "compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8")


class TestCommand:
    """`flowgauge compare`."""

    @pytest.fixture
    def paths(self, tmp_path: Path, flows: pa.Table) -> tuple[Path, Path]:
        fg.write(flows, tmp_path / "a.parquet")
        fg.write(changed(flows.slice(1), "packets", ROW, lambda value: value + 1), tmp_path / "b.parquet")
        return tmp_path / "a.parquet", tmp_path / "b.parquet"

    def test_exit_codes_are_those_of_diff(self, paths: tuple[Path, Path]) -> None:
        """0 where nothing differs, 1 where something does, 2 for trouble."""
        same, differs, trouble = run(paths[0], paths[0]), run(*paths), run(paths[0], "none.parquet")
        assert (same.returncode, differs.returncode, trouble.returncode) == (0, 1, 2)
        assert same.stdout.endswith("nothing differs\n") and differs.stdout.endswith("they differ\n")
        assert trouble.stderr == "flowgauge: cannot read the table none.parquet: No such file or directory\n"

    def test_what_is_shown(self, paths: tuple[Path, Path], flows: pa.Table) -> None:
        """The counts, the record that is missing and the column that differs, with its values."""
        lines = [line.split() for line in run(*paths).stdout.splitlines()]
        before = flows["packets"][ROW + 1].as_py()
        assert ["matched", "79", "compared", "in", str(flows.num_columns), "columns"] in lines
        assert next(line for line in lines if line[:4] == ["only", "in", "a", "1"])
        (shown,) = [line for line in lines if line[:1] == ["packets"]]
        assert shown[1:6] == ["1", "of", "79", str(before), str(before + 1)]

    def test_json(self, paths: tuple[Path, Path]) -> None:
        """With --json all of it is one object."""
        found = json.loads(run(*paths, "--json").stdout)
        assert found == fg.compare(*map(str, paths)).as_dict()
        assert found["same"] is False and found["only_a"]["number"] == 1 and found["columns"][0]["differ"] == 1
