"""A second meter: slow, plain Python, written from docs/flow-semantics.md alone.

It shares nothing with the package but the list of services (data). The sections below follow the
page, and every rule quotes it, so that the two can be compared side by side. Packets of a record
are kept in a list and every column is computed from that list when the record ends.

Where the page leaves a choice, a comment that starts with "Choice:" says what is chosen.

    meter(read_frames(capture_bytes), Options(...)) -> Result(rows, reasons, counters)

Rows hold every native column but `source` and the labels: timestamps as integer ns, seconds as
float, None for null.
"""

from __future__ import annotations

import base64
import bisect
import bz2
import csv
import functools
import gzip
import hashlib
import ipaddress
import lzma
import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from encapsulation import (
    MOST,
    PLAIN_LINKS,
    Carrier,
    Encapsulation,
    Kind,
    Place,
    UnmeteredError,
    look_inside,
    need,
    rare_link,
    u16,
    u32,
    walk,
)
from oracle_library import library
from oracle_tcp import Tracker

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
FLAG_NAMES = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
VIEWS = ("", "up_", "down_")

Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """The options of the meter under the names that the package gives them; timeouts in seconds, None is off."""

    key: str = "5tuple"
    vlan_in_key: bool = False
    icmp_by_hosts: bool = False
    tunnels: str = "inner"
    idle_timeout: tuple[float | None, float | None, float | None, float | None] = (120.0, 120.0, 120.0, 120.0)
    active_timeout: float | None = 1800.0
    attempt_timeout: float | None = None
    no_tcp_end: bool = False
    forget: bool = False
    first_is_client: bool = False
    services_only: bool = False
    clock_times: bool = False
    dedup: float | None = None
    reorder: float | None = None
    max_flows: int = 4_194_304
    first_packets: int | None = None
    first_seconds: float | None = None
    window: float | None = None
    library: bool = True  # whether rows have the columns of the groups that are off by default
    splt: int = 20
    splt_data: bool = False
    activity_gap: float = 5.0
    payload_head: int = 64
    raw_packets: int = 5
    raw_bytes: int = 128
    raw_masked: bool = False

    def idle_ns(self, protocol: int) -> int | None:
        """`idle_timeout` can be given per protocol: tcp, udp, icmp (both versions), other."""
        place = {TCP: 0, UDP: 1, ICMP: 2, ICMPV6: 2}.get(protocol, 3)
        return _nanoseconds(self.idle_timeout[place])

    @property
    def active_ns(self) -> int | None:
        return _nanoseconds(self.active_timeout)

    @property
    def attempt_ns(self) -> int | None:
        return _nanoseconds(self.attempt_timeout)

    @property
    def tcp_ends(self) -> bool:
        """Whether connections end: `no_tcp_end` and `key="hosts"` switch that off."""
        return self.key != "hosts" and not self.no_tcp_end


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(Fraction(seconds) * SECOND)


class Result(NamedTuple):
    """What a run gives: rows in output order, packets by reason, counters of oddities."""

    rows: list[Row]
    reasons: Counter[str]
    counters: Counter[str]


