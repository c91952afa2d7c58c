"""Decimal digits."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowgauge.kernels import digits
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.digits import MAX_INTEGER, U


@kernel
def put_signed(out, at, value):
    return digits.put_signed(out, at, value)


@kernel
def put_unsigned(out, at, value):
    return digits.put_unsigned(out, at, value)


@kernel
def put_padded(out, at, value, count):
    return digits.put_padded(out, at, value, count)


@kernel
def count_digits(value):
    return digits.count_digits(value)


def written(put, value, *more) -> str:
    """The text that a kernel writes at position 3, and nothing in front of it."""
    out = np.full(MAX_INTEGER + 3, ord("?"), np.uint8)
    stop = int(put(out, U(3), value, *more))
    assert bytes(out[:3]) == b"???"
    return out[3:stop].tobytes().decode()


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
@example(-(2**63))
@example(0)
@example(-1)
def test_signed_integers_are_written_as_python_does(value: int) -> None:
    """Every int64 is its decimal digits behind a minus sign where it is negative."""
    assert written(put_signed, np.int64(value)) == str(value)


@settings(deadline=None)
@given(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2000)))
def test_unsigned_integers_are_written_as_python_does(value: int) -> None:
    """Every uint64 is its decimal digits, and count_digits says how many."""
    assert written(put_unsigned, U(value)) == str(value)
    assert count_digits(U(value)) == len(str(value))


@settings(deadline=None)
@given(st.integers(0, 10**9 - 1), st.integers(1, 9))
def test_padded_digits_are_the_last_ones(value: int, count: int) -> None:
    """A fixed number of digits is padded with zeros and loses the leading ones."""
    assert written(put_padded, U(value), U(count)) == str(value).zfill(count)[-count:]
