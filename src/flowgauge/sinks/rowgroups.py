"""Parquet files whose row groups are encoded one after the other, or side by side by several threads.

pyarrow's writer encodes in one thread, for which all others wait when they meter or decode quicker than it encodes.
Side by side, each row group is encoded by a writer of its own, as a file in memory. Its pages go into the file as they
are; what its footer says of them goes into the footer of the file, with the places where the pages are there. The file
is that of pyarrow's writer, byte for byte.

Source: github.com/apache/parquet-format, README.md (layout) and src/main/thrift/parquet.thrift (footer).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from flowgauge.sinks import thrift
from flowgauge.sinks.output import Output

MOST_ENCODERS = 8
"""Each holds a row group as a table and as bytes, and is quicker than those that meter."""

_VALUES_AT_ONCE = 1 << 16
_MAGIC = b"PAR1"
# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_AT = 1, 5
_META, _CHUNK_PLACES = 3, (2, 4, 6)  # file, offset index, column index
_META_PLACES = (9, 10, 11, 14)  # data, index and dictionary page, bloom filter

Prepare = Callable[[pa.Table], pa.Table]


class RowGroups:
    """Writes each table as one row group, prepared first; `settings` are those of pyarrow's ParquetWriter."""

    def __init__(self, output: Output, schema: pa.Schema, prepare: Prepare, **settings: Any) -> None:
        self._prepare = prepare
        self._stream = output.gathered()
        self._writer = pq.ParquetWriter(self._stream, schema, **settings)

    def write(self, table: pa.Table) -> None:
        """Write the rows of a table."""
        self._writer.write_table(self._prepare(table), row_group_size=len(table))
        self._stream.flush()

    def note(self, name: str, text: str) -> None:
        """Metadata for the footer."""
        self._writer.add_key_value_metadata({name: text})

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._stream.flush()


class _Encoded(NamedTuple):
    """The pages of a row group, and what the footer says of them where they begin behind the magic number."""

    pages: memoryview
    rows: int
    group: thrift.Struct


class RowGroupsSideBySide:
    """The same by several threads: rows are encoded while others come, and written some row groups later."""

    def __init__(self, output: Output, schema: pa.Schema, prepare: Prepare, threads: int, **settings: Any) -> None:
        self._prepare = prepare
        self._output = output
        self._schema = schema
        # What tells of columns and files takes longer to write than to encode a row group of a few of them.
        self._bare = pa.schema([field.remove_metadata() for field in schema])
        self._settings = settings
        self._notes: dict[str, str] = {}
        self._groups: list[bytes] = []  # trees of many would keep the garbage collector busy
        self._rows = 0
        self._most = min(threads, MOST_ENCODERS)
        self._threads = ThreadPoolExecutor(self._most, "flowgauge-encoder")
        self._encoding: deque[Future[_Encoded]] = deque()
        output.write(_MAGIC)

    def write(self, table: pa.Table) -> None:
        """Encode the rows of a table, and write those before that are encoded."""
        self._encoding.append(self._threads.submit(self._encoded, table))
        self._write_out(self._most)

    def note(self, name: str, text: str) -> None:
        """Metadata for the footer."""
        self._notes[name] = text

    def close(self) -> None:
        """Write what is being encoded, and the footer."""
        try:
            self._write_out(0)
        finally:
            self._threads.shutdown(cancel_futures=True)
        stream = pa.BufferOutputStream()
        with pq.ParquetWriter(stream, self._schema, **self._settings) as writer:
            for name, text in self._notes.items():  # one by one, as above: their order is that of calls
                writer.add_key_value_metadata({name: text})
        _, footer = _parts(stream.getvalue())
        footer[_ROWS] = thrift.I64, self._rows
        footer[_GROUPS] = thrift.LIST, (thrift.STRUCT, self._groups)
        encoded = thrift.struct_bytes(footer)
        self._output.write(encoded + struct.pack("<I", len(encoded)) + _MAGIC)

    def _encoded(self, table: pa.Table) -> _Encoded:
        stream = pa.BufferOutputStream()
        prepared = self._prepare(table).cast(self._bare)
        with pq.ParquetWriter(stream, self._bare, store_schema=False, **self._settings) as writer:
            writer.write_table(prepared, row_group_size=len(table))
        pages, footer = _parts(stream.getvalue())
        (group,) = footer[_GROUPS][1][1]
        return _Encoded(pages, len(table), group)

    def _write_out(self, most: int) -> None:
        """Write what is encoded, and wait until `most` row groups are not."""
        while len(self._encoding) > most or (self._encoding and self._encoding[0].done()):
            self._append(self._encoding.popleft().result())

    def _append(self, encoded: _Encoded) -> None:
        """Write the pages, and keep what is to be in the footer."""
        _move(encoded.group, self._output.tell() - len(_MAGIC))
        self._output.write(encoded.pages)
        self._groups.append(thrift.struct_bytes(encoded.group))
        self._rows += encoded.rows


class RowGroupWriter:
    """The writer of a format whose tables, once prepared, are row groups. Of the `threads` of a run one is busy with
    what comes, and the others encode."""

    def __init__(self, output: Output, schema: pa.Schema, prepare: Prepare, threads: int, **settings: Any) -> None:
        settings = {"write_batch_size": _VALUES_AT_ONCE, **settings}
        groups: RowGroups | RowGroupsSideBySide
        if threads > 2:
            groups = RowGroupsSideBySide(output, schema, prepare, threads - 1, **settings)
        else:
            groups = RowGroups(output, schema, prepare, **settings)
        self.write, self.note, self.close = groups.write, groups.note, groups.close


def _parts(file: pa.Buffer) -> tuple[memoryview, thrift.Struct]:
    """The pages and the footer of a file."""
    data = memoryview(file)
    (size,) = struct.unpack("<I", data[-8:-4])
    footer, _ = thrift.read_struct(bytes(data[-8 - size : -8]))
    return data[len(_MAGIC) : -8 - size], footer


def _move(group: thrift.Struct, by: int) -> None:
    """Say that the pages of a row group begin so many bytes later."""
    _add(group, (_GROUP_AT,), by)
    for chunk in group[_COLUMNS][1][1]:
        _add(chunk, _CHUNK_PLACES, by)
        _add(chunk[_META][1], _META_PLACES, by)


def _add(fields: thrift.Struct, places: tuple[int, ...], by: int) -> None:
    """Move those of the places that are told: 0 is none."""
    for number in places:
        kind, place = fields.get(number, (thrift.I64, 0))
        if place:
            fields[number] = kind, place + by
