"""The example captures show what their README says, seen by dpkt and tshark."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import dpkt
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
CAPTURES = sorted((EXAMPLES / "captures").iterdir())
NAME = re.compile(r"(?P<app>[a-z]+)_(?P<action>[a-z-]+)_(?P<number>\d\d)\.(pcap|pcapng|pcap\.gz)")
PRIVATE = [ip_network(text) for text in ("192.168.43.0/24", "10.20.30.0/24", "fd00::/8", "fe80::/10", "ff02::/16")]
SYN, FIN, RST, ACK = dpkt.tcp.TH_SYN, dpkt.tcp.TH_FIN, dpkt.tcp.TH_RST, dpkt.tcp.TH_ACK

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


class Segment(NamedTuple):
    """A TCP segment with its endpoints (address, port)."""

    source: tuple[bytes, int]
    destination: tuple[bytes, int]
    tcp: dpkt.tcp.TCP


def frames(path: Path) -> Iterator[dpkt.ethernet.Ethernet]:
    """Every frame of a capture."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        reader = dpkt.pcapng.Reader if path.suffix == ".pcapng" else dpkt.pcap.Reader
        for _, data in reader(file):
            yield dpkt.ethernet.Ethernet(data)


def layers(path: Path) -> Iterator[Any]:
    """Every protocol layer of every frame that dpkt decodes."""
    for layer in frames(path):
        while isinstance(layer, dpkt.Packet):
            yield layer
            layer = layer.data


def segments(path: Path) -> Iterator[Segment]:
    """Every TCP segment of a capture."""
    for frame in frames(path):
        tcp = getattr(frame.data, "data", None)
        if isinstance(tcp, dpkt.tcp.TCP):
            yield Segment((frame.data.src, tcp.sport), (frame.data.dst, tcp.dport), tcp)


def conversations(path: Path) -> list[list[Segment]]:
    """The TCP segments of each pair of endpoints, in order."""
    found = defaultdict(list)
    for segment in segments(path):
        found[frozenset(segment[:2])].append(segment)
    return list(found.values())


def capture(name: str) -> Path:
    return EXAMPLES / "captures" / name


