"""flows: a DataFrame of flow records, which Spark computes when it is asked for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from flowgauge.errors import MissingDependency, SourceError, TruncatedCapture
from flowgauge.labels.process import ProcessLabels
from flowgauge.lane import Job
from flowgauge.run import Run
from flowgauge.schema import arrow_schema
from flowgauge.schemas import get_schema
from flowgauge.spark import tasks
from flowgauge.spark.blocks import BLOCKS
from flowgauge.spark.plan import Part, Sizes, Start, Trace, Work, arranged, jobs_of, plan_of, sizes_of
from flowgauge.spark.survey import Seen, chain, slices
from flowgauge.spark.types import spark_schema, struct_of, to_spark
from flowgauge.stats import Counted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_INSTALL = "Spark is not installed: pip install 'flowgauge[spark]' (and Java 17 or later)"


_OLDEST = (4, 1)
_RECORDS, _MOST_TRACES = 40, 1 << 22  # bits of the number of a record in its task; tasks of either kind


def flows(spark: SparkSession, paths: Any, **options: Any) -> DataFrame:
    """Flow records of captures as a DataFrame; `paths` and `options` are those of :func:`flowgauge.read`.

    Captures that are each a trace of their own are metered where they lie, one task for some of them; with `join`, or
    where a capture is large, packets are shared out to shards. Rows have no order. The first pass over a trace in
    shards is made at once, everything else when Spark is asked for rows. Columns have Spark's types: times are there
    twice, to the microsecond and, as `…_ns`, in nanoseconds since 1970.

    Raises ConfigError for options that do not go with Spark, SourceError for an input that cannot be read, and
    MissingDependency without PySpark.
    """
    run, frame = batches_of(spark, paths, options)
    columns = run.schema.listed(run.label_fields, run.config)
    struct = struct_of(spark_schema(arrow_schema(columns)))
    return mapped(frame, partial(records, run.schema.name, run.strict), struct)


def batches_of(spark: SparkSession, paths: Any, options: dict[str, Any]) -> tuple[Run, DataFrame]:
    """A run, and the frame of its BATCHES."""
    require()
    run, work = plan_of(paths, options)
    jobs = jobs_of(run)
    sizes = sizes_of(spark, jobs)
    whole, traces = arranged(jobs, run, sizes)
    frames = []
    if whole:
        frames.append(mapped(_tasks(spark, whole), partial(tasks.meter_whole, work), struct_of(tasks.BATCHES)))
    if traces:
        frames.append(_in_shards(spark, work, traces, sizes))
    frame = frames[0] if len(frames) == 1 else frames[0].union(frames[1])
    return run, frame


def require() -> None:
    """Raise MissingDependency without PySpark."""
    if not all(map(importlib.util.find_spec, ("pyspark", "pandas"))):  # PySpark asks for pandas itself
        raise MissingDependency(_INSTALL)
    version = importlib.metadata.version("pyspark")
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise MissingDependency(f"PySpark {version} is too old: pip install --upgrade 'flowgauge[spark]'")


def _in_shards(spark: SparkSession, work: Work, traces: list[tuple[Trace, list[Job]]], sizes: Sizes) -> DataFrame:
    """Two passes: what each part does to the clock; then packets, decoded, shared out and metered."""
    seen = _surveyed(spark, work, [job for _, jobs in traces for job in jobs], sizes)
    labels = ProcessLabels()
    for parts in seen.values():
        for each in parts:
            for label in each.labels:
                labels.number(label)
    work = replace(work, labels=labels.listed)
    planned: list[Part] = []
    captures: dict[int, list[tasks.Captured]] = {}
    for trace, jobs in traces:
        own = list(chain(trace, jobs, seen, partial(_clock_behind, spark, work)))
        planned += own
        captures[trace.number] = [
            tasks.Captured(part.number, part.job, seen[part.job.number][0].inside) for part in own if part.first
        ]
    shards = [trace for trace, _ in traces]
    blocks = mapped(_tasks(spark, planned), partial(tasks.decode_parts, work), struct_of(BLOCKS))
    count = sum(trace.shards for trace in shards)
    by_shard = blocks.repartitionById(count, "shard").sortWithinPartitions("shard", "part", "number")
    return mapped(by_shard, partial(tasks.meter_shards, work, captures, shards), struct_of(tasks.BATCHES))


def _surveyed(spark: SparkSession, work: Work, jobs: list[Job], sizes: Sizes) -> dict[int, list[Seen]]:
    """What all parts are like, by the number of their capture."""
    wanted = [part for job in jobs for part in slices(job, sizes.task, True)]
    frame = mapped(_tasks(spark, wanted), partial(tasks.survey, work), struct_of(tasks.SEEN))
    found: dict[int, list[Seen]] = {}
    for row in frame.collect():
        each = pickle.loads(row.seen)
        found.setdefault(each.job.number, []).append(each)
    for parts in found.values():
        parts.sort(key=lambda each: each.number)
    return {number: found[number] for number in sorted(found)}


def _clock_behind(spark: SparkSession, work: Work, job: Job, start: Start) -> Start:
    frame = mapped(_tasks(spark, [(job, start)]), partial(tasks.clock_behind, work), struct_of(tasks.SEEN))
    found: Start = pickle.loads(frame.collect()[0].seen)
    return found


def _tasks(spark: SparkSession, plans: list[Any]) -> DataFrame:
    """A partition for each of these plans."""
    columns = {"task": range(len(plans)), "plan": [pickle.dumps(plan) for plan in plans]}
    table = pa.table({field.name: pa.array(columns[field.name], field.type) for field in tasks.TASKS})
    return spark.createDataFrame(table).repartitionById(len(plans), "task")


def mapped(
    frame: DataFrame, function: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]], schema: Any
) -> DataFrame:
    """What the function makes of the partitions of a frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PySpark's, of a pandas that it does not know
        return frame.mapInArrow(function, schema)


def records(name: str, strict: bool, tables: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """BATCHES in, records of a schema in the types of Spark out. Raises SourceError as :func:`flowgauge.read` does."""
    schema = get_schema(name)
    for table in tables:
        columns = [table.column(name) for name in ("trace", "shard", "records", "counts")]
        for row in range(table.num_rows):
            trace, shard, packed, counts = (column[row] for column in columns)
            if counts.is_valid:
                _check(tasks.counted_of(counts.as_py()), strict)
                continue
            batch = _numbered(tasks.of_ipc(packed.as_buffer()), trace.as_py(), shard.as_py())
            if tasks.LEFT.name in batch.schema.names:
                batch = batch.drop_columns([tasks.LEFT.name])
            yield to_spark(schema.convert(batch))


def _numbered(batch: pa.RecordBatch, trace: int, shard: int) -> pa.RecordBatch:
    """With numbers of records, where there are some, that no other task gives: it has no end of its own to count to."""
    place = batch.schema.get_field_index("record")
    if place < 0:
        return batch
    task = trace if tasks.LEFT.name not in batch.schema.names else _MOST_TRACES + shard
    numbers = pc.add(batch.column(place), pa.scalar(task << _RECORDS, pa.int64()))
    return batch.set_column(place, batch.schema.field(place), numbers)


def _check(counted: Counted, strict: bool) -> None:
    for message in counted.stats.get("failed", {}).values():
        raise SourceError(message)
    for name, damage in counted.stats.get("damaged", {}).items() if strict else ():
        raise TruncatedCapture(f"{name}: {damage}")
