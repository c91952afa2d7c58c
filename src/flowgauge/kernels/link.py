"""Link layer: from the first captured byte to an EtherType and the offset behind it.

Each function takes the packet `q` and `w` (WALK, where the decoder stands in it), sets `ethertype` and `at` (the byte
behind the header) of that, and returns a Reason.
One link type is one row of :func:`_plain_link` and one function (or of kernels/rarelinks.py, where few captures have
it); tags that may follow any of them are walked by :func:`tags`, and the rest of the way to IP by kernels/layers.py.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, inline_byte_helper
from flowgauge.kernels.bytes import be16, be32, be48, swap32
from flowgauge.kernels.header import ETHERTYPE_IPV4, ETHERTYPE_IPV6
from flowgauge.kernels.layers import FIRST, MORE, by_version, is_vlan, reach_ip
from flowgauge.kernels.packet import MAX_TUNNELS, METERED, TRUNCATED_LINK, UNKNOWN_LINK
from flowgauge.kernels.rarelinks import ethertype_of_family, is_radio, is_wrapped, radio, rare_link, unwrap

U = np.uint64

LINK_NULL, LINK_ETHERNET, LINK_RAW, LINK_LOOP, LINK_SLL = U(0), U(1), U(101), U(108), U(113)
LINK_IPV4, LINK_IPV6, LINK_SLL2 = U(228), U(229), U(276)
DLT_RAW_BSD, DLT_RAW_OPENBSD = U(12), U(14)

LINK_NAMES = {
    0: "BSD loopback",
    1: "Ethernet",
    7: "ARCNET",
    9: "PPP",
    12: "raw IP",
    14: "raw IP",
    50: "PPP over serial",
    51: "PPPoE",
    100: "ATM",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "802.11",
    107: "frame relay",
    108: "OpenBSD loopback",
    109: "OpenBSD IPsec",
    113: "Linux cooked v1",
    117: "packet filter log",
    119: "802.11 with Prism header",
    122: "IP over Fibre Channel",
    123: "SunATM",
    127: "802.11 with radiotap header",
    129: "ARCNET (Linux)",
    138: "IP over IEEE 1394",
    149: "Apple PKTAP (private use 2)",
    163: "802.11 with AVS header",
    192: "per-packet information",
    204: "PPP with direction",
    219: "MPLS",
    228: "raw IPv4",
    229: "raw IPv6",
    239: "netfilter log",
    242: "IP over InfiniBand",
    258: "Apple PKTAP",
    276: "Linux cooked v2",
}
"""Every link type that is decoded, by its LINKTYPE_ number."""


@byte_helper
def _ethernet(data, q, w, at, end):
    """Ethernet II and IEEE 802.3."""
    if end < at + U(14):
        return TRUNCATED_LINK
    q.dst_mac = be48(data, at)
    q.src_mac = be48(data, at + U(6))
    w.ethertype, w.at = be16(data, at + U(12)), at + U(14)
    return METERED


@byte_helper
def _sll(data, q, w, at, end):
    """Linux cooked capture, LINKTYPE_LINUX_SLL."""
    if end < at + U(16):
        return TRUNCATED_LINK
    if be16(data, at + U(4)) == U(6):
        q.src_mac = be48(data, at + U(6))
    w.ethertype, w.at = be16(data, at + U(14)), at + U(16)
    return METERED


@byte_helper
def _sll2(data, q, w, at, end):
    """Linux cooked capture, LINKTYPE_LINUX_SLL2: the protocol comes first."""
    if end < at + U(20):
        return TRUNCATED_LINK
    if data[at + U(11)] == 6:
        q.src_mac = be48(data, at + U(12))
    w.ethertype, w.at = be16(data, at), at + U(20)
    return METERED


@byte_helper
def _loopback(data, q, w, at, end, any_order):
    """BSD loopback: a 4-byte address family, of either byte order (NULL) or network order (LOOP)."""
    if end < at + U(4):
        return TRUNCATED_LINK
    family = be32(data, at)
    if any_order and family > U(0xFFFF):
        family = swap32(family)
    w.at = at + U(4)
    w.ethertype = ethertype_of_family(family)
    return METERED


@inline_byte_helper
def _plain_link(data, q, w, at, end, link):
    """One of the usual link layers."""
    if link == LINK_ETHERNET:
        return _ethernet(data, q, w, at, end)
    if link == LINK_SLL:
        return _sll(data, q, w, at, end)
    if link == LINK_SLL2:
        return _sll2(data, q, w, at, end)
    if link == LINK_RAW or link == DLT_RAW_BSD or link == DLT_RAW_OPENBSD:
        w.at = at
        return by_version(data, w, end)
    if link == LINK_NULL or link == LINK_LOOP:
        return _loopback(data, q, w, at, end, link == LINK_NULL)
    if link == LINK_IPV4 or link == LINK_IPV6:
        w.ethertype = ETHERTYPE_IPV4 if link == LINK_IPV4 else ETHERTYPE_IPV6
        w.at = at
        return METERED
    return UNKNOWN_LINK


@byte_helper
def _other_link(data, q, w, at, end, link):
    """Any other link layer, or one behind headers of the capture."""
    w.at = at
    for _ in range(MAX_TUNNELS):
        if not is_wrapped(link):
            break
        reason, link = unwrap(data, w, end, link)
        if reason != METERED:
            return reason
    if is_radio(link):
        return radio(data, q, w, end, link)
    reason = rare_link(data, q, w, end, link)
    return reason if reason != UNKNOWN_LINK else _plain_link(data, q, w, w.at, end, link)


@inline_byte_helper
def link_header(data, q, w, at, end, link):
    """Decode the link layer of one packet; `data[at:end]` are its captured bytes."""
    reason = _plain_link(data, q, w, at, end, link)
    return reason if reason != UNKNOWN_LINK else _other_link(data, q, w, at, end, link)


@inline_byte_helper
def tags(data, q, w, end):
    """Walk VLAN tags (IEEE 802.1Q, 802.1ad), and what else comes before IP in few packets."""
    tags = FIRST
    while is_vlan(w.ethertype):
        if end < w.at + U(4):
            return TRUNCATED_LINK
        q.vlan = be16(data, w.at) & U(0xFFF)
        if tags == FIRST:
            q.vlan_outer = q.vlan
            tags = MORE
        w.ethertype = be16(data, w.at + U(2))
        w.at += U(4)
    if w.ethertype == ETHERTYPE_IPV4 or w.ethertype == ETHERTYPE_IPV6:
        return METERED
    reason = reach_ip(data, q, w, min(end, w.wire_end), tags)
    q.tunnel_depth = min(q.tunnel_depth, MAX_TUNNELS)  # the others have no place
    return reason
