"""Schema nfstream: NFStream's own rows on the example captures, and its conventions."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import flowgauge as fg
from packets import A, B, capture, eth, icmp, ip4, sent, tcp

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "captures"
# In a process of its own: it forks, and prints.
RUN = """
import json, sys
from nfstream import NFStreamer
flows = NFStreamer(source=sys.argv[1], statistical_analysis=True, n_dissections=0, n_meters=1, splt_analysis=7)
print(json.dumps([dict(zip(flow.keys(), flow.values())) for flow in flows]))
"""
# It drops fragments but the first (docs/migration.md).
FRAGMENTS = {"ping_echo_01.pcapng"}
Row = dict[str, Any]


def theirs(path: Path) -> list[Row]:
    """NFStream's rows."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    rows: list[Row] = json.loads(done.stdout.splitlines()[-1])
    return rows


def ours(source: Any) -> list[Row]:
    """The rows of this package."""
    rows: list[Row] = fg.read(source, schema="nfstream", preset="nfstream", features="splt", splt=7).to_pylist()
    return rows


def by_flow(rows: list[Row]) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        ends = frozenset(((row["src_ip"], row["src_port"]), (row["dst_ip"], row["dst_port"])))
        found[ends, row["protocol"], row["vlan_id"]].append(row)
    return {key: sorted(rows, key=lambda row: row["bidirectional_first_seen_ms"]) for key, rows in found.items()}


def same(value: Any, other: Any) -> bool:
    if isinstance(value, float) or isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == other)


@pytest.mark.parametrize("path", sorted(p for p in EXAMPLES.iterdir() if p.suffix != ".gz"), ids=lambda path: path.name)
def test_rows_are_those_of_nfstream(path: Path) -> None:
    """Every column of every flow is equal, but for flows with fragments."""
    pytest.importorskip("nfstream")
    expected, found = by_flow(theirs(path)), by_flow(ours(path))
    assert expected.keys() == found.keys()
    different = []
    for key, rows in expected.items():
        assert len(rows) == len(found[key]), key
        for row, other in zip(rows, found[key], strict=True):
            names = [name for name in other if name != "id" and not same(row[name], other[name])]
            different += [(key, name, row[name], other[name]) for name in names]
    if path.name in FRAGMENTS:
        different = [row for row in different if row[0][1] not in (1, 58)]
    assert different == []


def test_columns_are_those_of_nfstream() -> None:
    """Names and order are those of NFStream's own table."""
    pytest.importorskip("nfstream")
    names = list(theirs(EXAMPLES / "dns_lookup_01.pcap")[0])
    assert [column.name for column in fg.columns("nfstream")] == names
    assert [column.name for column in fg.columns("nfstream", features="core")] == names[:-3]


def test_the_source_is_the_first_sender() -> None:
    """Source is who sent the record's first packet, also where that is the server and without the preset."""
    frames = [
        sent(0, eth(ip4(tcp(80, 1024, "SA", 1, 1), B, A))),
        sent(0.0019, eth(ip4(tcp(1024, 80, "A", 1, 2, b"abc")))),
    ]
    content = capture(frames)
    for options in ({}, {"preset": "nfstream"}):
        (row,) = fg.read(io.BytesIO(content), schema="nfstream", features="splt", splt=3, **options).to_pylist()
        assert (row["src_ip"], row["src_port"], row["dst_ip"]) == (B, 80, A)
        assert (row["src2dst_syn_packets"], row["dst2src_bytes"]) == (1, 57)
        assert (row["bidirectional_duration_ms"], row["bidirectional_mean_piat_ms"]) == (1, 1.0)
        assert row["splt_direction"] == [0, 1, -1]
        assert row["splt_ps"] == [54, 57, -1]
        assert row["splt_piat_ms"] == [0, 1, -1]


def test_icmp_between_two_hosts_is_one_record() -> None:
    """With the preset ICMP is told apart by its hosts alone, as in NFStream; without it by its types too."""
    frames = [
        sent(0, eth(ip4(icmp(8)))),
        sent(0.01, eth(ip4(icmp(0), B, A))),
        sent(0.02, eth(ip4(icmp(3, 3), B, A))),
    ]
    content = capture(frames)
    (row,) = fg.read(io.BytesIO(content), schema="nfstream", preset="nfstream").to_pylist()
    assert (row["src_ip"], row["src_port"], row["dst_port"]) == (A, 0, 0)
    assert (row["src2dst_packets"], row["dst2src_packets"]) == (1, 2)
    assert fg.read(io.BytesIO(content), schema="nfstream").num_rows == 2


def test_late_packets_have_the_time_of_the_clock() -> None:
    """With the preset a packet that comes late is at the latest time so far, as in NFStream; without it at its own."""
    other = sent(2, eth(ip4(tcp(1025, 80, "A", 1, 1))))
    frames = [other, *(sent(time, eth(ip4(tcp(1024, 80, "A", 1, 1)))) for time in (1, 1.5, 3))]
    content = capture(frames)
    expected = {"nfstream": ([2000, 3000], [0, 0, 1000]), None: ([1000, 3000], [0, 500, 1500])}
    for preset, (times, gaps) in expected.items():
        table = fg.read(io.BytesIO(content), schema="nfstream", preset=preset, features="splt", splt=3)
        row = next(row for row in table.to_pylist() if row["src_port"] == 1024)
        assert [row["bidirectional_first_seen_ms"] % 100_000, row["src2dst_last_seen_ms"] % 100_000] == times
        assert row["splt_piat_ms"] == gaps
        assert row["bidirectional_max_piat_ms"] == max(gaps)


def test_a_record_begins_anew_after_the_active_timeout() -> None:
    """The next record has its own gaps and its own source; the one that was cut says so."""
    frames = [sent(second, eth(ip4(tcp(1024, 80, "A", 1, 1)))) for second in (0, 1)]
    frames += [sent(3, eth(ip4(tcp(80, 1024, "A", 1, 1), B, A))), sent(3.5, eth(ip4(tcp(80, 1024, "A", 1, 1), B, A)))]
    table = fg.read(io.BytesIO(capture(frames)), schema="nfstream", preset="nfstream", active_timeout=2)
    first, second = table.to_pylist()
    assert [first["id"], first["expiration_id"], first["src_ip"]] == [0, 1, A]
    assert [second["id"], second["expiration_id"], second["src_ip"]] == [1, 0, B]
    assert second["bidirectional_max_piat_ms"] == 500
