"""Rotation: records in files that are each complete, and a manifest of them.

The manifest, `manifest.jsonl` in the folder, has one JSON object a line: `{"event": "start", …}` where metering begins,
`{"event": "file", …}` for each file that is complete, `{"event": "stop", …}` where it ends in order. A start behind
a start without a stop means that the run before was killed: `lost_since` says from when on its records are missing.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from flowgauge.errors import SinkError
from flowgauge.sinks import FORMATS, Sink, open_sink

MANIFEST = "manifest.jsonl"
_NUMBER = re.compile(r"flows_\d{8}T\d{6}Z_(\d+)\.")


def utc(seconds: float) -> str:
    """A time as RFC 3339 text with milliseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Manifest:
    """Appends events to the manifest of a folder, each of them in one write."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST

    def add(self, event: str, **fields: Any) -> None:
        """One line. Raises SinkError."""
        line = json.dumps({"event": event, "time": utc(time.time()), **fields}, ensure_ascii=False) + "\n"
        try:
            with open(self.path, "ab+") as file:
                file.write(b"\n" * self._is_cut(file) + line.encode())
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror or error}") from error

    @staticmethod
    def _is_cut(file: IO[bytes]) -> bool:
        """Whether the last line has no end, as behind a full disk: what is added must not be lost with it."""
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"

    def events(self) -> list[dict[str, Any]]:
        """All events so far; lines that are none, as of a disk that was full, are passed over."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text("utf-8", "replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append(event)
        return found

    def lost_since(self) -> str | None:
        """From when on records are missing, where the run before did not stop in order."""
        since = None
        for event in self.events():
            if event.get("event") == "start":
                since = event.get("time")
            elif event.get("event") == "file":
                since = event.get("to", since)
            elif event.get("event") == "stop":
                since = None
        return since


class Limits(NamedTuple):
    """Seconds and bytes after which another file begins; None: never."""

    seconds: float | None = None
    size: int | None = None


class Rotation:
    """Writes records to the file of the time; the next one begins at the limits, or when asked for.

    Enter it to begin. A file has its name when it is complete: `flows_20260131T235959Z_0001.parquet`, by the UTC
    time at which it was begun and a number that goes on from run to run. One without records is left out.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        format: str,
        schema: pa.Schema,
        limits: Limits,
        omit_null: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._lock: IO[bytes] | None = None
        self.manifest = Manifest(self.folder)
        self.format = format
        self.files = 0
        self._schema, self._limits, self._omit_null = schema, limits, omit_null
        self._sink: Sink | None = None
        self._name, self._rows = "", 0
        self._begun, self._since = 0.0, 0.0  # the clock of the wall names files, and may be set; the other one rotates
        self._number = 0
        self._asked = False

    def __enter__(self) -> Rotation:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.folder}: {error.strerror or error}; choose a folder that you may make") from error
        self._lock = self._locked()
        for stale in self.folder.glob(".flows_*.part-*"):  # of a run that was killed: nobody else writes here
            stale.unlink(missing_ok=True)
        self._number = self._last_number()
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._close(None if kind is None else error)
        if self._lock is not None:
            self._lock.close()

    def _last_number(self) -> int:
        """Of the files so far: one may have been completed and not noted."""
        noted = [event.get("file", "") for event in self.manifest.events()]
        found = (_NUMBER.match(str(name)) for name in (*noted, *(path.name for path in self.folder.iterdir())))
        return max((int(match[1]) for match in found if match), default=0)

    def _locked(self) -> IO[bytes]:
        """The manifest, held so that no other run writes to this folder. Raises SinkError where one does."""
        import fcntl

        try:
            file = open(self.manifest.path, "ab")  # noqa: SIM115 (held as long as the run)
        except OSError as error:
            raise SinkError(f"{self.manifest.path}: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            taken = isinstance(error, BlockingIOError)
            reason = "another run writes its flows here" if taken else f"it cannot be locked ({error.strerror})"
            raise SinkError(f"{self.folder}: {reason}; choose another folder") from None
        return file

    def start(self, **fields: Any) -> None:
        """Note that metering begins, and what a run before has lost."""
        lost = self.manifest.lost_since()
        self.manifest.add("start", **fields, **({} if lost is None else {"lost_since": lost}))

    def stop(self, **fields: Any) -> None:
        """Note that metering has ended in order, behind the last file."""
        self.manifest.add("stop", **fields)

    def write(self, batch: pa.RecordBatch) -> None:
        """Records that left the meter now. Raises SinkError."""
        assert self._sink is not None
        self._sink.write(batch)
        self._rows += len(batch)

    def ask(self) -> None:
        """Begin another file at the next :meth:`turn`; for signal handlers."""
        self._asked = True

    def turn(self) -> None:
        """Begin another file if it is time."""
        assert self._sink is not None
        seconds, size = self._limits
        late = seconds is not None and time.monotonic() - self._since >= seconds
        large = size is not None and self._sink.written >= size
        if late or large or self._asked:
            self._asked = False
            self._close(None)
            self._open()

    def _open(self) -> None:
        self._begun, self._since, self._rows = time.time(), time.monotonic(), 0
        stamp = datetime.datetime.fromtimestamp(self._begun, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self._name = f"flows_{stamp}_{self._number + 1:04}{FORMATS[self.format][0]}"
        path = self.folder / self._name
        self._sink = open_sink(path, format=self.format, schema=self._schema, omit_null=self._omit_null)
        self._sink.__enter__()

    def _close(self, error: BaseException | None) -> None:
        """Complete the file, or drop it where it holds nothing or has failed."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        dropped = error or (None if self._rows else _Empty())
        sink.__exit__(None if dropped is None else type(dropped), dropped, None)
        if dropped is None:
            self._number += 1
            self.files += 1
            span = {"from": utc(self._begun), "to": utc(time.time())}
            self.manifest.add("file", file=self._name, number=self._number, rows=self._rows, **span)


class _Empty(Exception):
    """Why a file without records is dropped."""
