"""Arrow IPC files (also known as Feather version 2).

Categories are written as plain strings: their dictionaries grow while rows are written, and the file
format has no place for a dictionary that replaces another.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flowgauge.sinks.output import Output


class ArrowWriter:
    """Writes each table as one record batch."""

    rows = 32_768

    def __init__(self, output: Output, schema: pa.Schema) -> None:
        self._schema = pa.schema([_plain(field) for field in schema], schema.metadata)
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1), use_threads=False)
        self._stream = output.gathered()
        self._writer = pa.ipc.new_file(self._stream, self._schema, options=options)

    def write(self, table: pa.Table) -> None:
        """Write the rows of a table."""
        columns = [_rebuilt(column) for column in table.cast(self._schema).columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._stream.flush()

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._stream.flush()


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _rebuilt(column: pa.ChunkedArray) -> pa.Array:
    """One array in memory of its own: a slice would be written with bits of the rows behind it."""
    array = pa.concat_arrays([*column.chunks, column.chunk(0).slice(0, 0)])
    is_wide = pa.types.is_primitive(array.type) and array.type.bit_width >= 8
    return _without_rests(array) if is_wide and array.null_count else array


def _without_rests(array: pa.Array) -> pa.Array:
    """The same with zeros where it is null: what was computed there depends on how rows came in batches."""
    validity, values = array.buffers()
    words = np.frombuffer(values, f"u{array.type.bit_width // 8}", len(array)).copy()
    words[~array.is_valid().to_numpy(zero_copy_only=False)] = 0
    return pa.Array.from_buffers(array.type, len(array), [validity, pa.py_buffer(words)], array.null_count)
