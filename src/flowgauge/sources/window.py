"""The one reused buffer between a stream and the kernels that walk it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.records import CURSOR
from flowgauge.sources.streams import Stream, StreamError

BUFFER_BYTES = 1 << 21
PIECE_BYTES = 1 << 18  # read at once: what was copied is still in the second-level cache when it is walked
_PIECES = 4  # of a larger buffer: of one whose owner wants few steps


class Interface(NamedTuple):
    """Where packets were captured: LINKTYPE_ value, name, snap length (0: none) and resolution of times."""

    link: int
    name: str
    snaplen: int
    resolution: str


class Buffers:
    """Memory that captures are read into, one capture after the other: `count` buffers that are used in turn, so that
    the bytes of so many batches of rows stay where they are. `size` is a multiple of 4: what lies at such a multiple in
    the input can lie so in a buffer, too."""

    def __init__(self, size: int = BUFFER_BYTES, count: int = 1) -> None:
        self.size = size
        self._arrays = deque(np.empty(size, np.uint8) for _ in range(count))

    @property
    def current(self) -> NDArray[np.uint8]:
        """The one in use."""
        return self._arrays[0]

    def renew(self) -> NDArray[np.uint8]:
        """Go on to the next one, which is not smaller."""
        needed = len(self.current)
        self._arrays.rotate(-1)
        return self.current if len(self.current) >= needed else self._grown(needed)

    def double(self) -> NDArray[np.uint8]:
        """Have twice as much place in the one in use, behind what is there."""
        before = self.current
        self._grown(2 * len(before))[: len(before)] = before
        return self.current

    def _grown(self, size: int) -> NDArray[np.uint8]:
        self._arrays[0] = np.empty(size, np.uint8)
        return self.current


class Window:
    """A part of the input: `data[cursor.at:cursor.end]` is read and not yet walked.

    `damage` says why the input ended early, `ended` that no byte follows.
    """

    def __init__(self, stream: Stream, buffers: Buffers | None = None) -> None:
        self.name = stream.name
        self._buffers = buffers or Buffers()
        self.data = self._buffers.current
        place = np.zeros(1, CURSOR)
        self.cursor = place.view(np.recarray)  # as kernels take it; slow from Python, so fields have views
        self._at, self._end, self._origin, self._row = (place[name] for name in ("at", "end", "origin", "row"))
        self._number = place["number"]
        self.ended = False
        self.damage: str | None = None
        self._stream = stream
        size = self._buffers.size
        self._piece = PIECE_BYTES if size <= BUFFER_BYTES else size // _PIECES

    @property
    def words(self) -> NDArray[np.uint32]:
        """`data` as 32-bit integers of this machine's order."""
        return self.data.view(np.uint32)

    @property
    def at(self) -> int:
        """Place in `data` of the next byte to walk."""
        return int(self._at[0])

    @property
    def row(self) -> int:
        """Next row to fill."""
        return int(self._row[0])

    @row.setter
    def row(self, row: int) -> None:
        self._row[0] = row

    @property
    def offset(self) -> int:
        """Offset, in the uncompressed input, of the next byte to walk."""
        return int(self._origin[0]) + self.at

    @property
    def available(self) -> int:
        """Bytes that are read and not yet walked."""
        return int(self._end[0]) - self.at

    def peek(self, count: int) -> bytes:
        """The next `count` bytes; :meth:`need` them first."""
        return self.data[self.at : self.at + count].tobytes()

    def skip(self, count: int) -> None:
        """Walk over `count` bytes."""
        self._at[0] += np.uint64(count)

    def count_frame(self) -> None:
        """Count a block that is numbered as a frame, and is none."""
        self._number[0] += 1

    @property
    def frames(self) -> int:
        """Number of the last frame that was walked."""
        return int(self._number[0])

    def jump(self, offset: int, frames: int) -> None:
        """Forget what was read: the next byte is the one at `offset` of the input, behind so many frames."""
        self._at[0] = self._end[0] = 0
        self._origin[0], self._number[0] = offset, frames
        self.ended = False

    def need(self, count: int) -> bool:
        """Read on until `count` bytes are there; False where the input ends before."""
        while self.available < count and not self.ended:
            if self.full:
                self.compact(self.at)
            self.fill()
        return self.available >= count

    @property
    def full(self) -> bool:
        """Whether there is no place behind the bytes that are read."""
        return int(self._end[0]) == len(self.data)

    def _renew(self) -> NDArray[np.uint8]:
        """Go on in the next buffer; what there is stays in the one before, which is returned."""
        before = self.data
        self.data = self._buffers.renew()
        return before

    def restart(self) -> None:
        """Go on with what is not walked, at the front."""
        source = self._renew()
        self._move(source, self.at, 0)

    def compact(self, keep: int, to: int = 0) -> None:
        """Move the bytes from `keep` on to `to`."""
        self._move(self.data, keep, to)

    def _move(self, source: NDArray[np.uint8], keep: int, to: int) -> None:
        by = keep - to
        if by or source is not self.data:
            end = int(self._end[0])
            self.data[to : end - by] = source[keep:end]
            self._at[0] -= np.uint64(by)
            self._origin[0] += by
            self._end[0] = end - by

    def gather(self, begins: list[int], sizes: list[int]) -> list[int]:
        """Go on with pieces that are still needed, in order, and what is not walked behind them.

        Returns where the pieces begin now.
        """
        source, places, to = self._renew(), [], 0
        for begin, size in zip(begins, sizes, strict=True):
            self.data[to : to + size] = source[begin : begin + size]
            places.append(to)
            to += size
        self._move(source, self.at, to + (self.at - to) % 4)
        return places

    def fill(self) -> None:
        """Read one more piece behind the bytes that are there; the buffer grows only where they fill it."""
        end = int(self._end[0])
        if end == len(self.data):
            self.data = self._buffers.double()
        self._end[0] = end + self._more(self.data.data[end : end + self._piece])

    def _more(self, view: memoryview) -> int:
        count = 0
        if not self.ended:
            try:
                count = self._stream.fill(view)
            except StreamError as error:
                self.damage = f"after byte {self.offset + self.available} {error}"
        self.ended = count == 0
        return count
