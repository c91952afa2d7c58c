"""From flow records to what models are trained on: columns without identity, sequences as arrays, fair splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.errors import ConfigError


def features_of(table: pa.Table) -> pa.Table:
    """The columns to learn from: those of role `feature` that hold one number, truth value or category.

    What names a flow, its endpoints, its file or its time is left out, and so are labels, texts and lists
    (:func:`sequences` makes arrays of those). Raises ConfigError for a table that does not say what its columns are.
    """
    roles = {field.name: (field.metadata or {}).get(b"role") for field in table.schema}
    if not any(roles.values()):
        raise ConfigError("the columns have no roles: take a table of fg.read, or one read from Parquet or Arrow")
    chosen = [field.name for field in table.schema if roles[field.name] == b"feature" and _is_single(field.type)]
    return table.select(chosen)


def _is_single(kind: pa.DataType) -> bool:
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(numeric or pa.types.is_dictionary(kind))


class Sequences(NamedTuple):
    """Packets of flows as dense arrays.

    `values` is (flow, packet, channel), 0 where the flow has no such packet; `mask` is (flow, packet), true where it
    has; `channels` names the last axis.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    channels: tuple[str, ...]


def sequences(table: pa.Table, columns: Sequence[str] | None = None) -> Sequences:
    """The packet sequences of each flow, padded to the same length.

    `columns` are list columns of one length, by default all that begin with `splt_`. Raises ConfigError where there are
    none.
    """
    names = [name for name in table.schema.names if name.startswith("splt_")] if columns is None else list(columns)
    if not names:
        raise ConfigError("there are no sequences: meter with features='splt', or name list columns")
    arrays = [table[name].combine_chunks() for name in names]
    for name, array in zip(names, arrays, strict=True):
        if not pa.types.is_list(array.type):
            raise ConfigError(f"column {name!r} holds {array.type} and no lists")
    length = max(_length(table.schema.field(name), array) for name, array in zip(names, arrays, strict=True))
    values = np.zeros((len(table), length, len(names)), np.float32)
    mask = np.zeros((len(table), length), np.bool_)
    for channel, array in enumerate(arrays):
        rows, places = list_places(array)
        values[rows, places, channel] = pc.list_flatten(array).to_numpy(zero_copy_only=False)
        mask[rows, places] = True
    return Sequences(values, mask, tuple(names))


class PacketBytes(NamedTuple):
    """First bytes of the first packets of flows, as dense arrays.

    `values` is (flow, packet, byte), 0 where there is none; `mask` is the same, true where there is one.
    """

    values: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def packet_bytes(table: pa.Table) -> PacketBytes:
    """The bytes that group `raw` keeps of each flow, padded to the same number of packets.

    Raises ConfigError where the table has none.
    """
    if not {"raw_len", "raw_bytes"} <= set(table.schema.names):
        raise ConfigError("there are no bytes of packets: meter with features='raw', and without anonymize")
    lengths, held = table["raw_len"].combine_chunks(), table["raw_bytes"].combine_chunks()
    packets, size = (_length(table.schema.field(name), lengths) for name in ("raw_len", "raw_bytes"))
    rows, places = list_places(lengths)
    values = np.zeros((len(table), packets, size), np.uint8)
    counts = np.zeros((len(table), packets), np.int64)
    values[rows, places] = _bytes_of(held).reshape(-1, size)
    counts[rows, places] = pc.list_flatten(lengths).to_numpy(zero_copy_only=False)
    return PacketBytes(values, np.arange(size) < counts[:, :, None])


def _bytes_of(held: pa.Array) -> NDArray[np.uint8]:
    """All bytes of a binary array, one value behind the other."""
    _, offsets, data = held.buffers()
    begin, end = np.frombuffer(offsets, np.int32)[[held.offset, held.offset + len(held)]]
    return np.frombuffer(data, np.uint8)[begin:end] if data is not None else np.zeros(0, np.uint8)


def _length(field: pa.Field, lists: pa.Array) -> int:
    said = (field.metadata or {}).get(b"length")
    return int(said) if said else int(pc.max(pc.list_value_length(lists)).as_py() or 0)


def list_places(lists: pa.Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """Row, and place in its list, of every value."""
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists)), counts)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, places


def split(
    table: pa.Table, by: str | Sequence[str] = "source", *, test: float = 0.2, seed: int = 0
) -> tuple[pa.Table, pa.Table]:
    """Training and test rows that share no value of `by`: a column, several together, or "day", that of `start` in UTC.

    Flows of one capture resemble each other; rows drawn at random would put some of each into both. Groups are drawn by
    a hash of their value, so the same ones for the same `seed`, until at least the share `test` of the rows is
    there. Raises ConfigError where there are fewer than two groups.
    """
    if not 0 < test < 1:
        raise ConfigError(f"test is a share of the rows between 0 and 1, not {test!r}")
    groups = _groups(table, [by] if isinstance(by, str) else list(by))
    counts = {value.as_py(): count.as_py() for value, count in _counted(groups)}
    if len(counts) < 2:
        raise ConfigError(f"all rows have the same {by!r}: there is nothing to split by")
    chosen: list[str] = []
    taken = 0
    for value in sorted(counts, key=lambda value: hashlib.blake2b(f"{seed}:{value}".encode()).digest())[:-1]:
        if taken >= test * len(table):
            break
        chosen.append(value)
        taken += counts[value]
    in_test = pc.is_in(groups, value_set=pa.array(chosen, pa.string()))
    return table.filter(pc.invert(in_test)), table.filter(in_test)


def _counted(groups: pa.ChunkedArray) -> list[tuple[pa.Scalar, pa.Scalar]]:
    found = pc.value_counts(groups)
    return list(zip(found.field("values"), found.field("counts"), strict=True))


def _groups(table: pa.Table, names: list[str]) -> pa.ChunkedArray:
    """A text for each row that stands for its values of these columns."""
    texts = []
    for name in names:
        if name == "day" and name not in table.schema.names:
            texts.append(pc.strftime(pc.floor_temporal(table["start"], unit="day"), "%Y-%m-%d"))
        elif name not in table.schema.names:
            raise ConfigError(f"there is no column {name!r} to split by")
        else:
            texts.append(pc.fill_null(table[name].cast(pa.string()), ""))
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "\x1f")
