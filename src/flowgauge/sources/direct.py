"""Direct: reads a capture file of this machine into decoded rows, in one call of a kernel for each batch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels import intake as k
from flowgauge.kernels.packet import PacketBatch, make_batch
from flowgauge.kernels.pcap import PcapLayout
from flowgauge.kernels.pcapng import INTERFACES, Order
from flowgauge.sources.clock import Clock
from flowgauge.sources.memo import LabelMemo
from flowgauge.sources.window import PIECE_BYTES, Window

# Of records of the other kind than those of the capture.
_NO_PCAP = (PcapLayout(np.uint64(0), np.uint64(0), np.int64(0), np.uint16(0)),)
_NO_PCAPNG = (
    Order(np.uint64(0), np.uint64(0)),
    np.zeros(1, INTERFACES).view(np.recarray),
    LabelMemo(False).arrays,
)


class Decoding(Protocol):
    """A decoder (flowgauge.decode)."""

    seconds: float

    @property
    def decoding(self) -> tuple[Any, ...]:
        """What the kernel that decodes is told behind the rows."""
        ...

    def pass_over(self, batch: PacketBatch) -> int:
        """Count the packet that has failed a bounds check; the row behind it."""
        ...


class Direct:
    """The file of a window, from where that has read on."""

    _bound = False

    def __init__(self, file: int, window: Window, clock: Clock, counts: NDArray[np.int64]) -> None:
        place = np.zeros(1, k.INTAKE)
        self._intake = place.view(np.recarray)  # as kernels take it; slow from Python, so fields have views
        self._clocked, self._decoded = place["clocked"], place["decoded"]
        self._over, self._walking, self._blocks = place["over"], place["walking"], place["blocks"]
        self._bytes, self._times = place["read_bytes"], (place["read_ns"], place["decode_ns"])
        place["file"], place["piece"] = file, PIECE_BYTES
        self._window = window
        self._timing = clock.state, counts

    @property
    def rows(self) -> int:
        """Rows that are timed and decoded."""
        return int(self._decoded[0])

    def begin(self) -> None:
        """Fill another batch."""
        self._clocked[0] = self._decoded[0] = 0

    def take(self, batch: PacketBatch, records: tuple[Any, ...], over: bool, decoder: Decoding) -> int:
        """Fill rows until they or the buffer are full, or nothing can be read; the verdict of the walk
        (flowgauge.kernels.records). `records` is what that is told of them, `over` that there are no more.

        Raises IndexError where the walk has failed a bounds check.
        """
        window = self._window
        self._blocks[0], self._over[0] = len(records) > 1, over
        pcap, pcapng = (_NO_PCAP, records) if self._blocks[0] else (records, _NO_PCAPNG)
        source = window.data, window.words, window.cursor, pcap, pcapng
        if not Direct._bound:
            k.bind(make_batch(0), *source, *self._timing, decoder.decoding)
            Direct._bound = True
        while True:
            try:
                return int(k.take_in(batch, *source, self._intake, *self._timing, decoder.decoding))
            except IndexError:
                if self._walking[0]:
                    raise
                self._decoded[0] = decoder.pass_over(batch)

    def taken(self, decoder: Decoding) -> tuple[int, float]:
        """Bytes that were read since this was asked last, and the seconds that took; those of decoding are added to the
        decoder's."""
        count, (read, decoded) = int(self._bytes[0]), (int(place[0]) / 1e9 for place in self._times)
        for place in (self._bytes, *self._times):
            place[0] = 0
        decoder.seconds += decoded
        return count, read
