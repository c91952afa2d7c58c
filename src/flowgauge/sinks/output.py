"""Where bytes go: a place that shows them only when they are complete, standard output, or a file object."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from flowgauge import storage
from flowgauge.errors import SinkError
from flowgauge.storage.local import StreamOutput

_GATHERED = 1 << 20  # bytes


class Output:
    """A binary stream that pyarrow and the text sinks write to; opened by :meth:`open`.

    What a path or the URL of a storage names appears by :meth:`commit`, unless it is something that is no regular file
    (a device, a named pipe), which is written directly. After :meth:`abort` what was there before is there, and
    what is still written is dropped.

    Raises SinkError for everything that goes wrong, but BrokenPipeError when the reader of a pipe has left.
    """

    closed = False  # pyarrow asks

    def __init__(self, output: str | os.PathLike[str] | IO[bytes]) -> None:
        self._output = output
        self._name = _name(output)
        self._target: storage.Output | None = None
        self._written = 0

    def open(self) -> None:
        """Open it; a folder or bucket that does not exist or cannot be written is found out here."""
        with self._explained():
            if self._output == "-":
                self._target = StreamOutput(sys.stdout.buffer)
            elif isinstance(self._output, (str, os.PathLike)):
                self._target = storage.open_output(os.fspath(self._output))
            else:
                self._target = StreamOutput(self._output)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SinkError(f"cannot write {self._name}: {error.strerror or error}") from error

    def write(self, data: Any) -> int:
        """Write all of `data`; an unbuffered file may need several attempts."""
        rest = memoryview(data).cast("B")
        self._written += len(rest)
        with self._explained():
            while self._target is not None and len(rest):
                written = self._target.write(rest)
                rest = rest[len(rest) if written is None else written :]
        return memoryview(data).nbytes

    def gathered(self) -> pa.NativeFile:
        """The same for pyarrow's writers, to be flushed at the end of each row group.

        A row group is hundreds of small pieces. Each that is written here waits for the interpreter's lock, and so do
        threads that meter; gathered by pyarrow they come as a few large ones.
        """
        return pa.BufferedOutputStream(pa.PythonFile(self, "w"), _GATHERED)

    def tell(self) -> int:
        """Bytes written; a pipe has no position of its own."""
        return self._written

    def flush(self) -> None:
        """Hand buffered bytes to the system."""
        if self._target is not None:
            with self._explained():
                self._target.flush()

    def close(self) -> None:
        """Nothing: pyarrow calls it, but only :meth:`commit` completes the output."""

    def writable(self) -> bool:
        """Always true: pyarrow asks."""
        return True

    def readable(self) -> bool:
        """Always false: pyarrow asks."""
        return False

    def commit(self) -> None:
        """Everything is written: let it appear under its name."""
        self.flush()
        with self._explained():
            if self._target is not None:
                self._target.commit()
        self._target = None

    def abort(self) -> None:
        """Leave nothing behind where that is possible."""
        target, self._target = self._target, None
        if target is not None:
            target.abort()


def _name(output: Any) -> str:
    if output == "-":
        return "standard output"
    if isinstance(output, (str, os.PathLike)):
        return storage.shown(os.fspath(output))
    return str(getattr(output, "name", "the output"))
