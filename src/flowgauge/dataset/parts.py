"""The files of a chunk: one for each of its folders, and more where there are many folders."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from flowgauge import storage
from flowgauge.dataset.keys import Keys
from flowgauge.errors import SinkError
from flowgauge.sinks import Sink, open_sink

MOST_OPEN = 32
"""Files that are open at a time; another one closes that which has waited longest for rows."""

MOST_WAITING = 1 << 17
"""Rows in memory that are not written yet; more, and those of the fullest file are."""

SLICE = 8192  # rows that are looked at together, however they come: what is in the files does not depend on it
_ROW_GROUP = 32_768


class PartFile(NamedTuple):
    """A file that is complete: its name in the data set, its rows and its bytes."""

    name: str
    rows: int
    bytes: int


class Target(NamedTuple):
    """Where rows go, and as what: the data set, its keys, the columns of its files, and what makes them of native
    rows."""

    folder: str
    keys: Keys
    schema: pa.Schema
    convert: Callable[[pa.RecordBatch], pa.RecordBatch]


class _Part:
    """The rows of one folder. Its file is opened when there is a row group for it, or at its end."""

    def __init__(self, target: Target, stem: str) -> None:
        self._target, self._stem = target, stem
        self._sink: Sink | None = None
        self._pending: list[pa.RecordBatch] = []
        self._closed = 0
        self._rows = 0  # of the file at work
        self.used = 0

    @property
    def is_open(self) -> bool:
        return self._sink is not None

    @property
    def waiting(self) -> int:
        """Rows that are not written."""
        return self._sink.waiting if self._sink is not None else sum(map(len, self._pending))

    @property
    def is_due(self) -> bool:
        """Whether there are rows for a row group and no file for them."""
        return not self.is_open and self.waiting >= _ROW_GROUP

    def write(self, batch: pa.RecordBatch) -> None:
        self._rows += len(batch)
        if self._sink is not None:
            self._sink.write(batch)
        elif len(batch):
            self._pending.append(batch)

    def open(self) -> None:
        """Open the next file of this folder."""
        url = storage.join(self._target.folder, self._name)
        with explained(url):
            storage.make_folder(storage.join(self._target.folder, *self._name.split("/")[:-1]))
        self._sink = open_sink(url, format="parquet", schema=self._target.schema)
        self._sink.__enter__()
        pending, self._pending = self._pending, []
        for batch in pending:
            self._sink.write(batch)

    @property
    def _name(self) -> str:
        return f"{self._stem}{f'-{self._closed}' if self._closed else ''}.parquet"

    def flush(self) -> None:
        """Write what waits, as a row group of its own."""
        assert self._sink is not None
        self._sink.flush()

    def close(self) -> PartFile | None:
        """Complete the file, if there are rows for one."""
        if not self._rows:
            return None
        if self._sink is None:
            self.open()
        sink, self._sink = self._sink, None
        assert sink is not None
        sink.close()
        file = PartFile(self._name, self._rows, sink.written)
        self._closed += 1
        self._rows = 0
        return file

    def abort(self) -> None:
        """Leave nothing of the file at work."""
        if self._sink is not None:
            error = _Dropped()
            self._sink.__exit__(_Dropped, error, None)
        self._sink, self._pending, self._rows = None, [], 0


class _Dropped(Exception):
    """Why a file is dropped: its chunk was not completed."""


class Parts:
    """The files of one chunk, named `<folder>/<stem>.parquet`; a context manager that drops what is not complete.

    A file is complete when it has its name. The same rows make the same files, in whatever batches they come.
    """

    def __init__(self, target: Target, stem: str) -> None:
        self._target, self._stem = target, stem
        self._parts: dict[str, _Part] = {}
        self._files: list[PartFile] = []
        self._pending: list[pa.RecordBatch] = []
        self._slices = 0

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *error: Any) -> None:
        for part in self._parts.values():
            part.abort()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append native rows. Raises SinkError."""
        self._pending.append(batch)
        while sum(map(len, self._pending)) >= SLICE:
            self._put(self._next(SLICE))

    def _next(self, rows: int) -> pa.RecordBatch:
        """The first rows that wait, as one batch."""
        first = self._pending[0]
        if len(first) < rows and len(self._pending) > 1:
            table = pa.Table.from_batches(self._pending).unify_dictionaries().combine_chunks()
            self._pending = table.to_batches()
            first = self._pending[0]
        rest = first.slice(rows)
        self._pending[:1] = [rest] if len(rest) else []
        return first.slice(0, rows)

    def _put(self, batch: pa.RecordBatch) -> None:
        self._slices += 1
        for folder, rows in self._target.keys.split(batch):
            part = self._parts.get(folder)
            if part is None:
                part = self._parts[folder] = _Part(self._target, folder + self._stem)
            part.used = self._slices
            part.write(self._columns(rows))
            if part.is_due:
                self._open(part)
        while sum(part.waiting for part in self._parts.values()) > MOST_WAITING:
            fullest = max(sorted(self._parts), key=lambda folder: self._parts[folder].waiting)
            if not self._parts[fullest].is_open:
                self._open(self._parts[fullest])
            self._parts[fullest].flush()

    def _columns(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of the files: those that name folders are not among them."""
        converted = self._target.convert(rows)
        chosen = [converted[name] for name in self._target.schema.names]
        return pa.RecordBatch.from_arrays(chosen, schema=self._target.schema)

    def _open(self, part: _Part) -> None:
        opened = sorted((other.used, folder) for folder, other in self._parts.items() if other.is_open)
        if len(opened) >= MOST_OPEN:
            self._close([self._parts[opened[0][1]]])
        part.open()

    def _close(self, parts: list[_Part]) -> None:
        self._files += [file for part in parts if (file := part.close()) is not None]

    def close(self) -> list[PartFile]:
        """Complete all files; they are in the order of their names. Raises SinkError."""
        rest = sum(map(len, self._pending))
        if rest:
            self._put(self._next(rest))
        opened = [part for part in self._parts.values() if part.is_open]
        self._close(opened)
        others = [part for _, part in sorted(self._parts.items())]
        if storage.local_path(self._target.folder) is None:  # each takes a round trip
            self._files += [file for file in storage.each(_Part.close, others) if file is not None]
        else:
            self._close(others)
        return sorted(self._files)


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """What goes wrong with an output as SinkError."""
    try:
        yield
    except OSError as error:
        raise SinkError(f"cannot write {storage.shown(url)}: {error.strerror or error}") from error
