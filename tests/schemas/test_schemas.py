"""Schemas: native records as other tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import flowgauge as fg
from flowgauge.config import make_config
from flowgauge.errors import ConfigError
from flowgauge.schema import GROUPS, arrow_schema, native_columns
from flowgauge.schemas import SCHEMAS, columns, get_schema
from native_rows import SCHEMA, native_batch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "captures"

BASIC = (
    *("StartTime", "DurationTime", "ClientIP", "ClientPort", "ServerIP", "ServerPort", "AppName", "AppAction"),
    *("FlowPackets", "FlowBytes", "PacketsBytesAvg", "Protocol"),
)


def basic(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as schema `basic`."""
    converted = get_schema("basic").convert(batch)
    converted.validate(full=True)
    return converted


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_has_a_definition_and_a_formula(name: str) -> None:
    """Each column of each schema says what it is, how it is made and what role it has, under a name of its own."""
    listed = get_schema(name).columns()
    assert all(column.definition and column.formula and column.group for column in listed)
    assert not any("\n" in column.definition + column.formula for column in listed)
    assert {"id", "feature"} <= {column.role for column in listed} <= {"id", "feature", "label"}
    assert len({column.name for column in listed}) == len(listed)


@pytest.mark.parametrize("name", SCHEMAS)
def test_batches_have_the_columns_of_the_schema(name: str) -> None:
    """What a schema converts to has exactly the types that its columns say, also without rows."""
    schema = get_schema(name)
    for rows in (0, 30):
        assert schema.convert(native_batch(rows, extras=schema.extras)).schema.equals(arrow_schema(schema.columns()))


def test_native_is_the_batch_itself() -> None:
    """The native schema changes nothing, and shows the features and labels that are on."""
    batch = native_batch(3)
    assert get_schema("native").convert(batch) is batch
    config = make_config(features="core")
    assert get_schema("native").columns(("version",), config) == native_columns(config, ("version",))


def test_basic_has_the_classic_columns() -> None:
    """Eleven columns and the protocol, in their order, whatever labels and features there are."""
    config = make_config(features="core")
    assert [column.name for column in get_schema("basic").columns(("version",), config)] == list(BASIC)


def test_basic_keeps_tcp_and_udp_only() -> None:
    """Records of other protocols are left out, and the protocol is written by name."""
    batch = native_batch(200)
    expected = [{6: "TCP", 17: "UDP"}[number] for number in batch["protocol"].to_pylist() if number in (6, 17)]
    assert 0 < len(expected) < 200
    assert basic(batch)["Protocol"].to_pylist() == expected


def test_basic_values_are_those_of_the_native_record() -> None:
    """Endpoints, labels and counts are taken over; the average is bytes by packets."""
    batch = native_batch(100)
    rows = [row for row, number in enumerate(batch["protocol"].to_pylist()) if number in (6, 17)]
    kept, found = batch.take(pa.array(rows)), basic(batch)
    pairs = zip(BASIC[2:10], ("client_ip", "client_port", "server_ip", "server_port", "app", "action"), strict=False)
    for name, native in [*pairs, ("FlowPackets", "packets"), ("FlowBytes", "frame_bytes")]:
        assert found[name].to_pylist() == kept[native].to_pylist(), name
    counts = zip(kept["frame_bytes"].to_pylist(), kept["packets"].to_pylist(), strict=True)
    assert found["PacketsBytesAvg"].to_pylist() == [total / packets for total, packets in counts]


@pytest.mark.parametrize(
    ("start", "end", "seconds", "duration"),
    [
        (1_999_999_999, 2_999_999_998, 1, 0),
        (1_999_999_999, 2_999_999_999, 1, 1),
        (-1, 0, -1, 0),
        (9_007_199_254_740_993_000, 9_007_199_255_740_992_999, 9_007_199_254, 0),
    ],
)
def test_basic_times_are_rounded_down_exactly(start: int, end: int, seconds: int, duration: int) -> None:
    """Start and duration are the floor of the exact nanoseconds, also before 1970 and beyond 2^53."""
    batch = native_batch(1)
    values = {"start": start, "end": end, "protocol": 6}
    for name, value in values.items():
        column = pa.array([value], SCHEMA.field(name).type)
        batch = batch.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    found = basic(batch)
    assert (found["StartTime"].to_pylist(), found["DurationTime"].to_pylist()) == ([seconds], [duration])


def test_pieces_of_a_table_are_converted_alike() -> None:
    """Converting a table piece by piece gives the rows of converting it whole."""
    batch = native_batch(100)
    pieces = pa.Table.from_batches([batch]).to_batches(max_chunksize=17)
    whole = pa.Table.from_batches([basic(batch)])
    assert pa.Table.from_batches([basic(piece) for piece in pieces]).to_pydict() == whole.to_pydict()


def test_an_unknown_schema_is_refused_with_those_known() -> None:
    """A name that is no schema is one line that lists the schemas."""
    with pytest.raises(ConfigError, match="schema 'netflow' is not one of native, basic"):
        get_schema("netflow")


def test_columns_lists_a_schema() -> None:
    """The columns of a schema by its name, native with all groups by default."""
    assert columns() == native_columns()
    assert columns(labels=("version",), features="core") == native_columns(make_config(features="core"), ("version",))
    definition = {column.name: column.definition for column in columns(splt=7, splt_data=True)}["splt_ip_len"]
    assert definition == "IP length of the first 7 packets with payload"
    assert [column.name for column in columns("basic")] == list(BASIC)


@pytest.mark.parametrize("name", SCHEMAS)
def test_fields_are_described_by_their_columns(name: str) -> None:
    """Each field of a table has unit, group, role and definition of its column as metadata."""
    listed = get_schema(name).columns()
    found = arrow_schema(listed)
    for column in listed:
        assert found.field(column.name).metadata[b"definition"].decode() == column.definition
        assert found.field(column.name).metadata[b"role"].decode() == column.role


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_null_is_where_formulas_say_so(name: str) -> None:
    """In the records of the example captures, no column is null whose formula does not speak of null."""
    table = fg.read(EXAMPLES, schema=name, features=GROUPS if name == "native" else None)
    null = {column for column in table.schema.names if table[column].null_count}
    assert null <= {column.name for column in get_schema(name).columns() if "null" in column.formula}
    assert bool(null) == (name != "nfstream")


def test_columns_are_listed_without_loading_arrow_or_numpy() -> None:
    """Listing columns is quick: neither NumPy nor pyarrow is imported for them and their names in other tools."""
    code = "import sys, flowgauge.peers as p; p.peers('packets'); print({'numpy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
