"""Heads of streams: the first bytes of a direction, each in its place, and the arena of blocks that hold them.

TCP segments go where their sequence numbers say, so that repeated and late ones do no harm; what counts is the part
without a hole from the first byte on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper
from flowgauge.kernels.bits import leading_bits, put_bits
from flowgauge.kernels.bytes import copy_run
from flowgauge.kernels.header import SYN
from flowgauge.kernels.packet import I32, U8
from flowgauge.kernels.sequence import after, plus

U64, I64 = np.uint64, np.int64
HEAD_BYTES = 4096
LENGTH_BYTES = 2  # in front of a datagram
MOST_TAKEN = 2  # blocks that one packet takes

POOL = np.dtype([("fresh", np.int64), ("free", np.int64), ("most", np.int64), ("refused", np.int64)])
"""Blocks from `fresh` on were never used; `free` is the length of the list of free ones, `most` the number that the
arena may grow to, `refused` how many blocks there was no room for."""


class Arena(NamedTuple):
    """The arrays of an arena; a block is a row of `there` (a bit for each byte) and of `head`."""

    pool: np.recarray  # one POOL
    free: I32
    there: np.ndarray
    head: np.ndarray
    data: U8  # the bytes of `head`, one block behind the other


def make_arena(blocks: int, most: int) -> Arena:
    """An empty arena of so many blocks, that may grow to `most`."""
    pool = np.zeros(1, POOL).view(np.recarray)
    pool[0].most = most
    return _arena(pool, np.zeros(0, np.int32), min(blocks, most))


def grown_arena(arena: Arena) -> Arena:
    """The arena with twice as many blocks, but no more than it may have."""
    old = len(arena.free)
    larger = _arena(arena.pool, arena.free, min(2 * old, int(arena.pool[0].most)))
    larger.there[:old], larger.head[:old] = arena.there, arena.head
    return larger


def can_grow(arena: Arena) -> bool:
    """Whether there are too few blocks for one packet, and there may be more."""
    s = arena.pool[0]
    return bool(s.free + len(arena.free) - s.fresh < MOST_TAKEN and len(arena.free) < s.most)


def _arena(pool: np.recarray, free: I32, blocks: int) -> Arena:
    numbers, head = np.zeros(blocks, np.int32), np.zeros((blocks, HEAD_BYTES), np.uint8)
    numbers[: len(free)] = free
    return Arena(pool, numbers, np.zeros((blocks, HEAD_BYTES // 64), np.uint64), head, head.reshape(-1))


@helper
def segment_place(q, f, d, most):
    """Where the payload of a TCP segment goes among the first `most` bytes of direction d, of which `f` knows the
    first number: bytes of it to leave out, the place of the next one, and how many follow (maybe less than none)."""
    first = plus(q.tcp_seq, q.tcp_flags & SYN != 0)
    if not f.known[d] or (q.tcp_flags & SYN and f.length[d] == 0):
        f.first[d], f.known[d] = first, 1
    skip, place = I64(0), after(first, f.first[d])
    if place < 0:
        skip, place = -place, I64(0)
    return skip, place, min(I64(q.payload_caplen) - skip, I64(most) - place)


@helper
def copy_bytes(data, begin, count, head, row, place):
    """Copy bytes that the decoder has seen in the captured ones: without checks it takes an eighth of the time."""
    for number in range(count):
        head[row, place + number] = data[begin + U64(number)]


@inline_helper
def has_blocks(arena):
    """Whether there are the blocks that one packet may take."""
    s = arena.pool[0]
    return s.free + len(arena.free) - s.fresh >= MOST_TAKEN


@inline_helper
def is_full_grown(arena):
    return len(arena.free) >= arena.pool[0].most


@helper
def take_block(arena):
    """Number of an empty block, plus one; 0 where the arena is full."""
    s = arena.pool[0]
    if s.free > 0:
        s.free -= 1
        return np.int32(arena.free[s.free] + 1)
    if s.fresh < len(arena.free):
        s.fresh += 1
        return np.int32(s.fresh)
    s.refused += 1
    return np.int32(0)


@helper
def release_block(arena, f, d):
    """Give back the block of a direction, where it has one."""
    if f.block[d] == 0:
        return
    number = f.block[d] - 1
    for word in range(arena.there.shape[1]):
        arena.there[number, word] = U64(0)
    s = arena.pool[0]
    arena.free[s.free] = number
    s.free += 1
    f.block[d] = 0


@helper
def put_segment(arena, number, data, begin, place, count):
    """Put bytes that the decoder has seen in the captured ones to a place in a block."""
    copy_run(arena.data, U64(number * HEAD_BYTES + place), data, begin, U64(count))
    put_bits(arena.there, number, U64(place), U64(place + count))


@helper
def put_datagram(arena, number, data, begin, count, at):
    """Put a datagram behind byte `at`, its length in front, cut off where there is no room; where it ends."""
    count = min(count, I64(HEAD_BYTES) - LENGTH_BYTES - at)
    if count <= 0:
        return I64(HEAD_BYTES)
    arena.head[number, at], arena.head[number, at + 1] = count >> 8, count & 255
    copy_run(arena.data, U64(number * HEAD_BYTES + at + LENGTH_BYTES), data, begin, U64(count))
    return at + LENGTH_BYTES + count


@helper
def head_length(arena, number):
    """Bytes of a TCP stream up to the first that is missing."""
    return leading_bits(arena.there, number, HEAD_BYTES)
