"""Group `flags`: packets with each TCP flag set."""

from __future__ import annotations

import numpy as np

from flowgauge.features._feature import AHEAD, Array, Feature, Values
from flowgauge.kernels._jit import kernel, prefetch
from flowgauge.schema import DIRECTIONS, TCP_FLAGS

STATE = np.dtype([("packets", np.uint32, (2, 8))], align=True)


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        if i + AHEAD < stop:
            prefetch(state, p.packets[i + AHEAD].slot)
        q = p.packets[i]
        flags = q.tcp_flags
        if q.slot < 0 or flags == 0:
            continue
        counts = state[q.slot].packets
        for bit in range(8):
            counts[q.direction, bit] += (flags >> np.uint8(bit)) & np.uint8(1)


def finalize(state: Array, flows: Array) -> dict[str, Values]:
    up = np.ascontiguousarray(state["packets"][:, 0].T, np.int64)
    down = np.ascontiguousarray(state["packets"][:, 1].T, np.int64)
    return {
        f"{prefix}{flag}_packets": (counts[bit], None)
        for prefix, counts in zip(DIRECTIONS, (up + down, up, down), strict=True)
        for bit, flag in enumerate(TCP_FLAGS)
    }


FEATURE = Feature("flags", STATE, update, finalize)
