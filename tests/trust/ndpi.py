"""Packets and frame bytes of each flow, compared with what nDPI counted in the same captures."""

from __future__ import annotations

import csv
import ipaddress
import re
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from corpus_folder import CORPUS
from meters import by_package
from oracle import Frame, Options, Tick, UnmeteredError, UnreadableError, decode, read_frames
from packets import Sent, capture
from trust.agreement import KEYS, OTHER, Agreement, cause

NDPI = CORPUS / "ndpi"
FIELDS = ("endpoints", "packets", "frame_bytes")
# One flow per 5-tuple and VLAN of a file, as nDPI has them.
OPTIONS: dict[str, Any] = {
    "idle_timeout": (None,) * 4,
    "active_timeout": None,
    "no_tcp_end": True,
    "vlan_in_key": True,
    "features": ["core"],
}
_PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPV6": 58, "IGMP": 2, "ESP": 50, "AH": 51, "VRRP": 112, "PIM": 103}

DROPPED = cause(
    "dropped_packets",
    "flowgauge",
    "nDPI's reader leaves out packets that it finds malformed, and flows of nothing else; Wireshark has them.",
    "TCP segment whose data offset is more than what IP holds",
)
BAD_HEADER = cause(
    "bad_headers",
    "flowgauge",
    "nDPI reads IPv4 headers whose length is below 20 bytes, ports and all.",
    "IPv4 header with IHL 1",
)


class _Flow(NamedTuple):
    """Protocol and the two ends: address, port, packets and frame bytes sent."""

    protocol: int
    ends: frozenset[tuple[str, int, int, int]]

    @property
    def key(self) -> tuple[Any, ...]:
        return self.protocol, frozenset(end[:2] for end in self.ends)

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(end[0] for end in self.ends)

    def same(self, other: _Flow) -> dict[str, bool]:
        counts = [{(end[:2], end[place]) for end in flow.ends} for place in (2, 3) for flow in (self, other)]
        return {
            "endpoints": self.key == other.key,
            "packets": counts[0] == counts[1],
            "frame_bytes": counts[2] == counts[3],
        }


def compare() -> Agreement:
    """All captures with flows of nDPI."""
    agreement = Agreement("nDPI", FIELDS)
    with open(NDPI / "expected_flows.csv", newline="") as file:
        by_file = defaultdict(list)
        for row in csv.DictReader(file):
            by_file[row["file"]].append(row)
    paths = {path.name: path for path in NDPI.rglob("*") if path.is_file()}
    for name, rows in by_file.items():
        _compare(name, rows, paths[name], agreement)
    return agreement


def _compare(name: str, rows: list[dict[str, str]], path: Path, agreement: Agreement) -> None:
    found, bad_headers = _metered(path)
    waiting = []
    for theirs in map(_expected, rows):
        if found[theirs]:
            found[theirs] -= 1
            agreement.pair(theirs._asdict(), dict.fromkeys(FIELDS, True), "", "")
        else:
            waiting.append(theirs)
    left = list((+found).elements())
    for theirs in waiting:
        near = [ours for ours in left if ours.key == theirs.key]
        why = _cause(theirs, left, bad_headers)
        if near:
            left.remove(near[0])
            agreement.pair(theirs._asdict(), theirs.same(near[0]), why, f"{name}: {theirs} became {near[0]}")
        else:
            agreement.alone(why, f"{name}: only nDPI: {theirs}")
    for ours in left:
        agreement.alone(_cause_alone(ours), f"{name}: only flowgauge: {ours}")


def _cause(theirs: _Flow, left: list[_Flow], bad_headers: int) -> str:
    if theirs.protocol in (1, 58):
        return KEYS
    same = [ours for ours in left if ours.key == theirs.key]
    if same:
        return DROPPED if _sum(same[0]) > _sum(theirs) else OTHER
    return BAD_HEADER if bad_headers else OTHER


def _cause_alone(ours: _Flow) -> str:
    return KEYS if ours.protocol in (1, 58) else DROPPED


def _sum(flow: _Flow) -> tuple[int, int]:
    return sum(end[2] for end in flow.ends), sum(end[3] for end in flow.ends)


def _end(address: str, port: str, packets: str, size: str) -> tuple[str, int, int, int]:
    """One end of a row. Some IPv6 addresses have brackets, their port behind them, and two groups of zeros as "::"."""
    if found := re.fullmatch(r"\[(.*)\](?::(\d+))?", address):
        address, port = found[1], found[2] or port
    if address.count("::") == 2:
        address = address.replace("::", ":0:", 1)
    return str(ipaddress.ip_address(address)), int(port or 0), int(packets), int(size)


def _expected(row: dict[str, str]) -> _Flow:
    ends = (
        _end(row["a_ip"], row["a_port"], row["a2b_pkts"], row["a2b_bytes"]),
        _end(row["b_ip"], row["b_port"], row["b2a_pkts"], row["b2a_bytes"]),
    )
    return _Flow(_PROTOCOLS.get(row["l4"]) or int(row["l4"]), frozenset(ends))


def _metered(path: Path) -> tuple[Counter[_Flow], int]:
    """The flows of a capture, and its packets with a bad IPv4 header.

    Left out are the packets that nDPI's reader passes over: those cut off or with an IP length beyond what was
    captured, and fragments behind the first but those of TCP.
    """
    flows: Counter[_Flow] = Counter()
    try:
        frames = read_frames(path.read_bytes())
    except UnreadableError:
        return flows, 0
    kept = [Sent(frame.time, frame.data, frame.length, frame.link) for frame in frames if _is_read(frame)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = by_package(capture(kept), **OPTIONS)
    for row in result.rows:
        client = (row["client_ip"], row["client_port"], row["up_packets"], row["up_frame_bytes"])
        server = (row["server_ip"], row["server_port"], row["down_packets"], row["down_frame_bytes"])
        flows[_Flow(row["protocol"], frozenset((client, server)))] += 1
    return flows, result.reasons["bad_ihl"]


def _is_read(frame: Frame) -> bool:
    try:
        packet = decode(frame, Tick(frame.time or 0, 0, False), Options())
    except UnmeteredError:
        return True
    network = packet.network
    is_tail = network.fragment == "tail" and network.protocol != 6
    return not is_tail and not network.lies and network.ip_at + network.length <= len(frame.data)
