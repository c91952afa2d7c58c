"""Capture: any capture file, pipe or file object as rows of a PacketBatch."""

from __future__ import annotations

import functools
import os
import stat
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from flowgauge import storage
from flowgauge.errors import NotACapture, SourceError, TruncatedCapture
from flowgauge.kernels._external import HAS_READ
from flowgauge.kernels.clock import COUNTERS, LOOKAHEAD, run_clock
from flowgauge.kernels.packet import PacketBatch, make_batch
from flowgauge.kernels.pcap import PcapLayout
from flowgauge.kernels.records import BAD_RECORD, FULL, MORE
from flowgauge.labels.inside import from_comments
from flowgauge.sources import pcap, pcapng
from flowgauge.sources.clock import Clock
from flowgauge.sources.direct import Decoding, Direct
from flowgauge.sources.envelopes import FrameLabels
from flowgauge.sources.streams import Source, Stream, open_stream
from flowgauge.sources.window import Buffers, Interface, Window

if TYPE_CHECKING:
    from flowgauge.labels.process import ProcessLabels
    from flowgauge.sources.filters import Filter
    from flowgauge.sources.rules import RuleLabels

MIN_ROWS = 2 * LOOKAHEAD
"""A batch has at least this many rows: the look-ahead of the clock must fit."""

_NOTHING = make_batch(0).packets
T = TypeVar("T")


class Reader(Protocol):
    """Walks the records of one container format."""

    container: str
    interfaces: list[Interface]
    comments: tuple[str, ...]

    @property
    def has_trailers(self) -> bool:
        """Whether PCAPdroid's trailers are behind the frames."""
        ...

    @property
    def has_pktap(self) -> bool:
        """Whether PKTAP headers are before frames."""
        ...

    @property
    def unread(self) -> int:
        """Packets and blocks whose word on processes makes no sense."""
        ...

    @property
    def big_endian(self) -> bool:
        """Byte order of what the capture's system wrote, the headers of BSD loopback among it."""
        ...

    @property
    def records(self) -> tuple[Any, ...]:
        """What the kernel that walks them is told of the records at the cursor."""
        ...

    def has_processes(self, window: Window) -> bool:
        """Whether the blocks at the cursor tell of the processes of packets."""
        ...

    def walk(self, batch: PacketBatch, window: Window) -> str | None:
        """Fill rows from the window; what is wrong with the record at the cursor, or None."""
        ...


