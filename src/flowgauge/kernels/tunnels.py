"""IP packets inside IP packets: what a packet carries, by its protocol or its UDP port.

Each function looks at the payload of the packet `q`, of which `data[w.at:end]` is captured and which ended at
`w.wire_end` on the wire. It puts the encapsulation on the packet's stack, sets kind and place of the next layer in `w`
(see kernels/layers.py) and returns whether its header is one. One encapsulation is one row of :func:`enter` and one
function; the decoder goes inside, and comes back where no IP packet is found there.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, inline_byte_helper
from flowgauge.kernels.bytes import be16, be32
from flowgauge.kernels.fragments import datagram_name
from flowgauge.kernels.header import (
    ETHERTYPE_BRIDGED,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_PPP,
    NEXT_IP,
    NEXT_WIRELESS,
    NEXT_WIRELESS_SWAPPED,
    UDP,
)
from flowgauge.kernels.kinds import (
    AYIYA,
    CAPWAP,
    ERSPAN1,
    ERSPAN2,
    ERSPAN3,
    ETHERIP,
    ETHERNET,
    GENEVE,
    GRE,
    GRE_KEYED,
    GTP,
    IP_IN_IP,
    IP_IN_IPV6,
    IPV6_IN_IP,
    IPV6_IN_IPV6,
    L2TP,
    L2TPV3,
    NVGRE,
    PPTP,
    TEREDO,
    TZSP,
    VXLAN,
    VXLAN_GPE,
)
from flowgauge.kernels.layers import (
    ETHERTYPE_CISCO_METADATA,
    ETHERTYPE_MPLS,
    SKIPPED,
    is_frame,
    is_ip,
    named,
    of_next_protocol,
    push,
    reach_ip,
)
from flowgauge.kernels.packet import FIRST_FRAGMENT, MAX_TUNNELS, METERED, TAIL_FRAGMENT

U = np.uint64

PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_GRE, PROTOCOL_ETHERIP = 4, 41, 47, 97
PROTOCOL_L2TPV3, PROTOCOL_MPLS, PROTOCOL_ETHERNET = 115, 137, 143

PORT_L2TP, PORT_GTP, PORT_TEREDO, PORT_AYIYA, PORT_CAPWAP = 1701, 2152, 3544, 5072, 5247  # of either side
PORT_GRE, PORT_VXLAN, PORT_VXLAN_GPE, PORT_GENEVE, PORT_MPLS = 4754, 4789, 4790, 6081, 6635  # of the receiver
PORT_VXLAN_LINUX, PORT_TZSP = 8472, 37008

ETHERTYPE_ERSPAN, ETHERTYPE_ERSPAN3 = U(0x88BE), U(0x22EB)

# What may lead inside: 1 the protocol, 2 a UDP port.
_LEADS = np.zeros(256, np.uint8)
_LEADS[
    [
        PROTOCOL_IPV4,
        PROTOCOL_IPV6,
        PROTOCOL_GRE,
        PROTOCOL_ETHERIP,
        PROTOCOL_L2TPV3,
        PROTOCOL_MPLS,
        PROTOCOL_ETHERNET,
    ]
] = 1
_LEADS[UDP] = 2
_TWO_WAY = (PORT_L2TP, PORT_GTP, PORT_TEREDO, PORT_AYIYA, PORT_CAPWAP)
_ONE_WAY = (PORT_GRE, PORT_VXLAN, PORT_VXLAN_GPE, PORT_GENEVE, PORT_MPLS, PORT_VXLAN_LINUX, PORT_TZSP)
_PORTS = np.zeros(65536 // 8, np.uint8)  # one bit a port: an eighth of the memory to be kept near
for _port in (*_TWO_WAY, *_ONE_WAY):
    _PORTS[_port >> 3] |= 1 << (_port & 7)

# Why the bytes of a packet may end before those of the packet in it: the rest is in other fragments, its length lies.
WHOLE, IN_FRAGMENTS, LYING = range(3)


@byte_helper
def _is_tunnel_port(port):
    return _PORTS[port >> 3] >> (port & 7) & 1 != 0


@inline_byte_helper
def may_lead_inside(q, w):
    """Whether to look into the packet: no for most, at the cost of a byte of a small table."""
    lead = _LEADS[q.protocol]
    if lead == 0 or w.outer or q.fragment == TAIL_FRAGMENT or q.tunnel_depth >= MAX_TUNNELS:
        return False
    return lead == 1 or _is_tunnel_port(q.src_port) or _is_tunnel_port(q.dst_port)


@byte_helper
def _ip_in_ip(q, w, inner):
    """RFC 2003, RFC 4213, RFC 2473."""
    if q.ip_version == 4:
        kind = IP_IN_IP if inner == ETHERTYPE_IPV4 else IPV6_IN_IP
    else:
        kind = IP_IN_IPV6 if inner == ETHERTYPE_IPV4 else IPV6_IN_IPV6
    push(q, kind, U(0))
    w.ethertype = inner
    return True


@byte_helper
def _erspan(data, q, w, end, size, sequence):
    """Mirrored frames (draft-foschiano-erspan-03): type I without a sequence number, else type II."""
    at = w.at + size
    if sequence == U(0):
        push(q, ERSPAN1, U(0))
    else:
        if end < at + U(8) or data[at] >> 4 != 1:
            return False
        push(q, ERSPAN2, be16(data, at + U(2)) & U(0x3FF))
        at += U(8)
    w.ethertype, w.at = ETHERTYPE_BRIDGED, at
    return True


@byte_helper
def _erspan3(data, q, w, end, size):
    """Type III, which may have a platform's header behind it, and may hold an IP packet without its frame."""
    at = w.at + size
    if end < at + U(12) or data[at] >> 4 != 2:
        return False
    last = be16(data, at + U(10))
    kind = last >> U(10) & U(31)
    if kind != U(0) and kind != U(2):
        return False
    push(q, ERSPAN3, be16(data, at + U(2)) & U(0x3FF))
    w.ethertype = ETHERTYPE_BRIDGED if kind == U(0) else NEXT_IP
    w.at = at + (U(20) if last & U(1) else U(12))
    return True


