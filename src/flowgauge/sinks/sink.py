"""Sink: the part that all output formats share."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Protocol

import pyarrow as pa

from flowgauge.errors import SinkError
from flowgauge.sinks.output import Output

_MANY = 64


class Writer(Protocol):
    """One output format. `rows` is how many rows a call of `write` gets, but for the last one."""

    rows: int

    def write(self, table: pa.Table) -> None:
        """Write the next rows."""

    def close(self) -> None:
        """Write what the format ends with."""


class Opener(Protocol):
    """Makes the writer of a format, which writes its header to the open output."""

    def __call__(self, output: Output, schema: pa.Schema) -> Writer:
        """Write the header."""


class Sink:
    """Writes record batches of one schema to one output; a context manager.

    Rows are gathered until there are as many as the format writes at a time, so that the bytes do
    not depend on how rows came in batches. Leaving the context completes the output, or removes it after
    an exception. Raises SinkError, or BrokenPipeError where the reader of a pipe has left.
    """

    def __init__(self, output: Output, schema: pa.Schema, opener: Opener) -> None:
        self.schema = schema
        self._output = output
        self._opener = opener
        self._writer: Writer | None = None
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0

    def __enter__(self) -> Sink:
        self._output.open()
        try:
            self._writer = self._opener(self._output, self.schema)
        except BaseException:
            self._output.abort()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abort()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch, whose columns are those of `schema`."""
        check_columns(batch, self.schema)
        if len(batch):
            self._pending.append(batch)
            self._rows += len(batch)
        if len(self._pending) > _MANY:  # small ones, as of a live run: each takes kilobytes beside its rows
            self._pending = pa.Table.from_batches(self._pending, self.schema).combine_chunks().to_batches()
        while self._writer is not None and self._rows >= self._writer.rows:
            self._write_next(self._writer, self._writer.rows)

    def _write_next(self, writer: Writer, rows: int) -> None:
        taken: list[pa.RecordBatch] = []
        wanted = rows
        while wanted:
            first = self._pending.pop(0)
            if len(first) > wanted:
                self._pending.insert(0, first.slice(wanted))
                first = first.slice(0, wanted)
            taken.append(first)
            wanted -= len(first)
        self._rows -= rows
        writer.write(pa.Table.from_batches(taken, self.schema))

    @property
    def waiting(self) -> int:
        """Rows that are gathered and not written yet."""
        return self._rows

    @property
    def written(self) -> int:
        """Bytes handed to the output so far."""
        return self._output.tell()

    def note(self, name: str, text: str) -> None:
        """Keep a fact that is known at the end, in a format that can: Parquet, in its footer."""
        keep = getattr(self._writer, "note", None)
        if keep is not None:
            keep(name, text)

    def flush(self) -> None:
        """Hand over all rows now, for those who read along."""
        if self._writer is not None and self._rows:
            self._write_next(self._writer, self._rows)
            self._output.flush()

    def close(self) -> None:
        """Write the remaining rows and complete the output; nothing happens the second time."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            if self._rows:
                self._write_next(writer, self._rows)
            writer.close()
            self._output.commit()
        except BaseException:
            self._abort(writer)
            raise

    def _abort(self, writer: Writer | None = None) -> None:
        writer, self._writer = writer or self._writer, None
        self._output.abort()
        if writer is not None:
            with contextlib.suppress(Exception):  # what it still writes is dropped
                writer.close()


def check_columns(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    """Raise SinkError for a batch with columns other than those of the output."""
    if not batch.schema.equals(schema):
        raise SinkError(f"a batch has columns other than the output: {_difference(batch.schema, schema)}")


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    for have, want in zip(found, wanted, strict=False):
        if (have.name, have.type) != (want.name, want.type):
            return f"{have.name} ({have.type}) where {want.name} ({want.type}) is expected"
    return f"{len(found)} instead of {len(wanted)}"
