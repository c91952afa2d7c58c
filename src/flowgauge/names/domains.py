"""Registrable domains by the public suffix list (publicsuffix.org): `www.example.co.uk` is of `example.co.uk`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

_LONGEST = 253  # characters of a name (RFC 1035 §3.1, without length octets)
# Names that nobody registers: RFC 6761, 6762, 8375 and 9476, and those that ICANN has set aside for homes and offices.
_RESERVED = frozenset(
    ("alt", "arpa", "corp", "example", "home", "internal", "invalid", "lan", "local", "localhost", "test")
)


def registrable(name: str) -> str | None:
    """The registrable domain of a host name: its public suffix and one label more, in lower case.

    Both parts of the list count, so that `a.github.io` is a domain of its own; a top-level domain that the list does
    not know is a public suffix. Labels stay as they come, as Unicode or `xn--…`; dots at the end do not matter. None
    for addresses, single labels, public suffixes, names that nobody can register (`.local`, `.arpa`, …) and what is
    no name.
    """
    labels = name.lower().rstrip(".").split(".")
    if len(labels) < 2 or len(name) > _LONGEST + 1 or not all(labels) or _is_address(labels):
        return None
    if labels[-1] in _RESERVED:
        return None
    wire = [_wire_form(label) for label in labels]
    found = _list().privatesuffix(".".join(wire))
    return None if found is None else ".".join(labels[-1 - found.count(".") :])


def _is_address(labels: list[str]) -> bool:
    """An IPv4 address ends in a number, which no top-level domain does; in an IPv6 address are colons."""
    return labels[-1].isdecimal() or any(":" in label for label in labels)


def _wire_form(label: str) -> str:
    """A label as the list has it; one that has no such form stays, and is unknown to the list."""
    if label.isascii():
        return label
    try:
        return label.encode("idna").decode("ascii")
    except UnicodeError:
        return label


@functools.cache
def _list() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()
