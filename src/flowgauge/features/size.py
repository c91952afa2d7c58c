"""Group `size`: smallest, mean, deviation and largest of IP and payload lengths."""

from __future__ import annotations

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, put_views, state_dtype
from flowgauge.kernels._jit import inline_helper, kernel
from flowgauge.kernels.moments import add_square, add_words, deviation, mean
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

STATE = state_dtype(
    [
        ("ip_square_low", np.uint64, (2,)),
        ("payload_square_low", np.uint64, (2,)),
        ("ip_square_high", np.uint32, (2,)),
        ("payload_square_high", np.uint32, (2,)),
        ("ip_shortfall", np.uint32, (2,)),  # TOP minus the smallest: zero-initialised, only grows
        ("ip_max", np.uint32, (2,)),
        ("payload_shortfall", np.uint32, (2,)),
        ("payload_max", np.uint32, (2,)),
        ("payload_packets", np.uint32, (2,)),
    ]
)
TOP = np.uint32(0xFFFFFFFF)
U = np.uint64

# Rows of the arrays that `finish` fills, for each of the three views.
INTEGERS = ("ip_len_min", "ip_len_max", "payload_len_min", "payload_len_max", "payload_packets")
FLOATS = ("ip_len_mean", "ip_len_std", "payload_len_mean", "payload_len_std")


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f, d = state[q.slot], q.direction
        ip, payload = q.ip_len, q.payload_len
        low, high = add_square(f.ip_square_low[d], U(f.ip_square_high[d]), U(ip))
        f.ip_square_low[d], f.ip_square_high[d] = low, high
        low, high = add_square(f.payload_square_low[d], U(f.payload_square_high[d]), U(payload))
        f.payload_square_low[d], f.payload_square_high[d] = low, high
        f.ip_shortfall[d] = max(f.ip_shortfall[d], np.uint32(TOP - ip))
        f.ip_max[d] = max(f.ip_max[d], ip)
        f.payload_shortfall[d] = max(f.payload_shortfall[d], np.uint32(TOP - payload))
        f.payload_max[d] = max(f.payload_max[d], payload)
        f.payload_packets[d] += payload != 0


@inline_helper
def _series(count, total, low, high, shortfall, largest, integers, floats, row, series):
    """One series of both directions and of each: min and max, mean and deviation."""
    sum_low, sum_high = add_words(low[0], U(high[0]), low[1], U(high[1]))
    both = max(shortfall[0], shortfall[1])
    for v in range(3):
        n = count[0] + count[1] if v == 0 else count[v - 1]
        x = total[0] + total[1] if v == 0 else total[v - 1]
        x_low = sum_low if v == 0 else low[v - 1]
        x_high = sum_high if v == 0 else U(high[v - 1])
        integers[v, 2 * series, row] = TOP - (both if v == 0 else shortfall[v - 1])
        integers[v, 2 * series + 1, row] = max(largest[0], largest[1]) if v == 0 else largest[v - 1]
        floats[v, 2 * series, row] = mean(x, n)
        floats[v, 2 * series + 1, row] = deviation(x, x_low, x_high, n)


@kernel
def finish(state, flows, integers, floats):
    """Columns of every row: `integers` is (view, INTEGERS, row), `floats` (view, FLOATS, row)."""
    for row in range(len(flows)):
        f, s = flows[row], state[row]
        low, high = s.ip_square_low, s.ip_square_high
        _series(f.packets, f.ip_bytes, low, high, s.ip_shortfall, s.ip_max, integers, floats, row, 0)
        low, high = s.payload_square_low, s.payload_square_high
        _series(f.packets, f.payload_bytes, low, high, s.payload_shortfall, s.payload_max, integers, floats, row, 1)
        put_views(integers, 4, row, s.payload_packets[0], s.payload_packets[1])


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(flows)
    integers = memory.columns((3, len(INTEGERS)), rows, np.int64)
    floats = memory.columns((3, len(FLOATS)), rows, np.float64)
    finish(state, flows, integers, floats)
    up, down = flows["packets"].T
    found: dict[str, Values] = {}
    for view, (prefix, packets) in enumerate(zip(DIRECTIONS, (up + down, up, down), strict=True)):
        none, single = packets == 0, packets < 2
        for place, name in enumerate(INTEGERS):
            found[prefix + name] = (integers[view, place, :rows], None if name == "payload_packets" else none)
        for place, name in enumerate(FLOATS):
            found[prefix + name] = (floats[view, place, :rows], single if name.endswith("std") else none)
    return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("size", (Layout(STATE),), update, finalize)
