"""What is shown of a text that came from packets: safe to print, hashed where its definition says so, or hidden."""

from __future__ import annotations

import hashlib
import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NO_LIST = "0" * 12


def plain(text: bytes) -> str:
    """The text, with what is no UTF-8, or would change how a terminal shows the rest, as \\xNN or \\uNNNN.

    That is control characters (C0, DEL and C1), line and paragraph separators, and marks of writing direction.
    """
    return _UNSAFE.sub(_escape, text.decode("utf-8", "backslashreplace"))


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def md5(text: bytes) -> str:
    """As JA3 and HASSH are defined."""
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def ja4(text: bytes) -> str:
    """JA4 of the text JA4_r: a_b_c, of which b and c are hashed."""
    first, ciphers, rest = (*text.split(b"_", 2), b"", b"")[:3]
    return f"{plain(first)}_{_short_hash(ciphers)}_{_short_hash(rest)}"


def _short_hash(listed: bytes) -> str:
    return hashlib.sha256(listed).hexdigest()[: len(_NO_LIST)] if listed else _NO_LIST
