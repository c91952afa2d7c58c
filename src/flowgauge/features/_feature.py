"""The interface of a feature group."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.kernels._jit import helper, inline_helper, kernel, prefetch
from flowgauge.kernels.packet import in_units
from flowgauge.snapshot import Snapshot

Array = NDArray[Any]
# A finished column: values, and where they are null (None: nowhere); or a finished array of texts.
# Columns that are null in the same places share one mask object.
Values = tuple[Array, Array | None] | pa.Array

_AHEAD = 32  # packets
_ROWS_AHEAD = 8


def state_dtype(fields: Any) -> np.dtype[Any]:
    """The record with these fields, aligned, in whole 64-bit words: so tables are moved."""
    return in_units(np.dtype(fields, align=True), 8)


@inline_helper
def look_ahead(p, i, stop, state):  # type: ignore[no-untyped-def]
    """Ask for the state of a packet some way behind row i: memory is slower than counting."""
    if i + _AHEAD < stop:
        prefetch(state, p.packets[i + _AHEAD].slot)


@inline_helper
def look_ahead_wide(p, i, stop, states):  # type: ignore[no-untyped-def]
    """The same where a record has a row of states."""
    if i + _AHEAD < stop:
        prefetch(states, np.int64(p.packets[i + _AHEAD].slot) * states.shape[1])


@inline_helper
def look_ahead_at(p, i, stop, state, entries):  # type: ignore[no-untyped-def]
    """The same where a record's `count` tells which of its entries is next: that is asked for when the count is
    there."""
    if i + _AHEAD < stop:
        prefetch(state, p.packets[i + _AHEAD].slot)
        slot = np.int64(p.packets[i + _AHEAD // 2].slot)
        if slot >= 0:
            prefetch(entries, slot * entries.shape[1] + np.int64(state[slot].count))


@inline_helper
def look_ahead_left(state, left, row, wide):  # type: ignore[no-untyped-def]
    """Ask for the entries, not clean, of a row some way behind this one; its `count` tells how many there are, each of
    so many places."""
    if row + _ROWS_AHEAD < len(state):
        first = np.int64(left.slots[row + _ROWS_AHEAD]) * left.table.shape[1]
        for place in range(np.int64(state[row + _ROWS_AHEAD].count) * wide):
            prefetch(left.table, first + place)


@helper
def put_views(out, column, row, up, down):  # type: ignore[no-untyped-def]
    """A count of the flow (view 0) and of its directions (1 and 2) into `out`, which is (view, column, row)."""
    up, down = np.int64(up), np.int64(down)
    out[0, column, row], out[1, column, row], out[2, column, row] = up + down, up, down


# The state of a group that keeps entries and nothing else: how many there are.
COUNT = state_dtype([("count", np.uint32)])


@kernel
def count_entries(state, offsets):  # type: ignore[no-untyped-def]
    """Where the entries of each row begin among those of all, and how many those are: the rows' `count`."""
    offsets[0] = 0
    for row in range(len(state)):
        offsets[row + 1] = offsets[row] + np.int32(state[row].count)


class Layout(NamedTuple):
    """What a record keeps: a `dtype` of :func:`state_dtype`, `width` times where that is given.

    It begins as zeros; where it is not `clean`, as what the slot's last owner left, and is not copied out of the table
    when the record ends. That is for what is wide and of which something else tells how much there is.
    """

    dtype: np.dtype[Any]
    width: int | None = None
    clean: bool = True


class Left(NamedTuple):
    """States, not clean, of ended records: those of row i are at `slots[i]` of `table`."""

    table: Array
    slots: Array


def _nothing() -> None:
    """What a group forgets that knows of nothing but its states."""


def _forget(snapshot: Snapshot) -> None:
    """Where there was nothing, nothing is put back."""


class Feature(NamedTuple):
    """A feature group, made for one meter.

    `states` is what it keeps per record: an array for each, of shape (slot) or, with a width, (slot, place).
    `update(p, begin, stop, *states)` counts rows begin..stop of a batch, where the row's slot is not
    negative; behind these it gets what it `takes`: "flows", the records of all slots, and "data", the source's buffer.
    `finalize(*states, flows, memory)` gets the states and FLOW rows of ended records, row by row parallel (a
    :class:`Left` for a state that is not clean), and returns name -> (values, null mask) for every column of the group,
    made in `memory`. `restart` is called where a trace ends, `counters` tells oddities, and `named` bytes that have
    names, for a group that knows more than its states; that more is what `snapshot` and `restore` are about
    (flowgauge.snapshot).
    """

    name: str
    states: tuple[Layout, ...]
    update: Callable[..., None]
    finalize: Callable[..., dict[str, Values]]
    takes: tuple[str, ...] = ()
    restart: Callable[[], None] = _nothing
    counters: Callable[[], dict[str, int]] = dict
    named: Callable[[], dict[str, int]] = dict
    snapshot: Callable[[], Snapshot] = dict
    restore: Callable[[Snapshot], None] = _forget


def with_states(features: Iterable[Feature], states: Sequence[Any]) -> Iterator[tuple[Feature, Iterator[Any]]]:
    """Each feature with its own of these states, which are those of all, in order; they are to be taken at once."""
    rest = iter(states)
    for feature in features:
        yield feature, itertools.islice(rest, len(feature.states))
