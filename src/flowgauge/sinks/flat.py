"""Lists for formats that have none: a column for each place, null where the list is shorter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.errors import ConfigError


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with columns `name_1`, `name_2`, … in the place of each column `name` of lists.

    Raises ConfigError for nested columns other than lists that say in their metadata how long they get.
    """
    return pa.schema([flat for field in schema for flat in _flat_fields(field)])


def check_lists(schema: pa.Schema) -> None:
    """Raises ConfigError for nested columns other than lists of plain values."""
    for field in schema:
        if pa.types.is_nested(field.type) and not (
            is_list(field.type) and not pa.types.is_nested(field.type.value_type)
        ):
            raise _no_text(field)


def _no_text(field: pa.Field) -> ConfigError:
    return ConfigError(f"column {field.name!r} holds {field.type}, which is no text; write Parquet or Arrow")


def _flat_fields(field: pa.Field) -> list[pa.Field]:
    if not pa.types.is_nested(field.type):
        return [field]
    length = _length(field)
    if not is_list(field.type) or pa.types.is_nested(field.type.value_type) or length is None:
        raise _no_text(field)
    return [pa.field(f"{field.name}_{place + 1}", field.type.value_type) for place in range(length)]


def _length(field: pa.Field) -> int | None:
    if pa.types.is_fixed_size_list(field.type):
        return int(field.type.list_size)
    said = (field.metadata or {}).get(b"length")
    return None if said is None else int(said)


def flat_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the columns of its flat schema."""
    arrays: list[pa.Array] = []
    for field, array in zip(batch.schema, batch.columns, strict=True):
        arrays += _places(array, _length(field) or 0) if is_list(array.type) else [array]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _places(lists: pa.Array, length: int) -> list[pa.Array]:
    """The first values of all lists, the second ones, …"""
    begins, counts = _begins(lists)
    values = lists.values.to_numpy(zero_copy_only=False)
    kind, found = lists.type.value_type, []
    for place in range(length):
        beyond = counts <= place
        taken = values[np.where(beyond, 0, begins + place)] if len(values) else np.zeros(len(lists), values.dtype)
        found.append(pa.array(taken, kind, mask=beyond))
    return found


def _begins(lists: pa.Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where the values of each list begin in those of all, and how many there are; none of a null."""
    if pa.types.is_fixed_size_list(lists.type):
        size = lists.type.list_size
        begins, counts = size * (lists.offset + np.arange(len(lists))), np.full(len(lists), size)
    else:
        offsets = lists.offsets.to_numpy()
        begins, counts = offsets[:-1], np.diff(offsets)
    if lists.null_count:
        counts = np.where(lists.is_null().to_numpy(zero_copy_only=False), 0, counts)
    return begins, counts


_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


def hex_array(values: pa.Array) -> pa.Array:
    """The hexadecimal text of byte strings."""
    values = values.cast(pa.binary())
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    buffer = values.buffers()[2]
    data = np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)[offsets[0] : offsets[-1]]
    text, places = _HEX[data], 2 * (offsets - offsets[0])
    null = values.is_null().to_numpy(zero_copy_only=False)
    bits = pa.py_buffer(np.packbits(~null, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(values), [bits, pa.py_buffer(places), pa.py_buffer(text)])
