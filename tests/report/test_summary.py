"""Every aggregate of a report's summary is what plain Python computes of the same flows."""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings

from flow_tables import BEGIN, flows_of, generated
from flowgauge.config import DEFAULT_FEATURES
from flowgauge.errors import ConfigError
from flowgauge.report.cells import MOST, make_cells
from flowgauge.report.flows import NONE, OTHER, Flows
from flowgauge.report.health import LOSSES
from flowgauge.report.histograms import QUANTITIES, Quantity
from flowgauge.report.overtime import MOST_BINS, make_span, over_time
from flowgauge.report.summary import Summary, summarise

GROUPS = (*DEFAULT_FEATURES, "splt", "names")
PROTOCOLS = {6: "TCP", 17: "UDP", 1: "ICMP"}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return generated(3000, features=GROUPS)


@pytest.fixture(scope="module")
def rows(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()


@pytest.fixture(scope="module")
def summary(table: pa.Table) -> Summary:
    return summarise(table)


@pytest.fixture(scope="module")
def cell_of(summary: Summary, rows: list[dict[str, Any]]) -> list[int]:
    """The cell of each flow, by what the cells say of themselves: values that are named nowhere are OTHER."""
    cells = summary.cells.to_pylist()
    by_name = {combination(row): row["cell"] for row in cells}
    named = [set(values) for values in zip(*by_name, strict=True)]
    return [
        by_name[tuple(v if v in names else OTHER for v, names in zip(of_flow(row), named, strict=True))] for row in rows
    ]


def combination(row: dict[str, Any]) -> tuple[str, ...]:
    """The values of a cell; a dimension that is left out has none with a name."""
    return tuple(row.get(name, OTHER) for name in ("app", "action", "protocol", "service"))


def of_flow(row: dict[str, Any]) -> tuple[str, ...]:
    """The values of a flow."""
    return row["app"] or NONE, row["action"] or NONE, PROTOCOLS[row["protocol"]], row["service"] or NONE


def sums(table: pa.Table, *keys: str) -> dict[tuple[Any, ...], dict[str, int]]:
    """The other columns of a table by those of its keys."""
    return {
        tuple(row[key] for key in keys): {name: value for name, value in row.items() if name not in keys}
        for row in table.to_pylist()
    }


def test_there_are_not_too_many_cells(summary: Summary, rows: list[dict[str, Any]]) -> None:
    """Of hundreds of combinations there are 64 to 96 cells, each with flows, the largest first."""
    counts = summary.cells["flows"].to_pylist()
    assert len({of_flow(row) for row in rows}) > 200
    assert 64 <= len(counts) <= MOST
    assert counts == sorted(counts, reverse=True) and min(counts) > 0 and sum(counts) == len(rows)


def test_rare_names_give_way(summary: Summary, rows: list[dict[str, Any]]) -> None:
    """The apps that keep their names are those with the most flows, and actions give way before apps do."""
    named = set(summary.cells["app"].to_pylist()) - {OTHER}
    counts = Counter(row["app"] or NONE for row in rows)
    assert named == {name for name, _ in counts.most_common(len(named))} and len(named) >= 12
    assert "action" not in summary.cells.schema.names


def test_few_combinations_keep_their_names(rows: list[dict[str, Any]], table: pa.Table) -> None:
    """Where there are few combinations, each is a cell."""
    few = summarise(table.filter(pc.is_in(table["app"], pa.array(["app00"]))))
    expected = Counter(of_flow(row) for row in rows if row["app"] == "app00")
    assert {combination(row): row["flows"] for row in few.cells.to_pylist()} == expected


values = st.tuples(*(st.integers(0, most) for most in (40, 9, 3, 30)))


@settings(max_examples=30, deadline=None)
@given(st.lists(values, min_size=1, max_size=400), st.randoms(use_true_random=False))
def test_a_name_is_whole(drawn: list[tuple[int, int, int, int]], random: Any) -> None:
    """However many combinations there are, the cells of a named value hold all of its flows."""
    drawn = drawn * 3
    random.shuffle(drawn)
    columns = {
        **{"app": [f"a{app}" if app else None for app, *_ in drawn], "action": [f"x{value[1]}" for value in drawn]},
        **{"protocol": [value[2] for value in drawn], "service": [f"s{value[3]}" for value in drawn]},
    }
    base = flows_of(*[{}] * len(drawn), features=(*DEFAULT_FEATURES, "names"))
    for name, column in columns.items():
        place = base.schema.get_field_index(name)
        base = base.set_column(place, base.schema.field(name), pa.array(column, base.schema.field(name).type))
    cells = make_cells(Flows(base))
    assert 0 < len(cells.table) <= MOST and cells.of.max() == len(cells.table) - 1
    for name in set(cells.table.schema.names) & {"app", "action", "service"}:
        counts = Counter(value or NONE for value in columns[name])
        found = Counter[str]()
        for row in cells.table.to_pylist():
            found[row[name]] += row["flows"]
        other = found.pop(OTHER, 0)
        assert found.items() <= counts.items() and other == len(drawn) - sum(found.values())


def test_cells_sum_up_their_flows(summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]) -> None:
    """Packets, bytes and times of a cell are those of its flows."""
    for cell in summary.cells.to_pylist():
        own = [row for row, of in zip(rows, cell_of, strict=True) if of == cell["cell"]]
        assert cell["flows"] == len(own) and cell["packets"] == sum(row["packets"] for row in own)
        assert cell["bytes"] == sum(row["frame_bytes"] for row in own)
        assert cell["payload_bytes"] == sum(row["payload_bytes"] for row in own)
        assert cell["start_ms"] == min(row["start"].value for row in own) // 10**6
        assert cell["end_ms"] == max(row["end"].value for row in own) // 10**6


