"""Fingerprints: the lengths and directions of the first packets, by cell and place."""

from __future__ import annotations

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
    rows, places, directions = _packets(flows, COLUMNS[0])
    lengths = _packets(flows, COLUMNS[1])[2]
    group = cells.of[rows] * MOST_PLACES + places
    size = cells.count * MOST_PLACES
    counts = np.bincount(group, minlength=size)
    up = directions == 0
    sums = {
        "up": np.bincount(group[up], minlength=size),
        "up_bytes": add(lengths[up], group[up], size),
        "down_bytes": add(lengths[~up], group[~up], size),
    }
    used = np.flatnonzero(counts)
    cell, place = np.divmod(used, MOST_PLACES)
    columns = {name: values[used] for name, values in sums.items()}
    return {"fingerprints": pa.table({"cell": cell, "place": place + 1, "flows": counts[used], **columns})}


def _packets(flows: Flows, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, place in its list (from 0) and value of each item of a list column, up to MOST_PLACES of a list."""
    column = flows.table[name]
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(), np.int64)
    values = np.asarray(pc.list_flatten(column).cast(pa.int64()).to_numpy(), np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = places < MOST_PLACES
    return rows[first], places[first], values[first]
