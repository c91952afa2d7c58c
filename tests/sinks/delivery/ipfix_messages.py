"""A decoder of IPFIX messages that shares nothing with the encoder, for templates of fixed length."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

NAMES = {
    **{1: "octets", 2: "packets", 4: "protocol", 6: "flags", 7: "source_port", 8: "source", 11: "destination_port"},
    **{12: "destination", 27: "source", 28: "destination", 32: "icmp", 52: "ttl_min", 53: "ttl_max", 56: "source_mac"},
    **{58: "vlan", 60: "version", 80: "destination_mac", 136: "end_reason", 139: "icmp", 148: "flow", 152: "start_ms"},
    **{153: "end_ms", 156: "start_ns", 157: "end_ns", 195: "dscp", 239: "direction", 245: "inner_vlan"},
}


class Message(NamedTuple):
    """One message: its header, the templates that it brings and its records."""

    length: int
    time: int
    sequence: int
    domain: int
    templates: list[int]
    records: list[dict[str, Any]]


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def value(name: str, data: bytes) -> Any:
    if name in ("source", "destination"):
        return str(ipaddress.ip_address(data))
    if name.endswith("_mac"):
        return data.hex(":")
    if name.endswith("_ns"):  # NTP: seconds since 1900 and a fraction of 2^32
        seconds, fraction = number(data[:4]) - 2_208_988_800, number(data[4:])
        return seconds * 10**9 + round(fraction * 10**9 / 2**32)
    return number(data)


def decode(datagrams: Iterable[bytes]) -> list[Message]:
    """All messages of a session, in order."""
    templates: dict[int, list[tuple[str, int]]] = {}
    found = []
    for data in datagrams:
        assert number(data[0:2]) == 10 and number(data[2:4]) == len(data)
        brought, records, at = [], [], 16
        while at < len(data):
            kind, size = number(data[at : at + 2]), number(data[at + 2 : at + 4])
            body = data[at + 4 : at + size]
            if kind == 2:
                brought += read_templates(body, templates)
            else:
                records += read_records(body, templates[kind])
            at += size
        header = (number(data[4:8]), number(data[8:12]), number(data[12:16]))
        found.append(Message(len(data), *header, brought, records))
    return found


def read_templates(body: bytes, templates: dict[int, list[tuple[str, int]]]) -> list[int]:
    found, at = [], 0
    while at < len(body):
        identity, count = number(body[at : at + 2]), number(body[at + 2 : at + 4])
        fields, at = [], at + 4
        for _ in range(count):
            element, length = number(body[at : at + 2]), number(body[at + 2 : at + 4])
            at += 4
            name = NAMES[element & 0x7FFF]
            if element & 0x8000:
                assert number(body[at : at + 4]) == 29305
                name, at = f"reverse_{name}", at + 4
            fields.append((name, length))
        templates[identity] = fields
        found.append(identity)
    return found


def read_records(body: bytes, fields: list[tuple[str, int]]) -> list[dict[str, Any]]:
    size = sum(length for _, length in fields)
    assert len(body) % size == 0 and body
    found = []
    for begin in range(0, len(body), size):
        record, at = {}, begin
        for name, length in fields:
            record[name] = value(name, body[at : at + length])
            at += length
        found.append(record)
    return found


def cut(stream: bytes) -> list[bytes]:
    """The messages of a TCP connection."""
    found, at = [], 0
    while at < len(stream):
        size = number(stream[at + 2 : at + 4])
        found.append(stream[at : at + size])
        at += size
    return found
