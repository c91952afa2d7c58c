"""Snapshots: what a part of a run remembers, as arrays and values of JSON, and back.

A part has `snapshot()`, which gives a dict of arrays, values of JSON, and dicts and lists of those, and `restore(…)`,
which takes what `snapshot` of an equal part has given: itself, or as it was read from a file. Arrays of snapshots are
views, so a snapshot is to be used before the run goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Snapshot = dict[str, Any]


class Stored(NamedTuple):
    """An array as it was read: its kind (:func:`kind_of`), its shape, and its bytes."""

    kind: str
    shape: tuple[int, ...]
    data: Any


class Rows(NamedTuple):
    """Some rows of an array, which are not copied before they are needed."""

    table: NDArray[Any]
    rows: NDArray[np.int64]

    def pieces(self, size: int) -> Iterator[NDArray[Any]]:
        """The rows, of which so many bytes are copied at a time."""
        count = max(1, size // max(1, self.table[:1].nbytes))
        for begin in range(0, len(self.rows), count):
            yield self.table[self.rows[begin : begin + count]]


class SnapshotMismatch(Exception):
    """A snapshot that is not of such a part: of another version, or damaged."""


def kind_of(dtype: np.dtype[Any]) -> str:
    """A text that is the same for types of the same layout only."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"{kind_of(base)}{shape}"
    if dtype.fields is None:
        return str(dtype.str)
    fields = (f"{name}@{dtype.fields[name][1]}:{kind_of(dtype.fields[name][0])}" for name in dtype.names or ())
    return f"{{{' '.join(fields)}}}{dtype.itemsize}"


def restored(snapshot: Snapshot, name: str, dtype: Any) -> NDArray[Any]:
    """An array of a snapshot, to be read. Raises SnapshotMismatch where it is not of this type."""
    value, dtype = snapshot.get(name), np.dtype(dtype)
    kind = kind_of(dtype)
    if isinstance(value, Rows):
        value = value.table[value.rows]
    if isinstance(value, np.ndarray) and kind_of(value.dtype) == kind:
        return value.view(np.ndarray)
    if isinstance(value, Stored) and value.kind == kind and len(value.data) == math.prod(value.shape) * dtype.itemsize:
        return np.frombuffer(value.data, dtype).reshape(value.shape)
    raise SnapshotMismatch(f"{name} is not what it is in this version")


def fill(array: Any, snapshot: Snapshot, name: str) -> None:
    """Put an array of a snapshot at the begin of one that is as long or longer."""
    values = restored(snapshot, name, array.dtype)
    if values.shape[1:] != array.shape[1:] or len(values) > len(array):
        raise SnapshotMismatch(f"{name} is larger than it can be in this version")
    array[: len(values)] = values.view(array.dtype)


def rows_at(array: Any, rows: NDArray[np.int64]) -> Rows:
    """Some rows of an array of records."""
    return Rows(array.view(np.ndarray), rows)


def in_use(free: NDArray[Any], rows: int) -> NDArray[np.int64]:
    """Those of the first rows that are not among the free ones."""
    used = np.ones(rows, np.bool_)
    used[free] = False
    return np.flatnonzero(used)
