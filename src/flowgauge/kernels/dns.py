"""DNS messages (RFC 1035 §4): header, names, and the way from one resource record to the next.

All offsets are unsigned, and those of a message's pointers count from its `begin`. Whatever is broken ends the walk:
its offset is BROKEN, which lies behind every message.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper, inline_helper
from flowgauge.kernels.addresses import MAX_ADDRESS, put_v4, put_v6
from flowgauge.kernels.bytes import be16, be32, be64
from flowgauge.kernels.facts import put_byte
from flowgauge.kernels.header import TCP, UDP

U32, U64 = np.uint32, np.uint64

HEADER = U64(12)
BROKEN = U64(0xFFFFFFFFFFFFFFFF)
A, NS, CNAME, PTR, TXT, AAAA, SRV, HTTPS = (U64(kind) for kind in (1, 2, 5, 12, 16, 28, 33, 65))
INTERNET = U64(1)
CLASS_BITS = U64(0x7FFF)  # the highest bit is mDNS' own (RFC 6762 §10.2)
_RESPONSE, _OPCODE, _RCODE = U64(0x8000), U64(0x7800), U64(0xF)
_POINTER = U64(0xC0)
_MOST_LABEL = U64(63)
_MOST_NAME = U64(255)  # bytes of a name, RFC 1035 §2.3.4
_MOST_JUMPS = 32
MOST_RECORDS = 128  # that are walked of one message
_DOT = np.uint8(ord("."))
_PORTS = tuple(np.uint16(port) for port in (53, 5353, 5355))


@inline_helper
def is_dns(q):
    """Whether a packet may hold a DNS message."""
    for port in _PORTS:
        if q.src_port == port or q.dst_port == port:
            return q.protocol == UDP or q.protocol == TCP
    return False


@byte_helper
def has_header(data, begin, end):
    """Whether the bytes hold a header, and it is of a query (or mDNS' announcement) that asks or answers something."""
    if end < begin + HEADER or be16(data, begin + U64(2)) & _OPCODE:
        return False
    return question_count(data, begin) + answer_count(data, begin) > U64(0)


@byte_helper
def message_id(data, begin):
    return be16(data, begin)


@byte_helper
def is_response(data, begin):
    return be16(data, begin + U64(2)) & _RESPONSE != U64(0)


@byte_helper
def response_code(data, begin):
    return be16(data, begin + U64(2)) & _RCODE


@byte_helper
def question_count(data, begin):
    return be16(data, begin + U64(4))


@byte_helper
def answer_count(data, begin):
    return be16(data, begin + U64(6))


@byte_helper
def skip_name(data, end, at):
    """Where that begins which follows the name at `at`."""
    while at < end:
        size = U64(data[at])
        if size >= _POINTER:
            return at + U64(2) if at + U64(2) <= end else BROKEN
        if size > _MOST_LABEL:
            return BROKEN
        at += U64(1) + size
        if size == U64(0):
            return at
    return BROKEN


@byte_helper
def _target(data, begin, end, at):
    """Where a pointer points."""
    return begin + (be16(data, at) & U64(0x3FFF)) if at + U64(2) <= end else BROKEN


@byte_helper
def put_name(data, begin, end, at, fact, which, out):
    """Add a name, without its last dot, to the text that was begun; the root is a dot. Whether it is sound.

    Pointers lead backwards only, and few of them, so that there is no loop.
    """
    length, lowest, jumps = U64(0), at, 0
    while at < end:
        size = U64(data[at])
        if size >= _POINTER:
            to = _target(data, begin, end, at)
            jumps += 1
            if to >= lowest or jumps > _MOST_JUMPS:
                return False
            at = lowest = to
            continue
        if size == U64(0):
            if length == U64(0):
                put_byte(fact, which, out, _DOT)
            return True
        if size > _MOST_LABEL or size >= end - at or length + size + U64(1) > _MOST_NAME:
            return False
        if length > U64(0):
            put_byte(fact, which, out, _DOT)
        for place in range(size):
            put_byte(fact, which, out, data[at + U64(1) + U64(place)])
        length += size + U64(1)
        at += size + U64(1)
    return False


@byte_helper
def question_end(data, end, at):
    """Where that begins which follows the question at `at`."""
    at = skip_name(data, end, at)
    return BROKEN if at == BROKEN or end - at < U64(4) else at + U64(4)


@byte_helper
def questions_end(data, begin, end):
    """Where a message's answers begin."""
    at, left = begin + HEADER, min(question_count(data, begin), U64(MOST_RECORDS))
    while left > U64(0) and at != BROKEN:
        at = question_end(data, end, at)
        left -= U64(1)
    return at


@byte_helper
def question_type(data, end, at):
    """Type of the question at `at`; 0 where it is broken."""
    after = question_end(data, end, at)
    return U64(0) if after == BROKEN else be16(data, after - U64(4))


@byte_helper
def read_record(data, end, at):
    """Type and class of the resource record at `at`, where its data begin and end (which is where the next begins)."""
    at = skip_name(data, end, at)
    if at == BROKEN or end - at < U64(10):
        return U64(0), U64(0), BROKEN, BROKEN
    length = be16(data, at + U64(8))
    if length > end - at - U64(10):
        return U64(0), U64(0), BROKEN, BROKEN
    return be16(data, at), be16(data, at + U64(2)) & CLASS_BITS, at + U64(10), at + U64(10) + length


@byte_helper
def is_address(kind, kind_class, begin, end):
    """Whether a record's data are an address."""
    return kind_class == INTERNET and (
        (kind == A and end - begin == U64(4)) or (kind == AAAA and end - begin == U64(16))
    )


@byte_helper
def read_address(data, begin, end):
    """The halves of an address as a packet has them: of IPv4 the lower one."""
    if end - begin == U64(4):
        return U64(0), be32(data, begin)
    return be64(data, begin), be64(data, begin + U64(8))


@byte_helper
def put_address(data, begin, end, fact, which, out):
    """Add an address to the text that was begun."""
    if U64(fact.stop) + U64(MAX_ADDRESS) > U64(len(out)):
        fact.cut = 1
        return
    high, low = read_address(data, begin, end)
    at = U64(fact.stop)
    stop = put_v4(out, at, low) if end - begin == U64(4) else put_v6(out, at, high, low)
    fact.length[which] += U32(stop - at)
    fact.stop = U32(stop)
