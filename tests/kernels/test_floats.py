"""Doubles as text."""

from __future__ import annotations

import math
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowgauge.kernels import floats
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.digits import U
from flowgauge.kernels.floats import MAX_FLOAT

MEANS = st.builds(lambda total, count: total / count, st.integers(0, 10**13), st.integers(1, 10**5))


@kernel
def put_float(out, at, value, bits):
    return floats.put_float(out, at, value, bits)


def text_of(value: float) -> str:
    """What put_float writes, which never needs more than MAX_FLOAT bytes."""
    double = np.float64(value)
    out = np.zeros(MAX_FLOAT, np.uint8)
    return out[: int(put_float(out, U(0), double, double.view(np.uint64)))].tobytes().decode()


@settings(deadline=None)
@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), MEANS, MEANS.map(math.sqrt)))
@example(-0.0)
@example(5e-324)
@example(1.7976931348623157e308)
@example(2.2250738585072014e-308)
@example(-1.2345678901234567e-9)
@example(9007199254740993.0)
@example(8984157.040375034)
def test_text_is_the_shortest_that_reads_back(value: float) -> None:
    """Every finite double reads back the same, zero's sign included, from the digits that repr has."""
    text = text_of(value)
    assert struct_equal(float(text), value)
    assert Decimal(text) == Decimal(repr(value))


def struct_equal(one: float, other: float) -> bool:
    """Whether two doubles are the same bits."""
    return one.hex() == other.hex()


@pytest.mark.parametrize("exponent", range(-1074, 1024, 23))
def test_powers_of_two_have_their_shortest_text(exponent: int) -> None:
    """The gap below a power of two is half the one above, and its text is still that of repr."""
    for value in (math.ldexp(1.0, exponent), math.ldexp(1.0, exponent) * (1 - 2**-53)):
        assert Decimal(text_of(value)) == Decimal(repr(value))


def test_powers_of_ten_are_one_digit() -> None:
    """1e-323 to 1e308 are written with one digit other than zero."""
    for exponent in range(-323, 309):
        assert re.sub(r"[0.]|e.*", "", text_of(float(f"1e{exponent}"))) == "1", exponent


@settings(deadline=None)
@given(st.integers(0, 2**53))
def test_whole_nanoseconds_are_plain_decimals(count: int) -> None:
    """A number of 1e-9 is a decimal without exponent and without trailing zeros behind its first decimal."""
    value = count / 1e9
    text = text_of(value)
    assert re.fullmatch(r"\d+\.(\d*[1-9]|0)", text)
    assert float(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-2.5, "-2.5"),
        (1500.0, "1500.0"),
        (1e-9, "0.000000001"),
        (1.25e-10, "1.25e-10"),
        (1e16, "10000000000000000.0"),
        (1e17, "1e17"),
        (1.5e300, "1.5e300"),
        (100 / 3, "33.333333333333336"),
        (1 / 3e6, "0.00000033333333333333335"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_notation(value: float, text: str) -> None:
    """Decimals from 1e-9 to 1e17 always with a point, exponents beyond, words for what is no number."""
    assert text_of(value) == text
