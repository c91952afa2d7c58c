"""Pairs of records, column by column."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.comparing.result import ColumnDifference, Example, LabelChange
from flowgauge.comparing.sides import Known, Side, read_column
from flowgauge.comparing.tables import filled
from flowgauge.comparing.values import Rule, differences

_EXAMPLES = 3
_MOST_CHANGES = 20
_MIRRORED = (("client_", "server_"), ("up_", "down_"), ("src_", "dst_"), ("src2dst_", "dst2src_"))
_TURNED = frozenset(
    ("client_by", "tcp_state", "tcp_history", "handshake_syn_rtt_s", "handshake_ack_rtt_s", "splt_direction")
)
"""Columns that tell client from server in their values: they differ where these are exchanged."""

I64 = NDArray[np.int64]


class Pairs(NamedTuple):
    """Rows of a and b that are pairs; those `swapped` have client and server exchanged. The clock of b is `offset` ns
    ahead, floats are equal within `tolerance`."""

    a: Side
    b: Side
    rows_a: I64
    rows_b: I64
    swapped: NDArray[np.bool_]
    offset: int
    tolerance: float

    def rule(self, known: tuple[Known, Known], time: int) -> Rule:
        """When two columns are equal, with times known to so many ns."""
        tables = self.a.table, self.b.table
        in_text = not all(table.typed for table in tables)
        step = max(table.step for table in tables) + (time / 1e9 if any(one.scale != 1.0 for one in known) else 0.0)
        loose = any(one.loose for one in known)
        return Rule(self.tolerance, step, time, self.offset, loose, in_text)


def swapped_pairs(a: Side, b: Side, rows_a: I64, rows_b: I64) -> NDArray[np.bool_]:
    """Which of these pairs have client and server exchanged."""
    swapped = np.zeros(len(rows_a), np.bool_)
    ends_a, ends_b = a.ends(), b.ends()
    mine, other = ([_taken(column, rows) for column in ends] for ends, rows in ((ends_a, rows_a), (ends_b, rows_b)))
    differ = np.zeros(len(rows_a), np.bool_)
    for one, two in zip(mine, other, strict=True):
        differ |= filled(pc.not_equal(one, two), True)
    rows = pa.array(np.flatnonzero(differ))
    if not len(rows):
        return swapped
    turned = np.ones(len(rows), np.bool_)
    for place, opposite in enumerate((2, 3, 0, 1)):
        turned &= filled(pc.equal(mine[place].take(rows), other[opposite].take(rows)), False)
    swapped[rows.to_numpy()] = turned
    return swapped


def _taken(array: pa.Array, rows: I64) -> pa.Array:
    """These rows; the array itself where they are all, in order."""
    whole = len(rows) == len(array) and (not len(rows) or (rows[0] == 0 and bool((np.diff(rows) == 1).all())))
    return array if whole else array.take(pa.array(rows))


def compare_columns(
    pairs: Pairs, names: list[str], labels: list[str]
) -> tuple[tuple[ColumnDifference, ...], tuple[LabelChange, ...]]:
    """The columns that differ, but for labels, and the changes of those."""
    columns: list[ColumnDifference] = []
    changes: list[LabelChange] = []
    for name in names if len(pairs.rows_a) else ():
        if name in labels:
            changes += _changes(pairs, name)
        elif (found := _compare(pairs, name)) is not None:
            columns.append(found)
    return tuple(columns), tuple(changes)


def _compare(pairs: Pairs, name: str) -> ColumnDifference | None:
    parts = [_part(pairs, name, name, ~pairs.swapped)]
    if pairs.swapped.any() and name not in _TURNED:
        parts.append(_part(pairs, name, _mirrored(name, pairs.b), pairs.swapped))
    differ = sum(part[0] for part in parts)
    if not differ:
        return None
    examples = sorted((example for part in parts for example in part[2]), key=lambda sized: -sized[0])
    compared = sum(part[1] for part in parts)
    return ColumnDifference(name, differ, compared, tuple(example for _, example in examples[:_EXAMPLES]))


def _part(pairs: Pairs, name: str, other: str, chosen: Any) -> tuple[int, int, list[tuple[float, Example]]]:
    """Of the chosen pairs: how many differ, of how many, and the largest differences with their sizes."""
    rows_a, rows_b = (rows if chosen.all() else rows[chosen] for rows in (pairs.rows_a, pairs.rows_b))
    column_a, known_a = read_column(pairs.a, name)
    column_b, known_b = read_column(pairs.b, other)
    left, right = _taken(column_a, rows_a), _taken(column_b, rows_b)
    if pairs.offset and pairs.b.counts_time(other):
        right = pc.subtract(right, pairs.offset / pairs.b.shape.unit)
    time = max(pairs.a.shape.step, pairs.b.shape.step)
    found = differences(left, right, pairs.rule((known_a, known_b), time))
    rows = np.flatnonzero(found.differ)
    largest = rows[np.argsort(-found.size[rows], kind="stable")[:_EXAMPLES]]
    examples = [
        (float(found.size[row]), Example(pairs.a.describe(int(rows_a[row])), left[row].as_py(), right[row].as_py()))
        for row in largest.tolist()
    ]
    return len(rows), len(rows_a), examples


def _mirrored(name: str, side: Side) -> str:
    """The column of the other end or direction."""
    for pair in _MIRRORED:
        for own, other in (pair, pair[::-1]):
            if name.startswith(own) and other + name[len(own) :] in side.columns:
                return other + name[len(own) :]
    return name


def _changes(pairs: Pairs, name: str) -> list[LabelChange]:
    """What labels became, most pairs first."""
    left, right = (
        _taken(read_column(side, name)[0], rows).cast(pa.string())
        for side, rows in ((pairs.a, pairs.rows_a), (pairs.b, pairs.rows_b))
    )
    known = read_column(pairs.a, name)[1], read_column(pairs.b, name)[1]
    rows = np.flatnonzero(differences(left, right, pairs.rule(known, 0)).differ)
    changed = pa.table({"a": left.take(pa.array(rows)), "b": right.take(pa.array(rows))})
    counted = changed.group_by(["a", "b"]).aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    return [LabelChange(name, row["a"], row["b"], row["count_all"]) for row in counted[:_MOST_CHANGES].to_pylist()]
