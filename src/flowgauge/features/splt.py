"""Group `splt`: sequence of packet lengths and times, of the first packets of a record.

The options are `splt`, the number of packets, and `splt_data`, which leaves out those without payload.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa

from flowgauge.arrays import list_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import (
    COUNT,
    Array,
    Feature,
    Layout,
    Left,
    Values,
    count_entries,
    look_ahead_at,
    look_ahead_left,
    state_dtype,
)
from flowgauge.kernels._jit import kernel
from flowgauge.memory import Memory

NANO = 1e9
MILLISECOND = np.int64(1_000_000)

# A packet; a record has as many of them as the option says.
ENTRY = state_dtype(
    [
        ("time", np.int64),
        ("ip_len", np.uint32),
        ("payload_len", np.uint32),
        ("frame_len", np.uint32),
        ("tcp_flags", np.uint8),
        ("direction", np.uint8),
    ]
)


@kernel
def update(p, begin, stop, state, entries, only_data):
    for i in range(begin, stop):
        look_ahead_at(p, i, stop, state, entries)
        q = p.packets[i]
        if q.slot < 0 or (only_data and q.payload_len == 0):
            continue
        f = state[q.slot]
        if f.count == entries.shape[1]:
            continue
        entry = entries[q.slot, f.count]
        f.count += np.uint32(1)
        entry.time, entry.ip_len, entry.payload_len, entry.frame_len = q.time, q.ip_len, q.payload_len, q.frame_len
        entry.tcp_flags, entry.direction = q.tcp_flags, q.direction


@kernel
def finish(state, entries, offsets, octets, lengths, seconds, milliseconds):
    """Entries of all rows: `octets` are direction and flags, `lengths` of IP, payload and frame, `seconds` the time
    since the latest of those before, `milliseconds` the same of times in whole ms."""
    for row in range(len(state)):
        look_ahead_left(state, entries, row, 1)
        slot = entries.slots[row]
        latest = entries.table[slot, 0].time
        for place in range(np.int64(state[row].count)):
            entry, at = entries.table[slot, place], offsets[row] + place
            octets[0, at], octets[1, at] = entry.direction, entry.tcp_flags
            lengths[0, at], lengths[1, at], lengths[2, at] = entry.ip_len, entry.payload_len, entry.frame_len
            seconds[at] = np.float64(max(np.int64(0), entry.time - latest)) / NANO
            milliseconds[at] = max(np.int64(0), entry.time // MILLISECOND - latest // MILLISECOND)
            latest = max(latest, entry.time)


def finalize(state: Array, entries: Left, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    offsets = memory.empty(rows + 1, np.int32)
    count_entries(state, offsets)
    total = int(offsets[-1])
    # Of a size that does not depend on the rows, so that it is found again.
    room = rows * entries.table.shape[1]
    octets, lengths = memory.empty((2, room), np.uint8), memory.empty((3, room), np.uint32)
    seconds, milliseconds = memory.empty(room, np.float64), memory.empty(room, np.int64)
    finish(state, entries, offsets, octets, lengths, seconds, milliseconds)

    def lists(kind: pa.DataType, values: Any) -> pa.Array:
        return list_array(kind, offsets, values[:total])

    return {
        "splt_direction": lists(pa.uint8(), octets[0]),
        "splt_ip_len": lists(pa.uint32(), lengths[0]),
        "splt_payload_len": lists(pa.uint32(), lengths[1]),
        "splt_iat_s": lists(pa.float64(), seconds),
        "splt_flags": lists(pa.uint8(), octets[1]),
        "splt_frame_len": lists(pa.uint32(), lengths[2]),
        "splt_gap_ms": lists(pa.int64(), milliseconds),
    }


def _update(only_data: np.uint8, p: Array, begin: int, stop: int, state: Array, entries: Array) -> None:
    update(p, begin, stop, state, entries, only_data)


def feature(config: MeterConfig) -> Feature:
    """The group, with the options `splt` and `splt_data`."""
    layouts = Layout(COUNT), Layout(ENTRY, config.splt, clean=False)
    return Feature("splt", layouts, functools.partial(_update, np.uint8(config.splt_data)), finalize)
