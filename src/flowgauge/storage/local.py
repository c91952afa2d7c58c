"""Outputs of this machine: files that appear when they are complete, and streams that are open already."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import IO, Any

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


@contextlib.contextmanager
def advised() -> Iterator[None]:
    """Errors of this machine say what to do, too."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        advice, reason = _ADVICE.get(error.errno or 0), error.strerror or str(error)
        raise OSError(error.errno, f"{reason}; {advice}" if advice else reason) from error


def part_name(name: str) -> str:
    """The hidden name that a file has until it is complete."""
    return f".{name[:64]}.part-{secrets.token_hex(4)}"


class LocalOutput:
    """A file of this machine. What is no regular file (a device, a named pipe) is written directly."""

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self._part: str | None = None
        with advised():
            self._file: IO[bytes] | None = self._open()

    def _open(self) -> IO[bytes]:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(self._path).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                return open(self._path, "wb")
        folder, name = os.path.split(self._path)
        self._part = os.path.join(folder, part_name(name))
        return open(self._part, "xb")

    def write(self, data: Any) -> int:
        """Write all of `data`; an unbuffered file may take less."""
        with advised():
            return 0 if self._file is None else self._file.write(data)

    def flush(self) -> None:
        """Hand buffered bytes to the system."""
        with advised():
            if self._file is not None:
                self._file.flush()

    def commit(self) -> None:
        """Let the file appear under its name."""
        with advised():
            if self._file is not None:
                self._file.close()
            if self._part is not None:
                os.replace(self._part, self._path)
        self._file = self._part = None

    def abort(self) -> None:
        """Leave nothing behind."""
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()
        with contextlib.suppress(OSError):
            if self._part is not None:
                os.unlink(self._part)
        self._part = None


class StreamOutput:
    """An open binary stream, such as standard output: what is written is out."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file: IO[bytes] | None = file

    def write(self, data: Any) -> int | None:
        """Write `data`; an unbuffered stream may take less."""
        with advised():
            return 0 if self._file is None else self._file.write(data)

    def flush(self) -> None:
        """Hand buffered bytes to the system."""
        with advised():
            if self._file is not None:
                self._file.flush()

    def commit(self) -> None:
        """Nothing: it is not closed here."""

    def abort(self) -> None:
        """Nothing more is written."""
        self._file = None
