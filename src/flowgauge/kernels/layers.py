"""Between link and IP: tags, LLC, labels and frames in frames, each announced by the layer in front.

`w` (WALK) stands at a layer of kind `ethertype` that begins at `at`: an EtherType, a length (LLC), or one of the kinds
in kernels/header.py that have no EtherType. Each function steps over one layer, sets both for the next, and returns
a Reason; encapsulations put themselves on the packet's stack. One layer is one row of :func:`_step` and one function.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import be16, be32
from flowgauge.kernels.header import (
    ETHERTYPE_BRIDGED,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_PPP,
    NEXT_IP,
    NEXT_LLC,
)
from flowgauge.kernels.kinds import MPLS, PPPOE, SYMMETRIC
from flowgauge.kernels.packet import BAD_IP_VERSION, MAX_TUNNELS, METERED, NOT_IP, TRUNCATED_LINK

U = np.uint64

LONGEST_LENGTH = U(1500)  # an EtherType up to this is the length of a frame with LLC
ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST, ETHERTYPE_PPPOE = U(0x8847), U(0x8848), U(0x8864)
NESTED = U(1 << 31)
GOLDEN = U(0x9E3779B1)  # 2^32 / φ: multiples of small differences lie far apart

# What VLAN tags are to `reach_ip`: skipped, the packet's first ones, or more of them.
SKIPPED, FIRST, MORE = range(3)


@byte_helper
def push(q, kind, number):
    """Put an encapsulation on the packet's stack, of which only MAX_TUNNELS have a place.

    The realm of one symmetric id is that id. One inside another shifts it: two stacks that differ in one id differ,
    and so do those whose ids are at most 2^14 apart; others are the same by chance, once in 2^31.
    """
    depth = q.tunnel_depth
    if depth == 0:
        q.realm = 0
        q.outer_fragment = 0
    if depth < MAX_TUNNELS:
        q.tunnel_kind[depth] = kind
        q.tunnel_id[depth] = number
    if SYMMETRIC[kind]:
        realm, own = U(q.realm), U(kind) << U(24) | number & U(0xFFFFFF)
        q.realm = own if realm == U(0) else NESTED | ((realm * GOLDEN + own) & (NESTED - U(1)))
    q.tunnel_depth = min(depth, 254) + 1


@byte_helper
def is_vlan(ethertype):
    return ethertype == U(0x8100) or ethertype == U(0x88A8) or ethertype == U(0x9100)


@byte_helper
def _llc(data, w, end):
    """IEEE 802.2 header behind a length (RFC 1042): SNAP carries an EtherType, SAP 6 is IPv4."""
    at = w.at
    if end < at + U(3):
        return TRUNCATED_LINK
    sap, control = be16(data, at), data[at + U(2)]
    if sap == U(0x0606) and control == 3:
        w.ethertype, w.at = ETHERTYPE_IPV4, at + U(3)
        return METERED
    if sap != U(0xAAAA) or control != 3:
        return NOT_IP
    if end < at + U(8):
        return TRUNCATED_LINK
    organisation = be32(data, at + U(2)) & U(0xFFFFFF)
    w.ethertype, w.at = be16(data, at + U(6)), at + U(8)
    return METERED if organisation == U(0) and w.ethertype > LONGEST_LENGTH else NOT_IP


@byte_helper
def _vlan(data, q, w, end, tags):
    """IEEE 802.1Q tag."""
    if end < w.at + U(4):
        return TRUNCATED_LINK
    if tags != SKIPPED and q.tunnel_depth == 0:
        q.vlan = be16(data, w.at) & U(0xFFF)
        if tags == FIRST:
            q.vlan_outer = q.vlan
    w.ethertype = be16(data, w.at + U(2))
    w.at += U(4)
    return METERED


@byte_helper
def _by_version(data, w, end):
    """IP of the version that its first half byte says."""
    if end <= w.at:
        return TRUNCATED_LINK
    version = data[w.at] >> 4
    if version == 4:
        w.ethertype = ETHERTYPE_IPV4
    elif version == 6:
        w.ethertype = ETHERTYPE_IPV6
    else:
        return BAD_IP_VERSION
    return METERED


@byte_helper
def _is_ip(data, w, at, end):
    """Whether a whole IP header that fits into the wire's bytes begins here."""
    if end < at + U(20):
        return False
    length = be16(data, at + U(2))
    if data[at] >> 4 == 4:
        header = U(data[at] & 15) * U(4)
        return header >= U(20) and length >= header and at + length <= w.wire_end
    return data[at] >> 4 == 6 and end >= at + U(40) and at + U(40) + be16(data, at + U(4)) <= w.wire_end


