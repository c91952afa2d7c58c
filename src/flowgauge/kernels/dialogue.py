"""FTP, SMTP, POP3 and IMAP, which begin with a line of text: what it is a sign of is a set of bits, one a service.

A greeting such as `220 ready` may be of several; words in it, the other side's first line, or the port tell which.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.servicelist import BOTH, CANDIDATE, FORM, FTP, IMAP, POP3, SIGNATURE, SMTP, UNKNOWN
from flowgauge.kernels.text import CR, LF, SPACE, find, folded, is_printable, packed, small, word

U = np.uint64
_FTP, _SMTP, _POP3, _IMAP, _SURE = (1 << bit for bit in range(5))
_ANY = _FTP | _SMTP | _POP3 | _IMAP
_LONGEST_LINE = U(512)  # RFC 5321 §4.5.3.1.4
_LONGEST_TAG = U(16)

# Small letters of the first bytes (and how many), and what they are signs of; `_SURE`: of nothing else in use.
_COMMANDS = [
    (b"user ", _FTP | _POP3),
    (b"auth", _FTP | _SMTP | _POP3),
    (b"quit", _FTP | _SMTP | _POP3),
    (b"ehlo ", _SMTP | _SURE),
    (b"helo ", _SMTP | _SURE),
    (b"lhlo ", _SMTP | _SURE),
    (b"capa", _POP3),
    (b"apop ", _POP3 | _SURE),
    (b"stls", _POP3),
    (b"feat", _FTP),
    (b"syst", _FTP),
]
_GREETINGS = [
    (b"220 ", _FTP | _SMTP),
    (b"220-", _FTP | _SMTP),
    (b"+OK", _POP3),
    (b"* OK ", _IMAP),
    (b"* PREAUT", _IMAP),
]
_TAGGED = [(b"capabili", _IMAP), (b"login ", _IMAP), (b"authenti", _IMAP), (b"starttls", _IMAP)]
_PORTS = np.array(
    [(21, _FTP), (25, _SMTP), (587, _SMTP), (2525, _SMTP), (110, _POP3), (143, _IMAP), (24, _SMTP)], np.int64
)


def _table(rows: list[tuple[bytes, int]], is_folded: bool) -> np.ndarray:
    """Rows of word, mask and signs."""
    masks = [packed(b"\xff" * len(text)) for text, _ in rows]
    words = [(small(text) if is_folded else packed(text)) & mask for (text, _), mask in zip(rows, masks, strict=True)]
    return np.array([(first, mask, row[1]) for first, mask, row in zip(words, masks, rows, strict=True)], np.uint64)


_COMMAND_TABLE, _GREETING_TABLE, _TAGGED_TABLE = (
    _table(_COMMANDS, True),
    _table(_GREETINGS, False),
    _table(_TAGGED, True),
)
_SMTP_WORD, _FTP_WORD, _IMAP_WORD, _POP_WORD = (
    U(int.from_bytes(word, "big")) for word in (b"smtp", b"ftp", b"imap", b"pop")
)
_THREE = U(0xFFFFFF)


@rare_byte_helper
def _looked_up(first, table):
    for row in range(len(table)):
        if first & table[row, 1] == table[row, 0]:
            return np.int64(table[row, 2])
    return 0


@rare_byte_helper
def _words(data, at, end):
    """Which services a line's words name."""
    four, signs = U(0), 0
    while at < end:
        four = (four << U(8) | U(data[at] | 0x20)) & U(0xFFFFFFFF)
        if four == _SMTP_WORD:
            signs |= _SMTP
        elif four == _IMAP_WORD:
            signs |= _IMAP
        elif four & _THREE == _FTP_WORD:
            signs |= _FTP
        elif four & _THREE == _POP_WORD:
            signs |= _POP3
        at += U(1)
    return signs


@rare_byte_helper
def line_signs(data, at, end):
    """What a side's first line is a sign of: bits, 0 for nothing."""
    first = word(data, at, end)
    signs = _looked_up(first, _GREETING_TABLE)
    stop = find(data, at, min(end, at + _LONGEST_LINE), LF)
    if signs != 0:
        named = _words(data, at, stop) & signs
        return named | _SURE if named == _FTP or named == _SMTP or named == _POP3 or named == _IMAP else signs
    signs = _looked_up(folded(data, at, end), _COMMAND_TABLE)
    if signs == 0:
        space = find(data, at, min(stop, at + _LONGEST_TAG), SPACE)
        if space == at or space >= stop or data[space] != SPACE:
            return 0
        signs = _looked_up(folded(data, space + U(1), stop), _TAGGED_TABLE)
    if signs != 0 and stop > at and stop < end and data[stop - U(1)] == CR:
        stop -= U(1)
    return signs if is_printable(data, at, stop) else 0


@rare_byte_helper
def _of_bit(signs):
    """The one service that is left, or UNKNOWN."""
    signs &= _ANY
    if signs == _FTP:
        return FTP
    if signs == _SMTP:
        return SMTP
    if signs == _POP3:
        return POP3
    return IMAP if signs == _IMAP else UNKNOWN


@rare_byte_helper
def _lowest(signs):
    return _of_bit(signs & -signs)


@rare_byte_helper
def of_signs(signs, client_port, server_port):
    """(service, confidence) of one side's signs."""
    if signs & _ANY == 0:
        return UNKNOWN, CANDIDATE
    if signs & _SURE:
        return _of_bit(signs), SIGNATURE
    for row in range(len(_PORTS)):
        if _PORTS[row, 1] & signs and (_PORTS[row, 0] == client_port or _PORTS[row, 0] == server_port):
            return _of_bit(_PORTS[row, 1]), FORM
    return _lowest(signs), CANDIDATE


@rare_byte_helper
def of_both(up, down, client_port, server_port):
    """(service, confidence) of both sides' signs; UNKNOWN where they have no service in common."""
    common = up & down & _ANY
    if common == 0:
        return UNKNOWN, CANDIDATE
    service = _of_bit(common)
    if service != UNKNOWN:
        return service, BOTH
    return of_signs(common, client_port, server_port)
