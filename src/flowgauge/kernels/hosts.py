"""What hosts call themselves: DHCP (RFC 2131, RFC 2132), DHCPv6 (RFC 8415), NetBIOS (RFC 1001 §14, RFC 1002 §4).

Servers of STUN name their realm (RFC 8489 §14.9).
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be16, be32
from flowgauge.kernels.facts import (
    DEVICE_NAME,
    DNS_QUERY,
    HTTP_USER_AGENT,
    SERVER_NAME,
    begin_text,
    put_byte,
    put_bytes,
)

U = np.uint64
_DHCP_OPTIONS, _COOKIE = U(240), U(0x63825363)
_HOST_NAME, _VENDOR_CLASS, _END = 12, 60, 255
_V6_VENDOR_CLASS, _V6_NAME = U(16), U(39)
_RELAY = 12
_NETBIOS_NAME = U(32)  # bytes of an encoded name
_QUERY, _RESPONSE_OPCODE = U(0), U(0x10)
_NB, _NBSTAT = U(0x20), U(0x21)
_A, _P = np.uint8(ord("A")), np.uint8(ord("P"))
_DOT = np.uint8(ord("."))
_REALM = U(0x0014)


@rare_byte_helper
def is_dhcp(data, at, end):
    """A BOOTP message with DHCP's options."""
    if end < at + _DHCP_OPTIONS:
        return False
    known = (data[at] == 1 or data[at] == 2) and data[at + U(2)] <= 16
    return known and be32(data, at + _DHCP_OPTIONS - U(4)) == _COOKIE


@rare_byte_helper
def _find_option(data, at, end, code):
    """Range of the first DHCP option of a code; an empty one where there is none."""
    while at < end and data[at] != _END:
        if data[at] == 0:  # padding
            at += U(1)
            continue
        if at + U(2) > end:
            break
        stop = at + U(2) + U(data[at + U(1)])
        if stop > end:
            break
        if data[at] == code:
            return at + U(2), stop
        at = stop
    return end, end


@rare_byte_helper
def _put(fact, which, data, at, end, out):
    while end > at and data[end - U(1)] == 0:  # some end their texts as in C
        end -= U(1)
    if at < end:
        begin_text(fact, which)
        put_bytes(fact, which, data, at, end, out)


@rare_byte_helper
def dissect_dhcp(data, begin, end, fact, out):
    """A client's host name, and its vendor class."""
    if not is_dhcp(data, begin, end):
        return
    options = begin + _DHCP_OPTIONS
    at, stop = _find_option(data, options, end, _HOST_NAME)
    _put(fact, DEVICE_NAME, data, at, stop, out)
    at, stop = _find_option(data, options, end, _VENDOR_CLASS)
    _put(fact, HTTP_USER_AGENT, data, at, stop, out)


@rare_byte_helper
def _v6_options(data, at):
    """Where a DHCPv6 message's options begin: behind the type and an id, or a relay's two addresses."""
    return at + (U(34) if data[at] == _RELAY or data[at] == _RELAY + 1 else U(4))


@rare_byte_helper
def is_dhcpv6(data, at, end):
    """A known type, and options that end where the message does."""
    if end < at + U(8) or data[at] == 0 or data[at] > 13:
        return False
    here = _v6_options(data, at)
    while here < end:
        if end - here < U(4):
            return False
        here += U(4) + be16(data, here + U(2))
    return here == end


@rare_byte_helper
def _find_v6_option(data, at, end, code):
    while at < end and end - at >= U(4):
        size = be16(data, at + U(2))
        if size > end - at - U(4):
            break
        if be16(data, at) == code:
            return at + U(4), at + U(4) + size
        at += U(4) + size
    return end, end


@rare_byte_helper
def _put_labels(fact, which, data, at, end, out):
    """A name in DNS' form, without compression; what is broken ends it."""
    begin_text(fact, which)
    first = True
    while at < end:
        size = U(data[at])
        if size == U(0) or size > U(63) or size >= end - at:
            break
        if not first:
            put_byte(fact, which, out, _DOT)
        put_bytes(fact, which, data, at + U(1), at + U(1) + size, out)
        first = False
        at += U(1) + size


