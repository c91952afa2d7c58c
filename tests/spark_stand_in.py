"""What flowgauge.spark asks of a Spark session, without Spark: partitions are lists of tables in this process.

What is mapped goes through a pickle, as it does on the way to an executor.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import pyarrow as pa

SETTINGS = {
    "spark.master": "stand-in",
    "spark.sql.files.maxPartitionBytes": "134217728b",
    "spark.sql.files.openCostInBytes": "4194304b",
    "spark.sql.shuffle.partitions": "3",
}


class Frame:
    """A frame of tables, one for each partition."""

    def __init__(self, schema: pa.Schema, partitions: list[list[pa.RecordBatch]]) -> None:
        self._schema = schema
        self._partitions = partitions

    def repartitionById(self, count: int, column: str) -> Frame:  # noqa: N802 - Spark's name
        table = self._table()
        places = [number % count for number in table.column(column).to_pylist()]
        parts = [table.filter(pa.array([place == number for place in places])) for number in range(count)]
        return Frame(self._schema, [part.to_batches() for part in parts])

    def sortWithinPartitions(self, *columns: str) -> Frame:  # noqa: N802
        order = [(column, "ascending") for column in columns]
        tables = [pa.Table.from_batches(part, self._schema).sort_by(order) for part in self._partitions]
        return Frame(self._schema, [table.to_batches(max_chunksize=3) for table in tables])

    def mapInArrow(self, function: Callable[..., Any], schema: Any) -> Frame:  # noqa: N802
        from pyspark.sql.pandas.types import to_arrow_schema

        arrow = to_arrow_schema(schema, timezone="UTC")
        sent = pickle.dumps(function)
        made = [list(pickle.loads(sent)(iter(part))) for part in self._partitions]
        for batch in (batch for part in made for batch in part):
            assert batch.schema.types == arrow.types, [
                pair for pair in zip(batch.schema, arrow, strict=True) if pair[0].type != pair[1].type
            ]
        return Frame(made[0][0].schema if any(made) and made[0] else arrow, made)

    def union(self, other: Frame) -> Frame:
        return Frame(self._schema, self._partitions + other._partitions)

    def where(self, condition: str) -> Frame:
        """Only `<column> is not null` is known."""
        column, _, rest = condition.partition(" ")
        assert rest == "is not null"
        kept = [[batch.filter(batch.column(column).is_valid()) for batch in part] for part in self._partitions]
        return Frame(self._schema, kept)

    def repartitionByRange(self, count: int, *columns: str) -> Frame:  # noqa: N802
        table = self._table().sort_by([(column, "ascending") for column in columns])
        size = max(1, -(-len(table) // count))
        return Frame(self._schema, [table.slice(place * size, size).to_batches() for place in range(count)])

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[Any]:  # noqa: N802, N803
        return iter(self.collect())

    def persist(self, level: Any) -> Frame:
        return self

    def unpersist(self) -> None:
        pass

    def _table(self) -> pa.Table:
        return pa.Table.from_batches([batch for part in self._partitions for batch in part], self._schema)

    def collect(self) -> list[Any]:
        return rows_of(self._table())


def rows_of(table: pa.Table) -> list[Any]:
    """Rows with fields, as Spark collects them."""
    kind: Any = NamedTuple("Row", [(name, Any) for name in table.column_names])
    return [kind(**row) for row in table.to_pylist()]


def extract_by(session: Session, inputs: Any, format: str = "parquet", **options: Any) -> tuple[bytes, Any]:
    """What extracting by a session gives: the bytes of the output, and the counts."""
    from flowgauge.spark import extract as module

    output = io.BytesIO()
    with mock.patch.object(module, "session", return_value=contextlib.nullcontext(session)):
        stats = module.extract(inputs, output, format=format, **options)
    return output.getvalue(), stats


class _Settings(dict):
    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


class Session:
    """A session with these settings; a name with `_` in the place of `.`."""

    def __init__(self, parallel: int = 1, **settings: str) -> None:
        given = {name.replace("_", "."): value for name, value in settings.items()}
        self.conf = _Settings(SETTINGS | given)
        self.sparkContext = type("Context", (), {"defaultParallelism": parallel})

    def createDataFrame(self, table: pa.Table) -> Frame:  # noqa: N802
        return Frame(table.schema, [table.to_batches()])