def test_headline(summary: Summary, table: pa.Table) -> None:
    """The headline's numbers are those that pyarrow computes, and are ready for JSON."""
    found = json.loads(json.dumps(summary.headline))
    assert found["flows"] == table.num_rows
    for name, column in (("packets", "packets"), ("bytes", "frame_bytes"), ("up_bytes", "up_frame_bytes")):
        assert found[name] == pc.sum(table[column]).as_py()
    for name, column in (("clients", "client_ip"), ("servers", "server_ip"), ("apps", "app"), ("files", "source")):
        assert found[name] == pc.count_distinct(table[column].cast(pa.string())).as_py()
    assert found["start"] == f"{pc.min(table['start']).as_py().to_datetime64().astype('datetime64[us]')}Z"
    assert math.isclose(found["span_s"], (pc.max(table["end"]).as_py() - pc.min(table["start"]).as_py()).value / 1e9)


lasting = st.tuples(
    st.integers(0, 5_000), st.integers(0, 3_000), st.integers(0, 10_000), st.integers(0, 10**9), st.sampled_from("ab")
)


@settings(max_examples=60, deadline=None)
@given(st.lists(lasting, min_size=1, max_size=8), st.sampled_from([1, 1000, 10**6, 10**9]))
def test_over_time_spreads_evenly(drawn: list[tuple[int, int, int, int, str]], unit: int) -> None:
    """A flow's packets and bytes are spread over its bins by the time that it lasts in each, to within rounding; those
    of a cell add up to its total."""
    changes = [
        {
            **{"start": BEGIN + start * unit, "end": BEGIN + (start + lasts) * unit, "packets": packets, "app": app},
            "frame_bytes": size,
        }
        for start, lasts, packets, size, app in drawn
    ]
    flows = Flows(flows_of(*changes))
    cells, span = make_cells(flows), make_span(flows)
    found = sums(over_time(flows, cells, span), "cell", "bin")
    assert 0 < span.bins <= MOST_BINS
    apps = cells.table["app"].to_pylist()
    for name, column in (("packets", "packets"), ("bytes", "frame_bytes")):
        expected: defaultdict[tuple[int, int], Fraction] = defaultdict(Fraction)
        for change in changes:
            for place, share in spread(change["start"], change["end"], span):
                expected[apps.index(change["app"]), place] += share * change[column]
        assert {key for key, share in expected.items() if share > 1} <= found.keys()
        for key, values in found.items():
            assert abs(values[name] - expected[key]) <= 1.01
        for cell in range(len(apps)):
            total = sum(change[column] for change in changes if apps[cell] == change["app"])
            assert sum(values[name] for (of, _), values in found.items() if of == cell) == total
    begun = Counter((apps.index(c["app"]), (c["start"] - span.begin) // span.width) for c in changes)
    assert {key: values["flows"] for key, values in found.items() if values["flows"]} == begun


def spread(start: int, end: int, span: Any) -> list[tuple[int, Fraction]]:
    """Bins and shares of a flow, one after the other."""
    first, last = (start - span.begin) // span.width, (end - span.begin) // span.width
    if first == last:
        return [(first, Fraction(1))]
    edges = [span.begin + place * span.width for place in range(first, last + 2)]
    held = [min(end, high) - max(start, low) for low, high in itertools.pairwise(edges)]
    return [(first + number, Fraction(part, end - start)) for number, part in enumerate(held)]


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.name)
def test_histograms(quantity: Quantity, summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]) -> None:
    """A flow is in the bin whose edges its value lies between, and in none where it has no value."""
    edges = [quantity.edge(place) for place in range(1, 18 * quantity.per_decade)]
    expected = Counter(
        (cell, bisect.bisect_right(edges, row[quantity.column] * (1 + 1e-9)))
        for cell, row in zip(cell_of, rows, strict=True)
        if row[quantity.column] is not None
    )
    found = {key: values["flows"] for key, values in sums(summary.tables[quantity.name], "cell", "bin").items()}
    assert found == expected