@rare_byte_helper
def dissect_dhcpv6(data, begin, end, fact, out):
    """A client's full name (RFC 4704), and its vendor class."""
    if end < begin + U(8):
        return
    options = _v6_options(data, begin)
    at, stop = _find_v6_option(data, options, end, _V6_NAME)
    if at + U(1) < stop:
        _put_labels(fact, DEVICE_NAME, data, at + U(1), stop, out)
    at, stop = _find_v6_option(data, options, end, _V6_VENDOR_CLASS)
    if at + U(6) < stop:  # behind an enterprise's number and a length
        _put(fact, HTTP_USER_AGENT, data, at + U(6), stop, out)


@rare_byte_helper
def is_netbios_name(data, at, end):
    """Whether an encoded name is here: its length, and half a byte in each of the letters A to P."""
    if end < at + U(1) + _NETBIOS_NAME or data[at] != _NETBIOS_NAME:
        return False
    at, stop = at + U(1), at + U(1) + _NETBIOS_NAME
    while at < stop and data[at] >= _A and data[at] <= _P:
        at += U(1)
    return at == stop


@rare_byte_helper
def _character(data, at):
    return np.uint8((data[at] - _A) << 4 | (data[at + U(1)] - _A))


@rare_byte_helper
def put_netbios_name(fact, which, data, at, out):
    """The name that is encoded here (:func:`is_netbios_name`), without padding and its last byte, a kind."""
    begin, last = at + U(1), at + _NETBIOS_NAME - U(1)
    while last > begin and (_character(data, last - U(2)) == 32 or _character(data, last - U(2)) == 0):
        last -= U(2)
    begin_text(fact, which)
    while begin < last:
        put_byte(fact, which, out, _character(data, begin))
        begin += U(2)


@rare_byte_helper
def is_netbios_ns(data, at, end):
    """A message of the name service: one question or one record, for a NetBIOS name."""
    if end < at + U(50) or be16(data, at + U(4)) + be16(data, at + U(6)) != U(1):
        return False
    return is_netbios_name(data, at + U(12), end)


@rare_byte_helper
def dissect_netbios_ns(data, begin, end, fact, out):
    """The name that is asked for, or that the sender registers."""
    if not is_netbios_ns(data, begin, end):
        return
    flags = be16(data, begin + U(2))
    if flags >> U(11) & U(15) == _QUERY:
        put_netbios_name(fact, DNS_QUERY, data, begin + U(12), out)
        after = begin + U(13) + _NETBIOS_NAME
        if end >= after + U(3) and data[after] == 0:
            fact.dns_type = np.uint16(be16(data, after + U(1)))
    else:
        put_netbios_name(fact, DEVICE_NAME, data, begin + U(12), out)
    if flags & U(0x8000):
        fact.dns_rcode = np.int16(flags & U(15))


@rare_byte_helper
def is_netbios_dgm(data, at, end):
    """A datagram (RFC 1002 §4.4): its kind, flags, source port 138, and the sender's name."""
    if end < at + U(48) or data[at] < 0x10 or data[at] > 0x12 or data[at + U(1)] > 15:
        return False
    return be16(data, at + U(8)) == U(138) and is_netbios_name(data, at + U(14), end)


@rare_byte_helper
def dissect_netbios_dgm(data, begin, end, fact, out):
    """The sender's name."""
    if is_netbios_dgm(data, begin, end):
        put_netbios_name(fact, DEVICE_NAME, data, begin + U(14), out)


@rare_byte_helper
def dissect_stun(data, begin, end, fact, out):
    """The realm that a message names, if none was named before."""
    if end < begin + U(20) or fact.length[SERVER_NAME] > 0:
        return
    at, end = begin + U(20), min(end, begin + U(20) + be16(data, begin + U(2)))
    while at < end and end - at >= U(4):
        size = be16(data, at + U(2))
        if size > end - at - U(4):
            return
        if be16(data, at) == _REALM:
            _put(fact, SERVER_NAME, data, at + U(4), at + U(4) + size, out)
            return
        at += U(4) + (size + U(3) & U(0xFFFC))
