"""Group `distribution`: quantiles, skewness and kurtosis of IP lengths and inter-arrival times.

The values of FEW packets are kept as they are. When there is one more, they are counted together into a block, with a
histogram and moments for each series; few records get that far, and blocks are made for those alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import (
    Array,
    Feature,
    Layout,
    Left,
    Values,
    look_ahead_at,
    look_ahead_left,
    state_dtype,
)
from flowgauge.growing import Growing
from flowgauge.kernels._jit import helper, kernel, prefetch
from flowgauge.kernels.buckets import BUCKETS, MIDDLES, bucket_of
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS, QUANTILES
from flowgauge.snapshot import Snapshot, fill, in_use, restored, rows_at

U16, U32, U64, I64 = np.uint16, np.uint32, np.uint64, np.int64
FEW = 16
TOP = U64(0xFFFFFFFFFFFFFFFF)
NANO = 1e9
# Series: IP lengths up and down; gaps in the flow, up and down.
SERIES, LENGTHS, GAPS = 5, 0, 2

STATE = state_dtype(
    [
        ("count", np.uint32),  # packets whose values are kept, FEW at most
        ("block", np.int32),  # number of its block plus one, 0 without one
        ("carry", np.int32),  # the same, of what the counts of the block are too short for
    ]
)
# A packet; a record has FEW of them.
ENTRY = state_dtype([("gap", np.int64), ("gap_direction", np.int64), ("ip_len", np.uint32), ("direction", np.uint32)])
BLOCK = np.dtype(
    [
        ("shortfall", np.uint64, (SERIES,)),  # TOP minus the smallest
        ("largest", np.uint64, (SERIES,)),
        ("sums", np.float64, (SERIES, 5)),  # count, mean, sums of the second to fourth powers of differences to it
        ("counts", np.uint16, (SERIES, BUCKETS)),
    ],
    align=True,
)
POOL = np.dtype([("fresh", np.int64), ("free", np.int64)])
"""Blocks from `fresh` on were never used; `free` is the length of the list of free ones."""
MOST_TAKEN = 2  # blocks that one packet takes
FIRST_BLOCKS = 1 << 14  # what is never touched costs no memory, and growing copies all
# Where the counts of a block are, in 64-bit words.
BLOCK_WORDS, COUNTS_WORD = BLOCK.itemsize // 8, BLOCK.fields["counts"][1] // 8
COUNTS_IN_WORD, LINE_WORDS = 4, 8
SERIES_WORDS = BUCKETS // COUNTS_IN_WORD
EVEN_COUNTS = U64(0x0000FFFF0000FFFF)


class Columns(NamedTuple):
    """Those of one measure: `values` are (view, COLUMNS, row), quantiles in `unit`; where there are no values they are
    null, where all are the same the others are."""

    values: Array
    empty: Array
    flat: Array
    unit: float


class Scratch(NamedTuple):
    """Values of each series, their buckets, and how many there are."""

    values: Array
    buckets: Array
    counts: Array


# Columns of a series in a view: quantiles, then skewness and kurtosis.
COLUMNS = (*(f"p{percent}" for percent in QUANTILES), "skewness", "kurtosis")
_PERCENT = np.array(QUANTILES, np.uint64)


@helper
def _take_block(pool, free):
    if pool.free > 0:
        pool.free -= 1
        return np.int32(free[pool.free])
    pool.fresh += 1
    return np.int32(pool.fresh - 1)


@helper
def _add_shape(sums, series, n, centre, second, third, fourth):
    """Merge moments of n values into those of a series: count, mean and sums of powers of differences to it
    (Pébay 2008, SAND2008-6212, eq. 3.1); nothing ever subtracts large numbers."""
    x, y = sums[series, 0], np.float64(n)
    if x == 0.0:  # as it is: of equal values none may ever seem to differ
        sums[series, 0], sums[series, 1] = y, centre
        sums[series, 2], sums[series, 3], sums[series, 4] = second, third, fourth
        return
    total = x + y
    delta = centre - sums[series, 1]
    step, square = delta / total, sums[series, 2]
    sums[series, 4] += fourth + delta * step**3 * x * y * (x * x - x * y + y * y)
    sums[series, 4] += 6.0 * step * step * (x * x * second + y * y * square) + 4.0 * step * (
        x * third - y * sums[series, 3]
    )
    sums[series, 3] += third + delta * step * step * x * y * (x - y) + 3.0 * step * (x * second - y * square)
    sums[series, 2] += second + delta * step * x * y
    sums[series, 1] += step * y
    sums[series, 0] = total


@helper
def _shape_of(values, n):
    """Mean of values, and sums of the second to fourth powers of differences to it.

    Everything is taken from the first value: of equal values, however large, the mean is that value and no other.
    """
    second = third = fourth = 0.0
    if n == 0:
        return 0.0, second, third, fourth
    total = 0.0
    for place in range(n):
        total += np.float64(values[place] - values[0])
    centre = total / n
    for place in range(n):
        delta = np.float64(values[place] - values[0]) - centre
        square = delta * delta
        second += square
        third += square * delta
        fourth += square * square
    return np.float64(values[0]) + centre, second, third, fourth


@helper
def _add_values(f, blocks, pool, free, series, values, buckets, n):
    """Count values, of these buckets, into the histogram and moments of a series."""
    b = blocks[f.block - 1]
    smallest, largest = TOP, U64(0)
    for place in range(n):
        value, bucket = U64(values[place]), buckets[place]
        smallest, largest = min(smallest, value), max(largest, value)
        b.counts[series, bucket] += U16(1)
        if b.counts[series, bucket] == 0:
            if f.carry == 0:
                f.carry = _take_block(pool, free) + 1
            blocks[f.carry - 1].counts[series, bucket] += U16(1)
    if n > 0:
        b.shortfall[series] = max(b.shortfall[series], TOP - smallest)
        b.largest[series] = max(b.largest[series], largest)
        centre, second, third, fourth = _shape_of(values, n)
        _add_shape(b.sums, series, n, centre, second, third, fourth)


@helper
def _collect(f, entries, slot, series, values):
    """The values that are kept of a series, in order of arrival; how many there are."""
    n = 0
    for place in range(f.count):
        entry = entries[slot, place]
        if series == GAPS:
            value = entry.gap
        elif series < GAPS:
            value = I64(entry.ip_len) if entry.direction == series else I64(-1)
        else:
            value = entry.gap_direction if entry.direction == series - GAPS - 1 else I64(-1)
        if value >= 0:
            values[n] = value
            n += 1
    return n


@helper
def _empty(f, entries, slot, blocks, words, pool, free, scratch):
    """Move the values that are kept into the block.

    All buckets are asked for before the first is counted in: most of them are not in the cache.
    """
    if f.block == 0:
        f.block = _take_block(pool, free) + 1
    begin = I64(f.block - 1) * BLOCK_WORDS
    for line in range(0, COUNTS_WORD, LINE_WORDS):
        prefetch(words, begin + line)
    for series in range(SERIES):
        values, buckets = scratch.values[series], scratch.buckets[series]
        n = _collect(f, entries, slot, series, values)
        for place in range(n):
            buckets[place] = bucket_of(U64(values[place]))
            prefetch(words, begin + COUNTS_WORD + (series * BUCKETS + buckets[place]) // COUNTS_IN_WORD)
        scratch.counts[series] = n
    for series in range(SERIES):
        n = scratch.counts[series]
        _add_values(f, blocks, pool, free, series, scratch.values[series], scratch.buckets[series], n)
    f.count = U32(0)


@kernel
def update(p, begin, stop, state, entries, blocks, words, pool, free, scratch):
    """Returns the first row that was not counted, because there are too few blocks; `words` are those of the blocks."""
    s = pool[0]
    for i in range(begin, stop):
        look_ahead_at(p, i, stop, state, entries)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f = state[q.slot]
        if f.count == FEW:
            if s.free + len(blocks) - s.fresh < MOST_TAKEN:
                return i
            _empty(f, entries, q.slot, blocks, words, s, free, scratch)
        entry = entries[q.slot, f.count]
        entry.gap, entry.gap_direction, entry.ip_len, entry.direction = q.gap, q.gap_direction, q.ip_len, q.direction
        f.count += U32(1)
    return stop


@helper
def _insert(values, n, value):
    """Put a value into its place among the first n, which are in order."""
    place = n
    while place > 0 and values[place - 1] > value:
        values[place] = values[place - 1]
        place -= 1
    values[place] = value


@helper
def _rank(percent, n):
    """Number, from 1, of a quantile among n values in order: the nearest rank."""
    return (n * percent + U64(99)) // U64(100)


@helper
def _put_shape(out, view, row, n, second, third, fourth):
    """Skewness and excess kurtosis from sums of powers of differences to the mean; null where that is 0."""
    out.flat[view, row] = not second > 0.0
    if second > 0.0:
        out.values[view, len(_PERCENT), row] = math.sqrt(n) * third / (second * math.sqrt(second))
        out.values[view, len(_PERCENT) + 1, row] = n * fourth / (second * second) - 3.0


@helper
def _finish_few(values, n, out, view, row):
    """Columns of a series in a view from its values, which are put in order."""
    _, second, third, fourth = _shape_of(values, n)
    _put_shape(out, view, row, np.float64(n), second, third, fourth)
    for place in range(1, n):
        _insert(values, place, values[place])
    out.empty[view, row] = n == 0
    if n > 0:
        for place in range(len(_PERCENT)):
            out.values[view, place, row] = np.float64(values[_rank(_PERCENT[place], U64(n)) - U64(1)]) / out.unit


@helper
def _count_in(f, blocks, series, bucket):
    count = I64(blocks[f.block - 1].counts[series, bucket])
    return count if f.carry == 0 else count + (I64(blocks[f.carry - 1].counts[series, bucket]) << I64(16))


@helper
def _four(number, words, series, word):
    """Sum of the four counts in a word of a block."""
    four = words[number * BLOCK_WORDS + COUNTS_WORD + series * SERIES_WORDS + word]
    two = (four & EVEN_COUNTS) + (four >> U64(16) & EVEN_COUNTS)
    return (two & U64(0xFFFFFFFF)) + (two >> U64(32))


@helper
def _count_in_word(f, words, series, word):
    count = _four(I64(f.block) - 1, words, series, word)
    return count if f.carry == 0 else count + (_four(I64(f.carry) - 1, words, series, word) << U64(16))


@helper
def _put_quantiles(f, blocks, words, first, last, out, view, row):
    """Quantiles of the values of series first..last together: middles of buckets, within what was seen."""
    b = blocks[f.block - 1]
    n, shortfall, largest = b.sums[first, 0], b.shortfall[first], b.largest[first]
    if last != first:
        n, shortfall, largest = n + b.sums[last, 0], max(shortfall, b.shortfall[last]), max(largest, b.largest[last])
    out.empty[view, row] = n == 0.0
    if n == 0.0:
        return
    place, below, word = 0, U64(0), bucket_of(TOP - shortfall) // COUNTS_IN_WORD
    while place < len(_PERCENT):
        there = _count_in_word(f, words, first, word)
        if last != first:
            there += _count_in_word(f, words, last, word)
        if _rank(_PERCENT[place], U64(n)) > below + there:  # none in these buckets
            below += there
            word += 1
            continue
        for bucket in range(word * COUNTS_IN_WORD, (word + 1) * COUNTS_IN_WORD):
            below += U64(_count_in(f, blocks, first, bucket))
            if last != first:
                below += U64(_count_in(f, blocks, last, bucket))
            while place < len(_PERCENT) and _rank(_PERCENT[place], U64(n)) <= below:
                value = min(max(MIDDLES[bucket], np.float64(TOP - shortfall)), np.float64(largest))
                out.values[view, place, row] = (np.float64(largest) if bucket == BUCKETS - 1 else value) / out.unit
                place += 1
        word += 1


@helper
def _finish_block(f, blocks, words, both, lengths, gaps, row):
    """Columns of a row with a block; `both` has room for the moments of one series."""
    sums = blocks[f.block - 1].sums
    for part in range(5):
        both[0, part] = sums[LENGTHS, part]
    down = LENGTHS + 1
    if sums[down, 0] > 0.0:
        _add_shape(both, 0, sums[down, 0], sums[down, 1], sums[down, 2], sums[down, 3], sums[down, 4])
    _put_shape(lengths, 0, row, both[0, 0], both[0, 2], both[0, 3], both[0, 4])
    _put_quantiles(f, blocks, words, LENGTHS, down, lengths, 0, row)
    for end in range(2):
        _put_quantiles(f, blocks, words, LENGTHS + end, LENGTHS + end, lengths, 1 + end, row)
        _put_shape(lengths, 1 + end, row, sums[end, 0], sums[end, 2], sums[end, 3], sums[end, 4])
    for view in range(3):
        series = GAPS + view
        _put_quantiles(f, blocks, words, series, series, gaps, view, row)
        _put_shape(gaps, view, row, sums[series, 0], sums[series, 2], sums[series, 3], sums[series, 4])


@helper
def _give_back(number, seen, words, pool, free):
    """Empty a block and put it on the list of free ones; `seen` is the block that tells what buckets were used."""
    for series in range(SERIES):
        if seen.largest[series] != U64(0) or seen.shortfall[series] != U64(0):
            first = bucket_of(TOP - seen.shortfall[series]) // COUNTS_IN_WORD
            last = bucket_of(seen.largest[series]) // COUNTS_IN_WORD
            begin = I64(number) * BLOCK_WORDS + COUNTS_WORD + series * SERIES_WORDS
            for word in range(begin + first, begin + last + 1):
                words[word] = U64(0)
    free[pool.free] = number
    pool.free += 1


@helper
def _forget(b):
    """Empty what is not counted in buckets."""
    for series in range(SERIES):
        b.shortfall[series] = b.largest[series] = U64(0)
        for part in range(5):
            b.sums[series, part] = 0.0


@helper
def _finish_values(f, entries, slot, values, lengths, gaps, row):
    """Columns of a row whose values are all kept."""
    for place in range(f.count):
        values[place] = I64(entries[slot, place].ip_len)
    _finish_few(values, I64(f.count), lengths, 0, row)
    for end in range(2):
        _finish_few(values, _collect(f, entries, slot, LENGTHS + end, values), lengths, 1 + end, row)
    for view in range(3):
        _finish_few(values, _collect(f, entries, slot, GAPS + view, values), gaps, view, row)


@kernel
def finish(state, kept, blocks, words, pool, free, scratch, both, lengths, gaps):
    """Columns of every row; `both` has room for the moments of one series. Blocks are free from here on."""
    for row in range(len(state)):
        look_ahead_left(state, kept, row, 1)
        f, slot = state[row], kept.slots[row]
        if f.block == 0:
            _finish_values(f, kept.table, slot, scratch.values[0], lengths, gaps, row)
            continue
        _empty(f, kept.table, slot, blocks, words, pool[0], free, scratch)
        _finish_block(f, blocks, words, both, lengths, gaps, row)
        b = blocks[f.block - 1]
        if f.carry != 0:
            _give_back(f.carry - 1, b, words, pool[0], free)
        _give_back(f.block - 1, b, words, pool[0], free)
        _forget(b)


class _Group:
    """The group of one meter: it owns the blocks."""

    def __init__(self) -> None:
        self._make_blocks(FIRST_BLOCKS)
        self._pool = np.zeros(1, POOL).view(np.recarray)
        self._scratch = Scratch(
            np.zeros((SERIES, FEW), np.int64), np.zeros((SERIES, FEW), np.int64), np.zeros(SERIES, np.int64)
        )
        self._both = np.zeros((1, 5))

    def _make_blocks(self, count: int) -> None:
        self._blocks, self._free = Growing(count, BLOCK), Growing(count, np.int32)

    def update(self, p: Array, begin: int, stop: int, state: Array, entries: Array) -> None:
        while True:
            begin = update(p, begin, stop, state, entries, *self._arrays())
            if begin == stop:
                return
            self._grow()

    def _arrays(self) -> tuple[Any, ...]:
        blocks = self._blocks.array
        return blocks, blocks.view(np.ndarray).view(np.uint64), self._pool, self._free.array, self._scratch

    def _grow(self) -> None:
        rows = 2 * len(self._blocks.array)
        for room in (self._blocks, self._free):
            room.grow(rows)

    def snapshot(self) -> Snapshot:
        """Of the blocks in use."""
        pool = self._pool[0]
        free = self._free.array[: pool.free]
        used = in_use(free, int(pool.fresh))
        blocks = rows_at(self._blocks.array, used)
        return {"capacity": len(self._blocks.array), "pool": self._pool, "free": free, "used": used, "blocks": blocks}

    def restore(self, snapshot: Snapshot) -> None:
        """Have the blocks of a snapshot."""
        self._make_blocks(snapshot["capacity"])
        fill(self._pool, snapshot, "pool")
        fill(self._free.array, snapshot, "free")
        self._blocks.array[restored(snapshot, "used", np.int64)] = restored(snapshot, "blocks", BLOCK)

    def finalize(self, state: Array, entries: Left, flows: Array, memory: Memory) -> dict[str, Values]:
        rows = len(state)
        lengths, gaps = (_columns(rows, memory, unit) for unit in (1.0, NANO))
        with_block = int(np.count_nonzero(state["block"]))
        pool = self._pool[0]
        while pool.free + len(self._blocks.array) - pool.fresh < with_block:  # each may take one to carry
            self._grow()
        finish(state, entries, *self._arrays(), self._both, lengths, gaps)
        found: dict[str, Values] = {}
        for view, prefix in enumerate(DIRECTIONS):
            for place, name in enumerate(COLUMNS):
                is_quantile = name.startswith("p")
                for series, out in ((f"ip_len_{name}", lengths), (f"iat_{name}{'_s' if is_quantile else ''}", gaps)):
                    null = out.empty if is_quantile else out.flat
                    found[prefix + series] = (out.values[view, place, :rows], null[view])
        return found


def _columns(rows: int, memory: Memory, unit: float) -> Columns:
    values = memory.columns((len(DIRECTIONS), len(COLUMNS)), rows, np.float64)
    empty, flat = (np.zeros((len(DIRECTIONS), rows), np.bool_) for _ in range(2))
    return Columns(values, empty, flat, unit)


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    group = _Group()
    layouts = Layout(STATE), Layout(ENTRY, FEW, clean=False)
    kept = {"snapshot": group.snapshot, "restore": group.restore}
    return Feature("distribution", layouts, group.update, group.finalize, **kept)  # type: ignore[arg-type]