@pytest.mark.parametrize(
    ("size", "place"), [(0, 0), (1, 0), (9, 9), (10, 10), (99, 19), (100, 20), (10**6, 60), (10**17, 170), (2**62, 179)]
)
def test_bins_hold_their_lower_edge(size: int, place: int) -> None:
    """A power of ten is in the bin that it begins; what is below the first or above the last bin is in it."""
    found = summarise(flows_of({"frame_bytes": size})).tables["size"]
    assert found.to_pylist() == [{"cell": 0, "bin": place, "flows": 1}]


@pytest.mark.parametrize(
    ("name", "column"), [("clients", "client_ip"), ("servers", "server_ip"), ("names", "server_name"), ("ports", None)]
)
def test_talkers(
    name: str, column: str | None, summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]
) -> None:
    """Of each listed name all flows and bytes of every cell are there; the twenty with the most bytes are listed."""
    counts, sizes = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    for cell, row in zip(cell_of, rows, strict=True):
        port = (
            f"{row['server_port']}/{PROTOCOLS[row['protocol']]}" if row["server_port"] else PROTOCOLS[row["protocol"]]
        )
        key = cell, row[column] if column else port
        counts[key] += 1
        sizes[key] += row["frame_bytes"]
    found = sums(summary.tables[name], "cell", "name")
    listed = {key for _, key in found}
    expected = {key: {"flows": counts[key], "bytes": sizes[key]} for key in counts if key[1] in listed}
    assert found == expected
    totals = Counter[str]()
    for (_, key), size in sizes.items():
        totals[key] += size
    assert {key for key, _ in totals.most_common(20)} <= listed and len(listed) <= 100


def test_first_of_each_cell_is_listed(summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]) -> None:
    """A server that has the most bytes of a small cell is listed, though there are many larger ones."""
    sizes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for cell, row in zip(cell_of, rows, strict=True):
        sizes[cell][row["server_name"]] += row["frame_bytes"]
    listed = set(summary.tables["names"]["name"].to_pylist())
    firsts = {cell: names.most_common(1)[0][0] for cell, names in sizes.items()}
    assert len([name for name in firsts.values() if name in listed]) >= 0.9 * len(firsts)


def test_matrix(summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]) -> None:
    """The matrix has all bytes: those of the largest clients and names by name, those of others as (other)."""
    found = sums(summary.tables["matrix"], "cell", "client", "server")
    clients, servers = ({key[place] for key in found} - {OTHER} for place in (1, 2))
    expected: defaultdict[tuple[int, str, str], Counter[str]] = defaultdict(Counter)
    for cell, row in zip(cell_of, rows, strict=True):
        client = row["client_ip"] if row["client_ip"] in clients else OTHER
        server = row["server_name"] if row["server_name"] in servers else OTHER
        expected[cell, client, server].update(flows=1, bytes=row["frame_bytes"])
    assert found == expected
    assert len(clients) == 8 and len(servers) == 10


