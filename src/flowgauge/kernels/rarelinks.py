"""Link layers that few captures have. Functions and `w` are those of kernels/layers.py; one link type is one row of
:func:`rare_link`, or of :func:`unwrap` where a capture puts a header of its own before the frame of another link type.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import be16, be32, le16, le32, swap32
from flowgauge.kernels.header import (
    ETHERTYPE_BRIDGED,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_NONE,
    ETHERTYPE_PPP,
    NEXT_IP,
    NEXT_LLC,
    NEXT_NLPID,
)
from flowgauge.kernels.layers import ETHERTYPE_MPLS, ETHERTYPE_PPPOE, named
from flowgauge.kernels.packet import METERED, NOT_IP, TRUNCATED_LINK, UNKNOWN_LINK
from flowgauge.kernels.wireless import PLAIN, avs, prism, radiotap, wireless

U = np.uint64

LINK_ARCNET, LINK_PPP, LINK_PPP_HDLC, LINK_PPPOE, LINK_ATM = U(7), U(9), U(50), U(51), U(100)
LINK_CISCO_HDLC, LINK_WIRELESS, LINK_FRAME_RELAY, LINK_ENC, LINK_PFLOG = U(104), U(105), U(107), U(109), U(117)
LINK_PRISM, LINK_IP_OVER_FC, LINK_SUNATM, LINK_RADIOTAP, LINK_ARCNET_LINUX = U(119), U(122), U(123), U(127), U(129)
LINK_IP_OVER_1394, LINK_USER2, LINK_AVS, LINK_PPI, LINK_PPP_DIRECTION = U(138), U(149), U(163), U(192), U(204)
LINK_MPLS, LINK_NFLOG, LINK_IPOIB, LINK_PKTAP = U(219), U(239), U(242), U(258)
PKTAP_LINKS = (int(LINK_PKTAP), int(LINK_USER2))

NFLOG_PAYLOAD = U(9)
PPI_WIRELESS = U(2)  # field "802.11-Common"


@byte_helper
def ethertype_of_family(family):
    """Of an address family: IPv6 has another number on each system."""
    if family == U(2):
        return ETHERTYPE_IPV4
    if family == U(10) or family == U(24) or family == U(28) or family == U(30):
        return ETHERTYPE_IPV6
    return ETHERTYPE_NONE


@byte_helper
def _typed(data, w, end, type_at, size):
    """A header of `size` bytes with an EtherType in it."""
    if end < w.at + size:
        return TRUNCATED_LINK
    w.ethertype = named(be16(data, w.at + type_at))
    w.at += size
    return METERED


@byte_helper
def _hdlc(data, w, end):
    """PPP in HDLC framing (RFC 1662 §3.1); other addresses are those of Cisco's framing."""
    if end < w.at + U(1):
        return TRUNCATED_LINK
    if data[w.at] == 0x0F or data[w.at] == 0x8F:
        return _typed(data, w, end, U(2), U(4))
    w.ethertype = ETHERTYPE_PPP
    return METERED


@byte_helper
def _frame_relay(data, w, end):
    """RFC 2427 §3: an address of two to four bytes, the last of which is odd, and an NLPID; or Cisco's EtherType."""
    at = w.at + U(1)
    while at < end and at < w.at + U(3) and data[at] & 1 == 0:
        at += U(1)
    at += U(1)
    if end < at + U(2):
        return TRUNCATED_LINK
    if data[w.at] & 1:
        return NOT_IP
    w.at = at
    if data[at] != 3:
        return _typed(data, w, end, U(0), U(2))
    w.ethertype = NEXT_NLPID
    w.at += U(2) if data[at + U(1)] == 0 else U(1)
    return METERED


@byte_helper
def _atm(data, w, end):
    """RFC 2684: LLC, or the packet itself."""
    if end <= w.at:
        return TRUNCATED_LINK
    w.ethertype = NEXT_LLC if data[w.at] == 0xAA or data[w.at] == 0xFE else NEXT_IP
    return METERED


@byte_helper
def _sunatm(data, w, end):
    """SunATM pseudo-header: the traffic is LLC (2) or LAN emulation (1), a frame behind two bytes."""
    if end < w.at + U(4):
        return TRUNCATED_LINK
    traffic = data[w.at] & 15
    if traffic == 2:
        w.ethertype = NEXT_LLC
        w.at += U(4)
    elif traffic == 1:
        w.ethertype = ETHERTYPE_BRIDGED
        w.at += U(6)
    else:
        return NOT_IP
    return METERED


@byte_helper
def _arcnet(data, w, end, type_at):
    """ARCNET: RFC 1051, or RFC 1201 with flags and a sequence number; fragments but the first are not IP."""
    at = w.at + type_at
    if end < at + U(1):
        return TRUNCATED_LINK
    kind = data[at]
    w.at = at + U(1)
    if kind == 240:
        w.ethertype = ETHERTYPE_IPV4
        return METERED
    if kind != 212 and kind != 196:
        return NOT_IP
    if end >= at + U(2) and data[at + U(1)] == 0xFF:  # an exception packet, of which the true header follows
        at += U(4)
    if end < at + U(4):
        return TRUNCATED_LINK
    if data[at + U(1)] != 0 and data[at + U(1)] & 1 == 0:
        return NOT_IP
    w.ethertype = ETHERTYPE_IPV4 if kind == 212 else ETHERTYPE_IPV6
    w.at = at + U(4)
    return METERED


@byte_helper
def _enc(data, w, end):
    """OpenBSD's decrypted IPsec: an address family of the writer's byte order, in twelve bytes."""
    if end < w.at + U(12):
        return TRUNCATED_LINK
    family = be32(data, w.at)
    w.ethertype = ethertype_of_family(family if family <= U(0xFFFF) else swap32(family))
    w.at += U(12)
    return METERED


