"""The loop source → meter → sink, and the functions that users call."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from flowgauge.captureinfo import link_name
from flowgauge.config import DEFAULT_FEATURES, MeterConfig, make_config
from flowgauge.decode import Decoder
from flowgauge.duplicates import Estimate, Removal
from flowgauge.errors import (
    ConfigError,
    FlowgaugeError,
    NotACapture,
    SourceError,
    TruncatedCapture,
    UnsupportedLinkType,
)
from flowgauge.kernels import _jit
from flowgauge.kernels.link import LINK_NAMES
from flowgauge.kernels.packet import BATCH_ROWS, FILTERED, REASONS, make_batch
from flowgauge.labels import make_labeller
from flowgauge.labels.inside import fields_of, label_of, marks_of
from flowgauge.labels.process import INSIDE, ProcessLabels
from flowgauge.labels.rules import read_rules
from flowgauge.labels.truth import FIND_OFFSET, make_truth, no_truth
from flowgauge.meter import Meter
from flowgauge.schema import VERSION as COLUMNS_VERSION
from flowgauge.schema import arrow_schema
from flowgauge.schemas import Schema, get_schema
from flowgauge.sinks import Terms, open_sink
from flowgauge.sources.capture import NOTHING_SEEN, Capture, Glance, first_time, glance, open_capture
from flowgauge.sources.clock import Clock
from flowgauge.sources.discover import CaptureInput, Found, find_captures
from flowgauge.sources.filters import Filter
from flowgauge.sources.live import LiveSource
from flowgauge.sources.reorder import Reorder
from flowgauge.sources.rules import RuleLabels
from flowgauge.stats import STATS, RunStats
from flowgauge.stopwatch import Stopwatch

if TYPE_CHECKING:
    from flowgauge.labels.truth.truth import Truth
    from flowgauge.sources.streams import Source as Input

PROCESS = "process"
_PROGRESS_SECONDS = 0.1
_UNKNOWN_LINK = list(REASONS).index("unknown_link")
_NEW_CACHE = "compiling kernels, once on this machine (30 to 60 s) …"


class Progress(NamedTuple):
    """Where a run is: stored bytes read and in all (None: not known), packets, open and ended flows, file."""

    bytes_done: int
    bytes_total: int | None
    packets: int
    flows: int
    file: str


class Hooks(NamedTuple):
    """What a run tells its caller, and how the caller stops it; `turn` is called at every turn of its loop."""

    progress: Callable[[Progress], None] | None = None
    notify: Callable[[str], None] | None = None
    should_stop: Callable[[], bool] = lambda: False
    turn: Callable[[], None] | None = None


class Run:
    """One pass over the inputs; `stats` is complete when :meth:`batches` is exhausted."""

    def __init__(
        self,
        inputs: Input | Iterable[Input],
        hooks: Hooks,
        *,
        schema: str = "native",
        features: Iterable[str] | str | None = None,
        label: str | None = None,
        label_split: str | None = None,
        label_strict: bool = False,
        rules: str | os.PathLike[str] | None = None,
        truth: Any = None,
        truth_offset: float | str | None = None,
        join: bool = False,
        strict: bool = False,
        rows: int = BATCH_ROWS,
        **options: Any,
    ) -> None:
        self.schema: Schema = get_schema(schema)
        self.config = make_config(features=_groups(self.schema, features), **options)
        self.labeller = make_labeller(label, label_split)
        self.truth = make_truth(truth, truth_offset)
        self._finds_offset = truth_offset == FIND_OFFSET
        self.strict = strict
        self.stats = RunStats()
        self._hooks = hooks
        self._join = join
        self._found = find_captures(inputs)
        if self._finds_offset:
            _check_twice(self._found)
        self.stats.skipped += self._found.skipped
        self.stats.failed.update(self._found.failed)
        glances = [_glance(capture) for capture in self._found.captures]
        self._labels = self._read_labels(glances, label_strict)
        if rules is not None or any(seen.has_processes for seen in glances):
            self.config = make_config(features=[*self.config.features, PROCESS], **options)
        self.processes = ProcessLabels() if PROCESS in self.config.features else None
        self.rules = _compiled(rules, self.processes)
        self.watch = Stopwatch()
        self.meter = Meter(self.config, self.label_fields, self.watch, self.schema.extras, self.processes, self.truth)
        self.decoder = Decoder(self.config.tunnels)
        self.duplicates = Estimate() if self.config.dedup is None else Removal(self.config.dedup)
        self.filter = None if self.config.filter is None else Filter(self.config.filter)
        self._left_out = (0, 0)  # packets and bytes that the filter has left out and that are counted
        self._batch = make_batch(rows)
        self._clock = Clock()
        window = self.config.reorder
        self.reorder = None if window is None else Reorder(window, self._clock, spans=join)
        self._bytes_before = 0
        self._last_progress = time.monotonic()

    @property
    def label_fields(self) -> tuple[str, ...]:
        """Those of the template, or else all that captures have inside which can be looked at before they are read; and
        those of the truth table."""
        return tuple(dict.fromkeys((*self._fields, *(self.truth.fields if self.truth is not None else ()))))

    def output_schema(self) -> pa.Schema:
        """Arrow schema of the output, with what made it: versions, the options that change results,
        and the files of one trace."""
        from flowgauge import __version__

        options = self.config.results() | {"schema": self.schema.name, "join": self._join}
        metadata = {
            "flowgauge_version": __version__,
            "flowgauge_columns_version": str(COLUMNS_VERSION),
            "flowgauge_options": json.dumps(options, sort_keys=True),
        }
        if self._join and self.config.anonymize is None:  # flows may begin in any of them
            metadata["flowgauge_sources"] = json.dumps([capture.name for capture in self._found.captures])
        return arrow_schema(self.schema.listed(self.label_fields, self.config)).with_metadata(metadata)

    def warm(self, notify: Callable[[str], None] | None = None) -> float:
        """Compile ahead what was never compiled on this machine, and say so; the seconds it took."""
        groups = [group for group in self.config.features if isinstance(group, str)]
        if _jit.is_warm(groups):
            return 0.0
        if notify is not None:
            notify(_NEW_CACHE)
        begin = time.perf_counter()
        warmup(groups)
        return time.perf_counter() - begin

    def _read_labels(self, glances: list[Glance], strict: bool) -> list[dict[str, str] | None]:
        """The label of each capture: of the template where there is one, else the one that is inside."""
        labeller, found = self.labeller, self._found
        if labeller is None:
            insides = [seen.inside for seen in glances]
            self._fields = tuple(dict.fromkeys(name for inside in insides for name in fields_of(inside)))
            labels = [label_of(inside) for inside in insides]
        else:
            self._fields = labeller.fields
            labels = [labeller.match(capture.name) for capture in found.captures]
        names = [c.name for c, label in zip(found.captures, labels, strict=True) if label is None]
        if names and strict:
            where = "there is no label inside" if labeller is None else "the label template does not match"
            raise ConfigError(f"{where} {_some(names)}")
        if labeller is not None:
            self.stats.unlabelled += names
        return labels

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Native record batches as flows end."""
        begin = time.perf_counter()
        if self._finds_offset and self.truth is not None:
            self._find_offset(self.truth)
        for capture, labels in self._ordered():
            yield from self._one(capture, labels)
            if self.stats.interrupted:
                break
        if self._join and not self.stats.interrupted:
            yield from self._rest()
            self.meter.end_capture()
        yield from self.meter.flush()
        self._finish(time.perf_counter() - begin)

    def _find_offset(self, truth: Truth) -> None:
        """Read all captures once for their flows, and set the clock of the truth table by them."""
        sources = [capture.source for capture in self._found.captures]
        sample = truth.sample()
        hooks = Hooks(should_stop=self._hooks.should_stop)
        own = {name: value for name, value in vars(self.config).items() if value != getattr(MeterConfig, name)}
        options: dict[str, Any] = {name: "off" if value is None else value for name, value in own.items()}
        options |= {"features": "core", "anonymize": None}
        before = Run(sources, hooks, join=self._join, **options)
        before.meter = Meter(before.config, (), before.watch, truth=sample)
        for _ in before.batches():
            pass
        if not before.stats.interrupted:
            truth.set_offset(*sample.search())

    def _ordered(self) -> list[tuple[CaptureInput, dict[str, str] | None]]:
        """The captures in reading order: that of the inputs, or of their first packets with `join`."""
        pairs = list(zip(self._found.captures, self._labels, strict=True))
        if self._join:
            last = 2**63
            times = {id(capture): _first_time(capture, last) for capture, _ in pairs}
            pairs.sort(key=lambda pair: times[id(pair[0])])
        return pairs

    def _one(self, source: CaptureInput, labels: dict[str, str] | None) -> Iterator[pa.RecordBatch]:
        """Meter one capture; one that cannot be read is noted."""
        try:
            capture = self._open(source.source)
        except SourceError as error:
            if source.explicit or not isinstance(error, NotACapture):
                self.stats.failed[source.name] = str(error)
            else:
                self.stats.skipped.append(source.name)
            return
        with capture:
            number = self._begin(capture, source.name, labels)
            if self.reorder is not None and isinstance(capture, Capture):
                self.reorder.begin(capture, number)
            yield from self._loop(capture, source)
            if self.stats.interrupted:
                yield from self._rest()
        self._close(capture, source.name)

    def _begin(self, capture: Capture | LiveSource, name: str, labels: dict[str, str] | None) -> int:
        """Begin to meter a capture; its number."""
        if self.labeller is not None:
            return self.meter.begin_capture(name, labels)
        return self.meter.begin_capture(name, label_of(capture.inside), marks_of(capture.inside), INSIDE)

    def _open(self, source: Any) -> Capture | LiveSource:
        if isinstance(source, LiveSource):
            source.begin(self._clock, self.filter)
            return source
        timed, labels, rules = self.reorder is None, self.processes, self.rules
        return open_capture(source, self._clock, timed=timed, filter=self.filter, labels=labels, rules=rules)

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
            self._tell(capture, source.name)
            if self._hooks.should_stop():
                stats.interrupted = True
                capture.finish()
        self._count_left_out()
        undecoded = int(self.decoder.reasons[_UNKNOWN_LINK]) - unknown
        undecodable = stats.packets > read and undecoded == stats.packets - read
        if self.reorder is not None:  # packets of other captures may be among those metered
            undecodable = bool(self.reorder.links) and self.reorder.links.isdisjoint(LINK_NAMES)
        if source.explicit and undecodable:
            stats.failed[source.name] = str(_unsupported(capture, source.name))

    def _leave(self, capture: LiveSource, rows: int) -> Iterator[pa.RecordBatch]:
        """What has left the meter, at once; where nothing comes, the time that it is tells it so."""
        if not rows and capture.beat(self._batch):
            yield from self.meter.feed(self._batch, 1, capture.buffer)
        yield from self.meter.leave()
        if self._hooks.turn is not None:
            self._hooks.turn()

    def _feed(self, rows: int, frames: Capture | LiveSource | Reorder) -> list[pa.RecordBatch]:
        self.stats.packets += rows
        return self.meter.feed(self._batch, rows, frames.buffer)

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
        """Fill the batch and decode it, step by step; the rows in it."""
        done = 0
        self.watch.start()
        for rows in frames.steps(self._batch):
            self.watch.lap("frames")
            self.decoder.decode(frames.buffer, self._batch, done, rows)
            self.watch.lap("decode")
            done = rows
        self.watch.lap("frames")
        self.duplicates.look(frames.buffer, self._batch, done, self.decoder)
        self.watch.lap("duplicates")
        return done

    def _close(self, capture: Capture | LiveSource, name: str) -> None:
        stats = self.stats
        stats.files += 1
        stats.input_bytes += capture.position
        self._bytes_before += capture.size or capture.position
        self.watch.seconds["read"] += capture.seconds
        self.watch.seconds["frames"] -= capture.seconds
        for counter, value in capture.counters.items():
            stats.counters[counter] = stats.counters.get(counter, 0) + value
        if capture.damage:
            stats.damaged[name] = capture.damage
        if capture.refused:
            stats.failed[name] = f"{name}: {capture.refused}; the packets before were metered"
        if stats.interrupted:
            self.meter.end_capture("stop")
        elif not self._join:
            self.meter.end_capture()
            self._clock.restart()
            self.duplicates.restart()

    def _tell(self, capture: Capture | LiveSource, name: str) -> None:
        now = time.monotonic()
        if self._hooks.progress is None or now - self._last_progress < _PROGRESS_SECONDS:
            return
        self._last_progress = now
        sizes = [_stored_size(c) for c in self._found.captures]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        flows = self.meter.flows + self.meter.open_flows
        done = self._bytes_before + capture.position
        self._hooks.progress(Progress(done, total, self.stats.packets, flows, name))

    def _finish(self, seconds: float) -> None:
        """Complete the stats, and check that no packet was lost."""
        stats, meter = self.stats, self.meter
        stats.seconds = seconds
        stats.reasons = self.decoder.counts()
        stats.packet_bytes = self.decoder.wire_bytes
        if self.filter is not None:
            self.watch.seconds["filter"] += self.filter.seconds
            self.watch.seconds["frames"] -= self.filter.seconds
        if sum(stats.reasons.values()) != stats.packets:
            raise FlowgaugeError(f"{stats.packets} packets read, {sum(stats.reasons.values())} accounted for: a defect")
        if self.processes is not None and self.processes.left_out:
            stats.counters["labels_unread"] = stats.counters.get("labels_unread", 0) + self.processes.left_out
        stats.counters |= {"ip_length_lies": self.decoder.length_lies, **meter.counters, **self.duplicates.counters}
        if self.reorder is not None:
            stats.counters |= self.reorder.counters
        stats.duplicates_suspected = self.duplicates.share
        stats.flows, stats.rows = meter.flows, sum(meter.ended.values())
        stats.ended, stats.named = dict(meter.ended), meter.named
        stats.limited = meter.limited
        if self.truth is not None:
            stats.truth, stats.labels = self.truth.stats(), self.truth.labels
            return
        for labels, rows in meter.records.rows_by_label():
            name = "/".join(labels.get(field, "") for field in ("app", "action") if field in labels)
            if rows and name:
                stats.labels[name] = stats.labels.get(name, 0) + rows


