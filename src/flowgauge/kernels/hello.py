"""Hello messages of TLS: what their lists hold, and the names and versions in them (RFC 8446 §4.1, RFC 5246 §7.4.1).

A message begins with its type and its length of three bytes, as in TLS; offsets are uint64. Every vector is clipped at
the end of what is there, so that a message that was cut off still gives what comes before.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be16
from flowgauge.kernels.facts import SERVER_NAME, TLS_ALPN, begin_text, put_byte

U = np.uint64

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE_MESSAGE = U(1), U(2), U(11)
OVER_TCP, OVER_QUIC, OVER_DTLS = 0, 1, 2
"""What carries a hello."""

EXTENSION_SERVER_NAME, EXTENSION_GROUPS, EXTENSION_POINT_FORMATS, EXTENSION_SIGNATURES = U(0), U(10), U(11), U(13)
EXTENSION_ALPN, EXTENSION_VERSIONS = U(16), U(43)
EXTENSION_ECH, EXTENSION_ESNI = U(0xFE0D), U(0xFFCE)  # RFC 9849, draft-ietf-tls-esni-02

TLS12, TLS13 = U(0x0303), U(0x0304)

_SESSION = U(38)  # bytes before the session id: type, length, version, random
_MAX_NAME = U(255)

# Characters of host names as they are written out: small letters, 0 for what no host name has.
_HOST = np.zeros(256, np.uint8)
for _byte in b"abcdefghijklmnopqrstuvwxyz0123456789-._":
    _HOST[_byte] = _byte
    _HOST[ord(chr(_byte).upper())] = _byte


@rare_byte_helper
def is_grease(code):
    """RFC 8701 §2."""
    return code & U(0x0F0F) == U(0x0A0A) and code >> U(8) == code & U(0xFF)


@rare_byte_helper
def be24(data, at):
    return U(data[at]) << U(16) | be16(data, at + U(1))


@rare_byte_helper
def message_end(data, begin):
    """Where the message that begins here ends, whether that is there or not; its first four bytes are."""
    return begin + U(4) + be24(data, begin + U(1))


@rare_byte_helper
def vector(data, at, end, width):
    """Begin and end of what follows its own length of one or two bytes."""
    if at + width > end:
        return end, end
    size = U(data[at]) if width == U(1) else be16(data, at)
    return at + width, min(at + width + size, end)


@rare_byte_helper
def client_lists(data, begin, end, carrier):
    """Begin and end of the cipher suites, and of the extensions."""
    _, at = vector(data, begin + _SESSION, end, U(1))
    if carrier == OVER_DTLS:
        _, at = vector(data, at, end, U(1))  # the cookie
    ciphers, ciphers_end = vector(data, at, end, U(2))
    _, at = vector(data, ciphers_end, end, U(1))  # compression methods
    extensions, extensions_end = vector(data, at, end, U(2))
    return ciphers, ciphers_end, extensions, extensions_end


@rare_byte_helper
def server_choice(data, begin, end):
    """Where the cipher suite is, and begin and end of the extensions; drafts of TLS 1.3 up to 21 have no session id."""
    if data[begin + U(4)] == 0x7F:
        cipher, at = begin + _SESSION, begin + _SESSION + U(2)
    else:
        _, cipher = vector(data, begin + _SESSION, end, U(1))
        at = cipher + U(3)
    extensions, extensions_end = vector(data, at, end, U(2))
    return cipher, extensions, extensions_end


@rare_byte_helper
def extension(data, begin, end, kind):
    """Begin and end of the body of the first extension of this type; 0 and 0 where there is none."""
    at = begin
    while at + U(4) <= end:
        stop = at + U(4) + be16(data, at + U(2))
        if be16(data, at) == kind:
            return at + U(4), min(stop, end)
        at = stop
    return U(0), U(0)


@rare_byte_helper
def highest_version(data, begin, end, legacy, carrier):
    """Highest version that a client offers in these extensions, else `legacy`; numbers of DTLS count down."""
    body, body_end = extension(data, begin, end, EXTENSION_VERSIONS)
    at, at_end = vector(data, body, body_end, U(1))
    best = U(0)
    while at + U(2) <= at_end:
        version = be16(data, at)
        at += U(2)
        if is_grease(version):
            continue
        higher = version < best if carrier == OVER_DTLS else version > best
        if best == U(0) or higher:
            best = version
    return legacy if best == U(0) else best


@rare_byte_helper
def plain_version(version):
    """The version as users know it: drafts of TLS 1.3, and Facebook's of it, are TLS 1.3."""
    family = version >> U(8)
    return TLS13 if family == U(0x7F) or family == U(0xFB) else version


@rare_byte_helper
def first_protocol(data, begin, end):
    """Begin and end of the first name in ALPN (RFC 7301 §3.1); equal where there is none, or not all of it."""
    body, body_end = extension(data, begin, end, EXTENSION_ALPN)
    at, at_end = vector(data, body, body_end, U(2))
    if at + U(1) > at_end or at + U(1) + U(data[at]) > at_end:
        return at_end, at_end
    return at + U(1), at + U(1) + U(data[at])


@rare_byte_helper
def put_alpn(data, begin, end, fact, out):
    """The first protocol that is offered, where it can be printed."""
    name, name_end = first_protocol(data, begin, end)
    at = name
    while at < name_end:
        if data[at] <= 0x20 or data[at] >= 0x7F:
            return
        at += U(1)
    begin_text(fact, TLS_ALPN)
    while name < name_end:
        put_byte(fact, TLS_ALPN, out, data[name])
        name += U(1)


@rare_byte_helper
def put_server_name(data, begin, end, fact, out):
    """The host name that the client asks for (RFC 6066 §3), in small letters and without a dot at its end."""
    body, body_end = extension(data, begin, end, EXTENSION_SERVER_NAME)
    at, at_end = vector(data, body, body_end, U(2))
    if at + U(3) > at_end or data[at] != 0:
        return
    name = at + U(3)
    name_end = name + be16(data, at + U(1))
    if name_end > at_end:
        return
    if name_end > name and data[name_end - U(1)] == 0x2E:
        name_end -= U(1)
    if name_end > name + _MAX_NAME:
        return
    at = name
    while at < name_end:
        if _HOST[data[at]] == 0:
            return
        at += U(1)
    begin_text(fact, SERVER_NAME)
    while name < name_end:
        put_byte(fact, SERVER_NAME, out, _HOST[data[name]])
        name += U(1)
