"""Group `distribution`: quantiles, skewness and kurtosis of IP lengths and inter-arrival times.

The values of FEW packets are kept as they are. When there is one more, they are counted together into a block, with a
histogram and moments for each series; few records get that far, and blocks are made for those alone.
"""

from __future__ import annotations

import math

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.buckets import BUCKETS, MIDDLES, bucket_of
from flowgauge.kernels.packet import zeroed_records
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS, QUANTILES

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
        ("directions", np.uint32),  # a bit for each packet
        ("ip_len", np.uint32, (FEW,)),
        ("gap", np.int64, (FEW,)),
        ("gap_direction", np.int64, (FEW,)),
    ]
)
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
FIRST_BLOCKS = 1 << 10

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
def _add_values(f, blocks, pool, free, series, values, n):
    """Count values into the histogram and moments of a series."""
    b = blocks[f.block - 1]
    for place in range(n):
        value = U64(values[place])
        bucket = bucket_of(value)
        b.shortfall[series] = max(b.shortfall[series], TOP - value)
        b.largest[series] = max(b.largest[series], value)
        b.counts[series, bucket] += U16(1)
        if b.counts[series, bucket] == 0:
            if f.carry == 0:
                f.carry = _take_block(pool, free) + 1
            blocks[f.carry - 1].counts[series, bucket] += U16(1)
    if n > 0:
        centre, second, third, fourth = _shape_of(values, n)
        _add_shape(b.sums, series, n, centre, second, third, fourth)


@helper
def _collect(f, series, values):
    """The values that are kept of a series, in order of arrival; how many there are."""
    n = 0
    for place in range(f.count):
        direction = I64(f.directions >> U32(place) & U32(1))
        if series == GAPS:
            value = f.gap[place]
        elif series < GAPS:
            value = I64(f.ip_len[place]) if direction == series else I64(-1)
        else:
            value = f.gap_direction[place] if direction == series - GAPS - 1 else I64(-1)
        if value >= 0:
            values[n] = value
            n += 1
    return n


@helper
def _empty(f, blocks, pool, free, values):
    """Move the values that are kept into the block."""
    if f.block == 0:
        f.block = _take_block(pool, free) + 1
    for series in range(SERIES):
        n = _collect(f, series, values)
        _add_values(f, blocks, pool, free, series, values, n)
    f.count = f.directions = U32(0)


@kernel
def update(p, begin, stop, state, blocks, pool, free, values):
    """Returns the first row that was not counted, because there are too few blocks; `values` has room for FEW."""
    s = pool[0]
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f = state[q.slot]
        if f.count == FEW:
            if s.free + len(blocks) - s.fresh < MOST_TAKEN:
                return i
            _empty(f, blocks, s, free, values)
        place = f.count
        f.ip_len[place], f.gap[place], f.gap_direction[place] = q.ip_len, q.gap, q.gap_direction
        f.directions |= U32(q.direction) << place
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
    """Skewness and excess kurtosis from sums of powers of differences to the mean; nan where that is 0."""
    if second > 0.0:
        out[view, len(_PERCENT), row] = math.sqrt(n) * third / (second * math.sqrt(second))
        out[view, len(_PERCENT) + 1, row] = n * fourth / (second * second) - 3.0
    else:
        out[view, len(_PERCENT), row] = out[view, len(_PERCENT) + 1, row] = np.nan


@helper
def _finish_few(values, n, out, view, row):
    """Columns of a series in a view from its values, which are put in order."""
    _, second, third, fourth = _shape_of(values, n)
    _put_shape(out, view, row, np.float64(n), second, third, fourth)
    for place in range(1, n):
        _insert(values, place, values[place])
    for place in range(len(_PERCENT)):
        out[view, place, row] = np.float64(values[_rank(_PERCENT[place], U64(n)) - U64(1)]) if n > 0 else np.nan


@helper
def _count_in(f, blocks, series, bucket):
    count = I64(blocks[f.block - 1].counts[series, bucket])
    return count if f.carry == 0 else count + (I64(blocks[f.carry - 1].counts[series, bucket]) << I64(16))


@helper
def _put_quantiles(f, blocks, first, last, out, view, row):
    """Quantiles of the values of series first..last together: middles of buckets, within what was seen."""
    b = blocks[f.block - 1]
    n, shortfall, largest = b.sums[first, 0], b.shortfall[first], b.largest[first]
    if last != first:
        n, shortfall, largest = n + b.sums[last, 0], max(shortfall, b.shortfall[last]), max(largest, b.largest[last])
    if n == 0.0:
        for place in range(len(_PERCENT)):
            out[view, place, row] = np.nan
        return
    place, below, bucket = 0, U64(0), bucket_of(TOP - shortfall)
    while place < len(_PERCENT):
        below += U64(_count_in(f, blocks, first, bucket))
        if last != first:
            below += U64(_count_in(f, blocks, last, bucket))
        while place < len(_PERCENT) and _rank(_PERCENT[place], U64(n)) <= below:
            value = min(max(MIDDLES[bucket], np.float64(TOP - shortfall)), np.float64(largest))
            out[view, place, row] = np.float64(largest) if bucket == BUCKETS - 1 else value
            place += 1
        bucket += 1


