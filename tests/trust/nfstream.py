"""Every column of every flow, compared with NFStream itself on the same captures.

What becomes of each packet decides which rows are compared, before any value is looked at: NFStream's engine says what
it reads, the plain meter of the tests what there is. Where their rules are not the same (RULES), rows are left out.
"""

from __future__ import annotations

import io
import ipaddress
import json
import math
import struct
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import flowgauge as fg
from corpus_folder import corpus_files
from oracle import Frame, Options, Packet, Tick, UnmeteredError, UnreadableError, decode, read_frames, run_clock
from packets import Sent, capture
from trust.agreement import OTHER, Agreement, cause

FIELDS = ("flow", "endpoints", "packets", "bytes", "times", "statistics", "splt")
SPLT = 5
# In processes of their own: NFStream forks, prints, and waits for ever where what it forked has died.
RUN = """
import ipaddress, json, multiprocessing, signal, sys
from nfstream import NFStreamer
from nfstream.engine import activate_capture, create_engine, setup_capture

ffi, lib = create_engine()

def stuck(*_):
    raise TimeoutError

def address(packet, words):
    octets = bytes(ffi.buffer(words))
    return str(ipaddress.ip_address(octets[:4] if packet.ip_version == 4 else octets))

def packets(path):
    error, packet = ffi.new("char[256]"), None
    capture = setup_capture(ffi, lib, path, 1536, True, 0, error, 0, 0)
    activate_capture(capture, lib, error, None, 0)
    while True:
        packet = ffi.new("struct nf_packet *")
        taken = lib.capture_next(capture, packet, True, 1, 0, 0)
        if taken == -2:
            lib.capture_close(capture)
            return
        if taken == 0:
            yield None
        elif taken == 1:
            ends = [address(packet, packet.src_ip), packet.src_port, address(packet, packet.dst_ip), packet.dst_port]
            yield [packet.time, *ends, packet.protocol, packet.vlan_id, packet.tunnel_id]

signal.signal(signal.SIGALRM, stuck)
for path in sys.argv[2:]:
    try:
        signal.alarm(20)
        flows = NFStreamer(
            source=path, statistical_analysis=True, n_dissections=0, n_meters=1, splt_analysis=int(sys.argv[1])
        )
        rows = [dict(zip(flow.keys(), flow.values())) for flow in flows]
        found = [rows, list(packets(path))]
    except Exception:
        found = None
    signal.alarm(0)
    for child in multiprocessing.active_children():
        child.kill()
    print("flows of", json.dumps([path, found]), flush=True)
"""
_MACS = {f"{side}_{name}" for side in ("src", "dst") for name in ("mac", "oui")}
_SCTP = 132
_ETHERNET, _LINKS = 1, (0, 1, 101, 113, 228, 229)
_TAGS = (b"\x88\xa8", b"\x88\xe5")  # 802.1ad, MACsec
_SHORTEST = {6: 20, 17: 8}  # bytes of headers
_NO_NEXT_HEADER = 59
_LONGEST = 2**16 - 1  # bytes
_MILLISECOND = 1_000_000
Row = dict[str, Any]
Key = tuple[frozenset[tuple[str, int]], int, int]

UNREAD = (
    "NFStream (libpcap) does not read the capture to its end: pcapng with interfaces of several link types or snap "
    "lengths, or without any; or flowgauge does not know its link type"
)
LINKS = (
    "Link types and headers that NFStream does not read: SLL2, NFLOG, frame relay, ARCnet, PPP with address and "
    "control bytes, 802.11 but for one kind of radiotap, 802.1ad tags, MACsec"
)
TUNNELLED = (
    "Packets in tunnels: NFStream looks into GTP, CAPWAP, TZSP, IP in IP and below MPLS and PPPoE labels, and gives "
    "some of them a `tunnel_id`; other tunnels are flows of their own there"
)
DAMAGED = (
    "Packets that cannot be, nearly all made by fuzzers: what is not IP or has a bad header (NFStream takes all that "
    "begins with a 4 or 6 for IP), IP lengths beyond the frame or too short for TCP and UDP, frames above 65,535 bytes "
    "(NFStream counts in 16 bits)"
)
CLOCK = (
    "Times by another clock: NFStream's follows every jump and never goes back, so that all behind one wrong time have "
    "that; packets without time are at 0, and its seconds end in 2038. Here a stray time is not followed, and a clock "
    "that was set back by more than an hour is"
)
SCTP = "SCTP: NFStream has no ports of it, and one flow for all of it between two hosts"
RULES = (LINKS, TUNNELLED, DAMAGED, CLOCK, SCTP)
"""Rules on packets that are not the same; rows of a flow that has such a packet are left out, whatever they say."""

