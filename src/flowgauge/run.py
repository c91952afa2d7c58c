"""The loop source → meter → sink, and the functions that users call."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.config import DEFAULT_FEATURES, MeterConfig, make_config
from flowgauge.dataset import is_dataset
from flowgauge.duplicates import share_of
from flowgauge.errors import ConfigError, SourceError, TruncatedCapture
from flowgauge.kernels import _jit
from flowgauge.kernels.packet import BATCH_ROWS
from flowgauge.labels import make_labeller
from flowgauge.labels.inside import fields_of, label_of
from flowgauge.labels.truth import FIND_OFFSET, make_truth, no_truth
from flowgauge.lane import PROCESS, Chunk, Job, Lane, Plan
from flowgauge.meter import Meter
from flowgauge.schema import VERSION as COLUMNS_VERSION
from flowgauge.schema import arrow_schema
from flowgauge.schemas import Schema, get_schema
from flowgauge.shards import Numbering
from flowgauge.sinks import Terms, is_destination, open_sink
from flowgauge.snapshot import Snapshot
from flowgauge.sources.capture import NOTHING_SEEN, Glance, first_time, glance
from flowgauge.sources.discover import CaptureInput, Found, find_captures, listed_inputs, of_all
from flowgauge.sources.live import LiveSource
from flowgauge.sources.reorder import Reorder
from flowgauge.sources.window import BUFFER_BYTES
from flowgauge.stats import STATS, Counted, RunStats, total
from flowgauge.stopwatch import Stopwatch
from flowgauge.storage import is_url
from flowgauge.threads import MOST_THREADS, ahead, in_order, processors

if TYPE_CHECKING:
    from flowgauge.labels.truth.truth import Truth
    from flowgauge.sources.streams import Source as Input

_PROGRESS_SECONDS = 0.1
_WORTH_THREADS = 1 << 23  # stored bytes; less is metered before the threads are there
_LARGER = 2
_TOGETHER, _MOST_TOGETHER = 1 << 23, 64  # stored bytes and number of captures that one lane takes at a time
_AHEAD = 8  # batches of a capture, or to be written, that wait for their turn
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
        threads: int | None = None,
        rows: int | None = None,
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
        self.join = join
        given = {"label": label, "label_split": label_split, "truth_offset": truth_offset, "join": join}
        self.given: dict[str, Any] = {"schema": schema, **given, "rules": rules, "truth": truth}
        self.found = find_captures(inputs)
        if self._finds_offset:
            _check_twice(self.found)
        self.stats.skipped += self.found.skipped
        self.stats.failed.update(self.found.failed)
        glances = of_all(_glance, self.found.captures)
        self._labels = self._read_labels(glances, label_strict)
        if rules is not None or any(seen.has_processes for seen in glances):
            self.config = make_config(features=[*self.config.features, PROCESS], **options)
        stored = [stored_size(capture) for capture in self.found.captures]
        self._stored = None if None in stored else [size or 0 for size in stored]
        self._turning = threading.Lock()
        self._last_progress = time.monotonic()
        self._side_by_side, self._of_each = self._threads(threads)
        self.threads = self._side_by_side * self._of_each
        times = _LARGER if self.threads > 1 else 1
        sizes = (rows or times * BATCH_ROWS, times * BUFFER_BYTES)
        plan = (self.label_fields, self.schema.extras, self.truth, rules, join, *sizes, hooks.should_stop)
        self.plan = Plan(self.config, *plan)
        self.lanes = [Lane(self.plan, self._of_each)]

    def _threads(self, threads: int | None) -> tuple[int, int]:
        """How many captures are read side by side, and how many threads each takes."""
        captures = self.found.captures
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise ConfigError(f"threads is a number from 1 to {MOST_THREADS}, not {threads!r}")
        if any(isinstance(capture.source, LiveSource) for capture in captures):
            return 1, 1
        if threads is None:
            small = self._stored is not None and sum(self._stored) < _WORTH_THREADS
            threads = 1 if small else min(processors(), MOST_THREADS)
        lanes = 1 if self.join else min(threads, max(1, len(captures)))
        return lanes, max(1, threads // lanes)

    @property
    def meter(self) -> Any:
        """That of the first lane."""
        return self.lanes[0].meter

    @meter.setter
    def meter(self, meter: Any) -> None:
        self.lanes[0].meter = meter

    @property
    def watch(self) -> Stopwatch:
        """That of the first lane; at the end it has the times of all."""
        return self.lanes[0].watch

    @property
    def reorder(self) -> Reorder | None:
        """That of the first lane."""
        return self.lanes[0].reorder

    @property
    def label_fields(self) -> tuple[str, ...]:
        """Those of the template, or else all that captures have inside which can be looked at before they are read; and
        those of the truth table."""
        return tuple(dict.fromkeys((*self._fields, *(self.truth.fields if self.truth is not None else ()))))

    def output_schema(self) -> pa.Schema:
        """Arrow schema of the output, with what made it: versions, the options that change results,
        and the files of one trace."""
        from flowgauge import __version__

        options = self.config.results() | {"schema": self.schema.name, "join": self.join}
        metadata = {
            "flowgauge_version": __version__,
            "flowgauge_columns_version": str(COLUMNS_VERSION),
            "flowgauge_options": json.dumps(options, sort_keys=True),
        }
        if self.join and self.config.anonymize is None:  # flows may begin in any of them
            metadata["flowgauge_sources"] = json.dumps([capture.name for capture in self.found.captures])
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
        labeller, found = self.labeller, self.found
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

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Native record batches as flows end."""
        for chunk in self.chunks():
            yield from chunk.batches

    def batches_ahead(self) -> Generator[pa.RecordBatch, None, None]:
        """The same; with several threads some are made before they are asked for."""
        return ahead(self.batches(), _AHEAD) if self.threads > 1 else self.batches()

    def chunks(self, done: int = 0, rows: int = 0, *, cut: bool = False) -> Iterator[Chunk]:
        """The records of some captures after those of others, each to be taken before the next; `stats` is complete
        when all are.

        The first `done` chunks, of `rows` records, are left out. With `cut` all records that have left when the
        captures of a chunk are read are in it; without, some of them may be in the next.
        """
        begin = time.perf_counter()
        if self._finds_offset and self.truth is not None:
            self._find_offset(self.truth)
        chunks = [Chunk(number, jobs) for number, jobs in enumerate(self.planned)][done:]
        self.lanes[0].before = sum(stored_size(job.capture) or 0 for jobs in self.planned[:done] for job in jobs)
        try:
            if self._side_by_side > 1 and len(chunks) > 1:
                yield from self._in_lanes(chunks, rows)
            else:
                yield from self._one_by_one(chunks, rows, cut)
        finally:
            for lane in self.lanes:
                lane.close()
        self._finish(time.perf_counter() - begin)

    def snapshot(self) -> Snapshot:
        """All that is remembered of a trace (`join`) between two chunks that are cut off."""
        return self.lanes[0].snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Go on behind a snapshot, with as many threads as it was made by; before :meth:`chunks`."""
        threads = int(snapshot["threads"])
        if threads != self._of_each:
            self.lanes[0].close()
            self._of_each = self.threads = threads
            self.lanes = [Lane(self.plan, threads)]
        self.lanes[0].restore(snapshot)

    def _one_by_one(self, chunks: list[Chunk], rows: int, cut: bool) -> Iterator[Chunk]:
        lane, numbering = self.lanes[0], Numbering(rows)
        for chunk in chunks:
            chunk.batches = lane.meter_chunk(chunk, self._turn, last=chunk is chunks[-1], cut=cut)
            if rows:
                chunk.batches = map(numbering, chunk.batches)
            yield chunk
            if lane.stats.interrupted:
                return

    def _in_lanes(self, chunks: list[Chunk], rows: int) -> Iterator[Chunk]:
        more = min(self._side_by_side, len(chunks)) - 1
        self.lanes += [Lane(self.plan, self._of_each) for _ in range(more)]
        numbering = Numbering(rows)
        workers = [functools.partial(self._work, lane, chunks) for lane in self.lanes]
        for place, batches in in_order(workers, range(len(chunks)), _AHEAD, self._goes_on):
            chunks[place].batches = map(numbering, batches)
            yield chunks[place]

    def _work(self, lane: Lane, chunks: list[Chunk], place: int) -> Iterator[pa.RecordBatch]:
        return lane.meter_chunk(chunks[place], self._turn, last=False, cut=True)

    def _goes_on(self) -> bool:
        return not any(lane.stats.interrupted for lane in self.lanes)

    @functools.cached_property
    def planned(self) -> list[list[Job]]:
        """All captures in reading order, some at a time: the chunks, whatever the number of threads."""
        by_name = self.labeller is not None
        ordered = [Job(n, capture, labels, by_name) for n, (capture, labels) in enumerate(self._ordered())]
        sizes = [stored_size(job.capture) for job in ordered]
        chunks: list[list[Job]] = []
        room = 0
        for job, size in zip(ordered, sizes, strict=True):
            if not chunks or size is None or size > room or len(chunks[-1]) == _MOST_TOGETHER:
                chunks.append([])
                room = _TOGETHER
            chunks[-1].append(job)
            room -= size or room
        return chunks

    def _find_offset(self, truth: Truth) -> None:
        """Read all captures once for their flows, and set the clock of the truth table by them."""
        sources = [capture.source for capture in self.found.captures]
        sample = truth.sample()
        hooks = Hooks(should_stop=self._hooks.should_stop)
        own = {name: value for name, value in vars(self.config).items() if value != getattr(MeterConfig, name)}
        options: dict[str, Any] = {name: "off" if value is None else value for name, value in own.items()}
        options |= {"features": "core", "anonymize": None}
        before = Run(sources, hooks, join=self.join, threads=1, **options)
        before.meter = Meter(before.config, (), before.watch, truth=sample)
        for _ in before.batches():
            pass
        if not before.stats.interrupted:
            truth.set_offset(*sample.search())

    def _ordered(self) -> list[tuple[CaptureInput, dict[str, str] | None]]:
        """The captures in reading order: that of the inputs, or of their first packets with `join`."""
        pairs = list(zip(self.found.captures, self._labels, strict=True))
        if self.join:
            last = 2**63
            times = of_all(lambda capture: _first_time(capture, last), self.found.captures)
            pairs = [pair for _, pair in sorted(zip(times, pairs, strict=True), key=lambda timed: timed[0])]
        return pairs

    def _turn(self, lane: Lane, name: str) -> None:
        """At every turn of a lane."""
        if self._hooks.turn is not None:
            self._hooks.turn()
        now = time.monotonic()
        if self._hooks.progress is None or now - self._last_progress < _PROGRESS_SECONDS:
            return
        if self._turning.acquire(blocking=False):
            self._last_progress = now
            self._hooks.progress(self._progress(name))
            self._turning.release()

    def _progress(self, name: str) -> Progress:
        total = None if self._stored is None else sum(self._stored)
        done = sum(lane.before + lane.position for lane in self.lanes)
        flows = sum(lane.meter.flows + lane.meter.open_flows for lane in self.lanes)
        return Progress(done, total, sum(lane.stats.packets for lane in self.lanes), flows, name)

    def _finish(self, seconds: float) -> None:
        """Complete the stats."""
        stats, lanes = self.stats, self.lanes
        whole = total(lane.totals().as_dict() for lane in lanes)
        whole.seconds, whole.compile_seconds = seconds, stats.compile_seconds
        self._complete(whole, np.sum([lane.sample for lane in lanes], axis=0))
        for lane in lanes[1:]:
            self.watch.add(lane.watch.seconds)

    def recount(self, chunks: Sequence[Counted]) -> None:
        """Make `stats` those of these chunks, of which a run before this one may have done some; but for its times."""
        whole = total(chunk.stats for chunk in chunks)
        whole.seconds, whole.compile_seconds = self.stats.seconds, self.stats.compile_seconds
        whole.interrupted = self.stats.interrupted
        self.stats.skipped, self.stats.failed = list(self.found.skipped), dict(self.found.failed)
        if self.truth is not None:
            self.truth.recount(chunk.matched for chunk in chunks if chunk.matched is not None)
        self._complete(whole, sum((np.array(chunk.sample) for chunk in chunks), np.zeros((2, 2), np.int64)))

    def _complete(self, whole: RunStats, sample: NDArray[np.int64]) -> None:
        """The stats, from sums over lanes or chunks."""
        stats = self.stats
        whole.duplicates_suspected = share_of(sample)
        whole.unlabelled = stats.unlabelled
        whole.skipped = stats.skipped + self._by_place(whole.skipped)
        whole.failed = stats.failed | {name: whole.failed[name] for name in self._by_place(whole.failed)}
        whole.damaged = {name: whole.damaged[name] for name in self._by_place(whole.damaged)}
        if self.truth is not None:
            whole.truth, whole.labels = self.truth.stats(), self.truth.labels
        vars(stats).update(vars(whole))

    def _by_place(self, names: Iterable[str]) -> list[str]:
        place = {capture.name: place for place, capture in enumerate(self.found.captures)}
        return sorted(names, key=place.__getitem__)

    @property
    def packets(self) -> int:
        """Packets read so far."""
        return sum(lane.stats.packets for lane in self.lanes)


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
        c.name
        for c in found.captures
        if not (isinstance(c.source, (str, os.PathLike)) and (is_url(c.source) or os.path.isfile(c.source)))
    ]
    if once:
        raise ConfigError(
            f"truth_offset {FIND_OFFSET} reads captures twice, and {_some(once)} can be read only once: "
            "name files, or give the offset in seconds"
        )


def stored_size(capture: CaptureInput) -> int | None:
    """Bytes of a capture as it is stored; None where that is not known before it is read."""
    source: Any = capture.source
    if is_url(capture.source):
        return capture.size
    try:
        if getattr(source, "seekable", lambda: False)():
            place = source.tell()
            size = source.seek(0, os.SEEK_END) - place
            source.seek(place)
            return int(size)
        return os.path.getsize(source)
    except (OSError, TypeError):
        return None


def stream(inputs: Input | Iterable[Input], **options: Any) -> Iterator[pa.RecordBatch]:
    """Record batches as flows end, in bounded memory.

    `inputs` is a path, the URL of a storage, a pattern of one of them, "-" (standard input), a binary file object, or a
    list of those; folders are read recursively. `options` are those of `flowgauge extract`, by the same words. Raises
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
    partition_by: str | Iterable[str] | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    warm: bool = True,
    **options: Any,
) -> RunStats:
    """Read captures and write their flow records; what `flowgauge extract` does.

    An output that ends in a slash, or is a folder, is a data set of Parquet files, with folders by the values of
    `partition_by`; `resume` goes on with a run into one that was stopped.

    Inputs that cannot be read are named in the stats and the rest is written. When `should_stop`
    turns true, what was metered is written. `output` is that of :func:`write`. `warm` compiles all kernels ahead where
    that was never done, saying so to `notify`. Raises ConfigError before anything is read, SinkError when the output
    cannot be written.
    """
    if is_dataset(output) and not is_destination(output):
        if format not in (None, "parquet"):
            raise ConfigError(
                f"{output} is a data set, whose files are Parquet: format {format!r} is for a single file"
            )
        from flowgauge.dataset.writing import write_dataset

        inputs = listed_inputs(inputs)
        run = Run(inputs, Hooks(progress, notify, should_stop), **options)
        return write_dataset(run, inputs, output, partition_by=partition_by, resume=resume, notify=notify, warm=warm)
    _check_single(output, partition_by, resume)
    run = Run(inputs, Hooks(progress, notify, should_stop), **options)
    schema, omit_null, terms = run.output_schema(), run.schema.omits_null, Terms(notify or _ignore, should_stop)
    threads = run.threads
    with open_sink(output, format=format, schema=schema, omit_null=omit_null, terms=terms, threads=threads) as sink:
        run.stats.compile_seconds = run.warm(notify) if warm else 0.0
        rows = 0
        watch = Stopwatch()
        with contextlib.closing(run.batches_ahead()) as batches:
            for batch in batches:
                converted = run.schema.convert(batch)
                rows += len(converted)
                watch.start()
                sink.write(converted)
                watch.lap("sink")
        run.watch.seconds["sink"] = watch.seconds["sink"]
        run.stats.rows = rows
        noted = run.stats.results(with_names=run.config.anonymize is None)
        sink.note(STATS, json.dumps(noted, sort_keys=True))
    return run.stats


