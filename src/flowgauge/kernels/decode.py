"""Decode the frames of a batch: link, IP and transport headers into the batch's header columns."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_kernel, helper
from flowgauge.kernels.link import link_header
from flowgauge.kernels.network import network
from flowgauge.kernels.packet import METERED, NO_MAC, NO_WSCALE, NOT_FRAGMENT

U = np.uint64


@helper
def _clear(r):
    """Set what a packet may leave unset."""
    r.src_hi = r.dst_hi = U(0)
    r.src_mac = r.dst_mac = NO_MAC
    r.src_port = r.dst_port = 0
    r.vlan = r.vlan_outer = 0
    r.tcp_seq = r.tcp_ack = 0
    r.tcp_flags = r.tcp_window = 0
    r.tcp_wscale = NO_WSCALE
    r.icmp_type = r.icmp_code = 0
    r.fragment = NOT_FRAGMENT
    r.fragment_id = 0
    r.length_lies = 0


@helper
def _store(p, i, r, end):
    """Copy the scratch record to row i."""
    p.ip_version[i], p.protocol[i] = r.ip_version, r.protocol
    p.src_hi[i], p.src_lo[i] = r.src_hi, r.src_lo
    p.dst_hi[i], p.dst_lo[i] = r.dst_hi, r.dst_lo
    p.src_port[i], p.dst_port[i] = r.src_port, r.dst_port
    p.src_mac[i], p.dst_mac[i] = r.src_mac, r.dst_mac
    p.vlan[i], p.vlan_outer[i] = r.vlan, r.vlan_outer
    p.ip_len[i], p.payload_len[i] = r.ip_len, r.payload_len
    p.payload_offset[i] = r.payload_offset
    captured = end - r.payload_offset if end > r.payload_offset else U(0)
    p.payload_caplen[i] = min(captured, U(r.payload_len))
    p.tcp_flags[i], p.tcp_window[i], p.tcp_wscale[i] = r.tcp_flags, r.tcp_window, r.tcp_wscale
    p.tcp_seq[i], p.tcp_ack[i] = r.tcp_seq, r.tcp_ack
    p.icmp_type[i], p.icmp_code[i] = r.icmp_type, r.icmp_code
    p.fragment[i], p.fragment_id[i] = r.fragment, r.fragment_id


@byte_kernel
def decode_rows(data, p, begin, stop, scratch, cursor, reasons, lies):
    """Decode rows begin..stop of `p` from the bytes in `data`.

    `cursor[0]` is the row at work, so that the caller can resume behind a row that failed a bounds
    check. Counts go to `reasons` (by reason) and `lies[0]` (metered packets
    with an IP length beyond the wire).
    """
    r = scratch[0]
    for i in range(begin, stop):
        cursor[0] = i
        at = p.offset[i]
        end = at + U(p.caplen[i])
        _clear(r)
        r.wire_end = at + U(max(p.frame_len[i], p.caplen[i]))
        reason = link_header(data, r, at, end, U(p.link[i]))
        if reason == METERED:
            reason = network(data, r, end)
        p.reason[i] = reason
        reasons[reason] += 1
        if reason == METERED:
            lies[0] += r.length_lies
        _store(p, i, r, end)
