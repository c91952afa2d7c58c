"""The rows of a report's table of flows: the largest, in columns that people look at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowgauge.report.cells import Cells
from flowgauge.report.flows import NONE, Flows, is_text, protocol_name

MOST = 2000
COLUMNS = (
    *("start", "duration_s", "app", "action", "client_ip", "client_port", "server_ip", "server_port", "server_name"),
    *("protocol", "service", "tcp_state", "packets", "frame_bytes", "up_frame_bytes", "down_frame_bytes"),
    *("end_reason", "client_by", "source", "community_id"),
)


def largest_flows(flows: Flows, cells: Cells) -> pa.Table:
    """The MOST flows with the most bytes of frames, in that order; `cell` and the COLUMNS that there are, `start` as
    text (UTC), protocols by name. Columns without a value are left out."""
    order = np.argsort(-flows.whole("frame_bytes"), kind="stable")[:MOST]
    rows = flows.table.select([name for name in COLUMNS if flows.has(name)]).take(pa.array(order))
    columns = {"cell": pa.array(cells.of[order])}
    for name in rows.schema.names:
        if name == "cell" or (len(rows) and rows[name].null_count == len(rows)):
            continue
        columns[name] = _readable(name, rows[name])
    return pa.table(columns)


def _readable(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if name == "start":
        return pc.strftime(column.cast(pa.timestamp("ms", "UTC"), safe=False), "%Y-%m-%d %H:%M:%S")
    if name == "protocol":
        return pa.chunked_array([[protocol_name(number or 0) for number in column.to_pylist()]], pa.string())
    if is_text(column.type):
        return column.cast(pa.string()).fill_null(NONE if name in ("app", "action") else "")
    kind = pa.float64() if pa.types.is_floating(column.type) else pa.int64()
    return column.cast(kind)
