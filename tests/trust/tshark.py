"""The streams of Wireshark in the example captures: packets, bytes, time, and its analysis of TCP sequence numbers.

`tshark -z conv` rounds bytes, so that streams are summed from tshark's fields of every packet. A retransmission of
Wireshark is one of any kind (`fast_`, `spurious_`); those of SYNs and FINs without payload are not counted here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meters import by_package
from trust.agreement import OTHER, Agreement, cause

CAPTURES = Path(__file__).resolve().parents[2] / "examples" / "captures"
COUNTS = "retransmitted", "out_of_order", "sent_again", "gap", "duplicate_acks", "zero_windows"
FIELDS = ("packets", "bytes", "duration", *COUNTS)
OPTIONS: dict[str, Any] = {"idle_timeout": "off", "active_timeout": None, "features": ["core", "tcp"]}

SENT_AGAIN = cause(
    "sent_again",
    "both",
    "Below the highest number, Wireshark takes a segment for reordered within the round trip time, and for sent again "
    "when it comes later or behind two duplicate ACKs, also when it is partly new; keep-alives are neither. Here it "
    "was sent again when all of its bytes had been seen, and reordered when some of them were passed over.",
    "the second of two segments, 50 ms later the first",
)
THIRD_HOLE = cause(
    "third_hole",
    "Wireshark",
    "Two holes of an end are remembered. A third makes the oldest a gap, and its bytes are sent again when they come.",
    "the second, fourth, sixth and first of six segments",
)
FIRST_KEEP_ALIVE = cause(
    "first_keep_alive",
    "flowgauge",
    "A capture that begins with a keep-alive, one below the peer's next number: Wireshark takes its ACK for one of a "
    "segment that was not captured.",
    "ACK without payload, ACK of one number more",
)
EQUAL_ACKS = cause(
    "equal_acks",
    "flowgauge",
    "Wireshark takes any equal ACK for a duplicate, with nothing outstanding too; RFC 5681 does not.",
    "a segment, its ACK twice",
)

_WORDS = ("retransmission", "fast_retransmission", "spurious_retransmission")
_ANALYSIS = (*_WORDS, "out_of_order", "ack_lost_segment", "duplicate_ack", "zero_window")
_SOURCE = ("ip.src", "ipv6.src", "tcp.srcport", "udp.srcport")
_DESTINATION = ("ip.dst", "ipv6.dst", "tcp.dstport", "udp.dstport")
_STREAM = ("tcp.stream", "udp.stream", "frame.len", "frame.time_epoch", "tcp.len")
_NAMES = (*_STREAM, *_SOURCE, *_DESTINATION, *(f"tcp.analysis.{name}" for name in _ANALYSIS))

End = tuple[str, int]
Key = tuple[int, frozenset[End]]


@dataclass
class Stream:
    """A stream, or a flow; what is by end is what that end has sent. Times are in ns."""

    first: int
    last: int
    ends: tuple[End, End]
    packets: dict[End, int] = field(default_factory=lambda: defaultdict(int))
    bytes: dict[End, int] = field(default_factory=lambda: defaultdict(int))
    counts: dict[tuple[str, End], int] = field(default_factory=lambda: defaultdict(int))

    def of(self, name: str) -> list[int]:
        """A count of both ends, in the order of their addresses."""
        return [self.counts[name, end] for end in sorted(self.ends)]

    def add(self, time: int, end: End, size: int) -> None:
        self.first, self.last = min(self.first, time), max(self.last, time)
        self.packets[end] += 1
        self.bytes[end] += size


def available() -> bool:
    return shutil.which("tshark") is not None


def compare(paths: Iterable[Path] | None = None) -> Agreement:
    """The example captures, or these."""
    agreement = Agreement("tshark", FIELDS)
    for path in sorted(CAPTURES.iterdir()) if paths is None else paths:
        sides: dict[Key, tuple[list[Stream], list[Stream]]] = defaultdict(lambda: ([], []))
        for key, stream in streams(path):
            sides[key][0].append(stream)
        for key, flow in flows(path):
            sides[key][1].append(flow)
        for key, (theirs, ours) in sides.items():
            for stream, flow in zip(theirs, ours, strict=False):
                same = _same(key, stream, flow)
                example = f"{path.name}: {stream} became {flow}"
                agreement.pair(vars(stream), same, _cause(same), example)
            for alone in (*theirs[len(ours) :], *ours[len(theirs) :]):
                agreement.alone(OTHER, f"{path.name}: only one side: {alone}")
    return agreement


def _same(key: Key, stream: Stream, flow: Stream) -> dict[str, bool]:
    same = {
        "packets": stream.packets == flow.packets,
        "bytes": stream.bytes == flow.bytes,
        "duration": stream.last - stream.first == flow.last - flow.first,
    }
    if key[0] == 6:
        same |= {name: stream.of(name) == flow.of(name) for name in COUNTS}
    return same


def _cause(same: dict[str, bool]) -> str:
    """Why the two differ; rules on fields."""
    differ = {name for name, equal in same.items() if not equal}
    if differ == {"duplicate_acks"}:
        return EQUAL_ACKS
    if differ == {"gap"}:
        return FIRST_KEEP_ALIVE
    if differ <= {"retransmitted", "out_of_order", "sent_again"}:
        return SENT_AGAIN
    return THIRD_HOLE if differ == {"retransmitted", "out_of_order", "gap"} else OTHER


def streams(path: Path) -> Iterator[tuple[Key, Stream]]:
    """Wireshark's streams of TCP and UDP, in the order of their first packets."""
    command = ["tshark", "-n", "-r", str(path), "-Y", "(tcp or udp) and not icmp and not icmpv6", "-T", "fields"]
    command += [word for name in _NAMES for word in ("-e", name)]
    lines = subprocess.run([*command, "-E", "occurrence=f"], check=True, capture_output=True, text=True).stdout
    found: dict[tuple[str, str], Stream] = {}
    for line in lines.splitlines():
        values = dict(zip(_NAMES, line.split("\t"), strict=True))
        source, destination = _end(values, _SOURCE), _end(values, _DESTINATION)
        name = values["tcp.stream"], values["udp.stream"]
        time = _ns(values["frame.time_epoch"])
        stream = found.setdefault(name, Stream(time, time, (source, destination)))
        stream.add(time, source, int(values["frame.len"]))
        _analyse(
            {word: bool(values[f"tcp.analysis.{word}"]) for word in _ANALYSIS}, values, stream, source, destination
        )
    for (tcp, _), stream in found.items():
        yield (6 if tcp else 17, frozenset(stream.ends)), stream


