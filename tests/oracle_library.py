"""The oracle's feature groups beyond the default ones: each column from the list of a record's packets.

Like the oracle itself it shares nothing with the package. Numbers are exact (fractions, logarithms of counts) where the
package takes a short cut, but for quantiles of many values, which follow the published buckets.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle import Member, Options, Packet, Record

SECOND = 1_000_000_000
TCP = 6
SYN, RST = 2, 4
ENDS = ("up_", "down_")
VIEWS = ("", *ENDS)
Row = dict[str, Any]


def library(record: Record, options: Options) -> Row:
    """Every column of these groups."""
    return {
        **_ip(record),
        **_splt(record, options),
        **_activity(record, options),
        **_bulk(record),
        **_payload(record, options),
        **_distribution(record),
        **_raw(record, options),
    }


def _of_end(record: Record, end: int) -> list[Member]:
    return [member for member in record.members if member.direction == end]


def _ip(record: Record) -> Row:
    row: Row = {}
    for end, prefix in enumerate(ENDS):
        headers = [member.packet.network for member in _of_end(record, end)]
        ttls = [header.ttl for header in headers]
        row[prefix + "ttl_min"], row[prefix + "ttl_max"] = min(ttls, default=None), max(ttls, default=None)
        row[prefix + "dscp"] = headers[0].traffic_class >> 2 if headers else None
        row[prefix + "ip_id"] = _behaviour([header.identification for header in headers if header.version == 4])
    return row


def _behaviour(numbers: list[int]) -> str | None:
    if len(numbers) < 2:
        return None
    steps = {(after - before) % 65536 for before, after in itertools.pairwise(numbers)}
    if steps == {0}:
        return "constant" if numbers[0] else "zero"
    return "incremental" if max(steps) <= 1000 else "random"


def _splt(record: Record, options: Options) -> Row:
    members = [member for member in record.members if member.packet.transport.payload or not options.splt_data]
    members = members[: options.splt]
    gaps, latest = [], None
    for member in members:
        time = member.packet.time
        gaps.append(0 if latest is None else max(0, time - latest))
        latest = time if latest is None else max(latest, time)
    return {
        "splt_direction": [member.direction for member in members],
        "splt_ip_len": [member.packet.network.length for member in members],
        "splt_payload_len": [member.packet.transport.payload for member in members],
        "splt_iat_s": [float(Fraction(gap, SECOND)) for gap in gaps],
        "splt_flags": [member.packet.transport.flags for member in members],
    }


def _statistics(values: list[int]) -> tuple[Any, Any, Any, Any]:
    """Smallest, mean, sample deviation and largest of times, in seconds."""
    if not values:
        return None, None, None, None
    count, total = len(values), sum(values)
    deviation = None
    if count > 1:
        squares = count * sum(value * value for value in values) - total * total
        deviation = math.sqrt(Fraction(squares, count * (count - 1) * SECOND**2))
    smallest, largest = (float(Fraction(value, SECOND)) for value in (min(values), max(values)))
    return smallest, float(Fraction(total, count * SECOND)), deviation, largest


def _activity(record: Record, options: Options) -> Row:
    longest = round(Fraction(options.activity_gap) * SECOND)
    periods, silences = [0], []
    for member in record.members[1:]:
        assert member.gap is not None
        if member.gap > longest:
            silences.append(member.gap)
            periods.append(0)
        else:
            periods[-1] += member.gap
    row: Row = {"active_periods": len(periods)}
    for name, values in (("active", periods), ("idle", silences)):
        for statistic, value in zip(("min_s", "mean_s", "std_s", "max_s"), _statistics(values), strict=True):
            row[f"{name}_{statistic}"] = value
    return row


def _bulk(record: Record) -> Row:
    """Runs of payload packets of one direction; those of four packets or more are bulks."""
    runs: list[list[Member]] = []
    durations: list[int] = []
    latest = 0
    for member in record.members:
        packet = member.packet
        if not packet.transport.payload:
            continue
        gap = max(0, packet.time - latest)
        if not runs or runs[-1][0].direction != member.direction or gap > SECOND:
            runs.append([])
            durations.append(0)
            latest = packet.time
        else:
            durations[-1] += gap
            latest += gap
        runs[-1].append(member)
    row: Row = {"subflows": 1 + sum((member.gap or 0) > SECOND for member in record.members[1:])}
    for end, prefix in enumerate(ENDS):
        bulks = [
            (run, duration)
            for run, duration in zip(runs, durations, strict=True)
            if run[0].direction == end and len(run) >= 4
        ]
        count, time = len(bulks), sum(duration for _, duration in bulks)
        size = sum(member.packet.transport.payload for run, _ in bulks for member in run)
        packets = sum(len(run) for run, _ in bulks)
        row[prefix + "bulk_count"] = count
        row[prefix + "bulk_packets_mean"] = packets / count if count else None
        row[prefix + "bulk_bytes_mean"] = size / count if count else None
        row[prefix + "bulk_rate"] = float(Fraction(size * SECOND, time)) if time else None
    return row


HEAD = 512


def _payload(record: Record, options: Options) -> Row:
    row: Row = {}
    for end, prefix in enumerate(ENDS):
        head = _head(_of_end(record, end))
        row[prefix + "payload_entropy"] = _entropy(head) if head else None
        printable = sum(32 <= byte < 127 or 9 <= byte <= 13 for byte in head)
        row[prefix + "payload_printable"] = printable / len(head) if head else None
        if options.payload_head:
            row[prefix + "payload_head"] = head[: options.payload_head] or None
    return row


def _entropy(data: bytes) -> float:
    shares = [count / len(data) for count in Counter(data).values()]
    return max(0.0, -sum(share * math.log2(share) for share in shares))


def _head(members: list[Member]) -> bytes:
    """The first bytes of a direction's stream, as far as none is missing."""
    if members and members[0].packet.protocol == TCP:
        return _tcp_head(members)
    return b"".join(member.packet.transport.content for member in members)[:HEAD]


