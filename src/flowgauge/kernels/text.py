"""Text in packet bytes: the first eight as one number, which a single comparison tells; lines; header fields.

Offsets are unsigned, `end` is never beyond the bytes. A range that is not found is an empty one.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import be64

U = np.uint64
_SMALL = U(0x2020202020202020)  # the bit that small letters have and capital letters have not
CR, LF, SPACE, TAB, COLON, SLASH, QUESTION, HASH, DOT, AT, OPEN, CLOSE = (np.uint8(ord(c)) for c in "\r\n \t:/?#.@[]")

HOST, AGENT, CONTENT_TYPE = U(1), U(2), U(3)


def packed(text: bytes) -> np.uint64:
    """Up to eight bytes as :func:`word` reads them where no more follow."""
    return U(int.from_bytes(text.ljust(8, b"\0"), "big"))


def small(text: bytes) -> np.uint64:
    """Up to eight small letters, digits or dashes as :func:`folded` reads them."""
    return packed(text) | _SMALL


def prefixes(*texts: bytes) -> np.ndarray:
    """One row a text of up to eight bytes: the bytes, and which bits of a word they are."""
    rows = [(packed(text), packed(b"\xff" * len(text))) for text in texts]
    return np.array(rows, np.uint64)


def _field(name: bytes, meaning: np.uint64) -> tuple[np.uint64, ...]:
    return small(name[:8]), small(name[-8:]), U(len(name)), meaning


# First and last letters, length and meaning of the header fields that are read.
_FIELDS = np.array(
    [
        _field(b"host", HOST),
        _field(b"user-agent", AGENT),
        _field(b"server", AGENT),
        _field(b"content-type", CONTENT_TYPE),
    ],
    np.uint64,
)


@byte_helper
def word(data, at, end):
    """The bytes from `at` on, eight at most, as one big-endian number; zeros where there are fewer."""
    if at >= end:
        return U(0)
    if end - at >= U(8):
        return be64(data, at)
    value, shift = U(0), U(56)
    while at < end:
        value |= U(data[at]) << shift
        shift -= U(8)
        at += U(1)
    return value


@byte_helper
def folded(data, at, end):
    """The same in small letters; spaces where there are fewer."""
    return word(data, at, end) | _SMALL


@byte_helper
def which_prefix(first, table):
    """The row of `table` (see :func:`prefixes`) that a word begins with, or -1."""
    for row in range(len(table)):
        if first & table[row, 1] == table[row, 0]:
            return row
    return -1


@byte_helper
def find(data, at, end, byte):
    """Where a byte is, or `end`."""
    while at < end and data[at] != byte:
        at += U(1)
    return at


@byte_helper
def trimmed(data, at, end):
    """A range without the white space around it."""
    while at < end and (data[at] == SPACE or data[at] == TAB):
        at += U(1)
    while end > at and (data[end - U(1)] == SPACE or data[end - U(1)] == TAB or data[end - U(1)] == CR):
        end -= U(1)
    return at, end


@byte_helper
def is_printable(data, at, end):
    """Whether a range is not empty and of ASCII's visible characters, spaces and tabs."""
    if at >= end:
        return False
    while at < end:
        byte = data[at]
        if (byte < 32 and byte != TAB) or byte > 126:
            return False
        at += U(1)
    return True


@byte_helper
def _meaning(data, at, colon):
    """What a header field is, 0 for all others."""
    size = colon - at
    first = folded(data, at, colon)
    for row in range(len(_FIELDS)):
        fits = first == _FIELDS[row, 0] and size == _FIELDS[row, 2]
        if fits and (size <= U(8) or folded(data, colon - U(8), colon) == _FIELDS[row, 1]):
            return _FIELDS[row, 3]
    return U(0)


@byte_helper
def head_end(data, at, end):
    """Where the empty line behind a message's header ends, or `end` where there is none yet; and whether there is."""
    while at < end:
        at = find(data, at, end, LF) + U(1)
        if at < end and data[at] == LF:
            return at + U(1), True
        if at + U(1) < end and data[at] == CR and data[at + U(1)] == LF:
            return at + U(2), True
    return end, False


@byte_helper
def read_fields(data, at, end):
    """Ranges of a header's fields, of which the first of its kind counts: host, agent (or server), content type."""
    host = host_end = agent = agent_end = kind = kind_end = end
    while at < end and data[at] != CR and data[at] != LF:
        stop = find(data, at, end, LF)
        colon = find(data, at, stop, COLON)
        meaning = _meaning(data, at, colon)
        if meaning != U(0) and colon < stop:
            begin, last = trimmed(data, colon + U(1), stop)
            if meaning == HOST and host == host_end:
                host, host_end = begin, last
            elif meaning == AGENT and agent == agent_end:
                agent, agent_end = begin, last
            elif meaning == CONTENT_TYPE and kind == kind_end:
                kind, kind_end = begin, last
        at = stop + U(1)
    return host, host_end, agent, agent_end, kind, kind_end


@byte_helper
def without_port(data, at, end):
    """The host of `host:port`, `user@host` or `[address]:port`."""
    sign = find(data, at, end, AT)
    if sign < end:
        at = sign + U(1)
    if at < end and data[at] == OPEN:
        return at + U(1), find(data, at, end, CLOSE)
    return at, find(data, at, end, COLON)
