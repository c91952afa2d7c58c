"""LiveCapture: the frames of a packet ring as rows of a PacketBatch, as Capture has those of files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.clock import COUNTERS, run_clock
from flowgauge.kernels.packet import NOT_IP, PacketBatch
from flowgauge.kernels.ring import CURSOR, NO_LINK, RingOptions, walk_ring
from flowgauge.sources.clock import Clock
from flowgauge.sources.filters import Filter, compile_filter
from flowgauge.sources.interfaces import LOOPBACK, hardware_of, link_of
from flowgauge.sources.ring import BLOCK_SECONDS, Ring

MAX_SNAPLEN = 262_144
PCAP_HEADER = 24  # bytes
_WAIT = 0.5  # s for a block, then the run looks around
_SETTLED = 1.0  # s behind which no frame is on its way any more
_DRAIN = 2.0  # s at most that frames are still taken in when the run shall end


class LiveInterface(NamedTuple):
    """What a capture file says of its interface."""

    link: int
    name: str


class LiveCapture:
    """The frames of an interface from :meth:`begin` on, until :meth:`finish`.

    `snaplen` is how many bytes of each are kept, `lost` are those that the system had no room for, `passed` those that
    it let through. The rest is as in Capture: offsets are those that the records would have in a pcap file.
    """

    live = True
    compression = ""
    container = "live"
    size: int | None = None
    damage: str | None = None
    inside: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, ring: Ring, snaplen: int = MAX_SNAPLEN) -> None:
        self.ring = ring
        self.name = ring.interface or "any"
        self.refused: str | None = None
        self.over = False
        self.lost = 0
        self.passed = 0  # frames that the system has let through
        self.seconds = 0.0
        self._filter: Filter | None = None  # for whole frames
        self.snaplen = snaplen
        self._clock = Clock()
        self._counts = np.zeros(len(COUNTERS), np.int64)
        self._cursor: Any = np.zeros(1, CURSOR).view(np.recarray)
        self._cursor[0].origin = PCAP_HEADER
        doubled = ring.interface is None or hardware_of(ring.interface) == LOOPBACK
        self._options = RingOptions(np.uint8(doubled), np.uint64(snaplen))
        self._quiet = False
        self._closed = False
        self._deadline: float | None = None

    def begin(self, clock: Clock, filter: Filter | None = None) -> None:
        """Start to receive what passes the filter, by this clock. Raises ConfigError, SourceError."""
        self._clock = clock
        if filter is not None and not self._attach(filter):
            self._filter = filter
        self.ring.start()

    def _attach(self, filter: Filter) -> bool:
        """Let the system filter, where it can: whether it does."""
        link = None if self.ring.interface is None else link_of(self.ring.interface)
        if link is None:
            return False
        program = compile_filter(filter.expression, link, snaplen=self.snaplen)
        if program.on_socket:
            program.attach(self.ring.handle)
        return program.on_socket

    @property
    def interfaces(self) -> list[LiveInterface]:
        link = link_of(self.name) if self.ring.interface else None
        return [LiveInterface(int(NO_LINK) if link is None else link, self.name)]

    @property
    def position(self) -> int:
        """Bytes of a pcap file of the frames so far."""
        return int(self._cursor[0].origin)

    @property
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of the rows of the last read, valid until the next."""
        return self.ring.data

    @property
    def counters(self) -> dict[str, int]:
        """As of files, and the frames that were lost."""
        self.look_at_drops()
        return dict(zip(COUNTERS, self._counts.tolist(), strict=True)) | {"lost": self.lost}

    def look_at_drops(self) -> None:
        """Ask the system what it has counted since it was asked last."""
        if self._closed:
            return
        drops = self.ring.drops()
        self.lost += drops.lost
        self.passed += drops.frames

    def steps(self, batch: PacketBatch) -> Iterator[int]:
        """Fill rows from the next block, or from the rest of the last one; yields how many, nothing while it is quiet.

        A block is the system's again when the rows after it are asked for.
        """
        cursor = self._cursor[0]
        if cursor.left == 0:
            self.ring.give_back()
            if not self._take():
                return
        cursor.row = 0
        walk_ring(batch, self.ring.data, self.ring.words, self._cursor, self._options)
        rows = int(cursor.row)
        if self._filter is not None:
            rows, self.refused = self._filter.keep(self.ring.data, batch, 0, rows, False)
            self.over = self.over or self.refused is not None
        run_clock(batch, 0, rows, True, self._clock.state, self._counts)
        if rows:
            yield rows

    def _take(self) -> bool:
        begin = time.perf_counter()
        block = self.ring.take(_WAIT if self._deadline is None else 2 * BLOCK_SECONDS)
        self.seconds += time.perf_counter() - begin
        self._quiet = block is None
        if block is not None:
            self._cursor[0].at, self._cursor[0].left = block
        if self._deadline is not None and (self._quiet or time.monotonic() > self._deadline):
            self.over = True
        return block is not None

    def beat(self, batch: PacketBatch) -> int:
        """While it is quiet, one row that only tells the time, so that silence ends flows; else none."""
        if not self._quiet or not self._clock.state[0].started:
            return 0
        row = batch.packets[0]
        row.reason, row.time = NOT_IP, time.time_ns() - round(_SETTLED * 1e9)
        return int(run_clock(batch, 0, 1, True, self._clock.state, self._counts))

    def finish(self) -> None:
        """The run shall end: take in what has arrived, and no more."""
        if self._deadline is None:
            self._deadline = time.monotonic() + _DRAIN

    def close(self) -> None:
        """Give the ring back."""
        self.look_at_drops()
        self._closed = True
        self.ring.close()

    def __enter__(self) -> LiveCapture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
