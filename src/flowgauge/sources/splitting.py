"""Parts of one large pcap file that can be read apart from each other.

Where a record begins in the middle of a file is found by its header making sense, and those of the records behind it.
That can be wrong: what proves it is that reading each part ends exactly where the next one begins.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from flowgauge import storage
from flowgauge.errors import SourceError
from flowgauge.kernels.pcap import NANOSECONDS, PcapLayout
from flowgauge.sources.capture import open_capture
from flowgauge.sources.pcap import FILE_HEADER
from flowgauge.sources.window import Buffers

IN_A_ROW = 16
"""Records behind each other that have to make sense."""

_PLAUSIBLE = 262_144  # bytes of a packet
_DAY = 86_400  # s between two of these records, at most
_FIRST_LOOK, _FARTHEST_LOOK = 1 << 18, 1 << 24  # bytes
_SMALL_BUFFER = 1 << 16
_FETCHED = 1 << 22  # bytes that a storage is asked for at a time


class Range(NamedTuple):
    """A part of a file: the bytes `begin` to `stop` hold whole records."""

    begin: int
    stop: int


class Piece(io.RawIOBase):
    """A capture file, of this machine or of a storage, of which a range is read, after what is needed to know how.

    Raises SourceError where it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = storage.shown(os.fspath(path))
        self._stop: int | None = None
        local = storage.local_path(os.fspath(path))
        try:
            self.raw: Any = storage.open_random(os.fspath(path)) if local is None else io.FileIO(local)
            self.size = int(self.raw.seek(0, io.SEEK_END) or self.raw.tell())
        except OSError as error:
            raise SourceError(f"cannot read {self.name}: {error.strerror or error}") from error
        self._fetches = local is None
        self._piece = memoryview(b"")
        self.go_to(0)

    def go_to(self, at: int) -> None:
        """Read on from this byte."""
        self.raw.seek(at)
        self._at, self._piece = at, self._piece[:0]

    def limit(self, part: Range) -> None:
        """Go on with this range, and end behind it."""
        self._stop = part.stop
        self.go_to(part.begin)

    def fileno(self) -> int:
        """That of a file of this machine."""
        return int(self.raw.fileno())

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, view: Any) -> int:
        """What is left of the range, as far as it fits."""
        stop = self.size if self._stop is None else self._stop
        wanted = memoryview(view).cast("B")[: max(0, stop - self._at)]
        count = self._fetched(wanted, stop) if self._fetches else self.raw.readinto(wanted) or 0
        self._at += count
        return count

    def _fetched(self, view: memoryview, stop: int) -> int:
        """Bytes of a storage, which is asked for many at a time."""
        if not self._piece and len(view):
            most = _SMALL_BUFFER if self._stop is None else _FETCHED
            self._piece = memoryview(self.raw.read(min(most, stop - self._at)))
        count = min(len(view), len(self._piece))
        view[:count], self._piece = self._piece[:count], self._piece[count:]
        return count

    def close(self) -> None:
        """Let the file go."""
        if not self.closed and hasattr(self, "raw"):
            self.raw.close()
        super().close()


def layout_of(source: Any) -> PcapLayout | None:
    """How the records of a file lie in it; None where they cannot be found from its middle: all but pcap files that are
    not compressed."""
    if not isinstance(source, (str, os.PathLike)) or not (storage.is_url(source) or os.path.isfile(source)):
        return None
    try:
        with (
            Piece(source) as piece,
            open_capture(cast(BinaryIO, piece), timed=False, buffers=Buffers(_SMALL_BUFFER)) as capture,
        ):
            return capture.layout
    except SourceError:
        return None


def ranges(path: str | os.PathLike[str], layout: PcapLayout, wanted: int, number: int, count: int) -> Range | None:
    """The range of records that is the part `number` of `count` of about `wanted` bytes each; None where no record
    begins in it. The ranges of all numbers make up the file."""
    with Piece(path) as file:
        size = file.size
        begin = FILE_HEADER if number == 0 else border(file, layout, number * wanted, size)
        if begin is None or begin >= size:
            return None
        stop = None
        for following in range(number + 1, count):
            stop = border(file, layout, following * wanted, size)
            if stop is not None:
                break
        stop = size if stop is None else stop
        return Range(begin, stop) if begin < stop else None


def border(file: Piece, layout: PcapLayout, at: int, size: int) -> int | None:
    """The first byte from `at` on where a record seems to begin; None where there is none that can be told."""
    look = _FIRST_LOOK
    while at < size and look <= _FARTHEST_LOOK:
        file.go_to(at)
        data = _read(file, min(look, size - at))
        ends = at + len(data) == size
        found = _first_chain(np.frombuffer(data, np.uint8), layout, ends)
        if found is not None:
            return at + found
        if ends:
            return None
        look *= 4
    return None


def _read(file: Piece, count: int) -> bytes:
    found = b""
    while len(found) < count and (more := file.read(count - len(found))):
        found += more
    return found


def _first_chain(data: NDArray[np.uint8], layout: PcapLayout, ends: bool) -> int | None:
    """Where the first record begins behind which others follow; `ends`: the file does behind these bytes."""
    words = _words(data, bool(layout.big))
    lengths = _plausible(words, layout)
    seconds = words.astype(np.int64)
    header = int(layout.header)
    for begin in np.flatnonzero(lengths >= 0).tolist():
        at = begin
        for _ in range(IN_A_ROW):
            following = at + header + int(lengths[at])
            if following == len(data) and ends:
                return int(begin)
            if following >= len(lengths) or lengths[following] < 0:
                break
            if abs(int(seconds[following] - seconds[at])) > _DAY:
                break
            at = following
        else:
            return int(begin)
    return None


def _words(data: NDArray[np.uint8], big: bool) -> NDArray[np.uint32]:
    """The 32-bit integer at each byte."""
    if len(data) < 4:
        return data[:0].astype(np.uint32)
    parts: list[NDArray[np.uint32]] = [data[place : len(data) - 3 + place].astype(np.uint32) for place in range(4)]
    first, second, third, fourth = parts if big else parts[::-1]
    return (first << 24 | second << 16 | third << 8 | fourth).astype(np.uint32)


def _plausible(words: NDArray[np.uint32], layout: PcapLayout) -> NDArray[np.int64]:
    """At each byte: the captured bytes of a record that begins there, -1 where its header makes no sense."""
    header = int(layout.header)
    count = max(0, len(words) - header + 4)
    fraction, caplen, frame_len = (words[place : place + count] for place in (4, 8, 12))
    sound = (fraction < int(NANOSECONDS) // int(layout.unit)) & (caplen <= frame_len) & (frame_len <= _PLAUSIBLE)
    return np.where(sound, caplen.astype(np.int64), -1)