@byte_helper
def _pptp(data, q, w, end, flags):
    """GRE of version 1 (RFC 2637 §4.1): PPP, where there is a sequence number."""
    at = w.at
    if flags & U(0xF007) != U(0x3001) or be16(data, at + U(2)) != ETHERTYPE_PPP or end < at + U(8):
        return False
    push(q, PPTP, be16(data, at + U(6)))
    w.ethertype = ETHERTYPE_PPP
    w.at = at + (U(16) if flags & U(0x80) else U(12))
    return True


@byte_helper
def _gre(data, q, w, end):
    """RFC 2784, RFC 2890; with a key and Ethernet inside it is NVGRE (RFC 7637)."""
    at = w.at
    if end < at + U(4):
        return False
    flags, kind = be16(data, at), be16(data, at + U(2))
    if flags & U(7) == U(1):
        return _pptp(data, q, w, end, flags)
    checksum, key, sequence = flags & U(0x8000), flags & U(0x2000), flags & U(0x1000)
    if flags & U(0x4007) != U(0):  # routing (RFC 1701), version
        return False
    size = U(4)
    for optional in (checksum, key, sequence):
        if optional != U(0):
            size += U(4)
    if end < at + size:
        return False
    if kind == ETHERTYPE_ERSPAN:
        return _erspan(data, q, w, end, size, sequence)
    if kind == ETHERTYPE_ERSPAN3:
        return _erspan3(data, q, w, end, size)
    if key == U(0):
        push(q, GRE, U(0))
    else:
        number = be32(data, at + (U(8) if checksum != U(0) else U(4)))
        if kind == ETHERTYPE_BRIDGED and checksum == U(0) and sequence == U(0):
            push(q, NVGRE, number >> U(8))
        else:
            push(q, GRE_KEYED, number)
    if kind == ETHERTYPE_CISCO_METADATA:  # whose EtherType comes first here
        if end < at + size + U(8):
            return False
        kind = be16(data, at + size)
        size += U(8)
    w.ethertype, w.at = named(kind), at + size
    return True


