"""Cells: the combinations of app, action, protocol and service that a report can be filtered by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.report.flows import NONE, OTHER, Codes, Flows, distinct, protocol_name

DIMENSIONS = ("app", "action", "protocol", "service")
MOST = 96
"""Cells at most."""
SUMS = {"packets": "packets", "bytes": "frame_bytes", "payload_bytes": "payload_bytes"}


@dataclass(frozen=True)
class Cells:
    """`of` is the cell of each flow; `table` has one row a cell: its number, its value in each dimension that the flows
    have, flows, packets, bytes of frames and of payload, first start and last end. The one with the most flows comes
    first."""

    of: NDArray[np.int64]
    table: pa.Table

    @property
    def count(self) -> int:
        return int(self.table.num_rows)

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(name for name in DIMENSIONS if name in self.table.schema.names)

    @property
    def main(self) -> str:
        """What flows are told apart by: the first of app, service and protocol that there is."""
        return next(name for name in ("app", "service", "protocol") if name in self.dimensions)


def make_cells(flows: Flows) -> Cells:
    """The cells of all flows. Where there are more than MOST combinations, the rarest values of a dimension become
    OTHER, in all flows that have them: so the flows of a value that still has its name are all in cells of that name.
    A dimension without names left is left out.
    """
    columns = {name: shown(flows, name) for name in DIMENSIONS if flows.has(name)}
    columns = {name: codes for name, codes in columns.items() if name == "protocol" or (codes.codes >= 0).any()}
    shape = [len(column.values) + 1 for column in columns.values()]
    used, of, counts = distinct(_combined([column.codes + 1 for column in columns.values()], shape), math.prod(shape))
    digits = dict(zip(columns, _digits(used, shape), strict=True))
    folded = _folded(digits, counts)
    # Codes of the values that have their names stay; one more is OTHER.
    shape = [size + 1 for size in shape]
    names, place, _ = distinct(_combined(list(folded.values()), shape), math.prod(shape))
    flows_of = np.bincount(place, counts, len(names))
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(-flows_of, kind="stable")] = np.arange(len(names))
    of, names = rank[place][of], names[np.argsort(rank)]
    sums = {name: add(flows.whole(column), of, len(names)) for name, column in SUMS.items()}
    sums = {"flows": np.bincount(of, minlength=len(names)), **sums, **_spans(flows, of, len(names))}
    values = {
        name: pa.array([NONE, *columns[name].values, OTHER], pa.string()).take(pa.array(digit))
        for name, digit in zip(columns, _digits(names, shape), strict=True)
        if (digit <= len(columns[name].values)).any() or name == "protocol"
    }
    return Cells(of, pa.table({"cell": pa.array(range(len(names)), pa.int64()), **values, **sums}))


def _folded(digits: dict[str, NDArray[np.int64]], counts: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The values of combinations with these flows, of no more than MOST different ones: step by step, the rarest values
    of the dimensions become one, the number behind all others."""
    kept = {name: len(np.unique(values)) for name, values in digits.items()}
    folded = dict(digits)
    for name, least in _STEPS:
        if name not in digits:
            continue
        while kept[name] > least and _different(folded) > MOST:
            kept[name] -= 1
            folded[name] = _fold(digits[name], counts, kept[name])
    return folded


_STEPS = (
    *(("action", 8), ("service", 6), ("app", 16), ("protocol", 3)),
    *(
        ("action", 0),
        ("service", 3),
        ("app", 12),
        ("service", 2),
        ("app", 7),
        ("service", 0),
        ("app", 0),
        ("protocol", 0),
    ),
)
"""Which dimension loses names first, and how many it keeps in that step."""


def _different(digits: dict[str, NDArray[np.int64]]) -> int:
    shape = [int(values.max(initial=0)) + 1 for values in digits.values()]
    return len(np.unique(_combined(list(digits.values()), shape)))


def _fold(values: NDArray[np.int64], counts: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The same values but for all after the `most` with the most flows."""
    rest = int(values.max(initial=0)) + 1
    flows_of = np.bincount(values, counts, rest)
    kept = np.argsort(-flows_of, kind="stable")[:most]
    place = np.full(rest, rest, np.int64)
    place[kept] = kept
    return place[values]


def _combined(columns: list[NDArray[np.int64]], shape: list[int]) -> NDArray[np.int64]:
    """One number for the codes of all columns, each below its entry of `shape`."""
    combined = np.zeros(len(columns[0]), np.int64)
    for codes, size in zip(columns, shape, strict=True):
        combined = combined * size + codes
    return combined


def _digits(combined: NDArray[np.int64], shape: list[int]) -> list[NDArray[np.int64]]:
    """The codes that a number stands for, column by column."""
    digits = []
    for size in reversed(shape):
        combined, digit = np.divmod(combined, size)
        digits.append(digit)
    return digits[::-1]


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
