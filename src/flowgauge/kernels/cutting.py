"""Copy the blocks of a pcapng file, and of its packets the marked ones (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, byte_kernel
from flowgauge.kernels.pcapng import (
    CUSTOM,
    CUSTOM_NO_COPY,
    ENHANCED_PACKET,
    JOURNAL,
    MAX_BLOCK,
    MIN_BLOCK,
    PACKET,
    PCAPDROID,
    SECTION,
    SIMPLE_PACKET,
    WIRESHARK,
)
from flowgauge.kernels.records import BAD_BLOCK, DESCRIPTION, FULL, MORE, word

U = np.uint64

STATISTICS = U(5)  # counts of an interface, which are not those of a part of its packets


@byte_helper
def _is_marked(bits, number):
    """Whether the frame of this number has its bit."""
    byte = U(number) >> U(3)
    return byte < U(len(bits)) and bits[byte] >> np.uint8(number & 7) & 1 != 0


@byte_helper
def _is_copied(data, at, length, kind, big):
    """Whether a block that is no packet is copied: what may not be is where it tells of the packets' processes."""
    if kind == CUSTOM_NO_COPY and length >= MIN_BLOCK + U(4):
        enterprise = word(data, at + U(8), big)
        return enterprise == PCAPDROID or enterprise == WIRESHARK
    return kind != CUSTOM_NO_COPY and kind != STATISTICS and kind != JOURNAL


@byte_kernel
def copy_blocks(data, cursor, big, bits, out):
    """Copy blocks from the cursor on to the begin of `out`; returns why it stopped, the bytes and packets copied.

    `big` is 1 in sections of big-endian numbers. Frames are numbered as `walk_pcapng` does. It stops with DESCRIPTION
    at the header of a section, MORE where the next block is not wholly there, FULL where that has no room.
    """
    c = cursor[0]
    at, end, number, used, packets = c.at, c.end, c.number, U(0), 0
    while True:
        c.at, c.number = at, number
        if end - at < MIN_BLOCK:
            return MORE, used, packets
        kind, length = word(data, at, big), word(data, at + U(4), big)
        if kind == SECTION:
            return DESCRIPTION, used, packets
        if length < MIN_BLOCK or length > MAX_BLOCK or length & U(3) != U(0):
            return BAD_BLOCK, used, packets
        if end - at < length:
            return MORE, used, packets
        is_packet = kind in (ENHANCED_PACKET, SIMPLE_PACKET, PACKET)
        following = number + 1 if is_packet or kind in (CUSTOM, CUSTOM_NO_COPY, JOURNAL) else number
        if _is_marked(bits, following) if is_packet else _is_copied(data, at, length, kind, big):
            if used + length > U(len(out)):
                return FULL, used, packets
            for byte in range(length):
                out[used + U(byte)] = data[at + U(byte)]
            used += length
            packets += 1 if is_packet else 0
        at, number = at + length, following
