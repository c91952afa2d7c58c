"""Services of the flows of real captures, compared with the protocols that nDPI saw in them."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from corpus_folder import corpus_files
from firstbytes import Heads, read_heads
from flowgauge.kernels.services import SERVICES
from recognising import tell_heads
from trust.ndpi import NDPI, _expected

FOLDERS = ("zeek", "arkime", "formats", "labelled")  # of captures beside nDPI's
BY_PORT = "Match by port"

# nDPI's names of a service and of what it names by what is done with it.
NAMES: dict[str, tuple[str, ...]] = {
    "tls": ("TLS", "DoH_DoT", "IMAPS", "POPS", "SMTPS"),
    "quic": ("QUIC",),
    "http": ("HTTP", "HTTP_Proxy", "HTTP_Connect", "SOAP", "WebSocket"),
    "dns": ("DNS",),
    "mdns": ("MDNS",),
    "llmnr": ("LLMNR",),
    "netbios_ns": ("NetBIOS",),
    "netbios_dgm": ("NetBIOS",),
    "ssdp": ("SSDP",),
    "dhcp": ("DHCP",),
    "dhcpv6": ("DHCPV6",),
    "ssh": ("SSH",),
    "stun": ("STUN",),
    "dtls": ("DTLS",),
    "ntp": ("NTP",),
    "mqtt": ("MQTT",),
    "bittorrent": ("BitTorrent",),
    "wireguard": ("WireGuard",),
    "openvpn": ("OpenVPN",),
    "rdp": ("RDP",),
    "smb": ("SMBv1", "SMBv23", "NetBIOS"),
    "ftp": ("FTP_CONTROL",),
    "smtp": ("SMTP", "SMTPS"),
    "pop3": ("POP3", "POPS"),
    "imap": ("IMAP", "IMAPS"),
    "sip": ("SIP",),
    "rtp": ("RTP", "SRTP"),
    "rtcp": ("RTCP",),
}
_MEANT = {name: {service for service, names in NAMES.items() if name in names} for name in sum(NAMES.values(), ())}

CAUSES = {
    "by_port": "nDPI goes by the port alone; the bytes are of something else, or say nothing.",
    "application": "nDPI names an application or what is carried, by rules of its own; the bytes are the protocol's.",
    "first": "A flow that begins as one service and goes on as another: flowgauge tells the first, nDPI the last.",
    "unknown": "nDPI does not know the flow; the bytes are the protocol's, in captures whose ports a fuzzer changed.",
    "damaged": "A fuzzer changed the bytes that tell a service.",
    "late": "The capture begins in the middle of the connection.",
    "weak": "nDPI takes less for a sign: one short datagram, or a few bits.",
    "other": "",
}
_APPLICATIONS = {
    *(("dns", name) for name in ("AVASTSecureDNS", "CustomProtocolD")),
    *(("dtls", name) for name in ("CustomProtocolE", "CustomProtocolF")),
    *(("tls", name) for name in ("ApplePush", "UltraSurf")),
    ("http", "MapleStory"),
    ("", "SOAP"),  # without HTTP
    ("netbios_ns", "DNS"),  # a NetBIOS question to port 53
    ("rtcp", "KakaoTalk_Voice"),
}
_FIRST = {("stun", "DTLS"), ("stun", "SRTP"), ("rdp", "TLS")}


class Pair(NamedTuple):
    """A flow as both tell it: service here, what nDPI named it, and why they differ ("" where they do not)."""

    service: str
    names: tuple[str, ...]
    cause: str
    example: str


@dataclass
class Comparison:
    """All pairs, and the captures of every service with the flows in each."""

    pairs: list[Pair] = field(default_factory=list)
    captures: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def compared(self, service: str) -> list[Pair]:
        """Pairs that both say are this service, and those that differ of which one side does."""
        return [pair for pair in self.pairs if service == pair.service or (pair.cause and service in meant(pair.names))]

    def false(self, service: str) -> int:
        """Flows that are told to be this service, and are another one."""
        return sum(pair.service == service and pair.cause == "other" for pair in self.pairs)

    def others(self, service: str) -> int:
        """Flows of nDPI's captures that are another service."""
        return sum(service not in meant(pair.names) for pair in self.pairs)

    def unexplained(self) -> list[str]:
        return [pair.example for pair in self.pairs if pair.cause == "other"]


def meant(names: tuple[str, ...]) -> set[str]:
    """The services that nDPI's names may mean; the first that means one counts."""
    return next((_MEANT[name] for name in names if name in _MEANT), set())


def compare(folders: tuple[str, ...] = FOLDERS) -> Comparison:
    """nDPI's captures, and what is found in those of other folders."""
    comparison = Comparison()
    rows = _rows()
    for path in corpus_files("ndpi/pcap"):
        for heads in read_heads(path):
            told = tell_heads(heads)
            comparison.captures[told.service][path.name] += 1
            if row := rows.get((path.name, heads.key)):
                comparison.pairs.append(_pair(path, heads, told.service, row))
    for path in (path for folder in folders for path in corpus_files(folder) if ".pcap" in path.name):
        for heads in read_heads(path):
            comparison.captures[tell_heads(heads).service][path.name] += 1
    return comparison


def _rows() -> dict[tuple[str, Any], dict[str, str]]:
    """nDPI's flows by capture, protocol and ends."""
    with open(NDPI / "expected_flows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["file"], _key(row)): row for row in reversed(rows)}


def _key(row: dict[str, str]) -> tuple[int, frozenset[tuple[str, int]]]:
    flow = _expected(row)
    return flow.protocol, frozenset((address, port) for address, port, *_ in flow.ends)


def _pair(path: Path, heads: Heads, service: str, row: dict[str, str]) -> Pair:
    names = tuple(row["ndpi_proto"].split("/")[-1].split("."))
    same = service in meant(names) or (not service and not meant(names))
    cause = "" if same else next(_causes(path, heads, service, names, row))
    example = f"{path.name} {heads.client}-{heads.server}: {service or 'nothing'}, nDPI {row['ndpi_proto']}"
    return Pair(service, names, cause, example)


def _causes(path: Path, heads: Heads, service: str, names: tuple[str, ...], row: dict[str, str]) -> Iterator[str]:
    """Why they differ: the first that fits."""
    if any((service, name) in _FIRST for name in names):
        yield "first"
    if any((service, name) in _APPLICATIONS for name in names):
        yield "application"
    if row["confidence"] == BY_PORT:
        yield "by_port"
    if path.name.startswith("fuzz"):
        yield "unknown" if service else "damaged"
    if not service and not heads.is_udp and heads.begins == [None, None]:
        yield "late"
    if not service and heads.is_udp:
        yield "weak"
    yield "other"


def service_names() -> tuple[str, ...]:
    return SERVICES[1:]
