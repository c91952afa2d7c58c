"""Walk the blocks of a pcapng file (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import byte_helper, byte_kernel, helper, inline_byte_helper
from flowgauge.kernels.memo import UNKNOWN, look_up
from flowgauge.kernels.records import (
    BAD_BLOCK,
    BAD_PACKET,
    DESCRIPTION,
    FULL,
    LATEST,
    MAX_RECORD,
    MORE,
    NEW_KEY,
    NO_TIME,
    aligned_word,
)

U, U32, I64 = np.uint64, np.uint32, np.int64

SECTION, INTERFACE, PACKET = U(0x0A0D0D0A), U(1), U(2)
SIMPLE_PACKET, ENHANCED_PACKET = U(3), U(6)
# Blocks that are no packets but that Wireshark numbers as frames: custom blocks, systemd journal entries.
CUSTOM, CUSTOM_NO_COPY, JOURNAL = U(0x0BAD), U(0x40000BAD), U(9)

# Blocks that describe processes: Apple's, and custom blocks of two enterprises (IANA's numbers).
DARWIN_PROCESS = U(0x80000001)
PCAPDROID, WIRESHARK = U(62652), U(32622)
# Options of packets that tell of their process.
COMMENT, PROCESS_THREAD, DARWIN_INDEX, DARWIN_EFFECTIVE = U(1), U(8), U(0x8001), U(0x8003)

MIN_BLOCK = U(12)
MAX_BLOCK = MAX_RECORD + U(1 << 20)  # room for the options of the longest packet

UNKNOWN_LINK = np.uint16(0xFFFF)
"""Link type of a packet whose interface is not described."""


class Order(NamedTuple):
    """Byte order of a section; 1 is yes."""

    big: np.uint64
    foreign: np.uint64  # not this machine's


INTERFACES = np.dtype(
    [
        ("link", np.uint16),
        ("snaplen", np.uint64),
        ("divisor", np.uint64),  # decimal: nanoseconds = ticks // divisor * multiplier
        ("most", np.uint64),  # units that can be multiplied
        ("multiplier", np.uint64),
        ("binary", np.uint8),  # 1: a second has 2^shift ticks
        ("shift", np.uint64),
        ("offset", np.int64),  # nanoseconds to add
    ],
    align=True,
)
"""The interfaces of the section; the last row stands for every interface that is not described."""

_SECOND = U(1_000_000_000)
_MOST_SECONDS = U(LATEST) // _SECOND
_LOW = U(0xFFFFFFFF)


@helper
def _binary(ticks, shift):
    """Nanoseconds of `ticks`, 2^shift to a second, rounded down.

    The product of fraction and 10^9 has up to 94 bits: it is formed in two halves of 32 bits.
    """
    seconds, fraction = U(0), ticks
    if shift < U(64):
        seconds, fraction = ticks >> shift, ticks & ((U(1) << shift) - U(1))
    low = (fraction & _LOW) * _SECOND
    if shift < U(32):
        rest = low >> shift
    else:
        rest = ((fraction >> U(32)) * _SECOND + (low >> U(32))) >> min(shift - U(32), U(63))
    return seconds * _SECOND + rest if seconds <= _MOST_SECONDS else U(LATEST)


@helper
def _time(high, low, i):
    """Nanoseconds since the epoch of a timestamp of interface `i`, kept within ± LATEST."""
    ticks = (high << U(32)) | low
    if i.binary != 0:
        since = _binary(ticks, i.shift)
    else:
        units = ticks // i.divisor
        since = units * i.multiplier if units <= i.most else U(LATEST)
    return min(max(np.int64(min(since, U(LATEST))) + i.offset, -LATEST), LATEST)


@byte_helper
def _block(words, at, end, foreign):
    """(length, verdict) of the block at `at`; MORE where it is not wholly there, FULL where it is sound."""
    length = aligned_word(words, at + U(4), foreign)
    if length < MIN_BLOCK or length > MAX_BLOCK or length & U(3) != U(0):
        return length, BAD_BLOCK
    if end - at < length:
        return length, MORE
    return length, FULL if aligned_word(words, at + length - U(4), foreign) == length else BAD_BLOCK


@inline_byte_helper
def _packet(words, at, length, order, interfaces):
    """(begin, caplen, frame_len, time, link) of the packet block at `at`; begin 0 where it is not sound."""
    foreign = order.foreign
    kind, first = aligned_word(words, at, foreign), aligned_word(words, at + U(8), foreign)
    simple = kind == SIMPLE_PACKET
    header = U(12) if simple else U(28)
    bad = U(0), U(0), U(0), NO_TIME, UNKNOWN_LINK
    if length < header + U(4):
        return bad
    room = length - header - U(4)
    if simple:
        i = interfaces[0]
        return at + header, min(first, room, i.snaplen), first, NO_TIME, i.link
    if kind == PACKET:  # 16 bits of interface, 16 of drop count
        first = first >> U(16) if order.big != U(0) else first & U(0xFFFF)
    i = interfaces[min(first, U(len(interfaces) - 1))]
    caplen = aligned_word(words, at + U(20), foreign)
    if caplen > min(room, MAX_RECORD):
        return bad
    time = _time(aligned_word(words, at + U(12), foreign), aligned_word(words, at + U(16), foreign), i)
    return at + header, caplen, aligned_word(words, at + U(24), foreign), time, i.link


@inline_byte_helper
def _put_options(words, at, end, order, memo):
    """Make a key of the options at..end that tell of a process, as they are.

    Returns (words of the key, whether an option breaks off or has no room).
    """
    count, room = U(0), U(len(memo.key))
    while end - at >= U(4):
        head = aligned_word(words, at, order.foreign)
        code, length = head & U(0xFFFF), head >> U(16)
        if order.big != U(0):
            code, length = length, code
        if code == U(0):
            break
        size = U(4) + ((length + U(3)) & ~U(3))
        if size > end - at:
            return count, True
        if code in (COMMENT, PROCESS_THREAD, DARWIN_INDEX, DARWIN_EFFECTIVE):
            if size >> U(2) > room - count:
                return count, True
            for word in range(size >> U(2)):
                memo.key[count + U(word)] = words[(at >> U(2)) + U(word)]
            count += size >> U(2)
        at += size
    return count, False


@inline_byte_helper
def _label(words, at, end, order, memo, time):
    """The label number of a packet with options at..end; UNKNOWN where Python has to read the key first."""
    count, breaks_off = _put_options(words, at, end, order, memo)
    label = U32(0)
    if count > U(0):
        memo.state[0].words = I64(count)
        label = look_up(memo, time)
    if breaks_off and label != UNKNOWN:
        memo.state[0].unread += 1
    return label


@byte_helper
def _describes(words, at, length, kind, order):
    """Whether a block describes processes."""
    if kind == DARWIN_PROCESS:
        return True
    if (kind != CUSTOM and kind != CUSTOM_NO_COPY) or length < MIN_BLOCK + U(4):
        return False
    enterprise = aligned_word(words, at + U(8), order.foreign)
    return enterprise == PCAPDROID or enterprise == WIRESHARK


@byte_kernel
def walk_pcapng(p, words, cursor, order, interfaces, memo):
    """Fill rows of `p` from the blocks at the cursor until the bytes or the rows end.

    `words` is the buffer as 32-bit integers: blocks, and what the buffer holds of them, begin at
    multiples of 4 bytes. Returns DESCRIPTION at a block that describes a section or an interface and, where the memo
    is on, processes; NEW_KEY at a packet whose options are not in the memo.
    """
    labelled = memo.state[0].on != 0
    c = cursor[0]
    at, end, row, number = c.at, c.end, c.row, c.number
    while row < len(p.packets):
        c.at, c.row, c.number = at, row, number
        if end - at < MIN_BLOCK:
            return MORE
        kind = aligned_word(words, at, order.foreign)
        if kind == SECTION:
            return DESCRIPTION
        length, verdict = _block(words, at, end, order.foreign)
        if verdict != FULL:
            return verdict
        if kind == INTERFACE:
            return DESCRIPTION
        if kind in (ENHANCED_PACKET, SIMPLE_PACKET, PACKET):
            begin, caplen, frame_len, time, link = _packet(words, at, length, order, interfaces)
            if begin == U(0):
                return BAD_PACKET
            label, stop = U32(0), at + length - U(4)
            options = begin + ((caplen + U(3)) & ~U(3))
            if labelled and options < stop and kind != SIMPLE_PACKET:
                label = _label(words, options, stop, order, memo, time)
                if label == UNKNOWN:
                    return NEW_KEY
            number += 1
            q = p.packets[row]
            q.offset, q.caplen, q.frame_len = begin, caplen, frame_len
            q.time, q.link, q.label = time, link, label
            q.record_offset, q.number = c.origin + np.int64(at), number
            row += 1
        elif labelled and _describes(words, at, length, kind, order):
            return DESCRIPTION
        elif kind in (CUSTOM, CUSTOM_NO_COPY, JOURNAL):
            number += 1
        at += length
    c.at, c.row, c.number = at, row, number
    return FULL
