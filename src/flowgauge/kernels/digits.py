"""Decimal digits into a byte buffer: what every text kernel ends in.

All functions write at `at` and return the position behind what they wrote; the caller has made sure
of the space. Positions are uint64 throughout: a signed index is checked for being negative at every
access, which keeps loops that copy bytes from being vectorised and makes them 30 times slower.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import kernel

U = np.uint64
MAX_INTEGER = 20  # bytes of "-9223372036854775808"
MINUS = np.uint8(ord("-"))

_TEN, _HUNDRED, _THOUSAND = U(10), U(100), U(1000)
_ZERO = U(ord("0"))
_SMALL = np.array([(*f"{n:<3}".encode(), len(str(n))) for n in range(1000)], np.uint8)
_PAIRS = np.frombuffer("".join(f"{n:02d}" for n in range(100)).encode(), np.uint8).copy()


@kernel
def count_digits(value):
    """Number of decimal digits of a uint64; 1 for 0."""
    digits = U(1)
    while value >= U(10000):
        value //= U(10000)
        digits += U(4)
    return digits + U(value >= _TEN) + U(value >= _HUNDRED) + U(value >= _THOUSAND)


@kernel
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


@kernel
def put_unsigned(out, at, value):
    """A uint64 without leading zeros; always writes 3 bytes or more, so that small values need no branch."""
    if value >= _THOUSAND:
        return put_padded(out, at, value, count_digits(value))
    first, second, third = _SMALL[value, 0], _SMALL[value, 1], _SMALL[value, 2]
    out[at], out[at + U(1)], out[at + U(2)] = first, second, third
    return at + U(_SMALL[value, 3])


@kernel
def put_signed(out, at, value):
    """An int64."""
    if value < 0:
        out[at] = MINUS
        return put_unsigned(out, at + U(1), U(0) - U(value))
    return put_unsigned(out, at, U(value))


@kernel
def put_bytes(out, at, data, begin, stop):
    """Bytes `begin` to `stop` of `data`."""
    for place in range(stop - begin):
        out[at + U(place)] = data[begin + U(place)]
    return at + (stop - begin)
