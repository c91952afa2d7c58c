"""Decode the frames of a batch: link, IP and transport headers into the batch's header columns."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_kernel, helper
from flowgauge.kernels.link import link_header, tags
from flowgauge.kernels.network import network
from flowgauge.kernels.packet import METERED, NO_MAC, NO_WSCALE, NOT_FRAGMENT
from flowgauge.kernels.transport import transport

U = np.uint64


@helper
def _clear(q):
    """Set what a packet may leave unset."""
    q.src_hi = q.dst_hi = U(0)
    q.src_mac = q.dst_mac = NO_MAC
    q.src_port = q.dst_port = 0
    q.vlan = q.vlan_outer = 0
    q.tcp_seq = q.tcp_ack = 0
    q.tcp_flags = q.tcp_window = 0
    q.tcp_wscale = NO_WSCALE
    q.icmp_type = q.icmp_code = 0
    q.fragment = NOT_FRAGMENT
    q.fragment_id = 0
    q.length_lies = 0


@byte_kernel
def decode_rows(data, p, begin, stop, cursor, reasons, totals):
    """Decode rows begin..stop of `p` from the bytes in `data`.

    `cursor[0]` is the row at work, so that the caller can resume behind a row that failed a bounds
    check. Counts go to `reasons` (by reason) and `totals`: bytes on the wire of all packets, and metered
    packets with an IP length beyond the wire.
    """
    for i in range(begin, stop):
        cursor[0] = i
        q = p.packets[i]
        totals[0] += q.frame_len
        end = q.offset + U(q.caplen)
        _clear(q)
        q.wire_end = q.offset + U(max(q.frame_len, q.caplen))
        reason = link_header(data, q, q.offset, end, U(q.link))
        if reason == METERED:
            reason = tags(data, q, end)
        if reason == METERED:
            reason = network(data, q, end)
        if reason == METERED:
            reason = transport(data, q, end)
        q.reason = reason
        reasons[reason] += 1
        if reason == METERED:
            totals[1] += q.length_lies
            captured = end - q.payload_offset if end > q.payload_offset else U(0)
            q.payload_caplen = min(captured, U(q.payload_len))
