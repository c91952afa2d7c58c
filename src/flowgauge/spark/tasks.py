"""What tasks do, in the Python workers of executors: tables of plans or packets in, tables of records or packets out.

Records leave as whole batches of native columns, as they are on one machine: Spark puts them in order and never looks
into them.
"""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from flowgauge.duplicates import Estimate
from flowgauge.fragments import FragmentStage
from flowgauge.kernels.packet import BATCH_ROWS, PACKET
from flowgauge.labels.inside import label_of, marks_of
from flowgauge.labels.process import INSIDE, NAME, ProcessLabels
from flowgauge.labels.rules import read_rules
from flowgauge.lane import PROCESS, Chunk, Job, Lane, Plan, rows_of_labels
from flowgauge.meter import NO_BYTES, Meter
from flowgauge.sources.capture import Capture
from flowgauge.sources.splitting import Range
from flowgauge.spark import blocks
from flowgauge.spark.plan import Part, Trace, Work
from flowgauge.spark.survey import Slice, clock_at, look_at, opened, run_through
from flowgauge.stats import Counted, RunStats

TASKS = pa.schema([("task", pa.int32()), ("plan", pa.binary())])
SEEN = pa.schema([("seen", pa.binary())])

BATCHES = pa.schema(
    [
        ("trace", pa.int32()),
        ("boundary", pa.int64()),
        ("end", pa.int64()),
        ("shard", pa.int32()),
        ("number", pa.int64()),
        ("records", pa.binary()),
        ("counts", pa.binary()),
    ]
)
"""A batch of records: the number of its trace's first capture, boundary at which the first record left and its end, and
which batch of its shard it is. `counts`, in place of records, is what the task has counted."""

LEFT = pa.field("left", pa.int64())
"""Behind the columns of records that are made in shards: the boundary at which each of them left."""

_RECORDS = 8192  # in a batch that is sent at most: a Java machine holds several copies of it
_SOME = 1 << 17  # packets after which what has left is asked for
_NO_SAMPLE = [[0, 0], [0, 0]]
_ONE_BYTE = np.zeros(1, np.uint8)  # where no feature reads bytes, so that packets keep the length of what was captured


def specs(column: Iterable[pa.RecordBatch]) -> Iterator[Any]:
    """What rows of TASKS say is to be done."""
    for batch in column:
        for plan in batch.column("plan").to_pylist():
            yield pickle.loads(plan)


