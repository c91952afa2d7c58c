"""Live sources: frames as they arrive, as rows of a PacketBatch, as Capture has those of files."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.errors import UnsupportedLinkType
from flowgauge.kernels.clock import COUNTERS, run_clock
from flowgauge.kernels.packet import NOT_IP, PacketBatch
from flowgauge.kernels.ring import CURSOR, NO_LINK, walk_ring
from flowgauge.sources.clock import Clock
from flowgauge.sources.filters import Filter, compile_filter
from flowgauge.sources.interfaces import is_undecoded, link_of
from flowgauge.sources.ring import BLOCK_SECONDS, Ring

MAX_SNAPLEN = 262_144
PCAP_HEADER = 24  # bytes
_WAIT = 0.5  # s for a block, then the run looks around
_SETTLED = 1.0  # s behind which no frame is on its way any more
DRAIN = 2.0
"""Seconds at most that frames are still taken in when the run shall end."""


class LiveInterface(NamedTuple):
    """What a capture file says of its interface."""

    link: int
    name: str


class LiveSource(ABC):
    """The frames of an interface from :meth:`begin` on, until :meth:`finish`: what rings and pipes share.

    `lost` are frames that the system had no room for, `down` says that the interface is, `refused` why the source ended
    by itself. The rest is as in Capture.
    """

    live = True
    compression = ""
    container = "live"
    size: int | None = None
    damage: str | None = None
    down = False
    inside: Mapping[str, Any] = MappingProxyType({})
    interfaces: list[LiveInterface]

    def __init__(self, name: str) -> None:
        self.name = name
        self.refused: str | None = None
        self.over = False
        self.lost = 0
        self.seconds = 0.0
        self._filter: Filter | None = None  # for whole frames
        self._clock = Clock()
        self._counts = np.zeros(len(COUNTERS), np.int64)
        self._latest = 0  # ns, of the last frame that came, whatever the filter says
        self._quiet = False
        self._closed = False
        self._deadline: float | None = None  # of the monotonic clock, in s
        self._stopped = 0  # ns since the epoch

    def begin(self, clock: Clock, filter: Filter | None = None) -> None:
        """Start to receive what passes the filter, by this clock. Raises ConfigError, SourceError."""
        self._clock = clock
        try:
            self._open(filter)
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _open(self, filter: Filter | None) -> None:
        """Begin to receive, what passes the filter or, with `_filter` set, all."""

    @abstractmethod
    def _fill(self, batch: PacketBatch) -> int:
        """Wait for frames up to `_patience`, fill rows and return how many; `_quiet` says that nothing came."""

    @abstractmethod
    def _shut(self) -> None:
        """Give everything back."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Bytes of a pcap file of the frames so far."""

    @property
    @abstractmethod
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of the rows of the last read, valid until the next."""

    def look_at_drops(self) -> None:  # noqa: B027 (most say nothing before the end)
        """Bring `lost` up to date, where the system says so before the end."""

    @property
    def counters(self) -> dict[str, int]:
        """As of files, and the frames that were lost."""
        self.look_at_drops()
        return dict(zip(COUNTERS, self._counts.tolist(), strict=True)) | {"lost": self.lost}

    def steps(self, batch: PacketBatch) -> Iterator[int]:
        """Fill rows with what comes next; yields how many, nothing while it is quiet or nothing passes the filter.

        Their bytes are valid until this is called again.
        """
        rows = self._fill(batch)
        if rows:
            self._latest = int(batch.packets[rows - 1].time)
            if self._deadline is not None and self._latest >= self._stopped:
                self.over = True
        if self._filter is not None:
            rows, refused = self._filter.keep(self.buffer, batch, 0, rows, False)
            self.refused = self.refused or refused
            self.over = self.over or refused is not None
        run_clock(batch, 0, rows, True, self._clock.state, self._counts)
        if rows:
            yield rows

    def beat(self, batch: PacketBatch) -> int:
        """After steps without rows, one row that only tells the time, so that silence ends flows; or none.

        The time is that of a moment ago, or of what was left out: frames that still wait are not older.
        """
        now = time.time_ns() - round(_SETTLED * 1e9) if self._quiet else self._latest
        if not self._clock.state[0].started or not now:
            return 0
        row = batch.packets[0]
        row.reason, row.time = NOT_IP, now
        return int(run_clock(batch, 0, 1, True, self._clock.state, self._counts))

    @property
    def _patience(self) -> float:
        """Seconds to wait for frames now."""
        return _WAIT if self._deadline is None else 2 * BLOCK_SECONDS

    @property
    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def finish(self) -> None:
        """The run shall end: take in what has arrived, and no more."""
        if self._deadline is None:
            self._deadline, self._stopped = time.monotonic() + DRAIN, time.time_ns()

    def close(self) -> None:
        """Give back what the system gave; nothing happens the second time."""
        if not self._closed:
            self.look_at_drops()
            self._closed = True
            self._shut()

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LiveCapture(LiveSource):
    """The frames of a packet ring.

    `snaplen` is how many bytes of each are kept. Offsets of records are those that they would have in a pcap file.
    A block is the system's again when the rows after it are asked for.
    """

    def __init__(self, ring: Ring, snaplen: int = MAX_SNAPLEN) -> None:
        super().__init__(ring.interface or "any")
        self.ring = ring
        self.snaplen = snaplen
        self._cursor: Any = np.zeros(1, CURSOR).view(np.recarray)
        self._cursor[0].origin = PCAP_HEADER

    def _open(self, filter: Filter | None) -> None:
        if self.ring.interface is not None and is_undecoded(self.ring.interface):
            raise UnsupportedLinkType(f"{self.name}: frames of such interfaces are not decoded")
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
    def interfaces(self) -> list[LiveInterface]:  # type: ignore[override]
        """The interface, or any."""
        link = link_of(self.name) if self.ring.interface else None
        return [LiveInterface(int(NO_LINK) if link is None else link, self.name)]

    @property
    def position(self) -> int:
        return int(self._cursor[0].origin)

    @property
    def buffer(self) -> NDArray[np.uint8]:
        return self.ring.data

    @property
    def down(self) -> bool:  # type: ignore[override]
        """Whether the interface is switched off, or gone."""
        return self.ring.down

    def look_at_drops(self) -> None:
        if not self._closed:
            self.lost += self.ring.drops().lost

    def _fill(self, batch: PacketBatch) -> int:
        cursor = self._cursor[0]
        if cursor.left == 0:
            self.ring.give_back()
            if not self._take():
                return 0
        cursor.row = 0
        walk_ring(batch, self.ring.data, self.ring.words, self._cursor, np.uint64(self.snaplen))
        return int(cursor.row)

    def _take(self) -> bool:
        if self.over:
            return False
        begin = time.perf_counter()
        block = self.ring.take(self._patience)
        self.seconds += time.perf_counter() - begin
        self._quiet = block is None
        if block is not None:
            self._cursor[0].at, self._cursor[0].left = block
        if self._late or (self._quiet and self._deadline is not None):
            self.over = True
        return block is not None

    def _shut(self) -> None:
        self.ring.close()
