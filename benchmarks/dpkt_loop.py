"""The meter that one writes in an afternoon: dpkt, a dict of 5-tuples, a CSV.

``python benchmarks/dpkt_loop.py capture.pcap flows.csv`` — packets, bytes, sizes and inter-arrival
times of each flow; no timeouts, no TCP state, no fragments. It is here to be measured against.
"""

from __future__ import annotations

import csv
import itertools
import math
import sys
from dataclasses import dataclass, field
from typing import Any

import dpkt

Endpoint = tuple[bytes, int]
Key = tuple[Endpoint, Endpoint, int]
DIRECTIONS = ("up", "down")


@dataclass
class Flow:
    """Sizes and times of the packets of a flow; index 0 is the side that sent first."""

    client: Endpoint
    sizes: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))


def read_flows(path: str) -> tuple[dict[Key, Flow], int]:
    """All flows of a capture, and its number of packets."""
    flows: dict[Key, Flow] = {}
    packets = 0
    with open(path, "rb") as capture:
        for time, frame in dpkt.pcap.Reader(capture):
            packets += 1
            ip = dpkt.ethernet.Ethernet(frame).data
            if not isinstance(ip, (dpkt.ip.IP, dpkt.ip6.IP6)):
                continue
            source = (ip.src, getattr(ip.data, "sport", 0))
            target = (ip.dst, getattr(ip.data, "dport", 0))
            key = (*sorted((source, target)), ip.p)
            flow = flows.get(key)
            if flow is None:
                flow = flows[key] = Flow(source)
            direction = source != flow.client
            flow.sizes[direction].append(len(frame))
            flow.times[direction].append(float(time))
    return flows, packets


def describe(values: list[float] | list[int]) -> list[Any]:
    """Smallest, mean, standard deviation, largest; empty cells where there is nothing."""
    if not values:
        return [None] * 4
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [min(values), mean, spread, max(values)]


def row(key: Key, flow: Flow) -> list[Any]:
    """The CSV row of a flow."""
    server = key[1] if key[0] == flow.client else key[0]
    times = sorted(flow.times[0] + flow.times[1])
    cells: list[Any] = [flow.client[0].hex(), flow.client[1], server[0].hex(), server[1], key[2], times[0], times[-1]]
    for sizes, own in zip(flow.sizes, flow.times, strict=True):
        gaps = [later - earlier for earlier, later in itertools.pairwise(own)]
        cells += [len(sizes), sum(sizes), *describe(sizes), *describe(gaps)]
    return cells


def main(capture: str, output: str) -> None:
    flows, packets = read_flows(capture)
    statistic = ("min", "mean", "std", "max")
    header = ["client_ip", "client_port", "server_ip", "server_port", "protocol", "start", "end"]
    for direction in DIRECTIONS:
        header += [f"{direction}_packets", f"{direction}_bytes"]
        header += [f"{direction}_{series}_{name}" for series in ("size", "iat") for name in statistic]
    with open(output, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(row(key, flow) for key, flow in flows.items())
    print(f"{packets} packets, {len(flows)} flows")


if __name__ == "__main__":
    main(*sys.argv[1:])
