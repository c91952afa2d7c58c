"""What the walks over capture records share: the cursor, their verdicts and 32-bit integers of either byte order."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import be32, swap32

U = np.uint64

CURSOR = np.dtype(
    [
        ("at", np.uint64),  # next byte to walk, in the buffer
        ("end", np.uint64),  # first byte of the buffer that holds no input
        ("origin", np.int64),  # offset of the buffer's first byte in the uncompressed input
        ("row", np.int64),  # next row to fill
        ("number", np.int64),  # frames so far
    ],
    align=True,
)
"""Where a walk stands; written before each record, so that a walk can be resumed."""

# Verdicts of a walk: why it stopped at `at`.
MORE, FULL, DESCRIPTION, BAD_RECORD, BAD_BLOCK, BAD_PACKET, NEW_KEY = range(7)

MAX_RECORD = U(128 << 20)
"""Captured bytes of the longest record that is believed; Wireshark's limit."""

NO_TIME = np.int64(-(1 << 63))
"""`time` of a record that has none, until the clock has run over it."""

LATEST = np.int64((1 << 62) - 1)
"""Times are kept within ± this (the year 2116), so that the difference of any two fits into 64 bits."""


@byte_helper
def word(data, at, big):
    """The 32-bit integer at byte `at` of bytes; big-endian where `big` is not 0."""
    value = be32(data, at)
    return value if big != U(0) else swap32(value)


@byte_helper
def aligned_word(words, at, foreign):
    """The 32-bit integer at byte `at`, a multiple of 4; not in this machine's order where `foreign` is not 0."""
    value = U(words[at >> U(2)])
    return swap32(value) if foreign != U(0) else value
