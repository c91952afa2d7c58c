"""Link types and tunnels of real captures: the endpoints that Wireshark and Zeek see are those that are metered."""

from __future__ import annotations

import csv
import functools
import ipaddress
import shutil
import subprocess
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import flowgauge as fg
from corpus_folder import ALL_CAPTURES, CORPUS, corpus_files, needs_corpus, some
from flowgauge.decode import Decoder
from flowgauge.kernels.packet import REASONS, make_batch
from flowgauge.sources.capture import open_capture

pytestmark = [pytest.mark.corpus, needs_corpus]

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark")

FIELDS = ("frame.number", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst")
QUOTING = {"icmp", "icmpv6", "sflow", "openflow", "openflow_v4", "nhrp", "tcp"}
"""Protocols that quote or sample packets: what is behind them was not sent there."""

EXPLAINED = {
    # It puts fragments of the outer packet together; here the first is metered inside, its tails outside.
    "gtp1_gn_normal_incl_fragmentation.pcap",
    # It does not know VXLAN's other port.
    "vxlan_port_8472.pcap",
    # It takes a UDP length of 0, of a packet beyond 64 KiB, for damage.
    "bigtcp-ipv4-geneve-ipv6.pcap",
    "bigtcp-ipv6-geneve-ipv4.pcap",
    "bigtcp-ipv6-vxlan-ipv4.pcap",
    "bigtcp-ipv6-vxlan-ipv6.pcap",
    # It reads the container otherwise (see test_formats.py).
    "igmplayer",
}
"""Captures in which Wireshark sees other endpoints, and why."""

Endpoints = tuple[str, str]


class Frame(NamedTuple):
    """Layers of a frame, and the addresses of its innermost IP header, as Wireshark sees them."""

    layers: list[str]
    endpoints: Endpoints | None


def _by_tshark(path: Path) -> dict[int, Frame]:
    fields = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=a", *fields]
    text = subprocess.run(command, capture_output=True, text=True, timeout=300, errors="replace").stdout
    return dict(_frame(line.split("\t")) for line in text.splitlines() if line.count("\t") == len(FIELDS) - 1)


def _frame(values: list[str]) -> tuple[int, Frame]:
    number, layers, *addresses = values
    lists = [field.split(",") for field in addresses]
    headers = {"ip": list(zip(lists[0], lists[1], strict=False)), "ipv6": list(zip(lists[2], lists[3], strict=False))}
    endpoints = None
    for layer in layers.split(":"):
        if layer in QUOTING:
            break
        if headers.get(layer):
            endpoints = headers[layer].pop(0)
    return int(number), Frame(layers.split(":"), endpoints if endpoints and all(endpoints) else None)


class Decoded(NamedTuple):
    """What the decoder makes of a frame."""

    reason: str
    endpoints: Endpoints | None


def _by_flowgauge(path: Path) -> dict[int, Decoded]:
    found, batch, decoder = {}, make_batch(), Decoder()
    names = list(REASONS)
    fields = ("number", "reason", "ip_version", "src_hi", "src_lo", "dst_hi", "dst_lo")
    with open_capture(str(path)) as capture:
        while rows := capture.read(batch):
            decoder.decode(capture.buffer, batch, 0, rows)
            packets = batch.packets[:rows].view(np.ndarray)
            for number, code, version, *words in zip(*(packets[name].tolist() for name in fields), strict=True):
                reason = names[code]
                ends = (_address(version, *words[:2]), _address(version, *words[2:])) if reason == "metered" else None
                found[number] = Decoded(reason, ends)
    return found


@functools.cache
def _address(version: int, high: int, low: int) -> str:
    return str(ipaddress.IPv4Address(low) if version == 4 else ipaddress.IPv6Address(high << 64 | low))


@functools.cache
def _same_text(text: str) -> str:
    """An address of Wireshark's as Python writes it."""
    return str(ipaddress.ip_address(text))


def _captures() -> list[Path]:
    paths = []
    for path in corpus_files(""):
        try:
            open_capture(str(path)).close()
        except fg.SourceError:
            continue
        paths.append(path)
    return paths


@pytest.mark.slow
@needs_tshark
def test_endpoints_are_those_of_wireshark(capsys: pytest.CaptureFixture[str]) -> None:
    """What Wireshark calls IP is metered between the same innermost addresses, and no link type of it is unknown."""
    paths = some(_captures())
    with ThreadPoolExecutor() as pool:
        expected = dict(zip(paths, pool.map(_by_tshark, paths), strict=True))
    counts, unknown, other = Counter[str](), [], []
    for path in paths:
        for number, decoded in _by_flowgauge(path).items():
            frame = expected[path].get(number)
            if frame is None or frame.endpoints is None:
                continue
            if decoded.reason == "unknown_link" and "6lowpan" not in frame.layers:  # which compresses the IP header
                unknown.append((path.name, number))
            if decoded.reason != "metered":
                counts[decoded.reason] += 1
            elif decoded.endpoints == tuple(map(_same_text, frame.endpoints)):
                counts["same"] += 1
            else:
                counts["explained" if path.name in EXPLAINED else "other"] += 1
                other += [(path.name, number)] * (path.name not in EXPLAINED)
    with capsys.disabled():
        print(f"\nWireshark: {dict(counts)}")
    assert unknown == other == []
    assert counts["not_ip"] == 0
    assert counts["same"] > (115_000 if ALL_CAPTURES else 5_000)


LINK_TYPES_OF_IP = {9, 104, 107, 127, 129, 239}
"""Rare link types of the corpus that carry IP."""


def test_rare_links_carry_packets() -> None:
    """Every rare link type of the corpus that carries IP is metered, all or in part; none of the others has a fault."""
    metered = Counter[int]()
    for path in _captures():
        batch, decoder = make_batch(), Decoder()
        with open_capture(str(path)) as capture:
            while rows := capture.read(batch):
                decoder.decode(capture.buffer, batch, 0, rows)
                packets = batch.packets[:rows]
                metered.update(packets["link"][packets["reason"] == 0].tolist())
        assert decoder.counts()["decoder_fault"] == 0
    assert {link for link in LINK_TYPES_OF_IP if not metered[link]} == set()


ZEEK = CORPUS / "zeek"
BY_ITS_LOOK = {("tunnels/teredo_bubble_with_payload.pcap", "1286")}
"""Traces and ports of connections in Teredo between other ports: Zeek follows its clients to those."""
OUTER_OF_ZEEK = {("udp", "4789"), ("udp", "6081"), ("udp", "2152"), ("udp", "3544"), ("udp", "5072"), ("udp", "4754")}


def _zeek_pairs() -> list[tuple[str, str]]:
    """Traces with tunnels, and Zeek's log of each."""
    if not ZEEK.is_dir():
        return []
    with open(ZEEK / "pairs.csv", newline="") as file:
        rows = [tuple(row)[:2] for row in csv.reader(file)][1:]
    words = ("tunnels/", "erspan", "mpls", "pppoe")
    return [(trace, log) for trace, log in rows if any(word in trace for word in words)]


def _connections(log: Path) -> list[dict[str, str]]:
    """Rows of a conn.log."""
    names: list[str] = []
    rows = []
    for line in log.read_text().splitlines():
        if line.startswith("#fields"):
            names = line.split("\t")[1:]
        elif not line.startswith("#"):
            rows.append(dict(zip(names, line.split("\t"), strict=True)))
    return rows


@pytest.mark.parametrize(("trace", "log"), _zeek_pairs())
def test_connections_of_zeek_are_flows(trace: str, log: str) -> None:
    """Every connection that Zeek logs, but those of the tunnels themselves, has a flow between the same endpoints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = fg.read(ZEEK / "traces" / trace, features=["core"], preset="zeek").to_pylist()
    flows = {frozenset((row[f"{side}_ip"], row[f"{side}_port"]) for side in ("client", "server")) for row in rows}
    connections = _connections(ZEEK / "expected" / log)
    assert connections
    missing = []
    for row in connections:
        port = (row["proto"], row["id.resp_p"])
        ports = (0, 0) if row["proto"] == "icmp" else (int(row["id.orig_p"]), int(row["id.resp_p"]))
        ends = frozenset(zip((row["id.orig_h"], row["id.resp_h"]), ports, strict=True))
        explained = port in OUTER_OF_ZEEK or (trace, row["id.orig_p"]) in BY_ITS_LOOK
        if ends not in flows and not explained and row["proto"] != "unknown_transport":
            missing.append(row)
    assert missing == []
