"""Group `activity`: periods in which a flow sends, and the silences between them.

A silence is a gap longer than the option `activity_gap`. Periods are summed up from gaps, so that they last from the
earliest to the latest time whatever the order of packets.
"""

from __future__ import annotations

import functools

import numpy as np

from flowgauge.config import NANOSECONDS, MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.moments import TOP, count_value, deviation, mean
from flowgauge.memory import Memory

U = np.uint64
NANO = 1e9

# Of each array: 0 the periods, 1 the silences.
STATE = state_dtype(
    [
        ("current", np.uint64),  # ns of the period at work
        ("total", np.uint64, (2,)),  # ns
        ("square_low", np.uint64, (2,)),
        ("square_high", np.uint64, (2,)),
        ("shortfall", np.uint64, (2,)),  # TOP minus the smallest: zero-initialised, only grows
        ("largest", np.uint64, (2,)),
        ("silences", np.uint32),
        ("begun", np.uint32),
    ]
)
SERIES = ("active", "idle")
STATISTICS = ("min_s", "mean_s", "std_s", "max_s")


@kernel
def update(p, begin, stop, state, longest):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f = state[q.slot]
        if f.begun == 0:  # the gap to the record before is in none of them
            f.begun = 1
        elif q.gap > longest:
            count_value(f, 0, f.current)
            count_value(f, 1, U(q.gap))
            f.silences += np.uint32(1)
            f.current = U(0)
        else:
            f.current += U(q.gap)


@kernel
def finish(state, periods, seconds):
    """Columns of every row: `periods` is (row), `seconds` (SERIES, STATISTICS, row)."""
    for row in range(len(state)):
        f = state[row]
        count_value(f, 0, f.current)
        periods[row] = np.int64(f.silences) + 1
        for series in range(2):
            n = U(f.silences) + U(1 - series)
            seconds[series, 0, row] = np.float64(TOP - f.shortfall[series]) / NANO
            seconds[series, 1, row] = mean(f.total[series], n) / NANO
            square_low, square_high = f.square_low[series], f.square_high[series]
            seconds[series, 2, row] = deviation(f.total[series], square_low, square_high, n) / NANO
            seconds[series, 3, row] = np.float64(f.largest[series]) / NANO


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    periods = memory.empty(rows, np.int64)
    seconds = memory.columns((2, len(STATISTICS)), rows, np.float64)
    finish(state, periods, seconds)
    found: dict[str, Values] = {"active_periods": (periods, None)}
    for series, name in enumerate(SERIES):
        count = periods - series
        none, single = count == 0, count < 2
        for place, statistic in enumerate(STATISTICS):
            null = single if statistic == "std_s" else none
            found[f"{name}_{statistic}"] = (seconds[series, place, :rows], null)
    return found


def _update(longest: np.int64, p: Array, begin: int, stop: int, state: Array) -> None:
    update(p, begin, stop, state, longest)


def feature(config: MeterConfig) -> Feature:
    """The group, with the option `activity_gap`."""
    longest = np.int64(round(config.activity_gap * NANOSECONDS))
    return Feature("activity", (Layout(STATE),), functools.partial(_update, longest), finalize)
