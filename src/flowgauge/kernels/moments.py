"""Mean and sample deviation from exact integer sums; squares are summed in two 64-bit words."""

from __future__ import annotations

import math

import numpy as np

from flowgauge.kernels._jit import helper, multiply_high

U = np.uint64
TWO_64 = 2.0**64
TOP = U(0xFFFFFFFFFFFFFFFF)


@helper
def _multiply(a, b):
    """(low, high) words of the 128-bit product of two words."""
    return a * b, multiply_high(a, b)


@helper
def add_words(low, high, more_low, more_high):
    """Sum of two 128-bit numbers, each in (low, high) words."""
    total = low + more_low
    return total, high + more_high + U(total < low)


@helper
def add_square(low, high, value):
    """(low, high) + value², for any 64-bit value."""
    square_low, square_high = _multiply(value, value)
    return add_words(low, high, square_low, square_high)


@helper
def count_value(f, series, value):
    """Count an unsigned value into a series of a record: its `total`, squares, smallest (as TOP minus it, so that a
    record begins as zeros) and largest."""
    low, high = add_square(f.square_low[series], f.square_high[series], value)
    f.square_low[series], f.square_high[series] = low, high
    f.total[series] += value
    f.shortfall[series] = max(f.shortfall[series], TOP - value)
    f.largest[series] = max(f.largest[series], value)


@helper
def mean(total, count):
    """total / count; 0 where there is nothing."""
    return np.float64(total) / np.float64(count) if count > U(0) else 0.0


@helper
def deviation(total, low, high, count):
    """Sample standard deviation (n − 1); 0 below two values.

    n·Σx² − (Σx)² is formed exactly in 128 bits, so that nothing cancels.
    """
    if count < U(2):
        return 0.0
    n_low, n_high = _multiply(low, count)
    n_high += high * count
    minus_low, minus_high = _multiply(total, total)
    rest = n_high - minus_high - U(n_low < minus_low)
    n = np.float64(count)
    return math.sqrt((np.float64(rest) * TWO_64 + np.float64(n_low - minus_low)) / (n * (n - 1.0)))
