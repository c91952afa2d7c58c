"""Write packets as enhanced packet blocks of pcapng (draft-ietf-opsawg-pcapng), in this machine's byte order."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import kernel

U = np.uint64
I64 = np.int64

ENHANCED = np.uint32(6)
BEFORE = U(28)  # bytes of a block in front of the packet's own
AROUND = U(32)  # and in all, but for the filling up to a multiple of 4
_LOW = U(0xFFFFFFFF)


@kernel
def write_blocks(p, begin, stop, data, out, words):
    """Write rows begin..stop of `p`, whose bytes lie in `data`, to the begin of `out`; `words` are those of `out`.

    Returns the first row that has no room, `stop` where all have, and the bytes that are written. Ranges are checked
    once for each packet, so that copying its bytes needs no checks.
    """
    at, row = U(0), begin
    while row < stop:
        q = p.packets[row]
        offset, time = min(U(q.offset), U(len(data))), U(q.time)
        caplen = min(U(q.caplen), U(len(data)) - offset)
        length = AROUND + ((caplen + U(3)) & ~U(3))
        if at + length > U(len(out)):
            break
        word = at >> U(2)
        words[word], words[word + U(1)], words[word + U(2)] = ENHANCED, length, 0
        words[word + U(3)], words[word + U(4)] = time >> U(32), time & _LOW
        end = at + length
        words[(end >> U(2)) - U(2)] = 0  # the filling; where there is none, this is written over
        words[(end >> U(2)) - U(1)] = length
        words[word + U(5)], words[word + U(6)] = caplen, q.frame_len
        to = at + BEFORE
        for byte in range(caplen):
            out[to + U(byte)] = data[offset + U(byte)]
        at = end
        row += 1
    return row, at
