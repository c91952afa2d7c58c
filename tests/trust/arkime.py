"""The sessions of Arkime in the captures of its own tests: packets, bytes, flags, round trips, Community IDs, VLANs.

`bytes` are frame bytes for both. A session and the records of the same key that overlap it in time are one row, summed;
`records` says whether both sides cut it into the same pieces. Packets that are not of IP are one row of a capture; for
flowgauge they are the packets that it counts as `not_ip`.
"""

from __future__ import annotations

import ipaddress
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus_folder import CORPUS
from meters import by_package
from trust.agreement import KEYS, OTHER, Agreement, cause

ARKIME = CORPUS / "arkime"
FIELDS = (
    "packets",
    "bytes",
    "directions",
    "records",
    "source",
    "first",
    "last",
    "flags",
    "zero_windows",
    "rtt",
    "community_id",
    "vlan",
)
OPTIONS: dict[str, Any] = {
    "idle_timeout": "tcp=480,udp=60,icmp=60,other=600",
    "active_timeout": None,
    "vlan_in_key": True,
    "features": ["core", "flags", "tcp"],
}
"""The timeouts of Arkime and its tests; it too ends a connection 5 s behind its close, and tells VLANs apart."""

FLAGS = "syn", "psh", "fin", "rst", "urg", "ece", "cwr"
"""What both count. Arkime has SYN+ACKs apart (added to the SYNs here) and counts ACKs without PSH only."""

RTT_TOLERANCE_MS = 1.0
VXLAN = 4789

ENDS = cause(
    "session_ends",
    "both",
    "Arkime saves a BGP session every 10 s and any after 480 s, compares its timeouts with the time of the packet "
    "before, and lets a SYN begin a session only behind a FIN or RST and with another number than the first; here a "
    "SYN with another number does, or any behind a close, and the packet that comes after a silence is of a new flow.",
    "SYN, SYN+ACK, SYN with another sequence number; two UDP packets 61 s apart and none between",
)
IDS = cause(
    "community_id_ports",
    "flowgauge",
    "Arkime hashes ports of 0 for protocols without ports, and orders the addresses of ICMP that has no answer; the "
    "specification does neither. Wireshark's ids are those of flowgauge.",
    "ESP packet; ICMPv6 port unreachable from the higher address",
)
FIRST_ACK = cause(
    "first_plain_ack",
    "both",
    "initRTT is half of the time from the SYN to the first segment that has no flag but ACK, whoever sends it and "
    "whatever it acknowledges; the handshake's columns end with the first acknowledgement of the SYN+ACK.",
    "SYN, SYN+ACK, ACK+PSH, and 10 ms later ACK",
)
CLOSED_WINDOWS = cause(
    "windows_behind_a_fin",
    "both",
    "A window of 0 behind the peer's FIN stops nobody; Arkime counts it, flowgauge does not.",
    "FIN one way, FIN with a window of 0 the other way",
)
FLIPPED = "A rule of Arkime's tests turns source and destination around (tag `flip test`)"
"""Rows that are left out of the comparison, and why."""

End = tuple[str, int]
Key = tuple[Any, ...]


