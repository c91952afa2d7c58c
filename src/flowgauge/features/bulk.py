"""Group `bulk`: runs of packets with payload in one direction, and subflows.

A bulk is a run of at least BULK_PACKETS packets with payload, none more than RUN_GAP behind the one before, that no
packet with payload of the other direction interrupts (the definition of CICFlowMeter's BasicFlow). Subflows are
separated by gaps of more than RUN_GAP.
"""

from __future__ import annotations

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.state import SECOND
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

I64, U32, U64 = np.int64, np.uint32, np.uint64
BULK_PACKETS = U32(4)
RUN_GAP = SECOND
NANO = 1e9

STATE = state_dtype(
    [
        ("run_latest", np.int64),  # latest time in the run at work
        ("run_time", np.uint64),  # ns since its first packet
        ("run_bytes", np.uint64),
        ("run_packets", np.uint32),
        ("run_direction", np.uint8),
        ("begun", np.uint8),
        ("subflow_gaps", np.uint32),
        # of the bulks of each direction
        ("time", np.uint64, (2,)),  # ns
        ("bytes", np.uint64, (2,)),
        ("packets", np.uint64, (2,)),
        ("count", np.uint32, (2,)),
    ]
)
FLOATS = ("bulk_packets_mean", "bulk_bytes_mean", "bulk_rate")


@helper
def _close_run(f):
    """Count the run at work, where it is a bulk."""
    if f.run_packets >= BULK_PACKETS:
        d = f.run_direction
        f.count[d] += U32(1)
        f.packets[d] += U64(f.run_packets)
        f.bytes[d] += f.run_bytes
        f.time[d] += f.run_time


@helper
def _add_payload(f, q):
    """A packet with payload goes on with the run at work, or begins another."""
    gap = max(I64(0), q.time - f.run_latest)
    if f.run_packets == 0 or f.run_direction != q.direction or gap > RUN_GAP:
        _close_run(f)
        f.run_direction = q.direction
        f.run_packets, f.run_bytes, f.run_time = U32(0), U64(0), U64(0)
        f.run_latest = q.time
    else:
        f.run_time += U64(gap)
        f.run_latest += gap
    f.run_packets += U32(1)
    f.run_bytes += U64(q.payload_len)


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f = state[q.slot]
        f.subflow_gaps += U32(f.begun != 0 and q.gap > RUN_GAP)
        f.begun = 1
        if q.payload_len != 0:
            _add_payload(f, q)


@kernel
def finish(state, counts, floats, subflows):
    """Columns of every row: `counts` is (end, row), `floats` (end, FLOATS, row), `subflows` (row)."""
    for row in range(len(state)):
        f = state[row]
        _close_run(f)
        subflows[row] = I64(f.subflow_gaps) + 1
        for end in range(2):
            n, seconds = np.float64(f.count[end]), np.float64(f.time[end]) / NANO
            counts[end, row] = f.count[end]
            floats[end, 0, row] = np.float64(f.packets[end]) / n if n > 0.0 else 0.0
            floats[end, 1, row] = np.float64(f.bytes[end]) / n if n > 0.0 else 0.0
            floats[end, 2, row] = np.float64(f.bytes[end]) / seconds if seconds > 0.0 else 0.0


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    counts, subflows = memory.columns((2,), rows, np.int64), memory.empty(rows, np.int64)
    floats = memory.columns((2, len(FLOATS)), rows, np.float64)
    finish(state, counts, floats, subflows)
    found: dict[str, Values] = {"subflows": (subflows, None)}
    for end, prefix in enumerate(DIRECTIONS[1:]):
        found[prefix + "bulk_count"] = (counts[end, :rows], None)
        none, instant = counts[end, :rows] == 0, state["time"][:, end] == 0
        for place, name in enumerate(FLOATS):
            found[prefix + name] = (floats[end, place, :rows], instant if name == "bulk_rate" else none)
    return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("bulk", (Layout(STATE),), update, finalize)
