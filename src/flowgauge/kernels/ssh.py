"""SSH: identification strings (RFC 4253 §4.2), and what HASSH hashes of the algorithms offered (§7.1).

HASSH is the MD5 of a client's lists `key exchange;encryption;MAC;compression`, of those that it names for its own
direction; HASSH server is that of a server's lists for the other one.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import rare_byte_helper
from flowgauge.kernels.bytes import be32
from flowgauge.kernels.facts import HASSH, HASSH_SERVER, SSH_CLIENT, SSH_SERVER, begin_text, put_byte, put_bytes
from flowgauge.kernels.text import LF, find, packed, trimmed, word

U = np.uint64
_SSH, _SSH_BITS = packed(b"SSH-"), packed(b"\xff" * 4)
_LONGEST_LINE = U(255)
_KEXINIT = np.uint8(20)
_COOKIE = U(16)
_LISTS = 8  # up to the compression lists
_SEMICOLON = np.uint8(ord(";"))


@rare_byte_helper
def is_ssh(data, at, end):
    """`SSH-2.0-…` or `SSH-1.…`."""
    if end < at + U(8) or word(data, at, end) & _SSH_BITS != _SSH:
        return False
    major = data[at + U(4)]
    return (major == 49 or major == 50) and data[at + U(5)] == 46


@rare_byte_helper
def _key_exchange(data, begin, end):
    """Where the first list of a KEXINIT begins and its packet ends; (end, end) where it is not whole."""
    line = find(data, begin, min(end, begin + _LONGEST_LINE), LF)
    at = line + U(1)
    if end < at + U(6) or data[line] != LF or data[at + U(5)] != _KEXINIT:
        return end, end
    size = be32(data, at)
    if size > end - at - U(4):
        return end, end
    return at + U(6) + _COOKIE, at + U(4) + size


@rare_byte_helper
def is_whole_key_exchange(data, begin, end):
    """Whether the line and the key exchange packet behind it are there."""
    return _key_exchange(data, begin, end)[0] < end


@rare_byte_helper
def _list_end(data, at, end):
    """Where a name-list ends; 0 where it is not whole."""
    if end < at + U(4):
        return U(0)
    size = be32(data, at)
    return U(0) if size > end - at - U(4) else at + U(4) + size


@rare_byte_helper
def _lists_are_whole(data, at, end):
    for _ in range(_LISTS):
        at = _list_end(data, at, end)
        if at == U(0):
            return False
    return True


@rare_byte_helper
def _put_lists(data, at, end, side, fact, which, out):
    """Lists 0 (key exchange), then of encryption (2, 3), MAC (4, 5) and compression (6, 7) that of a side."""
    if not _lists_are_whole(data, at, end):
        return
    begin_text(fact, which)
    for number in range(_LISTS):
        stop = _list_end(data, at, end)
        if number == 0 or (number >= 2 and number % 2 == side):
            if number > 0:
                put_byte(fact, which, out, _SEMICOLON)
            put_bytes(fact, which, data, at + U(4), stop, out)
        at = stop


@rare_byte_helper
def _dissect_side(data, begin, end, side, line_text, list_text, fact, out):
    if not is_ssh(data, begin, end):
        return
    at, stop = trimmed(data, begin, find(data, begin, min(end, begin + _LONGEST_LINE), LF))
    begin_text(fact, line_text)
    put_bytes(fact, line_text, data, at, stop, out)
    at, stop = _key_exchange(data, begin, end)
    if at < stop:
        _put_lists(data, at, stop, side, fact, list_text, out)


@rare_byte_helper
def dissect_ssh(data, up_begin, up_end, down_begin, down_end, fact, out):
    """Both sides' identification strings and lists."""
    _dissect_side(data, up_begin, up_end, 0, SSH_CLIENT, HASSH, fact, out)
    _dissect_side(data, down_begin, down_end, 1, SSH_SERVER, HASSH_SERVER, fact, out)
