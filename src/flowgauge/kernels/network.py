"""IPv4 and IPv6 headers (RFC 791, RFC 8200): addresses, length, fragments, and the transport's offset."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, inline_byte_helper
from flowgauge.kernels.bytes import be16, be32, be64
from flowgauge.kernels.header import ETHERTYPE_IPV4, ETHERTYPE_IPV6
from flowgauge.kernels.packet import (
    BAD_IHL,
    BAD_IP_LENGTH,
    BAD_IP_VERSION,
    FIRST_FRAGMENT,
    METERED,
    NO_IP_HEADER,
    NOT_IP,
    TAIL_FRAGMENT,
    TRUNCATED_EXTENSION,
    TRUNCATED_IP,
)

U = np.uint64

JUMBO_PAYLOAD, LONGEST_PAYLOAD = 0xC2, U(0xFFFF)  # the option of RFC 2675; what a payload length can say
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60


@byte_helper
def _set_length(q, w, at, length, header):
    """IP length as its header says, within what was on the wire; 0 stands for all of that."""
    wire = w.wire_end - at
    if length == U(0):
        length = wire
    elif length > wire:
        length = wire
        q.length_lies = 1
    q.ip_len = max(length, header)
    w.ip_end = at + max(length, header)


@byte_helper
def _set_fragment(q, offset, more):
    """Note a fragment; an offset of 0 with nothing to come is none (RFC 6946)."""
    if offset != U(0) or more != U(0):
        q.fragment = TAIL_FRAGMENT if offset != U(0) else FIRST_FRAGMENT


@inline_byte_helper
def _ipv4(data, q, w, end):
    at = w.at
    if end < at + U(20):
        return TRUNCATED_IP
    version, header = data[at] >> 4, U(data[at] & 15) * U(4)
    if version != 4:
        return BAD_IP_VERSION
    if header < U(20):
        return BAD_IHL
    if end < at + header:
        return TRUNCATED_IP
    length = be16(data, at + U(2))
    if length != U(0) and length < header:
        return BAD_IP_LENGTH
    q.ip_version = 4
    _set_length(q, w, at, length, header)
    flags = be16(data, at + U(6))
    _set_fragment(q, flags & U(0x1FFF), flags & U(0x2000))
    q.ip_id = be16(data, at + U(4))
    q.tos, q.ttl, q.protocol = data[at + U(1)], data[at + U(8)], data[at + U(9)]
    q.src_lo = be32(data, at + U(12))
    q.dst_lo = be32(data, at + U(16))
    q.ip_header = header >> U(2)
    w.at = at + header
    return METERED


@byte_helper
def _extension_length(data, at, next_header):
    units = U(data[at + U(1)])
    return (units + U(2)) * U(4) if next_header == AUTHENTICATION else (units + U(1)) * U(8)


@byte_helper
def _extensions(data, q, w, end):
    """Walk IPv6 extension headers up to the transport or a fragment that is no first one."""
    at, next_header = w.at, q.protocol
    end = min(end, w.ip_end)
    while True:
        if next_header == FRAGMENT:
            if end < at + U(8):
                return TRUNCATED_EXTENSION
            field = be16(data, at + U(2))
            _set_fragment(q, field >> U(3), field & U(1))
            q.ip_id = be32(data, at + U(4))
            length = U(8)
        elif next_header in (HOP_BY_HOP, ROUTING, DESTINATION, AUTHENTICATION):
            if end < at + U(2):
                return TRUNCATED_EXTENSION
            length = _extension_length(data, at, next_header)
        else:
            break
        if end < at + length:
            return TRUNCATED_EXTENSION
        next_header = data[at]
        at += length
        if q.fragment == TAIL_FRAGMENT:
            break
    q.ip_header = min((at - w.at >> U(2)) + U(10), U(NO_IP_HEADER))
    w.at, q.protocol = at, next_header
    return METERED


@byte_helper
def _jumbo_length(data, at, end):
    """Payload length of a jumbogram (RFC 2675 §2), from the options of the hop-by-hop header at `at`; 0 without one."""
    if end < at + U(2):
        return U(0)
    end = min(end, at + (U(data[at + U(1)]) + U(1)) * U(8))
    at += U(2)
    while end >= at + U(6):  # no shorter rest holds the option
        if data[at] == JUMBO_PAYLOAD and data[at + U(1)] == 4:
            length = be32(data, at + U(2))
            return length if length > LONGEST_PAYLOAD else U(0)
        at += U(1) if data[at] == 0 else U(data[at + U(1)]) + U(2)
    return U(0)


@byte_helper
def _ipv6(data, q, w, end):
    at = w.at
    if end < at + U(40):
        return TRUNCATED_IP
    if data[at] >> 4 != 6:
        return BAD_IP_VERSION
    q.ip_version = 6
    q.tos = be16(data, at) >> U(4) & U(0xFF)
    q.protocol, q.ttl = data[at + U(6)], data[at + U(7)]
    length = be16(data, at + U(4))
    if length == U(0) and q.protocol == HOP_BY_HOP:
        length = _jumbo_length(data, at + U(40), end)
    if length != U(0) or q.protocol == NO_NEXT:
        length += U(40)
    _set_length(q, w, at, length, U(40))
    q.src_hi = be64(data, at + U(8))
    q.src_lo = be64(data, at + U(16))
    q.dst_hi = be64(data, at + U(24))
    q.dst_lo = be64(data, at + U(32))
    w.at = at + U(40)
    return _extensions(data, q, w, end)


@inline_byte_helper
def network(data, q, w, end):
    """Decode the network layer of one packet whose link layer is decoded."""
    if w.ethertype == ETHERTYPE_IPV4:
        return _ipv4(data, q, w, end)
    if w.ethertype == ETHERTYPE_IPV6:
        return _ipv6(data, q, w, end)
    return NOT_IP
