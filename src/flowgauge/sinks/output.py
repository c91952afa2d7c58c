"""Where bytes go: a file that appears only when it is complete, standard output, or a file object."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from typing import IO, Any

from flowgauge.errors import SinkError

_ADVICE = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "free some space or choose another disk",
    errno.EFBIG: "choose a file system that takes larger files",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOENT: "create the folder first",
    errno.ENOTDIR: "name a file in a folder",
    errno.EISDIR: "name a file in it",
}


class Output:
    """A binary stream that pyarrow and the text sinks write to; opened by :meth:`open`.

    A path is written under a hidden name beside it and renamed by :meth:`commit`, unless it names
    something that is no regular file (a device, a named pipe), which is written directly. After
    :meth:`abort` the hidden file is gone and what is still written is dropped.

    Raises SinkError for everything that goes wrong, but BrokenPipeError when the reader of a pipe has left.
    """

    closed = False  # pyarrow asks

    def __init__(self, output: str | os.PathLike[str] | IO[bytes]) -> None:
        self._output = output
        self._name = _name(output)
        self._path: str | None = None
        self._part: str | None = None
        self._file: IO[bytes] | None = None
        self._written = 0

    def open(self) -> None:
        """Open the file; a folder that does not exist or cannot be written is found out here."""
        with self._explained():
            if self._output == "-":
                self._file = sys.stdout.buffer
            elif isinstance(self._output, (str, os.PathLike)):
                self._file = self._open_path(os.path.realpath(os.fspath(self._output)))
            else:
                self._file = self._output

    def _open_path(self, path: str) -> IO[bytes]:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                self._path = path
                return open(path, "wb")
        folder, name = os.path.split(path)
        self._path = path
        self._part = os.path.join(folder, f".{name[:64]}.part-{secrets.token_hex(4)}")
        return open(self._part, "xb")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0)
            reason = error.strerror or str(error)
            raise SinkError(f"cannot write {self._name}: {reason}" + (f"; {advice}" if advice else "")) from error

    def write(self, data: Any) -> int:
        """Write all of `data`; an unbuffered file may need several attempts."""
        rest = memoryview(data).cast("B")
        self._written += len(rest)
        with self._explained():
            while self._file is not None and len(rest):
                written = self._file.write(rest)
                rest = rest[len(rest) if written is None else written :]
        return memoryview(data).nbytes

    def tell(self) -> int:
        """Bytes written; a pipe has no position of its own."""
        return self._written

    def flush(self) -> None:
        """Hand buffered bytes to the system."""
        if self._file is not None:
            with self._explained():
                self._file.flush()

    def close(self) -> None:
        """Nothing: pyarrow calls it, but only :meth:`commit` completes the output."""

    def writable(self) -> bool:
        """Always true: pyarrow asks."""
        return True

    def readable(self) -> bool:
        """Always false: pyarrow asks."""
        return False

    def commit(self) -> None:
        """Everything is written: let the file appear under its name."""
        self.flush()
        with self._explained():
            if self._path is not None and self._file is not None:
                self._file.close()
            if self._part is not None and self._path is not None:
                os.replace(self._part, self._path)
        self._file = self._part = None

    def abort(self) -> None:
        """Leave nothing behind where that is possible."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if self._path is not None and file is not None:
                file.close()
        with contextlib.suppress(OSError):
            if self._part is not None:
                os.unlink(self._part)
        self._part = None


def _name(output: Any) -> str:
    if output == "-":
        return "standard output"
    return str(output if isinstance(output, (str, os.PathLike)) else getattr(output, "name", "the output"))
