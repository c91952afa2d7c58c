"""Bytes from files, storages, pipes and file objects, decompressed where they are compressed.

Nothing here seeks: a pipe is read like a file. What an input is, is decided by its first bytes.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

from flowgauge import storage
from flowgauge.errors import NotACapture, SourceError

Source = str | os.PathLike[str] | BinaryIO

# Decompressed bytes asked for at once. The readers of zstd and lz4 wait until they have them all, and
# lose them where the data break: more would hold back more, and is not faster.
_PIECE = 1 << 15
_HEAD = 6  # bytes of the longest magic number


class StreamError(Exception):
    """The input cannot be read any further; the message says why."""


class Decompressor(NamedTuple):
    """`readinto(view)` gives up to as many bytes, 0 at the end; `errors` are what broken data raises."""

    readinto: Callable[[memoryview], int]
    errors: tuple[type[Exception], ...]


def _gzip(stored: io.RawIOBase) -> Decompressor:
    import gzip
    import zlib

    return Decompressor(gzip.GzipFile(fileobj=cast(BinaryIO, stored)).readinto1, (OSError, EOFError, zlib.error))


def _bz2(stored: io.RawIOBase) -> Decompressor:
    import bz2

    return Decompressor(bz2.BZ2File(cast(BinaryIO, stored)).readinto1, (OSError, EOFError))


def _xz(stored: io.RawIOBase) -> Decompressor:
    import lzma

    return Decompressor(lzma.LZMAFile(cast(BinaryIO, stored)).readinto1, (OSError, EOFError, lzma.LZMAError))


def _arrow(codec: str) -> Callable[[io.RawIOBase], Decompressor]:
    def opener(stored: io.RawIOBase) -> Decompressor:
        import pyarrow as pa

        return Decompressor(pa.CompressedInputStream(stored, codec).readinto, (OSError, pa.ArrowInvalid))

    return opener


COMPRESSIONS: dict[str, tuple[bytes, Callable[[io.RawIOBase], Decompressor]]] = {
    "gzip": (b"\x1f\x8b", _gzip),
    "zstd": (b"\x28\xb5\x2f\xfd", _arrow("zstd")),
    "lz4": (b"\x04\x22\x4d\x18", _arrow("lz4")),
    "bz2": (b"BZh", _bz2),
    "xz": (b"\xfd7zXZ\0", _xz),
}
"""Name of each compression -> its magic number and what opens it."""


class _Stored(io.RawIOBase):
    """The bytes as they are stored, counted; the first of them were read already."""

    def __init__(self, raw: Any) -> None:
        self._readinto = getattr(raw, "readinto1", None) or getattr(raw, "readinto", None) or _by_read(raw)
        self._head = b""
        self.position = 0

    def readable(self) -> bool:
        return True

    @property
    def waiting(self) -> bool:
        """Whether there are bytes that were looked at and not read."""
        return bool(self._head)

    def peek(self, count: int) -> bytes:
        """The first `count` bytes, fewer where the input is shorter; they stay unread."""
        while len(self._head) < count:
            more = bytearray(count - len(self._head))
            got = self._readinto(more)
            if not got:
                break
            self._head += more[:got]
        return self._head

    def readinto(self, view: Any) -> int:
        """What one read of the input gives."""
        if self._head:
            got = min(len(view), len(self._head))
            view[:got], self._head = self._head[:got], self._head[got:]
        else:
            got = self._readinto(view)
            if got is None:
                raise BlockingIOError("the input is set not to block and has nothing yet")
        self.position += got
        return got


def _by_read(raw: Any) -> Callable[[Any], int]:
    """`readinto` of a file object that has only `read`."""

    def readinto(view: Any) -> int:
        data = raw.read(len(view))
        view[: len(data)] = data
        return len(data)

    return readinto


class _Unpacked:
    """The bytes that compressed ones stand for.

    They are asked for in pieces of one size: how much of broken data can be had depends on that,
    and must not depend on the caller's buffer.
    """

    def __init__(self, stored: io.RawIOBase, compression: str) -> None:
        self._compression = compression
        self._decompressor = COMPRESSIONS[compression][1](stored)
        self._piece = memoryview(bytearray(_PIECE))
        self._rest = self._piece[:0]

    def readinto(self, view: memoryview) -> int:
        """Up to as many bytes as `view` holds, 0 at the end. Raises StreamError."""
        if not self._rest:
            try:
                count = self._decompressor.readinto(self._piece)
            except self._decompressor.errors as error:
                raise StreamError(f"its {self._compression} data is broken or cut off ({_reason(error)})") from error
            self._rest = self._piece[:count]
        got = min(len(view), len(self._rest))
        view[:got], self._rest = self._rest[:got], self._rest[got:]
        return got


class Stream:
    """One input as a stream of uncompressed bytes.

    `name` is what the user called it, `compression` a key of COMPRESSIONS or "", `size` the stored
    bytes of a file, None where they are not known. `live`: what it has may be all there is for a while.
    """

    def __init__(self, name: str, raw: Any, *, owned: bool) -> None:
        self.name = name
        is_stored = storage.is_url(name)
        self.size = raw.size if is_stored else _regular_size(raw)
        self.live = self.size is None and not is_stored and not isinstance(raw, io.BytesIO)
        self._broken: StreamError | None = None
        self._file = raw
        self._raw = raw if owned else None
        self._stored = _Stored(raw)
        with _readable(name):
            head = self._stored.peek(_HEAD)
        if not head:
            raise NotACapture(f"{name} is empty")
        self.compression = next((kind for kind, (magic, _) in COMPRESSIONS.items() if head.startswith(magic)), "")
        self._unpacked = _Unpacked(self._stored, self.compression) if self.compression else None

    @property
    def position(self) -> int:
        """Stored bytes consumed so far."""
        return self._stored.position

    @property
    def descriptor(self) -> int | None:
        """That of a file of this machine, to read what comes next in it; None where bytes come otherwise.

        What was read so is to be told to :meth:`passed`.
        """
        plain = isinstance(self._file, io.FileIO) and type(self._file).readinto is io.FileIO.readinto
        if not plain or self.size is None or self.compression or self._stored.waiting:
            return None
        return int(self._file.fileno())

    def passed(self, count: int) -> None:
        """So many bytes were read."""
        self._stored.position += count

    @property
    def retries(self) -> int:
        """How often a broken connection to a storage was gone on with."""
        return getattr(self._raw, "retries", 0)

    def fill(self, view: memoryview) -> int:
        """Put bytes into `view` and return how many, 0 at the end.

        A regular file fills it; anything else gives what one read gives, so that a pause in a pipe
        holds nothing back. Raises StreamError after the last byte before a break.
        """
        count = self._piece(view)
        while not self.live and 0 < count < len(view):
            more = self._piece(view[count:])
            if not more:
                break
            count += more
        if not count and self._broken is not None:
            raise self._broken
        return count

    def _piece(self, view: memoryview) -> int:
        """One read; nothing at the end or behind a break, which is remembered."""
        try:
            return 0 if self._broken is not None else self._read(view)
        except StreamError as error:
            self._broken = error
            return 0

    def _read(self, view: memoryview) -> int:
        if self._unpacked is not None:
            return self._unpacked.readinto(view)
        try:
            return self._stored.readinto(view)
        except OSError as error:
            raise StreamError(f"it cannot be read further: {_reason(error)}") from error

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._raw is not None:
            self._raw.close()


def open_stream(source: Source) -> Stream:
    """Open a path, the URL of a storage, "-" (standard input) or a binary file object.

    Raises SourceError where it cannot be read, NotACapture where it is empty.
    """
    if not isinstance(source, (str, os.PathLike)):
        if isinstance(source, io.TextIOBase):
            raise SourceError(f"{_name(source)} is open as text; captures are bytes: open it with mode 'rb'")
        return Stream(_name(source), source, owned=False)
    if source == "-":
        return Stream("stdin", sys.stdin.buffer, owned=False)
    name = storage.shown(os.fspath(source))
    with _readable(name):
        raw = storage.open_input(os.fspath(source))
    try:
        return Stream(name, raw, owned=True)
    except BaseException:
        raw.close()
        raise


def _name(raw: Any) -> str:
    name = getattr(raw, "name", None)
    return name if isinstance(name, str) else type(raw).__name__


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"cannot read {name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _regular_size(raw: Any) -> int | None:
    """Stored bytes of a regular file; None for everything that has no length or is not a plain file."""
    if not isinstance(getattr(raw, "raw", raw), io.FileIO):
        return None
    status = os.fstat(raw.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None