class Capture:
    """One capture, read front to back in one pass.

    `name` is the input as given, `compression` "" or the compression's name, `container` "pcap" or
    "pcapng", `size` the stored bytes of a file, None where they are not known. Broken and cut-off inputs are
    no errors: the packets before are delivered, and `damage` then names the byte; `refused` says why the filter or a
    label rule could not be applied to the packets that follow. `over` says that nothing more is read; `seconds` is the
    time spent waiting for bytes and decompressing them.
    """

    def __init__(
        self,
        stream: Stream,
        clock: Clock | None,
        buffers: Buffers | None = None,
        filter: Filter | None = None,
        labels: ProcessLabels | None = None,
        rules: RuleLabels | None = None,
    ) -> None:
        self.name = stream.name
        self.compression = stream.compression
        self.size = stream.size
        self.damage: str | None = None
        self.refused: str | None = None
        self.over = False
        self.seconds = 0.0
        self._filter = filter
        self._stream = stream
        self._clock = clock
        self._window = Window(stream, buffers)
        self._rules = rules
        self._labelled = labels is not None
        self._frame_labels = FrameLabels(labels)
        self._reader = _reader(self._window, labels)
        self._waiting: Any = _NOTHING  # packets that the clock has not decided yet
        self._counts = np.zeros(len(COUNTERS), np.int64)

    @property
    def container(self) -> str:
        """ "pcap" or "pcapng"."""
        return self._reader.container

    @property
    def interfaces(self) -> list[Interface]:
        """The interfaces described so far (pcap: one)."""
        return self._reader.interfaces

    @property
    def inside(self) -> dict[str, Any]:
        """What the capture says of itself, its label among it (flowgauge.labels.inside); {} where it does not."""
        return from_comments(self._reader.comments)

    @property
    def has_processes(self) -> bool:
        """Whether its first blocks, where nothing is read yet, tell of the processes of packets."""
        return self._reader.has_processes(self._window)

    @property
    def position(self) -> int:
        """Stored (compressed) bytes consumed so far."""
        return self._stream.position

    @property
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of the rows of the last read, valid until as many reads more as there are buffers."""
        return self._window.data

    @property
    def counters(self) -> dict[str, int]:
        """Records whose time was not genuine (clock_jump) or absent (no_time), labels_unread and reconnected."""
        others = {"labels_unread": self._reader.unread, "reconnected": self._stream.retries}
        own = {name: count for name, count in others.items() if count}
        return dict(zip(COUNTERS, self._counts.tolist(), strict=True)) | own

    def read(self, batch: PacketBatch) -> int:
        """Fill the frame columns of rows 0 … n-1 and return n; 0 at the end of the input.

        Raises ValueError for a batch of fewer than MIN_ROWS rows.
        """
        rows = 0
        while not (rows or self.over):
            rows = max(self.steps(batch), default=0)
        return rows

    def steps(self, batch: PacketBatch) -> Iterator[int]:
        """The same step by step: yields how many rows are filled so far after each piece of input.

        What is done with the rows of a step before the next finds their bytes in the processor's cache. Nothing is
        yielded where the input is `over`, and where none of the frames that were read now passes the filter.
        """
        window, clock, done = self._window, self._clock, 0
        left_out = self._left_out
        self._restore(batch)
        while True:
            rows = self._walk(batch)
            before, done = done, rows
            if clock is not None:
                done = run_clock(batch, before, rows, self.over, clock.state, self._counts)
            if done > before:
                yield done
            some = done or self._left_out > left_out
            if self.over or rows == len(batch.packets) or (some and (window.full or self._stream.live)):
                break
            self._fill()
        self._keep(batch, done)

    @functools.cached_property
    def is_direct(self) -> bool:
        """Whether :meth:`take` does it: for a plain file of this machine whose frames all pass and get no labels."""
        every = self._filter is None and self._rules is None
        plain = every and not self._labelled and not self._reader.has_trailers
        return HAS_READ and plain and self._clock is not None and self._stream.descriptor is not None

    @functools.cached_property
    def _direct(self) -> Direct:
        assert self._stream.descriptor is not None and self._clock is not None
        return Direct(self._stream.descriptor, self._window, self._clock, self._counts)

    def take(self, batch: PacketBatch, decoder: Decoding) -> int:
        """Fill rows as :meth:`read` does, and decode them; their number, 0 where nothing is left."""
        window, direct = self._window, self._direct
        self._restore(batch)
        direct.begin()
        while True:
            verdict = self._take(batch, decoder)
            if verdict == FULL or self.over:
                break
            if verdict != MORE and self._pass_over(batch):
                continue
            if window.full and direct.rows:
                break
            self._fill()
        self._keep(batch, direct.rows)
        return direct.rows

    def _pass_over(self, batch: PacketBatch) -> bool:
        """Walk what is no packet; False where that is not wholly there."""
        begin = self._window.offset
        self._walk_records(batch)
        return self.over or self._window.offset > begin

    def _take(self, batch: PacketBatch, decoder: Decoding) -> int:
        direct = self._direct
        try:
            return direct.take(batch, self._reader.records, self.over, decoder)
        except IndexError:
            return BAD_RECORD  # which the walk says again
        finally:
            count, seconds = direct.taken(decoder)
            self._stream.passed(count)
            self.seconds += seconds

    @property
    def _left_out(self) -> int:
        return 0 if self._filter is None else self._filter.packets

    def _restore(self, batch: PacketBatch) -> None:
        """Put the waiting packets first, and the bytes that are still needed to the front of the window."""
        if len(batch.packets) < MIN_ROWS:
            raise ValueError(f"a batch of {len(batch.packets)} rows is too small; {MIN_ROWS} are needed")
        waiting = self._waiting
        if len(waiting):
            waiting.offset = self._window.gather(waiting.offset.tolist(), waiting.caplen.tolist())
            batch.packets[: len(waiting)] = waiting
        else:
            self._window.restart()
        self._window.row = len(waiting)

    def _keep(self, batch: PacketBatch, done: int) -> None:
        """The rows behind the first `done` wait for those that decide their times."""
        rows = self._window.row
        self._waiting = batch.packets[done:rows].copy() if done < rows else _NOTHING

    def _walk(self, batch: PacketBatch) -> int:
        """Fill rows from the window with what passes the filter; returns how many rows there are."""
        window = self._window
        while not self.over:
            begin = window.row
            self._walk_records(batch)
            walked = window.row
            if self._filter is not None:
                window.row = self._select(self._filter, batch, begin, walked)
            self._label(batch, begin, window.row)
            if walked < len(batch.packets) or window.row == walked:
                break
        return window.row

    def _walk_records(self, batch: PacketBatch) -> None:
        try:
            fault = self._reader.walk(batch, self._window)
        except IndexError:
            fault = "the reader stopped at a bounds check (please report the file)"
        if fault is not None:
            self._end(f"at byte {self._window.offset} {fault}")

    def _select(self, filter: Filter, batch: PacketBatch, begin: int, walked: int) -> int:
        """Keep those of the rows that pass; the capture is over where the filter cannot tell."""
        kept, self.refused = filter.keep(self._window.data, batch, begin, walked, self._reader.big_endian)
        self.over = self.over or self.refused is not None
        return kept

    def _label(self, batch: PacketBatch, begin: int, stop: int) -> None:
        """Label rows by rules, then by what is around their frames; trailers are not part of those from here on."""
        data, reader = self._window.data, self._reader
        if self._rules is not None:
            self.refused = self._rules.label(data, batch, begin, stop, reader.big_endian) or self.refused
            self.over = self.over or self.refused is not None
        self._frame_labels.label(data, batch, begin, stop, reader)

    def _fill(self) -> None:
        """Read more; at the end, whatever is left is the beginning of a record."""
        window = self._window
        begin = time.perf_counter()
        window.fill()
        self.seconds += time.perf_counter() - begin
        if not window.ended:
            return
        cut = f"the record at byte {window.offset} is cut off" if window.available else None
        self._end(window.damage or cut)

    def _end(self, damage: str | None) -> None:
        self.over = True
        self.damage = damage

    def finish(self) -> None:
        """Read nothing more."""
        self.over = True

    @property
    def layout(self) -> PcapLayout | None:
        """How the records of a plain pcap file lie in it; None of anything else."""
        return self._reader.layout if isinstance(self._reader, pcap.PcapReader) and not self.compression else None

    @property
    def frames(self) -> int:
        """Number of the last frame that was walked."""
        return self._window.frames

    def jump(self, offset: int, frames: int) -> None:
        """Go on with what is read next, whose first byte is at this offset of the input, behind so many frames."""
        self._window.jump(offset, frames)

    def close(self) -> None:
        """Close the file, if it was opened from a path."""
        self._stream.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _reader(window: Window, labels: ProcessLabels | None) -> Reader:
    """The reader for what the first bytes say."""
    window.need(4)
    magic = window.peek(min(4, window.available))
    if magic in pcap.MAGIC:
        return pcap.PcapReader(window)
    if magic == pcapng.MAGIC:
        return pcapng.PcapngReader(window, labels)
    if window.damage:
        raise TruncatedCapture(f"{window.name}: {window.damage}")
    raise NotACapture(f"{window.name} is neither pcap nor pcapng (it begins with {magic.hex(' ')})")


def open_capture(
    source: Source,
    clock: Clock | None = None,
    *,
    timed: bool = True,
    filter: Filter | None = None,
    labels: ProcessLabels | None = None,
    rules: RuleLabels | None = None,
    buffers: Buffers | None = None,
) -> Capture:
    """Open a path, the URL of a storage, "-" (standard input) or a binary file object, of any known compression.

    `clock` continues or restarts the trace of captures before; by default it is a fresh one. Without `timed` times
    stay as recorded, and the fields of the clock are not filled. What does not pass `filter` is as though it
    were not there, but for the numbers and offsets of the other frames. Packets get the numbers, of `labels`, of what
    the capture says of their processes, or of what the `rules` say, which win.
    `buffers` are those of the captures before, which nobody reads any more; by default there is one.
    Raises NotACapture, or SourceError where the input cannot be read.
    """
    stream = open_stream(source)
    try:
        return Capture(stream, clock or Clock() if timed else None, buffers, filter, labels, rules)
    except BaseException:
        stream.close()
        raise


def first_time(source: Source) -> int | None:
    """Time (ns since the epoch) of the first record, to order captures by.

    None where there is no record or where looking would use up the input. Raises as :func:`open_capture` does.
    """
    return _looked_at(source, _first_time)


class Glance(NamedTuple):
    """What the begin of a capture tells: what it says of itself (:attr:`Capture.inside`), and whether its packets say
    which processes they are of."""

    inside: dict[str, Any]
    has_processes: bool


NOTHING_SEEN = Glance({}, False)


def glance(source: Source) -> Glance:
    """What the first blocks of a capture tell; nothing where looking would use up the input.

    Raises as :func:`open_capture` does.
    """
    return _looked_at(source, _glance) or NOTHING_SEEN


def _looked_at(source: Source, look: Callable[[Source], T | None]) -> T | None:
    """What `look` finds at the begin of an input, which can be read again afterwards; None of standard input, pipes and
    file objects that cannot seek."""
    if isinstance(source, str) and storage.is_url(source):
        return _looked_at_stored(source, look)
    if isinstance(source, (str, os.PathLike)):
        return None if source == "-" or _is_pipe(source) else look(source)
    if not getattr(source, "seekable", lambda: False)():
        return None
    place = source.tell()
    try:
        return look(source)
    finally:
        source.seek(place)


def _looked_at_stored(url: str, look: Callable[[Source], T | None]) -> T | None:
    """The same by the first bytes in a storage, and no more of them than the look takes."""
    try:
        with storage.open_input(url, ahead=False) as file:
            return look(cast(BinaryIO, file))
    except OSError as error:
        raise SourceError(f"cannot read {storage.shown(url)}: {error.strerror or error}") from error


def _is_pipe(path: str | os.PathLike[str]) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _first_time(source: Source) -> int | None:
    batch = make_batch(MIN_ROWS)
    with open_capture(source, buffers=Buffers(1 << 16)) as capture:
        return int(batch.packets[0].time) if capture.read(batch) else None


def _glance(source: Source) -> Glance | None:
    if isinstance(source, (str, os.PathLike)) and not pcap.may_say_more(_head(source)):
        return None  # most captures are of this kind
    with open_capture(source, timed=False, buffers=Buffers(1 << 16)) as capture:
        return Glance(capture.inside, capture.has_processes)


def _head(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(pcap.HEAD_BYTES)
    except OSError:
        return b""  # for open_capture to report
