"""TCP, UDP, SCTP, ICMP and ICMPv6 headers: ports, flags, sequence numbers and where the payload is."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, inline_byte_helper
from flowgauge.kernels.bytes import be16, be32
from flowgauge.kernels.header import (
    ICMP,
    ICMP_COUNTERPART,
    ICMPV6,
    NO_COUNTERPART,
    SCTP,
    SYN,
    TCP,
    UDP,
)
from flowgauge.kernels.packet import METERED, TAIL_FRAGMENT, TRUNCATED_TRANSPORT

U = np.uint64

TCP_HEADER, UDP_HEADER, SCTP_HEADER = U(20), U(8), U(12)
OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_WSCALE, OPTION_SACK = range(5)


@byte_helper
def _syn_options(data, q, at, end):
    """Window scale (RFC 7323 §2.2), segment size (RFC 9293 §3.7.1) and SACK (RFC 2018 §2) among data[at:end]."""
    q.tcp_mss = q.tcp_sack = 0
    while at < end:
        kind = data[at]
        if kind == OPTION_END:
            return
        if kind == OPTION_NOP:
            at += U(1)
            continue
        if end < at + U(2) or data[at + U(1)] < 2:
            return
        length = data[at + U(1)]
        if end >= at + U(length):
            if kind == OPTION_WSCALE and length == 3:
                q.tcp_wscale = min(data[at + U(2)], np.uint8(14))
            elif kind == OPTION_MSS and length == 4:
                q.tcp_mss = be16(data, at + U(2))
            elif kind == OPTION_SACK and length == 2:
                q.tcp_sack = 1
        at += U(length)


@inline_byte_helper
def _tcp(data, q, w, end):
    """RFC 9293 §3.1; returns the length of the header."""
    at = w.at
    if end < at + TCP_HEADER:
        return TCP_HEADER
    q.tcp_seq = be32(data, at + U(4))
    q.tcp_ack = be32(data, at + U(8))
    q.tcp_flags = data[at + U(13)]
    q.tcp_window = be16(data, at + U(14))
    header = max(TCP_HEADER, U(data[at + U(12)] >> 4) * U(4))
    if q.tcp_flags & SYN:
        _syn_options(data, q, at + TCP_HEADER, min(end, at + header))
    return header


@byte_helper
def _udp_trailer(data, q, w, end):
    """Bytes of the IP packet behind the UDP datagram, as a plausible UDP length says (RFC 768)."""
    if end < w.at + UDP_HEADER:
        return U(0)
    length, available = be16(data, w.at + U(4)), w.ip_end - w.at
    if length < UDP_HEADER or length > available:
        return U(0)
    return available - length


@byte_helper
def _icmp(data, q, w, end, table):
    """Type and code, and the pseudo-ports of the Community ID specification."""
    if end < w.at + U(2):
        return TRUNCATED_TRANSPORT
    q.icmp_type = data[w.at]
    q.icmp_code = data[w.at + U(1)]
    counterpart = ICMP_COUNTERPART[table, q.icmp_type]
    q.src_port = q.icmp_type
    q.dst_port = q.icmp_code if counterpart == NO_COUNTERPART else counterpart
    return METERED


@byte_helper
def _set_payload(q, w, end, header, trailer):
    """Payload between a transport header and a trailer of these lengths; captured bytes end at `end`."""
    available = w.ip_end - w.at if w.ip_end > w.at else U(0)
    length = available - header - trailer if available > header + trailer else U(0)
    begin = w.at + header
    q.payload_len, q.payload_offset, q.header_len = length, begin, header
    q.payload_caplen = min(length, end - begin) if end > begin else U(0)


@inline_byte_helper
def transport(data, q, w, end):
    """Decode the transport header at `w.at`; captured bytes end at `end`."""
    end = min(end, w.ip_end)
    header, trailer = U(0), U(0)
    if q.fragment == TAIL_FRAGMENT:
        _set_payload(q, w, end, header, trailer)
        return METERED
    if q.protocol == TCP or q.protocol == UDP or q.protocol == SCTP:
        if end < w.at + U(4):
            return TRUNCATED_TRANSPORT
        q.src_port = be16(data, w.at)
        q.dst_port = be16(data, w.at + U(2))
        if q.protocol == TCP:
            header = _tcp(data, q, w, end)
        elif q.protocol == UDP:
            header, trailer = UDP_HEADER, _udp_trailer(data, q, w, end)
        else:
            header = SCTP_HEADER
    elif q.protocol == ICMP or q.protocol == ICMPV6:
        reason = _icmp(data, q, w, end, 0 if q.protocol == ICMP else 1)
        if reason != METERED:
            return reason
    _set_payload(q, w, end, header, trailer)
    return METERED
