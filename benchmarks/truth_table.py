"""What labels from a table cost: ``python benchmarks/truth_table.py [--flows N]``.

Prints seconds to build the index and flows a second, on one core, for tables of several sizes and kinds: rows of single
flows (both ends, ports, protocol, times), rows of hosts (networks, times), and rows that all overlap.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pyarrow as pa
from measure import one_core

from flowgauge.kernels.state import FLOW
from flowgauge.labels.truth.truth import Truth

BATCH = 8192
SPAN = 86_400  # s
BEGIN = 1_500_000_000
SECOND = 10**9


def flow_rows(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """Each row is one flow; some have the same ends at different times."""
    start = np.sort(rng.integers(0, SPAN, rows)) + BEGIN
    return {
        "start": start,
        "end": start + rng.integers(0, 60, rows),
        "src": _addresses(rng.integers(0, 5_000, rows)),
        "dst": _addresses(rng.integers(5_000, 6_000, rows)),
        "sport": rng.integers(1024, 1124, rows),
        "dport": rng.choice([53, 80, 443], rows),
        "protocol": rng.choice([6, 17], rows),
    }


def host_rows(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """Each row is what a host or a network did for some minutes; rows of a host overlap."""
    start = rng.integers(0, SPAN, rows) + BEGIN
    hosts = _addresses(rng.integers(0, 5_000, rows))
    lengths = rng.choice([32, 32, 32, 24, 16], rows)
    return {
        "start": start,
        "end": start + rng.integers(60, 900, rows),
        "src": [f"{host}/{length}" for host, length in zip(hosts, lengths, strict=True)],
    }


def time_rows(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """Times alone, all of which overlap."""
    start = rng.integers(0, SPAN, rows) + BEGIN
    return {"start": start, "end": start + rng.integers(60, 40_000, rows)}


KINDS = {"flows": flow_rows, "hosts": host_rows, "times": time_rows}


def _addresses(numbers: Any) -> list[str]:
    return [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}" for number in numbers.tolist()]


def some_flows(count: int, rng: np.random.Generator) -> Any:
    """Records as a meter keeps them."""
    flows = np.zeros(count, FLOW)
    flows["client_lo"] = 10 << 24 | rng.integers(0, 5_000, count)
    flows["server_lo"] = 10 << 24 | rng.integers(5_000, 6_000, count)
    flows["client_port"] = rng.integers(1024, 1124, count)
    flows["server_port"] = rng.choice([53, 80, 443], count)
    flows["protocol"], flows["ip_version"] = rng.choice([6, 17], count), 4
    flows["start"] = BEGIN * SECOND + rng.integers(0, SPAN * SECOND, count)
    return flows


def measure(kind: str, rows: int, count: int) -> str:
    rng = np.random.default_rng(1)
    table = pa.table({**KINDS[kind](rows, rng), "app": [f"app {number % 50}" for number in range(rows)]})
    flows = some_flows(BATCH, rng)
    begin = time.perf_counter()
    truth = Truth(table)
    truth.add_capture("a.pcap")
    truth.find(flows[:1])
    built = time.perf_counter() - begin
    spent = 0.0
    for _ in range(-(-count // BATCH)):
        flows = some_flows(BATCH, rng)
        begin = time.perf_counter()
        truth.find(flows)
        spent += time.perf_counter() - begin
    return f"{kind:6} {rows:10,} rows  {built:6.2f} s to build  {count / spent:12,.0f} flows/s"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flows", type=int, default=1_000_000)
    options = parser.parse_args()
    one_core()
    for kind in KINDS:
        for rows in (1_000, 10_000, 100_000, 1_000_000):
            print(measure(kind, rows, options.flows), flush=True)


if __name__ == "__main__":
    main()
