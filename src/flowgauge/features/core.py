"""Group `core`: packets and bytes, times, endpoints and how the flow began and ended.

The state is the flow record itself; what is not counted per packet was set when it was opened.
"""

from __future__ import annotations

import numpy as np

from flowgauge.features._feature import Array, Feature, Values, look_ahead
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.packet import NOT_FRAGMENT
from flowgauge.kernels.state import FLOW
from flowgauge.schema import DIRECTIONS

COUNTS = ("packets", "frame_bytes", "ip_bytes", "payload_bytes")


@kernel
def update(p, begin, stop, flows):
    for i in range(begin, stop):
        look_ahead(p, i, stop, flows)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f, d = flows[q.slot], q.direction
        f.packets[d] += np.uint64(1)
        f.frame_bytes[d] += np.uint64(q.frame_len)
        f.ip_bytes[d] += np.uint64(q.ip_len)
        f.payload_bytes[d] += np.uint64(q.payload_len)
        f.start = min(f.start, q.time)
        f.end = max(f.end, q.time)
        f.fragments += q.fragment != NOT_FRAGMENT


def finalize(state: Array, flows: Array) -> dict[str, Values]:
    """The numeric columns; texts and dictionaries are made by the meter from the same records."""
    no_icmp = flows["has_icmp"] == 0
    columns: dict[str, Values] = {
        "flow_id": (flows["flow_id"], None),
        "first_packet": (flows["first_packet"], None),
        "part": (flows["part"], None),
        "start": (flows["start"], None),
        "end": (flows["end"], None),
        "duration_s": ((flows["end"] - flows["start"]) / 1e9, None),
        "client_port": (flows["client_port"], None),
        "server_port": (flows["server_port"], None),
        "protocol": (flows["protocol"], None),
        "ip_version": (flows["ip_version"], None),
        "vlan": (flows["vlan"], flows["vlan"] == 0),
        "vlan_outer": (flows["vlan_outer"], flows["vlan_outer"] == 0),
        "icmp_type": (flows["icmp_type"], no_icmp),
        "icmp_code": (flows["icmp_code"], no_icmp),
        "clock_back": (flows["clock_back"], None),
        "fragments": (flows["fragments"], None),
    }
    for name in COUNTS:
        up, down = flows[name].astype(np.int64).T
        for prefix, values in zip(DIRECTIONS, (up + down, up, down), strict=True):
            columns[prefix + name] = (values, None)
    return columns


FEATURE = Feature("core", FLOW, update, finalize)
