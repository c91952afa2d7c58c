"""Doubles as the shortest decimal that reads back as the same double.

Values with at most nine decimals (all times in s, most counts) take a short way. The others take the
algorithm Schubfach: R. Giulietti, "The Schubfach way to render doubles" (2021). The digits are
those of Python's repr; the notation differs (see :func:`put_float`).
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper, multiply_high
from flowgauge.kernels.digits import MINUS, count_digits, put_bytes, put_padded, put_signed, put_unsigned

U = np.uint64
MAX_FLOAT = 32  # bytes of the longest text: sign, "0.", eight zeros, 17 digits

_NINE = 1e9
_DENSE = 2.0**23  # below it doubles lie closer than 1e-9
_HIDDEN = U(1 << 52)
_MIN_POWER, _MAX_POWER = -292, 324
_ZERO, _DOT, _E = (np.uint8(ord(character)) for character in "0.e")
_NAN, _INF = (np.frombuffer(text, np.uint8).copy() for text in (b"nan", b"inf"))


def _power(exponent: int) -> int:
    """10**exponent scaled to 128 bits, rounded up."""
    if exponent >= 0:
        value = 10**exponent
        shift = value.bit_length() - 128
        return -(-value >> shift) if shift > 0 else value << -shift
    value = 10**-exponent
    return -(-(1 << (127 + value.bit_length())) // value)


_SCALED = [_power(exponent) for exponent in range(_MIN_POWER, _MAX_POWER + 1)]
_POWER_HI = np.array([power >> 64 for power in _SCALED], np.uint64)
_POWER_LO = np.array([power & (1 << 64) - 1 for power in _SCALED], np.uint64)


@helper
def _product(hi, lo, value):
    """(hi, lo) × value as three uint64, the upper one first."""
    carried = multiply_high(lo, value)
    middle = hi * value + carried
    return multiply_high(hi, value) + U(middle < carried), middle, lo * value


@helper
def _plus(a, b):
    low = a[2] + b[2]
    middle = a[1] + b[1]
    carried = middle + U(low < b[2])
    return a[0] + b[0] + U(middle < b[1]) + U(carried < middle), carried, low


@helper
def _minus(a, b):
    low = a[2] - b[2]
    middle = a[1] - b[1]
    borrowed = middle - U(a[2] < b[2])
    return a[0] - b[0] - U(a[1] < b[1]) - U(middle < borrowed), borrowed, low


@helper
def _shifted(hi, lo, left):
    """(hi, lo) × 2^left as three uint64 (0 < left < 64)."""
    right = U(64) - left
    return hi >> right, hi << left | lo >> right, lo << left


@helper
def _odd(product):
    """The upper word, rounded to odd: its last bit says whether anything was cut off."""
    return product[0] | U(product[1] > U(1))


@helper
def _scaled(bits):
    """(value, lower, upper, exponent) of a positive finite double, in quarters of 10^exponent.

    Every decimal above `lower` - 1 and below `upper` + 1 reads back as the double.
    """
    biased = np.int64(bits >> U(52))
    mantissa = bits & (_HIDDEN - U(1))
    lopsided = mantissa == U(0) and biased > 1  # the gap below a power of two is half the one above
    binary = max(biased, 1) - 1075
    if biased:
        mantissa |= _HIDDEN
    exponent = (binary * 1262611 - 524031 * lopsided) >> 22  # floor(log10(2^binary)), of 3/4 of it if lopsided
    shift = U(binary + ((-exponent * 1741647) >> 19) + 1)
    hi, lo = _POWER_HI[-exponent - _MIN_POWER], _POWER_LO[-exponent - _MIN_POWER]
    value = _product(hi, lo, mantissa << (shift + U(2)))
    lower = _minus(value, _shifted(hi, lo, shift + U(1) - U(lopsided)))
    upper = _plus(value, _shifted(hi, lo, shift + U(1)))
    odd = mantissa & U(1)
    return _odd(value), _odd(lower) + odd, _odd(upper) - odd, exponent


@helper
def shortest(bits):
    """(digits, exponent) of a positive finite double, given as its bits: digits × 10^exponent."""
    value, lower, upper, exponent = _scaled(bits)
    tens = value // U(40)
    inside, above = lower <= U(40) * tens, U(40) * tens + U(40) <= upper
    if tens and inside != above:
        return tens + U(above), exponent + 1
    ones = value >> U(2)
    inside, above = lower <= U(4) * ones, U(4) * ones + U(4) <= upper
    if inside != above:
        return ones + U(above), exponent
    middle = U(4) * ones + U(2)
    return ones + U(value > middle or (value == middle and ones & U(1) == U(1))), exponent


@helper
def _trim(out, at):
    """The end of a text without its trailing zeros."""
    while out[at - U(1)] == _ZERO:
        at -= U(1)
    return at


@inline_helper
def _put_nines(out, at, count):
    """A number of 1e-9 as a decimal, without trailing zeros but for one behind the point."""
    whole = count // U(1_000_000_000)
    at = put_unsigned(out, at, whole)
    out[at], out[at + U(1)] = _DOT, _ZERO
    rest = count - whole * U(1_000_000_000)
    if rest == U(0):
        return at + U(2)
    return _trim(out, put_padded(out, at + U(1), rest, U(9)))


@helper
def _put_zeros(out, at, count):
    for place in range(count):
        out[at + U(place)] = _ZERO
    return at + count


@helper
def _put_pointed(out, at, digits, count, point):
    """`count` digits with a decimal point behind the first `point` of them (0 < point < count)."""
    stop = put_padded(out, at + U(1), digits, count)
    for place in range(point):
        out[at + U(place)] = out[at + U(place) + U(1)]
    out[at + point] = _DOT
    return stop


@helper
def _put_exponent(out, at, digits, count, point):
    if count > U(1):
        at = _put_pointed(out, at, digits, count, U(1))
    else:
        at = put_unsigned(out, at, digits)
    out[at] = _E
    return put_signed(out, at + U(1), point - 1)


@helper
def _put_decimal(out, at, digits, exponent):
    while digits % U(10) == U(0):
        digits //= U(10)
        exponent += 1
    count = count_digits(digits)
    point = np.int64(count) + exponent
    if point < -8 or point > 17:
        return _put_exponent(out, at, digits, count, point)
    if point <= 0:
        out[at], out[at + U(1)] = _ZERO, _DOT
        return put_padded(out, _put_zeros(out, at + U(2), U(-point)), digits, count)
    if exponent < 0:
        return _put_pointed(out, at, digits, count, U(point))
    at = _put_zeros(out, put_unsigned(out, at, digits), U(exponent))
    out[at], out[at + U(1)] = _DOT, _ZERO
    return at + U(2)


@inline_helper
def put_float(out, at, value, bits):
    """A double, given also as its bits; `out` needs MAX_FLOAT bytes.

    Decimal notation (1.0, 0.25) from 1e-9 to 1e17, exponents (1.5e-10) beyond; nan, inf and -inf
    for what is no number.
    """
    if value != value:
        return put_bytes(out, at, _NAN, U(0), U(3))
    if bits >> U(63):
        out[at] = MINUS
        at += U(1)
        value = -value
        bits &= U(0x7FFFFFFFFFFFFFFF)
    if value < _DENSE:
        count = np.int64(value * _NINE + 0.5)
        if count / _NINE == value:
            return _put_nines(out, at, U(count))
    elif value == np.inf:
        return put_bytes(out, at, _INF, U(0), U(3))
    return _put_decimal(out, at, *shortest(bits))