@byte_helper
def _is_frame(data, w, at, end):
    """Whether an Ethernet frame with a whole IP header begins here."""
    at += U(12)
    while end >= at + U(4) and is_vlan(be16(data, at)):
        at += U(4)
    if end < at + U(2):
        return False
    ethertype = be16(data, at)
    return (ethertype == ETHERTYPE_IPV4 or ethertype == ETHERTYPE_IPV6) and _is_ip(data, w, at + U(2), end)


@byte_helper
def _mpls(data, q, w, end):
    """A label stack entry (RFC 3032 §2.1); nothing says what follows the last (RFC 4928 §3, RFC 4448 §4.6)."""
    if end < w.at + U(4):
        return TRUNCATED_LINK
    entry = be32(data, w.at)
    push(q, MPLS, entry >> U(12))
    w.at += U(4)
    if entry & U(0x100) == U(0):
        return METERED
    w.ethertype = NEXT_IP
    if end <= w.at or _is_ip(data, w, w.at, end):
        return METERED
    first = data[w.at] >> 4
    if first == 0 and _is_frame(data, w, w.at + U(4), end):
        w.at += U(4)  # the control word of a pseudowire
        w.ethertype = ETHERTYPE_BRIDGED
    elif _is_frame(data, w, w.at, end):
        w.ethertype = ETHERTYPE_BRIDGED
    elif first != 4 and first != 6:
        return NOT_IP
    return METERED


@byte_helper
def _pppoe(data, q, w, end):
    """PPPoE session (RFC 2516 §4)."""
    if end < w.at + U(6):
        return TRUNCATED_LINK
    if be16(data, w.at) != U(0x1100):
        return NOT_IP
    push(q, PPPOE, be16(data, w.at + U(2)))
    w.ethertype = ETHERTYPE_PPP
    w.at += U(6)
    return METERED


@byte_helper
def _ppp(data, q, w, end):
    """PPP (RFC 1661 §2, RFC 1662 §3.1) with or without address and control; a protocol below 256 may be one byte."""
    at = w.at
    if end >= at + U(2) and be16(data, at) == U(0xFF03):
        at += U(2)
    if end < at + U(2):
        return TRUNCATED_LINK
    if data[at] & 1:
        protocol, at = U(data[at]), at + U(1)
    else:
        protocol, at = be16(data, at), at + U(2)
    w.at = at
    if protocol == U(0x21):
        w.ethertype = ETHERTYPE_IPV4
    elif protocol == U(0x57):
        w.ethertype = ETHERTYPE_IPV6
    elif protocol == U(0x281) or protocol == U(0x283):
        w.ethertype = ETHERTYPE_MPLS
    else:
        return NOT_IP
    return METERED


@byte_helper
def _bridged(data, w, end):
    """An Ethernet frame in another packet: its addresses and tags are not the link's."""
    if end < w.at + U(14):
        return TRUNCATED_LINK
    w.ethertype = be16(data, w.at + U(12))
    w.at += U(14)
    return METERED


@byte_helper
def _step(data, q, w, end):
    """Step over one layer that is no VLAN tag."""
    kind = w.ethertype
    if kind <= LONGEST_LENGTH or kind == NEXT_LLC:
        return _llc(data, w, end)
    if kind == NEXT_IP:
        return _by_version(data, w, end)
    if kind == ETHERTYPE_MPLS or kind == ETHERTYPE_MPLS_MULTICAST:
        return _mpls(data, q, w, end)
    if kind == ETHERTYPE_PPPOE:
        return _pppoe(data, q, w, end)
    if kind == ETHERTYPE_PPP:
        return _ppp(data, q, w, end)
    if kind == ETHERTYPE_BRIDGED:
        return _bridged(data, w, end)
    return NOT_IP


@byte_helper
def reach_ip(data, q, w, end, tags):
    """Walk from layer to layer up to IP, or to the reason why there is none."""
    while w.ethertype != ETHERTYPE_IPV4 and w.ethertype != ETHERTYPE_IPV6:
        if is_vlan(w.ethertype):
            reason = _vlan(data, q, w, end, tags)
            tags = MORE if tags != SKIPPED else SKIPPED
        else:
            reason = _step(data, q, w, end)
        if reason != METERED:
            return reason
    return METERED
