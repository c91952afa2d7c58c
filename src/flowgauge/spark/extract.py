"""Extracting by Spark: the same rows, in the same order, as on one machine, and the same counts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from flowgauge.errors import ConfigError, FlowgaugeError, SinkError
from flowgauge.run import Run
from flowgauge.schema import arrow_schema
from flowgauge.shards import Numbering
from flowgauge.sinks import Terms, open_sink
from flowgauge.spark.frame import batches_of, mapped, records
from flowgauge.spark.merge import in_order
from flowgauge.spark.session import session
from flowgauge.spark.tasks import counted_of
from flowgauge.spark.types import spark_schema, struct_of
from flowgauge.stats import STATS, RunStats

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROWS_AT_ONCE = 1 << 14
_ORDER = ("trace", "boundary", "end", "shard", "number")


def extract(
    inputs: Any,
    output: Any,
    *,
    format: str | None = None,
    master: str | None = None,
    notify: Callable[[str], None] | None = None,
    **options: Any,
) -> RunStats:
    """Read captures by Spark and write their flow records; `inputs`, `output` and `options` are those of
    :func:`flowgauge.run.extract`.

    Into a folder (a path that ends with `/`) executors write, as Parquet; anything else is written by this process.
    Raises what that function raises, MissingDependency without PySpark, and FlowgaugeError where Spark fails.
    """
    _check(options)
    begin = time.perf_counter()
    with session(master) as spark, _said_plainly():
        run, frame = batches_of(spark, inputs, options)
        seconds = run.warm(notify) if _is_local(spark) else 0.0
        kept = frame.persist(_on_disk())
        try:
            _count(run, kept, begin)
            run.stats.compile_seconds = seconds
            if is_folder(output):
                _write_folder(run, kept, str(output))
            else:
                _write_file(run, kept, output, format, Terms(notify or _ignore, lambda: False))
        finally:
            kept.unpersist()
    run.stats.seconds = time.perf_counter() - begin
    return run.stats


def _check(options: dict[str, Any]) -> None:
    for name in ("partition_by", "resume"):
        if options.pop(name, None):
            raise ConfigError(
                f"{name} is for data sets that this process writes: leave --engine spark out, or write what "
                "flowgauge.spark.flows gives by Spark's own means"
            )


def is_folder(output: Any) -> bool:
    """Whether executors write it."""
    return isinstance(output, (str, os.PathLike)) and os.fspath(output).endswith("/")  # type: ignore[arg-type]


def _write_file(run: Run, frame: DataFrame, output: Any, format: str | None, terms: Terms) -> None:
    schema, omit_null = run.output_schema(), run.schema.omits_null
    with open_sink(output, format=format, schema=schema, omit_null=omit_null, terms=terms) as sink:
        ordered = _in_small_parts(frame.where("records is not null"), run.stats.rows)
        numbered = map(Numbering(), in_order(ordered.toLocalIterator(prefetchPartitions=True)))
        rows = 0
        for batch in numbered:
            converted = run.schema.convert(batch)
            rows += len(converted)
            sink.write(converted)
        run.stats.rows = rows
        noted = run.stats.results(with_names=run.config.anonymize is None)
        sink.note(STATS, json.dumps(noted, sort_keys=True))


def _in_small_parts(batches: DataFrame, rows: int) -> DataFrame:
    """The batches in their order, in partitions of some megabytes: what the driver takes at a time is held by it and by
    an executor, several times over."""
    return batches.repartitionByRange(rows // _ROWS_AT_ONCE + 1, *_ORDER).sortWithinPartitions(*_ORDER)


def _write_folder(run: Run, frame: DataFrame, folder: str) -> None:
    struct = struct_of(spark_schema(arrow_schema(run.schema.listed(run.label_fields, run.config))))
    rows = mapped(frame.where("records is not null"), partial(records, run.schema.name, False), struct)
    rows.write.option("compression", "zstd").parquet(folder)


def _count(run: Run, frame: DataFrame, begin: float) -> None:
    """Have all of it metered, and complete the counts of the run."""
    run.recount([counted_of(row.counts) for row in frame.where("counts is not null").collect()])
    run.stats.seconds = time.perf_counter() - begin
    shown = {os.path.abspath(name): name for name in run.stats.failed}
    for path, name in shown.items():
        run.stats.failed[name] = run.stats.failed[name].replace(path, name)


def _ignore(line: str) -> None:
    pass


def _on_disk() -> Any:
    from pyspark import StorageLevel

    return StorageLevel.DISK_ONLY


def _is_local(spark: SparkSession) -> bool:
    """Whether the workers are processes of this machine, which share its cache of kernels."""
    return str(spark.conf.get("spark.master", "")).startswith("local")


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """What Spark raises, as one line: that of the task, where that is an error of this package."""
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException as error:
        raise SinkError(f"Spark: {_first_line(error)}") from error
    except PySparkException as error:
        raise FlowgaugeError(_own_line(str(error)) or f"Spark: {_first_line(error)}") from error


_OWN = re.compile(r"^flowgauge\.errors\.\w+: (.*)$", re.MULTILINE)


def _own_line(text: str) -> str | None:
    found = _OWN.search(text)
    return found[1] if found else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
