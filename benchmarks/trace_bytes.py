"""Packets as pcap bytes: headers from structured dtypes, one NumPy pass per kind of header.

Every header field has one formula in ``FIELDS``; a frame's header is the concatenation of its
layers' fields. Checksums are right; payloads are random bytes, as encrypted ones are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Values of Packets.layout; each names the layers above IP.
TCP, TCP_SYN, UDP, DNS_QUERY, DNS_ANSWER, ECHO = range(6)

SYN_FLAG, ACK_FLAG = 0x02, 0x10
CHUNK_PACKETS = 8192
MAX_RECORD = 16 + 18 + 1500  # record header, Ethernet with one tag, MTU
MAGIC = {"ns": 0xA1B23C4D, "us": 0xA1B2C3D4}
TICK_NS = {"ns": 1, "us": 1000}

_RECORD = [("seconds", "<u4"), ("fraction", "<u4"), ("captured", "<u4"), ("wire", "<u4")]
_ETHERNET = [
    ("dst_mac_prefix", ">u2"),
    ("dst_mac", ">u4"),
    ("src_mac_prefix", ">u2"),
    ("src_mac", ">u4"),
]
_VLAN = [("tag_type", ">u2"), ("vlan", ">u2")]
_TYPE = [("ether_type", ">u2")]
_IPV4 = [
    ("version_ihl", "u1"),
    ("tos", "u1"),
    ("ip_length", ">u2"),
    ("ip_id", ">u2"),
    ("ip_fragment", ">u2"),
    ("ttl", "u1"),
    ("protocol", "u1"),
    ("ip_checksum", ">u2"),
    ("src", ">u4"),
    ("dst", ">u4"),
]
_IPV6 = [
    ("version_class_label", ">u4"),
    ("ip_payload", ">u2"),
    ("protocol", "u1"),
    ("ttl", "u1"),
    ("src_prefix", ">u8"),
    ("src", ">u8"),
    ("dst_prefix", ">u8"),
    ("dst", ">u8"),
]
_PORTS = [("src_port", ">u2"), ("dst_port", ">u2")]
_TCP = [
    *_PORTS,
    ("seq", ">u4"),
    ("ack", ">u4"),
    ("data_offset", "u1"),
    ("flags", "u1"),
    ("window", ">u2"),
    ("checksum", ">u2"),
    ("urgent", ">u2"),
]
_SYN_OPTIONS = bytes.fromhex("020405b4 01030307 01010402")  # MSS 1460, window scale 7, SACK permitted
_UDP = [*_PORTS, ("udp_length", ">u2"), ("checksum", ">u2")]
_QUESTION = b"\x04host\x07example\x03com\x00\x00\x01\x00\x01"
_ANSWER = bytes.fromhex("c00c 0001 0001 0000012c 0004 c6120001")
_DNS = [("dns_id", ">u2"), ("dns_flags", ">u2"), ("dns_counts", ">u2", 4), ("question", "u1", len(_QUESTION))]
_ECHO = [("icmp_type", "u1"), ("icmp_code", "u1"), ("checksum", ">u2"), ("echo_id", ">u2"), ("echo_number", ">u2")]

_LAYERS: tuple[list[Any], ...] = (
    _TCP,
    [*_TCP, ("options", "u1", len(_SYN_OPTIONS))],
    _UDP,
    [*_UDP, *_DNS],
    [*_UDP, *_DNS, ("answer", "u1", len(_ANSWER))],
    _ECHO,
)
_IP_PROTOCOL = (6, 6, 17, 17, 17, 1)
_ICMPV6 = 58


class Flows(NamedTuple):
    """One row per flow; where there are two rows of an array, 0 is the client and 1 the server."""

    ipv6: Array  # bool
    vlan: Array  # u2, 0 is none
    host: Array  # (2, flows) u4, the low 24 bits of an address
    port: Array  # (2, flows) u2


class Packets(NamedTuple):
    """One row per packet, in time order."""

    flow: Array
    direction: Array  # 0 client to server, 1 server to client
    time: Array  # i8, ns since the epoch
    layout: Array
    number: Array  # u4, the packet's position in its flow
    payload: Array  # bytes above the headers of the layout
    flags: Array
    seq: Array
    ack: Array


@dataclass(frozen=True)
class _Rows:
    """The packets of one chunk that share a header dtype, as the formulas of FIELDS see them."""

    packets: Packets
    flows: Flows
    dtype: np.dtype[Any]
    layout: int
    ipv6: bool
    tick_ns: int

    def size_from(self, field: str) -> Array:
        """Bytes from `field` to the end of the packet."""
        fields = self.dtype.fields
        assert fields is not None
        return self.packets.payload + (self.dtype.itemsize - fields[field][1])

    def host(self, side: int) -> Array:
        """Host number of the sender (0) or the receiver (1)."""
        return self.flows.host[self.packets.direction ^ side, self.packets.flow]

    def port(self, side: int) -> Array:
        return self.flows.port[self.packets.direction ^ side, self.packets.flow]

    def address(self, side: int) -> Array:
        """Low address word: 10.0.0.0/8 in IPv4, 2001:db8::/104 in IPv6."""
        return self.host(side) | np.uint32(0 if self.ipv6 else 0x0A000000)

    @property
    def protocol(self) -> int:
        return _ICMPV6 if self.ipv6 and self.layout == ECHO else _IP_PROTOCOL[self.layout]

    @property
    def echo_type(self) -> Array:
        request, reply = (128, 129) if self.ipv6 else (8, 0)
        return np.where(self.packets.direction == 0, request, reply)


FIELDS: dict[str, Callable[[_Rows], Any]] = {
    "seconds": lambda r: r.packets.time // 1_000_000_000,
    "fraction": lambda r: r.packets.time % 1_000_000_000 // r.tick_ns,
    "captured": lambda r: r.size_from("dst_mac_prefix"),
    "wire": lambda r: r.size_from("dst_mac_prefix"),
    "dst_mac_prefix": lambda r: 0x0200,  # locally administered
    "dst_mac": lambda r: r.host(1),
    "src_mac_prefix": lambda r: 0x0200,
    "src_mac": lambda r: r.host(0),
    "tag_type": lambda r: 0x8100,
    "vlan": lambda r: r.flows.vlan[r.packets.flow],
    "ether_type": lambda r: 0x86DD if r.ipv6 else 0x0800,
    "version_ihl": lambda r: 0x45,
    "tos": lambda r: 0,
    "ip_length": lambda r: r.size_from("version_ihl"),
    "ip_id": lambda r: r.packets.number & 0xFFFF,
    "ip_fragment": lambda r: 0x4000,  # don't fragment
    "ttl": lambda r: np.where(r.packets.direction == 0, 64, 55),
    "protocol": lambda r: r.protocol,
    "ip_checksum": lambda r: 0,
    "version_class_label": lambda r: 0x60000000,
    "ip_payload": lambda r: r.size_from("dst") - 8,
    "src_prefix": lambda r: 0x20010DB8 << 32,
    "dst_prefix": lambda r: 0x20010DB8 << 32,
    "src": lambda r: r.address(0),
    "dst": lambda r: r.address(1),
    "src_port": lambda r: r.port(0),
    "dst_port": lambda r: r.port(1),
    "seq": lambda r: r.packets.seq,
    "ack": lambda r: np.where(r.packets.flags & ACK_FLAG, r.packets.ack, 0),
    "data_offset": lambda r: 0x80 if r.layout == TCP_SYN else 0x50,
    "flags": lambda r: r.packets.flags,
    "window": lambda r: 64240 if r.layout == TCP_SYN else 502,
    "checksum": lambda r: 0,
    "urgent": lambda r: 0,
    "options": lambda r: np.frombuffer(_SYN_OPTIONS, np.uint8),
    "udp_length": lambda r: r.size_from("src_port"),
    "dns_id": lambda r: r.flows.port[0, r.packets.flow],
    "dns_flags": lambda r: 0x8180 if r.layout == DNS_ANSWER else 0x0100,
    "dns_counts": lambda r: (1, int(r.layout == DNS_ANSWER), 0, 0),
    "question": lambda r: np.frombuffer(_QUESTION, np.uint8),
    "answer": lambda r: np.frombuffer(_ANSWER, np.uint8),
    "icmp_type": lambda r: r.echo_type,
    "icmp_code": lambda r: 0,
    "echo_id": lambda r: r.flows.port[0, r.packets.flow],
    "echo_number": lambda r: r.packets.number // 2,
}


def header_dtype(layout: int, ipv6: bool, vlan: bool) -> np.dtype[Any]:
    """The dtype of a record's header bytes, from the pcap record header to the last fixed byte."""
    tag = _VLAN if vlan else []
    return np.dtype([*_RECORD, *_ETHERNET, *tag, *_TYPE, *(_IPV6 if ipv6 else _IPV4), *_LAYERS[layout]])


