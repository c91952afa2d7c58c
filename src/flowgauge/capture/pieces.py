"""Pieces: the packets of a take as one capture, or as several that follow each other, of which the last are kept."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from flowgauge.capture.names import Names
from flowgauge.capture.pcapng import Description, PcapngFile, head, statistics
from flowgauge.capture.recording import Recording
from flowgauge.kernels.packet import PacketBatch


class PieceLimits(NamedTuple):
    """Bytes and seconds after which another piece begins, and how many are kept; None: no limit."""

    size: int | None = None
    seconds: float | None = None
    files: int | None = None

    @property
    def divide(self) -> bool:
        """Whether a take is more than one file."""
        return self.size is not None or self.seconds is not None


class Piece(NamedTuple):
    """A capture that is complete: `bytes` are those on the wire, times ns since the epoch."""

    path: Path
    number: int | None
    packets: int
    bytes: int
    lost: int
    started: int
    ended: int


class Pieces:
    """Writes the packets of one take: :meth:`keep` is for the recording's part. Enter it to begin the first piece.

    `comment` makes the section's comment for a piece's number, `done` is told of each that is complete, `removed` of
    each that the limits take away. Whatever ends the take, the last piece is completed. Raises SinkError.
    """

    def __init__(
        self,
        recording: Recording,
        names: Names,
        limits: PieceLimits,
        description: Description,
        comment: Callable[[int | None], str],
        done: Callable[[Piece], None],
        removed: Callable[[Path], None],
    ) -> None:
        self.take = 0
        self.packets = self.bytes = self.files = 0
        self._recording, self._names, self._limits = recording, names, limits
        self._description, self._comment = description, comment
        self._done, self._removed = done, removed
        self._number = 1 if limits.divide else None
        self._file: PcapngFile | None = None
        self._before = (0, 0, 0)  # packets, bytes and lost when the piece began
        self._since, self._started = 0.0, 0
        self._kept: deque[Path] = deque()

    def __enter__(self) -> Pieces:
        self.take = self._names.next()
        while not self._open():
            self.take += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _open(self) -> bool:
        file = PcapngFile(self._names.path(self.take, self._number))
        if not file.open():
            return False
        self._file = file
        self._before = (self.packets, self.bytes, self._recording.lost)
        self._since, self._started = time.monotonic(), time.time_ns()
        file.write(head(self._description, self._comment(self._number)))
        return True

    def keep(self, batch: PacketBatch, rows: int, data: Any) -> None:
        """Write the first rows of a batch, whose bytes lie in `data`."""
        if self._is_full():
            self._turn()
        if self._file is None:  # it could not be written: the error is on its way
            return
        self._file.write_packets(batch, rows, data)
        self.packets += rows
        self.bytes += int(batch.packets.view(np.ndarray)["frame_len"][:rows].sum(dtype=np.int64))

    def _is_full(self) -> bool:
        size, seconds, _ = self._limits
        if self._file is None or self.packets == self._before[0]:  # a piece holds at least one packet
            return False
        late = seconds is not None and time.monotonic() - self._since >= seconds
        return late or (size is not None and self._file.written >= size)

    def _turn(self) -> None:
        self._close()
        assert self._number is not None
        self._number += 1
        while not self._open():
            self._number += 1

    def _close(self) -> None:
        """Complete the piece, and remove the oldest where there are too many."""
        file, self._file = self._file, None
        if file is None or file.failed:
            return
        self._recording.look_at_drops()
        packets, size, lost = self._before
        packets, size, lost = self.packets - packets, self.bytes - size, self._recording.lost - lost
        ended = self._recording.span[1]
        file.write(statistics(self._started, ended, packets + lost, lost))
        file.complete()
        self.files += 1
        self._kept.append(file.path)
        self._done(Piece(file.path, self._number, packets, size, lost, self._started, ended))
        while self._limits.files is not None and len(self._kept) > self._limits.files:
            oldest = self._kept.popleft()
            with contextlib.suppress(OSError):
                oldest.unlink()
            self._removed(oldest)
