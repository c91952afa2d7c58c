"""MeterBehind: a Meter with a thread of its own, so that what follows is read and decoded meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.kernels.packet import PacketBatch
from flowgauge.labels.background import Marks
from flowgauge.labels.process import NAME
from flowgauge.meter import NO_BYTES, Meter
from flowgauge.snapshot import Snapshot
from flowgauge.stopwatch import Stopwatch

IN_USE = 3
"""Batches of packets, with their bytes, that meters may be at work on while the next one is read."""


class MeterBehind:
    """Does what its :class:`Meter` does, which has a stopwatch of its own; records come up to IN_USE batches later than
    they would from that.

    What is fed, batch and bytes, is in use until IN_USE more batches were fed, or :meth:`wait` returns.
    """

    def __init__(self, meter: Meter, watch: Stopwatch) -> None:
        self.watch = watch
        self._meter = meter
        self._thread = ThreadPoolExecutor(1, "flowgauge-meter")
        self._working: deque[Future[list[pa.RecordBatch]]] = deque()
        self._done: list[pa.RecordBatch] = []

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the batches."""
        return self._meter.schema

    @property
    def flows(self) -> int:
        """Flows whose records were built."""
        return self._meter.flows

    @property
    def open_flows(self) -> int:
        return self._meter.open_flows

    @property
    def ended(self) -> dict[str, int]:
        """Records built, by end reason."""
        return self._meter.ended

    @property
    def counters(self) -> dict[str, int]:
        """Oddities of metered packets."""
        self.wait()
        return self._meter.counters

    @property
    def named(self) -> dict[str, int]:
        """As :attr:`Meter.named`."""
        return self._meter.named

    @property
    def limited(self) -> bool:
        """Whether `max_flows` was reached."""
        return self._meter.limited

    def snapshot(self) -> Snapshot:
        """As :meth:`Meter.snapshot`."""
        self.wait()
        return self._meter.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """As :meth:`Meter.restore`."""
        self._meter.restore(snapshot)

    def rows_by_label(self) -> Iterator[tuple[Mapping[str, str], int]]:
        """Labels and number of records."""
        return self._meter.rows_by_label()

    def begin_capture(
        self,
        source: str,
        labels: Mapping[str, str] | None = None,
        marks: Marks | None = None,
        by: str = NAME,
        number: int | None = None,
    ) -> int:
        """As :meth:`Meter.begin_capture`."""
        self.wait()
        return self._meter.begin_capture(source, labels, marks, by, number)

    def feed(self, batch: PacketBatch, rows: int, data: NDArray[np.uint8] = NO_BYTES) -> list[pa.RecordBatch]:
        """As :meth:`Meter.feed`; the records are those of batches before."""
        self.watch.start()
        self._working.append(self._thread.submit(self._meter.feed, batch, rows, data))
        while len(self._working) >= IN_USE:
            self._done += self._working.popleft().result()
        self.watch.lap("behind")
        return self._given()

    def _given(self) -> list[pa.RecordBatch]:
        done, self._done = self._done, []
        return done

    def wait(self) -> None:
        """Return when all that was fed is metered."""
        while self._working:
            self._done += self._working.popleft().result()

    def leave(self) -> Iterator[pa.RecordBatch]:
        """As :meth:`Meter.leave`."""
        self.wait()
        yield from self._given()
        yield from self._meter.leave()

    def end_capture(self, reason: str = "eof") -> None:
        """As :meth:`Meter.end_capture`."""
        self.wait()
        self._meter.end_capture(reason)

    def flush(self) -> Iterator[pa.RecordBatch]:
        """As :meth:`Meter.flush`."""
        self.wait()
        yield from self._given()
        yield from self._meter.flush()

    def close(self) -> None:
        """End the thread; nothing is metered any more. Its times are added to the watch."""
        self._thread.shutdown()
        self.watch.add(self._meter.watch.seconds)
        self._meter.watch.seconds.clear()
