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
from flowgauge.kernels.packet import U8
from flowgauge.kernels.sequence import after, plus

U64, I64 = np.uint64, np.int64
HEAD_BYTES = 4096
LENGTH_BYTES = 2  # in front of a datagram
UNIT_BYTES = 512
SIZES = 4  # of blocks: 1, 2, 4 and 8 units
MOST_TAKEN = 2 * (HEAD_BYTES // UNIT_BYTES)  # units that one packet takes
_WORDS = UNIT_BYTES // 64  # of bits, a unit

POOL = np.dtype([("fresh", np.int64), ("most", np.int64), ("refused", np.int64), ("free", np.int64, (SIZES,))])
"""Units from `fresh` on were never used; the arena may grow to `most`, and `refused` is how many blocks there was no
room for. `free` is one free block of each size, as flows have them, 0 without one; the first word of its bits is the
next one."""


class Arena(NamedTuple):
    """The arrays of an arena. A flow has a block as (its first unit * SIZES + its size) + 1, and 0 without one."""

    pool: np.recarray  # one POOL
    there: np.ndarray  # one row: a bit for each byte
    data: U8


def make_arena(units: int, most: int) -> Arena:
    """An empty arena of so many units, that may grow to `most`."""
    pool = np.zeros(1, POOL).view(np.recarray)
    pool[0].most = most
    return _arena(pool, min(units, most))


def grown_arena(arena: Arena) -> Arena:
    """The arena with twice as many units, but no more than it may have."""
    old = len(arena.data)
    larger = _arena(arena.pool, min(2 * old // UNIT_BYTES, int(arena.pool[0].most)))
    larger.there[:, : old // 64], larger.data[:old] = arena.there, arena.data
    return larger


def can_grow(arena: Arena) -> bool:
    """Whether there are too few units for one packet, and there may be more."""
    s = arena.pool[0]
    units = len(arena.data) // UNIT_BYTES
    return bool(s.fresh + MOST_TAKEN > units and units < s.most)


def head_begin(block: int) -> int:
    """Where the bytes of a block begin."""
    return (block - 1) // SIZES * UNIT_BYTES


def _arena(pool: np.recarray, units: int) -> Arena:
    return Arena(pool, np.zeros((1, units * _WORDS), np.uint64), np.zeros(units * UNIT_BYTES, np.uint8))


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
def has_units(arena):
    """Whether there are the units that one packet may take, whatever of their sizes is free."""
    return arena.pool[0].fresh + MOST_TAKEN <= len(arena.data) // UNIT_BYTES


@inline_helper
def is_full_grown(arena):
    return len(arena.data) // UNIT_BYTES >= arena.pool[0].most


@helper
def _unit(block):
    return I64(block - 1) // SIZES


@helper
def _room(block):
    """Bytes of a block."""
    return I64(UNIT_BYTES) << (I64(block - 1) % SIZES)


@helper
def _size(count):
    """The size of a block for so many bytes."""
    size = I64(0)
    while (I64(UNIT_BYTES) << size) < count:
        size += 1
    return size


@helper
def take_block(arena, count):
    """An empty block for so many bytes, HEAD_BYTES at most; 0 where the arena is full."""
    s, size = arena.pool[0], _size(count)
    units = I64(1) << size
    if s.free[size] != 0:
        block = s.free[size]
        first = _unit(block) * _WORDS
        s.free[size] = I64(arena.there[0, first])
        arena.there[0, first] = U64(0)
        return np.int32(block)
    if s.fresh + units <= len(arena.data) // UNIT_BYTES:
        s.fresh += units
        return np.int32((s.fresh - units) * SIZES + size + 1)
    s.refused += 1
    return np.int32(0)


@helper
def _free(arena, block):
    first = _unit(block) * _WORDS
    for word in range(first, first + _room(block) // 64):
        arena.there[0, word] = U64(0)
    s, size = arena.pool[0], I64(block - 1) % SIZES
    arena.there[0, first] = U64(s.free[size])
    s.free[size] = block


@helper
def release_block(arena, f, d):
    """Give back the block of a direction, where it has one."""
    if f.block[d] != 0:
        _free(arena, f.block[d])
        f.block[d] = 0


@helper
def have_room(arena, f, d, count):
    """Have a direction's block hold `count` bytes, HEAD_BYTES at most: a larger one takes over what is in the one so
    far. False where there is none."""
    old = f.block[d]
    if old != 0 and _room(old) >= count:
        return True
    new = take_block(arena, count)
    if new == 0:
        return False
    if old != 0:
        copy_run(arena.data, U64(_unit(new) * UNIT_BYTES), arena.data, U64(_unit(old) * UNIT_BYTES), U64(_room(old)))
        for word in range(_room(old) // 64):
            arena.there[0, _unit(new) * _WORDS + word] = arena.there[0, _unit(old) * _WORDS + word]
        _free(arena, old)
    f.block[d] = new
    return True


@helper
def put_segment(arena, block, data, begin, place, count):
    """Put bytes that the decoder has seen in the captured ones to a place in a block."""
    first = U64(_unit(block) * UNIT_BYTES + place)
    copy_run(arena.data, first, data, begin, U64(count))
    put_bits(arena.there, 0, first, first + U64(count))


@helper
def datagram_end(count, at):
    """Where a datagram of `count` bytes ends that is put behind byte `at`, cut off where there is no room."""
    return min(at + LENGTH_BYTES + count, I64(HEAD_BYTES))


@helper
def put_datagram(arena, block, data, begin, at, end):
    """Put a datagram behind byte `at`, its length in front, up to its :func:`datagram_end`; there is room for it."""
    count = end - at - LENGTH_BYTES
    if count <= 0:
        return
    first = U64(_unit(block) * UNIT_BYTES + at)
    arena.data[first], arena.data[first + U64(1)] = count >> 8, count & 255
    copy_run(arena.data, first + U64(LENGTH_BYTES), data, begin, U64(count))


@helper
def head_range(arena, block, length):
    """Where a head lies in the arena's bytes. Of a TCP stream, whose length is negative, it is what there is up to the
    first byte that is missing."""
    first = _unit(block) * UNIT_BYTES
    if length < 0:
        length = leading_bits(arena.there, 0, _unit(block) * _WORDS, _room(block))
    return U64(first), U64(first + length)
