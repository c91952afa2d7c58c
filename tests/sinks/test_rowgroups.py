"""Row groups that several threads encode are the file that pyarrow's writer makes in one."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgauge.errors import SinkError
from flowgauge.packettable.parquet import parquet_opener
from flowgauge.sinks import open_sink, thrift
from flowgauge.sinks.output import Output
from flowgauge.sinks.parquet import ParquetWriter
from flowgauge.sinks.rowgroups import MOST_ENCODERS, RowGroupWriter
from flowgauge.sinks.sink import Sink
from native_rows import SCHEMA, native_batch

THREADS = (3, 4, MOST_ENCODERS + 2)  # of which all but one encode
BATCH = native_batch(450)
I64, BINARY, LIST, STRUCT = thrift.I64, thrift.BINARY, thrift.LIST, thrift.STRUCT


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 rows at a time."""
    monkeypatch.setattr(ParquetWriter, "rows", 40)


def written(rows: int, threads: int, notes: dict[str, str] | None = None) -> bytes:
    """A file of the first rows."""
    output = io.BytesIO()
    with open_sink(output, format="parquet", schema=SCHEMA, metadata={"made": "here"}, threads=threads) as sink:
        for begin in range(0, rows, 70):
            sink.write(BATCH.slice(begin, min(70, rows - begin)))
        for name, text in (notes or {}).items():
            sink.note(name, text)
    return output.getvalue()


def footer(file: bytes) -> bytes:
    """The structure at the end of a file."""
    size = int.from_bytes(file[-8:-4], "little")
    return file[-8 - size : -8]


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("rows", [0, 1, 40, 41, 450])
def test_the_bytes_are_those_of_one_thread(rows: int, threads: int) -> None:
    """No row group, one, one and a rest, many; with and without notes."""
    assert written(rows, threads) == written(rows, 2) == written(rows, 1)
    notes = {"counts": "1" * 200, "other": ""}
    assert written(rows, threads, notes) == written(rows, 1, notes)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_packets_are_the_same_bytes(compression: str) -> None:
    """The other user of row groups, with its encodings."""
    table = pa.table({"time": pa.array(range(500), pa.timestamp("ns")), "ttl": pa.array([64, None] * 250, pa.uint8())})
    files = set()
    for threads in (1, 2, *THREADS):
        output = io.BytesIO()
        with Sink(Output(output), table.schema, parquet_opener(compression, threads)) as sink:
            for batch in table.to_batches(max_chunksize=90):
                sink.write(batch)
        files.add(output.getvalue())
    assert len(files) == 1
    assert pq.read_table(io.BytesIO(files.pop())).equals(table)


def test_what_else_pyarrow_may_write_is_found() -> None:
    """Page indexes and bloom filters lie behind the pages of their row group."""
    table = pa.table({"a": pa.array(range(1000)), "b": [str(number % 7) for number in range(1000)]})
    raw = io.BytesIO()
    output = Output(raw)
    output.open()
    bloom = {"bloom_filter_options": {"b": {"ndv": 10, "fpp": 0.01}}}
    try:
        groups = RowGroupWriter(output, table.schema, same, 3, write_page_index=True, **bloom)
        groups.write(table.slice(0, 10))
    except TypeError:  # of a pyarrow that has no bloom filters
        groups = RowGroupWriter(output, table.schema, same, 3, write_page_index=True)
        groups.write(table.slice(0, 10))
    for begin in range(10, 1000, 90):
        groups.write(table.slice(begin, 90))
    groups.close()
    file = pq.ParquetFile(raw)
    assert file.read().equals(table)
    assert file.read_row_groups([5, 3]).num_rows == 180
    size = len(raw.getvalue())
    tree, _ = thrift.read_struct(footer(raw.getvalue()))
    places = [
        place
        for group in tree[4][1][1]
        for chunk in group[1][1][1]
        for place in (chunk[4][1], chunk[6][1], chunk[3][1][9][1], chunk[3][1].get(14, (I64, size - 1))[1])
    ]
    assert all(4 <= place < size for place in places)
    lasting = [place for place in places if place != size - 1]
    assert len(set(lasting)) == len(lasting)


def same(table: pa.Table) -> pa.Table:
    """Nothing to prepare."""
    return table


