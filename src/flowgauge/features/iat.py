"""Group `iat`: inter-arrival times, in the flow and in each direction.

The gaps come with the packets (a later part of a flow of n packets has n of them).
"""

from __future__ import annotations

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.moments import TOP, count_value, deviation, mean
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

U = np.uint64
NANO = 1e9

# View 0 is the flow, 1 and 2 its directions.
STATE = state_dtype(
    [
        ("total", np.uint64, (3,)),  # ns
        ("square_low", np.uint64, (3,)),
        ("square_high", np.uint64, (3,)),
        ("shortfall", np.uint64, (3,)),  # TOP minus the smallest: zero-initialised, only grows
        ("largest", np.uint64, (3,)),
        ("without", np.uint8, (3,)),  # packets that have no gap
    ]
)
COLUMNS = ("iat_min_s", "iat_mean_s", "iat_std_s", "iat_max_s")


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f, view = state[q.slot], 1 + np.int64(q.direction)
        if q.gap >= 0:
            count_value(f, 0, U(q.gap))
        else:
            f.without[0] += 1
        if q.gap_direction >= 0:
            count_value(f, view, U(q.gap_direction))
        else:
            f.without[view] += 1


@kernel
def finish(state, flows, counts, seconds):
    """Gaps and columns of every row: `counts` is (view, row), `seconds` (view, COLUMNS, row)."""
    for row in range(len(state)):
        s, packets = state[row], flows[row].packets
        for v in range(3):
            n = (packets[0] + packets[1] if v == 0 else packets[v - 1]) - U(s.without[v])
            counts[v, row] = n
            seconds[v, 0, row] = np.float64(TOP - s.shortfall[v]) / NANO
            seconds[v, 1, row] = mean(s.total[v], n) / NANO
            seconds[v, 2, row] = deviation(s.total[v], s.square_low[v], s.square_high[v], n) / NANO
            seconds[v, 3, row] = np.float64(s.largest[v]) / NANO


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    seconds = memory.columns((3, len(COLUMNS)), rows, np.float64)
    counts = memory.columns((3,), rows, np.uint64)
    finish(state, flows, counts, seconds)
    found: dict[str, Values] = {}
    for view, prefix in enumerate(DIRECTIONS):
        count = counts[view, :rows]
        none, single = count == 0, count < 2
        for place, name in enumerate(COLUMNS):
            found[prefix + name] = (seconds[view, place, :rows], single if name == "iat_std_s" else none)
    return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("iat", (Layout(STATE),), update, finalize)
