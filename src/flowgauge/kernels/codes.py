"""Numbers for the values of a column: the first value that appears is 0, the next one 1, and so on.

Two kinds: `code_of` for values of up to 136 bits, found again in a hash table, and `small_code_of` for bytes. Both are
emptied by the caller, between batches; the table without touching its places, by the number of the batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels._jit import inline_helper, kernel

U = np.uint64
LOW = U(0xFFFFFFFF)
SEEDS = 6

PLACE = np.dtype(
    [("hi", np.uint64), ("lo", np.uint64), ("epoch", np.uint32), ("code", np.int32), ("kind", np.uint8)], align=True
)
"""A value where it was put; the place is free where `epoch` is not that of the table."""
CODES = np.dtype([("epoch", np.uint32), ("count", np.int32)], align=True)


class Codes(NamedTuple):
    """The values that have a number: at that index of `hi`, `lo` and `kind`. A power of two of `places`."""

    state: Any  # one CODES
    places: Any  # record array of PLACE
    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    seed: NDArray[np.uint64]


class SmallCodes(NamedTuple):
    """Several columns of bytes: number of each value or -1, values in order, and how many there are."""

    code: NDArray[np.int32]  # (column, value)
    value: NDArray[np.uint8]  # (column, number)
    count: NDArray[np.int64]


@inline_helper
def _find(codes, hi, lo, kind):
    """Where a value is, or the free place where it belongs. The hash is multilinear (Lemire and Kaser 2014): universal
    for a secret seed."""
    seed, last, epoch = codes.seed, U(len(codes.places) - 1), codes.state[0].epoch
    total = (seed[0] + (hi >> U(32))) * (seed[1] + (hi & LOW)) + seed[4] * U(kind)
    total += (seed[2] + (lo >> U(32))) * (seed[3] + (lo & LOW)) + seed[5]
    at = (total >> U(32)) & last
    while True:
        place = codes.places[at]
        if place.epoch != epoch or (place.lo == lo and place.hi == hi and place.kind == kind):
            return at
        at = (at + U(1)) & last


@inline_helper
def code_of(codes, hi, lo, kind):
    """The number of a value, a new one where it was not seen. Half of the places have to be free."""
    state, place = codes.state[0], codes.places[_find(codes, hi, lo, kind)]
    if place.epoch != state.epoch:
        code = state.count
        place.hi, place.lo, place.kind, place.epoch, place.code = hi, lo, kind, state.epoch, code
        codes.hi[code], codes.lo[code], codes.kind[code] = hi, lo, kind
        state.count = code + 1
    return place.code


@kernel
def put_again(codes):
    """Find places for all values, in a table that is new."""
    epoch = codes.state[0].epoch
    for code in range(codes.state[0].count):
        hi, lo, kind = codes.hi[code], codes.lo[code], codes.kind[code]
        place = codes.places[_find(codes, hi, lo, kind)]
        place.hi, place.lo, place.kind, place.epoch, place.code = hi, lo, kind, epoch, code


@inline_helper
def small_code_of(codes, column, value):
    """The number of a byte, a new one where it was not seen."""
    code = codes.code[column, value]
    if code < 0:
        code = np.int32(codes.count[column])
        codes.code[column, value], codes.value[column, code] = code, value
        codes.count[column] = code + 1
    return code
