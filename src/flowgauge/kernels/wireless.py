"""IEEE 802.11: data frames, and the headers that a capture puts in front of them.

Each function steps `w` (WALK) over its header and returns a Reason, like those of kernels/layers.py.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import be16, be32, be48, be64, le16, le32
from flowgauge.kernels.header import ETHERTYPE_IPV4, ETHERTYPE_IPV6, NEXT_LLC
from flowgauge.kernels.packet import METERED, NOT_IP, TRUNCATED_LINK

U = np.uint64

TO_DS, FROM_DS, PROTECTED, ORDER = 1, 2, 0x40, 0x80  # second octet of the frame control
SNAP = U(0xAAAA03000000)
FCS = U(4)

# How the octets of frame and sequence control are seen, and whether the body begins at a multiple of four bytes.
PLAIN, SWAPPED, PADDED = 0, 1, 2


@byte_helper
def _first_packet(data, q, w, at, end, outermost):
    """A-MSDU (IEEE 802.11-2020 §9.3.2.2): the first of its frames that holds IP stands for all."""
    if end < at + U(14):
        return TRUNCATED_LINK
    while end >= at + U(22):
        length, body = be16(data, at + U(12)), at + U(14)
        ethertype = be16(data, body + U(6))
        if be64(data, body) >> U(16) == SNAP and (ethertype == ETHERTYPE_IPV4 or ethertype == ETHERTYPE_IPV6):
            if outermost:
                q.dst_mac, q.src_mac = be48(data, at), be48(data, at + U(6))
            w.ethertype, w.at = NEXT_LLC, body
            w.wire_end = min(w.wire_end, body + length)
            return METERED
        at = body + length + (U(2) - length) % U(4)
    return NOT_IP


@byte_helper
def _set_addresses(data, q, at, flags):
    """Source and destination (IEEE 802.11-2020 §9.3.2.1, table 9-30)."""
    q.dst_mac = be48(data, at + (U(16) if flags & TO_DS else U(4)))
    q.src_mac = be48(data, at + U(10))
    if flags & FROM_DS:
        q.src_mac = be48(data, at + (U(24) if flags & TO_DS else U(16)))


@byte_helper
def wireless(data, q, w, end, form, outermost):
    """A data frame (IEEE 802.11-2020 §9.3.2); one that is encrypted, or not the first of its fragments, is not IP."""
    at = w.at
    if end < at + U(2):
        return TRUNCATED_LINK
    control, flags = data[at], data[at + U(1)]
    if form == SWAPPED:
        control, flags = flags, control
    if control & 0x4F != 8 or flags & PROTECTED:
        return NOT_IP
    size = U(30) if flags & 3 == 3 else U(24)
    quality = size
    if control & 0x80:
        size += U(6) if flags & ORDER else U(2)
    if end < at + size:
        return TRUNCATED_LINK
    if data[at + (U(23) if form == SWAPPED else U(22))] & 15:
        return NOT_IP
    if outermost:
        _set_addresses(data, q, at, flags)
    body = at + size
    if form == PADDED:
        body += (U(4) - size % U(4)) % U(4)
    if control & 0x80 and data[at + quality] & 0x80:
        return _first_packet(data, q, w, body, end, outermost)
    w.ethertype, w.at = NEXT_LLC, body
    return METERED


@byte_helper
def _skip(w, end, size, trailer):
    """Step over `size` bytes in front and leave out a trailer."""
    if end < w.at + size:
        return TRUNCATED_LINK
    w.at += size
    w.wire_end = max(w.wire_end - trailer, w.at)
    return METERED


@byte_helper
def radiotap(data, w, end):
    """(Reason, form of the frame behind): https://www.radiotap.org; its flags tell of padding and of an FCS."""
    at = w.at
    if end < at + U(8):
        return TRUNCATED_LINK, PLAIN
    size, present = le16(data, at + U(2)), le32(data, at + U(4))
    if data[at] != 0 or size < U(8):
        return NOT_IP, PLAIN
    if end < at + size:
        return TRUNCATED_LINK, PLAIN
    stop, field, more = at + size, at + U(8), present
    while more & U(0x80000000) and stop >= field + U(4):
        more = le32(data, field)
        field += U(4)
    if present & U(1):  # time of arrival, at a multiple of eight bytes
        field += (at - field) % U(8) + U(8)
    flags = data[field] if present & U(2) and field < stop else np.uint8(0)
    reason = _skip(w, end, size, FCS if flags & 0x10 else U(0))
    return reason, PADDED if flags & 0x20 else PLAIN


@byte_helper
def avs(data, w, end):
    """AVS capture header: its length is its second word."""
    if end < w.at + U(8):
        return TRUNCATED_LINK
    return _skip(w, end, max(be32(data, w.at + U(4)), U(8)), U(0))


@byte_helper
def prism(data, w, end):
    """Prism header, of 144 bytes; or an AVS header, as its first word says."""
    if end >= w.at + U(4) and be32(data, w.at) >> U(4) == U(0x8021100):
        return avs(data, w, end)
    return _skip(w, end, U(144), U(0))
