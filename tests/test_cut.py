"""Cutting packets out by records: exactly those that count in them, and metering them again gives the same rows."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowgauge as fg
import oracle
import strategies
from captures import COMPRESSORS, enhanced, interface, section, write_pcap
from flowgauge.cutting.packets import file_names
from flowgauge.labels.inside import to_comment
from meters import by_oracle
from packets import MAC_A, SECOND, START, A, B, Sent, capture, eth, fragment4, ip4, sent, tcp, udp
from reading import read_rows
from strategies import Frames, examples

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "captures"
OTHER_PLACE = ("flow_id", "first_packet", "source")
"""Columns that say where packets are, which is elsewhere once they are cut."""

Key = tuple[int, int]


def read(content: bytes, folder: Path, name: str = "a.pcapng", **options: Any) -> pa.Table:
    """The records of a capture that is put into a file."""
    (folder / name).write_bytes(content)
    return fg.read(folder / name, **{name: "off" if value is None else value for name, value in options.items()})


def packets_of(content: bytes) -> list[tuple[Any, ...]]:
    """Time, bytes, length on the wire and link of every packet, as it is stored."""
    rows, _ = read_rows(content, timed=False)
    return [(row.time, row.data, row.frame_len, row.link) for row in rows]


def cut_packets(table: pa.Table, **options: Any) -> list[tuple[Any, ...]]:
    """The packets of the records of a table."""
    output = io.BytesIO()
    fg.cut(table, output, **options)
    return packets_of(output.getvalue())


def frames_of_records(content: bytes, options: dict[str, Any]) -> dict[Key, set[int]]:
    """Of each record, by flow_id and part, the numbers of its frames: as the oracle has it."""
    found: dict[Key, set[int]] = defaultdict(set)
    count = oracle.FlowTable._count

    def noting(table: oracle.FlowTable, flow: oracle.Flow, packet: oracle.Packet) -> bool:
        counted = count(table, flow, packet)
        assert flow.record is not None
        found[flow.record.flow_id, flow.record.part].add(packet.number)
        return counted

    with mock.patch.object(oracle.FlowTable, "_count", noting):
        by_oracle(content, **options)
    return found


def assert_exact(frames: Frames, options: dict[str, Any], folder: Path, chance: random.Random) -> None:
    """Cut random rows, and all of the others: the oracle says what is in both."""
    content = capture(frames)
    expected = frames_of_records(content, options)
    table = read(content, folder, features="core", **options)
    assert set(zip(table["flow_id"].to_pylist(), table["part"].to_pylist(), strict=True)) == set(expected)
    stored = packets_of(content)
    chosen = [chance.random() < 0.5 for _ in range(len(table))]
    for mask in (chosen, [not yes for yes in chosen]):
        rows = table.filter(pa.array(mask, pa.bool_()))
        if len(rows):
            keys = zip(rows["flow_id"].to_pylist(), rows["part"].to_pylist(), strict=True)
            numbers = sorted(set().union(*(expected[key] for key in keys)))
            assert cut_packets(rows) == [stored[number - 1] for number in numbers]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cut")


CONVERSATIONS = (
    strategies.connections(),
    strategies.exchanges(),
    strategies.fragments(),
    strategies.clocks(),
    strategies.tunnelled_conversations(),
)


@examples(60)
@given(
    frames=st.one_of(CONVERSATIONS), options=strategies.options(), chance=st.randoms(use_true_random=False)
)
def test_what_is_cut_is_what_counts(
    folder: Path, frames: Frames, options: dict[str, Any], chance: random.Random
) -> None:
    """The packets of any rows are those that the oracle puts into these records, as they were captured."""
    assert_exact(frames, options, folder, chance)


@examples(30)
@given(
    frames=strategies.crowds(), options=strategies.options(limit=True), chance=st.randoms(use_true_random=False)
)
def test_evicted_flows_are_kept_apart(
    folder: Path, frames: Frames, options: dict[str, Any], chance: random.Random
) -> None:
    """The same holds where flows are evicted: which ones is found out by metering all packets again."""
    assert_exact(frames, options, folder, chance)


def plain(table: pa.Table, *left_out: str) -> list[str]:
    """The rows as texts, in order of these: without where their packets are."""
    kept = [name for name in table.column_names if name not in (*OTHER_PLACE, *left_out)]
    return sorted(json.dumps(row, default=str) for row in table.select(kept).to_pylist())


def ended_by_silence(table: pa.Table) -> pa.Table:
    """The rows with one word for the end of a flow that nothing follows: what other flows' packets say of the time that
    it was silent is not in the cut."""
    place = table.schema.get_field_index("end_reason")
    reasons = table["end_reason"].cast(pa.string())
    same = pc.if_else(pc.equal(reasons, "eof"), "idle", reasons)
    return table.set_column(place, "end_reason", same)


WITHOUT = ("dedup", "reorder")


@examples(40)
@given(
    frames=st.one_of(strategies.connections(), strategies.exchanges(), strategies.losses()),
    options=strategies.options(),
    chance=st.randoms(use_true_random=False),
)
def test_metering_again_gives_the_rows(
    folder: Path, frames: Frames, options: dict[str, Any], chance: random.Random
) -> None:
    """Metered by the same options, the packets of all rows of some connections give these rows, in every column."""
    options = {name: value for name, value in options.items() if name not in WITHOUT}
    table = read(capture(sorted(frames, key=lambda frame: frame.time or 0)), folder, **options)
    ends = [
        json.dumps([*sorted([(row["client_ip"], row["client_port"]), (row["server_ip"], row["server_port"])]), row["protocol"]])
        for row in table.select(["client_ip", "client_port", "server_ip", "server_port", "protocol"]).to_pylist()
    ]
    if options.get("key") == "hosts":
        ends = ["all"] * len(ends)
    kept = {end for end in dict.fromkeys(ends) if chance.random() < 0.5}
    rows = table.filter(pa.array([end in kept for end in ends], pa.bool_()))
    if len(rows):
        fg.cut(rows, folder / "again.pcapng")
        again = read((folder / "again.pcapng").read_bytes(), folder, **options)
        assert plain(ended_by_silence(again)) == plain(ended_by_silence(rows))


LABEL = "{app}_{action}_*.pcap"
ALL_GROUPS = "size,iat,flags,tcp,ip,splt,activity,bulk,payload,distribution,raw"


@pytest.mark.parametrize("seed", range(3))
def test_example_captures_give_their_rows_again(tmp_path: Path, seed: int) -> None:
    """Random rows of the example captures, cut into a file for each, come out the same in every group, with labels."""
    table = fg.read(EXAMPLES, features=ALL_GROUPS, label=LABEL)
    chance = random.Random(seed)
    rows = table.filter(pa.array([chance.random() < 0.4 for _ in range(len(table))]))
    fg.cut(rows, f"{tmp_path}/")
    again = fg.read(tmp_path, features=ALL_GROUPS, label=LABEL)
    first = pc.equal(rows["part"], 0)
    assert pc.all(first).as_py()
    assert plain(again) == plain(rows)


def test_all_rows_of_a_trace_are_all_its_packets(tmp_path: Path) -> None:
    """Without a condition all metered packets are cut, over the files of a joined trace, in their order."""
    files = sorted(EXAMPLES.glob("*.pcap"))[:3]
    table = fg.read(files, join=True)
    fg.write(table, tmp_path / "flows.parquet")
    found = fg.cut(tmp_path / "flows.parquet", tmp_path / "all.pcapng")
    run = [fg.info(path) for path in files]
    assert found == fg.Cut(len(table), sum(one.reasons["metered"] for one in run), 3)
    assert fg.info(tmp_path / "all.pcapng").packets == found.packets


def connection(time: int, number: int) -> list[Sent]:
    """A connection of four packets between the same ends."""
    kinds = (("S", True), ("SA", False), ("FA", True), ("FA", False))
    return [
        Sent(time + step, eth(ip4(*((A, B) if up else (B, A)), tcp(*((4000, 80) if up else (80, 4000)), flags, number + step))), 0)
        for step, (flags, up) in enumerate(kinds)
    ]