def _some(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _groups(schema: Schema, features: Iterable[str] | str | None) -> Any:
    """The groups to compute: those chosen, and those that the schema is made of."""
    if features is None:
        return schema.features or DEFAULT_FEATURES
    chosen = features.split(",") if isinstance(features, str) else list(features)
    return [*chosen, *schema.features]


def _glance(capture: CaptureInput) -> Glance:
    """What its begin tells; nothing also of one that cannot be read, which is reported when it is its turn."""
    source = capture.source
    try:
        return Glance(dict(source.inside), False) if isinstance(source, LiveSource) else glance(source)
    except SourceError:
        return NOTHING_SEEN


def _compiled(rules: str | os.PathLike[str] | None, labels: ProcessLabels | None) -> RuleLabels | None:
    return None if rules is None or labels is None else RuleLabels(read_rules(rules), labels)


def _first_time(capture: CaptureInput, otherwise: int) -> int:
    try:
        time_ns = first_time(capture.source)
    except SourceError:
        return otherwise
    return otherwise if time_ns is None else time_ns


def _check_twice(found: Found) -> None:
    """Raise ConfigError where a capture can be read only once."""
    import os

    once = [
        c.name for c in found.captures if not (isinstance(c.source, (str, os.PathLike)) and os.path.isfile(c.source))
    ]
    if once:
        raise ConfigError(
            f"truth_offset {FIND_OFFSET} reads captures twice, and {_some(once)} can be read only once: "
            "name files, or give the offset in seconds"
        )


def _stored_size(capture: CaptureInput) -> int | None:
    try:
        return os.path.getsize(capture.source)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None


def _unsupported(capture: Capture | LiveSource, name: str) -> UnsupportedLinkType:
    links = ", ".join(link_name(link) for link in sorted({interface.link for interface in capture.interfaces}))
    return UnsupportedLinkType(f"{name}: {links} is not decoded; its packets are counted as unknown_link")


def stream(inputs: Input | Iterable[Input], **options: Any) -> Iterator[pa.RecordBatch]:
    """Record batches as flows end, in bounded memory.

    `inputs` is a path, "-" (standard input), a binary file object, or a list of those; folders are
    read recursively. `options` are those of `flowgauge extract`, by the same words. Raises
    SourceError for an input that cannot be read and, with `strict`, TruncatedCapture for one that is cut
    off; without, that is a warning.
    """
    run = Run(inputs, Hooks(), **options)
    run.warm()
    return _checked(run, (run.schema.convert(batch) for batch in run.batches()))


def _checked(run: Run, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches
    for message in run.stats.failed.values():
        raise SourceError(message)
    for name, damage in run.stats.damaged.items():
        if run.strict:
            raise TruncatedCapture(f"{name}: {damage}")
        warnings.warn(f"{name}: {damage}; the packets before were metered", stacklevel=3)
    if run.stats.unlabelled:
        warnings.warn(f"no label in the name of {_some(run.stats.unlabelled)}", stacklevel=3)
    if run.stats.truth and not run.stats.truth["records_matched"] and run.stats.rows:
        warnings.warn(no_truth(run.stats.truth), stacklevel=3)
    if run.stats.duplicates_suspected:
        share = f"{run.stats.duplicates_suspected:.0%}"
        warnings.warn(f"about {share} of the packets are copies of others; dedup='1ms' leaves them out", stacklevel=3)


def read(inputs: Input | Iterable[Input], **options: Any) -> pa.Table:
    """All flow records of the inputs as one table; see :func:`stream`."""
    run = Run(inputs, Hooks(), **options)
    run.warm()
    batches = list(_checked(run, (run.schema.convert(batch) for batch in run.batches())))
    return _table(batches, run)


def collect(
    inputs: Input | Iterable[Input],
    *,
    progress: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> tuple[pa.Table, RunStats]:
    """All flow records of the inputs as one table, and what was counted; inputs that cannot be read are named there.

    The hooks are those of :func:`extract`.
    """
    run = Run(inputs, Hooks(progress, notify, should_stop), **options)
    run.warm(notify)
    table = _table([run.schema.convert(batch) for batch in run.batches()], run)
    return table, run.stats


def _table(batches: list[pa.RecordBatch], run: Run) -> pa.Table:
    schema = run.output_schema()
    return pa.Table.from_batches(batches, schema).unify_dictionaries().replace_schema_metadata(schema.metadata)


def write(
    table: pa.Table | Iterable[pa.RecordBatch], output: Any, *, schema: str = "native", format: str | None = None
) -> None:
    """Write native records to a file, in the format of its extension or of `format`.

    `output` is a path, "-" (standard output), a binary file object or the URL of a destination. Raises SinkError.
    """
    mapping = get_schema(schema)
    batches = iter(table.to_batches() if isinstance(table, pa.Table) else table)
    first = next(batches, None)
    if first is None:
        if not isinstance(table, pa.Table):
            raise ConfigError("no record batches: a table is needed to know the columns")
        first = pa.RecordBatch.from_pylist([], schema=table.schema)
    if missing := [name for name in mapping.extras if name not in first.schema.names]:
        raise ConfigError(
            f"schema {schema!r} is made while metering: give it to read or stream ({missing[0]} is missing)"
        )
    converted = mapping.convert(first)
    with open_sink(output, format=format, schema=converted.schema, metadata=_decoded(first.schema.metadata)) as sink:
        sink.write(converted)
        for batch in batches:
            sink.write(mapping.convert(batch))


def _decoded(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}


def extract(
    inputs: Input | Iterable[Input],
    output: Any,
    *,
    format: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    warm: bool = True,
    **options: Any,
) -> RunStats:
    """Read captures and write their flow records; what `flowgauge extract` does.

    Inputs that cannot be read are named in the stats and the rest is written. When `should_stop`
    turns true, what was metered is written. `output` is that of :func:`write`. `warm` compiles all kernels ahead where that was never done, saying so
    to `notify`. Raises ConfigError before anything is read, SinkError when
    the output cannot be written.
    """
    run = Run(inputs, Hooks(progress, notify, should_stop), **options)
    schema, omit_null, terms = run.output_schema(), run.schema.omits_null, Terms(notify or _ignore, should_stop)
    with open_sink(output, format=format, schema=schema, omit_null=omit_null, terms=terms) as sink:
        run.stats.compile_seconds = run.warm(notify) if warm else 0.0
        rows = 0
        for batch in run.batches():
            converted = run.schema.convert(batch)
            rows += len(converted)
            run.watch.start()
            sink.write(converted)
            run.watch.lap("sink")
        run.stats.rows = rows
        noted = run.stats.results(with_names=run.config.anonymize is None)
        sink.note(STATS, json.dumps(noted, sort_keys=True))
    return run.stats


def _ignore(line: str) -> None:
    pass


def warmup(groups: Iterable[str] = DEFAULT_FEATURES) -> None:
    """Compile every kernel of the main path and of these feature groups, or load it from the cache."""
    from flowgauge.warmup import compile_all

    groups = tuple(groups)
    compile_all(groups)
    _jit.mark_warm(groups)


def profile(inputs: Input | Iterable[Input], **options: Any) -> dict[str, float]:
    """Seconds spent in each stage, from `read` to `finalize`, while metering the inputs."""
    run = Run(inputs, Hooks(), **options)
    for _ in run.batches():
        pass
    stats = run.stats
    counts = {"packets": stats.packets, "flows": stats.flows, "rows": stats.rows}
    return {**run.watch.seconds, "total": stats.seconds, **counts}
