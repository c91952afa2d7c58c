"""Decimal digits into a byte buffer: what every text kernel ends in.

All functions write at `at` and return the position behind what they wrote; the caller has made sure
of the space. Positions are uint64 throughout: a signed index is checked for being negative at every
access, which keeps loops that copy bytes from being vectorised and makes them 30 times slower.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import copy_word, helper, inline_helper, put_quad

U = np.uint64
MAX_INTEGER = 20  # bytes of "-9223372036854775808"
MINUS = np.uint8(ord("-"))

_TEN, _HUNDRED, _THOUSAND = U(10), U(100), U(1000)
_ZERO = U(ord("0"))
# The digits of a number below 1000, the first in the lowest byte, and how many there are in the highest.
_SMALL = np.array([int.from_bytes(f"{n:<3}".encode() + bytes([len(str(n))]), "little") for n in range(1000)], np.uint32)
_PAIRS = np.frombuffer("".join(f"{n:02d}" for n in range(100)).encode(), np.uint8).copy()


@helper
def count_digits(value):
    """Number of decimal digits of a uint64; 1 for 0."""
    digits = U(1)
    while value >= U(10000):
        value //= U(10000)
        digits += U(4)
    return digits + U(value >= _TEN) + U(value >= _HUNDRED) + U(value >= _THOUSAND)


@helper
def put_padded(out, at, value, digits):
    """The last `digits` digits of a uint64, with leading zeros; two at a time, from the end."""
    here = at + digits
    while here - at >= U(2):
        pair = value % _HUNDRED << U(1)
        value //= _HUNDRED
        here -= U(2)
        out[here] = _PAIRS[pair]
        out[here + U(1)] = _PAIRS[pair + U(1)]
    if here > at:
        out[at] = np.uint8(_ZERO + value % _TEN)
    return at + digits


@inline_helper
def put_unsigned(out, at, value):
    """A uint64 without leading zeros; always writes 4 bytes or more, so that small values need no branch."""
    if value >= _THOUSAND:
        return put_padded(out, at, value, count_digits(value))
    word = _SMALL[value]
    put_quad(out, at, word)
    return at + U(word >> np.uint32(24))


@inline_helper
def put_signed(out, at, value):
    """An int64."""
    if value < 0:
        out[at] = MINUS
        return put_unsigned(out, at + U(1), U(0) - U(value))
    return put_unsigned(out, at, U(value))


@inline_helper
def put_bytes(out, at, data, begin, stop):
    """Bytes `begin` to `stop` of `data`, eight at a time: up to 7 more are written behind."""
    size, done = stop - begin, U(0)
    while done < size and begin + done + U(8) <= U(len(data)):
        copy_word(out, at + done, data, begin + done)
        done += U(8)
    while done < size:
        out[at + done] = data[begin + done]
        done += U(1)
    return at + size
