"""Which packets are of which records: the captures are metered again, and packets marked as they are assigned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.config import MeterConfig
from flowgauge.cutting.records import CAPTURE_BITS, CHECKED, KEY, REST, SOURCE, Records, numbers
from flowgauge.errors import SourceError
from flowgauge.features import Feature
from flowgauge.kernels.packet import OPENS, PacketBatch
from flowgauge.meter import Meter
from flowgauge.run import Hooks, Run
from flowgauge.sources.discover import display_name

_FIRST_BITS = 1 << 12
_OFFSET = (1 << CAPTURE_BITS) - 1

Bits = NDArray[np.uint8]


class Marked(NamedTuple):
    """A capture, and a bit for each of its frames, by number: whether it is of a chosen record."""

    path: str
    bits: Bits


class Chosen:
    """A set of records, by their KEY; `numbers_now` are the numbers of their captures in another run."""

    def __init__(self, rows: pa.Table, numbers_now: dict[int, int]) -> None:
        flow_id, self._part = (numbers(rows, name) for name in KEY)
        captures = flow_id >> CAPTURE_BITS
        known = np.array(sorted(numbers_now), np.int64)
        now = np.array([numbers_now[number] for number in known.tolist()], np.int64)
        places = np.minimum(np.searchsorted(known, captures), len(known) - 1)
        flow_id = now[places] << CAPTURE_BITS | flow_id & _OFFSET
        self._flows, self._flow = np.unique(flow_id, return_inverse=True)
        self._parts = int(self._part.max()) + 1
        words = self._flow * self._parts + self._part
        self._order = np.argsort(words)
        self._words = words[self._order]

    def find(self, flow_id: NDArray[np.int64], part: NDArray[Any]) -> NDArray[np.int64]:
        """The row of each record, -1 of those that are not in the set."""
        flow = np.minimum(np.searchsorted(self._flows, flow_id), len(self._flows) - 1)
        known = (self._flows[flow] == flow_id) & (part < self._parts)
        word = flow * self._parts + np.where(known, part, 0)
        place = np.minimum(np.searchsorted(self._words, word), len(self._words) - 1)
        return np.where(known & (self._words[place] == word), self._order[place], -1)


class _MarkingMeter(Meter):
    """A meter that marks the packets of chosen records; `marks` has a bit for each packet of each capture."""

    def __init__(self, config: MeterConfig, chosen: Chosen) -> None:
        super().__init__(config)
        self.names: dict[int, str] = {}
        self.marks: dict[int, Bits] = {}
        self._chosen = chosen
        self._wanted = np.zeros(0, np.bool_)  # by slot: whether its record is chosen
        self.features = (*self.features, Feature("marks", (), self._mark, _no_columns, ("flows",)))

    def begin_capture(self, source: str, *rest: Any) -> int:
        number = super().begin_capture(source, *rest)
        self.names[number] = source
        return number

    def _mark(self, batch: PacketBatch, begin: int, stop: int, flows: Any) -> None:
        packets, records = batch.packets.view(np.ndarray)[begin:stop], flows.view(np.ndarray)
        slots = packets["slot"]
        if len(self._wanted) < len(records):
            self._wanted = np.append(self._wanted, np.zeros(len(records) - len(self._wanted), np.bool_))
        opened = slots[(slots >= 0) & (packets["begins"] & OPENS != 0)]
        found = records[opened]
        self._wanted[opened] = self._chosen.find(found["flow_id"], found["part"]) >= 0
        rows = np.flatnonzero((slots >= 0) & self._wanted[slots])
        if len(rows):
            captures = (self.table.count("flow_base") + packets["record_offset"][rows]) >> CAPTURE_BITS
            for capture in np.unique(captures).tolist():
                self._set(capture, packets["number"][rows[captures == capture]])

    def _set(self, capture: int, frames: NDArray[np.int64]) -> None:
        bits = self.marks.get(capture, np.zeros(_FIRST_BITS, np.uint8))
        needed = int(frames.max()) // 8 + 1
        if needed > len(bits):
            bits = np.append(bits, np.zeros(max(needed, 2 * len(bits)) - len(bits), np.uint8))
        np.bitwise_or.at(bits, frames >> 3, np.left_shift(1, frames & 7).astype(np.uint8))
        self.marks[capture] = bits


def _no_columns(*arrays: Any) -> dict[str, Any]:
    return {}


def mark(records: Records, captures: dict[int, str]) -> list[Marked]:
    """The captures with packets of the records, in order of their numbers.

    Raises SourceError where the captures do not make the same records any more.
    """
    run = Run(list(captures.values()), Hooks(), features="core", threads=1, **records.options)
    run.warm()
    chosen = Chosen(records.rows, {old: new for new, old in enumerate(captures)})
    meter = run.meter = _MarkingMeter(replace(run.config, features=("core",)), chosen)  # captures may ask for more
    seen = np.zeros(len(records.rows), np.bool_)
    for batch in run.batches():
        found = chosen.find(batch["flow_id"].to_numpy(), batch["part"].to_numpy())
        again = np.flatnonzero(found >= 0)
        if len(again):
            _check(records, found[again], batch.take(pa.array(again)))
            seen[found[again]] = True
    if not seen.all():
        raise _lost(records, int(np.argmin(seen)), run)
    paths = {display_name(path): path for path in captures.values()}
    return [Marked(paths[meter.names[capture]], bits) for capture, bits in sorted(meter.marks.items())]


def _check(records: Records, rows: NDArray[np.int64], again: pa.RecordBatch) -> None:
    """Compare records with what they are now."""
    expected = records.rows.take(pa.array(rows))
    for name in CHECKED:
        before = expected[name].combine_chunks()
        if name == "packets" and REST in records.rows.column_names:
            before = pc.add(before, expected[REST].combine_chunks())
        same = pc.fill_null(pc.equal(before, again[name].cast(before.type)), False)
        row = pc.index(same, pa.scalar(False)).as_py()
        if row >= 0:
            was = f"{name} was {before[row].as_py()} in the row of flow {expected['flow_id'][row]}"
            raise _changed(records, expected[SOURCE][row].as_py(), f"{was} and is {again[name][row]}")


def _lost(records: Records, row: int, run: Run) -> SourceError:
    """The error for a record that is not made any more: that of a file that cannot be read explains it."""
    for message in run.stats.failed.values():
        return SourceError(message)
    flow_id, frame, source = (records.rows[name][row].as_py() for name in ("flow_id", "first_packet", SOURCE))
    return _changed(records, source, f"no record of the flow {flow_id} begins there now (frame {frame})")


def _changed(records: Records, source: str, what: str) -> SourceError:
    return SourceError(
        f"{source} is not the capture that {records.name} was made of, or the rows are of several runs: {what}"
    )