# ---------------------------------------------------------------------------------------------
# Captures: bytes to frames
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One record of a capture. `offset` is that of the record in the uncompressed file."""

    number: int
    offset: int
    time: int | None  # ns since the epoch; None: the record has none
    link: int
    data: bytes  # what was captured
    length: int  # on the wire


class UnreadableError(Exception):
    """The bytes are no capture that this reader knows."""


MAX_RECORD = 128 << 20


def read_frames(capture: bytes) -> list[Frame]:
    """All frames of a pcap or pcapng, up to its end or to where it breaks."""
    capture = _decompress(capture)
    if capture[:4] == b"\x0a\x0d\x0d\x0a":
        return list(_read_pcapng(capture))
    for order in "<>":
        magic = struct.unpack(order + "I", capture[:4].ljust(4, b"\0"))[0]
        if magic in _PCAP_MAGICS and len(capture) >= 24:
            return list(_read_pcap(capture, order, *_PCAP_MAGICS[magic]))
    raise UnreadableError("neither pcap nor pcapng")


def _decompress(capture: bytes) -> bytes:
    for magic, module in ((b"\x1f\x8b", gzip), (b"BZh", bz2), (b"\xfd7zXZ", lzma)):
        if capture.startswith(magic):
            return module.decompress(capture)
    return capture


# magic: (ns per unit of the second word, bytes of a record header)
_PCAP_MAGICS = {0xA1B2C3D4: (1000, 16), 0xA1B23C4D: (1, 16), 0xA1B2CD34: (1000, 24)}


def _read_pcap(capture: bytes, order: str, unit: int, header: int) -> Iterator[Frame]:
    link = struct.unpack_from(order + "I", capture, 20)[0] & 0xFFFF  # the upper half holds FCS bits
    at, number = 24, 0
    while at + header <= len(capture):
        seconds, fraction, captured, length = struct.unpack_from(order + "IIII", capture, at)
        if captured > MAX_RECORD or at + header + captured > len(capture):
            return
        number += 1
        data = capture[at + header : at + header + captured]
        yield Frame(number, at, seconds * SECOND + fraction * unit, link, data, length)
        at += header + captured


PACKETS = (2, 3, 6)  # the obsolete, the simple and the enhanced packet block
NUMBERED = (*PACKETS, 9, 0xBAD, 0x40000BAD)  # Wireshark counts journal and custom blocks as frames too


class _Interface(NamedTuple):
    link: int
    snaplen: int
    ticks: int  # per second
    offset: int  # s


def _read_pcapng(capture: bytes) -> Iterator[Frame]:
    order, interfaces, at, number = "<", [], 0, 0
    while at + 12 <= len(capture):
        if capture[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order, interfaces = ("<" if capture[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"), []
        kind, size = struct.unpack_from(order + "II", capture, at)
        if size < 12 or size % 4 or at + size > len(capture):
            return
        body = capture[at + 8 : at + size - 4]
        if kind == 1:
            interfaces.append(_interface(body, order))
        elif kind in NUMBERED:
            number += 1
        if kind in PACKETS:
            yield _packet_block(kind, body, order, interfaces, number, at)
        at += size


def _interface(body: bytes, order: str) -> _Interface:
    link, _, snaplen = struct.unpack_from(order + "HHI", body)
    ticks, offset, at = 10**6, 0, 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 9 and size == 1:  # if_tsresol: a power of 10, or of 2 with the highest bit set
            exponent = body[at + 4]
            ticks = 2 ** (exponent & 127) if exponent & 128 else 10**exponent
        elif code == 14 and size == 8:  # if_tsoffset
            offset = struct.unpack_from(order + "q", body, at + 4)[0]
        at += 4 + size + -size % 4
    return _Interface(link, snaplen, ticks, offset)


def _packet_block(kind: int, body: bytes, order: str, interfaces: list[_Interface], number: int, at: int) -> Frame:
    if kind == 3:  # simple packet block: no time, always of the first interface
        (length,) = struct.unpack_from(order + "I", body)
        first = interfaces[0] if interfaces else None
        limit = first.snaplen if first and first.snaplen else length
        data = body[4 : 4 + min(length, limit)]
        return Frame(number, at, None, first.link if first else 0xFFFF, data, length)
    if kind == 6:
        index, high, low, captured, length = struct.unpack_from(order + "IIIII", body)
    else:  # the obsolete packet block
        index, _, high, low, captured, length = struct.unpack_from(order + "HHIIII", body)
    data = body[20 : 20 + captured]
    if index >= len(interfaces):
        return Frame(number, at, (high << 32 | low) * 1000, 0xFFFF, data, length)
    interface = interfaces[index]
    time = (high << 32 | low) * SECOND // interface.ticks + interface.offset * SECOND
    return Frame(number, at, time, interface.link, data, length)


# ---------------------------------------------------------------------------------------------
# Reordering
# ---------------------------------------------------------------------------------------------

WAITING_PACKETS = 2**18
WAITING_BYTES = 2**26


class _Waiting(NamedTuple):
    """A record that waits for its place; tuples sort by time, then by the order in which they were read."""

    time: int
    ordinal: int
    frame: Frame


class Reordering:
    """Records in, records out in order of time, with a delay of at most the window."""

    def __init__(self, window: int, counters: Counter[str]) -> None:
        self.window = window
        self.counters = counters
        self.ordered: list[Frame] = []
        self.waiting: list[_Waiting] = []  # in order
        self.latest: int | None = None  # time read since the last step
        self.passed: int | None = None  # latest time that was put in place since then
        self.previous: int | None = None  # time of the record before

    def add(self, frame: Frame, ordinal: int) -> None:
        time = frame.time
        if time is None:
            time = self.previous  # "goes with the record before it"
        elif self.latest is None or abs(time - self.latest) > HOUR:
            self.finish()
            self.latest, self.passed = time, None
        self.previous = time
        if time is None or (self.passed is not None and time < self.passed):
            self.counters["reorder_late"] += time is not None
            self.ordered.append(frame)
            return
        assert self.latest is not None
        self.counters["reordered"] += frame.time is not None and time < self.latest
        bisect.insort(self.waiting, _Waiting(time, ordinal, frame))
        self.latest = max(self.latest, time)
        while self.waiting and self.waiting[0].time <= self.latest - self.window:
            self._leave()
        while len(self.waiting) > WAITING_PACKETS or sum(len(w.frame.data) for w in self.waiting) > WAITING_BYTES:
            self.counters["reorder_early"] += 1
            self._leave()

    def finish(self) -> None:
        while self.waiting:
            self._leave()

    def _leave(self) -> None:
        first = self.waiting.pop(0)
        self.passed = first.time
        self.ordered.append(first.frame)


def reorder(frames: list[Frame], window: float, counters: Counter[str]) -> list[Frame]:
    """The frames of a trace in the order in which they are metered."""
    window_ns = _nanoseconds(window)
    assert window_ns is not None
    reordering = Reordering(window_ns, counters)
    for ordinal, frame in enumerate(frames):
        reordering.add(frame, ordinal)
    reordering.finish()
    return reordering.ordered


# ---------------------------------------------------------------------------------------------
# Clock, boundaries
# ---------------------------------------------------------------------------------------------

LOOK_AHEAD = 8
BOUNDARY_CLOCK = 30 * SECOND
BOUNDARY_RECORDS = 2**20


class Tick(NamedTuple):
    """Time of a record, the running clock at it, and whether a boundary lies before it."""

    time: int
    clock: int
    boundary: bool


def run_clock(times: list[int | None], counters: Counter[str]) -> list[Tick]:
    """The running clock of a trace, one tick a record."""
    ticks: list[Tick] = []
    clock: int | None = None
    before = 0
    for index, recorded in enumerate(times):
        # Choice: "the next 8 records" are 8 records of the file; those without time among them
        # are passed over.
        after = [time for time in times[index + 1 : index + 1 + LOOK_AHEAD] if time is not None]
        if recorded is None:
            counters["no_time"] += 1
            time = now = clock if clock is not None else next(iter(after), 0)
        else:
            time, clock = _advance(recorded, clock, after, counters)
            now = clock
        interval = now // BOUNDARY_CLOCK
        boundary = index > 0 and (interval != before or index % BOUNDARY_RECORDS == 0)
        before = interval
        ticks.append(Tick(time, now, boundary))
    return ticks


def _advance(recorded: int, clock: int | None, after: list[int], counters: Counter[str]) -> tuple[int, int]:
    """Time of a record that has one, and the clock behind it."""
    if clock is None:
        # "The first record starts the clock, unless it lies more than an hour after every one of
        # the next 8 records": then it "takes the time of the record after it".
        if after and all(recorded - time > HOUR for time in after):
            counters["clock_jump"] += 1
            return after[0], after[0]
        return recorded, recorded
    if abs(recorded - clock) <= HOUR:
        return recorded, max(clock, recorded)
    if any(abs(time - clock) <= HOUR for time in after):  # not genuine: it takes the clock
        counters["clock_jump"] += 1
        return clock, clock
    return recorded, recorded


# ---------------------------------------------------------------------------------------------
# Decoding: lengths and reasons
# ---------------------------------------------------------------------------------------------


class Link(NamedTuple):
    """What the link header says: the IP version it announces (0: see the IP header) and where IP starts."""

    version: int
    at: int
    src_mac: bytes | None = None
    dst_mac: bytes | None = None
    vlan: int = 0
    vlan_outer: int = 0
    around: tuple[Encapsulation, ...] = ()
    end: int | None = None  # of what was on the wire, where something but IP ends the frame


def decode_link(frame: Frame) -> Link:
    """The link header, by link type."""
    data, wire = frame.data, max(frame.length, len(frame.data))
    if frame.link == 1:
        need(len(data) >= 14, "truncated_link")
        return _ethertype(data, 12, wire, src_mac=data[6:12], dst_mac=data[0:6])
    if frame.link == 113:  # Linux SLL
        need(len(data) >= 16, "truncated_link")
        return _ethertype(data, 14, wire, src_mac=data[6:12] if u16(data, 4) == 6 else None)
    if frame.link == 276:  # Linux SLL2: the protocol comes first in a header of 20 bytes
        need(len(data) >= 20, "truncated_link")
        mac = data[12:18] if data[11] == 6 else None
        return _ethertype(data, 0, wire, after=20, src_mac=mac)
    if frame.link in (0, 108):
        need(len(data) >= 4, "truncated_link")
        return Link(_loopback_version(data, frame.link), 4)
    if frame.link in (228, 229):
        return Link(4 if frame.link == 228 else 6, 0)
    if frame.link in (12, 14, 101):
        need(len(data) >= 1, "truncated_link")  # no link header, but its nibble stands for one
        return Link(0, 0)
    step = rare_link(frame.link, Place(data, 0, wire))
    if step.kind in (f"link {link}" for link in PLAIN_LINKS):  # behind a header of the capture
        base = step.place.at
        view = replace(frame, link=int(str(step.kind)[5:]), data=step.place.known, length=step.place.length)
        link = decode_link(view)
        return link._replace(at=link.at + base, end=(view.length if link.end is None else link.end) + base)
    return _walked(step.kind, step.place, *(step.macs or (None, None)))


def _loopback_version(data: bytes, link: int) -> int:
    """BSD NULL has the family in the byte order of the writer, LOOP in network order."""
    families = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}
    orders = ("big", "little") if link == 0 else ("big",)
    for order in orders:
        family = int.from_bytes(data[:4], order)
        if family in families:
            return families[family]
    raise UnmeteredError("not_ip")


def _ethertype(
    data: bytes,
    type_at: int,
    length: int,
    *,
    after: int | None = None,
    src_mac: bytes | None = None,
    dst_mac: bytes | None = None,
) -> Link:
    """Walk from the EtherType at `type_at` to IP; what follows that EtherType starts at `after`."""
    return _walked(u16(data, type_at), Place(data, type_at + 2 if after is None else after, length), src_mac, dst_mac)


def _walked(kind: Kind, place: Place, src_mac: bytes | None, dst_mac: bytes | None) -> Link:
    found = walk(kind, place)
    vlan, outer = (found.vlans[-1], found.vlans[0]) if found.vlans else (0, 0)
    return Link(found.version, found.place.at, src_mac, dst_mac, vlan, outer, found.around, found.place.end)


class Network(NamedTuple):
    """What the IP header and its extension headers say. `at` is where their payload starts."""

    version: int
    src: bytes
    dst: bytes
    protocol: int
    length: int  # of IP header and data
    lies: bool  # the header says more than the wire holds
    ip_at: int
    at: int
    fragment: str  # "", "first" or "tail"
    identification: int  # IPv6: 0 but for fragments
    ttl: int
    traffic_class: int
    captured: bytes  # of header and data


def decode_network(frame: Frame, link: Link) -> Network:
    """IPv4 or IPv6 as the link announces it, or as the first nibble says on raw links."""
    version = link.version
    if version == 0:
        version = frame.data[link.at] >> 4
        need(version in (4, 6), "bad_ip_version")
    return _decode_ipv4(frame, link.at) if version == 4 else _decode_ipv6(frame, link.at)


def _ip_length(said: int, frame: Frame, at: int, *, zero_is_unknown: bool) -> tuple[int, bool]:
    """The page: "A length of 0 means original length minus the offset of the IP header. More than the wire
    holds is clamped to what the wire holds and counted as `ip_length_lies`."
    """
    # Choice: the wire held what was captured, even where the record's original length is less.
    wire = max(frame.length, len(frame.data)) - at
    if said == 0 and zero_is_unknown:
        return wire, False
    return min(said, wire), said > wire


def _decode_ipv4(frame: Frame, at: int) -> Network:
    data = frame.data
    need(len(data) >= at + 20, "truncated_ip")
    need(data[at] >> 4 == 4, "bad_ip_version")
    header = (data[at] & 15) * 4
    need(header >= 20, "bad_ihl")
    need(len(data) >= at + header, "truncated_ip")
    total = u16(data, at + 2)
    need(total == 0 or total >= header, "bad_ip_length")
    length, lies = _ip_length(total, frame, at, zero_is_unknown=True)
    offset, more = u16(data, at + 6) & 0x1FFF, u16(data, at + 6) & 0x2000
    return Network(
        version=4,
        src=data[at + 12 : at + 16],
        dst=data[at + 16 : at + 20],
        protocol=data[at + 9],
        length=length,
        lies=lies,
        ip_at=at,
        at=at + header,
        fragment=_fragment_kind(offset, bool(more)),
        identification=u16(data, at + 4),
        ttl=data[at + 8],
        traffic_class=data[at + 1],
        captured=data[at : at + max(length, header)],
    )


def _fragment_kind(offset: int, more: bool) -> str:
    """The page: "An offset of 0 with nothing to come is not a fragment." """
    if offset:
        return "tail"
    return "first" if more else ""


def _jumbo_length(options: bytes) -> int:
    """The value of the jumbo payload option, where one above 65,535 is among the options; else 0."""
    at = 0
    while at < len(options):
        if options[at] == 0:  # Pad1 has no length
            at += 1
            continue
        if options[at : at + 2] == b"\xc2\x04" and at + 6 <= len(options):
            length = u32(options, at + 2)
            return length if length > 65535 else 0
        at += 2 + (options[at + 1] if at + 1 < len(options) else 0)
    return 0


def _decode_ipv6(frame: Frame, at: int) -> Network:
    data = frame.data
    need(len(data) >= at + 40, "truncated_ip")
    need(data[at] >> 4 == 6, "bad_ip_version")
    said, nothing_follows = u16(data, at + 4), data[at + 6] == 59
    if said == 0 and data[at + 6] == HOP_BY_HOP and len(data) > at + 41:
        said = _jumbo_length(data[at + 42 : at + 40 + (data[at + 41] + 1) * 8])
    if said == 0 and not nothing_follows:
        length, lies = _ip_length(0, frame, at, zero_is_unknown=True)
    else:
        length, lies = _ip_length(40 + said, frame, at, zero_is_unknown=False)
    # A header is cut by the end of the capture or of the IP packet, whichever comes first.
    end = min(len(data), at + length)
    protocol, payload_at, fragment, fragment_id = _walk_extensions(data, data[at + 6], at + 40, end)
    return Network(
        version=6,
        src=data[at + 8 : at + 24],
        dst=data[at + 24 : at + 40],
        protocol=protocol,
        length=length,
        lies=lies,
        ip_at=at,
        at=payload_at,
        fragment=fragment,
        identification=fragment_id,
        ttl=data[at + 7],
        traffic_class=u16(data, at) >> 4 & 0xFF,
        captured=data[at : at + max(length, 40)],
    )


HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60


def _walk_extensions(data: bytes, kind: int, at: int, end: int) -> tuple[int, int, str, int]:
    """Protocol, start of the payload, kind of fragment and its identification."""
    fragment, fragment_id = "", 0
    while kind in (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION):
        need(end >= at + 8, "truncated_extension")  # none is shorter
        size = {FRAGMENT: 8, AUTHENTICATION: (data[at + 1] + 2) * 4}.get(kind, (data[at + 1] + 1) * 8)
        need(end >= at + size, "truncated_extension")
        if kind == FRAGMENT:
            found = _fragment_kind(u16(data, at + 2) >> 3, bool(data[at + 3] & 1))
            fragment_id = u32(data, at + 4)
            fragment = found or fragment
        kind, at = data[at], at + size
        if fragment == "tail":
            # What follows is data from the middle of the datagram. Choice: its protocol is what
            # the fragment header names, even where that is another extension header.
            break
    return kind, at, fragment, fragment_id


class Transport(NamedTuple):
    """Ports (ICMP: pseudo-ports) and what the connection rules need."""

    src_port: int = 0
    dst_port: int = 0
    payload: int = 0
    flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 0
    window_scale: int | None = None
    mss: int = 0  # 0 without the option
    sack: bool = False
    icmp_type: int | None = None
    icmp_code: int | None = None
    header: int = 0  # bytes; of TCP, UDP and SCTP
    content: bytes = b""  # of the payload, what was captured


def decode_transport(frame: Frame, network: Network) -> Transport:
    """The header above IP. `inside` is what IP holds for it, `known` the part of that captured."""
    inside = max(0, network.ip_at + network.length - network.at)
    known = frame.data[network.at : network.at + inside]
    found = _decode_header(network, known, inside)
    return found._replace(content=known[found.header : found.header + found.payload])


def _decode_header(network: Network, known: bytes, inside: int) -> Transport:
    if network.fragment == "tail":
        return Transport(payload=inside)
    if network.protocol in (TCP, UDP, SCTP):
        need(len(known) >= 4, "truncated_transport")
        decoder = {TCP: _decode_tcp, UDP: _decode_udp, SCTP: _decode_sctp}[network.protocol]
        return decoder(known, inside)
    # Choice: protocol 1 is ICMP and 58 is ICMPv6 below either version of IP.
    if network.protocol in (ICMP, ICMPV6):
        need(len(known) >= 2, "truncated_transport")
        return _decode_icmp(known, inside, network.protocol)
    return Transport(payload=inside)


def _decode_tcp(known: bytes, inside: int) -> Transport:
    # Choice: a header "is cut" when its 20 fixed bytes are not all there; then flags, numbers and
    # the data offset are unknown, and the header counts as the shortest there is.
    if len(known) < 20:
        return Transport(u16(known, 0), u16(known, 2), payload=max(0, inside - 20), header=20)
    header = max(5, known[12] >> 4) * 4
    return Transport(
        u16(known, 0),
        u16(known, 2),
        payload=max(0, inside - header),
        header=header,
        flags=known[13],
        seq=u32(known, 4),
        ack=u32(known, 8),
        window=u16(known, 14),
        **_syn_options(known[20:header]),
    )


def _syn_options(options: bytes) -> dict[str, Any]:
    """The options that count, each where its length is the right one."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        if at + 2 > len(options) or options[at + 1] < 2:
            break
        option = options[at : at + options[at + 1]]
        if len(option) == option[1]:
            if option[:2] == b"\x03\x03":
                found["window_scale"] = min(14, option[2])  # RFC 7323 §2.3: 14 at most
            elif option[:2] == b"\x02\x04":
                found["mss"] = u16(option, 2)
            elif option[:2] == b"\x04\x02":
                found["sack"] = True
        at += options[at + 1]
    return found