@byte_helper
def _pflog(data, w, end):
    """Packet filter log: its length, to be rounded up to a multiple of four, and an address family."""
    if end < w.at + U(2):
        return TRUNCATED_LINK
    size = (U(data[w.at]) + U(3)) & ~U(3)
    if end < w.at + size:
        return TRUNCATED_LINK
    w.ethertype = ethertype_of_family(U(data[w.at + U(1)]))
    w.at += max(size, U(2))
    return METERED


@byte_helper
def _nflog(data, w, end):
    """Netfilter log: attributes whose lengths and types are in the byte order of the writer."""
    at = w.at
    if end < at + U(4):
        return TRUNCATED_LINK
    w.ethertype = ethertype_of_family(U(data[at]))
    if data[at + U(1)] != 0:
        return NOT_IP
    at += U(4)
    while end >= at + U(4):
        big = data[at + U(2)] & 0x7F == 0 and data[at + U(3)] != 0
        size = be16(data, at) if big else le16(data, at)
        kind = be16(data, at + U(2)) if big else le16(data, at + U(2))
        if size < U(4):
            return NOT_IP
        if kind & U(0x7FFF) == NFLOG_PAYLOAD:
            w.at = at + U(4)
            w.wire_end = min(w.wire_end, at + size)
            return METERED
        at += (size + U(3)) & ~U(3)
    return TRUNCATED_LINK


@byte_helper
def rare_link(data, q, w, end, link):
    """Decode the link layer that begins at `w.at`."""
    if link == LINK_PPP or link == LINK_PPP_HDLC:
        return _hdlc(data, w, end)
    if link == LINK_PPP_DIRECTION:
        w.at += U(1)
        return _hdlc(data, w, end)
    if link == LINK_CISCO_HDLC:
        return _typed(data, w, end, U(2), U(4))
    if link == LINK_WIRELESS:
        return wireless(data, q, w, end, PLAIN, True)
    if link == LINK_PPPOE:
        w.ethertype = ETHERTYPE_PPPOE
        return METERED
    if link == LINK_MPLS:
        w.ethertype = ETHERTYPE_MPLS
        return METERED
    if link == LINK_FRAME_RELAY:
        return _frame_relay(data, w, end)
    if link == LINK_ATM:
        return _atm(data, w, end)
    if link == LINK_SUNATM:
        return _sunatm(data, w, end)
    if link == LINK_ARCNET or link == LINK_ARCNET_LINUX:
        return _arcnet(data, w, end, U(2) if link == LINK_ARCNET else U(4))
    if link == LINK_ENC:
        return _enc(data, w, end)
    if link == LINK_PFLOG:
        return _pflog(data, w, end)
    if link == LINK_NFLOG:
        return _nflog(data, w, end)
    if link == LINK_IPOIB:  # addresses of 20 bytes each, then RFC 4391 §6
        return _typed(data, w, end, U(40), U(44))
    if link == LINK_IP_OVER_1394:
        return _typed(data, w, end, U(16), U(18))
    if link == LINK_IP_OVER_FC:  # RFC 2625 §3: network addresses of 8 bytes each
        w.ethertype = NEXT_LLC
        w.at += U(16)
        return METERED
    return UNKNOWN_LINK


@byte_helper
def _ppi(data, w, end):
    """Per-packet information: a length, the link type, and fields of which one tells of an FCS; returns both."""
    at = w.at
    if end < at + U(8):
        return TRUNCATED_LINK, U(0)
    size, link = le16(data, at + U(2)), le32(data, at + U(4))
    if size < U(8):
        return NOT_IP, U(0)
    if end < at + size:
        return TRUNCATED_LINK, U(0)
    field, stop = at + U(8), at + size
    while stop >= field + U(4):
        behind = field + U(4) + le16(data, field + U(2))
        if le16(data, field) == PPI_WIRELESS and stop >= field + U(14) and data[field + U(12)] & 1:
            w.wire_end = max(w.wire_end - U(4), stop)
        field = at + (((behind - at) + U(3)) & ~U(3)) if data[at + U(1)] & 1 else behind
    w.at = stop
    return METERED, link


@byte_helper
def _pktap(data, w, end):
    """Apple's packet tap: little-endian words, its length, a record type (1: a packet) and the link type."""
    if end < w.at + U(12):
        return TRUNCATED_LINK, U(0)
    size = le32(data, w.at)
    if size < U(12) or le32(data, w.at + U(4)) != U(1):
        return NOT_IP, U(0)
    if end < w.at + size:
        return TRUNCATED_LINK, U(0)
    link = le32(data, w.at + U(8))
    w.at += size
    return METERED, link


@byte_helper
def is_wrapped(link):
    """Whether a header of the capture comes before a frame of another link type."""
    return link == LINK_PKTAP or link == LINK_USER2 or link == LINK_PPI


@byte_helper
def unwrap(data, w, end, link):
    """(Reason, link type of the frame behind) of a header that a capture has put in front."""
    if link == LINK_PPI:
        return _ppi(data, w, end)
    return _pktap(data, w, end)


@byte_helper
def is_radio(link):
    return link == LINK_RADIOTAP or link == LINK_PRISM or link == LINK_AVS


@byte_helper
def radio(data, q, w, end, link):
    """802.11 behind a header that tells how it was received."""
    form = PLAIN
    if link == LINK_RADIOTAP:
        reason, form = radiotap(data, w, end)
    elif link == LINK_PRISM:
        reason = prism(data, w, end)
    else:
        reason = avs(data, w, end)
    if reason != METERED:
        return reason
    return wireless(data, q, w, min(end, w.wire_end), form, True)
