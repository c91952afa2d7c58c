"""Parquet of the packet table: one row group for each batch.

Measured on traffic of all kinds, 37 columns: numbers split by bytes and then compressed take two thirds of the time of
plain ones and three quarters of the bytes; differences take as long, and a tenth of the bytes where values go up.
Dictionaries of numbers would take three to ten times as long. Categories have their dictionaries already.
"""

from __future__ import annotations

import functools

import pyarrow as pa

from flowgauge.errors import ConfigError
from flowgauge.packettable.build import BATCH_PACKETS
from flowgauge.sinks.output import Output
from flowgauge.sinks.rowgroups import RowGroupWriter
from flowgauge.sinks.sink import Opener

COMPRESSIONS = {"zstd": 1, "lz4": None}
"""Compressions and their levels: lz4 takes two thirds of the time of zstd, and half as many bytes again."""

_RANGES = ("number", "time")  # columns by which readers leave out row groups


class PacketParquetWriter(RowGroupWriter):
    """Writes each table as one row group."""

    rows = BATCH_PACKETS

    def __init__(self, output: Output, schema: pa.Schema, compression: str, threads: int) -> None:
        super().__init__(
            output,
            schema,
            lambda table: table,
            threads,
            compression=compression,
            compression_level=COMPRESSIONS[compression],
            use_dictionary=[field.name for field in schema if pa.types.is_dictionary(field.type)],
            column_encoding={field.name: encoding for field in schema if (encoding := _encoding(field.type))},
            write_statistics=[name for name in _RANGES if name in schema.names],
        )


def parquet_opener(compression: str | None, threads: int) -> Opener:
    """Makes the writer with this compression, zstd where there is none given. Raises ConfigError."""
    chosen = compression or "zstd"
    if chosen not in COMPRESSIONS:
        raise ConfigError(f"compression {chosen!r} is not one of {', '.join(COMPRESSIONS)}")
    return functools.partial(PacketParquetWriter, compression=chosen, threads=threads)


def _encoding(kind: pa.DataType) -> str | None:
    if pa.types.is_timestamp(kind) or kind == pa.int64():
        return "DELTA_BINARY_PACKED"
    return "BYTE_STREAM_SPLIT" if pa.types.is_integer(kind) else None
