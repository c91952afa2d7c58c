"""What the schemas `nfstream` and `cic` need beside the other groups: frame and header lengths, and the gaps within a
record, without the one that leads to its first packet. NFStream counts whole milliseconds.
"""

from __future__ import annotations

import functools

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.moments import TOP, add_square, add_words, count_value, deviation, mean
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

I64, U32, U64 = np.int64, np.uint32, np.uint64
NANOSECOND, MILLISECOND = I64(1), I64(1_000_000)
TOP8, TOP32 = np.uint8(0xFF), U32(0xFFFFFFFF)

# Times by view (0 the flow, 1 and 2 its directions), lengths by direction.
STATE = state_dtype(
    [
        ("first", np.int64, (3,)),  # in units of the schema
        ("last", np.int64, (3,)),
        ("total", np.uint64, (3,)),  # of gaps
        ("square_low", np.uint64, (3,)),
        ("square_high", np.uint64, (3,)),
        ("shortfall", np.uint64, (3,)),  # TOP minus the smallest: zero-initialised, only grows
        ("largest", np.uint64, (3,)),
        ("frame_low", np.uint64, (2,)),  # squares of lengths
        ("frame_high", np.uint64, (2,)),
        ("frame_shortfall", np.uint32, (2,)),
        ("frame_largest", np.uint32, (2,)),
        ("header_bytes", np.uint64, (2,)),  # of transport headers
        ("header_shortfall", np.uint8, (2,)),
        ("seen", np.uint8, (3,)),
    ]
)
INTEGERS = ("first", "last", "gap_min", "gap_max", "gap_total", "frame_min", "frame_max")
FLOATS = ("gap_mean", "gap_std", "frame_mean", "frame_std")
HEADERS = ("header_bytes", "header_min")


@helper
def _count_time(f, view, time):
    """A packet of a view."""
    if f.seen[view] == 0:
        f.seen[view] = 1
        f.first[view] = f.last[view] = time
        return
    gap = U64(max(I64(0), time - f.last[view]))
    count_value(f, view, gap)
    f.last[view] = max(f.last[view], time)


@kernel
def update(p, begin, stop, state, unit):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f, d = state[q.slot], q.direction
        time = q.time // unit
        _count_time(f, 0, time)
        _count_time(f, 1 + I64(d), time)
        low, high = add_square(f.frame_low[d], f.frame_high[d], U64(q.frame_len))
        f.frame_low[d], f.frame_high[d] = low, high
        f.frame_shortfall[d] = max(f.frame_shortfall[d], U32(TOP32 - q.frame_len))
        f.frame_largest[d] = max(f.frame_largest[d], q.frame_len)
        f.header_bytes[d] += U64(q.header_len)
        f.header_shortfall[d] = max(f.header_shortfall[d], np.uint8(TOP8 - q.header_len))


@helper
def _finish_gaps(f, view, n, integers, floats, row):
    gaps = n - U64(1) if n > U64(0) else U64(0)
    integers[view, 0, row], integers[view, 1, row] = f.first[view], f.last[view]
    integers[view, 2, row] = I64(TOP - f.shortfall[view]) if gaps > U64(0) else I64(0)
    integers[view, 3, row], integers[view, 4, row] = I64(f.largest[view]), I64(f.total[view])
    floats[view, 0, row] = mean(f.total[view], gaps)
    floats[view, 1, row] = deviation(f.total[view], f.square_low[view], f.square_high[view], gaps)


@kernel
def finish(state, flows, integers, floats, headers):
    """Columns of every row: `integers` is (view, INTEGERS, row), `floats` (view, FLOATS, row), `headers` (end, HEADERS,
    row); 0 where there is nothing."""
    for row in range(len(state)):
        f, packets, size = state[row], flows[row].packets, flows[row].frame_bytes
        low, high = add_words(f.frame_low[0], f.frame_high[0], f.frame_low[1], f.frame_high[1])
        for view in range(3):
            n, total = packets[0] + packets[1], size[0] + size[1]
            shortfall = max(f.frame_shortfall[0], f.frame_shortfall[1])
            largest = max(f.frame_largest[0], f.frame_largest[1])
            if view > 0:
                end = view - 1
                n, total, low, high = packets[end], size[end], f.frame_low[end], f.frame_high[end]
                shortfall, largest = f.frame_shortfall[end], f.frame_largest[end]
                headers[end, 0, row] = I64(f.header_bytes[end])
                headers[end, 1, row] = I64(TOP8 - f.header_shortfall[end]) if n > U64(0) else I64(0)
            _finish_gaps(f, view, n, integers, floats, row)
            integers[view, 5, row] = I64(TOP32 - shortfall) if n > U64(0) else I64(0)
            integers[view, 6, row] = I64(largest)
            floats[view, 2, row] = mean(total, n)
            floats[view, 3, row] = deviation(total, low, high, n)


def _finalize(group: str, state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    integers = memory.columns((3, len(INTEGERS)), rows, np.int64)
    floats = memory.columns((3, len(FLOATS)), rows, np.float64)
    headers = memory.columns((2, len(HEADERS)), rows, np.int64)
    finish(state, flows, integers, floats, headers)
    found: dict[str, Values] = {}
    for view, prefix in enumerate(DIRECTIONS):
        for names, values in ((INTEGERS, integers), (FLOATS, floats)):
            found |= {f"{prefix}{group}_{name}": (values[view, n, :rows], None) for n, name in enumerate(names)}
        if view > 0:
            values = headers[view - 1]
            found |= {f"{prefix}{group}_{name}": (values[n, :rows], None) for n, name in enumerate(HEADERS)}
    return found


def _update(unit: np.int64, p: Array, begin: int, stop: int, state: Array) -> None:
    update(p, begin, stop, state, unit)


def _feature(name: str, unit: np.int64) -> Feature:
    return Feature(name, (Layout(STATE),), functools.partial(_update, unit), functools.partial(_finalize, name))


def nfstream(config: MeterConfig) -> Feature:
    """What schema `nfstream` needs: times in ms."""
    return _feature("nfstream", MILLISECOND)


def cic(config: MeterConfig) -> Feature:
    """What schemas `cic` and `cic2017` need: times in ns."""
    return _feature("cic", NANOSECOND)