@dataclass
class _Record:
    """What one side has in a row; times and round trip in ms."""

    first: int
    last: int
    packets: list[int]  # of each session or record
    bytes: int = 0
    ends: dict[End, tuple[int, int]] = field(default_factory=dict)  # packets and bytes that each has sent
    source: End | None = None
    flags: dict[str, int] | None = None
    zero_windows: dict[End, int] | None = None
    rtt: float | None = None
    community_id: str | None = None
    vlans: frozenset[int] = frozenset()
    notes: frozenset[str] = frozenset()

    def add(self, other: _Record) -> None:
        """Take in a later record of the same key."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.packets += other.packets
        self.bytes += other.bytes
        for end, (packets, size) in other.ends.items():
            before = self.ends.get(end, (0, 0))
            self.ends[end] = before[0] + packets, before[1] + size
        self.flags = _sum(self.flags, other.flags)
        self.zero_windows = _sum(self.zero_windows, other.zero_windows)
        self.rtt = other.rtt if self.rtt is None else self.rtt
        self.vlans |= other.vlans
        self.notes |= other.notes


def compare() -> Agreement:
    """All captures with sessions of Arkime."""
    agreement = Agreement("Arkime", FIELDS)
    for path in sorted(ARKIME.glob("*.test")):
        sides: dict[Key, tuple[list[_Record], list[_Record]]] = defaultdict(lambda: ([], []))
        for key, record in _sessions(path):
            sides[key][0].append(record)
        for key, record in _flows(path.with_suffix(".pcap")):
            sides[key][1].append(record)
        for key, (sessions, flows) in sides.items():
            for session, flow in _overlapping(sessions, flows):
                _compare(f"{path.stem} {key}", key, session, flow, agreement)
    return agreement


def _compare(name: str, key: Key, session: _Record | None, flow: _Record | None, agreement: Agreement) -> None:
    if session is None or flow is None:
        agreement.alone(OTHER, f"{name}: only {'flowgauge' if session is None else 'Arkime'}: {session or flow}")
    elif "flip test" in session.notes:
        agreement.exclude(FLIPPED)
    else:
        same = _same(key, session, flow)
        agreement.pair(vars(session), same, _cause(key, session, flow, same), f"{name}: {session} became {flow}")


def _same(key: Key, session: _Record, flow: _Record) -> dict[str, bool]:
    """Every field that Arkime tells, and whether it is equal."""
    same = {"packets": sum(session.packets) == sum(flow.packets)}
    if key[0] is None:
        return same
    for name in ("bytes", "first", "last"):
        same[name] = getattr(session, name) == getattr(flow, name)
    same["records"] = session.packets == flow.packets
    if len(session.ends) == len(flow.ends) == 2 and session.ends.keys() == flow.ends.keys():
        same["directions"] = session.ends == flow.ends
        if flow.source:
            same["source"] = session.source == flow.source
    if session.community_id:
        same["community_id"] = session.community_id == flow.community_id
    if session.vlans or flow.vlans:
        same["vlan"] = session.vlans == flow.vlans
    if session.flags:
        same["flags"] = session.flags == flow.flags
        same["zero_windows"] = session.zero_windows == flow.zero_windows
        same["rtt"] = _near(session.rtt, flow.rtt)
    return same


def _near(theirs: float | None, ours: float | None) -> bool:
    if theirs is None or ours is None:
        return theirs is ours
    return abs(theirs - ours) <= RTT_TOLERANCE_MS


def _cause(key: Key, session: _Record, flow: _Record, same: dict[str, bool]) -> str:
    """Why the two differ; rules on fields and on how records ended."""
    differ = {name for name, equal in same.items() if not equal}
    if differ == {"community_id"} and key[0] not in (6, 17, 132):
        return IDS
    if differ == {"rtt"} and session.rtt is not None and (flow.rtt is None or session.rtt > flow.rtt):
        return FIRST_ACK
    if differ == {"zero_windows"} and {"fin", "rst"} & flow.notes:
        return CLOSED_WINDOWS
    if differ == {"records"} and (key[0] in (1, 58) or not isinstance(key[1], frozenset) or len(flow.vlans) > 1):
        return KEYS
    if differ == {"records"} and len(flow.packets) > 1 and {"idle", "late"} & flow.notes:
        return ENDS
    if differ == {"records", "last"} and session.last - flow.last > 3_600_000:
        return ENDS
    if differ <= {"records", "rtt"} and ({"reuse", "fin"} & flow.notes or "saved" in session.notes):
        return ENDS
    return OTHER


def _overlapping(sessions: list[_Record], flows: list[_Record]) -> Iterator[tuple[_Record | None, _Record | None]]:
    """Records of one key, those of each side that overlap in time as one."""
    both = [(record, 0) for record in sessions] + [(record, 1) for record in flows]
    row: list[_Record | None] = [None, None]
    last = 0
    for record, side in sorted(both, key=lambda item: item[0].first):
        if any(row) and record.first > last:
            yield row[0], row[1]
            row, last = [None, None], 0
        last = max(last, record.last)
        before = row[side]
        if before is None:
            row[side] = record
        else:
            before.add(record)
    yield row[0], row[1]


def _key(protocol: int, ends: Iterable[End], *, arp: bool = False) -> Key:
    """What makes a session of Arkime."""
    ends = frozenset(ends)
    if protocol in (2, 103):
        return protocol, "all"
    if protocol == 17 and {port for _, port in ends} == {67, 68}:
        return protocol, "DHCP"
    if arp:
        return protocol, "ARP", frozenset(address for address, _ in ends)
    return protocol, ends


def _sessions(path: Path) -> Iterator[tuple[Key, _Record]]:
    """Arkime's sessions of a capture."""
    for session in json.loads(path.read_text("utf-8"))["sessions3"]:
        body = session["body"]
        sides, network = (body["source"], body["destination"]), body["network"]
        record = _Record(body["firstPacket"], body["lastPacket"], [network["packets"]], network["bytes"])
        record.notes = frozenset(body.get("tags", ())) | ({"saved"} if body["segmentCnt"] > 1 else set())
        if "ip" not in body["source"]:
            yield (None,), record
            continue
        ends = [(str(ipaddress.ip_address(side["ip"])), side["port"]) for side in sides]
        record.ends = {end: (side["packets"], side["bytes"]) for end, side in zip(ends, sides, strict=True)}
        record.source = ends[0]
        record.community_id = network.get("community_id")
        record.vlans = frozenset(network.get("vlan", {}).get("id", ()))
        if counts := body.get("tcpflags"):
            record.flags = {name: counts[name] for name in FLAGS}
            record.flags["syn"] += counts["syn-ack"]
            record.zero_windows = dict(zip(ends, (counts["srcZero"], counts["dstZero"]), strict=True))
            record.rtt = body.get("initRTT")
        yield _key(body["ipProtocol"], ends, arp="arp" in body["protocol"]), record


