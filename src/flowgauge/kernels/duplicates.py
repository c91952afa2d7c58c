"""Copies of packets: marked where they are to be left out, else looked for in a sample (docs/flow-semantics.md).

A packet is known by a fingerprint of its outermost IP packet without what routers change: the hash NH of UMAC
(RFC 4418 §5.2) on 64-bit words, in 128 bits. With secret keys two different packets of up to 64 KiB have the same one
at odds of 2^-64 or less; longer ones are hashed in pieces of that size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import byte_kernel, helper, inline_byte_helper, inline_helper, multiply_high, prefetch
from flowgauge.kernels.bytes import be16, be64
from flowgauge.kernels.packet import DUPLICATE, I64, MAX_TUNNELS, METERED, U64

U = np.uint64

MIXER = U(0x9E3779B97F4A7C15)  # an odd number whose product has all bits of the other factor in its upper bits
PIECE_WORDS = 8192  # hashed at once
KEY_WORDS = PIECE_WORDS + 2 * MAX_TUNNELS

# What of the first two words of a packet is compared: all but TTL (hop limit), checksum and the DSCP.
_IPV4_FIRST, _IPV4_SECOND = U(0xFF03FFFFFFFFFFFF), U(0x00FF0000FFFFFFFF)
_IPV6_FIRST, _IPV6_SECOND = U(0xF03FFFFFFFFFFF00), U(0xFFFFFFFFFFFFFFFF)
_NO_NEXT = 59

AHEAD = 64  # packets whose fingerprints are formed before they are looked up, so that many wait for memory at once

STATE = np.dtype(
    [
        ("window", np.int64),  # ns
        ("first", np.int64),  # number of the first packet of this trace
        ("count", np.int64),  # packets seen
        ("forgotten", np.int64),  # packets that gave way while a copy of them could still have come
    ],
    align=True,
)

SEEN = np.dtype(
    [
        ("high", np.uint64),  # fingerprint
        ("low", np.uint64),
        ("time", np.int64),
        ("before", np.int64),  # number of the packet before it with the same head
    ],
    align=True,
)


FINGERPRINT = np.dtype([("row", np.int64), ("high", np.uint64), ("low", np.uint64), ("head", np.int64)], align=True)


class Duplicates(NamedTuple):
    """The packets seen last, each in the place of its number, and the number of the latest one by hash."""

    state: np.recarray
    seen: np.recarray  # a power of two, as are the heads
    heads: I64  # -1 without one
    ahead: np.recarray  # AHEAD of FINGERPRINT
    key: U64


@helper
def _times(a, b, high, low):
    """a · b added to the 128-bit number (high, low)."""
    product = a * b
    low += product
    return high + multiply_high(a, b) + U(low < product), low


@inline_byte_helper
def _bounds(data, q):
    """(begin, length, captured bytes) of the outermost IP packet, as its own header says.

    A length of 0 stands for all that was on the wire, and no packet is longer than that.
    """
    begin = U(q.offset) + U(q.ip_begin)
    wire = U(max(q.frame_len, q.caplen)) - U(q.ip_begin)
    if data[begin] >> 4 == 4:
        length = be16(data, begin + U(2))
    else:
        length = be16(data, begin + U(4))
        if length != U(0) or data[begin + U(6)] == _NO_NEXT:
            length += U(40)
    if length == U(0) or length > wire:
        length = wire
    return begin, length, min(length, U(q.caplen) - U(q.ip_begin))


@inline_byte_helper
def _fingerprint(data, q, begin, length, captured, key):
    """Fingerprint of `captured` bytes of a packet, of its length, and of the tunnels around what is metered."""
    high, low = _times(length + key[0], captured + key[1], U(0), U(0))
    first, second = be64(data, begin), be64(data, begin + U(8))
    if first >> U(60) == U(4):
        first, second = first & _IPV4_FIRST, second & _IPV4_SECOND
    else:
        first, second = first & _IPV6_FIRST, second & _IPV6_SECOND
    high, low = _times(first + key[2], second + key[3], high, low)
    at, end, word = begin + U(16), begin + captured, 4
    while end >= at + U(16):
        if word == PIECE_WORDS:
            high, low = _times(high + key[0], low + key[1], U(0), U(0))
            word = 2
        high, low = _times(be64(data, at) + key[word], be64(data, at + U(8)) + key[word + 1], high, low)
        at += U(16)
        word += 2
    if end > at:  # what is left, with bytes before it that were hashed: no header is as short
        first = be64(data, at) if end > at + U(8) else U(0)
        word = word % PIECE_WORDS
        high, low = _times(first + key[word], be64(data, end - U(8)) + key[word + 1], high, low)
    for depth in range(q.tunnel_depth):
        word = PIECE_WORDS + 2 * depth
        tunnel = U(q.tunnel_id[depth]) + key[word]
        high, low = _times(tunnel, U(q.tunnel_kind[depth]) + key[word + 1], high, low)
    return high, low


@helper
def _head(d, high, low):
    """Place of a fingerprint among the heads; its own upper bits hardly differ between short packets."""
    mixed = (high ^ low) * MIXER
    return np.int64(mixed >> U(20)) & np.int64(len(d.heads) - 1)


@inline_helper
def _is_copy(d, f, time):
    """Whether the latest packet with this fingerprint is near in time."""
    s = d.state[0]
    mask = np.int64(len(d.seen) - 1)
    number = d.heads[f.head]
    while number >= s.first and s.count - number <= len(d.seen):
        other = d.seen[number & mask]
        if other.high == f.high and other.low == f.low:
            return -s.window <= time - other.time <= s.window
        number = np.int64(other.before)
    return False


@inline_helper
def _remember(d, f, time):
    """Put a packet into the place of the oldest one."""
    s = d.state[0]
    place = d.seen[s.count & np.int64(len(d.seen) - 1)]
    if s.count - s.first >= len(d.seen) and -s.window <= time - place.time <= s.window:
        s.forgotten += 1
    place.high, place.low, place.time = f.high, f.low, time
    place.before = d.heads[f.head]
    d.heads[f.head] = s.count
    s.count += 1


@inline_byte_helper
def _fill_ahead(data, p, begin, stop, d):
    """Fingerprints of the next metered rows; (how many, first row that is left)."""
    count = 0
    for i in range(begin, stop):
        q = p.packets[i]
        if q.reason != METERED:
            continue
        first, length, captured = _bounds(data, q)
        f = d.ahead[count]
        f.row = i
        f.high, f.low = _fingerprint(data, q, first, length, captured, d.key)
        f.head = _head(d, f.high, f.low)
        prefetch(d.heads, f.head)
        count += 1
        if count == AHEAD:
            return count, i + 1
    return count, stop


@byte_kernel
def mark_duplicates(data, p, begin, stop, d, reasons, walk):
    """Give the reason `duplicate` to copies among the metered rows begin..stop, and correct the decoder's counts."""
    mask = np.int64(len(d.seen) - 1)
    while begin < stop:
        count, begin = _fill_ahead(data, p, begin, stop, d)
        for n in range(count):
            prefetch(d.seen, d.heads[d.ahead[n].head] & mask)
        for n in range(count):
            f = d.ahead[n]
            q = p.packets[f.row]
            if _is_copy(d, f, q.time):
                q.reason = DUPLICATE
                reasons[METERED] -= 1
                reasons[DUPLICATE] += 1
                walk[0].length_lies -= q.length_lies
            _remember(d, f, q.time)


