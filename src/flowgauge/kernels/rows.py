"""Move records out of their table, whatever their layout: tables are seen as 64-bit words."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import kernel, prefetch
from flowgauge.kernels.packet import CACHE_LINE

AHEAD = 8  # rows: memory is slower than copying
_WORDS_OF_LINE = CACHE_LINE // 8


@kernel
def take_rows(table, width, slots, out):
    """Copy the records `slots` of `table`, `width` words each, to `out`, and zero them behind."""
    for i in range(len(slots)):
        if i + AHEAD < len(slots):
            for word in range(0, width, _WORDS_OF_LINE):
                prefetch(table, slots[i + AHEAD] * width + word)
        begin = np.int64(slots[i]) * width
        for word in range(width):
            out[i * width + word] = table[begin + word]
            table[begin + word] = np.uint64(0)
