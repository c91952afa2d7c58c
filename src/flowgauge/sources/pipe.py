"""PipeCapture: the frames that a capture program writes to a pipe, as a live source."""

from __future__ import annotations

import select
import time

import numpy as np
from numpy.typing import NDArray

from flowgauge.capture.program import Program, Wanted
from flowgauge.errors import ConfigError, SourceError, TruncatedCapture
from flowgauge.kernels.packet import PacketBatch
from flowgauge.sources.filters import Filter
from flowgauge.sources.live import LiveInterface, LiveSource
from flowgauge.sources.pcap import MAGIC, PcapReader
from flowgauge.sources.streams import StreamError
from flowgauge.sources.window import Window

_OPEN_SECONDS = 10.0


class _Pipe:
    """The pipe as a window reads it: what one read gives."""

    def __init__(self, program: Program) -> None:
        self.name = program.name
        self._raw = program.pipe.raw  # type: ignore[attr-defined]

    def fill(self, view: memoryview) -> int:
        try:
            return int(self._raw.readinto(view))
        except OSError as error:
            raise StreamError(error.strerror or str(error)) from error


class PipeCapture(LiveSource):
    """The frames of an interface by tcpdump or dumpcap, a child that waits until :meth:`begin`.

    The filter is the child's: it has to be the same that the run has. `lost` is known when it has ended.
    """

    def __init__(self, program: Program, wanted: Wanted) -> None:
        super().__init__(wanted.interface)
        self._expression = wanted.expression
        self._program = program
        self._window = Window(_Pipe(self._program))  # type: ignore[arg-type]
        self._reader: PcapReader | None = None

    def _open(self, filter: Filter | None) -> None:
        if (None if filter is None else filter.expression) != self._expression:
            raise ConfigError("the filter of a capture program is given when it is started")
        self._program.go()
        try:
            if not self._wait(_OPEN_SECONDS):
                raise SourceError(f"{self.name}: {self._program.name} does not begin")
            if self._window.need(4) and self._window.peek(4) not in MAGIC:
                raise SourceError(f"{self.name}: {self._program.name} writes no pcap")
            self._reader = PcapReader(self._window, standard=True)
        except TruncatedCapture:
            self.close()
            raise SourceError(f"{self.name}: {self._program.complaint}") from None

    @property
    def interfaces(self) -> list[LiveInterface]:  # type: ignore[override]
        """The interface, with the link type that the program says."""
        return [LiveInterface(found.link, self.name) for found in self._reader.interfaces] if self._reader else []

    @property
    def position(self) -> int:
        return self._window.offset

    @property
    def buffer(self) -> NDArray[np.uint8]:
        return self._window.data

    def _fill(self, batch: PacketBatch) -> int:
        window = self._window
        if rows := self._walk(batch):  # of what came before and had no room in the rows
            return rows
        if self.over:
            return 0
        window.compact(window.at)
        begin = time.perf_counter()
        ready = self._wait(self._patience)
        self._quiet = not ready
        if ready:
            window.fill()
        self.seconds += time.perf_counter() - begin
        rows = self._walk(batch)
        self._look_for_end()
        return rows

    def _wait(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._program.pipe], [], [], seconds)
        return bool(ready)

    def _walk(self, batch: PacketBatch) -> int:
        assert self._reader is not None
        self._window.row = 0
        fault = self._reader.walk(batch, self._window)
        if fault is not None:
            self.over, self.refused = True, f"at byte {self._window.offset} of what {self._program.name} writes {fault}"
        return self._window.row

    def _look_for_end(self) -> None:
        if self._late:
            self.over = True
        elif self._window.ended:
            self.over = True
            if self._deadline is None:
                self.close()
                self.refused = self._program.complaint

    def finish(self) -> None:
        super().finish()
        self._program.finish()

    def _shut(self) -> None:
        self._program.close()
        self.lost = self._program.lost