def _check_single(output: Any, partition_by: Any, resume: bool) -> None:
    """Raise ConfigError for what a single file cannot do."""
    given = "resume" if resume else "partition_by" if partition_by is not None else None
    if given is not None:
        name = str(output) if isinstance(output, (str, os.PathLike)) and output != "-" else "flows"
        folder = os.path.splitext(name)[0] + "/"
        raise ConfigError(f"{given} is for a data set, and this output is a single file: name a folder, -o {folder}")


def _ignore(line: str) -> None:
    pass


def warmup(groups: Iterable[str] = DEFAULT_FEATURES) -> None:
    """Compile every kernel of the main path and of these feature groups, or load it from the cache."""
    from flowgauge.warmup import compile_all

    groups = tuple(groups)
    compile_all(groups)
    _jit.mark_warm(groups)


def profile(inputs: Input | Iterable[Input], **options: Any) -> dict[str, float]:
    """Seconds spent in each stage, from `read` to `finalize`, while metering the inputs; by default in one thread."""
    run = Run(inputs, Hooks(), **{"threads": 1, **options})
    for _ in run.batches():
        pass
    stats = run.stats
    counts = {"packets": stats.packets, "flows": stats.flows, "rows": stats.rows}
    return {**run.watch.seconds, "total": stats.seconds, **counts}
