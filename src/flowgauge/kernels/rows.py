"""Move records out of their table, whatever their layout: rows are seen as 64-bit words."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import kernel


@kernel
def take_rows(table, slots, out):
    """Copy rows `slots` of `table` to `out`, both (rows, words), and zero them behind."""
    for i in range(len(slots)):
        slot = slots[i]
        for word in range(table.shape[1]):
            out[i, word] = table[slot, word]
            table[slot, word] = np.uint64(0)
