"""Which record of one side is which of the other: same key, nearest in time, one to one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.comparing.sides import NANOSECONDS

I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

_FEWEST = 3  # records that agree on how far one clock is from the other
_MOST_ROUNDS = 1000
_NEVER = np.iinfo(np.int64).max
_MORE_PACKETS = 1.1  # that the pieces of a record may have


class Times(NamedTuple):
    """Of each record its key, a small number, and its first and last time, ns."""

    key: I64
    start: I64
    end: I64


class Matching(NamedTuple):
    """`a` and `b` are the rows of pairs, `only_a` and `only_b` rows without one; `splits` are pieces in b of records of
    a, as (row of a, row of b), and `merges` the same the other way round, (row of b, row of a)."""

    a: I64
    b: I64
    only_a: I64
    only_b: I64
    splits: NDArray[np.int64]
    merges: NDArray[np.int64]


def clock_offset(a: Times, b: Times, step: int) -> int:
    """How far the clock of b is ahead, ns: what most records of the same keys say, 0 where it is not more than `step`.

    Records of a key are taken in order of time, where both sides have as many.
    """
    rows_a, rows_b = _in_turn(a, b)
    if len(rows_a) < _FEWEST:
        return 0
    ahead = b.start[rows_b] - a.start[rows_a]
    values, counts = np.unique(ahead, return_counts=True)
    exact = int(values[np.argmax(counts)])
    offset = exact if 2 * counts.max() > len(ahead) else int(np.median(ahead))
    agree = np.abs(ahead - offset) <= max(step, 1_000)
    return offset if abs(offset) > step and 2 * agree.sum() > len(ahead) else 0


def _in_turn(a: Times, b: Times) -> tuple[I64, I64]:
    """Rows of both sides that are the n-th of their key, of keys with as many on both."""
    keys = _most(a, b)
    order_a, order_b = (np.lexsort((side.start, side.key)) for side in (a, b))
    same = np.bincount(a.key, minlength=keys) == np.bincount(b.key, minlength=keys)
    return order_a[same[a.key[order_a]]], order_b[same[b.key[order_b]]]


def _most(a: Times, b: Times) -> int:
    """One more than the highest key."""
    return int(max(a.key.max(initial=0), b.key.max(initial=0))) + 1


def _on_both_sides(a: Times, b: Times, rows_a: I64, rows_b: I64) -> tuple[I64, I64]:
    """Those of the rows whose key is that of a row of the other side."""
    keys = _most(a, b)
    both = (np.bincount(a.key[rows_a], minlength=keys) > 0) & (np.bincount(b.key[rows_b], minlength=keys) > 0)
    return rows_a[both[a.key[rows_a]]], rows_b[both[b.key[rows_b]]]


def by_place(rows_a: int, rows_b: int) -> Matching:
    """The pairs of records that nothing tells apart but their place; none where one side has more."""
    rows, nothing = np.arange(rows_a if rows_a == rows_b else 0), np.zeros((0, 2), np.int64)
    return Matching(rows, rows, np.arange(len(rows), rows_a), np.arange(len(rows), rows_b), nothing, nothing)


def match(a: Times, b: Times, within: int, packets: tuple[I64, I64] | None = None) -> Matching:
    """Pairs of records that start within so many ns of each other or, of the rest, overlap in time.

    `packets` of both sides tell pieces of a record from other records.
    """
    if len(a.key) == len(b.key) and all(np.array_equal(mine, other) for mine, other in zip(a, b, strict=True)):
        return by_place(len(a.key), len(b.key))
    rows_a, rows_b = np.arange(len(a.key)), np.arange(len(b.key))
    found: list[tuple[I64, I64]] = []
    for longest in (within, None):
        pairs = _pair(a, b, rows_a, rows_b, longest)
        found.append(pairs)
        rows_a, rows_b = _without(rows_a, pairs[0]), _without(rows_b, pairs[1])
    in_a = np.concatenate([pair[0] for pair in found])
    in_b = np.concatenate([pair[1] for pair in found])
    order = np.argsort(in_a)
    in_a, in_b = in_a[order], in_b[order]
    counts = packets or (None, None)
    splits = _pieces(a, b, (in_a, in_b), rows_b, counts)
    merges = _pieces(b, a, (in_b, in_a), rows_a, counts[::-1])
    return Matching(in_a, in_b, _without(rows_a, merges[:, 1]), _without(rows_b, splits[:, 1]), splits, merges)


def _without(rows: I64, others: I64) -> I64:
    """Those of ascending rows that are not among the others."""
    kept = np.zeros(int(rows[-1]) + 1 if len(rows) else 0, np.bool_)
    kept[rows] = True
    kept[others] = False
    return np.flatnonzero(kept)


def _pair(a: Times, b: Times, rows_a: I64, rows_b: I64, within: int | None) -> tuple[I64, I64]:
    """Pairs of these rows that are nearest to each other: within so many ns, or those that overlap.

    In order of key and time, the nearest of the other side is the neighbour on one of both sides: neighbours of two
    sides that are nearer to each other than to their others are a pair, again and again with what is left.
    """
    found: list[tuple[I64, I64]] = []
    rows_a, rows_b = _on_both_sides(a, b, rows_a, rows_b)
    side = np.repeat(np.array([0, 1]), [len(rows_a), len(rows_b)])
    row = np.concatenate((rows_a, rows_b))
    key, start, end = (np.concatenate((mine[rows_a], other[rows_b])) for mine, other in zip(a, b, strict=True))
    order = np.lexsort((side, _turn(key, start, end, side), start, key))
    side, row, key, start, end = (values[order] for values in (side, row, key, start, end))
    for _ in range(_MOST_ROUNDS):
        gap = np.diff(start)
        near = (key[1:] == key[:-1]) & (side[1:] != side[:-1])
        near &= start[1:] <= end[:-1] if within is None else gap <= within
        if not near.any():
            break
        gap = np.where(near, gap, _NEVER)
        before, after = np.append(_NEVER, gap[:-1]), np.append(gap[1:], _NEVER)
        chosen = np.flatnonzero(near & (gap < before) & (gap <= after))
        first, second = row[chosen], row[chosen + 1]
        swapped = side[chosen] == 1
        found.append((np.where(swapped, second, first), np.where(swapped, first, second)))
        kept = np.ones(len(row), np.bool_)
        kept[chosen] = kept[chosen + 1] = False
        side, row, key, start, end = (values[kept] for values in (side, row, key, start, end))
    if not found:
        return rows_a[:0], rows_b[:0]
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _turn(key: I64, start: I64, end: I64, side: I64) -> I64:
    """Number of each record among those of its side with its key and start, in order of their end."""
    order = np.lexsort((end, start, key, side))
    same = np.append(
        False,
        (np.diff(key[order]) == 0) & (np.diff(start[order]) == 0) & (np.diff(side[order]) == 0),
    )
    place = np.arange(len(key))
    begin = np.maximum.accumulate(np.where(same, 0, place))
    turn = np.empty(len(key), np.int64)
    turn[order] = place - begin
    return turn


def _pieces(
    whole: Times, other: Times, pairs: tuple[I64, I64], rest: I64, packets: tuple[I64 | None, I64 | None]
) -> NDArray[np.int64]:
    """Rows of the rest of the other side that are pieces of a record of the whole side: (row of it, piece).

    A piece lies within the time of the record, which has a partner already; it is no copy of that, and all pieces
    together have no more packets than the record.
    """
    nothing = np.zeros((0, 2), np.int64)
    if not len(rest):
        return nothing
    partner = np.full(len(whole.key), -1, np.int64)
    partner[pairs[0]] = pairs[1]
    record = _latest_before(whole, other, rest)
    known = record >= 0
    rest, record = rest[known], record[known]
    mine = partner[record]
    inside = (mine >= 0) & (other.start[rest] <= whole.end[record])
    copy = (other.start[rest] == other.start[mine]) & (other.end[rest] == other.end[mine])
    rest, record = rest[inside & ~copy], record[inside & ~copy]
    if not len(rest):
        return nothing
    if packets[0] is not None and packets[1] is not None:
        total = np.bincount(record, packets[1][rest], len(whole.key)) + packets[1][np.maximum(partner, 0)]
        fits = total[record] <= packets[0][record] * _MORE_PACKETS
        rest, record = rest[fits], record[fits]
    return np.stack((record, rest), axis=1)


def _latest_before(whole: Times, other: Times, rest: I64) -> I64:
    """For each of the rest, the last record of its key that starts before it ends; -1 where there is none."""
    side = np.repeat(np.array([0, 1], np.int8), [len(whole.key), len(rest)])
    key = np.concatenate((whole.key, other.key[rest]))
    time = np.concatenate((whole.start, other.end[rest]))
    order = np.lexsort((side, time, key))
    place = np.arange(len(order))
    last = np.maximum.accumulate(np.where(side[order] == 0, place, -1))
    found = np.where((last >= 0) & (key[order][last] == key[order]), order[last], -1)
    latest = np.empty(len(order), np.int64)
    latest[order] = found
    return latest[len(whole.key) :]


def seconds(ns: int) -> float:
    """ns as seconds."""
    return ns / NANOSECONDS
