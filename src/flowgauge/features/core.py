"""Group `core`: packets and bytes, times, endpoints and how the flow began and ended.

The state is the flow record itself; what is not counted per packet was set when it was opened.
"""

from __future__ import annotations

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Values, look_ahead, put_views
from flowgauge.kernels._jit import inline_helper, kernel
from flowgauge.kernels.packet import NOT_FRAGMENT
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

# Columns of the arrays that `finish` fills.
COUNTS = ("packets", "frame_bytes", "ip_bytes", "payload_bytes")
INTEGERS = ("flow_id", "first_packet", "start", "end", "clock_back", "fragments", "rest_packets")
HALVES = ("client_port", "server_port", "vlan", "vlan_outer")
OCTETS = ("protocol", "ip_version", "icmp_type", "icmp_code", "has_icmp", "opener")


@inline_helper
def count(q, f):
    """Count a packet into its record."""
    d = q.direction
    f.packets[d] += np.uint64(1)
    f.frame_bytes[d] += np.uint64(q.frame_len)
    f.ip_bytes[d] += np.uint64(q.ip_len)
    f.payload_bytes[d] += np.uint64(q.payload_len)
    f.start = min(f.start, q.time)
    f.end = max(f.end, q.time)
    f.fragments += q.fragment != NOT_FRAGMENT


@kernel
def update(p, begin, stop, flows):
    for i in range(begin, stop):
        look_ahead(p, i, stop, flows)
        q = p.packets[i]
        if q.slot >= 0:
            count(q, flows[q.slot])


@kernel
def finish(flows, counts, integers, parts, seconds, halves, octets):
    """Columns of every row: `counts` is (view, COUNTS, row), the others (INTEGERS, row), (row), (row), (HALVES, row)
    and (OCTETS, row)."""
    for row in range(len(flows)):
        f = flows[row]
        put_views(counts, 0, row, f.packets[0], f.packets[1])
        put_views(counts, 1, row, f.frame_bytes[0], f.frame_bytes[1])
        put_views(counts, 2, row, f.ip_bytes[0], f.ip_bytes[1])
        put_views(counts, 3, row, f.payload_bytes[0], f.payload_bytes[1])
        integers[0, row], integers[1, row] = f.flow_id, f.first_packet
        integers[2, row], integers[3, row] = f.start, f.end
        integers[4, row], integers[5, row], integers[6, row] = f.clock_back, f.fragments, f.rest_packets
        parts[row], seconds[row] = f.part, np.float64(f.end - f.start) / 1e9
        halves[0, row], halves[1, row], halves[2, row] = f.client_port, f.server_port, f.vlan
        halves[3, row] = f.vlan_outer
        octets[0, row], octets[1, row] = f.protocol, f.ip_version
        octets[2, row], octets[3, row], octets[4, row] = f.icmp_type, f.icmp_code, f.has_icmp
        octets[5, row] = f.opener


def finalize(flows: Array, memory: Memory) -> dict[str, Values]:
    """The numeric columns; texts and dictionaries are made by the meter from the same records."""
    rows = len(flows)
    counts = memory.columns((3, len(COUNTS)), rows, np.int64)
    integers, halves, octets = (
        memory.columns((len(names),), rows, kind)
        for names, kind in ((INTEGERS, np.int64), (HALVES, np.uint16), (OCTETS, np.uint8))
    )
    parts, seconds = memory.empty(rows, np.int32), memory.empty(rows, np.float64)
    finish(flows, counts, integers, parts, seconds, halves, octets)
    found: dict[str, Values] = {"part": (parts, None), "duration_s": (seconds, None)}
    for names, values in ((INTEGERS, integers), (HALVES, halves), (OCTETS, octets)):
        found |= {name: (values[place, :rows], None) for place, name in enumerate(names)}
    for name in ("vlan", "vlan_outer"):
        found[name] = (found[name][0], found[name][0] == 0)
    no_icmp = found.pop("has_icmp")[0] == 0
    for name in ("icmp_type", "icmp_code"):
        found[name] = (found[name][0], no_icmp)
    for view, prefix in enumerate(DIRECTIONS):
        found |= {prefix + name: (counts[view, place, :rows], None) for place, name in enumerate(COUNTS)}
    return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("core", (), update, finalize, ("flows",))
