"""The conn.log of Zeek, row by row: schema and preset `zeek` on the traces of Zeek's own tests.

Zeek logs the connections around a tunnel as well. Those are compared with `tunnels="outer"`, and between two tunnels
with the packets taken out of the outer one.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import flowgauge as fg
from captures import write_pcap
from corpus_folder import CORPUS
from oracle import ACK, SYN, Frame, Options, Packet, Tick, UnmeteredError, decode, decode_inside, read_frames
from trust.agreement import OTHER, Agreement, cause

ZEEK = CORPUS / "zeek"
FIELDS = ("endpoints", "conn_state", "packets", "ip_bytes", "history", "payload_bytes", "duration", "missed_bytes")
ROWS_ALONE = ("only Zeek", "only flowgauge")

FRAGMENTS = cause(
    "fragments",
    "both",
    "Zeek puts datagrams together and counts each once, and not at all when a fragment is missing; here every packet "
    "counts as it was captured. In a tunnel the first fragment is looked into, the others belong to the outer flow.",
    "UDP datagram in two fragments: 1 packet of 28 + data bytes, or 2 packets with 20 bytes of header more",
)
OFFLOAD = cause(
    "ip_length_0",
    "flowgauge",
    "Segmentation offload leaves the IP length 0; Zeek counts 0 bytes, here what was on the wire.",
    "IPv4 TCP segment of 1,500 bytes with total length 0",
)
SERVICES = cause(
    "service_ports",
    "both",
    "Without a SYN the ports decide who is the client. Zeek knows the ports of the scripts that it runs (with -b "
    "hardly any), flowgauge its shipped list of services.",
    "SYN+ACK from port 80 to port 6705",
)
ICMP_ANSWERS = cause(
    "icmp_answers",
    "flowgauge",
    "The sender of an ICMP answer without a request before it is the originator for Zeek, the server here.",
    "ICMPv6 router advertisement (134) to one host",
)
TEREDO = cause(
    "teredo_ports",
    "both",
    "Zeek looks for Teredo in UDP of any port; here a tunnel is recognised by its port and by what is inside.",
    "IPv6 packet in UDP from port 3797 to port 32900",
)
SCRIPTS = cause(
    "zeek_scripts",
    "both",
    "Scripts of Zeek stop following a connection, turn it around once they have parsed it, or mark it (`X`).",
    "two NTP packets, the answer first",
)
BUBBLES = "IPv6 packets without a next header (59), as Teredo's bubbles: no connection for Zeek, a flow here"
"""Rows that are left out of the comparison, and why."""


def compare() -> Agreement:
    """All pairs of trace and log."""
    agreement = Agreement("Zeek", FIELDS)
    with open(ZEEK / "pairs.csv", newline="") as file:
        for pair in csv.DictReader(file):
            name = pair["expected"].split("/")[0]
            _compare(_Trace(pair["trace"], name, pair["command"]), ZEEK / "expected" / pair["expected"], agreement)
    return agreement


@dataclass
class _Trace:
    """A trace as Zeek was told to read it."""

    path: str
    name: str
    command: str
    frames: list[Frame] = field(default_factory=list)
    packets: list[tuple[Frame, Packet]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.frames = read_frames((ZEEK / "traces" / self.path).read_bytes())
        for frame in self.frames:
            try:
                self.packets.append((frame, decode(frame, Tick(frame.time or 0, 0, False), Options(tunnels="outer"))))
            except UnmeteredError:
                continue

    def between(self) -> Any:
        """A capture of the packets that came out of a tunnel and hold another, None without any."""
        kept = []
        for frame, outer in self.packets:
            view = frame if outer.link.end is None else replace(frame, data=frame.data[: outer.link.end])
            inside = decode_inside(view, outer)
            while inside is not None:
                packet, inside = inside, decode_inside(view, inside)
                if inside is not None:
                    begin, length = packet.network.ip_at, packet.network.length
                    kept.append((frame.time, frame.data[begin : begin + length], length))
        return io.BytesIO(write_pcap(kept, ns=True, link=101)) if kept else None

    def source(self) -> Any:
        """The capture, or the part of it that Zeek's filter let through."""
        if self.name == "core.pcap.dynamic-filter":
            kept = _switching(self.packets)
        elif self.name == "scripts.base.frameworks.netcontrol.packetfilter":
            kept = _blocking(self.packets)
        elif ports := [int(port) for port in re.findall(r"port (\d+)", self.command)]:
            kept = [frame for frame, packet in self.packets if _on_port(packet, ports)]
        else:
            return ZEEK / "traces" / self.path
        link = kept[0].link
        return io.BytesIO(write_pcap([(frame.time, frame.data, frame.length) for frame in kept], ns=True, link=link))

    @property
    def has_fragments(self) -> bool:
        return any(packet.network.fragment for _, packet in self.packets)

    def has_length_0(self, addresses: set[str]) -> bool:
        """Whether any IPv4 packet between these has no length."""
        for frame, packet in self.packets:
            at = packet.network.ip_at
            ends = {str(ipaddress.ip_address(packet.network.src)), str(ipaddress.ip_address(packet.network.dst))}
            if packet.network.version == 4 and ends == addresses and frame.data[at + 2 : at + 4] == b"\0\0":
                return True
        return False


def _on_port(packet: Packet, ports: Iterable[int]) -> bool:
    return not {packet.transport.src_port, packet.transport.dst_port}.isdisjoint(ports)


def _switching(packets: list[tuple[Frame, Packet]]) -> list[Frame]:
    """That script lets everything through to the first packet, port 80 to the second, port 53 from there on."""
    steps: Iterator[Callable[[Packet], bool]] = iter(
        (lambda packet: True, lambda packet: _on_port(packet, [80]), lambda packet: _on_port(packet, [53]))
    )
    passes, kept = next(steps), []
    for frame, packet in packets:
        if passes(packet):
            kept.append(frame)
            passes = next(steps, passes)
    return kept