def _flows(path: Path) -> Iterator[tuple[Key, _Record]]:
    """The records of flowgauge, and its count of what is not of IP."""
    found = by_package(path.read_bytes(), **OPTIONS)
    for row in sorted(found.rows, key=lambda row: (row["first_packet"], row["part"])):
        yield _flow(row)
    if others := found.reasons["not_ip"]:
        yield (None,), _Record(0, 2**63, [others])


def _flow(row: dict[str, Any]) -> tuple[Key, _Record]:
    ways = {(row[f"{side}_ip"], row[f"{side}_port"]): way for side, way in (("client", "up"), ("server", "down"))}
    record = _Record(row["start"] // 10**6, row["end"] // 10**6, [row["packets"]], row["frame_bytes"])
    record.ends = {end: (row[f"{way}_packets"], row[f"{way}_frame_bytes"]) for end, way in ways.items()}
    if row["client_by"] in ("syn", "synack", "first"):
        record.source = (row["client_ip"], row["client_port"])
    record.community_id = row["community_id"]
    record.vlans = frozenset({row["vlan"], row["vlan_outer"]} - {None})
    record.notes = frozenset({row["end_reason"]})
    if row["protocol"] == 6:
        record.flags = {name: row[f"{name}_packets"] for name in FLAGS}
        record.zero_windows = {end: row[f"{way}_zero_windows"] or 0 for end, way in ways.items()}
        syn, ack = row["handshake_syn_rtt_s"], row["handshake_ack_rtt_s"]
        record.rtt = None if syn is None or ack is None else (syn + ack) * 1000 / 2
    arp = row["protocol"] == 17 and VXLAN in (row["client_port"], row["server_port"])
    return _key(row["protocol"], ways, arp=arp), record


def _sum(a: dict[Any, int] | None, b: dict[Any, int] | None) -> dict[Any, int] | None:
    if a is None or b is None:
        return a if b is None else b
    return {name: a.get(name, 0) + b.get(name, 0) for name in a.keys() | b.keys()}
