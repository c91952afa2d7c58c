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
    ETHERTYPE_NONE,
    ETHERTYPE_PPP,
    NEXT_IP,
    NEXT_LLC,
    NEXT_NLPID,
    NEXT_WIRELESS,
    NEXT_WIRELESS_SWAPPED,
)
from flowgauge.kernels.kinds import FABRICPATH, MPLS, NSH, PBB, PPPOE, SYMMETRIC, TRILL
from flowgauge.kernels.packet import BAD_IP_VERSION, MAX_TUNNELS, METERED, NOT_IP, TRUNCATED_LINK
from flowgauge.kernels.wireless import PLAIN, SWAPPED, wireless

U = np.uint64

LONGEST_LENGTH = U(1500)  # an EtherType up to this is the length of a frame with LLC
ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST, ETHERTYPE_PPPOE = U(0x8847), U(0x8848), U(0x8864)
ETHERTYPE_PBB, ETHERTYPE_FABRICPATH, ETHERTYPE_TRILL, ETHERTYPE_NSH = U(0x88E7), U(0x8903), U(0x22F3), U(0x894F)
ETHERTYPE_VN_TAG, ETHERTYPE_CISCO_METADATA, ETHERTYPE_HSR = U(0x8926), U(0x8909), U(0x892F)
ETHERTYPE_MACSEC = U(0x88E5)
NESTED = U(1 << 31)
GOLDEN = U(0x9E3779B1)  # 2^32 / φ: multiples of small differences lie far apart

# What VLAN tags are to `reach_ip`: skipped, the packet's first ones, or more of them.
SKIPPED, FIRST, MORE = range(3)


@byte_helper
def push(q, kind, number):
    """Put an encapsulation on the packet's stack, of which only MAX_TUNNELS have a place.

    The realm of one symmetric id is that id and its kind. Those of ids in ids are mixed: two pairs that differ in one
    id differ, and so do those whose ids are at most 2^15 apart; others are the same by chance, once in 2^31.
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
def named(ethertype):
    """An EtherType where none is a length."""
    return ethertype if ethertype > LONGEST_LENGTH else ETHERTYPE_NONE


@byte_helper
def _snap(data, w, at, end, padding):
    """Organisation and protocol: an EtherType (RFC 1042, IEEE 802.1H), or a bridged frame (RFC 2684 §5.2) behind
    `padding`."""
    if end < at + U(5):
        return TRUNCATED_LINK
    organisation, protocol = be32(data, at) >> U(8), be16(data, at + U(3))
    w.at = at + U(5)
    if organisation == U(0) or organisation == U(0xF8):
        w.ethertype = named(protocol)
    elif organisation == U(0x80C2) and (protocol == U(1) or protocol == U(7)):
        w.ethertype = ETHERTYPE_BRIDGED
        w.at += padding
    else:
        return NOT_IP
    return METERED


@byte_helper
def _llc(data, w, end):
    """IEEE 802.2 header behind a length (RFC 1042): SNAP carries an EtherType, SAP 6 is IPv4, SAP FE an NLPID."""
    at = w.at
    if end < at + U(3):
        return TRUNCATED_LINK
    sap = be16(data, at)
    w.at = at + U(3)
    if data[at + U(2)] != 3:
        return NOT_IP
    if sap == U(0xAAAA):
        return _snap(data, w, w.at, end, U(2))
    if sap == U(0x0606):
        w.ethertype = ETHERTYPE_IPV4
    elif sap == U(0xFEFE):
        w.ethertype = NEXT_NLPID
    else:
        return NOT_IP
    return METERED


@byte_helper
def _nlpid(data, w, end):
    """Network layer protocol id (RFC 2427 §4, RFC 2684 §5.1)."""
    if end <= w.at:
        return TRUNCATED_LINK
    number = data[w.at]
    w.at += U(1)
    if number == 0x80:
        return _snap(data, w, w.at, end, U(0))
    if number == 0xCC:
        w.ethertype = ETHERTYPE_IPV4
    elif number == 0x8E:
        w.ethertype = ETHERTYPE_IPV6
    else:
        return NOT_IP
    return METERED


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
def by_version(data, w, end):
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
def is_ip(data, w, at, end):
    """Whether a whole IP header that fits into the wire's bytes begins here."""
    if end < at + U(20):
        return False
    length = be16(data, at + U(2))
    if data[at] >> 4 == 4:
        header = U(data[at] & 15) * U(4)
        return header >= U(20) and length >= header and at + length <= w.wire_end
    return data[at] >> 4 == 6 and end >= at + U(40) and at + U(40) + be16(data, at + U(4)) <= w.wire_end


@byte_helper
def is_frame(data, w, at, end):
    """Whether an Ethernet frame with a whole IP header begins here."""
    at += U(12)
    while end >= at + U(4) and is_vlan(be16(data, at)):
        at += U(4)
    if end < at + U(2):
        return False
    ethertype = be16(data, at)
    return (ethertype == ETHERTYPE_IPV4 or ethertype == ETHERTYPE_IPV6) and is_ip(data, w, at + U(2), end)


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
    if end <= w.at or is_ip(data, w, w.at, end):
        return METERED
    first = data[w.at] >> 4
    if first == 0 and is_frame(data, w, w.at + U(4), end):
        w.at += U(4)  # the control word of a pseudowire
        w.ethertype = ETHERTYPE_BRIDGED
    elif is_frame(data, w, w.at, end):
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
    elif protocol == U(0x31):
        return _bridging(data, w, end)
    elif protocol == U(0x3D):
        return _whole_of_bundle(data, w, end)
    else:
        return NOT_IP
    return METERED