def _decode_udp(known: bytes, inside: int) -> Transport:
    """The page: "above the 8-byte UDP header, as the UDP length says where it is 8 or more and fits into the
    IP data, else all that IP holds" """
    said = u16(known, 4) if len(known) >= 8 else 0
    payload = said - 8 if 8 <= said <= inside else max(0, inside - 8)
    return Transport(u16(known, 0), u16(known, 2), payload=payload, header=8)


def _decode_sctp(known: bytes, inside: int) -> Transport:
    return Transport(u16(known, 0), u16(known, 2), payload=max(0, inside - 12), header=12)


# type: counterpart, as in Community ID
ICMP_PAIRS = {8: 0, 10: 9, 13: 14, 15: 16, 17: 18}
ICMPV6_PAIRS = {128: 129, 130: 131, 133: 134, 135: 136, 139: 140, 144: 145}
REQUESTS = {ICMP: ICMP_PAIRS, ICMPV6: ICMPV6_PAIRS}
COUNTERPARTS = {
    protocol: {**pairs, **{answer: request for request, answer in pairs.items()}}
    for protocol, pairs in REQUESTS.items()
}


def _decode_icmp(known: bytes, inside: int, protocol: int) -> Transport:
    kind, code = known[0], known[1]
    counterpart = COUNTERPARTS[protocol].get(kind, code)
    return Transport(kind, counterpart, payload=inside, icmp_type=kind, icmp_code=code)