@byte_helper
def _etherip(data, q, w, end):
    """RFC 3378 §3."""
    if end < w.at + U(2) or be16(data, w.at) != U(0x3000):
        return False
    push(q, ETHERIP, U(0))
    w.ethertype = ETHERTYPE_BRIDGED
    w.at += U(2)
    return True


@byte_helper
def _ethernet_in_ip(q, w):
    """RFC 8986 §4.9."""
    push(q, ETHERNET, U(0))
    w.ethertype = ETHERTYPE_BRIDGED
    return True


@byte_helper
def _pseudowire(data, w, at, end):
    """The kind of what begins here as far as a whole IP header tells it, 0 where none does."""
    if is_frame(data, w, at, end):
        return ETHERTYPE_BRIDGED
    if end < at + U(4):
        return U(0)
    word = be32(data, at)
    if (word == U(0xFF030021) or word == U(0xFF030057)) and is_ip(data, w, at + U(4), end):
        return ETHERTYPE_PPP
    ethertype = word & U(0xFFFF)
    framing = word >> U(16)
    if (framing == U(0x0F00) or framing == U(0x8F00)) and is_ip(data, w, at + U(4), end):
        return ethertype if ethertype == ETHERTYPE_IPV4 or ethertype == ETHERTYPE_IPV6 else U(0)
    return U(0)


@byte_helper
def _l2tpv3(data, q, w, end):
    """RFC 3931 §4.1: nothing says how long the cookie is, whether a sublayer follows, and what that carries."""
    at = w.at
    if end < at + U(4) or be32(data, at) == U(0):  # session 0: control
        return False
    for words in range(U(1), U(5)):
        begin = at + U(4) * words
        kind = _pseudowire(data, w, begin, end)
        if kind != U(0):
            push(q, L2TPV3, be32(data, at))
            w.ethertype = kind
            w.at = begin if kind == ETHERTYPE_BRIDGED or kind == ETHERTYPE_PPP else begin + U(4)
            return True
    return False


@byte_helper
def _fits(w, size):
    """Whether a length is that of the payload; where the packet around is cut it may be more."""
    return w.at + size == w.wire_end or (w.cut != WHOLE and w.at + size > w.wire_end)


@byte_helper
def _l2tp(data, q, w, end):
    """RFC 2661 §3.1, data messages; version 3 in UDP has four bytes more (RFC 3931 §4.1.2)."""
    at = w.at
    if end < at + U(8):
        return False
    flags = be16(data, at)
    if flags & U(0xB4FF) == U(3):
        w.at += U(4)
        return _l2tpv3(data, q, w, end)
    if flags & U(0xB4FF) != U(2):
        return False
    if flags & U(0x4000):
        if not _fits(w, be16(data, at + U(2))):
            return False
        at += U(2)
    if end < at + U(12):
        return False
    number = be32(data, at + U(2))
    at += U(10) if flags & U(0x0800) else U(6)
    if flags & U(0x0200):
        at += U(2) + be16(data, at)
    push(q, L2TP, number)
    w.ethertype, w.at = ETHERTYPE_PPP, at
    return True


@byte_helper
def _gtp(data, q, w, end):
    """User data (3GPP TS 29.281 §5.1), behind any extension headers."""
    at = w.at
    if end < at + U(8):
        return False
    flags = data[at]
    if flags & 0xF8 != 0x30 or data[at + U(1)] != 255 or not _fits(w, U(8) + be16(data, at + U(2))):
        return False
    tunnel = be32(data, at + U(4))
    at += U(8)
    if flags & 7:
        at += U(4)
        if end < at:
            return False
        following = data[at - U(1)] if flags & 4 else np.uint8(0)
        while following != 0:
            size = U(4) * U(data[at]) if end > at else U(0)
            if size == U(0) or end < at + size:
                return False
            at += size
            following = data[at - U(1)]
    push(q, GTP, tunnel)
    w.ethertype, w.at = NEXT_IP, at
    return True


