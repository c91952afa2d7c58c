"""The first pass over a trace that is metered in shards: what each part of it does to the running clock.

Each part is read by itself. The clock of most is simple: it is the latest time so far, from wherever it began. The
driver then knows where it stands at the begin of every part. Where times jump, or records have none, the capture is
run through the clock from where that stands, before what follows is looked at.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from flowgauge.errors import NotACapture, SourceError
from flowgauge.kernels.clock import EPOCH_LENGTH, HOUR
from flowgauge.kernels.packet import BATCH_ROWS, make_batch
from flowgauge.kernels.records import NO_TIME
from flowgauge.labels.process import ProcessLabel, ProcessLabels
from flowgauge.lane import PROCESS, Job, Plan
from flowgauge.sources.capture import Capture, open_capture
from flowgauge.sources.clock import Clock
from flowgauge.sources.filters import Filter
from flowgauge.sources.splitting import Piece, Range, layout_of, ranges
from flowgauge.spark.plan import Part, Start, Trace, stored_size


class Slice(NamedTuple):
    """A part of a capture to be looked at: number `number` of `parts`, of about `wanted` bytes each."""

    job: Job
    wanted: int = 0
    number: int = 0
    parts: int = 1


class Seen(NamedTuple):
    """What a part is like.

    `times` are the first, the earliest and the latest time of its `records` (those that pass the filter), None without
    any. `simple`: no time is more than an hour from the latest before. `range` is None where it is all of the capture.
    `fault` says why the capture cannot be read, `whole` is False where reading did not end at the end of the range.
    """

    job: Job
    number: int = 0
    range: Range | None = None
    records: int = 0
    frames: int = 0
    times: tuple[int, int, int] | None = None
    simple: bool = True
    whole: bool = True
    fault: str | None = None
    skip: bool = False
    inside: dict[str, Any] = {}  # noqa: RUF012 - never written
    labels: tuple[ProcessLabel, ...] = ()


def slices(job: Job, wanted: int, splits: bool) -> Iterator[Slice]:
    """The parts of a capture that are looked at by themselves."""
    count = -(-stored_size(job) // wanted)
    if not splits or count < 2 or layout_of(job.capture.source) is None:
        yield Slice(job)
        return
    for number in range(count):
        yield Slice(job, wanted, number, count)


def look_at(plan: Plan, part: Slice) -> Seen | None:
    """Read a part of a capture; None where no record begins in it."""
    job, source = part.job, part.job.capture.source
    if part.parts == 1:
        return _looked_at(plan, job, 0, None)
    layout = layout_of(source)
    found = None if layout is None else ranges(source, layout, part.wanted, part.number, part.parts)  # type: ignore[arg-type]
    return None if found is None else _looked_at(plan, job, part.number, found)


def _looked_at(plan: Plan, job: Job, number: int, range: Range | None) -> Seen:
    labels = ProcessLabels() if PROCESS in plan.config.features else None
    times = _Times()
    try:
        with opened(job.capture.source, range, 0, plan, labels, timed=False) as capture:
            batch = make_batch(BATCH_ROWS)
            while rows := capture.read(batch):
                times.add(batch.packets.time[:rows])
            whole = capture.damage is None and capture.refused is None
            inside = dict(capture.inside)
            frames = capture.frames
    except SourceError as error:
        skip = isinstance(error, NotACapture) and not job.capture.explicit
        return Seen(job, number, range, fault=str(error), skip=skip)
    said = labels.listed if labels is not None else ()
    return Seen(job, number, range, times.records, frames, times.seen, times.simple, whole, inside=inside, labels=said)


@contextlib.contextmanager
def opened(
    source: Any,
    range: Range | None,
    frames: int,
    plan: Plan,
    labels: ProcessLabels | None,
    clock: Clock | None = None,
    rules: Any = None,
    filter: Filter | None = None,
    timed: bool = True,
) -> Iterator[Capture]:
    """A capture, or a range of it, behind so many frames."""
    if filter is None and plan.config.filter is not None:
        filter = Filter(plan.config.filter)
    given: dict[str, Any] = {"filter": filter, "labels": labels, "rules": rules, "timed": timed}
    if range is None:
        with open_capture(source, clock, **given) as capture:
            yield capture
        return
    with Piece(source) as piece, open_capture(cast(BinaryIO, piece), clock, **given) as capture:
        piece.limit(range)
        capture.jump(range.begin, frames)
        yield capture


class _Times:
    """Times of records, one piece after the other."""

    def __init__(self) -> None:
        self.records = 0
        self.simple = True
        self.seen: tuple[int, int, int] | None = None

    def add(self, times: Any) -> None:
        self.records += len(times)
        if (times == NO_TIME).any():
            self.simple = False
            return
        first, least, latest = self.seen or (int(times[0]),) * 3
        before = np.maximum.accumulate(np.concatenate(([latest], times)))
        steps = times - before[:-1]
        self.simple = self.simple and bool((np.abs(steps) <= HOUR).all())
        self.seen = first, min(least, int(times.min())), int(before[-1])


def chain(
    trace: Trace, jobs: list[Job], seen: dict[int, list[Seen]], run: Callable[[Job, Start], Start]
) -> Iterator[Part]:
    """The parts of a trace, each with the clock where it begins; `seen` are those of each job's number. `run` gives the
    clock behind a capture that does more to it than most."""
    start, number = Start(), 0
    for job in jobs:
        parts = sorted(seen.get(job.number, ()), key=lambda each: each.number)
        behind = _behind(start, parts) if _fit(parts) else None
        if behind is None:
            yield Part(job, trace, number, start)
            number += 1
            if not any(each.fault for each in parts):
                start = run(job, start)
            continue
        frames = 0
        for place, (each, following) in enumerate(zip(parts, behind, strict=True)):
            begin, stop = each.range or (0, None)
            yield Part(job, trace, number, start, place == 0, begin, stop, frames)
            number += 1
            start, frames = following, frames + each.frames


def _fit(parts: list[Seen]) -> bool:
    """Whether reading each part ends where the next one begins, so that together they are what reading all gives."""
    if not parts or any(each.fault for each in parts):
        return False
    joints = itertools.pairwise(parts)
    return all(one.whole and one.range and two.range and one.range.stop == two.range.begin for one, two in joints)


def _behind(start: Start, parts: list[Seen]) -> list[Start] | None:
    """The clock behind each part; None where that does not follow from what is seen of them."""
    found = []
    for each in parts:
        if not each.simple:
            return None
        if each.times is not None:
            first, least, latest = each.times
            if start.started and not (first - start.time <= HOUR and start.time - least <= HOUR):
                return None
            if not start.started and start.records:
                return None
            time = max(start.time, latest) if start.started else latest
            start = Start(time, time // int(EPOCH_LENGTH), start.records + each.records, True)
        found.append(start)
    return found


def clock_at(start: Start) -> Clock:
    """A clock that stands there; its boundary intervals are counted from 0, that of the record before."""
    clock = Clock()
    if start.records:
        state = clock.state[0]
        state.time, state.interval, state.records = start.time, start.interval, start.records
        state.started, state.epoch = start.started, 0
    return clock


def run_through(plan: Plan, job: Job, start: Start) -> Start:
    """The clock behind a capture, record by record."""
    clock = clock_at(start)
    batch = make_batch(BATCH_ROWS)
    with opened(job.capture.source, None, 0, plan, None, clock) as capture:
        while capture.read(batch):
            pass
    state = clock.state[0]
    return Start(int(state.time), int(state.interval), int(state.records), bool(state.started))
