"""Fingerprints of hello messages as the strings that are hashed: JA3 and JA3S, and JA4.

JA3: J. Althouse, J. Atkinson, J. Atkins, "Open sourcing JA3" (2017). JA4: J. Althouse, "JA4+ network fingerprinting"
(2023), its specification of TLS clients, as JA4_r: sorted, not hashed. All leave GREASE out.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import put_quad, rare_byte_helper
from flowgauge.kernels.bytes import be16, be32, swap32
from flowgauge.kernels.facts import JA3, JA3S, JA4, begin_text, put_byte, put_hex, put_number
from flowgauge.kernels.hello import (
    EXTENSION_ALPN,
    EXTENSION_GROUPS,
    EXTENSION_POINT_FORMATS,
    EXTENSION_SERVER_NAME,
    EXTENSION_SIGNATURES,
    extension,
    first_protocol,
    highest_version,
    is_grease,
    vector,
)

U, U8, U32 = np.uint64, np.uint8, np.uint32

CODE, EXTENSION = U(2), U(4)  # bytes of an item of a list: a number; the type and the length of an extension
_COMMA, _HYPHEN, _UNDERSCORE, _ZERO = (U8(ord(character)) for character in ",-_0")
_LETTERS = np.array([ord(letter) for letter in "tqd"], np.uint8)  # of what carries the hello
_VERSIONS = np.array([0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002, 0xFEFF, 0xFEFD, 0xFEFC], np.uint64)
_VERSION_NAMES = np.frombuffer(b"13121110s3s2d1d2d3", np.uint8).copy()
_MOST = U(99)


@rare_byte_helper
def _next_item(data, at, kind):
    return at + CODE if kind == CODE else at + EXTENSION + be16(data, at + U(2))


@rare_byte_helper
def _count(data, begin, end, kind):
    """Items of a list, at most 99."""
    count, at = U(0), begin
    while at + kind <= end:
        if not is_grease(be16(data, at)):
            count += U(1)
        at = _next_item(data, at, kind)
    return min(count, _MOST)


@rare_byte_helper
def _put_decimals(data, begin, end, kind, fact, which, out):
    """The items of a list as JA3 writes them."""
    at, is_first = begin, True
    while at + kind <= end:
        code = be16(data, at)
        at = _next_item(data, at, kind)
        if is_grease(code):
            continue
        if not is_first:
            put_byte(fact, which, out, _HYPHEN)
        put_number(fact, which, out, code)
        is_first = False


@rare_byte_helper
def _put_point_formats(data, begin, end, fact, out):
    at = begin
    while at < end:
        if at > begin:
            put_byte(fact, JA3, out, _HYPHEN)
        put_number(fact, JA3, out, U(data[at]))
        at += U(1)


@rare_byte_helper
def put_ja3(data, version, lists, fact, out):
    """Version, ciphers, extensions, groups, point formats."""
    ciphers, ciphers_end, extensions, extensions_end = lists
    begin_text(fact, JA3)
    put_number(fact, JA3, out, version)
    put_byte(fact, JA3, out, _COMMA)
    _put_decimals(data, ciphers, ciphers_end, CODE, fact, JA3, out)
    put_byte(fact, JA3, out, _COMMA)
    _put_decimals(data, extensions, extensions_end, EXTENSION, fact, JA3, out)
    put_byte(fact, JA3, out, _COMMA)
    body, body_end = extension(data, extensions, extensions_end, EXTENSION_GROUPS)
    groups, groups_end = vector(data, body, body_end, U(2))
    _put_decimals(data, groups, groups_end, CODE, fact, JA3, out)
    put_byte(fact, JA3, out, _COMMA)
    body, body_end = extension(data, extensions, extensions_end, EXTENSION_POINT_FORMATS)
    formats, formats_end = vector(data, body, body_end, U(1))
    _put_point_formats(data, formats, formats_end, fact, out)


@rare_byte_helper
def put_ja3s(data, version, cipher, extensions, extensions_end, fact, out):
    """Version, cipher, extensions of the server's hello."""
    begin_text(fact, JA3S)
    put_number(fact, JA3S, out, version)
    put_byte(fact, JA3S, out, _COMMA)
    put_number(fact, JA3S, out, cipher)
    put_byte(fact, JA3S, out, _COMMA)
    _put_decimals(data, extensions, extensions_end, EXTENSION, fact, JA3S, out)


