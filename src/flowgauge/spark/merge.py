"""Batches of records of many shards, in the order of their first records: all records in output order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from flowgauge.meter import BATCH_ROWS
from flowgauge.spark.tasks import LEFT, of_ipc
from flowgauge.table import order_of

_KEYS = (LEFT.name, "end", "flow_id", "part")


def in_order(rows: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    """Native batches in output order; `rows` are those of BATCHES by trace, boundary, end and number.

    Records wait until no batch can hold an earlier one: about as many as the shards have in a batch each.
    """
    waiting: list[pa.RecordBatch] = []
    count, trace = 0, None
    for row in rows:
        batch = of_ipc(row.records)
        if LEFT.name not in batch.schema.names:
            yield from _all(waiting)
            waiting, count = [], 0
            yield batch
            continue
        if trace != row.trace:
            yield from _all(waiting)
            waiting, count, trace = [], 0, row.trace
        if count >= 2 * BATCH_ROWS:
            table = _sorted(waiting)
            final = _before(table, row.boundary, row.end)
            yield from _batches(table.slice(0, final))
            waiting = table.slice(final).combine_chunks().to_batches()
            count = table.num_rows - final
        waiting.append(batch)
        count += len(batch)
    yield from _all(waiting)


def _all(waiting: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if waiting:
        yield from _batches(_sorted(waiting))


def _sorted(batches: list[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return table.take(pa.array(order_of(*_keys(table)))).combine_chunks()


def _keys(table: pa.Table) -> list[Any]:
    kinds = (np.int64, np.int64, np.int64, np.int32)
    return [
        table.column(name).cast(pa.int64()).to_numpy().astype(kind) for name, kind in zip(_KEYS, kinds, strict=True)
    ]


def _before(table: pa.Table, boundary: int, end: int) -> int:
    """How many of the first records come before any that has left at this boundary with this end."""
    left, ends = _keys(table)[:2]
    earlier = (left < boundary) | ((left == boundary) & (ends < end))
    return int(np.count_nonzero(earlier))


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from table.drop_columns([LEFT.name]).combine_chunks().to_batches(BATCH_ROWS)