@dataclass(frozen=True)
class Packet:
    """A packet that is to be metered."""

    number: int
    offset: int
    time: int
    clock: int
    frame_length: int
    link: Link
    network: Network
    transport: Transport
    around: tuple[Encapsulation, ...] = ()
    first_around: Packet | None = None  # the first fragment of a datagram in which this packet came, where it did

    @property
    def realm(self) -> tuple[Encapsulation, ...]:
        """The tunnels whose ids are part of the key."""
        return tuple(encapsulation for encapsulation in self.around if encapsulation.symmetric)

    @property
    def protocol(self) -> int:
        return self.network.protocol

    @property
    def is_segment(self) -> bool:
        """Whether it takes part in the rules on connections: "Tails carry no TCP header"."""
        return self.protocol == TCP and self.network.fragment != "tail"

    @property
    def is_opening_syn(self) -> bool:
        """A SYN without ACK."""
        return self.is_segment and self.transport.flags & (SYN | ACK) == SYN

    def endpoints(self, options: Options) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        """Sender's and receiver's (address, port) as far as they are part of the key."""
        if options.key == "hosts":
            return (self.network.src, 0), (self.network.dst, 0)
        if options.icmp_by_hosts and self.protocol in (ICMP, ICMPV6):
            return (self.network.src, 0), (self.network.dst, 0)
        return (self.network.src, self.transport.src_port), (self.network.dst, self.transport.dst_port)

    def side(self, options: Options) -> int:
        """0 or 1: which endpoint of the unordered pair sends. Equal endpoints are one side."""
        sender, receiver = self.endpoints(options)
        return int(sender > receiver)

    def key(self, options: Options) -> tuple[Any, ...]:
        """The page: "Unordered pair of (address, port), the IP protocol and the IP version. With
        `vlan_in_key` the innermost VLAN id too" """
        pair = tuple(sorted(self.endpoints(options)))
        vlan = self.link.vlan if options.vlan_in_key else 0
        return (*pair, self.protocol, self.network.version, vlan, self.realm)

    def ports(self) -> tuple[int, int]:
        """Source and destination for the port columns: TCP, UDP and SCTP have ports."""
        if self.protocol in (TCP, UDP, SCTP):
            return self.transport.src_port, self.transport.dst_port
        return 0, 0


def decode(frame: Frame, tick: Tick, options: Options) -> Packet:
    """A packet, or UnmeteredError with its reason."""
    link = decode_link(frame)
    if link.end is not None:
        frame = replace(frame, data=frame.data[: link.end])
    view = frame if link.end is None else replace(frame, length=link.end)
    network = decode_network(view, link)
    transport = decode_transport(view, network)
    around = link.around[:MOST]
    packet = Packet(frame.number, frame.offset, tick.time, tick.clock, frame.length, link, network, transport, around)
    while options.tunnels == "inner" and (inside := decode_inside(frame, packet)):
        packet = inside
    return packet


def decode_inside(frame: Frame, packet: Packet) -> Packet | None:
    """The packet that a packet carries, where that is a whole one."""
    network, transport = packet.network, packet.transport
    if network.fragment == "tail":
        return None
    begin = network.at + (8 if packet.protocol == UDP else 0)
    payload = Place(frame.data, begin, begin + transport.payload)
    ports = transport.src_port, transport.dst_port
    first_around = packet.first_around or (packet if network.fragment == "first" else None)
    cut = network.lies or first_around is not None
    found = look_inside(Carrier(network.version, packet.protocol, *ports, payload, cut), len(packet.around))
    if found is None:
        return None
    # What is inside ends with the packet around it.
    view = replace(frame, data=frame.data[: found.place.end], length=found.place.end)
    link = packet.link._replace(version=found.version, at=found.place.at)
    try:
        inner = decode_network(view, link)
        inner_transport = decode_transport(view, inner)
    except UnmeteredError:
        return None
    if packet.network.lies:
        inner = inner._replace(lies=True)  # "counted in its place"
    elif first_around is not None:
        inner = inner._replace(lies=False)  # the rest is in the tails
    elif inner.lies and packet.protocol == UDP:
        return None
    around = packet.around + found.around
    return replace(packet, network=inner, transport=inner_transport, around=around, first_around=first_around)


# ---------------------------------------------------------------------------------------------
# Duplicates
# ---------------------------------------------------------------------------------------------

REMEMBERED_PACKETS = 2**20


def compared(packet: Packet, frame: Frame) -> tuple[bytes, int, Any]:
    """What of a packet is compared with others: the outermost IP packet as captured, without what routers change, and
    the tunnels around what is metered."""
    data, at = frame.data, packet.link.at
    wire = max(frame.length, len(data)) - at
    if data[at] >> 4 == 4:
        length = u16(data, at + 2)
    else:
        length = u16(data, at + 4)
        if length != 0 or data[at + 6] == 59:
            length += 40
    length = wire if length == 0 else min(length, wire)
    captured = bytearray(data[at : at + length])
    if captured[0] >> 4 == 4:
        captured[1] &= 0b11  # of the type of service, the DSCP
        captured[8] = captured[10] = captured[11] = 0  # TTL and checksum
    else:
        captured[0] &= 0xF0
        captured[1] &= 0x3F  # of the traffic class, the DSCP
        captured[7] = 0  # hop limit
    return bytes(captured), length, packet.around


class Deduplication:
    """Tells copies from packets; `window` in ns."""

    def __init__(self, window: int, counters: Counter[str]) -> None:
        self.window = window
        self.counters = counters
        self.seen: list[tuple[tuple[bytes, int, Any], int]] = []  # what was compared, and the packet's time
        self.last: dict[tuple[bytes, int, Any], int] = {}  # place among these

    def is_copy(self, packet: Packet, frame: Frame) -> bool:
        content = compared(packet, frame)
        oldest = len(self.seen) - REMEMBERED_PACKETS
        place = self.last.get(content, -1)
        copy = place >= max(0, oldest) and abs(packet.time - self.seen[place][1]) <= self.window
        if oldest >= 0 and abs(packet.time - self.seen[oldest][1]) <= self.window:
            self.counters["dedup_forgotten"] += 1
        self.last[content] = len(self.seen)
        self.seen.append((content, packet.time))
        return copy


