"""Reorder: the frames of captures in order of time, as far as they lie within a window of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgauge.config import NANOSECONDS
from flowgauge.kernels import reorder as k
from flowgauge.kernels.clock import COUNTERS, run_clock
from flowgauge.kernels.packet import PacketBatch, make_batch
from flowgauge.snapshot import Snapshot, fill, restored
from flowgauge.sources.capture import Capture
from flowgauge.sources.clock import Clock

MOST_PACKETS, MOST_BYTES = 1 << 18, 1 << 26
"""What waits at most: packets, and captured bytes of them."""

_FIRST_ENTRIES, _FIRST_BYTES = 1 << 15, 1 << 23


class Reorder:
    """Stands between captures and the decoder: rows come as from a :class:`Capture`, in order of time.

    The frames that wait are copied out of the capture's buffer. `clock` runs over what has been put in order. A trace
    ends with each capture or, where it `spans` captures, at :meth:`finish`.
    """

    def __init__(self, window: float, clock: Clock, *, spans: bool = False) -> None:
        self._clock = clock
        self._spans = spans
        self._raw = make_batch()
        self._capture: Capture | None = None
        self._base = 0
        self._ended = False
        self._given = 0  # rows of the last batch
        self._links: set[int] = set()
        self._counts = np.zeros(len(COUNTERS), np.int64)
        self._held = k.Held(
            state=np.zeros(1, k.STATE).view(np.recarray),
            entries=np.zeros(_FIRST_ENTRIES, k.ENTRY).view(np.recarray),
            heap=np.zeros(_FIRST_ENTRIES, np.int32),
            order=np.zeros(_FIRST_ENTRIES, np.int32),
            moved=np.zeros(_FIRST_ENTRIES, np.int32),
            frames=np.empty(_FIRST_BYTES, np.uint8),
        )
        self._state: Any = self._held.state[0]
        self._state.window = round(window * NANOSECONDS)
        self._state.most_packets, self._state.most_bytes = MOST_PACKETS, MOST_BYTES
        k.release_all(self._held)

    @property
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of the rows of the last batch, valid until the next."""
        return self._held.frames

    @property
    def counters(self) -> dict[str, int]:
        """The clock's, and what became of packets that were out of order."""
        s = self._state
        own = {"reordered": int(s.reordered), "reorder_late": int(s.late), "reorder_early": int(s.early)}
        return dict(zip(COUNTERS, self._counts.tolist(), strict=True)) | own

    @property
    def links(self) -> frozenset[int]:
        """Link types of the packets that the capture has had so far."""
        return frozenset(self._links)

    def begin(self, capture: Capture, number: int) -> None:
        """Go on with a capture that was opened without `timed`; `number` is the meter's for it."""
        self._capture, self._base, self._ended = capture, number << 40, False
        self._links.clear()

    def finish(self) -> None:
        """The trace is over: what waits comes with the next batches."""
        k.release_all(self._held)
        self._ended = True

    def steps(self, batch: PacketBatch) -> Iterator[int]:
        """Fill the frame columns of the next rows, as :meth:`Capture.steps` does; nothing where there are none now."""
        self._state.delivered += self._given
        done = 0
        while True:
            rows = int(k.fill_rows(self._held, batch, self._base))
            final = self._ended and rows == int(self._state.ordered - self._state.delivered)
            done = run_clock(batch, 0, rows, final, self._clock.state, self._counts)
            if done or self._ended or not self._read():
                break
        self._given = done
        if done:
            yield done

    def snapshot(self) -> Snapshot:
        """Of the packets that wait, between captures."""
        s, held = self._state, self._held
        s.delivered += self._given
        self._given = 0
        k.compact(held)
        return {
            "state": held.state,
            "entries": held.entries[: s.entries],
            "heap": held.heap[: s.waiting],
            "order": held.order[: s.ordered],
            "frames": held.frames[: s.bytes],
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot."""
        entries, frames = restored(snapshot, "entries", k.ENTRY), restored(snapshot, "frames", np.uint8)
        self._make_room(len(entries), len(frames))
        for name in ("state", "entries", "heap", "order", "frames"):
            fill(getattr(self._held, name), snapshot, name)

    def _read(self) -> bool:
        """Take in what the capture has next, or that it is over; False where there is nothing now: no frame has passed
        its filter, or the trace goes on with the next capture.
        """
        assert self._capture is not None
        rows = max(self._capture.steps(self._raw), default=0)
        if rows:
            self._take(self._capture.buffer, rows)
        elif self._spans or not self._capture.over:
            return False
        else:
            self.finish()
        return True

    def _take(self, data: NDArray[np.uint8], rows: int) -> None:
        """Copy the bytes from the first row to the last in one piece, then take in the rows."""
        packets = self._raw.packets
        self._links.update(np.unique(packets.link[:rows]).tolist())
        begin = int(packets[0].offset)
        size = int(packets[rows - 1].offset) + int(packets[rows - 1].caplen) - begin
        self._make_room(rows, size)
        at = int(self._state.bytes)
        self._held.frames[at : at + size] = data[begin : begin + size]
        self._state.bytes += size
        k.take_rows(self._held, self._raw, rows, self._base, np.uint64((at - begin) % 2**64))

    def _make_room(self, rows: int, size: int) -> None:
        """Forget what is delivered where there is no room; grow where that leaves too little to last."""
        held, s = self._held, self._state
        if s.entries + rows <= len(held.entries) and s.bytes + size <= len(held.frames):
            return
        k.compact(held)
        length = _enough(len(held.entries), int(s.entries), rows)
        if length > len(held.entries):
            grown = {name: _grown(getattr(held, name), length) for name in ("entries", "heap", "order", "moved")}
            self._held = held = held._replace(**grown)
        length = _enough(len(held.frames), int(s.bytes), size)
        if length > len(held.frames):
            self._held = held._replace(frames=_grown(held.frames, length))


def _enough(length: int, used: int, more: int) -> int:
    """`length`, doubled until there is room for `more`, and for half of what is used."""
    while used + used // 2 + more > length:
        length *= 2
    return length


def _grown(array: Any, length: int) -> Any:
    larger = np.empty(length, array.dtype)
    larger[: len(array)] = array
    return larger.view(type(array))
