"""Take packets, with the bytes that are needed of them, out of the buffer of their source, to be metered elsewhere."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_kernel, helper
from flowgauge.kernels.packet import METERED, NO_IP_HEADER, OVERHEARD

U = np.uint64
ALL_BYTES = np.int64(1 << 62)


@helper
def _wanted(q, most):
    """How many of a packet's captured bytes are taken: up to the end of so many of its innermost IP packet."""
    if most == ALL_BYTES and (q.reason == METERED or q.reason == OVERHEARD):
        return U(q.caplen)
    if most == 0 or q.reason != METERED or q.ip_header == NO_IP_HEADER:
        return U(0)
    before = U(q.payload_offset) - U(q.header_len) - U(q.ip_header) * U(4) - U(q.offset)
    return min(U(q.caplen), before + U(most))


@byte_kernel
def take_bytes(p, begin, rows, data, most, out, at):
    """Copy the bytes of rows `begin` to `rows` into `out` from `at` on, and let the rows point at them.

    Returns (the first row that was not done, the place behind the bytes): `out` is full where that is not `rows`.
    """
    place = U(at)
    for i in range(begin, rows):
        q = p.packets[i]
        count = _wanted(q, most)
        if place + count > U(len(out)):
            return i, np.int64(place)
        if count == U(0):
            q.offset = q.payload_offset = 0
            continue
        first = U(q.offset)
        for k in range(count):
            out[place + U(k)] = data[first + U(k)]
        q.payload_offset = np.uint32(place + (U(q.payload_offset) - first))
        q.offset = np.uint32(place)
        place += count
    return rows, np.int64(place)
