"""The first rule that matches each flow, in a time that grows with the logarithm of the number of rules.

Rules that ask for the same fields, with the same numbers of bits, are one shape. Of each shape, what a flow has in
these fields is looked up among the keys of its rules by a hash; the rules of a key are swept over time beforehand into
segments that do not overlap, each with its first rule. A flow costs a few binary searches for every shape.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.labels.truth.rules import FOREVER, PORT_BITS, Ends, Rules

Array = NDArray[Any]
NOTHING = np.int64(2**62)
"""Rank of no rule."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = range(1, 64)


class Flows(NamedTuple):
    """What rules ask for, of each flow; ends are those of (client, server). `files` are the patterns of each flow's
    file, (flow, pattern), -2 where there are no more."""

    version: Array
    high: tuple[Array, Array]
    low: tuple[Array, Array]
    port: tuple[Array, Array]
    protocol: Array
    start: Array
    files: Array

    def turned(self) -> Flows:
        """The same with client and server exchanged."""
        return self._replace(high=self.high[::-1], low=self.low[::-1], port=self.port[::-1])


class _Shape(NamedTuple):
    """Bits of address and port that count at each end; version 0 for any."""

    version: int
    lengths: tuple[int, int]
    ports: tuple[int, int]
    protocol: bool
    file: bool

    def fields(self, flows: Flows, file: Array) -> list[Array]:
        """What of each flow counts, a column for each field that does."""
        found = []
        for end in range(2):
            for half, mask in zip((flows.high[end], flows.low[end]), self._masks(end), strict=True):
                if mask:
                    found.append(half.astype(np.uint64) & mask)
            if self.ports[end]:
                found.append(flows.port[end].astype(np.uint64) >> np.uint64(PORT_BITS - self.ports[end]))
        if self.protocol:
            found.append(flows.protocol.astype(np.uint64))
        if self.file:
            found.append(file.astype(np.int64).view(np.uint64))
        return found

    def _masks(self, end: int) -> tuple[np.uint64, np.uint64]:
        """The bits of both halves of an address; those of an IPv4 address are in the low one."""
        length = self.lengths[end]
        if self.version == 4:
            return np.uint64(0), _first_bits(length, 32)
        return _first_bits(min(length, 64), 64), _first_bits(max(length - 64, 0), 64)


def _first_bits(count: int, width: int) -> np.uint64:
    return np.uint64(((1 << count) - 1) << (width - count))


class _Keys:
    """What the rules of a shape have in its fields: each once, found by a hash."""

    def __init__(self, fields: Sequence[Array], rows: int) -> None:
        for seed in _SEEDS:
            self._seed = np.uint64(seed)
            self._hashes, first, self.of_rule = np.unique(
                self._hash(fields, rows), return_index=True, return_inverse=True
            )
            self._fields = [field[first] for field in fields]
            if all((own[self.of_rule] == field).all() for own, field in zip(self._fields, fields, strict=True)):
                return
        raise AssertionError("no seed tells the keys apart")

    def find(self, fields: Sequence[Array], rows: int) -> Array:
        """The key of each row, -1 for none."""
        hashes = self._hash(fields, rows)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        same = self._hashes[places] == hashes
        for own, field in zip(self._fields, fields, strict=True):
            same &= own[places] == field
        return np.where(same, places, -1)

    def _hash(self, fields: Sequence[Array], rows: int) -> NDArray[np.uint64]:
        words = np.full(rows, self._seed, np.uint64)
        with np.errstate(over="ignore"):
            for field in fields:
                words = (words ^ field) * _ODD
                words ^= words >> np.uint64(29)
                words = words * np.uint64(0xBF58476D1CE4E5B9)
                words ^= words >> np.uint64(32)
        return words


