"""Decode the frames of a batch: link, IP and transport headers into the batch's header columns."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_kernel, helper
from flowgauge.kernels.link import link_header, tags
from flowgauge.kernels.network import network
from flowgauge.kernels.packet import METERED, NO_MAC, NO_WSCALE, NOT_FRAGMENT
from flowgauge.kernels.transport import transport
from flowgauge.kernels.tunnels import WHOLE, enter, holds, may_lead_inside

U = np.uint64

WALK = np.dtype(
    [
        ("at", np.uint64),  # where the next layer begins, in the source's buffer
        ("wire_end", np.uint64),  # where the packet ended on the wire
        ("ip_end", np.uint64),  # where the IP packet ends, as its header says
        ("ethertype", np.uint64),
        ("row", np.int64),
        ("wire_bytes", np.int64),  # of all packets
        ("length_lies", np.int64),  # metered packets with an IP length beyond the wire
        ("end", np.uint64),  # of the captured bytes of the packet around
        ("outer", np.uint8),  # 1 where no packet is looked into
        ("cut", np.uint8),  # why the packet around may end before the one in it
        ("by_port", np.uint8),  # 1 where only a UDP port says that there is one
    ],
    align=True,
)
"""Where the decoder stands in a packet, and what it has counted so far."""


@helper
def _clear_headers(q):
    """Set what IP and transport headers may leave unset."""
    q.src_hi = q.dst_hi = U(0)
    q.src_port = q.dst_port = 0
    q.tcp_seq = q.tcp_ack = 0
    q.tcp_flags = q.tcp_window = 0
    q.tcp_wscale = NO_WSCALE
    q.icmp_type = q.icmp_code = 0
    q.fragment = NOT_FRAGMENT
    q.ip_id = 0
    q.length_lies = 0


@helper
def _clear(q):
    """Set what a packet may leave unset."""
    q.src_mac = q.dst_mac = NO_MAC
    q.vlan = q.vlan_outer = 0
    q.tunnel_depth = 0
    _clear_headers(q)


@byte_kernel
def decode_rows(data, p, begin, stop, walk, reasons, saved, seed):
    """Decode rows begin..stop of `p` from the bytes in `data`; `walk` is one WALK, `saved` has room for one packet.

    Its `row` is the one at work, so that the caller can resume behind a row that failed a bounds check. Packets are
    counted in `reasons`, by reason. `seed` is that of the names of datagrams.

    A packet that carries another is decoded level by level, down to the last that is a whole IP packet.
    """
    w = walk[0]
    for i in range(begin, stop):
        w.row = i
        q = p.packets[i]
        w.wire_bytes += q.frame_len
        begin = U(q.offset)
        end = begin + U(q.caplen)
        _clear(q)
        w.wire_end = begin + U(max(q.frame_len, q.caplen))
        reason = link_header(data, q, w, begin, end, U(q.link))
        if reason == METERED:
            reason = tags(data, q, w, end)
        inside, stop_at = False, min(end, w.wire_end)
        q.ip_begin = w.at - begin
        while reason == METERED:
            reason = network(data, q, w, stop_at)
            if reason == METERED:
                reason = transport(data, q, w, stop_at)
            if inside and not (reason == METERED and holds(q, w)):
                p.packets[i], reason = saved[0], METERED
                break
            if reason != METERED or not may_lead_inside(q, w):
                break
            if not inside:
                w.cut = WHOLE
            saved[0] = q
            inside = enter(data, q, w, stop_at, seed)
            if not inside:
                p.packets[i] = saved[0]
                break
            stop_at = w.end
            _clear_headers(q)
        q.reason = reason
        reasons[reason] += 1
        if reason == METERED:
            w.length_lies += q.length_lies
