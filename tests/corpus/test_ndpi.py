"""Packets and frame bytes of each flow, compared with what nDPI counted in the same captures."""

from __future__ import annotations

import csv
import ipaddress
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

import flowgauge as fg
from corpus_folder import CORPUS, needs_corpus

pytestmark = [pytest.mark.corpus, needs_corpus]

NDPI = CORPUS / "ndpi"
PROTOCOLS = {"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPV6": 58, "IGMP": 2, "ESP": 50, "AH": 51, "VRRP": 112, "PIM": 103}
TUNNEL_PROTOCOLS = {4, 41, 47}  # IP in IP, IPv6 in IP, GRE
TUNNEL_PORTS = {2152, 4789, 5246, 5247, 8472}  # GTP-U, VXLAN, CAPWAP, VXLAN of old Linux

# One flow per 5-tuple and VLAN of a file, as nDPI has them.
OPTIONS = {"idle_timeout": "off", "active_timeout": "off", "no_tcp_end": True, "vlan_in_key": True}


class Flow(NamedTuple):
    """Protocol and the two ends: address, port, packets and frame bytes sent."""

    protocol: int
    ends: frozenset[tuple[str, int, int, int]]

    @property
    def addresses(self) -> set[str]:
        return {end[0] for end in self.ends}


def _expected(row: dict[str, str]) -> Flow:
    ends = ((row["a_ip"], row["a_port"], row["a2b_pkts"], row["a2b_bytes"]),)
    ends += ((row["b_ip"], row["b_port"], row["b2a_pkts"], row["b2a_bytes"]),)
    protocol = PROTOCOLS.get(row["l4"]) or int(row["l4"])
    return Flow(protocol, frozenset((_address(ip), int(port or 0), int(n), int(size)) for ip, port, n, size in ends))


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return text  # an address that nDPI printed in a form of its own


def _metered(path: Path) -> tuple[Counter[Flow], bool]:
    """The flows of a capture, and whether any of them is a tunnel's outer one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = fg.read(path, features=["core"], **OPTIONS).to_pylist()
    flows: Counter[Flow] = Counter()
    tunnelled = False
    for row in rows:
        client = (row["client_ip"], row["client_port"], row["up_packets"], row["up_frame_bytes"])
        server = (row["server_ip"], row["server_port"], row["down_packets"], row["down_frame_bytes"])
        flows[Flow(row["protocol"], frozenset((client, server)))] += 1
        ports = {row["client_port"], row["server_port"]} if row["protocol"] == 17 else set()
        tunnelled = tunnelled or row["protocol"] in TUNNEL_PROTOCOLS or bool(ports & TUNNEL_PORTS)
    return flows, tunnelled


def _cause(row: dict[str, str], flow: Flow, found: Counter[Flow], tunnelled: bool) -> str:
    """Why a flow of nDPI has no equal; "tunnel" is outside of the comparison."""
    seen = {address for other in found for address in other.addresses}
    same = [other for other in found if other.addresses == flow.addresses]
    if tunnelled and not same:
        return "tunnel"
    if not all(_is_address(address) for address in flow.addresses):
        return "nDPI printed an address that is none"
    if not seen:
        return "the link type is not decoded yet"
    if row["file"].startswith("fuzz") or "reads" in row["file"]:
        return "fuzzed headers: nDPI leaves out packets whose lengths lie; Wireshark counts them as well"
    if flow.protocol in (1, 58, 50):
        return "nDPI puts ICMP errors and ESP into flows of their own kind"
    return "nDPI counts other packets of the same endpoints" if same else "nDPI leaves out what encloses the packet"


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def test_flows_equal_those_of_ndpi(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 98 % of nDPI's flows outside tunnels have the same endpoints, packets and frame bytes."""
    with open(NDPI / "expected_flows.csv", newline="") as file:
        by_file = defaultdict(list)
        for row in csv.DictReader(file):
            by_file[row["file"]].append(row)
    paths = {path.name: path for path in NDPI.rglob("*") if path.is_file()}
    equal, causes = 0, Counter[str]()
    for name, rows in by_file.items():
        try:
            found, tunnelled = _metered(paths[name])
        except fg.SourceError:
            found, tunnelled = Counter(), False
        left = found.copy()
        for row in rows:
            flow = _expected(row)
            if left[flow]:
                left[flow] -= 1
                equal += 1
            else:
                causes[_cause(row, flow, found, tunnelled)] += 1
    compared = equal + causes.total() - causes["tunnel"]
    with capsys.disabled():
        print(f"\nnDPI: {equal} of {compared} flows equal ({equal / compared:.2%}); not: {dict(causes)}")
    assert compared >= 2500
    assert equal / compared >= 0.98
