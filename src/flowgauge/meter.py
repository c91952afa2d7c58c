"""Meter: packets in, records of ended flows out. No input or output of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.config import MeterConfig
from flowgauge.features import make_features, with_states
from flowgauge.fragments import FragmentStage
from flowgauge.kernels import lifetime
from flowgauge.kernels import state as st
from flowgauge.kernels.assign import assign
from flowgauge.kernels.keys import clear_icmp_ports, make_keys
from flowgauge.kernels.packet import NO_IP_HEADER, PacketBatch
from flowgauge.labels.background import Marks
from flowgauge.labels.process import NAME, ProcessLabels
from flowgauge.records import Labels, RecordBuilder
from flowgauge.snapshot import Snapshot
from flowgauge.stopwatch import Stopwatch
from flowgauge.table import FlowTable, Left

NO_BYTES: NDArray[np.uint8] = np.zeros(0, np.uint8)

BATCH_ROWS = 32_768
"""Records in each batch but the last, however many have ended at once; less where their states are large."""

_BATCH_BYTES, _FEWEST_ROWS = 1 << 25, 8192


class Meter:
    """Builds flows from decoded packets (docs/flow-semantics.md).

    Call :meth:`begin_capture` before the packets of each file, :meth:`feed` with every batch,
    :meth:`end_capture` where a trace ends, and :meth:`flush` at the end. `processes` are the labels whose
    numbers packets have, `watch` holds the time spent in each stage, `ended` the records written by end
    reason, `flows` the flows among them, `batch_rows` are the records in each batch but the last.
    """

    def __init__(
        self,
        config: MeterConfig | None = None,
        labels: tuple[str, ...] = (),
        watch: Stopwatch | None = None,
        extras: tuple[str, ...] = (),
        processes: ProcessLabels | None = None,
        truth: Labels | None = None,
    ) -> None:
        self.config = config or MeterConfig()
        self.features = make_features(self.config)
        self.table = FlowTable(self.config, [layout for feature in self.features for layout in feature.states])
        self.records = RecordBuilder(self.config, self.features, labels, extras, processes, truth)
        fitting = 1 << (_BATCH_BYTES // self.table.record_bytes).bit_length() - 1  # of which pages are whole parts
        self.batch_rows = min(BATCH_ROWS, max(_FEWEST_ROWS, fitting))
        self.watch = watch or Stopwatch()
        self.ended: Counter[str] = Counter()
        self.flows = 0
        self._fragments = FragmentStage()
        self._drained_epoch = 0
        self._left = np.zeros(0, np.int32)  # slots, in output order, of records that left and are in no batch yet

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the batches."""
        return self.records.schema

    @property
    def open_flows(self) -> int:
        return self.table.count("keys")

    @property
    def counters(self) -> dict[str, int]:
        """Oddities of metered packets."""
        own = {
            "orphan_fragments": self._fragments.orphans,
            "tunnel_fragment": self._fragments.tunnelled,
            "rst_ignored": int(self.table.state.rst_ignored),
        }
        return {name: count for feature in self.features for name, count in feature.counters().items()} | own

    @property
    def named(self) -> dict[str, int]:
        """With group `names`: bytes of frames of `all` records, and of those with a server_name, an app_guess."""
        return {name: count for feature in self.features for name, count in feature.named().items()}

    @property
    def limited(self) -> bool:
        """Whether `max_flows` was reached."""
        return bool(self.table.state.limited)

    def begin_capture(
        self,
        source: str,
        labels: Mapping[str, str] | None = None,
        marks: Marks | None = None,
        by: str = NAME,
        number: int | None = None,
    ) -> int:
        """The packets that follow are of the file `source`, which has these labels, said `by` INSIDE or NAME, and these
        marks of its background; its number, by default the next one."""
        number = self.records.add_capture(source, labels, marks, by, number)
        self._fragments.move(int(self.table.state.flow_base) - (number << 40))
        self.table.state.flow_base = number << 40
        return number

    def feed(self, batch: PacketBatch, rows: int, data: NDArray[np.uint8] = NO_BYTES) -> list[pa.RecordBatch]:
        """Meter the first `rows` rows, whose bytes are in `data`; returns the records that left, in output order and
        whole batches.

        Without `data` no bytes of packets are seen.
        """
        self.watch.start()
        hide_bytes(batch, rows, data)
        for part, count in self._fragments.process(batch, rows):
            self.watch.lap("fragments")
            self._meter(part, count, data)
        self.watch.lap("fragments")
        if len(self._left) + self.table.count("ended") < self.batch_rows:
            return []
        if self.table.count("epoch") == self._drained_epoch:
            return []
        return list(self._drain(self.batch_rows))

    def feed_placed(self, batch: PacketBatch, rows: int, data: NDArray[np.uint8]) -> None:
        """Meter rows whose fragments are in their places; what has left is to be asked for by :meth:`left`."""
        self.watch.start()
        self._meter(batch, rows, data)

    def left(self) -> Left:
        """The records that have left and were not kept or built, in output order."""
        kept, self._left = self._left, self._left[:0]
        left = self.table.ended()
        return self.table.in_order(np.concatenate((kept, left.slots))) if len(kept) else left

    def keep(self, slots: NDArray[np.int32]) -> None:
        """Records that have left, for the next time."""
        self._left = slots

    def snapshot(self) -> Snapshot:
        """All that is remembered of a trace, when what has left was given (:meth:`flush`): flows, what features know
        beside, fragments, captures."""
        assert not len(self._left)
        features = {feature.name: feature.snapshot() for feature in self.features}
        table, fragments, records = self.table.snapshot(), self._fragments.snapshot(), self.records.snapshot()
        return {"table": table, "features": features, "fragments": fragments, "records": records}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on behind a snapshot of a meter of the same configuration; nothing was fed to this one."""
        self.table.restore(snapshot["table"])
        for feature in self.features:
            feature.restore(snapshot["features"][feature.name])
        self._fragments.restore(snapshot["fragments"])
        self.records.restore(snapshot["records"])
        self._drained_epoch = self.table.count("epoch")

    def rows_by_label(self) -> Iterator[tuple[Mapping[str, str], int]]:
        """Labels and number of records: of each capture, and of each app in it where packets say which."""
        return self.records.rows_by_label()

    def close(self) -> None:
        """Nothing is metered any more."""

    def leave(self) -> Iterator[pa.RecordBatch]:
        """What has left since it was last asked for, however little that is."""
        if self.table.count("epoch") != self._drained_epoch or len(self._left):
            yield from self._drain(1)

    def end_capture(self, reason: str = "eof") -> None:
        """End every flow: the packets that follow belong to another trace."""
        self.watch.start()
        for part, count in self._fragments.rest():
            self.watch.lap("fragments")
            self._meter(part, count, NO_BYTES)
        self.end_placed(reason, self._fragments.clock)

    def end_placed(self, reason: str, clock: int) -> None:
        """The same where no fragments wait: the trace's clock is `clock`."""
        self.table.state.clock = clock
        lifetime.end_all(self.table.arrays, st.END_REASONS.index(reason))
        self.table.state.source_epoch = -1
        for feature in self.features:
            feature.restart()
        self.watch.lap("assign")

    def flush(self) -> Iterator[pa.RecordBatch]:
        """All records that have ended and are in no batch yet."""
        yield from self._drain(1)

    def _meter(self, p: PacketBatch, rows: int, data: NDArray[np.uint8]) -> None:
        if self.config.icmp_by_hosts:
            clear_icmp_ports(p, rows)
        if self.config.clock_times:
            p.packets.time[:rows] = p.packets.clock[:rows]
        make_keys(p, rows, self.table.arrays.config)
        self.watch.lap("keys")
        counted = done = 0
        while done < rows:
            done = assign(p, done, rows, self.table.arrays)
            status = self.table.count("status")
            if status == st.REBUILD:
                self.table.rank_by_use()
            elif status == st.FULL:
                self._update(p, counted, done, data)
                counted = done
                self.table.make_room()
        self.table.keep_stacks(p, rows)
        self._update(p, counted, rows, data)

    def _update(self, p: PacketBatch, begin: int, stop: int, data: NDArray[np.uint8]) -> None:
        self.watch.lap("assign")
        shared = {"flows": self.table.flows, "data": data}
        for feature, own in with_states(self.features, self.table.states):
            feature.update(p, begin, stop, *own, *map(shared.get, feature.takes))
            self.watch.lap(feature.name)

    def _drain(self, fewest: int) -> Iterator[pa.RecordBatch]:
        """Batches of `batch_rows` records, and one of the rest where those are at least `fewest`."""
        self._drained_epoch = self.table.count("epoch")
        self.watch.start()
        self._left = np.concatenate((self._left, self.table.ended().slots))
        while len(self._left) >= fewest:
            slots, self._left = self._left[: self.batch_rows], self._left[self.batch_rows :]
            yield self.build(slots)
            self.watch.start()

    def build(self, slots: NDArray[np.int32]) -> pa.RecordBatch:
        """One batch of the records in these slots, which have left."""
        self.watch.start()
        flows, states, stacks = self.table.take(slots, self.records.memory)
        batch = self.records.build(flows, states, stacks)
        counts = np.bincount(flows["end_reason"], minlength=len(st.END_REASONS))
        self.flows += int((flows["part"] == 0).sum())
        self.ended.update({name: int(n) for name, n in zip(st.END_REASONS, counts, strict=True) if n})
        self.watch.lap("finalize")
        return batch


def hide_bytes(batch: PacketBatch, rows: int, data: NDArray[np.uint8]) -> None:
    """Nothing is read of the payload of rows without `data`."""
    if not len(data):
        batch.packets.payload_caplen[:rows] = 0
        batch.packets.ip_header[:rows] = NO_IP_HEADER
