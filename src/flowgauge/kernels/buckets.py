"""Buckets of about the same ratio, for histograms of numbers over many orders of magnitude.

An octave has PER_OCTAVE buckets; the middle of a bucket is within 2 % of every number in it (the bounds of DDSketch,
Masson, Rim and Lee 2019, with the octave taken from the number's bits instead of a logarithm).
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, leading_zeros

U = np.uint64
PER_OCTAVE = 18
_STEPS = 1024  # of an octave, each in one bucket as a whole
OCTAVES = 41
BUCKETS = OCTAVES * PER_OCTAVE + 2  # 0 has its own; the last one takes whatever is beyond


def _bucket_of_step() -> np.ndarray:
    return np.floor(PER_OCTAVE * np.log2(1 + np.arange(_STEPS) / _STEPS)).astype(np.uint8)


_OF_STEP = _bucket_of_step()


def _middles() -> np.ndarray:
    """For each bucket the number with the same relative distance to the smallest and the largest integer in it."""
    middles = np.zeros(BUCKETS)
    bounds = [np.searchsorted(_OF_STEP, place) for place in range(PER_OCTAVE)] + [_STEPS]
    for octave in range(OCTAVES):
        for place in range(PER_OCTAVE):
            low, high = ((_STEPS + int(bound)) * 2**octave for bound in bounds[place : place + 2])
            smallest, largest = -(-low // _STEPS), -(-high // _STEPS) - 1
            if smallest <= largest:
                middles[1 + octave * PER_OCTAVE + place] = 2 * smallest * largest / (smallest + largest)
    return middles


MIDDLES = _middles()


@helper
def bucket_of(value):
    """The bucket of an unsigned 64-bit number."""
    if value == U(0):
        return 0
    octave = U(63) - leading_zeros(value)
    if octave >= U(OCTAVES):
        return BUCKETS - 1
    step = value << U(10) >> octave
    return 1 + np.int64(octave) * PER_OCTAVE + np.int64(_OF_STEP[step - U(_STEPS)])
