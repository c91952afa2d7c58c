"""What is to be done, worked out by the driver: which captures are metered where they lie, and which in shards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from flowgauge import storage
from flowgauge.config import MeterConfig, make_config
from flowgauge.custom.declare import UserFeature
from flowgauge.errors import ConfigError
from flowgauge.fragments import SEED
from flowgauge.labels.process import ProcessLabel
from flowgauge.labels.truth import FIND_OFFSET
from flowgauge.lane import Job, Plan
from flowgauge.run import Hooks, Run
from flowgauge.sources.splitting import layout_of

_OPEN_COST = "spark.sql.files.openCostInBytes"
_MOST = "spark.sql.files.maxPartitionBytes"
_SHUFFLES = "spark.sql.shuffle.partitions"


class Start(NamedTuple):
    """The running clock of a trace before a part of it: its state behind so many records."""

    time: int = 0
    interval: int = 0
    records: int = 0
    started: bool = False


class Trace(NamedTuple):
    """Captures that are metered as one, in shards: those from number `first_shard` on. `number` is that of its first
    capture."""

    number: int
    first_shard: int
    shards: int


class Part(NamedTuple):
    """Packets that one task reads: those of a capture, or of its bytes from `begin` to `stop`.

    `number` is the part's place in its trace, `frames` are the frames of the capture before it. `first` says that the
    capture begins here.
    """

    job: Job
    trace: Trace
    number: int
    start: Start
    first: bool = True
    begin: int = 0
    stop: int | None = None
    frames: int = 0


@dataclass(frozen=True)
class Work:
    """What every task has to know. `references` name the features of users, `labels` are those that packets say."""

    plan: Plan
    references: tuple[str, ...]
    seed: bytes
    labels: tuple[ProcessLabel, ...] = ()

    def here(self) -> Plan:
        """The plan as this process can use it."""
        SEED[:] = np.frombuffer(self.seed, SEED.dtype)
        plan = self.plan
        if not self.references:
            return plan
        features = make_config(features=[*plan.config.features, *self.references]).features
        return replace(plan, config=replace(plan.config, features=features))


class Sizes(NamedTuple):
    """What the session says of sizes: stored bytes of a task's captures, those that are too many for one task, how many
    tasks run at a time, and the most shards of a trace."""

    task: int
    most: int
    parallel: int
    shards: int

    def shards_of(self, stored: int, traces: int) -> int:
        """Shards for a trace of so many stored bytes, of several: all processors have work, and each task enough."""
        return max(1, min(self.shards, max(-(-self.parallel // traces), -(-stored // self.task))))


def plan_of(inputs: Any, options: dict[str, Any]) -> tuple[Run, Work]:
    """A run that reads nothing but the begin of each capture, and what its tasks have to know."""
    _check(options)
    features, references = _references(options.get("features"))
    run = Run(inputs, Hooks(), threads=1, **(options | {"features": features}))
    _check_joined(run)
    config = replace(run.config, features=tuple(map(str, _groups(run.config))))
    plan = replace(run.plan, config=_everywhere(config), rules=_absolute(run.plan.rules), should_stop=_never)
    return run, Work(plan, references, secrets.token_bytes(SEED.nbytes))


def jobs_of(run: Run) -> list[Job]:
    """All captures in reading order. Raises ConfigError for one that only this process can read."""
    jobs = [job for jobs in run.planned for job in jobs]
    for job in jobs:
        if not isinstance(job.capture.source, (str, os.PathLike)) or job.capture.source == "-":
            raise ConfigError(f"{job.capture.name} is open in this process alone: with Spark, captures are files")
    return [job._replace(capture=job.capture._replace(source=_absolute(job.capture.source))) for job in jobs]


def arranged(jobs: list[Job], run: Run, sizes: Sizes) -> tuple[list[list[Job]], list[tuple[Trace, list[Job]]]]:
    """The captures that are metered where they lie, some in a task, and those that are metered in shards."""
    if run.plan.join:
        return [], [(Trace(0, 0, sizes.shards_of(sum(map(stored_size, jobs)), 1)), jobs)]
    tasks: list[list[Job]] = []
    large: list[Job] = []
    room = 0
    for job in jobs:
        size = stored_size(job)
        if size > sizes.most and _can_be_split(run.config) and layout_of(job.capture.source) is not None:
            large.append(job)
            room = 0
            continue
        if size > room:
            tasks.append([])
            room = sizes.task
        tasks[-1].append(job)
        room -= size
    traces: list[tuple[Trace, list[Job]]] = []
    first = 0
    for job in large:
        shards = sizes.shards_of(stored_size(job), len(large))
        traces.append((Trace(job.number, first, shards), [job]))
        first += shards
    return tasks, traces


def sizes_of(spark: Any, jobs: list[Job]) -> Sizes:
    """As Spark cuts files of its own formats into partitions, by the session's settings for these."""
    most, cost = (_bytes(spark.conf.get(name)) for name in (_MOST, _OPEN_COST))
    parallel = parallelism(spark)
    stored = sum(map(stored_size, jobs))
    task = min(most, max(cost, (stored + cost * len(jobs)) // parallel))
    return Sizes(task, most, parallel, int(spark.conf.get(_SHUFFLES)))


def parallelism(spark: Any) -> int:
    """How many tasks run at a time."""
    try:
        return int(spark.sparkContext.defaultParallelism)
    except Exception:  # with Spark Connect there is no such thing
        return int(spark.conf.get(_SHUFFLES))


def stored_size(job: Job) -> int:
    """Stored bytes of a capture; 0 where they are not known."""
    source: Any = job.capture.source
    if storage.is_url(source):
        return job.capture.size or 0
    try:
        return os.path.getsize(source)
    except OSError:
        return 0


def _can_be_split(config: MeterConfig) -> bool:
    """Whether packets of different parts of a capture have nothing to do with each other before they are metered."""
    return config.dedup is None and config.reorder is None


def _check(options: dict[str, Any]) -> None:
    if options.get("truth_offset") == FIND_OFFSET:
        raise ConfigError(
            f"truth_offset {FIND_OFFSET} reads all captures before: find it on one machine, and give the seconds here"
        )
    for name in ("partition_by", "resume"):
        if options.get(name):
            raise ConfigError(f"{name} is for data sets that one machine writes, without Spark")
    if options.get("threads") is not None:
        raise ConfigError("threads is for one machine; how many tasks run at a time is up to the Spark session")


def _check_joined(run: Run) -> None:
    for name in ("dedup", "reorder"):
        if run.plan.join and getattr(run.config, name) is not None:
            raise ConfigError(
                f"{name} compares packets of all files of a trace: with Spark, it is for captures that are each a "
                "trace of their own, without join"
            )


def _references(features: Any) -> tuple[list[str] | None, tuple[str, ...]]:
    """The features as they are given, with absolute paths, and those of users among them."""
    if features is None:
        return None, ()
    listed = features.split(",") if isinstance(features, str) else list(features)
    from flowgauge.custom.load import is_reference

    given: list[str] = []
    for feature in listed:
        if isinstance(feature, UserFeature):
            raise ConfigError(
                f"feature {feature.name!r} is an object of this process: with Spark, name it as FILE.py:{feature.name}"
            )
        text = str(feature).strip()
        given.append(_absolute_reference(text) if is_reference(text) else text)
    return given, tuple(text for text in given if is_reference(text))


def _absolute_reference(text: str) -> str:
    path, separator, name = text.rpartition(".py:")
    return f"{os.path.abspath(path + '.py')}:{name}" if separator and os.path.exists(path + ".py") else text


def _groups(config: MeterConfig) -> Iterator[str]:
    return (feature for feature in config.features if isinstance(feature, str))


def _everywhere(config: MeterConfig) -> MeterConfig:
    """With absolute paths."""
    key = config.anonymize
    return replace(
        config,
        anonymize=key if key in (None, "env") else _absolute(key),
        mmdb=tuple(map(_absolute, config.mmdb)),
        catalogue=tuple(map(_absolute, config.catalogue)),
    )


def _absolute(path: Any) -> Any:
    if path is None or storage.is_url(path):
        return path
    return os.path.abspath(path)


_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _bytes(text: str) -> int:
    """A size as Spark writes them: 134217728b, 128MB, 4m."""
    digits = text.strip().lower().removesuffix("b")
    if digits and digits[-1] in _UNITS:
        return int(float(digits[:-1]) * _UNITS[digits[-1]])
    return int(digits)


def _never() -> bool:
    return False
