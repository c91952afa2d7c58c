"""Arithmetic of TCP sequence numbers, modulo 2^32 (RFC 9293 §3.4)."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import inline_helper
from flowgauge.kernels.header import FIN, RST, SYN

U32, I32, I64 = np.uint32, np.int32, np.int64
_MASK = I64(0xFFFFFFFF)


@inline_helper
def plus(number, distance):
    return U32(I64(number) + I64(distance) & _MASK)


@inline_helper
def beyond(a, b):
    """How far sequence number a lies beyond b, going up: 0 to 2^32 - 1."""
    return I64(a) - I64(b) & _MASK


@inline_helper
def after(a, b):
    """Distance from sequence number b to a as a signed number."""
    return I64(I32(U32(beyond(a, b))))


@inline_helper
def numbers_of(q):
    """Sequence numbers that a segment takes; the payload of an RST is none of the stream."""
    payload = I64(0) if q.tcp_flags & RST else I64(q.payload_len)
    return payload + I64(q.tcp_flags & SYN != 0) + I64(q.tcp_flags & FIN != 0)