@helper
def _finish_block(f, blocks, both, lengths, gaps, row):
    """Columns of a row with a block; `both` has room for the moments of one series."""
    sums = blocks[f.block - 1].sums
    for part in range(5):
        both[0, part] = sums[LENGTHS, part]
    down = LENGTHS + 1
    if sums[down, 0] > 0.0:
        _add_shape(both, 0, sums[down, 0], sums[down, 1], sums[down, 2], sums[down, 3], sums[down, 4])
    _put_shape(lengths, 0, row, both[0, 0], both[0, 2], both[0, 3], both[0, 4])
    _put_quantiles(f, blocks, LENGTHS, down, lengths, 0, row)
    for end in range(2):
        _put_quantiles(f, blocks, LENGTHS + end, LENGTHS + end, lengths, 1 + end, row)
        _put_shape(lengths, 1 + end, row, sums[end, 0], sums[end, 2], sums[end, 3], sums[end, 4])
    for view in range(3):
        series = GAPS + view
        _put_quantiles(f, blocks, series, series, gaps, view, row)
        _put_shape(gaps, view, row, sums[series, 0], sums[series, 2], sums[series, 3], sums[series, 4])


@helper
def _give_back(number, seen, blocks, pool, free):
    """Empty a block and put it on the list of free ones; `seen` is the block that tells what buckets were used."""
    b = blocks[number]
    for series in range(SERIES):
        if seen.largest[series] != U64(0) or seen.shortfall[series] != U64(0):
            for bucket in range(bucket_of(TOP - seen.shortfall[series]), bucket_of(seen.largest[series]) + 1):
                b.counts[series, bucket] = 0
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
def _finish_values(f, values, lengths, gaps, row):
    """Columns of a row whose values are all kept."""
    for place in range(f.count):
        values[place] = I64(f.ip_len[place])
    _finish_few(values, I64(f.count), lengths, 0, row)
    for end in range(2):
        _finish_few(values, _collect(f, LENGTHS + end, values), lengths, 1 + end, row)
    for view in range(3):
        _finish_few(values, _collect(f, GAPS + view, values), gaps, view, row)


@kernel
def finish(state, blocks, pool, free, values, both, lengths, gaps):
    """Columns of every row: `lengths` and `gaps` are (view, COLUMNS, row); `values` has room for FEW, `both` for
    the moments of one series. Blocks are free from here on."""
    for row in range(len(state)):
        f = state[row]
        if f.block == 0:
            _finish_values(f, values, lengths, gaps, row)
            continue
        _empty(f, blocks, pool[0], free, values)
        _finish_block(f, blocks, both, lengths, gaps, row)
        b = blocks[f.block - 1]
        if f.carry != 0:
            _give_back(f.carry - 1, b, blocks, pool[0], free)
        _give_back(f.block - 1, b, blocks, pool[0], free)
        _forget(b)


class _Group:
    """The group of one meter: it owns the blocks."""

    def __init__(self) -> None:
        self._blocks = zeroed_records(FIRST_BLOCKS, BLOCK)
        self._free = np.zeros(FIRST_BLOCKS, np.int32)
        self._pool = np.zeros(1, POOL).view(np.recarray)
        self._values = np.zeros(FEW, np.int64)
        self._both = np.zeros((1, 5))

    def update(self, p: Array, begin: int, stop: int, state: Array) -> None:
        while True:
            begin = update(p, begin, stop, state, self._blocks, self._pool, self._free, self._values)
            if begin == stop:
                return
            self._grow()

    def _grow(self) -> None:
        blocks, free = self._blocks, self._free
        self._blocks = zeroed_records(2 * len(blocks), BLOCK)
        self._free = np.zeros(2 * len(blocks), np.int32)
        self._blocks[: len(blocks)], self._free[: len(free)] = blocks, free

    def finalize(self, state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
        rows = len(state)
        lengths, gaps = (memory.columns((3, len(COLUMNS)), rows, np.float64) for _ in range(2))
        while self._pool[0].free + len(self._blocks) - self._pool[0].fresh < MOST_TAKEN * rows:
            self._grow()
        finish(state, self._blocks, self._pool, self._free, self._values, self._both, lengths, gaps)
        found: dict[str, Values] = {}
        for view, prefix in enumerate(DIRECTIONS):
            for place, name in enumerate(COLUMNS):
                length, gap = lengths[view, place, :rows], gaps[view, place, :rows]
                is_time = name.startswith("p")
                found[f"{prefix}ip_len_{name}"] = (length, np.isnan(length))
                found[f"{prefix}iat_{name}{'_s' if is_time else ''}"] = (gap / NANO if is_time else gap, np.isnan(gap))
        return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    group = _Group()
    return Feature("distribution", (Layout(STATE),), group.update, group.finalize)
