"""Outputs that appear under their name when they are complete, and not before.

Arrow completes the upload of an object when its stream is closed, and it closes a stream that nobody holds any more:
that of a run that failed would appear half-written. So a stream is held until it is committed, and where that never
happens, until the process ends without closing it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Any

from flowgauge.errors import ConfigError
from flowgauge.storage.errors import explain, explained
from flowgauge.storage.local import LocalOutput, advised, part_name
from flowgauge.storage.systems import System, system_of
from flowgauge.storage.urls import Location, Output, local_path, name_of, split


class ObjectOutput:
    """An object, uploaded in parts as it is written."""

    def __init__(self, system: System, location: Location) -> None:
        self._location = location
        with explained(location):
            self._stream: Any = system.files.open_output_stream(system.path(location), compression=None)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._stream))  # see above: only commit lets it go

    def write(self, data: Any) -> int:
        """Hand over all of `data`; whole parts are sent in the background."""
        if self._stream is not None:
            with explained(self._location):
                self._stream.write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Nothing: no part of an object can be read."""

    def commit(self) -> None:
        """Send the rest, and make the object of its parts."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with explained(self._location):
                stream.close()
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(stream))

    def abort(self) -> None:
        """Never complete the upload."""
        self._stream = None


class RenamedOutput:
    """A file of a storage with folders, written under a hidden name and moved."""

    def __init__(self, system: System, location: Location) -> None:
        self._system, self._location = system, location
        self._path = system.path(location)
        folder, _, name = self._path.rpartition("/")
        self._part: str | None = f"{folder}/{part_name(name)}"
        with explained(location):
            self._stream: Any = system.files.open_output_stream(self._part, compression=None)

    def write(self, data: Any) -> int:
        """Write all of `data`."""
        if self._stream is not None:
            with explained(self._location):
                self._stream.write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Hand buffered bytes to the storage."""
        if self._stream is not None:
            with explained(self._location):
                self._stream.flush()

    def commit(self) -> None:
        """Let the file appear under its name."""
        if self._part is None:
            return
        with explained(self._location):
            self._stream.close()
            self._system.files.move(self._part, self._path)
        self._stream = self._part = None

    def abort(self) -> None:
        """Leave nothing behind."""
        stream, self._stream = self._stream, None
        part, self._part = self._part, None
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.close()
        with contextlib.suppress(Exception):
            if part is not None:
                self._system.files.delete_file(part)


def open_output(url: str) -> Output:
    """See :func:`flowgauge.storage.open_output`."""
    path = local_path(url)
    if path is not None:
        return LocalOutput(path)
    location = split(url)
    if not name_of(url):
        raise ConfigError(f"{location.shown} names no file: put its name behind the slash")
    system = system_of(location)
    return ObjectOutput(system, location) if system.atomic else RenamedOutput(system, location)


def make_folder(url: str) -> None:
    """See :func:`flowgauge.storage.make_folder`."""
    path = local_path(url)
    if path is not None:
        with advised():
            os.makedirs(path, exist_ok=True)
        return
    location = split(url)
    system = system_of(location)
    if not system.atomic:
        with explained(location):
            system.files.create_dir(system.path(location), recursive=True)


def delete(url: str) -> None:
    """See :func:`flowgauge.storage.delete`."""
    path = local_path(url)
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    location = split(url)
    system = system_of(location)
    try:
        system.files.delete_file(system.path(location))
    except Exception as error:
        explanation = explain(error, location)
        if explanation.errno != errno.ENOENT:
            raise explanation from error
