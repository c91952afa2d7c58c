"""Fingerprints: the lengths and directions of the first packets, by cell and place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.report.cells import Cells, add, shown
from flowgauge.report.flows import NONE, Codes, Flows, distinct

MOST_PLACES, MOST_NAMES = 32, 30
COLUMNS = ("splt_direction", "splt_ip_len")


def fingerprints(flows: Flows, cells: Cells) -> dict[str, pa.Table]:
    """Table `fingerprints`: of the MOST_NAMES apps and actions with the most flows (`name`), each cell and place (from
    1) the flows that have such a packet, how many of these are the client's (`up`), and the sums of their IP lengths
    (`up_bytes`, `down_bytes`). None without group `splt`."""
    if not flows.has(*COLUMNS):
        return {}
    names = _names(flows, cells)
    strips, strip, _ = distinct(cells.of * (len(names.values) + 1) + names.codes, cells.count * (len(names.values) + 1))
    group, first = _groups(_lengths(flows, COLUMNS[0]), strip)
    up = _values(flows, COLUMNS[0])[first] == 0
    lengths = _values(flows, COLUMNS[1])[first]
    size = len(strips) * MOST_PLACES
    sums = {
        "flows": np.bincount(group, minlength=size),
        "up": np.bincount(group[up], minlength=size),
        "up_bytes": add(lengths[up], group[up], size),
        "down_bytes": add(lengths[~up], group[~up], size),
    }
    used = np.flatnonzero(sums["flows"])
    cell, name = np.divmod(strips[used // MOST_PLACES], len(names.values) + 1)
    listed = name < len(names.values)
    used, cell, name = used[listed], cell[listed], name[listed]
    columns = {column: values[used] for column, values in sums.items()}
    labels = pa.array(names.values, pa.string()).take(pa.array(name))
    return {"fingerprints": pa.table({"cell": cell, "name": labels, "place": used % MOST_PLACES + 1, **columns})}


def _names(flows: Flows, cells: Cells) -> Codes:
    """What each flow is of: app and action, those that there are, else service or protocol. All but the MOST_NAMES with
    the most flows have the code behind these."""
    dimensions = [name for name in ("app", "action") if flows.has(name) and flows.names(name).values]
    columns = [shown(flows, name) for name in dimensions or [cells.main]]
    combined = columns[0].codes + 1
    for column in columns[1:]:
        combined = combined * (len(column.values) + 1) + column.codes + 1
    used, codes, counts = distinct(combined, math.prod(len(column.values) + 1 for column in columns))
    kept = np.argsort(-counts, kind="stable")[:MOST_NAMES]
    place = np.full(len(used), len(kept), np.int64)
    place[kept] = np.arange(len(kept))
    return Codes(place[codes], [_joined(columns, int(code)) for code in used[kept]])


def _joined(columns: list[Codes], code: int) -> str:
    """The names that a combined code stands for; NONE is said once."""
    names = []
    for column in reversed(columns):
        code, digit = divmod(code, len(column.values) + 1)
        names.append(column.values[digit - 1] if digit else NONE)
    return NONE if set(names) == {NONE} else " · ".join(reversed(names))


def _lengths(flows: Flows, name: str) -> NDArray[np.int64]:
    return np.asarray(pc.fill_null(pc.list_value_length(flows.table[name]), 0).to_numpy(), np.int64)


def _values(flows: Flows, name: str) -> NDArray[Any]:
    values: NDArray[Any] = pc.list_flatten(flows.table[name]).to_numpy()
    return values


def _groups(counts: NDArray[np.int64], of: NDArray[np.int64]) -> tuple[NDArray[Any], Any]:
    """The number of strip and place of each item of lists with these counts, and which items are among the first
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
