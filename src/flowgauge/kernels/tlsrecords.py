"""The first TLS records of a connection (RFC 8446 §5.1): their lengths and directions, by sequence numbers.

Only headers are read: where the next one begins is known from the one before. The list ends at the first header that
the capture lacks, or that comes late.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.header import SYN
from flowgauge.kernels.sequence import after, plus

U8, U16, U32, U64, I64 = np.uint8, np.uint16, np.uint32, np.uint64, np.int64
MOST_RECORDS = 10
_HEADER = I64(5)
_FIRST_TYPE, _LAST_TYPE, _MAJOR = U64(20), U64(24), U64(3)


@byte_helper
def _read_header(q, f, d, data, at):
    """Read on in a header, from byte `at` of a segment; bytes read."""
    count = min(_HEADER - I64(f.carried[d]), I64(q.payload_caplen) - at)
    for place in range(count):
        byte = data[U64(q.payload_offset) + U64(at + place)]
        f.carry[d] = (U64(f.carry[d]) << U64(8) | U64(byte)) & U64(0xFFFFFFFFFF)
    f.carried[d] += U8(count)
    f.next[d] = plus(f.next[d], count)
    return count


@byte_helper
def _put_record(f, d):
    """Note the record whose header was read; whether it is one."""
    kind, major, length = f.carry[d] >> U64(32), f.carry[d] >> U64(24) & U64(0xFF), f.carry[d] & U64(0xFFFF)
    if kind < _FIRST_TYPE or kind > _LAST_TYPE or major != _MAJOR:
        return False
    f.record_len[f.records] = U16(length)
    f.record_down |= U16(d << I64(f.records))
    f.records += U8(1)
    f.next[d] = plus(f.next[d], I64(length))
    f.carried[d], f.carry[d] = U8(0), U64(0)
    return True


@byte_helper
def follow_records(q, f, d, data):
    """Note the records that begin in a segment; whether more can follow."""
    first = plus(q.tcp_seq, q.tcp_flags & SYN != 0)
    at = after(f.next[d], first)
    if at < 0:
        return False
    while at < I64(q.payload_len):
        if at >= I64(q.payload_caplen):
            return False
        at += _read_header(q, f, d, data, at)
        if I64(f.carried[d]) < _HEADER:
            continue
        if not _put_record(f, d):
            return False
        if f.records == MOST_RECORDS:
            return False
        at = after(f.next[d], first)
    return True
