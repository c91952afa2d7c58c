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


def _metered(path: Path) -> Counter[Flow]:
    """The flows of a capture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = fg.read(path, features=["core"], **OPTIONS).to_pylist()
    flows: Counter[Flow] = Counter()
    for row in rows:
        client = (row["client_ip"], row["client_port"], row["up_packets"], row["up_frame_bytes"])
        server = (row["server_ip"], row["server_port"], row["down_packets"], row["down_frame_bytes"])
        flows[Flow(row["protocol"], frozenset((client, server)))] += 1
    return flows


def _cause(row: dict[str, str], flow: Flow, found: Counter[Flow]) -> str:
    """Why a flow of nDPI has no equal."""
    same = [other for other in found if other.addresses == flow.addresses]
    if not all(_is_address(address) for address in flow.addresses):
        return "nDPI printed an address that is none"
    if row["file"].startswith("fuzz") or "reads" in row["file"]:
        return "fuzzed headers: nDPI leaves out packets whose lengths lie; Wireshark counts them as well"
    if flow.protocol in (1, 58, 50):
        return "nDPI puts ICMP errors and ESP into flows of their own kind"
    if row["a_port"] == "5247" or row["b_port"] == "5247":
        return "nDPI does not look into this CAPWAP tunnel"
    return "nDPI counts other packets of the same endpoints" if same else "nDPI leaves out what encloses the packet"


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def test_flows_equal_those_of_ndpi(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 98 % of nDPI's flows, in tunnels and outside, have the same endpoints, packets and frame bytes."""
    with open(NDPI / "expected_flows.csv", newline="") as file:
        by_file = defaultdict(list)
        for row in csv.DictReader(file):
            by_file[row["file"]].append(row)
    paths = {path.name: path for path in NDPI.rglob("*") if path.is_file()}
    equal, causes = 0, Counter[str]()
    for name, rows in by_file.items():
        try:
            found = _metered(paths[name])
        except fg.SourceError:
            found = Counter()
        left = found.copy()
        for row in rows:
            flow = _expected(row)
            if left[flow]:
                left[flow] -= 1
                equal += 1
            else:
                causes[_cause(row, flow, found)] += 1
    compared = equal + causes.total()
    with capsys.disabled():
        print(f"\nnDPI: {equal} of {compared} flows equal ({equal / compared:.2%}); not: {dict(causes)}")
    assert compared >= 2500
    assert equal / compared >= 0.98