class Timeline:
    """Steps over time of many keys: `find` gives the last step of a key up to a time."""

    def __init__(self, key: Array, time: Array) -> None:
        """The steps are sorted by key and time."""
        self._times, ranks = np.unique(time, return_inverse=True)
        self._key = key
        self._width = len(self._times) + 1
        self._places = key * self._width + ranks

    def find(self, key: Array, time: Array) -> Array:
        """Number of the step, -1 where the key is -1 or has none so early."""
        ranks = np.searchsorted(self._times, time, "right") - 1
        steps = np.searchsorted(self._places, key * self._width + ranks, "right") - 1
        return np.where((key >= 0) & (steps >= 0) & (self._key[steps] == key), steps, -1)


class _Group:
    """The rules of a shape."""

    def __init__(self, shape: _Shape, rules: Rules, chosen: Array) -> None:
        self.shape = shape
        flows, files = _as_flows(rules, chosen)
        self.keys = _Keys(shape.fields(flows, files), len(chosen))
        self.chosen = chosen

    def find(self, flows: Flows) -> Iterator[Array]:
        """The key of each flow, -1 for none; several times where a file has several patterns."""
        count = flows.files.shape[1] if self.shape.file else 1
        for place in range(count):
            file = flows.files[:, place] if self.shape.file else flows.protocol
            keys = self.keys.find(self.shape.fields(flows, file), len(flows.start))
            yield keys if not self.shape.version else np.where(flows.version == self.shape.version, keys, -1)


def _as_flows(rules: Rules, chosen: Array) -> tuple[Flows, Array]:
    """Rules as if they were flows: their first address and port."""
    one, other = (Ends(*(column[chosen] for column in end)) for end in rules.ends)
    version = np.maximum(one.version, other.version)
    pairs = ((one.high, other.high), (one.low, other.low), (one.port, other.port))
    file = rules.file[chosen]
    return Flows(version, *pairs, rules.protocol[chosen], rules.start[chosen], file[:, None]), file


