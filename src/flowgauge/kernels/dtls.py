"""DTLS: handshake messages in fragments in records in datagrams (RFC 6347 §4.2, RFC 9147 §5).

A direction is a sequence of datagrams, each behind its length of two bytes. Messages are put together as those of TLS:
type, length, body.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be16
from flowgauge.kernels.hello import CERTIFICATE_MESSAGE, CLIENT_HELLO, OVER_DTLS, SERVER_HELLO, be24
from flowgauge.kernels.tls import (
    HANDSHAKE,
    copy_bytes,
    dissect_client_hello,
    dissect_server_hello,
    put_certificate,
    room,
)

U, U8 = np.uint64, np.uint8

_RECORD, _FRAGMENT, _MESSAGE = U(13), U(12), U(4)  # bytes of headers: record, fragment, message without its fragment
_VERSION = 0xFE  # first byte of every one
_PASSES = 4  # over fragments that are out of order


@rare_byte_helper
def _next_fragment(data, at, record_end, datagram_end, end):
    """The next fragment from `at` on, the ends of its record and its datagram; all are `end` behind the last one."""
    while at + _FRAGMENT > record_end:
        at = record_end
        if at + _RECORD <= datagram_end and data[at + U(1)] == _VERSION:
            record_end = min(at + _RECORD + be16(data, at + U(11)), datagram_end)
            is_clear = data[at] == HANDSHAKE and be16(data, at + U(3)) == U(0)  # epoch 0
            at = at + _RECORD if is_clear else record_end
        elif datagram_end + U(2) <= end:
            at = datagram_end + U(2)
            datagram_end = min(at + be16(data, datagram_end), end)
            record_end = at
        else:
            return end, end, end
    return at, record_end, datagram_end


@rare_byte_helper
def _copy(data, begin, size, out, to):
    """As many of the bytes as `out` has room for."""
    limit = U(len(out))
    if to < limit:
        copy_bytes(data, begin, min(size, limit - to), out, to)


@rare_byte_helper
def _pass(data, begin, end, kind, number, got, out, base):
    """Put together what follows of the message of this type and number (of the first one: 65536), in one pass.

    Returns its number, how many bytes of its body there are, and how many it has.
    """
    at, record_end, datagram_end, total = begin, begin, begin, U(0)
    while True:
        at, record_end, datagram_end = _next_fragment(data, at, record_end, datagram_end, end)
        if at + _FRAGMENT > record_end:
            return number, got, total
        begins, size = be24(data, at + U(6)), be24(data, at + U(9))
        body, at = at + _FRAGMENT, min(at + _FRAGMENT + size, record_end)
        if U(data[body - _FRAGMENT]) != kind or (number < U(65536) and be16(data, body - U(8)) != number):
            continue
        number, total = be16(data, body - U(8)), be24(data, body - U(11))
        if begins <= got < begins + (at - body) and begins + (at - body) <= total:
            _copy(data, body + got - begins, begins + (at - body) - got, out, base + _MESSAGE + got)
            got = begins + (at - body)


@rare_byte_helper
def _gather(data, begin, end, kind, out, base):
    """Put the first message of a type together at out[base:]; its end there, `base` if none, and whether it is whole.

    With no room behind `base` it only says whether it is whole.
    """
    number, got, total = U(65536), U(0), U(0)
    for _ in range(_PASSES):
        before = got
        number, got, total = _pass(data, begin, end, kind, number, got, out, base)
        if number == U(65536) or got == total or got == before:
            break
    is_there, limit = number < U(65536), U(len(out))
    if is_there and base + _MESSAGE <= limit:
        out[base] = U8(kind)
        out[base + U(1)] = U8(total >> U(16))
        out[base + U(2)] = U8(total >> U(8) & U(0xFF))
        out[base + U(3)] = U8(total & U(0xFF))
        return min(base + _MESSAGE + got, limit), got == total
    return base, is_there and got == total


@rare_byte_helper
def is_whole_dtls_hello(data, begin, end, is_up):
    """Whether these datagrams hold all that :func:`dissect_dtls` reads of this direction."""
    nowhere = U(len(data))
    if is_up:
        _, is_whole = _gather(data, begin, end, CLIENT_HELLO, data, nowhere)
        return is_whole
    _, is_whole = _gather(data, begin, end, SERVER_HELLO, data, nowhere)
    _, is_certified = _gather(data, begin, end, CERTIFICATE_MESSAGE, data, nowhere)
    return is_whole and is_certified


@rare_byte_helper
def _dissect_direction(data, begin, end, fact, out):
    base = room(fact, out)
    stop, _ = _gather(data, begin, end, CLIENT_HELLO, out, base)
    dissect_client_hello(out, base, stop, OVER_DTLS, fact, out)
    base = room(fact, out)
    stop, _ = _gather(data, begin, end, SERVER_HELLO, out, base)
    dissect_server_hello(out, base, stop, fact, out)
    base = room(fact, out)
    stop, _ = _gather(data, begin, end, CERTIFICATE_MESSAGE, out, base)
    put_certificate(out, base, stop, fact, out)


@rare_byte_helper
def dissect_dtls(data, up_begin, up_end, down_begin, down_end, fact, out):
    """Both ends' first datagrams of a DTLS association; `out` as of :func:`flowgauge.kernels.tls.dissect_tls`."""
    _dissect_direction(data, up_begin, up_end, fact, out)
    _dissect_direction(data, down_begin, down_end, fact, out)
