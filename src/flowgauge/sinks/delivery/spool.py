"""Spool: deliveries that wait on disk, in order, and are found again by the next run to the same destination.

A folder for each destination holds one for each run that writes to it, locked as long as that run lives. In there each
delivery is a file, an Arrow IPC stream, which is written to as rows come and removed when it has been delivered. A
file that a killed run has left ends anywhere: what is whole in it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from flowgauge.errors import SinkError

FOLDER = "FLOWGAUGE_SPOOL_DIR"
"""The environment variable that names the folder of all spools."""

KEPT_FREE = 500_000_000
"""Bytes that a spool leaves free on its disk."""

_LOCK = "lock"
_ENDING = ".arrows"


def default_folder() -> Path:
    """The folder of all spools where none is named."""
    chosen = os.environ.get(FOLDER)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(chosen) if chosen else Path(base) / "flowgauge" / "spool"


class Segment(NamedTuple):
    """The file of one delivery."""

    path: Path
    rows: int
    size: int  # bytes


class Spool:
    """Deliveries to the destination of this name; `limit` bytes of them at most.

    One thread may write (:meth:`append`, :meth:`cut`) while another one reads (:meth:`next`, :meth:`drop`).
    Raises SinkError where the disk does not keep them.
    """

    def __init__(self, folder: Path, name: str, limit: int | None = None) -> None:
        readable = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")[:60]
        self.folder = folder / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        self.rows = 0  # that wait
        self._limit = limit
        self._size = 0  # bytes of the files
        self._ready: deque[Segment] = deque()
        self._changed = threading.Condition()
        self._held: dict[Path, IO[bytes]] = {}  # the locks of the folders of runs
        self._own: Path | None = None
        self._number = 0
        self._open: _Open | None = None

    def find(self) -> int:
        """Take over what runs have left that are no longer; the rows that were found. Raises SinkError."""
        before = self.rows
        with _explained(self.folder):
            names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
            for run in (self.folder / name for name in names):
                if not run.name.startswith(".") and self._lock(run):
                    for path in sorted(run.glob(f"*{_ENDING}")):
                        self._add(Segment(path, sum(map(len, _batches(path))), path.stat().st_size))
                    self._forget(run)
        return self.rows - before

    def _lock(self, run: Path) -> bool:
        """Whether the folder of a run is this spool's now."""
        try:
            file = open(run / _LOCK, "ab")  # noqa: SIM115 (held as long as the spool)
        except (FileNotFoundError, NotADirectoryError):  # a run that has just ended, or no run at all
            return False
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except ImportError:  # a system without such locks, and where no folder is renamed with an open file in it
            file.close()
        self._held[run] = file
        return True

    def _add(self, segment: Segment) -> None:
        with self._changed:
            self.rows += segment.rows
            self._size += segment.size
            self._ready.append(segment)
            self._changed.notify()

    def append(self, batch: pa.RecordBatch) -> None:
        """Keep rows on disk, in the file of the next delivery. Raises SinkError where no more should follow, too."""
        with _explained(self.folder):
            if self._open is None:
                self._open = _Open(self._next_path(), batch.schema)
            size = self._open.size
            self._open.write(_compact(batch))
            with self._changed:
                self.rows += len(batch)
                self._size += self._open.size - size
            self._check_space()

    def _next_path(self) -> Path:
        if self._own is None:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            own = self.folder / f"{stamp}-{secrets.token_hex(4)}"
            hidden = own.with_name(f".{own.name}")  # until it is locked: nobody may take it over
            hidden.mkdir(parents=True, mode=0o700)
            self._lock(hidden)
            self._held[own] = self._held.pop(hidden)
            self._own = hidden.rename(own)
        self._number += 1
        return self._own / f"{self._number:09}{_ENDING}"

    def _check_space(self) -> None:
        """Raise SinkError where no more should be written."""
        free = shutil.disk_usage(self.folder).free
        if self._limit is not None and self._size >= self._limit:
            raise SinkError(f"{self.folder} is full: {self._size:,} of the {self._limit:,} bytes of spool_size")
        if free < KEPT_FREE:
            raise SinkError(f"{self.folder} is full: {free:,} bytes are free on its disk, {KEPT_FREE:,} are left so")

    @property
    def gathered(self) -> int:
        """Rows in the file of the next delivery."""
        return 0 if self._open is None else self._open.rows

    def age(self) -> float:
        """Seconds since the first row of the next delivery, 0 without any."""
        return 0.0 if self._open is None else time.monotonic() - self._open.begun

    def cut(self) -> None:
        """Let the rows so far be a delivery."""
        if self._open is None:
            return
        done, self._open = self._open, None
        with _explained(self.folder):
            before = done.size
            done.close()
        with self._changed:
            self._size += done.size - before
            self._ready.append(Segment(done.path, done.rows, done.size))
            self._changed.notify()

    def next(self, seconds: float = 0.0) -> Segment | None:
        """The delivery that waits longest; None where none comes in this time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._ready), seconds)
            return self._ready[0] if self._ready else None

    def read(self, segment: Segment) -> pa.Table | None:
        """The rows of a delivery; None without any. Raises SinkError."""
        with _explained(segment.path):
            batches = list(_batches(segment.path))
        return pa.Table.from_batches(batches) if batches else None

    def drop(self, segment: Segment) -> None:
        """Remove a delivery, the one that :meth:`next` gave: it is at the other end."""
        with _explained(segment.path):
            segment.path.unlink(missing_ok=True)
        with self._changed:
            self._ready.remove(segment)
            self.rows -= segment.rows
            self._size -= segment.size
        if segment.path.parent != self._own:
            self._forget(segment.path.parent)

    def _waits(self, run: Path) -> bool:
        with self._changed:
            return any(segment.path.parent == run for segment in self._ready)

    def _forget(self, run: Path) -> None:
        """Remove the folder of a run where nothing is in it any more."""
        if self._waits(run):
            return
        file = self._held.pop(run, None)
        with contextlib.suppress(OSError):  # somebody else's file is in there
            (run / _LOCK).unlink(missing_ok=True)
            run.rmdir()
        if file is not None:
            file.close()

    def close(self) -> None:
        """Let go of everything; what waits stays on disk for the next run."""
        self.cut()
        for run in list(self._held):
            if self._waits(run):
                self._held.pop(run).close()
            else:
                self._forget(run)
        with contextlib.suppress(OSError):  # other runs are in there, or it never was
            self.folder.rmdir()


class _Open:
    """A file that rows are appended to; the system has each batch when `write` returns."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.rows, self.begun = path, 0, time.monotonic()
        self._file = open(path, "xb")  # noqa: SIM115 (closed by `close`)
        self._writer: Any = pa.ipc.new_stream(self._file, schema)

    @property
    def size(self) -> int:
        return self._file.tell() if not self._file.closed else self.path.stat().st_size

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self._file.flush()
        self.rows += len(batch)

    def close(self) -> None:
        self._writer.close()
        self._file.close()


def _compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, its dictionaries without the values of rows that are elsewhere."""
    columns = [
        column.dictionary_decode().dictionary_encode().cast(column.type)
        if pa.types.is_dictionary(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """All that is whole in a file; that of a run that was killed may break off anywhere."""
    with pa.OSFile(str(path)) as file:
        try:
            yield from pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            return
        except OSError as error:
            if error.errno:  # of the disk, not of the format
                raise


@contextlib.contextmanager
def _explained(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(
            f"{error.filename or where}: {error.strerror or error}; name a folder for flows that wait: "
            f"?spool=FOLDER behind the destination, or {FOLDER}"
        ) from error
