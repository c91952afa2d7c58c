"""ShardedMeter: one Meter for each of several threads, whose records come as from a single one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.behind import IN_USE
from flowgauge.config import MeterConfig
from flowgauge.fragments import FragmentStage
from flowgauge.kernels.packet import PacketBatch, make_batch
from flowgauge.kernels.sharding import TRACE, choose_shards, take_shard
from flowgauge.labels.background import Marks
from flowgauge.labels.process import NAME, ProcessLabels
from flowgauge.meter import NO_BYTES, Meter, hide_bytes
from flowgauge.records import Labels
from flowgauge.snapshot import Snapshot, fill
from flowgauge.stopwatch import Stopwatch
from flowgauge.table import order_of

_MOST_WAITING = 1 << 17  # packets after which what has left is asked for, at the next boundary


class _Shard:
    """A meter with a thread of its own, which does one thing after the other."""

    def __init__(self, number: int, meter: Meter) -> None:
        self.meter = meter
        self._number = number
        self._packets = make_batch()
        self._thread = ThreadPoolExecutor(1, f"flowgauge-shard-{number}")

    def do(self, function: Any, *arguments: Any) -> Future[Any]:
        return self._thread.submit(function, *arguments)

    def feed(self, batch: PacketBatch, rows: int, owner: Any, told: Any, data: NDArray[np.uint8]) -> None:
        """Meter those of the rows that are this shard's."""
        if rows > len(self._packets.packets):
            self._packets = make_batch(rows)
        count = take_shard(batch, rows, owner, told, self._number, self._packets)
        if count:
            self.meter.feed_placed(self._packets, count, data)

    def close(self) -> None:
        self._thread.shutdown()