def tshark(path: Path, display_filter: str) -> list[str]:
    """The numbers of the frames that match, checksums verified."""
    checks = [f"{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")]
    options = [word for check in checks for word in ("-o", check)]
    command = ["tshark", "-n", "-r", str(path), *options, "-Y", display_filter, "-T", "fields", "-e", "frame.number"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_names_are_labels() -> None:
    """Every capture is named {app}_{action}_NN, and at least eight captures carry at least six labels."""
    matches = [NAME.fullmatch(path.name) for path in CAPTURES]
    assert None not in matches
    assert len(matches) >= 8
    assert len({(match["app"], match["action"]) for match in matches if match}) >= 6


def test_size() -> None:
    """All captures together stay below three megabytes."""
    assert 0 < sum(path.stat().st_size for path in CAPTURES) < 3_000_000


def test_readme_describes_every_capture() -> None:
    """The table of the README has one row for each capture."""
    rows = re.findall(r"^\| `([^`]+)` \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [path.name for path in CAPTURES]


def test_containers() -> None:
    """Classic pcap, pcapng and gzip are all there, by their magic numbers."""
    magics = {path.read_bytes()[:4] for path in CAPTURES}
    assert {b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a"} < magics
    assert any(magic.startswith(b"\x1f\x8b") for magic in magics)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_no_address_of_a_real_network(path: Path) -> None:
    """Addresses are those of the two namespaces, and nothing tells of the machine that recorded."""
    packets = 0
    for frame in frames(path):
        packets += 1
        assert frame.src.startswith(b"\x02\x00\x00\x00\x43")
        if isinstance(frame.data, dpkt.ip.IP | dpkt.ip6.IP6):
            for raw in (frame.data.src, frame.data.dst):
                address = ip_address(raw)
                assert any(address in network for network in PRIVATE if network.version == address.version)
        assert not re.search(rb"/(home|root|tmp)/", bytes(frame))
    assert packets > 10


def test_port_reused_after_closing() -> None:
    """A pair of endpoints closes on both sides and then begins anew with another sequence number."""
    found = []
    for conversation in conversations(capture("browser_http-fetch_01.pcap")):
        starts = [i for i, segment in enumerate(conversation) if segment.tcp.flags & (SYN | ACK) == SYN]
        if len({conversation[i].tcp.seq for i in starts}) == 2:
            found.append({s.source for s in conversation[: starts[1]] if s.tcp.flags & FIN})
    assert [len(closers) for closers in found] == [2]


def test_flow_caught_in_the_middle() -> None:
    """A TCP connection carries data both ways and its SYN is not in the capture."""
    found = [
        {segment.source for segment in conversation if segment.tcp.data}
        for conversation in conversations(capture("chat_messages_02.pcap"))
        if not any(segment.tcp.flags & SYN for segment in conversation)
    ]
    assert [len(talkers) for talkers in found] == [2]


@pytest.mark.parametrize(("reset", "answers"), [(RST, "data"), (RST | ACK, "SYN")], ids=["connection", "attempt"])
def test_reset(reset: int, answers: str) -> None:
    """A dead server resets the connection and refuses the next one."""
    found = []
    for conversation in conversations(capture("chat_messages_02.pcap")):
        for before, segment in pairwise(conversation):
            if segment.tcp.flags & (RST | ACK) == reset and segment.source == before.destination:
                found.append("SYN" if before.tcp.flags & SYN else "data" if before.tcp.data else "")
    assert found == [answers]


@pytest.mark.parametrize("name", ["video_stream_01.pcap", "git_clone_01.pcap"])
def test_retransmission(name: str) -> None:
    """Data with a sequence number below one already sent by the same side is sent late."""
    highest: dict[tuple[tuple[bytes, int], tuple[bytes, int]], int] = {}
    late = 0
    for source, destination, tcp in segments(capture(name)):
        if tcp.data:
            late += tcp.seq < highest.get((source, destination), 0)
            highest[source, destination] = max(tcp.seq, highest.get((source, destination), 0))
    assert late > 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (dpkt.ip6.IP6, "browser_http-fetch_02.pcap.gz"),
        (dpkt.udp.UDP, "dns_lookup_01.pcap"),
        (dpkt.udp.UDP, "voip_call_01.pcap"),
        (dpkt.icmp.ICMP.Echo, "ping_echo_01.pcapng"),
        (dpkt.icmp6.ICMP6.Echo, "ping_echo_01.pcapng"),
        (dpkt.icmp.ICMP.Unreach, "dns_lookup_02.pcap"),
        (dpkt.icmp6.ICMP6.Unreach, "dns_lookup_02.pcap"),
    ],
    ids=lambda value: value.__qualname__ if isinstance(value, type) else value,
)
def test_protocols(kind: type, name: str) -> None:
    """IPv6, UDP, ICMP and ICMPv6 are in the captures that say so."""
    assert any(isinstance(layer, kind) for layer in layers(capture(name)))


def test_fragments() -> None:
    """Large pings come in fragments, first ones and tails, over both IP versions."""
    found = set()
    for layer in layers(capture("ping_echo_01.pcapng")):
        if isinstance(layer, dpkt.ip.IP) and (layer.mf or layer.offset):
            found.add((4, layer.offset > 0))
        elif isinstance(layer, dpkt.ip6.IP6):
            header = layer.extension_hdrs.get(dpkt.ip.IP_PROTO_FRAGMENT)
            found |= {(6, header.frag_off > 0)} if header else set()
    assert found == {(4, False), (4, True), (6, False), (6, True)}


@needs_tshark
@pytest.mark.parametrize(
    ("display_filter", "name"),
    [
        ("tcp.analysis.reused_ports", "browser_http-fetch_01.pcap"),
        ("tcp.analysis.retransmission", "video_stream_01.pcap"),
        ("tcp.flags.reset == 1", "chat_messages_02.pcap"),
        ("tls.handshake.type == 2", "browser_https-fetch_01.pcap"),
        ("ipv6 && http.request", "browser_http-fetch_02.pcap.gz"),
    ],
)
def test_tshark_sees_it_too(display_filter: str, name: str) -> None:
    """Wireshark's own analysis finds the property."""
    assert tshark(capture(name), display_filter)


@needs_tshark
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_packets_are_whole_and_sound(path: Path) -> None:
    """No packet is cut short, malformed, or has a wrong checksum."""
    wrong = " || ".join(f"{protocol}.checksum.status == Bad" for protocol in ("ip", "tcp", "udp", "icmp", "icmpv6"))
    assert tshark(path, f"frame.cap_len < frame.len || _ws.malformed || {wrong}") == []
