"""The health of TCP connections: how they ended, and what was lost, sent again or out of order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flowgauge.report.cells import Cells, add
from flowgauge.report.flows import Flows

TCP = 6
LOSSES = (
    *("retransmitted_packets", "retransmitted_bytes", "out_of_order_packets", "gap_bytes"),
    *("duplicate_acks", "zero_windows"),
)
STATES = {
    "S0": "SYN seen, no answer",
    "S1": "established, not ended",
    "SF": "established and ended by both",
    "REJ": "refused",
    "S2": "client closed, no answer of the server",
    "S3": "server closed, no answer of the client",
    "RSTO": "established, reset by the client",
    "RSTR": "established, reset by the server",
    "RSTOS0": "SYN and reset of the client, no answer",
    "RSTRH": "SYN+ACK and reset of the server, no SYN seen",
    "SH": "SYN and FIN of the client, no answer",
    "SHR": "SYN+ACK and FIN of the server, no SYN seen",
    "OTH": "no SYN seen: begun before the capture",
}
"""What the states say, as Zeek's conn_state does."""


def health(flows: Flows, cells: Cells) -> dict[str, pa.Table]:
    """Tables `tcp_states` (`cell`, `state`, `flows`) and `tcp_losses` (`cell`, `direction`, `packets`,
    `payload_bytes` and the sums of LOSSES of the TCP flows), those whose columns there are."""
    tables = {}
    if flows.has("tcp_state"):
        tables["tcp_states"] = _states(flows, cells)
    if flows.has(*(f"{prefix}_{name}" for prefix in ("up", "down") for name in LOSSES)):
        tables["tcp_losses"] = _losses(flows, cells)
    return tables


def _states(flows: Flows, cells: Cells) -> pa.Table:
    states = flows.names("tcp_state")
    known = states.codes >= 0
    many = len(states.values)
    counts = np.bincount(cells.of[known] * many + states.codes[known], minlength=cells.count * many)
    used = np.flatnonzero(counts)
    cell, state = np.divmod(used, max(many, 1))
    names = pa.array(states.values, pa.string()).take(pa.array(state))
    return pa.table({"cell": cell, "state": names, "flows": counts[used]})


def _losses(flows: Flows, cells: Cells) -> pa.Table:
    tcp = flows.whole("protocol") == TCP
    of = cells.of[tcp]
    there = np.flatnonzero(np.bincount(of, minlength=cells.count))
    tables = []
    for direction in ("up", "down"):
        names = ("packets", "payload_bytes", *LOSSES)
        sums = {name: add(flows.whole(f"{direction}_{name}")[tcp], of, cells.count)[there] for name in names}
        tables.append(pa.table({"cell": there, "direction": [direction] * len(there), **sums}))
    return pa.concat_tables([table.cast(tables[0].schema) for table in tables])
