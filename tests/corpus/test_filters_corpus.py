"""Filters on captures that nobody here made."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus_folder import corpus_files, needs_corpus
from flowgauge.errors import SourceError
from flowgauge.sources.filters import Filter
from reading import read_rows
from tcpdump import RefusedError, needs_libpcap, needs_tcpdump, select

pytestmark = [pytest.mark.corpus, needs_corpus, needs_libpcap, needs_tcpdump]

EXPRESSIONS = (
    "tcp port 443 or port 53",
    "ip6 and not icmp6",
    "vlan and (tcp or udp)",
    "tcp[tcpflags] & tcp-syn != 0",
    "mpls",
    "pppoes",
    "greater 500",
    "net 10.0.0.0/8 or multicast",
)
_MOST_BYTES = 1 << 20


def _captures() -> list[Path]:
    suffixes = (".pcap", ".cap", ".pcapng")
    files = [path for folder in ("formats", "zeek", "ndpi", "arkime") for path in corpus_files(folder)]
    return [path for path in files if path.suffix in suffixes and path.stat().st_size <= _MOST_BYTES][::4]


@pytest.mark.slow
def test_selects_what_tcpdump_selects() -> None:
    """Of every capture that tcpdump reads, the same packets pass; what it does not filter by link type is refused."""
    compared = 0
    different = []
    for path in _captures():
        content = path.read_bytes()
        try:
            whole = select(content)
            rows, capture = read_rows(content)
        except (RefusedError, SourceError):
            continue
        if capture.damage or [_plain(row) for row in rows] != whole:
            continue  # not a matter of filters
        for expression in EXPRESSIONS:
            found, capture = read_rows(content, filter=Filter(expression))
            try:
                expected = select(content, expression)
            except RefusedError as error:
                same = str(error) in (capture.refused or "") or not rows
            else:
                same = [_plain(row) for row in found] == expected and capture.refused is None
            compared += 1
            different += [] if same else [(path.name, expression)]
    assert different == []
    assert compared > 500


def _plain(row) -> tuple[int, bytes, int]:
    return row.time, row.data, row.frame_len
