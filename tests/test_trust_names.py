"""Names of the flows of real captures, compared with those that nDPI saw in them."""

from __future__ import annotations

import csv
from collections import defaultdict

import pytest

import flowgauge as fg
from corpus_folder import needs_corpus
from trust.ndpi import NDPI

PROTOCOLS = ("TLS", "QUIC", "HTTP")
DAMAGED = "fuzz-"  # captures whose bytes were changed at random


def _expected() -> dict[str, list[dict[str, str]]]:
    """Flows with a name, by file."""
    found = defaultdict(list)
    with (NDPI / "expected_flows.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            protocol = row["ndpi_proto"].split("/")[1].split(".")[0]
            if row["host_or_sni"] and row["a_port"] and protocol in PROTOCOLS and not row["file"].startswith(DAMAGED):
                found[row["file"]].append(row | {"protocol": protocol})
    return found


@needs_corpus
@pytest.mark.slow
@pytest.mark.compiled
def test_names_are_those_of_ndpi() -> None:
    """Of 98 % of the flows of each protocol, averaged over files, the name of the server is the same."""
    shares: dict[str, list[float]] = defaultdict(list)
    for name, expected in _expected().items():
        options = {"idle_timeout": "off", "active_timeout": "off", "no_tcp_end": True}
        names = defaultdict(set)
        for row in fg.read(str(NDPI / "pcap" / name), features="core,names", **options).to_pylist():
            ends = sorted((row[f"{end}_ip"], row[f"{end}_port"]) for end in ("client", "server"))
            names[tuple(ends)].add(row["server_name"])
        same = defaultdict(list)
        for row in expected:
            ends = sorted((row[f"{end}_ip"], int(row[f"{end}_port"])) for end in ("a", "b"))
            same[row["protocol"]].append(row["host_or_sni"].lower() in names[tuple(ends)])
        for protocol, found in same.items():
            shares[protocol].append(sum(found) / len(found))
    means = {protocol: sum(values) / len(values) for protocol, values in shares.items()}
    assert set(means) == set(PROTOCOLS)
    assert min(means.values()) >= 0.98, means