# ---------------------------------------------------------------------------------------------
# Direction
# ---------------------------------------------------------------------------------------------


@functools.cache
def services() -> frozenset[tuple[int, int]]:
    """(protocol, port) of the shipped service list."""
    numbers = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
    path = Path(__file__).resolve().parent.parent / "src" / "flowgauge" / "services.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    rows = csv.DictReader(lines)
    return frozenset((numbers[row["protocol"].lower()], int(row["port"])) for row in rows)


def is_group(address: bytes) -> bool:
    """224.0.0.0/4, 255.255.255.255, ff00::/8."""
    if len(address) == 4:
        return address[0] >> 4 == 14 or address == b"\xff\xff\xff\xff"
    return address[0] == 0xFF


def went_to_group(packet: Packet) -> bool:
    """To IP multicast or broadcast, or to a group MAC address."""
    mac = packet.link.dst_mac
    return is_group(packet.network.dst) or (mac is not None and bool(mac[0] & 1))


def decide_client(packet: Packet, previous: bool | None, options: Options) -> tuple[bool, str]:
    """Whether the sender of the packet that opens a flow is the client, and the rule that says so.

    `previous`: what the direction of a predecessor that ended `idle` says, None without one.
    """
    if options.first_is_client:
        return True, "first"
    flags = packet.transport.flags
    if packet.protocol == TCP and flags & SYN:
        return (False, "synack") if flags & ACK else (True, "syn")
    if packet.transport.icmp_type is not None:  # Choice: a tail carries no type and decides nothing here
        requests = REQUESTS[packet.protocol]
        if packet.transport.icmp_type in requests:
            return True, "icmp"
        if packet.transport.icmp_type in requests.values() and not went_to_group(packet):
            return False, "icmp"
    if previous is not None:
        return previous, "previous"
    by_port = _decide_by_destination_and_ports(packet, options)
    return (True, "first") if by_port is None else (by_port, "port")


def _decide_by_destination_and_ports(packet: Packet, options: Options) -> bool | None:
    """The page: "the first of these that decides" """
    if went_to_group(packet):
        return True
    src, dst = packet.ports()
    if src == dst == 0:
        return None
    known = services()
    rules = [
        lambda port: (packet.protocol, port) in known,
        lambda port: port < 1024,
        lambda port: port < 32768,
    ]
    for is_server_port in rules[:1] if options.services_only else rules:
        if is_server_port(src) != is_server_port(dst):
            return is_server_port(dst)
    return None


# ---------------------------------------------------------------------------------------------
# Connections
# ---------------------------------------------------------------------------------------------


def later(a: int, b: int) -> bool:
    """Whether sequence number a comes after b, modulo 2^32."""
    return 0 < (a - b) % 2**32 < 2**31


def latest(a: int | None, b: int) -> int:
    return b if a is None or later(b, a) else a


@dataclass
class Sequence:
    """What is known of the numbers that one side has sent. None: not known."""

    seen: bool = False
    first: int | None = None
    next: int | None = None
    acked: int | None = None
    window: int | None = None  # shifted
    initial: int | None = None  # of its SYN
    initial_by_peer: int | None = None  # acknowledgement of the peer's SYN+ACK, less 1
    syn_seen: bool = False
    window_scale: int | None = None
    fin_seen: bool = False

    @property
    def initial_number(self) -> int | None:
        """The page: "from its SYN; else the peer's SYN+ACK acknowledgement − 1" """
        return self.initial if self.initial is not None else self.initial_by_peer


@dataclass
class Connection:
    """The state of a TCP connection, by side."""

    sides: tuple[Sequence, Sequence] = field(default_factory=lambda: (Sequence(), Sequence()))
    syn_seen: bool = False  # a SYN without ACK
    other_seen: bool = False  # anything but SYNs without ACK
    rst_side: int | None = None
    rst_side_spoke: bool = False  # since its RST it has sent something other than an RST

    def add(self, packet: Packet, side: int) -> None:
        """Take in a segment."""
        flags = packet.transport.flags
        self.syn_seen = self.syn_seen or packet.is_opening_syn
        self.other_seen = self.other_seen or not packet.is_opening_syn
        if side == self.rst_side and not flags & RST:
            self.rst_side_spoke = True
        if flags and not flags & RST:  # "Segments without any flag and RSTs change nothing."
            self._add_numbers(packet.transport, side)

    def _add_numbers(self, segment: Transport, side: int) -> None:
        sender = self.sides[side]
        sender.seen = True
        if sender.first is None:
            sender.first = segment.seq
        if segment.flags & ACK:
            sender.acked = latest(sender.acked, segment.ack)
        if segment.flags & SYN:
            self._add_syn(segment, side)
        if segment.flags & FIN:
            sender.fin_seen = True
        length = segment.payload + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        sender.next = latest(sender.next, (segment.seq + length) % 2**32)
        sender.window = segment.window << self._shift(segment, side)

    def _add_syn(self, segment: Transport, side: int) -> None:
        """Choice: the latest SYN counts where several were sent, but the first acknowledgement of one not seen."""
        sender, peer = self.sides[side], self.sides[1 - side]
        sender.syn_seen, sender.initial, sender.window_scale = True, segment.seq, segment.window_scale
        if segment.flags & ACK and peer.initial_by_peer is None:
            peer.initial_by_peer = (segment.ack - 1) % 2**32

    def _shift(self, segment: Transport, side: int) -> int:
        """Choice: what is known when the segment comes decides. RFC 7323 §2.2: a SYN's own window is never scaled."""
        sender, peer = self.sides[side], self.sides[1 - side]
        if segment.flags & SYN:
            return 0
        if not (sender.syn_seen and peer.syn_seen):
            return 14
        if sender.window_scale is None or peer.window_scale is None:
            return 0  # Choice: one SYN with the option and one without is without
        return sender.window_scale

    def accepts_rst(self, packet: Packet, side: int) -> bool:
        """RFC 9293 §3.10.7.4, as the page puts it; the state is that before the RST."""
        sender, peer = self.sides[side], self.sides[1 - side]
        if not sender.seen:
            return True
        low = peer.acked if peer.acked is not None else sender.first
        assert low is not None
        width = 2**30 if peer.window is None else peer.window  # Choice: one that sent only RSTs is unseen
        if sender.next is not None and later(sender.next, (low + width) % 2**32):
            width = (sender.next - low) % 2**32
        return (packet.transport.seq - low) % 2**32 <= width

    def ignores_rst(self, packet: Packet, side: int) -> bool:
        """The page: "Payload in sequence after an RST [...]: payload of the side that the RST claims to come
        from, or of the other side once the RST's side has sent something other than an RST." """
        segment, expected = packet.transport, self.sides[side].next
        if segment.payload == 0 or segment.flags == 0 or segment.flags & (RST | SYN):
            return False
        # Choice: of a side that has sent nothing but RSTs, any number is in sequence.
        if expected is not None and segment.seq != expected:
            return False
        return side == self.rst_side or self.rst_side_spoke

    def is_reused_by(self, packet: Packet, side: int, *, from_server: bool) -> bool:
        """Rule `reuse` for a SYN without ACK."""
        if not self.other_seen:
            return False
        sender, seq = self.sides[side], packet.transport.seq
        if sender.initial_number is not None:
            return sender.initial_number != seq
        if from_server:
            return True
        # Choice: where nothing of its sender was seen, the SYN precedes nothing.
        return sender.first is None or (seq + 1) % 2**32 != sender.first