def groups_of(rules: Rules) -> list[_Group]:
    """The rules by their shape; none where no flow can match any."""
    if not len(rules.row):
        return []
    one, other = rules.ends
    columns = np.stack(
        (
            np.maximum(one.version, other.version),
            np.where(one.version > 0, one.length, 0),
            np.where(other.version > 0, other.length, 0),
            *(one.port_length, other.port_length, rules.protocol >= 0, rules.file >= 0),
        ),
        axis=1,
    ).astype(np.int64)
    shapes, inverse = np.unique(columns, axis=0, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    bounds = np.cumsum(np.bincount(inverse.reshape(-1), minlength=len(shapes)))
    return [
        _Group(
            _Shape(version, (length_1, length_2), (port_1, port_2), bool(protocol), bool(file)),
            rules,
            order[begin:stop],
        )
        for (version, length_1, length_2, port_1, port_2, protocol, file), begin, stop in zip(
            shapes.tolist(), (0, *bounds[:-1]), bounds, strict=True
        )
    ]


class Index:
    """Finds the first rule of each flow; with `either` ends match both ways round."""

    def __init__(self, rules: Rules, either: bool) -> None:
        self._either = either
        self._groups = [(group, *_segments(group, rules)) for group in groups_of(rules)]

    def find(self, flows: Flows, times: Array) -> Array:
        """The lowest rank of the rules that match, at these times by the table's clock; NOTHING for none."""
        best = np.full(len(times), NOTHING)
        for seen in (flows, flows.turned()) if self._either else (flows,):
            for group, timeline, ranks in self._groups:
                for keys in group.find(seen):
                    steps = timeline.find(keys, times)
                    np.minimum(best, np.where(steps >= 0, ranks[steps], NOTHING), out=best)
        return best


def _segments(group: _Group, rules: Rules) -> tuple[Timeline, Array]:
    """When the first rule of each key changes, and its rank from then on."""
    key = group.keys.of_rule.reshape(-1)
    start, end, rank = (column[group.chosen] for column in (rules.start, rules.end, rules.rank))
    order = np.lexsort((rank, start, key))
    key, start, end, rank = key[order], start[order], end[order], rank[order]
    crossing = np.append((key[1:] == key[:-1]) & (start[1:] < end[:-1]), False)
    busy = np.isin(key, key[crossing]) if crossing.any() else np.zeros(len(key), bool)
    swept = list(_sweep_all(key[busy], start[busy], end[busy], rank[busy]))
    plain = ~busy
    keys = np.concatenate((key[plain], key[plain], np.array([step[0] for step in swept], np.int64)))
    times = np.concatenate((end[plain], start[plain], np.array([step[1] for step in swept], np.int64)))
    ends = np.full(int(plain.sum()), NOTHING)
    ranks = np.concatenate((ends, rank[plain], np.array([step[2] for step in swept], np.int64)))
    order = np.lexsort((np.arange(len(keys)), times, keys))  # where one ends as the next begins, that one counts
    return Timeline(keys[order], times[order]), ranks[order]


def _sweep_all(key: Array, start: Array, end: Array, rank: Array) -> Iterator[tuple[int, int, int]]:
    """The steps (key, time, rank) of keys whose rules overlap; the rules are sorted by key and start."""
    bounds = [0, *(np.flatnonzero(key[1:] != key[:-1]) + 1).tolist(), len(key)]
    for begin, stop in itertools.pairwise(bounds):
        if begin < stop:
            rules = zip(start[begin:stop].tolist(), end[begin:stop].tolist(), rank[begin:stop].tolist(), strict=True)
            number = int(key[begin])
            yield from ((number, time, first) for time, first in _sweep(list(rules)))


def _sweep(rules: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """When the first of these rules (start, end, rank), sorted by start, changes, and its rank; NOTHING for none."""
    times = sorted({time for start, end, _ in rules for time in (start, end)})
    open_rules: list[tuple[int, int]] = []
    at, before = 0, int(NOTHING)
    for time in times:
        while at < len(rules) and rules[at][0] <= time:
            heapq.heappush(open_rules, (rules[at][2], rules[at][1]))
            at += 1
        while open_rules and open_rules[0][1] <= time:
            heapq.heappop(open_rules)
        first = open_rules[0][0] if open_rules else int(NOTHING)
        if first != before:
            yield time, first
            before = first


class Cover:
    """How many flows have a rule, for any shift of the table's clock and any width that rules are given more."""

    def __init__(self, rules: Rules, either: bool, flows: Flows) -> None:
        self._start = flows.start
        self._parts = []
        for group in groups_of(rules):
            timeline, reach, row = _reaches(group, rules)
            views = (flows, flows.turned()) if either else (flows,)
            keys = [keys for seen in views for keys in group.find(seen) if (keys >= 0).any()]
            self._parts += [(timeline, reach, row, found) for found in keys]
        self._rows = int(rules.row.max(initial=0)) + 1

    def count(self, offset: int, width: int) -> int:
        """Flows that begin within `width` of a row, and rows that have such a flow; times are ns."""
        covered, used = self._look(offset, width)
        return int(covered.sum()) + int(used.sum())

    def flows(self, offset: int) -> int:
        """Flows that begin within a row."""
        return int(self._look(offset, 0)[0].sum())

    def _look(self, offset: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        times = np.clip(self._start - offset, -FOREVER, FOREVER)
        covered = np.zeros(len(times), bool)
        used = np.zeros(self._rows, bool)
        for timeline, reach, row, keys in self._parts:
            steps = timeline.find(keys, times + width)
            inside = (steps >= 0) & (reach[steps] > times - width)
            covered |= inside
            used[row[steps[inside]]] = True
        return covered, used


def _reaches(group: _Group, rules: Rules) -> tuple[Timeline, Array, Array]:
    """Starts of the rules of each key in their order, and the latest end of a rule up to each; and its row."""
    key = group.keys.of_rule.reshape(-1)
    start, end, row = (column[group.chosen] for column in (rules.start, rules.shown, rules.row))
    order = np.lexsort((end, start, key))
    key, start, end, row = key[order], start[order], end[order], row[order]
    first = np.append(True, key[1:] != key[:-1])
    base = np.cumsum(first)  # so that the ends of a key are above all of the keys before it
    ranks = np.unique(end, return_inverse=True)[1].reshape(-1)
    running = np.maximum.accumulate(base * (len(end) + 1) + ranks) - base * (len(end) + 1)
    return Timeline(key, start), np.unique(end)[running], row
