"""Compare two sets of flow records: of another version, another tool, another day.

``tables`` reads them, ``sides`` finds the columns that both have and what records are matched by, ``matching`` pairs
the records, ``pairs`` compares their columns by ``values``, ``drift`` compares distributions, ``result`` holds what was
found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.comparing.drift import SMALLEST, Drift, find_drift, sample
from flowgauge.comparing.matching import Matching, Times, by_place, clock_offset, match, seconds
from flowgauge.comparing.pairs import Pairs, compare_columns, swapped_pairs
from flowgauge.comparing.result import ColumnDifference, Comparison, Records, TypeChange
from flowgauge.comparing.sides import NANOSECONDS, Side, have_keys, keys, read_column
from flowgauge.comparing.tables import Table, filled, is_text, open_table
from flowgauge.errors import ConfigError
from flowgauge.schema import native_columns

__all__ = ["Comparison", "compare"]

_EXAMPLES = 3
_LABELS = ("app", "action", "background", "AppName", "AppAction", "Label", "label")


def compare(a: Any, b: Any, *, tolerance: float = 1e-9, within: float = 1.0) -> Comparison:
    """What differs between two sets of flow records.

    `a` and `b` are paths (Parquet, Arrow, CSV, JSON Lines, Zeek's logs) or Arrow tables, of any schema of flowgauge or
    of the tools whose tables these are. Records are matched by their Community ID, or what that is made of, and time:
    those that start within so many seconds of each other, or overlap. Floats are equal within `tolerance` of the
    larger, everything else where it is the same. Raises ConfigError for a table that cannot be read, or has no column
    that the other has.
    """
    if not 0 <= tolerance < 1 or not 0 <= within < 2**31:
        raise ConfigError(f"tolerance is from 0 to 1 and within seconds, not {tolerance!r} and {within!r}")
    tables = open_table(a, "a"), open_table(b, "b")
    left, right = (Side(table) for table in tables)
    if left.schema != right.schema:
        left.use_native_names()
        right.use_native_names()
    names = _common(left, right)
    if not names:
        raise ConfigError(f"{left.table.name} and {right.table.name} have no column of the same meaning")
    return _Comparing(left, right, names, tolerance, round(within * NANOSECONDS)).run()


def _common(a: Side, b: Side) -> list[str]:
    """The columns of both; a list that one side has as columns for its places is one."""
    for side, other in ((a, b), (b, a)):
        for name, known in list(other.columns.items()):
            if side.table.has_places(name) and pa.types.is_list(_type(other, known.name)):
                for place in side.table.places(name):
                    side.columns.pop(place, None)
                side.columns[name] = known
    return [name for name in a.columns if name in b.columns]


def _type(side: Side, name: str) -> pa.DataType:
    kind = side.table.schema.field(name).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _only_in(side: Side, other: Side) -> Iterator[str]:
    """Columns that the other lacks; text may leave out those in which every value is null."""
    for name in side.columns:
        if name in other.columns:
            continue
        if other.table.typed or read_column(side, name)[0].null_count < side.table.rows:
            yield name


class _Comparing:
    """One comparison."""

    def __init__(self, a: Side, b: Side, names: list[str], tolerance: float, within: int) -> None:
        self.a, self.b = a, b
        self.names = names
        self.tolerance = tolerance
        self.within = within
        self.offset = 0

    def run(self) -> Comparison:
        """All of it."""
        a, b = self.a, self.b
        found = self._match() if have_keys(a, b) else by_place(a.table.rows, b.table.rows)
        labels = [name for name in self.names if self._role(name) == "label"]
        paired = self._paired(found, labels)
        return Comparison(
            a.table.name,
            b.table.name,
            (a.table.rows, b.table.rows),
            offset_s=seconds(self.offset),
            only_in_a=tuple(_only_in(a, b)),
            only_in_b=tuple(_only_in(b, a)),
            types=tuple(self._types()),
            drift=tuple(self._drift(found, paired["columns"])),
            options=_options(a.table, b.table),
            **paired,
        )

    def _match(self) -> Matching:
        a, b = self.a, self.b
        key_a, key_b = keys(a, b)
        times_a, times_b = Times(key_a, a.start(), a.end()), Times(key_b, b.start(), b.end())
        step = a.shape.step + b.shape.step
        self.offset = clock_offset(times_a, times_b, step)
        times_b = times_b._replace(start=times_b.start - self.offset, end=times_b.end - self.offset)
        return match(times_a, times_b, self.within + step, self._packets())

    def _packets(self) -> tuple[Any, Any] | None:
        if "packets" not in self.names:
            return None
        counts = [filled(read_column(side, "packets")[0], 0).astype(np.int64) for side in (self.a, self.b)]
        return counts[0], counts[1]

    def _paired(self, found: Matching, labels: list[str]) -> dict[str, Any]:
        """What is found of pairs, and of records without one."""
        apart_a, apart_b = np.unique(found.splits[:, 0]), np.unique(found.merges[:, 0])
        whole = ~(np.isin(found.a, apart_a) | np.isin(found.b, apart_b))
        in_a, in_b = found.a[whole], found.b[whole]
        ends = self.a.has_ends and self.b.has_ends and len(in_a)
        swapped = swapped_pairs(self.a, self.b, in_a, in_b) if ends else np.zeros(len(in_a), np.bool_)
        pairs = Pairs(self.a, self.b, in_a, in_b, swapped, self.offset, self.tolerance)
        columns, changes = compare_columns(pairs, self.names, labels)
        turned = np.flatnonzero(swapped)
        return {
            "matched": len(in_a),
            "only_a": self._records(self.a, found.only_a),
            "only_b": self._records(self.b, found.only_b),
            "splits": self._apart(self.a, found.splits, "in a", "in b"),
            "merges": self._apart(self.b, found.merges, "in b", "in a"),
            "swapped": Records(len(turned), self._records(self.a, in_a[turned]).examples),
            "columns": columns,
            "labels": changes,
            "reordered": bool((np.diff(found.b[np.argsort(found.a)]) < 0).any()),
            "compared": len(self.names),
        }

    def _records(self, side: Side, rows: NDArray[np.int64]) -> Records:
        return Records(len(rows), tuple(side.describe(int(row)) for row in rows[:_EXAMPLES]))

    def _apart(self, side: Side, pieces: NDArray[np.int64], here: str, there: str) -> Records:
        records, counts = np.unique(pieces[:, 0], return_counts=True)
        words = (
            f"{side.describe(int(row))}: 1 record {here}, {count + 1} {there}"
            for row, count in zip(records[:_EXAMPLES], counts, strict=False)
        )
        return Records(len(records), tuple(words))

    def _types(self) -> list[TypeChange]:
        if not (self.a.table.typed and self.b.table.typed) or self.a.schema != self.b.schema:
            return []
        kinds = [(name, *(_type(side, side.columns[name].name) for side in (self.a, self.b))) for name in self.names]
        return [TypeChange(name, str(a), str(b)) for name, a, b in kinds if a != b and not (is_text(a) and is_text(b))]

    def _drift(self, found: Matching, columns: tuple[ColumnDifference, ...]) -> list[Drift]:
        """Of the features; those of which too few values differ for a drift are not looked at."""
        rows = min(self.a.table.rows, self.b.table.rows)
        differ = {column.column: column.differ for column in columns}
        alone = max(self.a.table.rows, self.b.table.rows) - len(found.a)
        features = [name for name in self.names if self._role(name) == "feature"]
        chosen = [name for name in features if alone + differ.get(name, 0) > SMALLEST * rows]
        drawn = [sample(side.table.rows) for side in (self.a, self.b)]
        drifts = (self._drift_of(name, drawn, len(features)) for name in chosen)
        return sorted((drift for drift in drifts if drift is not None), key=lambda drift: -drift.distance)

    def _drift_of(self, name: str, drawn: list[NDArray[np.int64] | None], columns: int) -> Drift | None:
        arrays = [read_column(side, name)[0] for side in (self.a, self.b)]
        taken = [
            array if rows is None else array.take(pa.array(rows)) for array, rows in zip(arrays, drawn, strict=True)
        ]
        return find_drift(name, taken[0], taken[1], columns)

    def _role(self, name: str) -> str:
        """id, label or feature: as one side says, as its native name says, or by its type."""
        for side in (self.a, self.b):
            own = side.columns[name].name
            if own in side.table.names and (said := (side.table.schema.field(own).metadata or {}).get(b"role")):
                return str(said.decode())
        if name in _LABELS:
            return "label"
        if name in _ROLES:
            return _ROLES[name]
        return "feature"


_ROLES = {column.name: column.role for column in native_columns()}


def _options(a: Table, b: Table) -> dict[str, tuple[Any, Any]]:
    """Options and versions that differ, where both say what made them."""
    made = []
    for table in (a, b):
        said = table.schema.metadata or {}
        if b"flowgauge_options" not in said:
            return {}
        options = json.loads(said[b"flowgauge_options"])
        made.append({"version": said.get(b"flowgauge_version", b"").decode(), **options})
    names = made[0].keys() | made[1].keys()
    return {
        name: (made[0].get(name), made[1].get(name)) for name in sorted(names) if made[0].get(name) != made[1].get(name)
    }
