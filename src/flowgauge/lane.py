"""Lane: reads captures one after the other and meters them; a run has one, or several side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.behind import IN_USE, MeterBehind
from flowgauge.captureinfo import undecodable
from flowgauge.config import MeterConfig
from flowgauge.decode import Decoder
from flowgauge.duplicates import Estimate, Removal
from flowgauge.errors import FlowgaugeError, NotACapture, SourceError
from flowgauge.kernels.link import LINK_NAMES
from flowgauge.kernels.packet import FILTERED, REASONS, make_batch
from flowgauge.labels.inside import label_of, marks_of
from flowgauge.labels.process import INSIDE, NAME, ProcessLabels
from flowgauge.labels.rules import read_rules
from flowgauge.meter import Meter
from flowgauge.records import Labels
from flowgauge.shards import ShardedMeter
from flowgauge.snapshot import Snapshot, restored
from flowgauge.sources.capture import Capture, open_capture
from flowgauge.sources.clock import Clock
from flowgauge.sources.discover import CaptureInput
from flowgauge.sources.filters import Filter
from flowgauge.sources.live import LiveSource
from flowgauge.sources.reorder import Reorder
from flowgauge.sources.rules import RuleLabels
from flowgauge.sources.window import Buffers
from flowgauge.stats import Counted, RunStats, since
from flowgauge.stopwatch import Stopwatch

if TYPE_CHECKING:
    from flowgauge.labels.truth.truth import Truth

PROCESS = "process"
_UNKNOWN_LINK = list(REASONS).index("unknown_link")


class Job(NamedTuple):
    """A capture to be metered: its place among all, and the labels of its name. `by_name`: no others count."""

    number: int
    capture: CaptureInput
    labels: dict[str, str] | None
    by_name: bool


@dataclass(frozen=True)
class Plan:
    """What the lanes of a run share. With `join` all captures are one trace; `should_stop` is asked at every turn."""

    config: MeterConfig
    labels: tuple[str, ...]
    extras: tuple[str, ...]
    truth: Truth | None
    rules: str | os.PathLike[str] | None
    join: bool
    rows: int  # of packets in a batch
    buffer_bytes: int
    should_stop: Callable[[], bool]


class Chunk:
    """Some captures after each other, and their records.

    When all `batches` are taken, `stats` is what was counted since the chunk before, `sample` what was looked at for
    copies (flowgauge.duplicates.share_of), and `matched` what a truth table's rows have matched.
    """

    def __init__(self, number: int, jobs: list[Job]) -> None:
        self.number = number
        self.jobs = jobs
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.stats = RunStats()
        self.sample: NDArray[np.int64] = np.zeros((2, 2), np.int64)
        self.matched: dict[str, Any] | None = None

    @property
    def counted(self) -> Counted:
        """All counts."""
        return Counted(self.stats.as_dict(), self.sample.tolist(), self.matched)


class Lane:
    """Captures in, batches of records out, by one thread that reads and decodes, and others that meter.

    `stats` are the counts so far; those of the meter and the decoder are in :meth:`totals`.
    """

    def __init__(self, plan: Plan, threads: int = 1) -> None:
        config = plan.config
        self._plan = plan
        self._turn: Callable[[Lane, str], None] = _nothing
        self.stats = RunStats()
        self.watch = Stopwatch()
        self.position = 0  # stored bytes of the capture at work, and of all before it
        self.before = 0
        self.processes = ProcessLabels() if PROCESS in config.features else None
        self.rules = _compiled(plan.rules, self.processes)
        self._truth = None if plan.truth is None else plan.truth.apart()
        self.threads = threads
        self.meter: Any = _meter(plan, threads, self.watch, self.processes, self._truth)
        self.decoder = Decoder(config.tunnels)
        self.duplicates = Estimate() if config.dedup is None else Removal(config.dedup)
        self.filter = None if config.filter is None else Filter(config.filter)
        self._left_out = (0, 0)  # packets and bytes that the filter has left out and that are counted
        self._clock = Clock()
        self._begins = True  # whether another trace begins with the next capture
        window = config.reorder
        self.reorder = None if window is None else Reorder(window, self._clock, spans=plan.join)
        self._in_use = 1 if threads == 1 else IN_USE
        self._buffers = Buffers(plan.buffer_bytes, self._in_use)
        self._batches = [make_batch(plan.rows) for _ in range(self._in_use)]

    @property
    def _batch(self) -> Any:
        return self._batches[0]

    def meter_capture(self, job: Job) -> Iterator[pa.RecordBatch]:
        """Meter one capture; one that cannot be read is noted."""
        source = job.capture
        try:
            capture = self._open(source.source)
        except SourceError as error:
            if source.explicit or not isinstance(error, NotACapture):
                self.stats.failed[source.name] = str(error)
            else:
                self.stats.skipped.append(source.name)
            return
        with capture:
            self._begin(capture, job)
            if self.reorder is not None and isinstance(capture, Capture):
                self.reorder.begin(capture, job.number)
            yield from self._loop(capture, source)
            if self.stats.interrupted:
                yield from self._rest()
        self._close(capture, source.name)

    def meter_chunk(
        self, chunk: Chunk, turn: Callable[[Lane, str], None], *, last: bool, cut: bool
    ) -> Iterator[pa.RecordBatch]:
        """The records of a chunk, whose counts are complete behind them; as :meth:`meter_all`."""
        before, sample = self.totals(), self.sample
        yield from self.meter_all(chunk.jobs, turn, last=last, cut=cut)
        chunk.stats, chunk.sample = since(before, self.totals()), self.sample - sample
        if self._truth is not None:
            chunk.matched = self._truth.taken()
            chunk.stats.labels = chunk.matched["labels"]

    def meter_all(
        self, jobs: list[Job], turn: Callable[[Lane, str], None], *, last: bool, cut: bool
    ) -> Iterator[pa.RecordBatch]:
        """Meter captures, the `last` of all or not; with `cut` all records are given that have left then. `turn` is
        called again and again, with the lane and the name of its capture."""
        self._turn = turn
        try:
            for job in jobs:
                yield from self.meter_capture(job)
                if self.stats.interrupted:
                    break
            if self._plan.join and last and not self.stats.interrupted:
                yield from self._rest()
                self.meter.end_capture()
            if cut or last or self.stats.interrupted:
                yield from self.meter.flush()
        finally:
            self._turn = _nothing  # which may hold what holds this lane, and would keep its memory

    def snapshot(self) -> Snapshot:
        """All that is remembered of a trace between two of its captures, behind a chunk that was cut off."""
        parts = {"clock": self._clock, "meter": self.meter, "duplicates": self.duplicates}
        others = {"reorder": self.reorder, "processes": self.processes}
        parts |= {name: part for name, part in others.items() if part is not None}
        own = {"threads": self.threads, "begins": self._begins, "seed": self.decoder.seed}
        return own | {name: part.snapshot() for name, part in parts.items()}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on behind a snapshot of a lane with the same plan and as many threads; this one has read nothing."""
        self._begins = snapshot["begins"]
        self.decoder.seed = restored(snapshot, "seed", self.decoder.seed.dtype).copy()
        self._clock.restore(snapshot["clock"])
        if self.processes is not None:
            self.processes.restore(snapshot["processes"])
        if self.reorder is not None:
            self.reorder.restore(snapshot["reorder"])
        self.duplicates.restore(snapshot["duplicates"])
        self.meter.restore(snapshot["meter"])

    def _begin(self, capture: Capture | LiveSource, job: Job) -> None:
        if self._begins:
            self.duplicates.begin(job.number)
        self._begins = not self._plan.join
        name, labels, marks, by = job.capture.name, job.labels, None, NAME
        if not job.by_name:
            labels, marks, by = label_of(capture.inside), marks_of(capture.inside), INSIDE
        self.meter.begin_capture(name, labels, marks, by, job.number)

    def _open(self, source: Any) -> Capture | LiveSource:
        if isinstance(source, LiveSource):
            source.begin(self._clock, self.filter)
            return source
        timed, labels, rules = self.reorder is None, self.processes, self.rules
        given: dict[str, Any] = {"filter": self.filter, "labels": labels, "rules": rules, "buffers": self._buffers}
        return open_capture(source, self._clock, timed=timed, **given)

    def _loop(self, capture: Capture | LiveSource, source: CaptureInput) -> Iterator[pa.RecordBatch]:
        stats = self.stats
        unknown = int(self.decoder.reasons[_UNKNOWN_LINK])
        read = stats.packets
        frames = self.reorder or capture
        while (rows := self._decoded(frames)) or not capture.over:
            self._count_left_out()
            yield from self._feed(rows, frames)
            if isinstance(capture, LiveSource):
                yield from self._leave(capture, rows)
            self.position = capture.position
            self._turn(self, source.name)
            if self._plan.should_stop():
                stats.interrupted = True
                capture.finish()
        self._count_left_out()
        undecoded = int(self.decoder.reasons[_UNKNOWN_LINK]) - unknown
        unreadable = stats.packets > read and undecoded == stats.packets - read
        if self.reorder is not None:  # packets of other captures may be among those metered
            unreadable = bool(self.reorder.links) and self.reorder.links.isdisjoint(LINK_NAMES)
        if source.explicit and unreadable:
            links = [interface.link for interface in capture.interfaces]
            stats.failed[source.name] = str(undecodable(source.name, links))

    def _leave(self, capture: LiveSource, rows: int) -> Iterator[pa.RecordBatch]:
        """What has left the meter, at once; where nothing comes, the time that it is tells it so."""
        if not rows and capture.beat(self._batch):
            yield from self.meter.feed(self._batch, 1, capture.buffer)
        yield from self.meter.leave()

    def _feed(self, rows: int, frames: Capture | LiveSource | Reorder) -> list[pa.RecordBatch]:
        self.stats.packets += rows
        batches: list[pa.RecordBatch] = self.meter.feed(self._batch, rows, frames.buffer)
        if self._in_use > 1:
            self._batches.append(self._batches.pop(0))
            if not isinstance(frames, Capture):  # whose bytes do not stay where they are
                self.meter.wait()
        return batches

    def _count_left_out(self) -> None:
        """Give what the filter has left out since its reason."""
        if self.filter is None:
            return
        now, before = (self.filter.packets, self.filter.wire_bytes), self._left_out
        self.stats.packets += now[0] - before[0]
        self.decoder.leave_out(FILTERED, now[0] - before[0], now[1] - before[1])
        self._left_out = now

    def _rest(self) -> Iterator[pa.RecordBatch]:
        """Meter what still waits for its place when nothing more is read."""
        if self.reorder is None:
            return
        self.reorder.finish()
        while rows := self._decoded(self.reorder):
            yield from self._feed(rows, self.reorder)

    def _decoded(self, frames: Capture | LiveSource | Reorder) -> int:
        """Fill the batch and decode it; the rows in it."""
        self.watch.start()
        done = self.decoder.fill(frames, self._batch)
        self.watch.lap("frames")
        self.duplicates.look(frames.buffer, self._batch, done, self.decoder)
        self.watch.lap("duplicates")
        return done

    def _close(self, capture: Capture | LiveSource, name: str) -> None:
        stats = self.stats
        stats.files += 1
        stats.input_bytes += capture.position
        self.before += capture.size or capture.position
        self.position = 0
        self.watch.separate("read", "frames", capture.seconds)
        for counter, value in capture.counters.items():
            stats.counters[counter] = stats.counters.get(counter, 0) + value
        if capture.damage:
            stats.damaged[name] = capture.damage
        if capture.refused:
            stats.failed[name] = f"{name}: {capture.refused}; the packets before were metered"
        if stats.interrupted:
            self.meter.end_capture("stop")
        elif not self._plan.join:
            self.meter.end_capture()
            self._clock.restart()

    @property
    def sample(self) -> NDArray[np.int64]:
        """Packets that were looked at for copies, and copies (flowgauge.duplicates.share_of)."""
        return self.duplicates.sample

    def totals(self) -> RunStats:
        """All counts so far. Raises FlowgaugeError where packets are lost: a defect."""
        stats = RunStats(**self.stats.as_dict())
        stats.reasons = self.decoder.counts()
        stats.packet_bytes = self.decoder.wire_bytes
        if sum(stats.reasons.values()) != stats.packets:
            raise FlowgaugeError(f"{stats.packets} packets read, {sum(stats.reasons.values())} accounted for: a defect")
        if self.processes is not None and self.processes.left_out:
            stats.counters["labels_unread"] = stats.counters.get("labels_unread", 0) + self.processes.left_out
        meter = self.meter
        stats.counters |= {"ip_length_lies": self.decoder.length_lies, **meter.counters, **self.duplicates.counters}
        if self.reorder is not None:
            stats.counters |= self.reorder.counters
        stats.flows, stats.rows = meter.flows, sum(meter.ended.values())
        stats.ended, stats.named = dict(meter.ended), meter.named
        stats.limited = meter.limited
        if self._plan.truth is not None:
            return stats
        stats.labels = rows_of_labels(meter.rows_by_label())
        return stats

    def close(self) -> None:
        """Nothing is metered any more; the times of all stages are in `watch` from here on."""
        self.meter.close()
        if self._truth is not None:
            self._truth.taken()  # what was matched outside of chunks
        self.watch.separate("decode", "frames", self.decoder.seconds)
        if self.filter is not None:
            self.watch.separate("filter", "frames", self.filter.seconds)


def _meter(
    plan: Plan, threads: int, watch: Stopwatch, processes: ProcessLabels | None, truth: Labels | None
) -> Meter | MeterBehind | ShardedMeter:
    """That of the reader's thread, one behind it, or several in shards."""
    if threads > 2:
        return ShardedMeter(threads - 1, plan.config, plan.labels, watch, plan.extras, processes, truth)
    own = watch if threads == 1 else None
    meter = Meter(plan.config, plan.labels, own, plan.extras, processes, truth)
    return meter if threads == 1 else MeterBehind(meter, watch)


def rows_of_labels(counted: Iterable[tuple[Mapping[str, str], int]]) -> dict[str, int]:
    """Records by "app/action", of records by labels."""
    found: dict[str, int] = {}
    for labels, rows in counted:
        name = "/".join(labels.get(field, "") for field in ("app", "action") if field in labels)
        if rows and name:
            found[name] = found.get(name, 0) + rows
    return found


def _nothing(lane: Lane, name: str) -> None:
    """Between captures."""


def _compiled(rules: str | os.PathLike[str] | None, labels: ProcessLabels | None) -> RuleLabels | None:
    return None if rules is None or labels is None else RuleLabels(read_rules(rules), labels)