# ---------------------------------------------------------------------------------------------
# Flows and records
# ---------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """A packet of a record: direction 0 is up, 1 is down; gaps in ns, None without predecessor."""

    packet: Packet
    direction: int
    gap: int | None
    gap_direction: int | None
    earlier: bool  # than the latest time of the flow


@dataclass
class Record:
    """One row to be."""

    flow_id: int
    first_packet: int
    part: int
    client_side: int
    client_by: str
    opened: int  # time of the packet that opened it
    start: int  # earliest time
    members: list[Member] = field(default_factory=list)
    rest: int = 0  # packets behind those that count
    tcp: Row = field(default_factory=dict)  # the columns of that group

    @property
    def end(self) -> int:
        """Latest time of the packets that count."""
        return max(member.packet.time for member in self.members)


@dataclass
class Flow:
    """What is known on a key. `record` is None when it has left."""

    record: Record | None
    last_part: int
    flow_id: int
    first_packet: int
    client_side: int
    client_by: str
    protocol: int
    connection: Connection = field(default_factory=Connection)
    tracker: Tracker = field(default_factory=Tracker)
    used: int = 0  # clock of the latest packet
    latest: int | None = None
    latest_of_side: list[int | None] = field(default_factory=lambda: [None, None])
    reason: str | None = None  # the flow's own: fin, rst, late; None while it is open
    closed_at: int = 0  # clock

    @property
    def is_unanswered_syn(self) -> bool:
        return self.connection.syn_seen and not self.connection.other_seen


CLOSED_WAIT = 5 * SECOND
UNANSWERED_AGE = 30 * SECOND


class FlowTable:
    """Packets in, ended records out: the sections Identity, When a flow ends, Time."""

    def __init__(self, options: Options, counters: Counter[str]) -> None:
        self.options = options
        self.counters = counters
        self.flows: dict[tuple[Any, ...], Flow] = {}  # least recently used first
        self.ended: list[tuple[Record, str]] = []  # leave at the next boundary
        self.rows: list[Row] = []

    # What a packet does

    def add(self, packet: Packet) -> None:
        if self.options.clock_times:
            packet = replace(packet, time=packet.clock)
        key = packet.key(self.options)
        flow = self._flow_of(packet, key)
        self.flows.pop(key, None)
        self.flows[key] = flow  # now the most recently used
        counts = self._count(flow, packet)
        if packet.is_segment:
            self._follow_connection(flow, packet)
            if counts:
                self._track(flow, packet)

    def _track(self, flow: Flow, packet: Packet) -> None:
        """The section "TCP connections"."""
        record = flow.record
        assert record is not None
        if self.options.key == "hosts":
            return
        direction = record.members[-1].direction
        if len(record.members) == 1:
            flow.tracker.open(direction)
        if packet.transport.flags:
            flow.tracker.add(packet.transport, direction, packet.time, first_part=record.part == 0)

    def _flow_of(self, packet: Packet, key: tuple[Any, ...]) -> Flow:
        """The flow that the packet belongs to, whose record takes it."""
        flow = self.flows.get(key)
        if flow is None:
            if len(self.flows) >= self.options.max_flows:
                self._evict(packet.clock)
            return self._open(packet)
        if self._is_gone(flow, packet.clock):
            self._end(flow, "idle")
            return self._open(packet)
        assert flow.latest is not None
        timeout = self.options.idle_ns(flow.protocol)
        idle = timeout is not None and packet.time - flow.latest > timeout
        if flow.reason is not None:
            return self._flow_of_closed(flow, packet, idle)
        if idle:
            self._end(flow, "idle")
            return self._open(packet, predecessor=None if self.options.forget else flow)
        if self._is_given_up(flow, packet):
            self._end(flow, "idle")
            return self._open(packet, predecessor=None if self.options.forget else flow)
        if self._is_reuse(flow, packet):
            self._end(flow, "reuse")
            return self._open(packet)
        active = self.options.active_ns
        assert flow.record is not None
        if active is not None and packet.time - flow.record.start > active:
            self._end(flow, "active")
            self._next_part(flow, packet)
            return flow
        window = _nanoseconds(self.options.window)
        if window is not None and packet.time // window > flow.record.opened // window:
            self._end(flow, "window")
            self._next_part(flow, packet)
        return flow

    def _flow_of_closed(self, flow: Flow, packet: Packet, idle: bool) -> Flow:
        """Rule 1: the flow is closed, or what comes late has its own part already."""
        if packet.is_opening_syn or idle:
            self._end(flow, "")
            return self._open(packet)
        waiting = packet.clock - flow.closed_at <= CLOSED_WAIT
        # Choice: a record that has left takes no packet, even where the clock was set back since.
        if flow.record is not None and (flow.reason == "late" or waiting):
            return flow
        self._end(flow, "")
        if self.options.forget:
            return self._open(packet)
        rst_side = flow.connection.rst_side
        rst_end = None if rst_side is None else int(rst_side != flow.client_side)
        flow.tracker = Tracker.late(flow.reason, rst_end)
        self._next_part(flow, packet)
        flow.reason = "late"
        return flow

    def _is_given_up(self, flow: Flow, packet: Packet) -> bool:
        """The page: "a TCP flow whose client has sent a SYN, no FIN, and whose server has sent nothing" """
        timeout, record = self.options.attempt_ns, flow.record
        if timeout is None or not self.options.tcp_ends or not packet.is_segment or record is None:
            return False
        client = flow.connection.sides[flow.client_side]
        silent = flow.latest_of_side[1 - flow.client_side] is None
        return packet.time - record.start > timeout and client.syn_seen and not client.fin_seen and silent

    def _is_reuse(self, flow: Flow, packet: Packet) -> bool:
        if not self.options.tcp_ends or not packet.is_opening_syn:
            return False
        side = packet.side(self.options)
        return flow.connection.is_reused_by(packet, side, from_server=side != flow.client_side)

    def _is_gone(self, flow: Flow, clock: int) -> bool:
        timeout = self.options.idle_ns(flow.protocol)
        assert flow.latest is not None
        return timeout is not None and clock - flow.latest > 2 * timeout

    def _follow_connection(self, flow: Flow, packet: Packet) -> None:
        """Take in a segment, then see whether it opens or closes the connection."""
        connection, side = flow.connection, packet.side(self.options)
        rst = bool(packet.transport.flags & RST) and connection.accepts_rst(packet, side)
        ignored = flow.reason == "rst" and connection.ignores_rst(packet, side)
        connection.add(packet, side)
        if not self.options.tcp_ends:
            return
        if ignored:
            flow.reason = None
            self.counters["rst_ignored"] += 1
        if flow.reason is not None:
            return
        if all(sequence.fin_seen for sequence in connection.sides):
            flow.reason, flow.closed_at = "fin", packet.clock
        elif rst:
            flow.reason, flow.closed_at = "rst", packet.clock
            connection.rst_side, connection.rst_side_spoke = side, False

    # Opening and ending

    def _open(self, packet: Packet, predecessor: Flow | None = None) -> Flow:
        side = packet.side(self.options)
        previous = None if predecessor is None else predecessor.client_side == side
        sender_is_client, client_by = decide_client(packet, previous, self.options)
        client_side = side if sender_is_client else 1 - side
        record = Record(packet.offset, packet.number, 0, client_side, client_by, packet.time, packet.time)
        return Flow(record, 0, packet.offset, packet.number, client_side, client_by, packet.protocol)

    def _next_part(self, flow: Flow, packet: Packet) -> None:
        flow.last_part += 1
        before = flow.client_side
        if self.options.first_is_client:  # "the first sender of a record is the client"
            flow.client_side = packet.side(self.options)
        flow.tracker.next_part(swapped=flow.client_side != before)
        identity = flow.flow_id, flow.first_packet, flow.last_part
        flow.record = Record(*identity, flow.client_side, flow.client_by, packet.time, packet.time)

    def _end(self, flow: Flow, reason: str) -> None:
        """The record is over; a flow that was closed keeps its own reason."""
        if flow.record is not None:
            flow.record.tcp = flow.tracker.report()
            self.ended.append((flow.record, flow.reason or reason))
        flow.record = None

    def _evict(self, clock: int) -> None:
        """`limit`: "the least recently used leaves, unanswered SYNs last used more than
        30 s of clock ago first; a flow that was gone or closed keeps its own reason" """

        def is_old_syn(flow: Flow) -> bool:
            return flow.is_unanswered_syn and clock - flow.used > UNANSWERED_AGE

        key = next((key for key, flow in self.flows.items() if is_old_syn(flow)), next(iter(self.flows)))
        flow = self.flows.pop(key)
        self._end(flow, "idle" if self._is_gone(flow, clock) else "limit")

    def boundary(self, clock: int) -> None:
        """The page: "At a boundary the records of flows that are gone leave too, and those closed more than
        5 s of clock ago." The clock is that of the record behind the boundary.

        Choice: a part of late packets stays until its flow is gone, so that there is one of them.
        """
        for key, flow in list(self.flows.items()):
            if self._is_gone(flow, clock):
                self._end(flow, "idle")
                del self.flows[key]
            elif flow.reason in ("fin", "rst") and clock - flow.closed_at > CLOSED_WAIT:
                self._end(flow, "")
        self._leave()

    def finish(self, clock: int) -> None:
        """End of input. Choice: a flow that is gone by then ended `idle`, like one that meets `limit`."""
        for flow in self.flows.values():
            self._end(flow, "idle" if self._is_gone(flow, clock) else "eof")
        self.flows.clear()
        self._leave()

    def _leave(self) -> None:
        """The page: "sorted by (end, `flow_id`, `part`)" """
        self.ended.sort(key=lambda pair: (pair[0].end, pair[0].flow_id, pair[0].part))
        self.rows.extend(make_row(record, reason, self.options) for record, reason in self.ended)
        self.ended.clear()

    # Counting

    def _count(self, flow: Flow, packet: Packet) -> bool:
        """The page: "The gap of a packet is max(0, time − latest time before) in the flow, or in flow and
        direction." Latest times outlive a part.
        """
        record = flow.record
        assert record is not None
        side = packet.side(self.options)
        before, before_of_side = flow.latest, flow.latest_of_side[side]
        member = Member(
            packet=packet,
            direction=int(side != record.client_side),
            gap=None if before is None else max(0, packet.time - before),
            gap_direction=None if before_of_side is None else max(0, packet.time - before_of_side),
            earlier=before is not None and packet.time < before,
        )
        record.start = min(record.start, packet.time)
        counts = self._is_of_the_first(record, packet)
        if counts:
            record.members.append(member)
        else:
            record.rest += 1
        flow.used = packet.clock
        flow.latest = packet.time if before is None else max(before, packet.time)
        flow.latest_of_side[side] = packet.time if before_of_side is None else max(before_of_side, packet.time)
        return counts

    def _is_of_the_first(self, record: Record, packet: Packet) -> bool:
        """Early records: "the first packets, or those of the first seconds, of a record count" """
        seconds, packets = _nanoseconds(self.options.first_seconds), self.options.first_packets
        if seconds is not None and packet.time - record.start > seconds:
            return False
        return packets is None or len(record.members) < packets


