"""A destination in memory that goes down and comes back as a test wants it to."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa

from flowgauge.errors import DestinationDown, SinkError
from flowgauge.sinks.delivery.delivery import Limits, Terms

SCHEMA = pa.schema([("number", pa.int64()), ("label", pa.dictionary(pa.int32(), pa.string()))])


class FarEnd:
    """Keeps what it gets in `deliveries`; takes nothing while `down`, and refuses for good where `refuses`."""

    name = "memory://far"

    def __init__(self, rows: int = 10, down: bool = False) -> None:
        self.rows = rows
        self.down = down
        self.refuses = self.dies_behind = False
        self.attempts = 0
        self.deliveries: list[pa.Table] = []
        self.schemas: list[pa.Schema] = []
        self.blocked = threading.Event()
        self.blocked.set()

    def connect(self, schema: pa.Schema) -> None:
        self._answer()
        self.schemas.append(schema)

    def deliver(self, table: pa.Table) -> None:
        self.blocked.wait(10)
        self._answer()
        assert self.schemas and self.schemas[-1].equals(table.schema)
        self.deliveries.append(table)
        if self.dies_behind:  # the rows are there, and nobody is left to say so
            self.dies_behind, self.down = False, True
            raise DestinationDown("broken off")

    def _answer(self) -> None:
        self.attempts += 1
        if self.refuses:
            raise SinkError("there is no such table")
        if self.down:
            raise DestinationDown("nobody answers")

    def close(self) -> None:
        """Nothing is held."""

    @property
    def numbers(self) -> list[int]:
        """All rows, in the order in which they came."""
        return [number for table in self.deliveries for number in table["number"].to_pylist()]


class Said(list[str]):
    """Lines that were told; the run stops when `stop` is set."""

    stop = False

    def terms(self, live: bool = False) -> Terms:
        return Terms(self.append, lambda: self.stop, live)


def limits(folder: Path, wait: float = 300.0, size: int | None = None) -> Limits:
    return Limits(wait, folder, size)


def batch(*numbers: int, schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    columns: dict[str, Any] = {"number": pa.array(numbers, pa.int64())}
    labels = pa.array([f"label {number % 3}" for number in numbers]).dictionary_encode()
    columns["label"] = labels.cast(schema.field("label").type)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