@byte_helper
def _teredo(data, q, w, end):
    """RFC 4380 §5.1: authentication and origin may come before the IPv6 packet."""
    at = w.at
    if end >= at + U(4) and be16(data, at) == U(1):
        at += U(13) + U(data[at + U(2)]) + U(data[at + U(3)])
    if end >= at + U(2) and be16(data, at) == U(0):
        at += U(8)
    push(q, TEREDO, U(0))
    w.ethertype, w.at = ETHERTYPE_IPV6, at
    return True


@byte_helper
def _ayiya(data, q, w, end):
    """Anything in anything (draft-massar-v6ops-ayiya-02): a packet that is to be forwarded."""
    at = w.at
    if end < at + U(8) or data[at + U(2)] & 15 != 1:
        return False
    following = data[at + U(3)]
    if following != PROTOCOL_IPV4 and following != PROTOCOL_IPV6:
        return False
    push(q, AYIYA, U(0))
    w.ethertype = ETHERTYPE_IPV4 if following == PROTOCOL_IPV4 else ETHERTYPE_IPV6
    w.at = at + U(8) + (U(1) << U(data[at] >> 4)) + U(4) * U(data[at + U(1)] >> 4)
    return True


@byte_helper
def _capwap(data, q, w, end):
    """RFC 5415 §4.3: a frame, or one of 802.11 whose control some devices swap; fragments and keep-alives are none."""
    at = w.at
    if end < at + U(8):
        return False
    word = be32(data, at)
    if word & U(0xFF000088) != U(0):
        return False
    size = U(4) * (word >> U(19) & U(31))
    if size < U(8) or end < at + size + U(2):
        return False
    push(q, CAPWAP, U(0))
    w.at = at + size
    if word & U(0x100) == U(0):
        w.ethertype = ETHERTYPE_BRIDGED
    elif data[w.at] & 15 == 8:
        w.ethertype = NEXT_WIRELESS
    else:
        w.ethertype = NEXT_WIRELESS_SWAPPED
    return True


@byte_helper
def _vxlan(data, q, w, end):
    """RFC 7348 §5, and the group policy extension of its flags."""
    at = w.at
    if end < at + U(8) or data[at + U(7)] != 0:
        return False
    flags = be32(data, at)
    if flags & U(0x7FB70000) != U(0x08000000):
        return False
    if flags & U(0x80000000) == U(0) and flags & U(0x48FFFF) != U(0):
        return False
    push(q, VXLAN, be32(data, at + U(4)) >> U(8))
    w.ethertype, w.at = ETHERTYPE_BRIDGED, at + U(8)
    return True


@byte_helper
def _vxlan_gpe(data, q, w, end):
    """draft-ietf-nvo3-vxlan-gpe-13 §3, with an id and a next protocol."""
    at = w.at
    if end < at + U(8) or data[at + U(7)] != 0 or be32(data, at) & U(0xFDFFFF00) != U(0x0C000000):
        return False
    push(q, VXLAN_GPE, be32(data, at + U(4)) >> U(8))
    w.ethertype, w.at = of_next_protocol(data[at + U(3)]), at + U(8)
    return True


@byte_helper
def _geneve(data, q, w, end):
    """RFC 8926 §3.4."""
    at = w.at
    if end < at + U(8) or data[at] >> 6 != 0 or data[at + U(1)] & 0x3F != 0 or data[at + U(7)] != 0:
        return False
    push(q, GENEVE, be32(data, at + U(4)) >> U(8))
    w.ethertype = named(be16(data, at + U(2)))
    w.at = at + U(8) + U(4) * U(data[at] & 0x3F)
    return True


@byte_helper
def _tzsp(data, q, w, end):
    """TaZmen sniffer protocol: a frame, or one of 802.11, behind tagged fields."""
    at = w.at
    if end < at + U(4) or data[at] != 1 or data[at + U(1)] > 1:
        return False
    kind = be16(data, at + U(2))
    at += U(4)
    while end >= at + U(2) and data[at] != 1:
        at += U(1) if data[at] == 0 else U(2) + U(data[at + U(1)])
    if kind != U(1) and kind != U(18):
        return False
    push(q, TZSP, U(0))
    w.ethertype, w.at = ETHERTYPE_BRIDGED if kind == U(1) else NEXT_WIRELESS, at + U(1)
    return True


