"""Truth tables and records for tests: what a record is, and the join by its definition, row by row."""

from __future__ import annotations

import fnmatch
import ipaddress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from flowgauge.kernels.state import FLOW
from flowgauge.labels.truth.truth import Truth

SECOND = 10**9


class Record(NamedTuple):
    """A record, by what rules can ask for."""

    client: str
    server: str
    client_port: int
    server_port: int
    protocol: int
    start: int  # ns
    capture: int = 0


def as_flows(records: list[Record]) -> Any:
    """The same as the meter keeps them."""
    flows = np.zeros(len(records), FLOW)
    for flow, record in zip(flows, records, strict=True):
        for end in ("client", "server"):
            address = ipaddress.ip_address(getattr(record, end))
            flow[f"{end}_hi"], flow[f"{end}_lo"] = int(address) >> 64, int(address) & (2**64 - 1)
            flow["ip_version"] = address.version
            flow[f"{end}_port"] = getattr(record, f"{end}_port")
        flow["protocol"], flow["start"], flow["capture"] = record.protocol, record.start, record.capture
    return flows


def found_rows(table: dict[str, list[Any]], records: list[Record], captures: list[str], offset: float = 0) -> list[int]:
    """The row of each record by the real thing."""
    truth = Truth(pa.table(table), offset)
    for name in captures:
        truth.add_capture(name)
    return truth.find(as_flows(records)).tolist()


def expected_rows(
    table: dict[str, list[Any]], records: list[Record], captures: list[str], offset: float = 0
) -> list[int]:
    """The same by definition. Times are whole seconds, and stand for these."""
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    order = list(range(len(rows)))
    if "start" in table and "end" not in table:
        order.sort(key=lambda number: -(-1 if rows[number]["start"] is None else rows[number]["start"]))
    return [
        next((n for n in order if _matches(rows[n], record, captures[record.capture], offset)), -1)
        for record in records
    ]


def _matches(row: dict[str, Any], record: Record, capture: str, offset: float) -> bool:
    start, end = row.get("start"), row.get("end")
    if end is not None and start is not None:
        end = max(end, start + 1)
    time = record.start - offset * SECOND
    if start is not None and time < start * SECOND:
        return False
    if end is not None and time >= end * SECOND:
        return False
    pattern = row.get("file")
    if pattern is not None and not fnmatch.fnmatchcase(capture.split("/")[-1], pattern):
        return False
    if row.get("protocol") is not None and row["protocol"] != record.protocol:
        return False
    ends = (record.client, record.client_port), (record.server, record.server_port)
    if "client" in row or "client_port" in row or "server" in row or "server_port" in row:
        return _ends_match(row, "client", ends[0], record) and _ends_match(row, "server", ends[1], record)
    return any(
        _ends_match(row, "src", one, record) and _ends_match(row, "dst", other, record)
        for one, other in (ends, ends[::-1])
    )


def _ends_match(row: dict[str, Any], end: str, given: tuple[str, int], record: Record) -> bool:
    network, ports = row.get(end), row.get(f"{end}_port")
    if network is not None and ipaddress.ip_address(given[0]) not in ipaddress.ip_network(network, strict=False):
        return False
    if ports is None or row.get("protocol") not in (None, 6, 17, 132):
        return True
    first, _, last = ports.partition("-")
    return int(first) <= given[1] <= int(last or first)