def _tcp_head(members: list[Member]) -> bytes:
    there: dict[int, int] = {}
    first = None
    for member in members:
        packet, segment = member.packet, member.packet.transport
        if packet.network.fragment or segment.flags & RST or not (segment.content or segment.flags & SYN):
            continue
        number = (segment.seq + bool(segment.flags & SYN)) % 2**32
        if first is None or (segment.flags & SYN and not there):
            first = number
        place = (number - first + 2**31) % 2**32 - 2**31
        for offset, byte in enumerate(segment.content, place):
            if 0 <= offset < HEAD:
                there[offset] = byte
    length = 0
    while length in there:
        length += 1
    return bytes(there[place] for place in range(length))


FEW = 16
PER_OCTAVE = 18
OCTAVES = 41
PERCENTS = (10, 25, 50, 75, 90)


def _distribution(record: Record) -> Row:
    row: Row = {}
    exact = len(record.members) <= FEW
    for view, prefix in enumerate(VIEWS):
        members = record.members if view == 0 else _of_end(record, view - 1)
        lengths = [member.packet.network.length for member in members]
        gaps = [member.gap if view == 0 else member.gap_direction for member in members]
        series = (("ip_len", 1, "", lengths), ("iat", SECOND, "_s", [gap for gap in gaps if gap is not None]))
        for name, unit, suffix, values in series:
            for percent in PERCENTS:
                quantile = _quantile(sorted(values), percent, exact=exact)
                row[f"{prefix}{name}_p{percent}{suffix}"] = None if quantile is None else quantile / unit
            row[f"{prefix}{name}_skewness"], row[f"{prefix}{name}_kurtosis"] = _shape(values)
    return row


def _quantile(values: list[int], percent: int, *, exact: bool) -> float | None:
    """The nearest rank; of many packets the middle of its bucket, within what was seen."""
    if not values:
        return None
    value = values[-(-len(values) * percent // 100) - 1]
    if exact:
        return float(value)
    return float(min(max(_middle(value), values[0]), values[-1]))


def _middle(value: int) -> float:
    """Of a bucket: a 18th of an octave, in steps of a 1,024th of one."""
    if value == 0:
        return 0.0
    octave = value.bit_length() - 1
    if octave >= OCTAVES:
        return math.inf
    bounds = [math.ceil(1024 * 2 ** (place / PER_OCTAVE) - 1e-9) for place in range(PER_OCTAVE)] + [2048]
    place = bisect.bisect_right(bounds, Fraction(value * 1024, 2**octave)) - 1
    low, high = (Fraction(bound * 2**octave, 1024) for bound in bounds[place : place + 2])
    smallest, largest = math.ceil(low), math.ceil(high) - 1
    return 2 * smallest * largest / (smallest + largest)


def _shape(values: list[int]) -> tuple[float | None, float | None]:
    """Skewness and excess kurtosis of a population."""
    if len(set(values)) < 2:
        return None, None
    count = len(values)
    mean = Fraction(sum(values), count)
    second, third, fourth = (sum((value - mean) ** power for value in values) / count for power in (2, 3, 4))
    return float(third) / float(second) ** 1.5, float(fourth / second**2) - 3


ICMP, UDP, ICMPV6, SCTP = 1, 17, 58, 132
# By protocol: the parts of its header that tell the ends.
MASKED = {
    TCP: ((0, 4), (16, 18)),
    UDP: ((0, 4), (6, 8)),
    SCTP: ((0, 4), (8, 12)),
    ICMP: ((2, None),),
    ICMPV6: ((2, None),),
}


def _raw(record: Record, options: Options) -> Row:
    packets = [_first_bytes(member.packet, options) for member in record.members[: options.raw_packets]]
    return {
        "raw_len": [len(packet) for packet in packets],
        "raw_bytes": b"".join(packet.ljust(options.raw_bytes, b"\0") for packet in packets),
    }


def _first_bytes(packet: Packet, options: Options) -> bytes:
    network = packet.network
    size, headers = options.raw_bytes, network.at - network.ip_at
    if headers > 1016:
        return b""
    kept = bytearray(network.captured)
    parts = [(10 if network.version == 4 else 8, headers)]
    if network.fragment != "tail":
        parts += [
            (headers + begin, None if end is None else headers + end) for begin, end in MASKED.get(packet.protocol, ())
        ]
    for begin, end in parts if options.raw_masked else ():
        there = kept[begin:end]
        kept[begin:end] = bytes(len(there))
    return bytes(kept[:size])