def survey(work: Work, tables: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Slices in, what they are like out."""
    plan = work.here()
    for part in specs(tables):
        assert isinstance(part, Slice)
        seen = look_at(plan, part)
        if seen is not None:
            yield _row(SEEN, [pickle.dumps(seen)])


def clock_behind(work: Work, tables: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """(job, clock) in, the clock behind the capture out."""
    plan = work.here()
    for job, start in specs(tables):
        yield _row(SEEN, [pickle.dumps(run_through(plan, job, start))])


def meter_whole(work: Work, tables: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Captures that are traces of their own in, BATCHES out."""
    plan = work.here()
    for jobs in specs(tables):
        lane, chunk = Lane(plan), Chunk(0, jobs)
        for number, batch in enumerate(_in_pieces(lane.meter_chunk(chunk, _nothing, last=True, cut=True))):
            yield _row(BATCHES, [jobs[0].number, number, 0, 0, number, ipc(batch), None])
        lane.close()
        yield _counts(chunk.counted)


def _in_pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for begin in range(0, len(batch), _RECORDS):
            yield batch.slice(begin, _RECORDS)


def decode_parts(work: Work, tables: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Parts of traces in, BLOCKS of packets out."""
    plan = work.here()
    for part in specs(tables):
        lane = _PartLane(plan, part, work)
        yield from lane.meter_part()
        counted = Counted(lane.totals().as_dict(), lane.sample.tolist(), None)
        yield blocks.counts_row(part.number, part.trace.first_shard, _json(counted))


class _PartLane(Lane):
    """Reads a part of a capture, as a lane reads all of it, and shares its packets out."""

    def __init__(self, plan: Plan, part: Part, work: Work) -> None:
        super().__init__(plan)
        self._part = part
        self._open_files = contextlib.ExitStack()
        if self.processes is not None:
            _tell(self.processes, plan, work)
        trace, fresh = part.trace, not part.start.records
        self.meter = blocks.Sharing(trace.first_shard, trace.shards, part.number, plan.config, fresh)
        self._clock = clock_at(part.start)

    def meter_part(self) -> Iterator[pa.RecordBatch]:
        part = self._part
        with self._open_files:
            yield from self.meter_capture(part.job)
            yield from self.meter.flush()
        if part.stop is not None:
            self.stats.input_bytes = part.stop - (0 if part.first else part.begin)
        if not part.first:
            self.stats.files = 0

    def _open(self, source: Any) -> Capture:
        part = self._part
        range = None if part.stop is None else Range(part.begin, part.stop)
        given = (part.frames, self._plan, self.processes, self._clock, self.rules, self.filter)
        return self._open_files.enter_context(opened(source, range, *given))

    def _begin(self, capture: Any, job: Job) -> None:
        super()._begin(capture, job)
        self.duplicates.begin(self._part.trace.number)
        if isinstance(self.duplicates, Estimate):
            self.duplicates.skip(self._part.start.records)


class Captured(NamedTuple):
    """What a shard has to know of a capture, beside its packets: the part of the trace with which it begins, and what
    it says of itself."""

    part: int
    job: Job
    inside: dict[str, Any]


def meter_shards(
    work: Work, captures: dict[int, list[Captured]], traces: list[Trace], tables: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """BLOCKS in the order of shard, part and number in, BATCHES out; `captures` are those of each trace, by its
    number."""
    plan = work.here()
    shard: _Shard | None = None
    for number, part, packets, data, counts in _block_rows(tables):
        if counts is not None:
            yield _row(BATCHES, [-1, 0, 0, number, 0, None, counts])
            continue
        if shard is None or shard.number != number:
            if shard is not None:
                yield from shard.end()
            trace = next(each for each in traces if 0 <= number - each.first_shard < each.shards)
            shard = _Shard(plan, work, trace, number, captures[trace.number])
        yield from shard.take(part, blocks.unpacked(packets, data))
    if shard is not None:
        yield from shard.end()
    if plan.truth is not None:
        yield _counts(Counted({}, _NO_SAMPLE, plan.truth.matched))


def _block_rows(tables: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, int, Any, Any, bytes | None]]:
    for table in tables:
        columns = [table.column(name) for name in ("shard", "part", "packets", "bytes", "counts")]
        for row in range(table.num_rows):
            shard, part, packets, data, counts = (column[row] for column in columns)
            if counts.is_valid:
                yield shard.as_py(), part.as_py(), None, None, counts.as_py()
            else:
                yield shard.as_py(), part.as_py(), packets.as_buffer(), data.as_buffer(), None


class _Shard:
    """A meter of some of the flows of a trace."""

    def __init__(self, plan: Plan, work: Work, trace: Trace, number: int, captures: list[Captured]) -> None:
        self.number = number
        self._plan, self._trace, self._captures = plan, trace, captures
        processes = ProcessLabels() if PROCESS in plan.config.features else None
        if processes is not None:
            _tell(processes, plan, work)
        self._meter = Meter(plan.config, plan.labels, None, plan.extras, processes, plan.truth)
        self._fragments = FragmentStage()
        self._reads = blocks.bytes_needed(plan.config) != 0
        self._begun, self._base = 0, 0
        self._part, self._epoch, self._last_epoch = -1, 0, 0
        self._waiting: list[blocks.Packets] = []
        self._rows = self._since = self._batches = 0

    def take(self, part: int, packets: blocks.Packets) -> Iterator[pa.RecordBatch]:
        """Meter the packets of a block."""
        if part != self._part:
            yield from self._feed()
            self._begin_part(part)
        self._waiting.append(packets)
        self._rows += len(packets.packets) // PACKET.itemsize
        if self._rows >= BATCH_ROWS:
            yield from self._feed()

    def _begin_part(self, part: int) -> None:
        """Boundary intervals go on from those of the part before, whose last record every shard has seen."""
        self._epoch, self._last_epoch = self._epoch + self._last_epoch, 0
        self._part = part
        while self._begun < len(self._captures) and self._captures[self._begun].part <= part:
            self._begin_capture(self._captures[self._begun])
            self._begun += 1

    def _begin_capture(self, capture: Captured) -> None:
        job, inside = capture.job, capture.inside
        labels, marks, by = job.labels, None, NAME
        if not job.by_name:
            labels, marks, by = label_of(inside), marks_of(inside), INSIDE
        self._meter.begin_capture(job.capture.name, labels, marks, by, job.number)
        self._fragments.move(self._base - (job.number << 40))
        self._base = job.number << 40

    def _feed(self) -> Iterator[pa.RecordBatch]:
        if not self._waiting:
            return
        batch, rows = blocks.to_batch(waiting := blocks.joined(self._waiting))
        self._waiting.clear()
        self._since, self._rows = self._since + rows, 0
        self._last_epoch = int(batch.packets.epoch[rows - 1])
        batch.packets.epoch += np.int32(self._epoch)
        data = waiting.data if self._reads and len(waiting.data) else _ONE_BYTE
        for placed, count in self._fragments.process(batch, rows):
            self._meter.feed_placed(placed, count, data)
        if self._since >= _SOME:
            self._since = 0
            yield from self._left(_RECORDS)

    def end(self) -> Iterator[pa.RecordBatch]:
        """Meter what waits and end all flows: nothing comes any more."""
        yield from self._feed()
        for placed, count in self._fragments.rest():
            self._meter.feed_placed(placed, count, NO_BYTES)
        self._meter.end_placed("eof", self._fragments.clock)
        yield from self._left(1)
        yield _counts(Counted(self._stats().as_dict(), _NO_SAMPLE, None))

    def _left(self, fewest: int) -> Iterator[pa.RecordBatch]:
        left = self._meter.left()
        done = 0
        while len(left.slots) - done >= fewest:
            some = slice(done, done + _RECORDS)
            batch = self._meter.build(left.slots[some])
            batch = batch.append_column(LEFT, pa.array(left.leave[some]))
            place = [self._trace.number, int(left.leave[done]), int(left.end[done]), self.number, self._batches]
            yield _row(BATCHES, [*place, ipc(batch), None])
            self._batches += 1
            done += _RECORDS
        self._meter.keep(left.slots[done:])

    def _stats(self) -> RunStats:
        meter, stats = self._meter, RunStats()
        fragments = {"orphan_fragments": self._fragments.orphans, "tunnel_fragment": self._fragments.tunnelled}
        stats.counters = meter.counters | fragments
        stats.flows, stats.rows = meter.flows, sum(meter.ended.values())
        stats.ended, stats.named, stats.limited = dict(meter.ended), meter.named, meter.limited
        if self._plan.truth is None:
            stats.labels = rows_of_labels(meter.rows_by_label())
        return stats


def _tell(processes: ProcessLabels, plan: Plan, work: Work) -> None:
    """Let the labels of packets and rules have the numbers that they have in all tasks."""
    for label in work.labels:
        processes.number(label)
    for rule in read_rules(plan.rules) if plan.rules is not None else ():
        processes.number(rule.label)


def _nothing(lane: Lane, name: str) -> None:
    """Nobody watches a task."""


def _counts(counted: Counted) -> pa.RecordBatch:
    return _row(BATCHES, [-1, 0, 0, -1, 0, None, _json(counted)])


def _json(counted: Counted) -> bytes:
    return json.dumps(counted).encode()


def counted_of(counts: bytes) -> Counted:
    """What a task has counted, of the column `counts`."""
    return Counted(*json.loads(counts))


def ipc(batch: pa.RecordBatch) -> bytes:
    """A batch as the bytes of an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def of_ipc(stream: Any) -> pa.RecordBatch:
    """The batch of such bytes."""
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        return reader.read_next_batch()


def _row(schema: pa.Schema, values: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array([value], field.type) for value, field in zip(values, schema, strict=True)], schema=schema
    )