@rare_byte_helper
def _put_hexes(data, begin, end, kind, fact, out):
    """The items of a list as JA4 writes them, in their order; server name and ALPN are in its first part."""
    at, is_first = begin, True
    while at + kind <= end:
        code = be16(data, at)
        at = _next_item(data, at, kind)
        if is_grease(code) or (kind == EXTENSION and (code == EXTENSION_SERVER_NAME or code == EXTENSION_ALPN)):
            continue
        if not is_first:
            put_byte(fact, JA4, out, _COMMA)
        put_hex(fact, JA4, out, code, 4)
        is_first = False


@rare_byte_helper
def _swap(out, a, b):
    first, second = be32(out, a), be32(out, b)
    put_quad(out, a, U32(swap32(second)))
    put_quad(out, b, U32(swap32(first)))


@rare_byte_helper
def _sift(out, base, root, count):
    """Let an item sink to its place in the heap of those behind it."""
    child = U(2) * root + U(1)
    while child < count:
        if child + U(1) < count and be32(out, base + U(5) * child) < be32(out, base + U(5) * child + U(5)):
            child += U(1)
        if be32(out, base + U(5) * root) >= be32(out, base + U(5) * child):
            return
        _swap(out, base + U(5) * root, base + U(5) * child)
        root = child
        child = U(2) * root + U(1)


@rare_byte_helper
def _sort(out, base, count):
    """Sort items of four hexadecimal digits and a comma by heapsort: no list, however long, makes it quadratic."""
    root = count // U(2)
    while root > U(0):
        root -= U(1)
        _sift(out, base, root, count)
    while count > U(1):
        count -= U(1)
        _swap(out, base, base + U(5) * count)
        _sift(out, base, U(0), count)


@rare_byte_helper
def _put_sorted(data, begin, end, kind, fact, out):
    base = U(fact.stop)
    _put_hexes(data, begin, end, kind, fact, out)
    _sort(out, base, (U(fact.stop) - base + U(1)) // U(5))


@rare_byte_helper
def _put_version(version, fact, out):
    for i in range(len(_VERSIONS)):
        if _VERSIONS[i] == version:
            put_byte(fact, JA4, out, _VERSION_NAMES[2 * i])
            put_byte(fact, JA4, out, _VERSION_NAMES[2 * i + 1])
            return
    put_byte(fact, JA4, out, _ZERO)
    put_byte(fact, JA4, out, _ZERO)


@rare_byte_helper
def _put_two_digits(value, fact, out):
    put_byte(fact, JA4, out, _ZERO + U8(value // U(10)))
    put_byte(fact, JA4, out, _ZERO + U8(value % U(10)))


@rare_byte_helper
def _is_alphanumeric(byte):
    return 0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A


@rare_byte_helper
def _put_protocol(data, begin, end, fact, out):
    """First and last character of the first protocol; of its hexadecimal digits where one is not alphanumeric."""
    name, name_end = first_protocol(data, begin, end)
    if name == name_end:
        put_byte(fact, JA4, out, _ZERO)
        put_byte(fact, JA4, out, _ZERO)
        return
    first, last = data[name], data[name_end - U(1)]
    if _is_alphanumeric(first) and _is_alphanumeric(last):
        put_byte(fact, JA4, out, first)
        put_byte(fact, JA4, out, last)
    else:
        put_hex(fact, JA4, out, U(first) >> U(4), 1)
        put_hex(fact, JA4, out, U(last), 1)


@rare_byte_helper
def put_ja4(data, version, lists, carrier, fact, out):
    """Its three parts, each behind an underscore but the first."""
    ciphers, ciphers_end, extensions, extensions_end = lists
    begin_text(fact, JA4)
    put_byte(fact, JA4, out, _LETTERS[carrier])
    _put_version(highest_version(data, extensions, extensions_end, version, carrier), fact, out)
    _, named = extension(data, extensions, extensions_end, EXTENSION_SERVER_NAME)
    put_byte(fact, JA4, out, U8(0x69) if named == U(0) else U8(0x64))  # i, d
    _put_two_digits(_count(data, ciphers, ciphers_end, CODE), fact, out)
    _put_two_digits(_count(data, extensions, extensions_end, EXTENSION), fact, out)
    _put_protocol(data, extensions, extensions_end, fact, out)
    put_byte(fact, JA4, out, _UNDERSCORE)
    _put_sorted(data, ciphers, ciphers_end, CODE, fact, out)
    put_byte(fact, JA4, out, _UNDERSCORE)
    _put_sorted(data, extensions, extensions_end, EXTENSION, fact, out)
    body, body_end = extension(data, extensions, extensions_end, EXTENSION_SIGNATURES)
    signatures, signatures_end = vector(data, body, body_end, U(2))
    if _count(data, signatures, signatures_end, CODE) > U(0):
        put_byte(fact, JA4, out, _UNDERSCORE)
        _put_hexes(data, signatures, signatures_end, CODE, fact, out)