# ---------------------------------------------------------------------------------------------
# Fragments
# ---------------------------------------------------------------------------------------------

FRAGMENT_CLOCK = 30 * SECOND
TAILS_OF_A_DATAGRAM = 64
TAILS_IN_ALL = 65_536
DATAGRAMS = 65_536


@dataclass
class Datagram:
    """What is remembered of a fragmented datagram. `seen` is the clock of its first packet seen."""

    seen: int
    first: Packet | None = None
    is_tunnel: bool = False  # the first fragment was metered as the packet inside
    waiting: list[Packet] = field(default_factory=list)


class Fragments:
    """Gives tails the ports of their first fragment, then hands every packet to the table."""

    def __init__(self, table: FlowTable) -> None:
        self.table = table
        self.datagrams: dict[tuple[Any, ...], Datagram] = {}  # oldest first
        self.waiting = 0
        self.clock: int | None = None

    def add(self, packet: Packet) -> None:
        if packet.network.fragment:
            self._add_fragment(packet)
        else:
            self.table.add(packet)
        if packet.first_around is not None:
            self._add_first_around(packet, packet.first_around)

    def _add_first_around(self, packet: Packet, first: Packet) -> None:
        """The page: a first fragment that is metered as the packet inside still gives its ports to its tails."""
        datagram = self._datagram_of(first)
        datagram.first, datagram.is_tunnel = first, True
        tails = self._take_waiting(datagram)
        self.table.counters["tunnel_fragment"] += len(tails)
        for tail in tails:
            self.table.add(replace(with_ports(tail, first), time=packet.time, clock=packet.clock))

    def _add_fragment(self, packet: Packet) -> None:
        datagram = self._datagram_of(packet)
        if packet.network.fragment == "first":
            datagram.first, datagram.is_tunnel = packet, False  # "A later first fragment [...] replaces the ports."
            self.table.add(packet)
            for tail in self._take_waiting(datagram):
                self.table.add(replace(with_ports(tail, packet), time=packet.time, clock=packet.clock))
        elif datagram.first is not None:
            self.table.counters["tunnel_fragment"] += datagram.is_tunnel
            self.table.add(with_ports(packet, datagram.first))
        elif len(datagram.waiting) >= TAILS_OF_A_DATAGRAM or self.waiting >= TAILS_IN_ALL:
            self._add_orphan(packet)
        else:
            datagram.waiting.append(packet)
            self.waiting += 1

    def _datagram_of(self, packet: Packet) -> Datagram:
        """The page: "known by source, destination, version and identification, and for IPv4 by the protocol" """
        network = packet.network
        protocol = network.protocol if network.version == 4 else None
        identity = (network.src, network.dst, protocol, network.version, network.identification, packet.realm)
        if identity not in self.datagrams:
            if len(self.datagrams) >= DATAGRAMS:
                self._forget(next(iter(self.datagrams)))  # "the oldest gives way"
            self.datagrams[identity] = Datagram(packet.clock)
        return self.datagrams[identity]

    def expire(self, clock: int) -> None:
        """Before a packet: what was first seen more than 30 s of clock ago, or before a step back, is forgotten."""
        stepped_back = self.clock is not None and clock < self.clock
        self.clock = clock
        while self.datagrams:
            oldest = next(iter(self.datagrams))
            if not stepped_back and clock - self.datagrams[oldest].seen <= FRAGMENT_CLOCK:
                break
            self._forget(oldest)

    def finish(self) -> None:
        for identity in list(self.datagrams):
            self._forget(identity)

    def _forget(self, identity: tuple[Any, ...]) -> None:
        for tail in self._take_waiting(self.datagrams.pop(identity)):
            self._add_orphan(tail)

    def _take_waiting(self, datagram: Datagram) -> list[Packet]:
        """The page: no bytes of fragments that had to wait are looked at."""
        tails, datagram.waiting = datagram.waiting, []
        self.waiting -= len(tails)
        return [
            replace(tail, transport=tail.transport._replace(content=b""), network=tail.network._replace(captured=b""))
            for tail in tails
        ]

    def _add_orphan(self, tail: Packet) -> None:
        """The page: "metered with ports 0 at its own time". Choice: the clock that goes with it is its own too."""
        self.table.counters["orphan_fragments"] += 1
        self.table.add(tail)


