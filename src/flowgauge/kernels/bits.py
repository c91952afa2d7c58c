"""Sets of small numbers, as bits of 64-bit words: `words` is (set, word)."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, leading_zeros

U = np.uint64
ALL = U(0xFFFFFFFFFFFFFFFF)
WORD = U(64)


@helper
def _low_bits(count):
    """A word whose lowest `count` bits (up to 64) are set."""
    return ALL if count >= WORD else (U(1) << count) - U(1)


@helper
def put_bits(words, which, begin, end):
    """Add the numbers begin..end, both unsigned, to a set."""
    at = begin
    while at < end:
        word, first = at // WORD, at % WORD
        count = min(end - at, WORD - first)
        words[which, word] |= _low_bits(count) << first
        at += count


@helper
def leading_bits(words, which, first, most):
    """How many of the numbers 0, 1, 2 … below `most` are there without a gap; word `first` begins with 0."""
    for word in range((most + 63) >> 6):
        gaps = ~words[which, first + word]
        if gaps != U(0):
            lowest = U(63) - leading_zeros(gaps & (~gaps + U(1)))
            return min(np.int64(most), np.int64(word << 6) + np.int64(lowest))
    return np.int64(most)
