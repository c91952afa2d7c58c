"""Walk the frames of a block of a packet ring of Linux (TPACKET_V3, Documentation/networking/packet_mmap.rst).

The offsets are those of linux/if_packet.h: struct tpacket_block_desc, tpacket3_hdr and, behind that, sockaddr_ll.
"""

from __future__ import annotations

import sys

import numpy as np

from flowgauge.kernels._jit import byte_helper, byte_kernel

U = np.uint64
I64 = np.int64
NANOSECONDS = I64(1_000_000_000)
LITTLE = np.uint8(sys.byteorder == "little")

# struct tpacket_block_desc
BLOCK_STATUS, BLOCK_PACKETS, BLOCK_FIRST = 8, 12, 16  # bytes
# struct tpacket3_hdr
NEXT, SECONDS, FRACTION, CAPLEN, LENGTH, STATUS, MAC, TAG, TAG_TYPE = (
    U(at) for at in (0, 4, 8, 12, 16, 20, 24, 32, 36)
)
# struct sockaddr_ll, behind it
HARDWARE, KIND = U(48 + 8), U(48 + 10)

TAG_VALID, TAG_TYPE_VALID = U(1 << 4), U(1 << 6)
VLAN = U(0x8100)
OUTGOING, LOOPBACK = np.uint8(4), U(772)  # linux/if_packet.h, linux/if_arp.h
TAG_BYTES = U(4)
RECORD_HEADER = I64(16)  # of a pcap file
ADDRESS_BYTES = 12

# By ARPHRD_ value: the LINKTYPE_ value of its frames; others are none that is decoded.
NO_LINK = np.uint16(65535)
LINKS = np.full(1 << 16, NO_LINK, np.uint16)
LINKS[[1, 772]] = 1  # Ethernet, loopback
LINKS[[512, 519, 768, 769, 776, 65534]] = 101  # PPP, raw IP, tunnels: the IP packet alone
LINKS[[801, 803]] = 105, 127  # 802.11 without and with radiotap
ETHERNET = U(1)

CURSOR = np.dtype(
    [
        ("at", np.uint64),  # next frame, in the ring
        ("left", np.int64),  # frames of the block from there on
        ("row", np.int64),  # next row to fill
        ("number", np.int64),  # frames so far
        ("origin", np.int64),  # offset that the next record would have in a pcap file of all frames
    ],
    align=True,
)
"""Where a walk stands; written before each frame, so that a walk can be resumed."""


@byte_helper
def _word(words, at):
    """The 32-bit integer of this machine's order at byte `at`, a multiple of 4."""
    return U(words[at >> U(2)])


@byte_helper
def _half(words, at):
    """The 16-bit integer at byte `at`, a multiple of 2."""
    value = U(words[at >> U(2)])
    high = (at & U(2) != U(0)) == (LITTLE != 0)
    return value >> U(16) if high else value & U(0xFFFF)


@byte_helper
def _put_tag_back(data, begin, kind, tag):
    """Move the addresses of an Ethernet frame forward and put the tag behind them, which the system has taken out.

    The ring reserves the room. Returns where the frame begins now.
    """
    to = begin - TAG_BYTES
    for _ in range(ADDRESS_BYTES):
        data[to] = data[to + TAG_BYTES]
        to += U(1)
    data[to], data[to + U(1)] = kind >> U(8), kind & U(0xFF)
    data[to + U(2)], data[to + U(3)] = tag >> U(8), tag & U(0xFF)
    return begin - TAG_BYTES


@byte_helper
def _fill(q, data, words, frame, c, snaplen):
    """One row from a frame: its place, lengths and time, with the VLAN tag back in it."""
    begin, caplen, length = (
        frame + _half(words, frame + MAC),
        _word(words, frame + CAPLEN),
        _word(words, frame + LENGTH),
    )
    link, status = LINKS[_half(words, frame + HARDWARE)], _word(words, frame + STATUS)
    if status & TAG_VALID != U(0) and U(link) == ETHERNET and caplen >= U(ADDRESS_BYTES):
        kind = _half(words, frame + TAG_TYPE) if status & TAG_TYPE_VALID != U(0) else VLAN
        begin = _put_tag_back(data, begin, kind, _word(words, frame + TAG) & U(0xFFFF))
        caplen, length = caplen + TAG_BYTES, length + TAG_BYTES
    caplen = min(caplen, snaplen)
    q.offset, q.caplen, q.frame_len, q.link = begin, caplen, length, link
    q.time = I64(_word(words, frame + SECONDS)) * NANOSECONDS + I64(_word(words, frame + FRACTION))
    c.number += 1
    q.number, q.record_offset = c.number, c.origin
    c.origin += RECORD_HEADER + I64(caplen)


@byte_helper
def _is_copy(data, words, frame):
    """Whether loopback delivers the frame twice, and this is the one that was sent."""
    return data[frame + KIND] == OUTGOING and _half(words, frame + HARDWARE) == LOOPBACK


@byte_kernel
def walk_ring(p, data, words, cursor, snaplen):
    """Fill rows of `p` from the frames at the cursor until the block or the rows end; `words` are those of `data`."""
    c = cursor[0]
    while c.row < len(p.packets) and c.left > 0:
        frame = U(c.at)
        c.at, c.left = frame + _word(words, frame + NEXT), c.left - 1
        if not _is_copy(data, words, frame):
            _fill(p.packets[c.row], data, words, frame, c, snaplen)
            c.row += 1
