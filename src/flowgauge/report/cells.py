"""Cells: the combinations of app, action, protocol and service that a report can be filtered by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.report.flows import NONE, OTHER, Codes, Flows, distinct, protocol_name

DIMENSIONS = ("app", "action", "protocol", "service")
MOST = 64
"""Cells at most; all flows of rarer combinations share the last one."""
SUMS = {"packets": "packets", "bytes": "frame_bytes", "payload_bytes": "payload_bytes"}


@dataclass(frozen=True)
class Cells:
    """`of` is the cell of each flow; `table` has one row a cell: its number, its value in each dimension that the flows
    have, flows, packets, bytes of frames and of payload, first start and last end. The one with the most flows comes
    first, OTHER last."""

    of: NDArray[np.int64]
    table: pa.Table

    @property
    def count(self) -> int:
        return int(self.table.num_rows)

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(name for name in DIMENSIONS if name in self.table.schema.names)


def make_cells(flows: Flows) -> Cells:
    """The cells of all flows: the MOST - 1 largest combinations and the rest, where there are more than MOST."""
    columns = {name: shown(flows, name) for name in DIMENSIONS if flows.has(name)}
    columns = {name: codes for name, codes in columns.items() if name == "protocol" or (codes.codes >= 0).any()}
    combined, shape = _combined(list(columns.values()), len(flows))
    used, of, counts = distinct(combined, math.prod(shape))
    order = np.argsort(-counts, kind="stable")
    kept = order if len(order) <= MOST else order[: MOST - 1]
    place = np.full(len(used), len(kept), np.int64)
    place[kept] = np.arange(len(kept))
    of = place[of]
    count = len(kept) + (len(kept) < len(order))
    names = _names(columns, used[kept], shape, count)
    sums = {name: add(flows.whole(column), of, count) for name, column in SUMS.items()}
    sums = {"flows": np.bincount(of, minlength=count), **sums, **_spans(flows, of, count)}
    return Cells(of, pa.table({"cell": pa.array(range(count), pa.int64()), **names, **sums}))


def _spans(flows: Flows, of: NDArray[np.int64], count: int) -> dict[str, NDArray[np.int64]]:
    """When the first flow of each cell begins and the last one ends, in ms since the epoch."""
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, of, flows.times("start"))
    np.maximum.at(last, of, flows.times("end"))
    return {"start_ms": first // 10**6, "end_ms": last // 10**6}


def shown(flows: Flows, name: str) -> Codes:
    """A dimension as people know it: protocols by name."""
    codes = flows.names(name)
    return Codes(codes.codes, [protocol_name(value) for value in codes.values]) if name == "protocol" else codes


def add(values: NDArray[np.int64], groups: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Sums of whole numbers by group; exact below 2^53."""
    return np.rint(np.bincount(groups, values, count)).astype(np.int64)


def _combined(columns: list[Codes], rows: int) -> tuple[NDArray[np.int64], list[int]]:
    """One number for each flow's values in all columns; `shape` has the values of each, null among them."""
    shape = [len(column.values) + 1 for column in columns]
    combined = np.zeros(rows, np.int64)
    for column, size in zip(columns, shape, strict=True):
        combined = combined * size + column.codes + 1
    return combined, shape


def _names(columns: dict[str, Codes], used: NDArray[np.int64], shape: list[int], count: int) -> dict[str, pa.Array]:
    """The values of each kept combination in each dimension, and OTHER for the rest."""
    names = {}
    for name, size in reversed(list(zip(columns, shape, strict=True))):
        values = [NONE, *columns[name].values]
        listed = [values[code] for code in (used % size).tolist()]
        names[name] = pa.array(listed + [OTHER] * (count - len(listed)), pa.string())
        used = used // size
    return {name: names[name] for name in columns}