@byte_helper
def _bridging(data, w, end):
    """Bridged frame (RFC 3518 §4.2): flags, MAC type (1: Ethernet), and a LAN id where a flag says so."""
    at = w.at
    if end < at + U(2):
        return TRUNCATED_LINK
    if data[at + U(1)] != 1:
        return NOT_IP
    w.ethertype, w.at = ETHERTYPE_BRIDGED, at + (U(6) if data[at] & 0x40 else U(2))
    return METERED


@byte_helper
def _whole_of_bundle(data, w, end):
    """A fragment of a bundle (RFC 1990 §3, long numbers) that is its first and last: a whole packet."""
    if end < w.at + U(4):
        return TRUNCATED_LINK
    if data[w.at] & 0xC0 != 0xC0:
        return NOT_IP
    w.ethertype = ETHERTYPE_PPP
    w.at += U(4)
    return METERED


@byte_helper
def _tag(data, w, end, size):
    """A tag of `size` bytes that ends in the next EtherType."""
    if end < w.at + size:
        return TRUNCATED_LINK
    w.at += size
    w.ethertype = be16(data, w.at - U(2))
    return METERED


@byte_helper
def _macsec(data, w, end):
    """Security tag (IEEE 802.1AE-2018 §9.3) of a frame that is signed but not encrypted."""
    if end < w.at + U(1):
        return TRUNCATED_LINK
    control = data[w.at]
    if control & 0x8C:
        return NOT_IP
    reason = _tag(data, w, end, U(16) if control & 0x20 else U(8))
    w.wire_end = max(w.wire_end - U(16), w.at)
    return reason


@byte_helper
def _frame_behind(q, w, end, size, kind, number):
    """A header of `size` bytes before an Ethernet frame."""
    if end < w.at + size:
        return TRUNCATED_LINK
    push(q, kind, number)
    w.ethertype = ETHERTYPE_BRIDGED
    w.at += size
    return METERED


@byte_helper
def _pbb(data, q, w, end):
    """Backbone service instance tag (IEEE 802.1Q-2018 §9.7)."""
    number = be32(data, w.at) & U(0xFFFFFF) if end >= w.at + U(4) else U(0)
    return _frame_behind(q, w, end, U(4), PBB, number)


@byte_helper
def _trill(data, q, w, end):
    """RFC 6325 §3: five bits count words of options."""
    words = be16(data, w.at) >> U(6) & U(31) if end >= w.at + U(2) else U(0)
    return _frame_behind(q, w, end, U(6) + U(4) * words, TRILL, U(0))


@byte_helper
def _nsh(data, q, w, end):
    """Network service header (RFC 8300 §2)."""
    at = w.at
    if end < at + U(8):
        return TRUNCATED_LINK
    size = be16(data, at) & U(63)
    if data[at] >> 6 or size < U(2):
        return NOT_IP
    if end < at + U(4) * size:
        return TRUNCATED_LINK
    w.ethertype = of_next_protocol(data[at + U(3)])
    w.at += U(4) * size
    push(q, NSH, be32(data, at + U(4)) >> U(8))
    return METERED


@byte_helper
def of_next_protocol(number):
    """The next protocols of NSH (RFC 8300 §11.2.5) and of VXLAN-GPE."""
    if number == 1:
        return ETHERTYPE_IPV4
    if number == 2:
        return ETHERTYPE_IPV6
    if number == 3:
        return ETHERTYPE_BRIDGED
    if number == 4:
        return ETHERTYPE_NSH
    return ETHERTYPE_MPLS if number == 5 else ETHERTYPE_NONE


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
    if kind == NEXT_NLPID:
        return _nlpid(data, w, end)
    if kind == NEXT_IP:
        return by_version(data, w, end)
    if kind == NEXT_WIRELESS or kind == NEXT_WIRELESS_SWAPPED:
        return wireless(data, q, w, end, PLAIN if kind == NEXT_WIRELESS else SWAPPED, False)
    if kind == ETHERTYPE_MPLS or kind == ETHERTYPE_MPLS_MULTICAST:
        return _mpls(data, q, w, end)
    if kind == ETHERTYPE_PPPOE:
        return _pppoe(data, q, w, end)
    if kind == ETHERTYPE_PPP:
        return _ppp(data, q, w, end)
    if kind == ETHERTYPE_BRIDGED:
        return _bridged(data, w, end)
    if kind == ETHERTYPE_VN_TAG or kind == ETHERTYPE_HSR:
        return _tag(data, w, end, U(6))
    if kind == ETHERTYPE_CISCO_METADATA:
        return _tag(data, w, end, U(8))
    if kind == ETHERTYPE_MACSEC:
        return _macsec(data, w, end)
    if kind == ETHERTYPE_PBB:
        return _pbb(data, q, w, end)
    if kind == ETHERTYPE_FABRICPATH:
        return _frame_behind(q, w, end, U(2), FABRICPATH, U(0))
    if kind == ETHERTYPE_TRILL:
        return _trill(data, q, w, end)
    if kind == ETHERTYPE_NSH:
        return _nsh(data, q, w, end)
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
            end = min(end, w.wire_end)
        if reason != METERED:
            return reason
    return METERED