class _Payload:
    """Random bytes and, for any range of them, the sum of their big-endian 16-bit words."""

    def __init__(self, rng: np.random.Generator, packets: int) -> None:
        self.bytes = rng.integers(0, 256, packets * MAX_RECORD, dtype=np.uint8)
        words = np.zeros(len(self.bytes) + 1, np.int64)
        words[2:] = (self.bytes[:-1].astype(np.int64) << 8) | self.bytes[1:]
        for parity in (0, 1):
            words[parity::2] = np.cumsum(words[parity::2])
        self._sums = words

    def word_sum(self, start: Array, length: Array) -> Array:
        """The words of bytes start … start + length; an odd last byte is followed by a zero."""
        odd = length & 1
        last = self.bytes[start + length - odd].astype(np.int64) << 8
        return self._sums[start + length - odd] - self._sums[start] + last * odd


def _complement(total: Array) -> Array:
    """The Internet checksum (RFC 1071) of a sum of 16-bit words."""
    return (0xFFFF - total % 0xFFFF) % 0xFFFF


def _checksums(rows: _Rows, headers: Array, payload_sum: Array) -> None:
    """Fill in the checksums of IPv4 and of the layer above."""
    words = headers.view(np.uint8).reshape(len(headers), -1).view(">u2")
    fields = rows.dtype.fields
    assert fields is not None
    start = {name: fields[name][1] // 2 for name in ("dst", "src_prefix" if rows.ipv6 else "src")}
    above = start["dst"] + (4 if rows.ipv6 else 2)
    if not rows.ipv6:
        headers["ip_checksum"] = _complement(words[:, above - 10 : above].sum(axis=1, dtype=np.int64))
    total = words[:, above:].sum(axis=1, dtype=np.int64) + payload_sum
    if rows.layout != ECHO or rows.ipv6:
        addresses = words[:, min(start.values()) : above].sum(axis=1, dtype=np.int64)
        total += addresses + rows.protocol + rows.size_from("dst") - (8 if rows.ipv6 else 4)
    checksum = _complement(total)
    if rows.protocol == 17:
        checksum[checksum == 0] = 0xFFFF  # 0 says that there is none (RFC 768)
    headers["checksum"] = checksum


def _groups(packets: Packets, flows: Flows) -> Iterator[tuple[tuple[int, bool, bool], Array]]:
    """((layout, IPv6?, VLAN?), rows) of the packets that share a header dtype."""
    ipv6 = flows.ipv6[packets.flow]
    tagged = flows.vlan[packets.flow] > 0
    code = packets.layout.astype(np.intp) * 4 + ipv6 * 2 + tagged
    for value in np.flatnonzero(np.bincount(code)):
        yield (int(value) // 4, bool(value & 2), bool(value & 1)), np.flatnonzero(code == value)


def _chunk(packets: Packets, flows: Flows, payload: _Payload, tick_ns: int) -> Array:
    """The pcap records of a chunk, as bytes."""
    groups = [(header_dtype(*key), key, rows) for key, rows in _groups(packets, flows)]
    size = packets.payload.astype(np.int64)
    for dtype, _, rows in groups:
        size[rows] += dtype.itemsize
    offset = np.concatenate(([0], np.cumsum(size)))
    out = payload.bytes[: offset[-1]].copy()
    for dtype, (layout, ipv6, _), rows in groups:
        view = _Rows(Packets(*(column[rows] for column in packets)), flows, dtype, layout, ipv6, tick_ns)
        headers = np.zeros(len(rows), dtype)
        for name in dtype.names or ():
            headers[name] = FIELDS[name](view)
        start = offset[rows]
        _checksums(view, headers, payload.word_sum(start + dtype.itemsize, view.packets.payload.astype(np.int64)))
        windows = np.lib.stride_tricks.sliding_window_view(out, dtype.itemsize, writeable=True)
        windows[start] = headers.view(np.uint8).reshape(len(rows), -1)
    return out


def write_pcap(
    output: BinaryIO, packets: Packets, flows: Flows, rng: np.random.Generator, precision: str = "us"
) -> None:
    """Write a little-endian Ethernet pcap, a chunk at a time; `precision` is "ns" or "us"."""
    magic = np.array([MAGIC[precision], 2 | 4 << 16, 0, 0, 262144, 1], "<u4")
    output.write(magic.tobytes())
    payload = _Payload(rng, min(CHUNK_PACKETS, len(packets.flow)))
    for first in range(0, len(packets.flow), CHUNK_PACKETS):
        chunk = Packets(*(column[first : first + CHUNK_PACKETS] for column in packets))
        output.write(_chunk(chunk, flows, payload, TICK_NS[precision]).data)