# The estimate

FIRST, PERIOD, BLOCK = 1 << 15, 1 << 18, 1 << 12  # records: the first ones are looked at, then a block of each period
SAMPLED = U(0x0FFFFFFFFFFFFFFF)  # of those, one packet of 16 by its content
SAMPLE_BYTES = U(128)  # what is compared of a packet, beside its length
SAMPLE_WINDOW = np.int64(1_000_000)  # ns

ESTIMATE = np.dtype(
    [
        ("sampled", np.int64, (2,)),  # packets, of the first ones and of the blocks
        ("copies", np.int64, (2,)),  # among the sampled
    ],
    align=True,
)

SAMPLE = np.dtype([("fingerprint", np.uint64), ("time", np.int64)], align=True)


class Estimate(NamedTuple):
    """A sample of the packets, each in the place of its fingerprint."""

    state: np.recarray
    samples: np.recarray  # a power of two; without a packet where the fingerprint is 0
    key: U64


@inline_byte_helper
def _is_sampled(data, q):
    """Whether a packet is in the sample: copies of it are, too.

    Identification and lengths are in the first word of IP, the transport's checksum and the first of its payload in
    the last.
    """
    begin = U(q.offset) + U(q.ip_begin)
    first = be64(data, begin)
    first &= _IPV4_FIRST if first >> U(60) == U(4) else _IPV6_FIRST
    last = be64(data, min(U(q.payload_offset) + U(min(q.payload_len, 4)), U(q.offset) + U(q.caplen)) - U(8))
    mixed = first * MIXER ^ last * U(0xC2B2AE3D27D4EB4F)
    return (mixed ^ mixed >> U(32)) * MIXER <= SAMPLED


@byte_kernel
def estimate_duplicates(data, p, begin, stop, e, later):
    """Count copies in a sample of the rows begin..stop; `later` is 1 for those of a block."""
    for i in range(begin, stop):
        q = p.packets[i]
        if q.reason == METERED and _is_sampled(data, q):
            _count_sampled(data, q, e, later)


@inline_byte_helper
def _count_sampled(data, q, e, later):
    s = e.state[0]
    begin, length, captured = _bounds(data, q)
    high, low = _fingerprint(data, q, begin, length, min(captured, SAMPLE_BYTES), e.key)
    fingerprint = high ^ low | U(1)
    sample = e.samples[np.int64(fingerprint * MIXER >> U(52))]
    s.sampled[later] += 1
    if sample.fingerprint == fingerprint and -SAMPLE_WINDOW <= q.time - sample.time <= SAMPLE_WINDOW:
        s.copies[later] += 1
    sample.fingerprint, sample.time = fingerprint, q.time
