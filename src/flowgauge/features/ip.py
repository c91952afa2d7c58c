"""Group `ip`: time to live, differentiated services and identification of each direction's IP headers."""

from __future__ import annotations

import numpy as np

from flowgauge.arrays import category_array, text_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import helper, kernel
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

# By direction.
STATE = state_dtype(
    [
        ("last_id", np.uint16, (2,)),  # identification of the latest packet
        ("ttl_shortfall", np.uint8, (2,)),  # TOP minus the smallest: zero-initialised, only grows
        ("ttl_max", np.uint8, (2,)),
        ("dscp", np.uint8, (2,)),  # of the first packet
        ("seen", np.uint8, (2,)),
    ]
)
TOP = np.uint8(255)
# Bits of `seen`.
SOME, SEVERAL, NOT_ZERO, CHANGED, JUMPED = (np.uint8(1 << bit) for bit in range(5))
MOST_STEP = np.uint16(1000)  # from one identification to the next, where a counter makes them (nmap, "TI")

# Values of the column `ip_id`, and the most a row can be seen as.
BEHAVIOURS = ("zero", "constant", "incremental", "random")
ZERO, CONSTANT, INCREMENTAL, RANDOM = (np.uint8(code) for code in range(4))
OCTETS = ("ttl_min", "ttl_max", "dscp", "ip_id", "none", "no_id")


@helper
def _note_id(f, d, number):
    """What the identifications of a direction have in common so far."""
    if number != 0:
        f.seen[d] |= NOT_ZERO
    if f.seen[d] & SOME:
        step = np.uint16(number - f.last_id[d])
        f.seen[d] |= SEVERAL | (CHANGED if step != 0 else np.uint8(0)) | (JUMPED if step > MOST_STEP else np.uint8(0))
    f.last_id[d] = number


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f, d = state[q.slot], q.direction
        f.ttl_shortfall[d] = max(f.ttl_shortfall[d], np.uint8(TOP - q.ttl))
        f.ttl_max[d] = max(f.ttl_max[d], q.ttl)
        if not f.seen[d] & SOME:
            f.dscp[d] = q.tos >> np.uint8(2)
        if q.ip_version == 4:
            _note_id(f, d, np.uint16(q.ip_id))
        f.seen[d] |= SOME


@helper
def _behaviour(seen):
    if seen & JUMPED:
        return RANDOM
    if seen & CHANGED:
        return INCREMENTAL
    return CONSTANT if seen & NOT_ZERO else ZERO


@kernel
def finish(state, octets):
    """Columns of every row: `octets` is (end, OCTETS, row)."""
    for row in range(len(state)):
        f = state[row]
        for end in range(2):
            octets[end, 0, row], octets[end, 1, row] = TOP - f.ttl_shortfall[end], f.ttl_max[end]
            octets[end, 2, row], octets[end, 3, row] = f.dscp[end], _behaviour(f.seen[end])
            octets[end, 4, row], octets[end, 5, row] = f.seen[end] & SOME == 0, f.seen[end] & SEVERAL == 0


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    octets = memory.columns((2, len(OCTETS)), rows, np.uint8)
    finish(state, octets)
    found: dict[str, Values] = {}
    for end, prefix in enumerate(DIRECTIONS[1:]):
        ttl_min, ttl_max, dscp, behaviour, none, no_id = octets[end, :, :rows]
        null = none != 0
        found |= {prefix + "ttl_min": (ttl_min, null), prefix + "ttl_max": (ttl_max, null)}
        found[prefix + "dscp"] = (dscp, null)
        found[prefix + "ip_id"] = category_array(behaviour, text_array(BEHAVIOURS), no_id != 0)
    return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("ip", (Layout(STATE),), update, finalize)
