"""Every column of every flow, compared with NFStream itself on the same captures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import flowgauge as fg
from corpus_folder import corpus_files
from flowgauge.kernels.packet import make_batch
from flowgauge.sources.capture import open_capture
from trust.agreement import OTHER, Agreement, cause

FIELDS = ("flow", "endpoints", "packets", "bytes", "times", "statistics", "splt")
SPLT = 5
# In a process of its own: it forks, and what it prints is not wanted.
RUN = """
import json, sys
from nfstream import NFStreamer
for path in sys.argv[2:]:
    try:
        flows = NFStreamer(
            source=path, statistical_analysis=True, n_dissections=0, n_meters=1, splt_analysis=int(sys.argv[1])
        )
        rows = [dict(zip(flow.keys(), flow.values())) for flow in flows]
    except Exception:
        rows = None
    print("flows of", path, json.dumps(rows))
"""
_MACS = {f"{side}_{name}" for side in ("src", "dst") for name in ("mac", "oui")}
_TUNNELS = {4, 41, 47, 97, 115, 137}  # protocols
_TUNNEL_PORTS = {1701, 2152, 3544, 3386, 4754, 4789, 4790, 5072, 5247, 6081, 6635, 8472, 37008}
Row = dict[str, Any]

TUNNELLED = cause(
    "tunnels",
    "flowgauge",
    "NFStream looks into GTP, CAPWAP, TZSP and IP in IP; other tunnels are flows of their own there.",
    "an ICMP echo in VXLAN",
)
CLOCK = cause(
    "clock",
    "flowgauge",
    "NFStream's clock never goes back: behind one packet with a late time, all have that time, and flows are cut by "
    "it. Here a step of hours is not followed, and packets that come late keep their time.",
    "packets at 0 s, 7 days and 1 s",
)
SCTP_PORTS = cause("sctp_ports", "flowgauge", "NFStream has no ports of SCTP.", "an SCTP packet")
DROPPED_HERE = cause(
    "offloaded",
    "flowgauge",
    "NFStream drops fragments but the first, packets with an IP length of 0 (segments that were not yet cut by the "
    "network card) and IPv6 packets that the capture cut off.",
    "a segment with an IP length of 0 in a frame of 2,974 bytes",
)
LOST_MAC = cause(
    "lost_mac", "flowgauge", "NFStream shows zeros for MAC addresses that are there.", "a TCP flow of rtsp.pcap"
)
DAMAGED = cause(
    "damaged_headers",
    "flowgauge",
    "NFStream meters packets whose headers cannot be (IHL below 5, lengths beyond the frame) by bytes of other fields.",
    "IPv4 header with IHL 1",
)


class _File(NamedTuple):
    """What of a capture decides on causes."""

    goes_back: bool  # a packet is earlier than one before, by whole milliseconds


def compare(limit: int = 2**20) -> Agreement:
    """All pcap and pcapng files below `limit` bytes that both can read."""
    agreement = Agreement("NFStream", FIELDS)
    paths = [path for path in corpus_files("") if path.suffix in (".pcap", ".pcapng") and path.stat().st_size < limit]
    found = _theirs(paths)
    for path in paths:
        rows = found.get(str(path))
        if rows is not None and (own := _ours(path)) is not None:
            _compare(path, rows, own, agreement)
    return agreement


def _theirs(paths: list[Path]) -> dict[str, list[Row] | None]:
    command = [sys.executable, "-c", RUN, str(SPLT), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, errors="replace", check=False)
    found: dict[str, list[Row] | None] = {}
    for line in done.stdout.splitlines():
        if line.startswith("flows of "):
            path, _, rows = line.removeprefix("flows of ").partition(" ")
            found[path] = json.loads(rows)
    return found


def _ours(path: Path) -> list[Row] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = fg.read(path, schema="nfstream", preset="nfstream", features="splt", splt=SPLT)
        except fg.SourceError:
            return None
    rows: list[Row] = table.to_pylist()
    return rows


def _facts(path: Path) -> _File:
    latest, back, batch = 0, False, make_batch()
    with open_capture(str(path), timed=False) as capture:
        while rows := capture.read(batch):
            for time in batch.packets.time[:rows].tolist():
                back = back or time // 1_000_000 < latest
                latest = max(latest, time // 1_000_000)
    return _File(back)


def _key(row: Row) -> Any:
    ends = frozenset(((row["src_ip"], row["src_port"]), (row["dst_ip"], row["dst_port"])))
    return ends, row["protocol"], row["vlan_id"]


def _by_key(rows: list[Row]) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[_key(row)].append(row)
    return {key: sorted(rows, key=lambda row: row["bidirectional_first_seen_ms"]) for key, rows in found.items()}


def _compare(path: Path, theirs: list[Row], ours: list[Row], agreement: Agreement) -> None:
    expected, found = _by_key(theirs), _by_key(ours)
    facts = None
    for key in sorted(expected.keys() | found.keys(), key=str):
        rows, own = expected.get(key, []), found.get(key, [])
        pairs = list(zip(rows, own, strict=False)) if len(rows) == len(own) else []
        differing = [
            {name for name in other if name != "id" and not _same(row[name], other[name])} for row, other in pairs
        ]
        if pairs and not any(differing):
            for _ in pairs:
                agreement.pair({}, dict.fromkeys(FIELDS, True), "", "")
            continue
        facts = facts or _facts(path)
        why, example = _why(key, rows, own, differing, facts), f"{path.name} {sorted(key[0])} {key[1]}"
        if not pairs:
            for _ in range(max(len(rows), len(own))):
                agreement.alone(why, example)
        for names in differing:
            agreement.pair({}, _fields(names), why, example)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, float) or isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == other)


def _fields(names: set[str]) -> dict[str, bool]:
    """Which fields are equal, where the columns of these names differ."""
    groups = {
        "endpoints": lambda name: name.startswith(("src_", "dst_")),
        "packets": lambda name: name.endswith("_packets"),
        "bytes": lambda name: name.endswith("_bytes"),
        "times": lambda name: name.endswith(("_seen_ms", "_duration_ms")),
        "statistics": lambda name: name.endswith(("_ps", "_piat_ms")) and not name.startswith("splt"),
        "splt": lambda name: name.startswith("splt"),
    }
    return {"flow": True} | {group: not any(map(belongs, names)) for group, belongs in groups.items()}


def _why(key: Any, rows: list[Row], own: list[Row], differing: list[set[str]], facts: _File) -> str:
    """The cause that rows of one key are not the same."""
    ends, protocol, _ = key
    ports = {port for _, port in ends}
    in_tunnel = any(row["tunnel_id"] for row in (*rows, *own))
    if in_tunnel or protocol in _TUNNELS or ports & _TUNNEL_PORTS:
        return TUNNELLED
    if protocol == 132:
        return SCTP_PORTS
    if facts.goes_back:
        return CLOCK
    if differing and all(names <= _MACS for names in differing):
        return LOST_MAC
    theirs, ours = (sum(row["bidirectional_packets"] for row in side) for side in (rows, own))
    if ours > theirs and rows:
        return DROPPED_HERE
    return DAMAGED if theirs != ours else OTHER
