"""Fingerprints: the lengths and directions of the first packets, by cell and place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.report.cells import Cells, add
from flowgauge.report.flows import Flows

MOST_PLACES = 32
COLUMNS = ("splt_direction", "splt_ip_len")


def fingerprints(flows: Flows, cells: Cells) -> dict[str, pa.Table]:
    """Table `fingerprints`: of each cell and place (from 1) the flows that have such a packet, how many of these are
    the client's (`up`), and the sums of their IP lengths (`up_bytes`, `down_bytes`). None without group `splt`."""
    if not flows.has(*COLUMNS):
        return {}
    counts = _lengths(flows, COLUMNS[0])
    group, first = _groups(counts, cells.of)
    up = _values(flows, COLUMNS[0])[first] == 0
    lengths = _values(flows, COLUMNS[1])[first]
    size = cells.count * MOST_PLACES
    flow_counts = np.bincount(group, minlength=size)
    sums = {
        "up": np.bincount(group[up], minlength=size),
        "up_bytes": add(lengths[up], group[up], size),
        "down_bytes": add(lengths[~up], group[~up], size),
    }
    used = np.flatnonzero(flow_counts)
    cell, place = np.divmod(used, MOST_PLACES)
    columns = {name: values[used] for name, values in sums.items()}
    return {"fingerprints": pa.table({"cell": cell, "place": place + 1, "flows": flow_counts[used], **columns})}


def _lengths(flows: Flows, name: str) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.list_value_length(flows.table[name]), 0).to_numpy(), np.int64)


def _values(flows: Flows, name: str) -> NDArray[Any]:
    values: NDArray[Any] = pc.list_flatten(flows.table[name]).to_numpy()
    return values


def _groups(counts: NDArray[np.int64], of: NDArray[np.int64]) -> tuple[NDArray[Any], Any]:
    """The number of cell and place of each item of lists with these counts, and which items are among the first
    MOST_PLACES of their list."""
    # Items are numbered through: less the number of its list's first one, that is its place.
    before = np.cumsum(counts) - counts
    kind = np.int32 if counts.sum() < 2**31 else np.int64  # half the memory is twice as fast
    items = np.arange(counts.sum(), dtype=kind)
    group = np.repeat((of * MOST_PLACES - before).astype(kind), counts) + items
    if counts.max(initial=0) <= MOST_PLACES:
        return group, slice(None)
    first = items - np.repeat(before.astype(kind), counts) < MOST_PLACES
    return group[first], first