@byte_helper
def _mpls_in(w):
    """RFC 4023, RFC 7510."""
    w.ethertype = ETHERTYPE_MPLS
    return True


@byte_helper
def _from_either(data, q, w, end, port):
    """What a datagram from or to one of these ports carries."""
    if port == PORT_GTP:
        return _gtp(data, q, w, end)
    if port == PORT_TEREDO:
        return _teredo(data, q, w, end)
    if port == PORT_L2TP:
        return _l2tp(data, q, w, end)
    if port == PORT_CAPWAP:
        return _capwap(data, q, w, end)
    if port == PORT_AYIYA:
        return _ayiya(data, q, w, end)
    return False


@byte_helper
def _in_udp(data, q, w, end):
    """What a datagram carries: the receiver's port comes before the sender's."""
    port = q.dst_port
    if port == PORT_VXLAN or port == PORT_VXLAN_LINUX:
        return _vxlan(data, q, w, end)
    if port == PORT_VXLAN_GPE:
        return _vxlan_gpe(data, q, w, end)
    if port == PORT_GENEVE:
        return _geneve(data, q, w, end)
    if port == PORT_MPLS:
        return _mpls_in(w)
    if port == PORT_GRE:
        return _gre(data, q, w, end)
    if port == PORT_TZSP:
        return _tzsp(data, q, w, end)
    return _from_either(data, q, w, end, port if _is_tunnel_port(port) else q.src_port)


@byte_helper
def _carried(data, q, w, end):
    """What the payload is, by protocol."""
    protocol = q.protocol
    if protocol == UDP:
        return _in_udp(data, q, w, end)
    if protocol == PROTOCOL_IPV4:
        return _ip_in_ip(q, w, ETHERTYPE_IPV4)
    if protocol == PROTOCOL_IPV6:
        return _ip_in_ip(q, w, ETHERTYPE_IPV6)
    if protocol == PROTOCOL_ETHERIP:
        return _etherip(data, q, w, end)
    if protocol == PROTOCOL_L2TPV3:
        return _l2tpv3(data, q, w, end)
    if protocol == PROTOCOL_MPLS:
        return _mpls_in(w)
    if protocol == PROTOCOL_ETHERNET:
        return _ethernet_in_ip(q, w)
    return _gre(data, q, w, end)


@byte_helper
def enter(data, q, w, end, seed):
    """Step inside: past all that comes before the next IP header. False where there is none; `q` is to be restored.

    Where the packet is the first fragment of a datagram, the name of that is kept (of the outermost one, if there are
    several): its tails will follow.
    """
    src_port, dst_port, protocol, fragment = q.src_port, q.dst_port, q.protocol, q.fragment
    name = datagram_name(seed, q) if fragment == FIRST_FRAGMENT else U(0)
    if q.length_lies:
        w.cut = LYING
    elif fragment == FIRST_FRAGMENT and w.cut == WHOLE:
        w.cut = IN_FRAGMENTS
    w.by_port = protocol == UDP
    w.at = q.payload_offset
    w.wire_end = w.at + U(q.payload_len)
    w.end = min(end, w.wire_end)
    if not _carried(data, q, w, w.end) or reach_ip(data, q, w, w.end, SKIPPED) != METERED:
        return False
    if q.tunnel_depth > MAX_TUNNELS:
        return False
    w.end = min(w.end, w.wire_end)
    if fragment == FIRST_FRAGMENT and q.outer_fragment == 0:
        q.outer_fragment, q.outer_datagram = 1, name
        q.outer_src_port, q.outer_dst_port, q.outer_protocol = src_port, dst_port, protocol
    return True


@byte_helper
def holds(q, w):
    """Whether the length of the packet inside agrees with what is around it; a datagram to a port may be anything.

    Where the packet around it lies about its length this one is counted in its place; in the first of several
    fragments it ends later.
    """
    if w.cut == IN_FRAGMENTS:
        q.length_lies = 0
    elif w.cut == LYING:
        q.length_lies = 1
    elif q.length_lies and w.by_port:
        return False
    return True
