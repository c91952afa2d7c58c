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
from flowgauge.kernels.header import ETHERTYPE_BRIDGED, ETHERTYPE_IPV4, ETHERTYPE_IPV6, UDP
from flowgauge.kernels.kinds import GRE, GRE_KEYED, IP_IN_IP, IP_IN_IPV6, IPV6_IN_IP, IPV6_IN_IPV6, NVGRE, VXLAN
from flowgauge.kernels.layers import SKIPPED, push, reach_ip
from flowgauge.kernels.packet import FIRST_FRAGMENT, MAX_TUNNELS, METERED, TAIL_FRAGMENT

U = np.uint64

PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_GRE = 4, 41, 47
PORT_VXLAN, PORT_VXLAN_LINUX = 4789, 8472

# What may lead inside: 1 the protocol, 2 a UDP port.
_LEADS = np.zeros(256, np.uint8)
_LEADS[[PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_GRE]] = 1
_LEADS[UDP] = 2
_PORTS = np.zeros(65536 // 8, np.uint8)  # one bit a port: an eighth of the memory to be kept near
for _port in (PORT_VXLAN, PORT_VXLAN_LINUX):
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
def _gre(data, q, w, end):
    """RFC 2784, RFC 2890; with a key and Ethernet inside it is NVGRE (RFC 7637)."""
    at = w.at
    if end < at + U(4):
        return False
    flags, kind = be16(data, at), be16(data, at + U(2))
    checksum, key, sequence = flags & U(0x8000), flags & U(0x2000), flags & U(0x1000)
    if flags & U(0x4007) != U(0):  # routing (RFC 1701), version
        return False
    size = U(4)
    for optional in (checksum, key, sequence):
        if optional != U(0):
            size += U(4)
    if end < at + size:
        return False
    if key == U(0):
        push(q, GRE, U(0))
    else:
        number = be32(data, at + (U(8) if checksum != U(0) else U(4)))
        if kind == ETHERTYPE_BRIDGED and checksum == U(0) and sequence == U(0):
            push(q, NVGRE, number >> U(8))
        else:
            push(q, GRE_KEYED, number)
    w.ethertype, w.at = kind, at + size
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
def _in_udp(data, q, w, end):
    """What a datagram to a tunnel's port carries."""
    port = q.dst_port
    if port == PORT_VXLAN or port == PORT_VXLAN_LINUX:
        return _vxlan(data, q, w, end)
    return False


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