FRAGMENTS = cause(
    "dropped_fragments",
    "flowgauge",
    "NFStream drops all fragments but the first.",
    "an ICMP echo in two fragments",
)
OFFLOADED = cause(
    "offloaded",
    "flowgauge",
    "NFStream drops packets with an IP length of 0 (segments that the network card had not cut yet) and IPv6 packets "
    "that the capture cut off, or of which libpcap keeps no more than the snap length that the file names.",
    "a segment with an IP length of 0 in a frame of 2,974 bytes",
)
LOST_MAC = cause(
    "lost_mac",
    "flowgauge",
    "NFStream reads MAC addresses of Ethernet and 802.11, and shows zeros for others.",
    "a packet captured as SLL, which has the sender's address",
)
EXTENSIONS = cause(
    "ipv6_extensions",
    "flowgauge",
    "NFStream does not look behind the authentication header of IPv6, takes the mobility header, which is a protocol, "
    'for an extension, and drops packets that have bytes behind "no next header".',
    "OSPF behind an authentication header",
)
DROPPED = (OFFLOADED, FRAGMENTS)


class Theirs(NamedTuple):
    """NFStream's rows, and of each packet its time in ms, key and tunnel; None where it drops it."""

    rows: list[Row]
    packets: list[tuple[int, Key, int] | None]


class _Packet(NamedTuple):
    """The keys of a packet for both, and what is not the same about it."""

    keys: frozenset[Key]
    rule: str | None


def captures() -> list[Path]:
    """Those of the corpus that NFStream may be able to read."""
    return [path for path in corpus_files("") if path.suffix in (".pcap", ".pcapng")]


def compare(paths: list[Path] | None = None) -> Agreement:
    """These captures, or all of the corpus."""
    agreement = Agreement("NFStream", FIELDS)
    paths = paths or captures()
    with ThreadPoolExecutor(2) as pool:
        halves = [pool.submit(flows_of, paths[half::2]) for half in range(2)]
        ours = {path: _ours(path) for path in paths}
        found = {path: read for half in halves for path, read in half.result().items()}
    for path in paths:
        _compare(path, found[path], ours[path], agreement)
    return agreement


def flows_of(paths: list[Path]) -> dict[Path, Theirs | None]:
    """What NFStream has of each file; None where it cannot open the file or dies of it."""
    found: dict[Path, Theirs | None] = {}
    while waiting := [path for path in paths if path not in found]:
        command = [sys.executable, "-c", RUN, str(SPLT), *map(str, waiting)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3600, errors="replace", check=False)
        before = len(found)
        for line in done.stdout.splitlines():
            if line.startswith("flows of "):
                path, read = json.loads(line.removeprefix("flows of "))
                found[Path(path)] = None if read is None else Theirs(read[0], list(map(_their_packet, read[1])))
        if len(found) - before < len(waiting):
            found[waiting[len(found) - before]] = None
    return found


def _their_packet(read: list[Any] | None) -> tuple[int, Key, int] | None:
    if read is None:
        return None
    time, src, src_port, dst, dst_port, protocol, vlan, tunnel = read
    return time, (frozenset(((src, src_port), (dst, dst_port))), protocol, vlan), tunnel


def _ours(source: Path | IO[bytes]) -> list[Row] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = fg.read(source, schema="nfstream", preset="nfstream", features="splt", splt=SPLT)
        except fg.SourceError:
            return None
    rows: list[Row] = table.to_pylist()
    return rows


def _packets(frames: list[Frame], snap: int, theirs: list[tuple[int, Key, int] | None]) -> Iterator[_Packet]:
    """Both readings of each packet."""
    ticks = run_clock([frame.time for frame in frames], defaultdict(int))  # type: ignore[arg-type]
    read = [_decoded(frame, tick) for frame, tick in zip(frames, ticks, strict=True)]
    outermost = (packet.first_around or packet for packet in read if packet)
    firsts = {_datagram(packet): _our_key(packet) for packet in outermost if packet.network.fragment == "first"}
    latest = 0
    for frame, packet, other in zip(frames, read, theirs, strict=True):
        latest = max(latest, other[0] if other else 0)
        keys = {other[1]} if other else set()
        if packet is None:
            yield _Packet(frozenset(keys), DAMAGED)
            continue
        keys.add(firsts.get(_datagram(packet), _our_key(packet)))
        yield _Packet(frozenset(keys), _rule(frame, packet, other, latest, snap))


def _decoded(frame: Frame, tick: Tick) -> Packet | None:
    try:
        return decode(frame, tick, Options())
    except UnmeteredError:
        return None


def _datagram(packet: Packet) -> Any:
    network = packet.network
    return network.src, network.dst, network.protocol, network.identification, bool(network.fragment)


def _our_key(packet: Packet) -> Key:
    network, ports = packet.network, packet.ports()
    ends = zip((network.src, network.dst), ports, strict=True)
    named = ((str(ipaddress.ip_address(address)), port) for address, port in ends)
    return frozenset(named), network.protocol, packet.link.vlan


def _rule(frame: Frame, packet: Packet, other: tuple[int, Key, int] | None, clock: int, snap: int) -> str | None:
    """What is not the same about a packet that flowgauge meters; None: nothing that is known."""
    network = packet.network
    if packet.around or (other and other[2]):
        return TUNNELLED
    inside = network.length - (network.at - network.ip_at)
    if network.lies or frame.length > _LONGEST or inside < _SHORTEST.get(network.protocol, 0) * (not network.fragment):
        return DAMAGED
    if network.protocol == _SCTP:
        return SCTP
    if other is None:
        return _why_dropped(frame, packet, snap)
    if network.version == 6 and network.protocol != other[1][1]:
        return EXTENSIONS
    return CLOCK if packet.clock // _MILLISECOND != clock else None


