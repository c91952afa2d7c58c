"""Recording: a live capture of which parts are kept. Its socket stays open between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from flowgauge.kernels.packet import PacketBatch, make_batch
from flowgauge.sources.clock import Clock
from flowgauge.sources.filters import Filter
from flowgauge.sources.live import LiveCapture

Keep = Callable[[PacketBatch, int, Any], None]
"""Takes the rows of a batch, their number, and the bytes that they lie in."""

_FOREVER = 2**63 - 1


class Recording(LiveCapture):
    """A live capture that is read in parts: :meth:`take` and what follows, up to :meth:`finish`.

    Run, which meters captures, can read a part as it reads a capture; :meth:`drain` reads one without metering it.
    Frames that came before a part began, or after its end, are in no part. `release` closes it, `close` does not.
    """

    _started = False
    _keep: Keep | None = None
    _from, _to = 0, _FOREVER
    _arrived = False  # a frame of the part has come

    def open(self, filter: Filter | None) -> None:
        """Begin to receive. Raises ConfigError, SourceError."""
        try:
            super().begin(Clock(), filter)
        except BaseException:
            self.release()
            raise
        self.look_at_drops()
        self._started = True

    def part(self, keep: Keep | None = None, inside: Mapping[str, Any] | None = None) -> None:
        """Begin a part, whose frames are given to `keep`; what it says of itself is `inside`."""
        self._from, self._to = time.time_ns(), _FOREVER
        self._keep, self.inside = keep, inside or {}
        self.over, self._deadline, self._arrived = False, None, False
        self.look_at_drops()
        self.lost = self._stopped = self._latest = 0

    @property
    def span(self) -> tuple[int, int]:
        """When the part began and ended, or now, in ns."""
        return self._from, min(self._to, time.time_ns())

    def begin(self, clock: Clock, filter: Filter | None = None) -> None:
        """Read the part by this clock; the filter is that of :meth:`open`."""
        self._clock = clock

    def finish(self) -> None:
        """The part ends now: frames up to this moment are still taken in."""
        if self._deadline is None:
            self._to = time.time_ns()
        super().finish()

    def steps(self, batch: PacketBatch) -> Iterator[int]:
        """As in LiveCapture, the frames of the part."""
        for rows in super().steps(batch):
            kept = self._within(batch, rows)
            if kept and self._keep is not None:
                self._keep(batch, kept, self.buffer)
            if kept:
                yield kept

    def _within(self, batch: PacketBatch, rows: int) -> int:
        """Leave out rows from outside of the part; how many there are now.

        Only at its ends: should the system's clock be set meanwhile, no frame is lost.
        """
        if self._arrived and self._deadline is None:
            return rows
        times = batch.packets.view(np.ndarray)["time"][:rows]
        inside = (times >= self._from) | self._arrived
        if self._deadline is not None:
            inside &= times <= self._to
            self.over = self.over or bool((times > self._to).any())
        self._arrived = self._arrived or bool(inside.any())
        kept = batch.packets[:rows][inside]
        batch.packets[: len(kept)] = kept
        return len(kept)

    def drain(self, should_stop: Callable[[], bool]) -> None:
        """Read the part without metering it, until `should_stop`, which is asked at least twice a second."""
        batch = make_batch()
        while not self.over:
            for _ in self.steps(batch):
                pass
            if should_stop():
                self.finish()

    def close(self) -> None:
        """Nothing: there may be another part."""

    def release(self) -> None:
        """Give the ring back."""
        super().close()
