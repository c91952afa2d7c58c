"""TLS: records (RFC 8446 §5.1), of which handshake messages are made, and what the hellos of both ends say.

A message may be split over records, and a record may hold several messages. A dissector puts the handshake bytes of a
direction one behind another at the end of `out`, where texts do not come: see :func:`room`.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import copy_word, rare_byte_helper
from flowgauge.kernels.bytes import be16
from flowgauge.kernels.facts import CERTIFICATE, begin_text, put_bytes
from flowgauge.kernels.fingerprints import put_ja3, put_ja3s, put_ja4
from flowgauge.kernels.hello import (
    CERTIFICATE_MESSAGE,
    CLIENT_HELLO,
    EXTENSION_ECH,
    EXTENSION_ESNI,
    EXTENSION_VERSIONS,
    OVER_TCP,
    SERVER_HELLO,
    TLS12,
    be24,
    client_lists,
    extension,
    highest_version,
    message_end,
    plain_version,
    put_alpn,
    put_server_name,
    server_choice,
)

U, U16 = np.uint64, np.uint16

ALERT, HANDSHAKE = 21, 22
_HEADER, _MAX_RECORD = U(5), U(16384 + 2048)
_HELLO = U(38)  # bytes of a hello before its session id
_TEXTS_OF_A_BYTE = U(10)  # bytes of `out` that a byte of a message and its texts take at most


@rare_byte_helper
def room(fact, out):
    """Where the part of `out` begins that texts of a message in it leave free."""
    size = U(len(out))
    return size - (size - min(U(fact.stop), size)) // _TEXTS_OF_A_BYTE


@rare_byte_helper
def _next_record(data, at, end):
    """Payload and length of the next handshake record, past alerts; length 0 where something else comes next."""
    while at + _HEADER <= end and data[at + U(1)] == 3:
        size = be16(data, at + U(3))
        if data[at] == HANDSHAKE and U(0) < size <= _MAX_RECORD:
            return at + _HEADER, size
        if data[at] != ALERT or size != U(2):
            break
        at = min(at + _HEADER + size, end)
    return at, U(0)


@rare_byte_helper
def _chunk(data, at, left, end, count):
    """Where the next handshake bytes begin, how many of `count` lie together (0: none), what the record has left."""
    if left == U(0):
        at, left = _next_record(data, at, end)
    size = min(min(left, end - at), count)
    return at, size, left - size


@rare_byte_helper
def _skip(data, at, left, end, count):
    """Behind the next handshake bytes, and whether they are there."""
    while count > U(0):
        at, size, left = _chunk(data, at, left, end, count)
        if size == U(0):
            return at, left, False
        at += size
        count -= size
    return at, left, True


@rare_byte_helper
def _number(data, at, left, end, width):
    """The next `width` handshake bytes as a number, what is behind, and whether they are there."""
    value = U(0)
    for _ in range(width):
        at, size, left = _chunk(data, at, left, end, U(1))
        if size == U(0):
            return value, at, left, False
        value = value << U(8) | U(data[at])
        at += U(1)
    return value, at, left, True


@rare_byte_helper
def _is_over(data, at, end):
    """Whether what comes next is no handshake record, as much of it as there is."""
    return at + _HEADER <= end or (at < end and data[at] != HANDSHAKE and data[at] != ALERT)


@rare_byte_helper
def is_whole_hello(data, begin, end, is_up):
    """Whether these first bytes of a direction hold all that :func:`dissect_tls` reads.

    Of the client that is its hello, of the server its hello and its first certificate, if that follows in clear. Which
    of them it is the message says; `is_up` is not looked at. True where no handshake message begins, or goes on.
    """
    kind, at, left, there = _number(data, begin, U(0), end, 1)
    if there and kind != CLIENT_HELLO and kind != SERVER_HELLO:
        return True
    size, at, left, there = _number(data, at, left, end, 3)
    if there:
        at, left, there = _skip(data, at, left, end, size)
    if there and kind == SERVER_HELLO:
        kind, at, left, there = _number(data, at, left, end, 1)
        if there and kind == CERTIFICATE_MESSAGE:
            _, at, left, there = _number(data, at, left, end, 6)  # lengths of the message and of its list
            size, at, left, there = _number(data, at, left, end, 3)
            if there:
                at, left, there = _skip(data, at, left, end, size)
    return there or (left == U(0) and _is_over(data, at, end))


@rare_byte_helper
def copy_bytes(data, begin, size, out, to):
    """`size` bytes, which both arrays have."""
    at, stop = begin, begin + size
    while at + U(8) <= stop:
        copy_word(out, to, data, at)
        at += U(8)
        to += U(8)
    while at < stop:
        out[to] = data[at]
        at += U(1)
        to += U(1)


@rare_byte_helper
def _deframe(data, begin, end, out, base):
    """Put the handshake bytes of a direction at out[base:]; returns where they end there."""
    at, left, to, limit = begin, U(0), base, U(len(out))
    while to < limit:
        at, size, left = _chunk(data, at, left, end, limit - to)
        if size == U(0):
            break
        copy_bytes(data, at, size, out, to)
        at += size
        to += size
    return to


@rare_byte_helper
def dissect_client_hello(data, begin, end, carrier, fact, out):
    """What a ClientHello says, a bare handshake message; fingerprints only where it is whole.

    `carrier`: OVER_TCP (0), OVER_QUIC (1) or OVER_DTLS (2), which is the first letter of JA4.
    """
    if begin + _HELLO > end or U(data[begin]) != CLIENT_HELLO:
        return
    stop = message_end(data, begin)
    is_whole, end = stop <= end, min(stop, end)
    if begin + _HELLO > end:
        return
    legacy = be16(data, begin + U(4))
    lists = client_lists(data, begin, end, carrier)
    _, _, extensions, extensions_end = lists
    if fact.tls_version == 0:
        fact.tls_version = U16(plain_version(highest_version(data, extensions, extensions_end, legacy, carrier)))
    put_server_name(data, extensions, extensions_end, fact, out)
    put_alpn(data, extensions, extensions_end, fact, out)
    _, ech = extension(data, extensions, extensions_end, EXTENSION_ECH)
    _, esni = extension(data, extensions, extensions_end, EXTENSION_ESNI)
    fact.tls_ech = 0 if ech == U(0) and esni == U(0) else 1
    if is_whole:
        put_ja3(data, legacy, lists, fact, out)
        put_ja4(data, legacy, lists, carrier, fact, out)


@rare_byte_helper
def dissect_server_hello(data, begin, end, fact, out):
    """What a ServerHello chose, a bare handshake message; one that is cut off may not tell its version."""
    if begin + _HELLO > end or U(data[begin]) != SERVER_HELLO:
        return
    stop = message_end(data, begin)
    is_whole, end = stop <= end, min(stop, end)
    if begin + _HELLO > end:
        return
    legacy = be16(data, begin + U(4))
    cipher, extensions, extensions_end = server_choice(data, begin, end)
    if cipher + U(2) > end:
        return
    fact.tls_cipher = U16(be16(data, cipher))
    chosen, chosen_end = extension(data, extensions, extensions_end, EXTENSION_VERSIONS)
    version = be16(data, chosen) if chosen + U(2) <= chosen_end else legacy
    if is_whole or version != TLS12:
        fact.tls_version = U16(plain_version(version))
    if is_whole:
        put_ja3s(data, legacy, be16(data, cipher), extensions, extensions_end, fact, out)


@rare_byte_helper
def put_certificate(data, begin, end, fact, out):
    """The first certificate of a Certificate message up to TLS 1.2 (RFC 5246 §7.4.2), where it is whole."""
    if begin + U(10) > end or U(data[begin]) != CERTIFICATE_MESSAGE:
        return
    size = be24(data, begin + U(7))
    if size > U(0) and begin + U(10) + size <= end:
        begin_text(fact, CERTIFICATE)
        put_bytes(fact, CERTIFICATE, data, begin + U(10), begin + U(10) + size, out)


@rare_byte_helper
def _dissect_direction(data, begin, end, fact, out):
    """What one end says: the message tells whether that is the client."""
    base = room(fact, out)
    stop = _deframe(data, begin, end, out, base)
    dissect_client_hello(out, base, stop, OVER_TCP, fact, out)
    dissect_server_hello(out, base, stop, fact, out)
    if base + U(4) <= stop and U(out[base]) == SERVER_HELLO:
        put_certificate(out, message_end(out, base), stop, fact, out)


@rare_byte_helper
def dissect_tls(data, up_begin, up_end, down_begin, down_end, fact, out):
    """Both ends' first bytes of a TLS connection, from the record layer on.

    `out` takes ten times the bytes of a direction behind `fact.stop`; with less room its end is not read.
    """
    _dissect_direction(data, up_begin, up_end, fact, out)
    _dissect_direction(data, down_begin, down_end, fact, out)