def _why_dropped(frame: Frame, packet: Packet, snap: int) -> str | None:
    network = packet.network
    if frame.link not in _LINKS or (frame.link == _ETHERNET and frame.data[12:14] in _TAGS):
        return LINKS
    if network.fragment == "tail":
        return FRAGMENTS
    said = frame.data[network.ip_at + 2 : network.ip_at + 4] if network.version == 4 else b""
    if said == b"\0\0" or (network.version == 6 and network.ip_at + network.length > min(len(frame.data), snap)):
        return OFFLOADED
    return EXTENSIONS if network.protocol == _NO_NEXT_HEADER else None


def _key(row: Row) -> Key:
    ends = frozenset(((row["src_ip"], row["src_port"]), (row["dst_ip"], row["dst_port"])))
    return ends, row["protocol"], row["vlan_id"]


def _by_key(rows: list[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[_key(row)].append(row)
    return {key: sorted(rows, key=lambda row: row["bidirectional_first_seen_ms"]) for key, rows in found.items()}


def _compare(path: Path, theirs: Theirs | None, ours: list[Row] | None, agreement: Agreement) -> None:
    content = path.read_bytes()
    frames = _frames(content)
    if theirs is None or ours is None or len(frames) != len(theirs.packets):
        agreement.exclude(UNREAD, max(len(theirs.rows if theirs else ()), len(ours or ())))
        return
    rules: dict[Key, set[str]] = defaultdict(set)
    for packet in _packets(frames, _snap_length(content), theirs.packets):
        for key in packet.keys:
            rules[key] |= {packet.rule} if packet.rule else set()
    expected, found = _by_key(theirs.rows), _by_key(ours)
    for key in sorted(expected.keys() | found.keys(), key=str):
        rows, own = expected.get(key, []), found.get(key, [])
        left_out = [rule for rule in RULES if rule in rules[key]]
        if left_out:
            agreement.exclude(left_out[0], max(len(rows), len(own)))
            continue
        why = next((name for name in (*DROPPED, EXTENSIONS) if name in rules[key]), OTHER)
        if why in DROPPED and not _equal(rows, _without_dropped(frames, theirs).get(key, [])):
            why = OTHER
        _pair(rows, own, why, f"{path.name} {sorted(key[0])} {key[1:]}", agreement)


def _without_dropped(frames: list[Frame], theirs: Theirs) -> dict[Key, list[Row]]:
    """The rows of a capture that has only what NFStream reads."""
    kept = [frame for frame, read in zip(frames, theirs.packets, strict=True) if read]
    sent = [Sent(frame.time, frame.data, frame.length, frame.link) for frame in kept]
    return _by_key(_ours(io.BytesIO(capture(sent))) or [])


def _frames(content: bytes) -> list[Frame]:
    try:
        return read_frames(content)
    except UnreadableError:
        return []


def _snap_length(content: bytes) -> int:
    """That of a pcap file's header: libpcap cuts packets to it."""
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(content[:4])
    return struct.unpack_from(order + "I", content, 16)[0] or sys.maxsize if order else sys.maxsize


def _pair(rows: list[Row], own: list[Row], why: str, example: str, agreement: Agreement) -> None:
    """Compare the rows of one key, in order of time."""
    if len(rows) != len(own):
        for _ in range(max(len(rows), len(own))):
            agreement.alone(why, example)
        return
    for row, other in zip(rows, own, strict=True):
        names = _different(row, other)
        lost = names <= _MACS and all(row[name].strip("0:") == "" for name in names)
        agreement.pair({}, _fields(names), LOST_MAC if lost else why, f"{example} {sorted(names)}")


def _equal(rows: list[Row], own: list[Row]) -> bool:
    return len(rows) == len(own) and not any(map(_different, rows, own))


def _different(row: Row, other: Row) -> set[str]:
    """The columns that are not equal."""
    return {name for name in other if name != "id" and not _same(row[name], other[name])}


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, float) or isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == other)


_GROUPS = {
    "endpoints": lambda name: name.startswith(("src_", "dst_")),
    "packets": lambda name: name.endswith("_packets"),
    "bytes": lambda name: name.endswith("_bytes"),
    "times": lambda name: name.endswith(("_seen_ms", "_duration_ms")),
    "splt": lambda name: name.startswith("splt_"),
    "statistics": lambda name: name.endswith(("_ps", "_piat_ms")) and not name.startswith("splt_"),
}


def _fields(names: Iterable[str]) -> dict[str, bool]:
    """Which fields are equal, where the columns of these names differ; `flow` has those that are in no other."""
    same = dict.fromkeys(FIELDS, True)
    for name in names:
        same[next((group for group, belongs in _GROUPS.items() if belongs(name)), "flow")] = False
    return same
