"""Packets, frames and captures for the tests, built from the inside out.

    sent(0, eth(ip4(tcp(40000, 443, "S", seq=1000))))

A :class:`Layer` is the bytes of a header and all that it carries, with the number by which the
header in front announces it. Nothing here computes a checksum: none is verified.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from typing import NamedTuple

from captures import write_pcap, write_pcapng

SECOND = 1_000_000_000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
START = 1_700_000_000 * SECOND
"""Time 0 of the hand-written sequences."""

ETHERNET, RAW_IP, NULL, LOOP, SLL, SLL2, RAW_IPV4, RAW_IPV6 = 1, 101, 0, 108, 113, 276, 228, 229

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
A6, B6 = "2001:db8::1", "2001:db8::2"
MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


class Layer(NamedTuple):
    """`number` is the IP protocol of a transport, the EtherType of an IP packet."""

    number: int
    data: bytes


class Sent(NamedTuple):
    """One record of a capture: time in ns (None: without), captured bytes, bytes on the wire."""

    time: int | None
    data: bytes
    length: int
    link: int = ETHERNET


def sent(
    seconds: float, data: bytes, *, link: int = ETHERNET, nanoseconds: int = 0, captured: int | None = None
) -> Sent:
    """A frame at START + seconds, cut to `captured` bytes."""
    return Sent(START + round(seconds * SECOND) + nanoseconds, data[:captured], len(data), link)


# Transport

FLAGS = "FSRPAUEC"


def tcp(
    source: int,
    destination: int,
    flags: str = "A",
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    *,
    window: int = 65535,
    scale: int | None = None,
    mss: int | None = None,
    sack: bool = False,
    offset: int | None = None,
) -> Layer:
    """RFC 9293 §3.1. `scale`, `mss` and `sack` add those options; `offset` overrides the data offset."""
    options = b"" if scale is None else bytes((1, 3, 3, scale))
    options += b"" if mss is None else struct.pack("!BBH", 2, 4, mss)
    options += bytes((1, 1, 4, 2)) if sack else b""
    bits = sum(1 << FLAGS.index(flag) for flag in flags)
    words = 5 + len(options) // 4 if offset is None else offset
    header = struct.pack("!HHIIBBHHH", source, destination, seq % 2**32, ack % 2**32, words << 4, bits, window, 0, 0)
    return Layer(6, header + options + payload)


def udp(source: int, destination: int, payload: bytes = b"", *, length: int | None = None) -> Layer:
    """RFC 768; `length` overrides the length field."""
    said = 8 + len(payload) if length is None else length
    return Layer(17, struct.pack("!HHHH", source, destination, said, 0) + payload)


def sctp(source: int, destination: int, payload: bytes = b"") -> Layer:
    """RFC 9260 §3.1, the common header."""
    return Layer(132, struct.pack("!HHII", source, destination, 0, 0) + payload)


def icmp(kind: int, code: int = 0, payload: bytes = b"") -> Layer:
    return Layer(1, bytes((kind, code, 0, 0)) + payload)


def icmp6(kind: int, code: int = 0, payload: bytes = b"") -> Layer:
    return Layer(58, bytes((kind, code, 0, 0)) + payload)


def other(protocol: int, payload: bytes = b"") -> Layer:
    """Any other protocol."""
    return Layer(protocol, payload)


# Network


def ip4(
    content: Layer,
    source: str = A,
    destination: str = B,
    *,
    length: int | None = None,
    version: int = 4,
    words: int | None = None,
    options: bytes = b"",
    identification: int = 0,
    offset: int = 0,
    more: bool = False,
    ttl: int = 64,
    tos: int = 0,
) -> Layer:
    """RFC 791. `length` and `words` override total length and IHL; `offset` is in 8-byte units."""
    ihl = 5 + len(options) // 4 if words is None else words
    total = 20 + len(options) + len(content.data) if length is None else length
    header = struct.pack(
        "!BBHHHBBH4s4s",
        version << 4 | ihl,
        tos,
        total,
        identification,
        more << 13 | offset,
        ttl,
        content.number,
        0,
        ipaddress.IPv4Address(source).packed,
        ipaddress.IPv4Address(destination).packed,
    )
    return Layer(0x0800, header + options + content.data)


def ip6(
    content: Layer,
    source: str = A6,
    destination: str = B6,
    *,
    length: int | None = None,
    version: int = 6,
    ttl: int = 64,
    tos: int = 0,
) -> Layer:
    """RFC 8200 §3. `length` overrides the payload length."""
    said = len(content.data) if length is None else length
    header = struct.pack("!IHBB", version << 28 | tos << 20, said, content.number, ttl)
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    return Layer(0x86DD, header + addresses + content.data)


def extension(kind: int, content: Layer, *, units: int = 0) -> Layer:
    """An IPv6 extension header before `content`: 0 hop-by-hop, 43 routing, 60 destination, 51 AH.

    `units` is its length field: 8-byte units beyond the first, for AH 4-byte units less 2.
    """
    size = (units + 2) * 4 if kind == 51 else (units + 1) * 8
    return Layer(kind, bytes((content.number, units)) + bytes(size - 2) + content.data)


def jumbo(content: Layer, length: int | None = None, *, before: bytes = b"") -> Layer:
    """A hop-by-hop header with other options and the jumbo payload option (RFC 2675); `length` overrides its value."""
    size = -(-(8 + len(before)) // 8) * 8
    said = size + len(content.data) if length is None else length
    options = before + b"\xc2\x04" + struct.pack("!I", said)
    header = bytes((content.number, size // 8 - 1)) + options
    return Layer(0, header + bytes(size - len(header)) + content.data)


def fragment6(content: Layer, *, identification: int = 0, offset: int = 0, more: bool = False) -> Layer:
    """RFC 8200 §4.5, the fragment header; `offset` is in 8-byte units."""
    return Layer(44, struct.pack("!BBHI", content.number, 0, offset << 3 | more, identification) + content.data)


# Link


def eth(
    content: Layer,
    source: bytes = MAC_A,
    destination: bytes = MAC_B,
    *,
    vlans: Iterable[int | tuple[int, int]] = (),
    padding: int = 0,
) -> bytes:
    """Ethernet II; `vlans` are ids or (EtherType, id), outermost first; `padding` are bytes behind IP."""
    return destination + source + _tagged(content.number, vlans) + content.data + bytes(padding)


def _tagged(ethertype: int, vlans: Iterable[int | tuple[int, int]]) -> bytes:
    """EtherTypes and tags, to the EtherType of what is carried."""
    tags = [(0x8100, tag) if isinstance(tag, int) else tag for tag in vlans]
    return b"".join(struct.pack("!HH", kind, tag) for kind, tag in tags) + struct.pack("!H", ethertype)


def snap(content: Layer, source: bytes = MAC_A, destination: bytes = MAC_B) -> bytes:
    """IEEE 802.3 with LLC and SNAP (RFC 1042)."""
    body = b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", content.number) + content.data
    return destination + source + struct.pack("!H", len(body)) + body


def llc_ip(content: Layer, source: bytes = MAC_A, destination: bytes = MAC_B) -> bytes:
    """IEEE 802.3 with LLC and the SAP of IPv4."""
    body = b"\x06\x06\x03" + content.data
    return destination + source + struct.pack("!H", len(body)) + body


def sll(content: Layer, mac: bytes = MAC_A, *, vlans: Iterable[int | tuple[int, int]] = ()) -> bytes:
    """Linux cooked capture, version 1."""
    return struct.pack("!HHH8s", 0, 1, len(mac), mac) + _tagged(content.number, vlans) + content.data


def sll2(content: Layer, mac: bytes = MAC_A, *, vlans: Iterable[int | tuple[int, int]] = ()) -> bytes:
    """Linux cooked capture, version 2: the first EtherType is in front."""
    types = _tagged(content.number, vlans)
    header = types[:2] + struct.pack("!HIHBB8s", 0, 1, 1, 0, len(mac), mac)
    return header + types[2:] + content.data


def loopback(content: Layer, family: int, order: str = "<") -> bytes:
    """BSD loopback: an address family in the byte order of the writer."""
    return struct.pack(order + "I", family) + content.data


# Captures


def capture(frames: Iterable[Sent]) -> bytes:
    """The simplest container that holds these frames: a pcap, or a pcapng where that would not do.

    Records that hold more than was on the wire make readers of a pcap doubt the size of its headers.
    """
    frames = list(frames)
    links = {frame.link for frame in frames}
    if len(links) <= 1 and all(map(_fits_pcap, frames)):
        return write_pcap(frames, ns=True, link=links.pop() if links else ETHERNET)
    return write_pcapng(frames)


def _fits_pcap(frame: Sent) -> bool:
    return frame.time is not None and 0 <= frame.time < 2**32 * SECOND and frame.length >= len(frame.data)
