"""Seeded traces for the benchmarks: ``python benchmarks/generate.py mix --packets 2000000``.

``mix``    real-looking traffic: small and full-size packets, heavy-tailed flows, complete TCP
           connections, DNS, other UDP, ICMP, IPv6, VLAN; thousands of flows open at a time
``small``  64-byte frames in few flows: the most packets a byte
``open``   every flow stays open until the end: the largest flow table
``one``    one packet: what is left is the fixed cost

The same arguments and seed give the same bytes (with the same NumPy). Whatever the kind, no flow
is silent for 60 s or lasts longer than the trace, every flow has its own key, and nothing is lost
or reordered: any meter should find exactly `flows` flows. Memory: about 150 bytes a packet; the
file is written in chunks.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from trace_bytes import ACK_FLAG, DNS_ANSWER, DNS_QUERY, ECHO, SYN_FLAG, TCP, TCP_SYN, UDP, Flows, Packets, write_pcap

Array = NDArray[Any]
Random = np.random.Generator

DATA = Path(__file__).resolve().parent / "data"
SEED = 1
EPOCH_NS = 1_700_000_000 * 10**9
LONGEST_FLOW_S = 50.0
ANSWER_GAP = 0.005  # within handshakes and endings, as a part of other gaps

# Kinds of flow.
TCP_FLOW, UDP_FLOW, DNS_FLOW, ICMP_FLOW = range(4)
UP, DOWN = 0, 1
FIN_FLAG, RST_FLAG, PSH_FLAG = 0x01, 0x04, 0x08

_CLIENTS = 8192
_FIRST_PORT, _PORTS = 32768, 28000
_SERVER = 1 << 23  # host numbers from here on are servers'
_RESOLVERS, _SERVERS = 4, 4096
_SERVER_PORTS = (
    np.array([443, 443, 443, 443, 993, 995, 853, 8443], np.uint16),
    np.array([443, 443, 443, 8801, 19305, 51820, 27015, 3074], np.uint16),
    np.full(8, 53, np.uint16),
    np.zeros(8, np.uint16),
)


class Body(NamedTuple):
    """What the middle of a flow is drawn from: one row per kind of packet."""

    share: tuple[float, ...]
    direction: tuple[int, ...]
    smallest: tuple[int, ...]  # payload bytes
    largest: tuple[int, ...]


TCP_BODY = Body(  # full-size, partial, their acknowledgements, requests, their acknowledgements
    share=(0.40, 0.10, 0.34, 0.11, 0.05),
    direction=(DOWN, DOWN, UP, UP, DOWN),
    smallest=(1460, 1, 0, 30, 0),
    largest=(1460, 1460, 0, 900, 0),
)
UDP_BODY = Body((0.40, 0.20, 0.25, 0.15), (DOWN, DOWN, UP, UP), (1200, 20, 20, 100), (1372, 1200, 60, 600))
SMALL_BODY = Body((0.5, 0.5), (UP, DOWN), (10, 10), (10, 10))
SHORT_BODY = Body((0.5, 0.5), (UP, DOWN), (0, 20), (60, 120))


@dataclass(frozen=True)
class Shape:
    """How a kind of trace is made; shares are of tcp, udp, dns and icmp."""

    flow_share: tuple[float, float, float, float] = (0.45, 0.16, 0.35, 0.04)
    packet_share: tuple[float, float, float, float] = (0.80, 0.155, 0.035, 0.01)
    ipv6: float = 0.15
    vlan: float = 0.05
    packets_per_second: int = 20_000
    packets_per_flow: int = 20
    heavy_tail: bool = True  # else flows are equally long
    overlap: bool = False  # all flows are open at the same time
    opened: bool = True  # TCP connections begin with a handshake
    closed: bool = True  # … and end with FINs, or with an RST where they are short
    tcp_body: Body = TCP_BODY
    udp_body: Body = UDP_BODY


_ALL_TCP = (1.0, 0.0, 0.0, 0.0)
SHAPES = {
    "mix": Shape(),
    "small": Shape(
        flow_share=_ALL_TCP,
        ipv6=0.0,
        vlan=0.0,
        packets_per_second=100_000,
        heavy_tail=False,
        overlap=True,
        opened=False,
        closed=False,
        tcp_body=SMALL_BODY,
    ),
    "open": Shape(
        flow_share=(0.7, 0.3, 0.0, 0.0),
        packets_per_second=200_000,
        packets_per_flow=5,
        heavy_tail=False,
        overlap=True,
        closed=False,
        tcp_body=SHORT_BODY,
        udp_body=SHORT_BODY,
    ),
    "one": Shape(flow_share=_ALL_TCP, ipv6=0.0, vlan=0.0, heavy_tail=False),
}


def default_flows(kind: str, packets: int) -> int:
    """Flows of a trace of this kind where none are asked for."""
    if kind in ("small", "one"):
        return min(64, packets)
    return max(1, packets // SHAPES[kind].packets_per_flow)


def _flow_kinds(rng: Random, shape: Shape, flows: int) -> Array:
    """The kind of each flow: exact shares, what rounding leaves is TCP, in random order."""
    counts = [int(share * flows) for share in shape.flow_share[1:]]
    kinds = np.repeat(np.arange(4, dtype=np.uint8), [flows - sum(counts), *counts])
    return rng.permutation(kinds)


def _flow_packets(rng: Random, shape: Shape, kind: Array, packets: int) -> Array:
    """Packets of each flow; they add up to `packets`. Raises ValueError where these are too few."""
    flows = len(kind)
    if not shape.heavy_tail:
        return np.full(flows, packets // flows) + (np.arange(flows) < packets % flows)
    scanned = (kind == TCP_FLOW) & (rng.random(flows) < 0.15)  # a SYN that nobody answers
    least = np.where(scanned, 1, np.array([4, 1, 2, 2])[kind])
    weight = np.where(scanned | (kind == DNS_FLOW), 0.0, rng.lognormal(0.0, np.array([2.0, 1.6, 0, 1.0])[kind]))
    spare = packets - int(least.sum())
    if spare < 0 or not weight.any():
        raise ValueError(f"{flows} flows of this kind need at least {least.sum()} packets, not {packets}")
    target = np.maximum(np.array(shape.packet_share) * packets - np.bincount(kind, least, 4), 0.0)
    weight *= (target / np.maximum(np.bincount(kind, weight, 4), 1e-9))[kind]
    extra = (spare * (weight / weight.sum())).astype(np.int64)
    largest = np.argsort(-weight, kind="stable")[: np.count_nonzero(weight)]
    rest = spare - int(extra.sum())
    extra[largest] += rest // len(largest) + (np.arange(len(largest)) < rest % len(largest))
    return least + extra


def _make_flows(rng: Random, shape: Shape, kind: Array) -> Flows:
    """Addresses and ports: no two flows share a client's port, nor two ICMP flows a server."""
    index = np.arange(len(kind))
    if len(kind) > _SERVER:
        raise ValueError(f"at most {_SERVER} flows have a key of their own, not {len(kind)}")
    server = rng.integers(0, np.where(kind == DNS_FLOW, _RESOLVERS, _SERVERS))
    server = np.where(kind == ICMP_FLOW, index, server) + _SERVER
    server_port = np.stack(_SERVER_PORTS)[kind, rng.integers(0, 8, len(kind))]
    return Flows(
        ipv6=rng.random(len(kind)) < shape.ipv6,
        vlan=np.where(rng.random(len(kind)) < shape.vlan, 100 + index % 8, 0).astype(np.uint16),
        host=np.stack([index % _CLIENTS, server]).astype(np.uint32),
        port=np.stack([_FIRST_PORT + index // _CLIENTS % _PORTS, server_port]).astype(np.uint16),
    )


def _flow_times(rng: Random, shape: Shape, size: Array) -> tuple[Array, Array]:
    """(start, span) of each flow in seconds."""
    duration = size.sum() / shape.packets_per_second
    if shape.overlap:
        start = rng.uniform(0.0, 0.2, len(size)) * duration
        return start, rng.uniform(0.8, 1.0, len(size)) * duration - start
    span = rng.lognormal(0.7, 1.3, len(size)) + size * 0.0005
    span = np.minimum(np.minimum(span, LONGEST_FLOW_S), 0.9 * duration)
    return rng.uniform(0.0, 1.0, len(size)) * (duration - span), span


class _Rows(NamedTuple):
    """The packets flow by flow: which flow, which position in it, how many packets it has."""

    flow: Array
    number: Array
    size: Array
    first: Array  # row of the flow's first packet, one per packet
    kind: Array


def _rows(kind: Array, size: Array) -> _Rows:
    flow = np.repeat(np.arange(len(size), dtype=np.uint32), size)
    first = (np.cumsum(size) - size).astype(np.uint32)[flow]
    number = np.arange(len(flow), dtype=np.uint32) - first
    return _Rows(flow, number, size.astype(np.uint32)[flow], first, kind[flow])


def _packet_times(rng: Random, rows: _Rows, start: Array, span: Array) -> Array:
    """Times in ns: exponential gaps, short in handshakes and endings, stretched to the flow's span."""
    gap = rng.standard_exponential(len(rows.flow), dtype=np.float32)
    answers = (rows.number == 1) | (rows.number == 2) | ((rows.size >= 7) & (rows.size - rows.number <= 2))
    gap[(rows.kind == TCP_FLOW) & answers] *= ANSWER_GAP
    elapsed = np.cumsum(gap, dtype=np.float64)
    elapsed -= elapsed[rows.first]
    whole = np.maximum(elapsed[rows.first + rows.size - 1], 1e-9)
    seconds = start[rows.flow] + span[rows.flow] * (elapsed / whole)
    return EPOCH_NS + (seconds * 1e9).astype(np.int64)


def _body(rng: Random, body: Body, count: int) -> tuple[Array, Array]:
    """(direction, payload bytes) of `count` packets drawn from a body."""
    drawn = np.searchsorted(np.cumsum(body.share)[:-1], rng.random(count), side="right")
    smallest, largest = np.array(body.smallest), np.array(body.largest)
    payload = rng.integers(smallest[drawn], largest[drawn], endpoint=True)
    return np.array(body.direction, np.uint8)[drawn], payload.astype(np.uint32)


class _Content(NamedTuple):
    """What the packets say: columns that the rules below overwrite in place."""

    direction: Array
    payload: Array
    flags: Array
    layout: Array

    def set(self, rows: Array, direction: Any, payload: Any, layout: int) -> None:
        self.direction[rows] = direction
        self.payload[rows] = payload
        self.layout[rows] = layout


def _tcp_control(content: _Content, rows: _Rows, shape: Shape) -> None:
    """Handshakes and endings of the TCP flows."""
    tcp = rows.kind == TCP_FLOW
    after = rows.size - 1 - rows.number  # packets of the flow still to come
    long = tcp & (rows.size >= 7) & shape.closed
    short = tcp & (rows.size >= 4) & (rows.size < 7) & shape.closed
    opening = tcp & shape.opened
    for where, direction, flags in (
        (opening & (rows.number == 0), UP, SYN_FLAG),
        (opening & (rows.number == 1), DOWN, SYN_FLAG | ACK_FLAG),
        (opening & (rows.number == 2), UP, ACK_FLAG),
        (long & (after == 2), UP, FIN_FLAG | ACK_FLAG),
        (long & (after == 1), DOWN, FIN_FLAG | ACK_FLAG),
        (long & (after == 0), UP, ACK_FLAG),
        (short & (after == 0), UP, RST_FLAG | ACK_FLAG),
    ):
        content.set(where, direction, 0, TCP_SYN if flags & SYN_FLAG else TCP)
        content.flags[where] = flags


def _content(rng: Random, rows: _Rows, flows: Flows, shape: Shape) -> _Content:
    count = len(rows.flow)
    content = _Content(*(np.zeros(count, dtype) for dtype in (np.uint8, np.uint32, np.uint8, np.uint8)))
    tcp = np.flatnonzero(rows.kind == TCP_FLOW)
    content.set(tcp, *_body(rng, shape.tcp_body, len(tcp)), TCP)
    np.minimum(content.payload, np.where(flows.ipv6[rows.flow], 1440, 1460), out=content.payload, casting="unsafe")
    content.flags[tcp] = ACK_FLAG | np.where(content.payload[tcp] > 0, PSH_FLAG, 0)
    _tcp_control(content, rows, shape)
    udp = np.flatnonzero(rows.kind == UDP_FLOW)
    content.set(udp, *_body(rng, shape.udp_body, len(udp)), UDP)
    content.direction[udp[rows.number[udp] == 0]] = UP
    for answer, layout in enumerate((DNS_QUERY, DNS_ANSWER)):
        content.set((rows.kind == DNS_FLOW) & (rows.number % 2 == answer), answer, 0, layout)
    icmp = np.flatnonzero(rows.kind == ICMP_FLOW)
    content.set(icmp, rows.number[icmp] % 2, 56, ECHO)
    return content


def _sequence_numbers(rng: Random, rows: _Rows, content: _Content, flows: int) -> tuple[Array, Array]:
    """(sequence, acknowledgement) numbers: both sides have received all that was sent before."""
    used = content.payload + ((content.flags & SYN_FLAG) > 0) + (content.flags & FIN_FLAG)
    initial = rng.integers(0, 2**32, (2, flows), dtype=np.uint32)
    sent = []
    for direction in (UP, DOWN):
        own = np.where(content.direction == direction, used, 0).astype(np.uint32)
        before = np.cumsum(own, dtype=np.uint32) - own  # wraps, as sequence numbers do
        sent.append(before - before[rows.first] + initial[direction][rows.flow])
    up = content.direction == UP
    return np.where(up, sent[UP], sent[DOWN]), np.where(up, sent[DOWN], sent[UP])


def make_trace(rng: Random, kind: str, packets: int, flows: int) -> tuple[Packets, Flows]:
    """Plan a trace: its packets in time order, and its flows. Raises ValueError where it cannot be."""
    if not 1 <= flows <= packets:
        raise ValueError(f"flows must be from 1 to {packets}, not {flows}")
    shape = SHAPES[kind]
    flow_kind = _flow_kinds(rng, shape, flows)
    size = _flow_packets(rng, shape, flow_kind, packets)
    table = _make_flows(rng, shape, flow_kind)
    rows = _rows(flow_kind, size)
    times = _packet_times(rng, rows, *_flow_times(rng, shape, size))
    content = _content(rng, rows, table, shape)
    seq, ack = _sequence_numbers(rng, rows, content, flows)
    order = np.argsort(times, kind="stable")
    columns = (
        rows.flow, content.direction, times, content.layout, rows.number, content.payload, content.flags, seq, ack
    )  # fmt: skip
    return Packets(*(column[order] for column in columns)), table


def generate(
    path: Path, kind: str, packets: int, flows: int | None = None, seed: int = SEED, precision: str = "us"
) -> None:
    """Write a trace to `path`, which appears only when it is complete."""
    rng = np.random.default_rng(seed)
    trace = make_trace(rng, kind, packets, default_flows(kind, packets) if flows is None else flows)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    try:
        with partial.open("wb") as output:
            write_pcap(output, *trace, rng, precision)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a seeded benchmark trace.")
    parser.add_argument("kind", choices=sorted(SHAPES))
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--flows", type=int, help="default: by kind (mix: a 20th of the packets)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--precision", choices=("us", "ns"), default="us")
    parser.add_argument("-o", "--output", type=Path, help="default: a name below benchmarks/data")
    args = parser.parse_args()
    packets = 1 if args.kind == "one" else args.packets
    path = args.output or DATA / f"{args.kind}-{packets}.pcap"
    begin = time.perf_counter()
    generate(path, args.kind, packets, args.flows, args.seed, args.precision)
    print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB in {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
