"""A table of texts: each distinct one once, under a small number (0: none)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.bytes import be64
from flowgauge.kernels.packet import I32, U8

U32, U64, I64 = np.uint32, np.uint64, np.int64
WORD = U64(8)  # bytes
_PRIME, _SHIFT, _MASK = U64(0x9E3779B97F4A7C15), U64(29), U64(0xFFFFFFFF)

TEXT = np.dtype([("begin", np.int64), ("length", np.uint32), ("hash", np.uint32)], align=True)
STATE = np.dtype(
    [
        ("fresh", np.int64),  # numbers from here on were never used
        ("free", np.int64),  # length of the list of free ones
        ("stop", np.int64),  # bytes from here on are free
        ("seed", np.uint64),
    ]
)


class Texts(NamedTuple):
    """The arrays of a table; `index` is a power of two, and at least twice as long as `rows`."""

    state: np.recarray  # one STATE
    rows: np.recarray  # TEXT, by number
    index: I32  # number of the text of a hash or of one before it, 0 is empty
    free: I32
    data: U8


@helper
def text_room(texts):
    """How many texts, and how many bytes of them, there is room for."""
    s = texts.state[0]
    return s.free + len(texts.rows) - s.fresh, len(texts.data) - s.stop


@helper
def _hash(source, begin, length, seed):
    value, place = seed ^ length, U64(0)
    while place + WORD <= length:
        value = (value ^ be64(source, begin + place)) * _PRIME
        value ^= value >> _SHIFT
        place += WORD
    while place < length:
        value = (value ^ U64(source[begin + place])) * _PRIME
        value ^= value >> _SHIFT
        place += U64(1)
    return value & _MASK


@helper
def _is_same(texts, number, source, begin, length):
    row, place = texts.rows[number], U64(0)
    if U64(row.length) != length:
        return False
    first = U64(row.begin)
    while place + WORD <= length and be64(texts.data, first + place) == be64(source, begin + place):
        place += WORD
    while place < length and texts.data[first + place] == source[begin + place]:
        place += U64(1)
    return place == length


@helper
def _take_number(s, free):
    if s.free > 0:
        s.free -= 1
        return I64(free[s.free])
    s.fresh += 1
    return s.fresh - 1


@helper
def intern(texts, source, begin, length):
    """Number of the text of `length` bytes at `begin`, both unsigned, of `source`; there is room for it."""
    s = texts.state[0]
    mask, value = len(texts.index) - 1, _hash(source, begin, length, s.seed)
    at = I64(value) & mask
    while texts.index[at] != 0:
        number = texts.index[at]
        if texts.rows[number].hash == U32(value) and _is_same(texts, number, source, begin, length):
            return U32(number)
        at = (at + 1) & mask
    number = _take_number(s, texts.free)
    texts.index[at] = number
    row = texts.rows[number]
    row.begin, row.length, row.hash = s.stop, U32(length), U32(value)
    for place in range(length):
        texts.data[s.stop + I64(place)] = source[begin + U64(place)]
    s.stop += I64(length)
    return U32(number)


@kernel
def index_texts(texts):
    """Fill the empty index of a table with all its texts."""
    mask = len(texts.index) - 1
    for number in range(1, texts.state[0].fresh):
        row = texts.rows[number]
        if row.length == 0:
            continue
        at = I64(row.hash) & mask
        while texts.index[at] != 0:
            at = (at + 1) & mask
        texts.index[at] = number


@kernel
def drop_texts(texts, used, data):
    """Keep the texts that are `used`, by number, with their numbers, and copy their bytes to `data`; the numbers of
    the others are free. The index is to be made anew. Returns how many were dropped."""
    s, at, dropped = texts.state[0], 0, 0
    for number in range(1, s.fresh):
        row = texts.rows[number]
        if row.length == 0:
            continue
        if used[number]:
            for place in range(row.length):
                data[at + place] = texts.data[row.begin + I64(place)]
            row.begin = at
            at += I64(row.length)
        else:
            row.length = 0
            texts.free[s.free] = number
            s.free += 1
            dropped += 1
    s.stop = at
    return dropped


@kernel
def rank_texts(numbers, place_of, codes, distinct):
    """Code of each number by where it is first seen, -1 for 0; `place_of` is zeros by number, and is again behind.
    Returns how many distinct ones there are."""
    count = 0
    for row in range(len(numbers)):
        number = numbers[row]
        if number != 0 and place_of[number] == 0:
            distinct[count] = number
            count += 1
            place_of[number] = count
        codes[row] = place_of[number] - 1
    for place in range(count):
        place_of[distinct[place]] = 0
    return count
