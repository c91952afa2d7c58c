"""Walk the records of a classic pcap file (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import byte_kernel
from flowgauge.kernels.records import BAD_RECORD, FULL, MAX_RECORD, MORE, word

U = np.uint64
NANOSECONDS = np.int64(1_000_000_000)


class PcapLayout(NamedTuple):
    """How the records of one file are to be read."""

    header: np.uint64  # bytes of a record header
    big: np.uint64  # 1: big-endian
    unit: np.int64  # nanoseconds of one unit of the time's fraction
    link: np.uint16


@byte_kernel
def walk_pcap(p, data, cursor, layout):
    """Fill rows of `p` from the records at the cursor until the bytes or the rows end."""
    c = cursor[0]
    at, end, row, number, big = c.at, c.end, c.row, c.number, layout.big
    while row < len(p.packets):
        c.at, c.row, c.number = at, row, number
        if end - at < layout.header:
            return MORE
        caplen = word(data, at + U(8), big)
        begin = at + layout.header
        if caplen > MAX_RECORD:
            return BAD_RECORD
        if end - begin < caplen:
            return MORE
        seconds, fraction = word(data, at, big), word(data, at + U(4), big)
        number += 1
        q = p.packets[row]
        q.offset = begin
        q.caplen = caplen
        q.frame_len = word(data, at + U(12), big)
        q.time = np.int64(seconds) * NANOSECONDS + np.int64(fraction) * layout.unit
        q.record_offset = c.origin + np.int64(at)
        q.number = number
        q.link, q.label = layout.link, 0
        at = begin + caplen
        row += 1
    c.at, c.row, c.number = at, row, number
    return FULL