class ShardedMeter:
    """Builds flows in several threads, as :class:`Meter` does in one: the same records in the same order.

    Packets are shared out by the pair of their innermost addresses. What is fed, batch and bytes, is in use until
    IN_USE more batches were fed, or :meth:`wait` returns.
    """

    def __init__(
        self,
        shards: int,
        config: MeterConfig,
        labels: tuple[str, ...] = (),
        watch: Stopwatch | None = None,
        extras: tuple[str, ...] = (),
        processes: ProcessLabels | None = None,
        truth: Labels | None = None,
    ) -> None:
        self.config = config
        self.watch = watch or Stopwatch()
        each = replace(config, max_flows=-(-config.max_flows // shards))
        meters = [Meter(each, labels, None, extras, processes, truth) for _ in range(shards)]
        self._shards = [_Shard(number, meter) for number, meter in enumerate(meters)]
        self._meters = meters
        self._names = "names" in config.features
        self._fragments = FragmentStage()
        self._trace = np.zeros(1, TRACE).view(np.recarray)
        self._trace[0].epoch = -1
        self._working: deque[list[Future[Any]]] = deque()
        self._waiting = 0
        self._base = 0
        self._numbering = Numbering()

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the batches."""
        return self._meters[0].schema

    @property
    def flows(self) -> int:
        """Flows whose records were given."""
        return sum(meter.flows for meter in self._meters)

    @property
    def open_flows(self) -> int:
        return sum(meter.open_flows for meter in self._meters)

    @property
    def ended(self) -> Counter[str]:
        """Records given, by end reason."""
        return sum((meter.ended for meter in self._meters), Counter())

    @property
    def counters(self) -> dict[str, int]:
        """Oddities of metered packets."""
        total = _sum(meter.counters for meter in self._meters)
        return total | {"orphan_fragments": self._fragments.orphans, "tunnel_fragment": self._fragments.tunnelled}

    @property
    def named(self) -> dict[str, int]:
        """With group `names`: bytes of frames of `all` records, and of those with a server_name, an app_guess."""
        return _sum(meter.named for meter in self._meters)

    @property
    def limited(self) -> bool:
        """Whether a shard's part of `max_flows` was reached."""
        return any(meter.limited for meter in self._meters)

    def snapshot(self) -> Snapshot:
        """As :meth:`Meter.snapshot`."""
        self.wait()
        meters = [meter.snapshot() for meter in self._meters]
        own = {"fragments": self._fragments.snapshot(), "trace": self._trace, "base": self._base}
        return own | {"meters": meters}

    def restore(self, snapshot: Snapshot) -> None:
        """As :meth:`Meter.restore`, by as many shards."""
        for meter, own in zip(self._meters, snapshot["meters"], strict=True):
            meter.restore(own)
        self._fragments.restore(snapshot["fragments"])
        fill(self._trace, snapshot, "trace")
        self._base = snapshot["base"]

    def rows_by_label(self) -> Iterator[tuple[Mapping[str, str], int]]:
        """Labels and number of records."""
        for meter in self._meters:
            yield from meter.rows_by_label()

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
        first, *others = self._meters
        given = first.begin_capture(source, labels, marks, by, number)
        for meter in others:
            meter.begin_capture(source, labels, marks, by, given)
        self._fragments.move(self._base - (given << 40))
        self._base = given << 40
        return given

    def feed(self, batch: PacketBatch, rows: int, data: NDArray[np.uint8] = NO_BYTES) -> list[pa.RecordBatch]:
        """As :meth:`Meter.feed`."""
        self.watch.start()
        hide_bytes(batch, rows, data)
        boundaries = 0
        futures: list[Future[Any]] = []
        for part, count in self._fragments.process(batch, rows):
            found, work = self._share_out(part, count, data)
            boundaries += found
            futures += work
            if part is not batch:  # it is used for the next part
                _finish(work)
        self._working.append(futures)
        while len(self._working) >= IN_USE:
            _finish(self._working.popleft())
        self.watch.lap("shards")
        self._waiting += rows
        return list(self._drain(self._meters[0].batch_rows)) if boundaries and self._waiting >= _MOST_WAITING else []

    def _share_out(self, part: PacketBatch, rows: int, data: NDArray[np.uint8]) -> tuple[int, list[Future[Any]]]:
        """Have the shards meter these rows; how many boundaries there are, and what is to be waited for."""
        owner, told = np.empty(rows, np.int32), np.empty(rows, np.uint8)
        boundaries = choose_shards(part, rows, len(self._shards), self._names, self._trace, owner, told)
        return boundaries, [shard.do(shard.feed, part, rows, owner, told, data) for shard in self._shards]

    def wait(self) -> None:
        """Return when the shards have done all that they were given."""
        while self._working:
            _finish(self._working.popleft())

    def leave(self) -> Iterator[pa.RecordBatch]:
        """What has left since it was last asked for, however little that is."""
        yield from self._drain(1)

    def end_capture(self, reason: str = "eof") -> None:
        """As :meth:`Meter.end_capture`."""
        self.wait()
        for part, count in self._fragments.rest():
            _finish(self._share_out(part, count, NO_BYTES)[1])
        _finish([shard.do(shard.meter.end_placed, reason, self._fragments.clock) for shard in self._shards])
        self._trace[0].epoch = -1

    def flush(self) -> Iterator[pa.RecordBatch]:
        """As :meth:`Meter.flush`."""
        yield from self._drain(1)

    def _drain(self, fewest: int) -> Iterator[pa.RecordBatch]:
        """What has left, in order, as batches; less than `fewest` records stay for the next time."""
        self.wait()
        self._waiting = 0
        lefts = [meter.left() for meter in self._meters]
        counts = [len(left.slots) for left in lefts]
        order = order_of(*(np.concatenate(values) for values in zip(*(left[1:] for left in lefts), strict=True)))
        shard_of = np.repeat(np.arange(len(counts)), counts)[order]
        size, done = self._meters[0].batch_rows, np.zeros(len(counts), np.int64)
        for begin in range(0, len(order), size):
            owners = shard_of[begin : begin + size]
            if len(owners) < fewest:
                break
            takes = np.bincount(owners, minlength=len(counts))
            batch = self._built_batch(lefts, done, takes, owners)
            done += takes
            yield batch
        for meter, left, first in zip(self._meters, lefts, done.tolist(), strict=True):
            meter.keep(left.slots[first:])

    def _built_batch(self, lefts: list[Any], done: Any, takes: Any, owners: Any) -> pa.RecordBatch:
        """The next records of each shard, in the order that `owners` says."""
        self.watch.start()
        slots = [left.slots[first : first + count] for left, first, count in zip(lefts, done, takes, strict=True)]
        building = [
            shard.do(shard.meter.build, part) for shard, part in zip(self._shards, slots, strict=True) if len(part)
        ]
        parts = [future.result() for future in building]
        self.watch.lap("finalize")
        batch = self._numbering(_merged(parts, owners))
        self.watch.lap("merge")
        return batch

    def close(self) -> None:
        """End the threads; nothing is metered any more. Their times are added to the watch."""
        for shard in self._shards:
            shard.close()
        for meter in self._meters:
            self.watch.add(meter.watch.seconds)
            meter.watch.seconds.clear()


def _merged(parts: list[pa.RecordBatch], owners: NDArray[np.int64]) -> pa.RecordBatch:
    """The rows of all parts; `owners` says, row by row, which of them has the next one."""
    if len(parts) == 1:
        return parts[0]
    places = np.empty(len(owners), np.int64)
    places[np.argsort(owners, kind="stable")] = np.arange(len(owners))
    table = pa.Table.from_batches(parts).unify_dictionaries().combine_chunks()
    return table.take(pa.array(places)).combine_chunks().to_batches()[0]


class Numbering:
    """Numbers the records of batches anew, where they have numbers: one batch after the other, from `first` on."""

    def __init__(self, first: int = 0) -> None:
        self._next = first

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        place = batch.schema.get_field_index("record")
        if place < 0:
            return batch
        field = batch.schema.field(place)
        numbers = np.arange(self._next, self._next + len(batch))
        self._next += len(batch)
        return batch.set_column(place, field, pa.array(numbers, field.type))


def _finish(futures: list[Future[Any]]) -> None:
    for future in futures:
        future.result()


def _sum(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