def with_ports(tail: Packet, first: Packet) -> Packet:
    """The tail with its first fragment's protocol and ports (ICMP: pseudo-ports)."""
    ports = first.transport
    return replace(
        tail,
        network=tail.network._replace(protocol=first.network.protocol),
        transport=tail.transport._replace(src_port=ports.src_port, dst_port=ports.dst_port),
    )


# ---------------------------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------------------------


def make_row(record: Record, reason: str, options: Options) -> Row:
    """Every native column of a record."""
    return {
        **_identity(record, reason, options),
        **_counts(record, options),
        **_sizes(record),
        **_gaps(record),
        **_flags(record),
        **record.tcp,
        **(library(record, options) if options.library else {}),
    }


def _identity(record: Record, reason: str, options: Options) -> Row:
    # Choice: addresses, ports, MACs, VLANs and ICMP type are those of the record's first packet.
    first, direction = record.members[0].packet, record.members[0].direction
    network, link = first.network, first.link
    times = [member.packet.time for member in record.members]

    def by_role(sender: Any, receiver: Any) -> tuple[Any, Any]:
        return (sender, receiver) if direction == 0 else (receiver, sender)

    client_ip, server_ip = by_role(address_text(network.src), address_text(network.dst))
    client_port, server_port = by_role(*first.ports())
    client_mac, server_mac = by_role(mac_text(link.src_mac), mac_text(link.dst_mac))
    return {
        "flow_id": record.flow_id,
        "first_packet": record.first_packet,
        "part": record.part,
        "community_id": None if options.key == "hosts" else community_id(first),
        "start": min(times),
        "end": max(times),
        "duration_s": seconds(max(times) - min(times)),
        "client_ip": client_ip,
        "client_port": client_port,
        "server_ip": server_ip,
        "server_port": server_port,
        "protocol": first.protocol,
        "ip_version": network.version,
        "client_mac": client_mac,
        "server_mac": server_mac,
        "vlan": link.vlan or None,
        "vlan_outer": link.vlan_outer or None,
        "tunnel": "/".join(encapsulation.text for encapsulation in first.around) or None,
        "client_by": record.client_by,
        "end_reason": reason,
        "icmp_type": first.transport.icmp_type,
        "icmp_code": first.transport.icmp_code,
    }


def address_text(address: bytes) -> str:
    """RFC 5952 text. Its section 5 writes IPv4-mapped addresses in mixed notation."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(parsed) if mapped is None else f"::ffff:{mapped}"


def mac_text(mac: bytes | None) -> str | None:
    return None if mac is None else mac.hex(":")


def community_id(packet: Packet) -> str | None:
    """Community ID version 1 with seed 0.

    ICMP without a counterpart is one-way there: its endpoints are not ordered. Choice: the first
    packet of the record decides then, and an ICMP tail, whose type is unknown, has no id.
    """
    network, transport = packet.network, packet.transport
    first, second = (network.src, transport.src_port), (network.dst, transport.dst_port)
    if packet.protocol in REQUESTS and transport.icmp_type is None:
        return None
    one_way = packet.protocol in REQUESTS and transport.icmp_type not in COUNTERPARTS[packet.protocol]
    if not one_way:
        first, second = sorted((first, second))
    data = b"\0\0" + first[0] + second[0] + bytes((packet.protocol, 0))
    if packet.protocol in (TCP, UDP, SCTP, ICMP, ICMPV6):
        data += struct.pack("!HH", first[1], second[1])
    return "1:" + base64.b64encode(hashlib.sha1(data).digest()).decode()


def seconds(nanoseconds: int | Fraction) -> float:
    return float(Fraction(nanoseconds) / SECOND)


def of_view(record: Record, view: str) -> list[Member]:
    """The record's packets in both directions, up or down."""
    if view == "":
        return record.members
    return [member for member in record.members if member.direction == VIEWS.index(view) - 1]


def _counts(record: Record, options: Options) -> Row:
    row: Row = {}
    for view in VIEWS:
        packets = [member.packet for member in of_view(record, view)]
        row[view + "packets"] = len(packets)
        row[view + "frame_bytes"] = sum(packet.frame_length for packet in packets)
        row[view + "ip_bytes"] = sum(packet.network.length for packet in packets)
        row[view + "payload_bytes"] = sum(packet.transport.payload for packet in packets)
    row["clock_back"] = sum(member.earlier for member in record.members)
    row["fragments"] = sum(member.packet.network.fragment != "" for member in record.members)
    if options.first_packets is not None or options.first_seconds is not None:
        row["rest_packets"] = record.rest
    return row


def statistics(values: list[int], unit: int = 1) -> tuple[Any, Any, Any, Any]:
    """Smallest, mean, sample standard deviation (n − 1), largest; None where there is nothing."""
    if not values:
        return None, None, None, None
    count, total = len(values), sum(values)
    mean = float(Fraction(total, count * unit))
    deviation = None
    if count > 1:
        squares = count * sum(value * value for value in values) - total * total
        deviation = math.sqrt(Fraction(squares, count * (count - 1) * unit * unit))
    return min(values), mean, deviation, max(values)


def _sizes(record: Record) -> Row:
    row: Row = {}
    for view in VIEWS:
        packets = [member.packet for member in of_view(record, view)]
        series = {
            "ip_len": [packet.network.length for packet in packets],
            "payload_len": [packet.transport.payload for packet in packets],
        }
        for name, values in series.items():
            for statistic, value in zip(("min", "mean", "std", "max"), statistics(values), strict=True):
                row[f"{view}{name}_{statistic}"] = value
        row[view + "payload_packets"] = sum(length > 0 for length in series["payload_len"])
    return row


def _gaps(record: Record) -> Row:
    row: Row = {}
    for view in VIEWS:
        members = of_view(record, view)
        gaps = [member.gap if view == "" else member.gap_direction for member in members]
        smallest, mean, deviation, largest = statistics([gap for gap in gaps if gap is not None], SECOND)
        row[view + "iat_min_s"] = None if smallest is None else seconds(smallest)
        row[view + "iat_mean_s"] = mean
        row[view + "iat_std_s"] = deviation
        row[view + "iat_max_s"] = None if largest is None else seconds(largest)
    return row


def _flags(record: Record) -> Row:
    return {
        f"{view}{name}_packets": sum(bool(member.packet.transport.flags & 1 << bit) for member in of_view(record, view))
        for view in VIEWS
        for bit, name in enumerate(FLAG_NAMES)
    }


# ---------------------------------------------------------------------------------------------
# The run
# ---------------------------------------------------------------------------------------------


def meter(frames: Iterable[Frame], options: Options | None = None) -> Result:
    """Meter one trace."""
    frames = list(frames)
    options = options or Options()
    reasons: Counter[str] = Counter()
    counters: Counter[str] = Counter()
    if options.reorder is not None:
        frames = reorder(frames, options.reorder, counters)
    window = _nanoseconds(options.dedup)
    deduplication = None if window is None else Deduplication(window, counters)
    ticks = run_clock([frame.time for frame in frames], counters)
    table = FlowTable(options, counters)
    fragments = Fragments(table)
    for frame, tick in zip(frames, ticks, strict=True):
        fragments.expire(tick.clock)
        if tick.boundary:
            table.boundary(tick.clock)
        try:
            packet = decode(frame, tick, table.options)
        except UnmeteredError as unmetered:
            reasons[str(unmetered)] += 1
            continue
        if deduplication is not None and deduplication.is_copy(packet, frame):
            reasons["duplicate"] += 1
            continue
        reasons["metered"] += 1
        counters["ip_length_lies"] += packet.network.lies
        fragments.add(packet)
    fragments.finish()
    table.finish(ticks[-1].clock if ticks else 0)
    return Result(table.rows, reasons, counters)
