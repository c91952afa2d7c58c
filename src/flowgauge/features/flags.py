"""Group `flags`: packets with each TCP flag set."""

from __future__ import annotations

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, put_views, state_dtype
from flowgauge.kernels._jit import kernel
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS, TCP_FLAGS

STATE = state_dtype([("packets", np.uint32, (2, 8))])


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        flags = q.tcp_flags
        if q.slot < 0 or flags == 0:
            continue
        counts = state[q.slot].packets
        for bit in range(8):
            counts[q.direction, bit] += (flags >> np.uint8(bit)) & np.uint8(1)


@kernel
def finish(state, counts):
    """Columns of every row: `counts` is (view, flag, row)."""
    for row in range(len(state)):
        packets = state[row].packets
        for bit in range(8):
            put_views(counts, bit, row, packets[0, bit], packets[1, bit])


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    counts = memory.columns((3, len(TCP_FLAGS)), rows, np.int64)
    finish(state, counts)
    return {
        f"{prefix}{flag}_packets": (counts[view, bit, :rows], None)
        for view, prefix in enumerate(DIRECTIONS)
        for bit, flag in enumerate(TCP_FLAGS)
    }


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("flags", (Layout(STATE),), update, finalize)
