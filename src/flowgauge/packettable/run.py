"""The loop source → decoder → packet table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from flowgauge.captureinfo import undecodable
from flowgauge.config import make_config
from flowgauge.decode import Decoder
from flowgauge.duplicates import Removal
from flowgauge.errors import ConfigError, FlowgaugeError, NotACapture, SourceError
from flowgauge.kernels.packet import BATCH_ROWS, FILTERED, REASONS, make_batch
from flowgauge.labels import make_labeller
from flowgauge.labels.inside import label_of
from flowgauge.packettable.build import PacketBuilder
from flowgauge.packettable.columns import VERSION, packet_columns, packet_schema
from flowgauge.run import Hooks, Progress, stored_size
from flowgauge.sources.capture import Capture, glance, open_capture
from flowgauge.sources.clock import Clock
from flowgauge.sources.discover import CaptureInput, find_captures
from flowgauge.sources.filters import Filter
from flowgauge.sources.streams import Source
from flowgauge.stats import RunStats

Labels = dict[str, str] | None

_OPTIONS = ("filter", "dedup", "tunnels")  # those of MeterConfig
_PROGRESS_SECONDS = 0.1
_UNKNOWN_LINK = list(REASONS).index("unknown_link")


class PacketRun:
    """One pass over the inputs; `stats` is complete when :meth:`batches` is exhausted.

    `rows` is how many packets are decoded at a time, which changes no result.
    """

    def __init__(
        self,
        inputs: Source | Iterable[Source],
        hooks: Hooks,
        *,
        columns: Iterable[str] | str | None = None,
        label: str | None = None,
        label_split: str | None = None,
        label_strict: bool = False,
        strict: bool = False,
        rows: int = BATCH_ROWS,
        **options: Any,
    ) -> None:
        for name in options.keys() - set(_OPTIONS):
            raise ConfigError(f"packets take no option {name!r}; they take {', '.join(_OPTIONS)}, columns and label")
        self.config = make_config(**options)
        self.strict = strict
        self.stats = RunStats()
        self._hooks = hooks
        self._labeller = make_labeller(label, label_split)
        self._found = find_captures(inputs)
        self.stats.skipped += self._found.skipped
        self.stats.failed.update(self._found.failed)
        self._labels = [self._label(capture) for capture in self._found.captures]
        self._check_labels(label_strict)
        fields = tuple(dict.fromkeys(name for label in self._labels for name in label or ()))
        if self._labeller is not None:
            fields = self._labeller.fields
        listed = packet_columns(fields, columns)
        self.schema = packet_schema(listed).with_metadata(self._metadata())
        self._builder = PacketBuilder(listed, self.schema, fields)
        self._decoder = Decoder(self.config.tunnels)
        self._duplicates = None if self.config.dedup is None else Removal(self.config.dedup)
        self._filter = None if self.config.filter is None else Filter(self.config.filter)
        self._batch = make_batch(rows)
        self._clock = Clock()
        self._bytes_before = 0
        self._last_progress = time.monotonic()

    def _metadata(self) -> dict[str, str]:
        """What made the table: versions, and the options that change it."""
        from flowgauge import __version__

        options = {name: getattr(self.config, name) for name in _OPTIONS}
        return {
            "flowgauge_version": __version__,
            "flowgauge_packet_columns_version": str(VERSION),
            "flowgauge_options": json.dumps(options, sort_keys=True),
        }

    def _label(self, capture: CaptureInput) -> Labels:
        """The label of its name where there is a template, else the one inside; none of what cannot be read, which is
        reported when it is its turn."""
        if self._labeller is not None:
            return self._labeller.match(capture.name)
        try:
            return label_of(glance(capture.source).inside)
        except SourceError:
            return None

    def _check_labels(self, strict: bool) -> None:
        names = [c.name for c, label in zip(self._found.captures, self._labels, strict=True) if label is None]
        if names and strict:
            where = "there is no label inside" if self._labeller is None else "the label template does not match"
            raise ConfigError(f"{where} {', '.join(names[:5])}{' …' if len(names) > 5 else ''}")
        if self._labeller is not None:
            self.stats.unlabelled += names

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in batches that are full but for the last one."""
        begin = time.perf_counter()
        for source, labels in zip(self._found.captures, self._labels, strict=True):
            yield from self._one(source, labels)
            if self.stats.interrupted:
                break
        yield from self._builder.flush()
        self._finish(time.perf_counter() - begin)

    def _one(self, source: CaptureInput, labels: Labels) -> Iterator[pa.RecordBatch]:
        """The packets of one capture; one that cannot be read is noted."""
        try:
            capture = open_capture(source.source, self._clock, filter=self._filter)
        except SourceError as error:
            if source.explicit or not isinstance(error, NotACapture):
                self.stats.failed[source.name] = str(error)
            else:
                self.stats.skipped.append(source.name)
            return
        with capture:
            self._builder.begin_capture(source.name, labels)
            if self._duplicates is not None:
                self._duplicates.begin(self.stats.files)
            before, unknown = self.stats.rows, int(self._decoder.reasons[_UNKNOWN_LINK])
            yield from self._loop(capture, source.name)
            unknown = int(self._decoder.reasons[_UNKNOWN_LINK]) - unknown
            if source.explicit and unknown and unknown == self.stats.rows - before:
                links = [interface.link for interface in capture.interfaces]
                self.stats.failed[source.name] = str(undecodable(source.name, links))
        self._close(capture, source.name, labels, self.stats.rows - before)

    def _loop(self, capture: Capture, name: str) -> Iterator[pa.RecordBatch]:
        while (rows := self._decoded(capture)) or not capture.over:
            self.stats.rows += rows
            yield from self._builder.feed(self._batch, rows)
            self._tell(capture, name)
            if self._hooks.should_stop():
                self.stats.interrupted = True
                capture.finish()

    def _decoded(self, capture: Capture) -> int:
        """Fill the batch and decode it; the rows in it."""
        done = self._decoder.fill(capture, self._batch)
        if self._duplicates is not None:
            self._duplicates.look(capture.buffer, self._batch, done, self._decoder)
        return done

    def _close(self, capture: Capture, name: str, labels: Labels, rows: int) -> None:
        stats = self.stats
        stats.files += 1
        stats.input_bytes += capture.position
        self._bytes_before += capture.size or capture.position
        for counter, value in capture.counters.items():
            stats.counters[counter] = stats.counters.get(counter, 0) + value
        if capture.damage:
            stats.damaged[name] = capture.damage
        if capture.refused:
            stats.failed[name] = f"{name}: {capture.refused}; the packets before were written"
        said = "/".join(labels.get(field, "") for field in ("app", "action") if field in labels) if labels else ""
        if said and rows:
            stats.labels[said] = stats.labels.get(said, 0) + rows
        self._clock.restart()

    def _tell(self, capture: Capture, name: str) -> None:
        now = time.monotonic()
        if self._hooks.progress is None or now - self._last_progress < _PROGRESS_SECONDS:
            return
        self._last_progress = now
        sizes = [stored_size(capture) for capture in self._found.captures]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._hooks.progress(Progress(self._bytes_before + capture.position, total, self.stats.rows, 0, name))

    def _finish(self, seconds: float) -> None:
        """Complete the stats, and check that no packet was lost."""
        stats, decoder = self.stats, self._decoder
        stats.seconds = seconds
        stats.packets = stats.rows
        if self._filter is not None:
            stats.packets += self._filter.packets
            decoder.leave_out(FILTERED, self._filter.packets, self._filter.wire_bytes)
        stats.reasons, stats.packet_bytes = decoder.counts(), decoder.wire_bytes
        if sum(stats.reasons.values()) != stats.packets:
            raise FlowgaugeError(f"{stats.packets} packets read, {sum(stats.reasons.values())} accounted for: a defect")
        stats.counters["ip_length_lies"] = decoder.length_lies
        if self._duplicates is not None:
            stats.counters |= self._duplicates.counters
