"""What headers and trailers of a capture say of the process of each frame: Apple's PKTAP, PCAPdroid's trailer.

A trailer is no part of the frame: it is cut off, with the padding before it.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, byte_kernel
from flowgauge.kernels.bytes import be16, be32, le32
from flowgauge.kernels.crc import crc32
from flowgauge.kernels.memo import UNKNOWN, look_up
from flowgauge.kernels.rarelinks import LINK_PKTAP, LINK_USER2

U, U32 = np.uint64, np.uint32

ETHERNET_BYTES, TRAILER_BYTES = U(14), U(32)
TRAILER_MAGIC = U(0x01072021)
MOST_PADDING = U(3)
PKTAP_BYTES = U(108)
WORDS = 6  # of an id and a name of 20 bytes


@byte_helper
def _put(data, at, first, memo):
    """Put the six little-endian words at `at` into the key, from word `first` on; it ends behind them."""
    for word in range(WORDS):
        memo.key[first + word] = U32(le32(data, at + U(4 * word)))
    memo.state[0].words = first + WORDS


@byte_helper
def _put_pktap(data, begin, end, memo):
    """Make a key of both processes of a PKTAP header (pid and command); empty where it is none."""
    memo.state[0].words = 0
    size = le32(data, begin) if end - begin >= PKTAP_BYTES else U(0)
    if PKTAP_BYTES <= size <= end - begin and le32(data, begin + U(4)) == U(1):
        _put(data, begin + U(52), 0, memo)
        _put(data, begin + U(84), WORDS, memo)


@byte_helper
def _ip_bytes(data, begin, end):
    """The length of the IP packet behind an Ethernet header as it says itself, 0 where it does not."""
    if end - begin < ETHERNET_BYTES + U(20):
        return U(0)
    version = data[begin + ETHERNET_BYTES] >> 4
    if version == 4:
        return be16(data, begin + ETHERNET_BYTES + U(2))
    return be16(data, begin + ETHERNET_BYTES + U(4)) + U(40) if version == 6 else U(0)


@byte_helper
def _put_trailer(data, q, memo, table):
    """Cut a trailer off the packet and make a key of its user id and app; empty where there is none."""
    memo.state[0].words = 0
    begin = U(q.offset)
    end = begin + U(q.caplen)
    if end - begin < ETHERNET_BYTES + TRAILER_BYTES or be32(data, end - TRAILER_BYTES) != TRAILER_MAGIC:
        return
    if crc32(data, begin, end - U(4), table) != le32(data, end - U(4)):
        return
    _put(data, end - U(28), 0, memo)
    cut = TRAILER_BYTES
    captured = end - begin - TRAILER_BYTES
    true = ETHERNET_BYTES + _ip_bytes(data, begin, end - TRAILER_BYTES)
    if true > ETHERNET_BYTES and true <= captured and captured - true <= MOST_PADDING:
        cut += captured - true
    q.caplen -= U32(cut)
    q.frame_len = q.frame_len - U32(cut) if U(q.frame_len) > cut else q.caplen


@byte_kernel
def label_frames(data, p, begin, stop, memo, trailers, table):
    """Label those of the rows begin..stop that have no label yet; with `trailers` those are cut off.

    Returns the first row that is not done, whose key is not in the memo.
    """
    for row in range(begin, stop):
        q = p.packets[row]
        caplen, frame_len = q.caplen, q.frame_len
        if trailers:
            _put_trailer(data, q, memo, table)
        elif U(q.link) == LINK_PKTAP or U(q.link) == LINK_USER2:
            _put_pktap(data, U(q.offset), U(q.offset) + U(q.caplen), memo)
        else:
            continue
        if memo.state[0].words == 0 or memo.state[0].on == 0 or q.label != 0:
            continue
        label = look_up(memo, q.time)
        if label == UNKNOWN:
            q.caplen, q.frame_len = caplen, frame_len
            return row
        q.label = label
    return stop