def _blocking(packets: list[tuple[Frame, Packet]]) -> list[Frame]:
    """That script drops what comes from or goes to a host once a connection of it is established."""
    blocked: set[bytes] = set()
    kept = []
    for frame, packet in packets:
        if blocked.isdisjoint((packet.network.src, packet.network.dst)):
            kept.append(frame)
            if packet.transport.flags & (SYN | ACK) == SYN | ACK:
                blocked.add(packet.network.dst)
    return kept


class _Row(NamedTuple):
    """A row of conn.log in plain values, None where nothing is told."""

    endpoints: tuple[Any, ...]
    conn_state: str
    packets: tuple[int | None, int | None]
    ip_bytes: tuple[int | None, int | None]
    history: str | None
    payload_bytes: tuple[int | None, int | None]
    duration: float | None
    missed_bytes: int

    @property
    def key(self) -> tuple[Any, ...]:
        client, client_port, server, server_port, protocol = self.endpoints
        return (frozenset([(client, client_port), (server, server_port)]), protocol)

    @property
    def addresses(self) -> set[str]:
        return {self.endpoints[0], self.endpoints[2]}


def _row(values: dict[str, Any]) -> _Row:
    def number(name: str) -> int | None:
        return None if values.get(name) in (None, "-") else int(values[name])

    def pair(name: str) -> tuple[int | None, int | None]:
        return number(f"orig_{name}"), number(f"resp_{name}")

    duration, history = values.get("duration"), values.get("history")
    ends = (values["id.orig_h"], number("id.orig_p"), values["id.resp_h"], number("id.resp_p"))
    return _Row(
        (*ends, number("ip_proto")),
        values["conn_state"],
        pair("pkts"),
        pair("ip_bytes"),
        None if history == "-" else history,
        pair("bytes"),
        None if duration in (None, "-") else float(duration),
        number("missed_bytes") or 0,
    )


def _logged(path: Path) -> list[_Row]:
    rows, names = [], []
    for line in path.read_text().splitlines():
        if line.startswith("#fields"):
            names = line.split("\t")[1:]
        elif not line.startswith("#"):
            rows.append(_row(dict(zip(names, line.split("\t"), strict=True))))
    return rows


def _metered(source: Any, tunnels: str) -> dict[tuple[Any, ...], list[_Row]]:
    if isinstance(source, io.BytesIO):
        source.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = fg.read(source, schema="zeek", preset="zeek", tunnels=tunnels)
    found = defaultdict(list)
    for values in table.to_pylist():
        row = _row(values)
        found[row.key].append(row)
    return found


def _same(theirs: _Row, ours: _Row) -> dict[str, bool]:
    """By field; what Zeek does not tell is left out."""
    same = {name: getattr(theirs, name) == getattr(ours, name) for name in FIELDS}
    if theirs.duration is not None and ours.duration is not None:
        same["duration"] = abs(theirs.duration - ours.duration) <= 0.001
    if theirs.packets == (None, None):
        del same["packets"], same["ip_bytes"]
    return same


def _compare(trace: _Trace, log: Path, agreement: Agreement) -> None:
    source = trace.source()
    inner, outer = (_metered(source, tunnels) for tunnels in ("inner", "outer"))
    if middle := trace.between():
        for key, rows in _metered(middle, "outer").items():
            outer[key] += rows
    for theirs in _logged(log):
        candidates = [*inner[theirs.key], *outer[theirs.key]]
        if not candidates:
            why = TEREDO if _is_teredo(theirs) else OTHER
            agreement.alone(why, f"{trace.name}: only Zeek: {theirs}")
            continue
        ours = max(candidates, key=lambda row: sum(_same(theirs, row).values()))
        if ours in inner[theirs.key]:
            inner[theirs.key].remove(ours)
        else:
            # What was not in a tunnel is a flow of its own, which Zeek logs with the rest.
            outer[theirs.key].remove(ours)
            inner[theirs.key].clear()
        same = _same(theirs, ours)
        why = "" if all(same.values()) else _cause(trace, theirs, ours, same)
        agreement.pair(theirs._asdict(), same, why, f"{trace.name}: {theirs} became {ours}")
    for ours in (row for rows in inner.values() for row in rows):
        if ours.endpoints[4] == 59:
            agreement.exclude(BUBBLES)
        else:
            agreement.alone(OTHER, f"{trace.name}: only flowgauge: {ours}")


def _is_teredo(row: _Row) -> bool:
    """Whether an end has an address of Teredo (RFC 4380 §2.6)."""
    return any(ipaddress.ip_address(text) in ipaddress.ip_network("2001::/32") for text in row.addresses)


def _cause(trace: _Trace, theirs: _Row, ours: _Row, same: dict[str, bool]) -> str:
    if {"D^", "X"} & {(theirs.history or "")[:2], (theirs.history or "")[:1]}:
        return SCRIPTS
    if theirs.endpoints[::2] != ours.endpoints[::2] or theirs.endpoints[1] != ours.endpoints[1]:
        return ICMP_ANSWERS if theirs.endpoints[4] in (1, 58) else SERVICES
    if {name for name, equal in same.items() if not equal} == {"ip_bytes"} and trace.has_length_0(theirs.addresses):
        return OFFLOAD
    if trace.has_fragments:
        return FRAGMENTS
    if _is_teredo(theirs):
        return TEREDO
    stops = theirs.history and (ours.history or "").startswith(theirs.history)
    if stops and sum(n or 0 for n in theirs.packets) < sum(n or 0 for n in ours.packets):
        return SCRIPTS
    return OTHER