def test_tcp_health(summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]) -> None:
    """States are counted, and losses summed up, of the TCP flows of a cell."""
    states = Counter((c, row["tcp_state"]) for c, row in zip(cell_of, rows, strict=True) if row["tcp_state"])
    found = {key: values["flows"] for key, values in sums(summary.tables["tcp_states"], "cell", "state").items()}
    assert found == states
    expected: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for cell, row in zip(cell_of, rows, strict=True):
        for direction in ("up", "down") if row["protocol"] == 6 else ():
            own = {name: row[f"{direction}_{name}"] or 0 for name in ("packets", "payload_bytes", *LOSSES)}
            expected[cell, direction].update(own)
    assert sums(summary.tables["tcp_losses"], "cell", "direction") == expected


def test_fingerprints(summary: Summary, rows: list[dict[str, Any]], cell_of: list[int]) -> None:
    """A place of an app and action, in a cell, counts the flows that have such a packet, and sums up lengths by sender;
    the thirty with the most flows are there."""
    labels = [f"{row['app']} · {row['action']}" if row["app"] else NONE for row in rows]
    listed = set(summary.tables["fingerprints"]["name"].to_pylist())
    expected: defaultdict[tuple[int, str, int], Counter[str]] = defaultdict(Counter)
    for cell, row, label in zip(cell_of, rows, labels, strict=True):
        packets = zip(row["splt_direction"], row["splt_ip_len"], strict=True) if label in listed else ()
        for place, (down, size) in enumerate(packets, 1):
            own = {"flows": 1, "up": 1 - down, "up_bytes": (1 - down) * size, "down_bytes": down * size}
            expected[cell, label, place].update(own)
    assert sums(summary.tables["fingerprints"], "cell", "name", "place") == expected
    counts = Counter(labels)
    assert len(listed) == 30 and min(counts[name] for name in listed) >= sorted(counts.values())[-30]


def test_fingerprints_of_long_and_missing_lists() -> None:
    """Packets behind the 32nd are left out, and a flow without a list has none."""
    many = flows_of(
        {"splt_direction": [0] * 40, "splt_ip_len": [*range(40)]}, {"splt_direction": None, "splt_ip_len": None}
    )
    found = sums(summarise(many).tables["fingerprints"], "cell", "name", "place")
    assert found == {
        (0, "mail · read", n): {"flows": 1, "up": 1, "up_bytes": n - 1, "down_bytes": 0} for n in range(1, 33)
    }


def test_largest_flows(table: pa.Table) -> None:
    """The table of flows has the largest, 2,000 at most, the largest first, with the cell of each."""
    summary = summarise(table)
    sizes = sorted(table["frame_bytes"].to_pylist(), reverse=True)
    assert summary.flows["frame_bytes"].to_pylist() == sizes[:2000]
    cells = summary.cells.to_pylist()
    for row in summary.flows.slice(0, 50).to_pylist():
        assert cells[row["cell"]]["app"] in (row["app"], OTHER)
        assert cells[row["cell"]]["protocol"] in (row["protocol"], OTHER)


@pytest.mark.parametrize("app", ["app00", "app02", "app23"])
def test_a_filter_by_cells_is_a_filter_of_flows(app: str, table: pa.Table) -> None:
    """What the cells of an app add up to is the summary of the flows of that app alone."""
    whole, part = summarise(table), summarise(table.filter(pc.equal(table["app"].cast(pa.string()), app)))
    chosen = whole.cells.filter(pc.equal(whole.cells["app"], app))
    assert 0 < len(chosen) < len(whole.cells)
    for name in ("flows", "packets", "bytes", "payload_bytes"):
        assert pc.sum(chosen[name]).as_py() == part.headline[name]
    for name, key in COMPARED.items():
        assert added(whole.tables[name], key, chosen["cell"]) == added(part.tables[name], key), name
    listed = added(part.tables["servers"], "name")
    ours = added(whole.tables["servers"], "name", chosen["cell"])
    shared = listed.keys() & ours.keys()
    assert len(shared) >= 3 and all(listed[name] == ours[name] for name in shared)


COMPARED = {
    **{quantity.name: "bin" for quantity in QUANTITIES},
    **{"tcp_states": "state", "tcp_losses": "direction", "ports": "name"},
}