class Full(io.BytesIO):
    """Has no room behind the first kilobytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(memoryview(data)) > 60_000:
            raise OSError(28, "No space left on device")
        return super().write(data)


def fill(sink: Any) -> None:
    """Write more than there is room for."""
    with sink:
        for _ in range(30):
            sink.write(BATCH)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_full_disk_is_said(threads: int) -> None:
    """By the error of every other output; no thread is left over."""
    with pytest.raises(SinkError, match="cannot write the output: No space left on device"):
        fill(open_sink(Full(), format="parquet", schema=SCHEMA, threads=threads))
    assert not [thread for thread in threading.enumerate() if "encoder" in thread.name]


def test_what_cannot_be_encoded_is_raised() -> None:
    """An error of a thread reaches who writes, at the latest when the file is closed."""
    raw = io.BytesIO()
    output = Output(raw)
    output.open()
    for count in (1, 50):
        groups = RowGroupWriter(output, pa.schema([("a", pa.int64())]), broken, 3)
        with pytest.raises(ArithmeticError):
            write_and_close(groups, count)
        with contextlib.suppress(ArithmeticError):
            groups.close()
    assert not [thread for thread in threading.enumerate() if "encoder" in thread.name]


def write_and_close(groups: Any, count: int) -> None:
    """So many tables."""
    for _ in range(count):
        groups.write(pa.table({"a": [1]}))
    groups.close()


def broken(table: pa.Table) -> pa.Table:
    """Cannot be prepared."""
    raise ArithmeticError


def test_rows_wait_for_a_few_groups_only() -> None:
    """Who writes more than can be encoded waits: memory is bounded."""
    entered, go = threading.Semaphore(0), threading.Event()

    def slow(table: pa.Table) -> pa.Table:
        entered.release()
        go.wait(30)
        return table

    raw = io.BytesIO()
    output = Output(raw)
    output.open()
    groups = RowGroupWriter(output, pa.schema([("a", pa.int64())]), slow, 3)
    done = threading.Semaphore(0)

    def write() -> None:
        for number in range(6):
            groups.write(pa.table({"a": [number]}))
            done.release()

    writer = threading.Thread(target=write)
    writer.start()
    assert all(done.acquire(timeout=30) for _ in range(2))  # as many as encode
    assert all(entered.acquire(timeout=30) for _ in range(2))
    assert not done.acquire(timeout=0.2)
    go.set()
    writer.join(30)
    groups.close()
    assert pq.read_table(raw)["a"].to_pylist() == list(range(6))


def test_a_footer_is_written_as_it_was_read() -> None:
    """Of flows with all their metadata, and of types, encodings and statistics of all kinds."""
    values = {
        "flag": pa.array([True, None, False]),
        "float": [0.5, -0.0, 1e300],
        "text": ["a" * 200, "", None],
        "list": [[1, 2], [], None],
        "decimal": pa.array([1, 2, 3], pa.decimal128(20, 3)),
        "struct": [{"x": 1, "y": ["z"]}, None, {"x": 3, "y": None}],
        **{f"column {number}": [number, -number, 2**40 * number] for number in range(300)},
    }
    output = io.BytesIO()
    pq.write_table(pa.table(values), output, write_page_index=True, row_group_size=2)
    for data in (footer(output.getvalue()), footer(written(450, 1))):
        tree, end = thrift.read_struct(data)
        assert end == len(data)
        assert thrift.struct_bytes(tree) == data


ELEMENTS = {
    thrift.BYTE: st.binary(min_size=1, max_size=1),
    thrift.I16: st.integers(-(2**15), 2**15 - 1),
    thrift.I32: st.integers(-(2**31), 2**31 - 1),
    I64: st.integers(-(2**63), 2**63 - 1),
    thrift.DOUBLE: st.binary(min_size=8, max_size=8),
    BINARY: st.binary(max_size=300),
}


def of_kind(kind: int, value: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[int, Any]]:
    """Values with their kind."""
    return value.map(lambda found: (kind, found))


def structs(values: st.SearchStrategy[Any]) -> st.SearchStrategy[thrift.Struct]:
    """Structures with such values, their fields in any order."""
    return st.dictionaries(st.integers(1, 2**15 - 1), values, max_size=6)


PLAIN = st.one_of(
    *(of_kind(kind, value) for kind, value in ELEMENTS.items()),
    st.sampled_from([(thrift.TRUE, b""), (thrift.FALSE, b"")]),
    *(of_kind(LIST, of_kind(kind, st.lists(value, max_size=20))) for kind, value in ELEMENTS.items()),
    of_kind(thrift.SET, of_kind(thrift.TRUE, st.lists(st.sampled_from([b"\1", b"\2"]), max_size=20))),
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: of_kind(STRUCT, structs(inner)) | of_kind(LIST, of_kind(STRUCT, st.lists(structs(inner)))),
    max_leaves=20,
)


@given(structs(NESTED), st.binary(max_size=3))
def test_any_structure_is_read_as_it_was_written(fields: thrift.Struct, behind: bytes) -> None:
    """Whatever the numbers of its fields, and with other bytes behind it."""
    data = thrift.struct_bytes(fields)
    assert thrift.read_struct(data + behind) == (fields, len(data))


def test_bytes_are_those_of_the_protocol() -> None:
    """Heads, zigzag numbers, lengths and lists, as the specification spells them."""
    fields: thrift.Struct = {
        1: (I64, -1),
        2: (I64, 300),
        20: (BINARY, b"xy"),
        19: (thrift.TRUE, b""),
        21: (LIST, (thrift.I32, [1] * 15)),
        22: (STRUCT, {1: (thrift.BYTE, b"\x7f")}),
    }
    expected = "16 01 16 d8 04 08 28 02 78 79 01 26 29 f5 0f" + " 02" * 15 + " 1c 13 7f 00 00"
    assert thrift.struct_bytes(fields) == bytes.fromhex(expected)
