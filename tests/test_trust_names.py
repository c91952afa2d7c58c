"""Names of the flows of real captures, compared with those that nDPI saw in them."""

from __future__ import annotations

import csv
import re
from collections import defaultdict

import pytest

import flowgauge as fg
from corpus_folder import needs_corpus
from trust.ndpi import NDPI

# Where each protocol's name is, and the share of nDPI's names that must be there, averaged over captures.
COLUMNS = {
    "TLS": (("server_name",), 0.98),
    "QUIC": (("server_name",), 0.98),
    "HTTP": (("server_name",), 0.98),
    "DHCP": (("device_name",), 0.98),
    "NetBIOS": (("device_name", "dns_query"), 0.98),
    "DNS": (("dns_query",), 0.85),
    "MDNS": (("dns_query",), 0.65),
}
DAMAGED = "fuzz-"  # captures whose bytes were changed at random


def _expected() -> dict[str, list[dict[str, str]]]:
    """Flows with a name, by file."""
    found = defaultdict(list)
    with (NDPI / "expected_flows.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            protocol = row["ndpi_proto"].split("/")[1].split(".")[0]
            if row["host_or_sni"] and row["a_port"] and protocol in COLUMNS and not row["file"].startswith(DAMAGED):
                found[row["file"]].append(row | {"protocol": protocol})
    return found


def _names(name: str) -> dict[tuple[tuple[str, int], ...], list[dict[str, str]]]:
    """Records of a capture by their ends, with the names that they have."""
    options = {"idle_timeout": "off", "active_timeout": "off", "no_tcp_end": True}
    found = defaultdict(list)
    for row in fg.read(str(NDPI / "pcap" / name), features="core,names", **options).to_pylist():
        ends = sorted((row[f"{end}_ip"], row[f"{end}_port"]) for end in ("client", "server"))
        found[tuple(ends)].append(row)
    return found


def _is_another_query(host: str, capture: bytes) -> bool:
    """Whether the first two labels of a name are in the capture as DNS has them: later ones may be compressed."""
    labels = [label.encode() for label in host.split(".")][:2]
    return b"".join(bytes([len(label)]) + label for label in labels) in capture.lower()


def _cause(host: str, ours: str, service: str, capture: bytes) -> str:
    """Why nDPI has another name for a DNS flow; empty where nothing explains it."""
    if service == "netbios_ns":  # nDPI leaves the name as it is on the wire, where each letter is two
        halves = [ord(letter) - ord("a") for letter in host]
        decoded = bytes(16 * high + low for high, low in zip(halves[::2], halves[1::2], strict=True))
        return "netbios" if decoded.rstrip(b"\0 ").decode() == ours else ""
    if re.fullmatch(re.escape(host).replace("_", "."), ours):
        return "character of no host name"
    if ours.endswith("." + host) or ours.partition(".")[2].endswith(host):
        return "begin left out"
    return "another query of the flow" if _is_another_query(host, capture) else ""


@needs_corpus
@pytest.mark.slow
@pytest.mark.compiled
def test_names_are_those_of_ndpi() -> None:
    """The names are nDPI's in the share of captures' flows that the table says; of DNS, the others have a cause."""
    shares: dict[tuple[str, str], list[bool]] = defaultdict(list)
    unexplained = []
    for name, expected in _expected().items():
        names, capture = _names(name), (NDPI / "pcap" / name).read_bytes()
        for row in expected:
            ends = tuple(sorted((row[f"{end}_ip"], int(row[f"{end}_port"])) for end in ("a", "b")))
            columns, host = COLUMNS[row["protocol"]][0], row["host_or_sni"].lower()
            found = [
                ((record[column] or "").lower(), record["service"]) for record in names[ends] for column in columns
            ]
            shares[row["protocol"], name].append(host in dict(found))
            if host not in dict(found) and not any(_cause(host, *pair, capture) for pair in found):
                unexplained.append((name, host, found))
    assert not unexplained
    assert {protocol for protocol, _ in shares} == set(COLUMNS)
    for protocol, (_, least) in COLUMNS.items():
        files = [sum(same) / len(same) for (which, _), same in shares.items() if which == protocol]
        assert sum(files) / len(files) >= least, (protocol, files)