def added(table: pa.Table, key: str, cells: pa.Array | None = None) -> dict[Any, Counter[str]]:
    """Sums over the cells, or some of them, by a column."""
    found: defaultdict[Any, Counter[str]] = defaultdict(Counter)
    for row in table.to_pylist():
        if cells is None or row["cell"] in cells.to_pylist():
            found[row[key]].update({name: row[name] for name in row if name not in ("cell", key)})
    return dict(found)


def same(first: Summary, second: Summary) -> bool:
    """Whether two summaries tell the same."""
    tables = all(first.tables[name].equals(second.tables[name]) for name in first.tables)
    others = ("cells", "balance", "separability", "flows")
    return (
        tables
        and all(getattr(first, name).equals(getattr(second, name)) for name in others)
        and first.headline == second.headline
        and first.quality == second.quality
    )


def test_row_groups_and_encodings_do_not_matter(table: pa.Table, summary: Summary) -> None:
    """Chunks with dictionaries of their own, plain texts, and a table by way of polars give the same summary."""
    pieces = [table.slice(at, 700) for at in range(0, len(table), 700)]
    chunked = pa.concat_tables([pa.Table.from_pylist(piece.to_pylist(), table.schema) for piece in pieces])
    plain = table
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = plain.set_column(place, field.with_type(pa.string()), table[place].cast(pa.string()))
    assert chunked["app"].num_chunks > 1
    assert (
        same(chunked_summary := summarise(chunked), summary) and chunked_summary.tables.keys() == summary.tables.keys()
    )
    assert same(summarise(plain), summary)
    assert same(summarise(pa.table(polars.from_arrow(table))), summary)


def test_values_that_no_flow_has_are_not_counted(table: pa.Table) -> None:
    """A dictionary of more apps than there are left counts those that are left."""
    few = table.filter(pc.equal(table["app"].cast(pa.string()), "app01"))
    assert summarise(few).headline["apps"] == 1


def test_no_flows(table: pa.Table) -> None:
    """A table without rows has a summary: nothing of everything, and one finding that says so."""
    summary = summarise(table.slice(0, 0))
    assert summary.headline["flows"] == 0 and summary.headline["start"] is None
    assert all(len(rows) == 0 for rows in summary.tables.values()) and len(summary.flows) == 0
    assert [finding.name for finding in summary.quality] == ["No flows"]
    assert json.dumps(summary.headline)


def test_one_flow() -> None:
    """A table of one flow has one cell and one row in each table."""
    summary = summarise(flows_of({}))
    assert (
        summary.cells.to_pylist()[0] | {"app": "mail", "action": "read", "protocol": "TCP", "flows": 1}
        == (summary.cells.to_pylist()[0])
    )
    assert {len(summary.tables[name]) for name in ("clients", "servers", "ports", "matrix", "tcp_states", "size")} == {
        1
    }


def test_flows_without_labels() -> None:
    """Flows without a label are told apart by protocol, and have no balance and no separability."""
    summary = summarise(generated(200, labelled=False))
    assert summary.label == "protocol" and "app" not in summary.cells.schema.names
    assert len(summary.balance) == 0 and len(summary.separability) == 0


def test_columns_of_core_are_needed() -> None:
    """A table of another schema is refused with the names of what is missing."""
    with pytest.raises(ConfigError, match=r"no column start, .*--schema native"):
        summarise(pa.table({"StartTime": [1], "packets": [3]}))


def test_groups_may_be_missing() -> None:
    """With the columns of group core alone there is what these tell."""
    summary = summarise(generated(300, features=("core",)))
    assert {"over_time", "clients", "matrix", "duration", "size"} <= summary.tables.keys()
    assert not {"length", "gap", "tcp_states", "tcp_losses", "fingerprints", "names"} & summary.tables.keys()


def test_size_does_not_grow_with_the_flows() -> None:
    """Four times as many flows are not twice as many bytes, and both fit a page."""
    few, many = (json_bytes(summarise(generated(count, features=GROUPS))) for count in (5_000, 20_000))
    assert many < 2 * few and many < 1_500_000


def json_bytes(summary: Summary) -> int:
    tables = [summary.cells, summary.flows, summary.balance, summary.separability, *summary.tables.values()]
    return sum(len(json.dumps(table.to_pydict(), separators=(",", ":"))) for table in tables)
