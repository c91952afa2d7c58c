"""Group `iat`: inter-arrival times, in the flow and in each direction.

The gaps come with the packets (a later part of a flow of n packets has n of them).
"""

from __future__ import annotations

import numpy as np

from flowgauge.features._feature import Array, Feature, Values, look_ahead
from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.moments import add_square, deviation, mean
from flowgauge.schema import DIRECTIONS

U = np.uint64
TOP = U(0xFFFFFFFFFFFFFFFF)
NANO = 1e9

# View 0 is the flow, 1 and 2 its directions.
STATE = np.dtype(
    [
        ("total", np.uint64, (3,)),  # ns
        ("square_low", np.uint64, (3,)),
        ("square_high", np.uint64, (3,)),
        ("shortfall", np.uint64, (3,)),  # TOP minus the smallest: zero-initialised, only grows
        ("largest", np.uint64, (3,)),
        ("count", np.uint32, (3,)),
    ],
    align=True,
)
COLUMNS = ("iat_min_s", "iat_mean_s", "iat_std_s", "iat_max_s")


@helper
def _count(f, view, gap):
    low, high = add_square(f.square_low[view], f.square_high[view], gap)
    f.square_low[view], f.square_high[view] = low, high
    f.total[view] += gap
    f.shortfall[view] = max(f.shortfall[view], TOP - gap)
    f.largest[view] = max(f.largest[view], gap)
    f.count[view] += 1


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f = state[q.slot]
        if q.gap >= 0:
            _count(f, 0, U(q.gap))
        if q.gap_direction >= 0:
            _count(f, 1 + np.int64(q.direction), U(q.gap_direction))


@kernel
def finish(state, seconds):
    """Columns of every row: `seconds` is (view, COLUMNS, row)."""
    for row in range(len(state)):
        s = state[row]
        for v in range(3):
            n = U(s.count[v])
            seconds[v, 0, row] = np.float64(TOP - s.shortfall[v]) / NANO
            seconds[v, 1, row] = mean(s.total[v], n) / NANO
            seconds[v, 2, row] = deviation(s.total[v], s.square_low[v], s.square_high[v], n) / NANO
            seconds[v, 3, row] = np.float64(s.largest[v]) / NANO


def finalize(state: Array, flows: Array) -> dict[str, Values]:
    seconds = np.empty((3, len(COLUMNS), len(state)), np.float64)
    finish(state, seconds)
    columns: dict[str, Values] = {}
    for view, prefix in enumerate(DIRECTIONS):
        count = state["count"][:, view]
        none, single = count == 0, count < 2
        for row, name in enumerate(COLUMNS):
            columns[prefix + name] = (seconds[view, row], single if name == "iat_std_s" else none)
    return columns


FEATURE = Feature("iat", STATE, update, finalize)
