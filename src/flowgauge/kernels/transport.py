"""TCP, UDP, SCTP, ICMP and ICMPv6 headers: ports, flags, sequence numbers and where the payload is."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
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
from flowgauge.kernels.packet import METERED, NO_WSCALE, TAIL_FRAGMENT, TRUNCATED_TRANSPORT

U = np.uint64

TCP_HEADER, UDP_HEADER, SCTP_HEADER = U(20), U(8), U(12)
OPTION_END, OPTION_NOP, OPTION_WSCALE = 0, 1, 3


@byte_helper
def _window_scale(data, at, end):
    """Shift of the window scale option (RFC 7323 §2.2) among the options in data[at:end]."""
    while at < end:
        kind = data[at]
        if kind == OPTION_END:
            break
        if kind == OPTION_NOP:
            at += U(1)
            continue
        if end < at + U(2) or data[at + U(1)] < 2:
            break
        if kind == OPTION_WSCALE and data[at + U(1)] == 3 and end >= at + U(3):
            return min(data[at + U(2)], np.uint8(14))
        at += U(data[at + U(1)])
    return NO_WSCALE


@byte_helper
def _tcp(data, r, end):
    """RFC 9293 §3.1; returns the length of the header."""
    at = r.at
    if end < at + TCP_HEADER:
        return TCP_HEADER
    r.tcp_seq = be32(data, at + U(4))
    r.tcp_ack = be32(data, at + U(8))
    r.tcp_flags = data[at + U(13)]
    r.tcp_window = be16(data, at + U(14))
    header = max(TCP_HEADER, U(data[at + U(12)] >> 4) * U(4))
    if r.tcp_flags & SYN:
        r.tcp_wscale = _window_scale(data, at + TCP_HEADER, min(end, at + header))
    return header


@byte_helper
def _udp_trailer(data, r, end):
    """Bytes of the IP packet behind the UDP datagram, as a plausible UDP length says (RFC 768)."""
    if end < r.at + UDP_HEADER:
        return U(0)
    length, available = be16(data, r.at + U(4)), r.ip_end - r.at
    if length < UDP_HEADER or length > available:
        return U(0)
    return available - length


@byte_helper
def _icmp(data, r, end, table):
    """Type and code, and the pseudo-ports of the Community ID specification."""
    if end < r.at + U(2):
        return TRUNCATED_TRANSPORT
    r.icmp_type = data[r.at]
    r.icmp_code = data[r.at + U(1)]
    counterpart = ICMP_COUNTERPART[table, r.icmp_type]
    r.src_port = r.icmp_type
    r.dst_port = r.icmp_code if counterpart == NO_COUNTERPART else counterpart
    return METERED


@byte_helper
def _set_payload(r, header, trailer):
    """Payload between a transport header and a trailer of these lengths."""
    available = r.ip_end - r.at if r.ip_end > r.at else U(0)
    r.payload_len = available - header - trailer if available > header + trailer else U(0)
    r.payload_offset = r.at + header


@byte_helper
def transport(data, r, end):
    """Decode the transport header at `r.at`; captured bytes end at `end`."""
    end = min(end, r.ip_end)
    header, trailer = U(0), U(0)
    if r.fragment == TAIL_FRAGMENT:
        _set_payload(r, header, trailer)
        return METERED
    if r.protocol == TCP or r.protocol == UDP or r.protocol == SCTP:
        if end < r.at + U(4):
            return TRUNCATED_TRANSPORT
        r.src_port = be16(data, r.at)
        r.dst_port = be16(data, r.at + U(2))
        if r.protocol == TCP:
            header = _tcp(data, r, end)
        elif r.protocol == UDP:
            header, trailer = UDP_HEADER, _udp_trailer(data, r, end)
        else:
            header = SCTP_HEADER
    elif r.protocol == ICMP or r.protocol == ICMPV6:
        reason = _icmp(data, r, end, 0 if r.protocol == ICMP else 1)
        if reason != METERED:
            return reason
    _set_payload(r, header, trailer)
    return METERED
