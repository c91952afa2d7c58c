"""Writes small databases in the MaxMind DB format (its specification, version 2.0), for tests."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_SEPARATOR = bytes(16)
_TEXT, _MAP, _EXTENDED = 2, 7, 0
_ARRAY = 11


class Small(int):
    """A number of 16 bits."""


class Large(int):
    """A number of 64 bits."""


_UNSIGNED = {Small: 5, int: 6, Large: 9}


def mmdb(networks: Mapping[str, Mapping[str, Any]], ip_version: int = 6) -> bytes:
    """A database with an entry for each network; those of IPv4 are in ::/96 of a database of version 6."""
    tree: list[list[Any]] = [[None, None]]
    data, places = b"", {}
    for text, entry in networks.items():
        places[text] = len(data)
        data += _encoded(dict(entry))
        _insert(tree, _bits(text, ip_version), text)
    count = len(tree)
    nodes = b"".join(struct.pack(">II", *(_record(side, places, count) for side in node)) for node in tree)
    about = {
        "node_count": count,
        "record_size": Small(32),
        "ip_version": Small(ip_version),
        "database_type": "Test",
        "languages": ["en"],
        "binary_format_major_version": Small(2),
        "binary_format_minor_version": Small(0),
        "build_epoch": Large(1_700_000_000),
        "description": {"en": "made by a test"},
    }
    return nodes + _SEPARATOR + data + _MARKER + _encoded(about)


def _bits(text: str, ip_version: int) -> str:
    network = ipaddress.ip_network(text)
    width = 32 if network.version == 4 else 128
    bits = f"{int(network.network_address):0{width}b}"[: network.prefixlen]
    return "0" * 96 + bits if ip_version == 6 and network.version == 4 else bits


def _insert(tree: list[list[Any]], bits: str, text: str) -> None:
    node = 0
    for bit in map(int, bits[:-1]):
        if tree[node][bit] is None:
            tree.append([None, None])
            tree[node][bit] = len(tree) - 1
        node = tree[node][bit]
    tree[node][int(bits[-1])] = text


def _record(side: Any, places: Mapping[str, int], count: int) -> int:
    if side is None:
        return count  # nothing is known
    return count + len(_SEPARATOR) + places[side] if isinstance(side, str) else side


def _encoded(value: Any) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return _control(_TEXT, len(text)) + text
    if isinstance(value, dict):
        return _control(_MAP, len(value)) + b"".join(_encoded(k) + _encoded(v) for k, v in value.items())
    if isinstance(value, list):
        return _control(_ARRAY, len(value)) + b"".join(map(_encoded, value))
    octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _control(_UNSIGNED[type(value)], len(octets)) + octets


def _control(kind: int, size: int) -> bytes:
    small, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind > 7:
        return bytes([_EXTENDED << 5 | small, kind - 7]) + more
    return bytes([kind << 5 | small]) + more