def _analyse(said: dict[str, bool], values: dict[str, str], stream: Stream, source: End, destination: End) -> None:
    if values["tcp.len"] not in ("", "0"):
        again = any(said[word] for word in _WORDS)
        stream.counts["retransmitted", source] += again
        stream.counts["out_of_order", source] += said["out_of_order"]
        stream.counts["sent_again", source] += again or said["out_of_order"]
    stream.counts["duplicate_acks", source] += said["duplicate_ack"]
    stream.counts["zero_windows", source] += said["zero_window"]
    if said["ack_lost_segment"]:
        stream.counts["gap", destination] = 1


def flows(path: Path) -> Iterator[tuple[Key, Stream]]:
    """flowgauge's flows of TCP and UDP, their parts as one."""
    found: dict[int, tuple[Key, Stream]] = {}
    rows = by_package(path.read_bytes(), **OPTIONS).rows
    for row in sorted(rows, key=lambda row: (row["first_packet"], row["part"])):
        if row["protocol"] not in (6, 17):
            continue
        ends = (row["client_ip"], row["client_port"]), (row["server_ip"], row["server_port"])
        fresh = Stream(row["start"], row["end"], ends)
        _, flow = found.setdefault(row["flow_id"], ((row["protocol"], frozenset(ends)), fresh))
        flow.last = max(flow.last, row["end"])
        for end, way in zip(ends, ("up", "down"), strict=True):
            if row[f"{way}_packets"]:
                flow.packets[end] += row[f"{way}_packets"]
                flow.bytes[end] += row[f"{way}_frame_bytes"]
            if row["protocol"] == 6:
                _count(row, way, flow, end)
    yield from found.values()


def _count(row: dict[str, Any], way: str, flow: Stream, end: End) -> None:
    again, late = row[f"{way}_retransmitted_packets"], row[f"{way}_out_of_order_packets"]
    flow.counts["retransmitted", end] += again
    flow.counts["out_of_order", end] += late
    flow.counts["sent_again", end] += again + late
    flow.counts["gap", end] = max(flow.counts["gap", end], int(row[f"{way}_gap_bytes"] > 0))
    for name in ("duplicate_acks", "zero_windows"):
        flow.counts[name, end] += row[f"{way}_{name}"]


def _end(values: dict[str, str], names: tuple[str, ...]) -> End:
    v4, v6, tcp, udp = (values[name] for name in names)
    return v4 or v6, int(tcp or udp)


def _ns(seconds: str) -> int:
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0"))
