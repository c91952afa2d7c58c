"""What users call: packets of captures as batches, or into a file."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, overload

import pyarrow as pa

from flowgauge.errors import ConfigError, SourceError, TruncatedCapture
from flowgauge.kernels import _jit
from flowgauge.packettable.parquet import parquet_opener
from flowgauge.packettable.run import PacketRun
from flowgauge.run import Hooks, Progress, warmup
from flowgauge.sinks import by_extension, open_sink
from flowgauge.sinks.output import Output
from flowgauge.sinks.sink import Sink
from flowgauge.stats import STATS, RunStats
from flowgauge.threads import processors

if TYPE_CHECKING:
    from flowgauge.sources.streams import Source

Target = str | os.PathLike[str] | IO[bytes]

_AHEAD = 1  # batches that wait while one is written
_NEW_CACHE = "compiling kernels, once on this machine (30 to 60 s) …"


@overload
def packets(inputs: Source | Iterable[Source], output: None = None, **options: Any) -> pa.RecordBatchReader: ...
@overload
def packets(inputs: Source | Iterable[Source], output: Target, **options: Any) -> RunStats: ...
def packets(
    inputs: Source | Iterable[Source], output: Target | None = None, **options: Any
) -> pa.RecordBatchReader | RunStats:
    """Every packet as a row: its times, lengths, addresses and header fields, in the order of the captures.

    Without `output` a pyarrow.RecordBatchReader, which reads the captures as it is read: iterate over its batches, or
    `read_all()`. With one (a path, "-" or a binary file object) the rows are written there and what was counted comes
    back; see `format` and `compression` ("zstd" or "lz4", of Parquet).

    `inputs` are those of :func:`flowgauge.read`. `columns` chooses columns; `label`, `label_split`, `label_strict`,
    `filter`, `dedup`, `tunnels` and `strict` are those of `flowgauge packets`, by the same words. Raises as
    :func:`flowgauge.read` does, and SinkError; with an output, captures that cannot be read are named in what comes
    back instead.
    """
    if output is not None:
        return write_packets(inputs, output, **options)
    run = PacketRun(inputs, Hooks(), **options)
    _warm(None)
    return pa.RecordBatchReader.from_batches(run.schema, _checked(run))


def write_packets(
    inputs: Source | Iterable[Source],
    output: Target,
    *,
    format: str | None = None,
    compression: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    warm: bool = True,
    **options: Any,
) -> RunStats:
    """Write the packets of captures; what `flowgauge packets` does. Hooks are those of :func:`flowgauge.extract`."""
    run = PacketRun(inputs, Hooks(progress, notify, should_stop), **options)
    with _open(output, run.schema, format, compression) as sink:
        run.stats.compile_seconds = _warm(notify) if warm else 0.0
        _write(run.batches(), sink)
        sink.note(STATS, json.dumps(run.stats.results(), sort_keys=True))
    return run.stats


def _write(batches: Iterator[pa.RecordBatch], sink: Any) -> None:
    """Write batches in a thread of its own, while the next ones are made."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for batch in batches:
            waiting.append(thread.submit(sink.write, batch))
            if len(waiting) > _AHEAD:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()


def _open(output: Target, schema: pa.Schema, format: str | None, compression: str | None) -> Any:
    if (format or _format(output)) == "parquet":
        return Sink(Output(output), schema, parquet_opener(compression, processors()))
    if compression is not None:
        raise ConfigError("compression is of Parquet: name a file .parquet, or give that format")
    return open_sink(output, format=format, schema=schema)


def _format(output: Target) -> str | None:
    path = output if isinstance(output, (str, os.PathLike)) else getattr(output, "name", "")
    return by_extension(str(path))[0]


def _warm(notify: Callable[[str], None] | None) -> float:
    """Compile ahead what was never compiled on this machine, and say so; the seconds it took."""
    if _jit.is_warm():
        return 0.0
    if notify is not None:
        notify(_NEW_CACHE)
    begin = time.perf_counter()
    warmup()
    return time.perf_counter() - begin


def _checked(run: PacketRun) -> Iterator[pa.RecordBatch]:
    yield from run.batches()
    for message in run.stats.failed.values():
        raise SourceError(message)
    for name, damage in run.stats.damaged.items():
        if run.strict:
            raise TruncatedCapture(f"{name}: {damage}")
        warnings.warn(f"{name}: {damage}; the packets before were read", stacklevel=3)
    if run.stats.unlabelled:
        names = run.stats.unlabelled
        warnings.warn(f"no label in the name of {', '.join(names[:5])}{' …' if len(names) > 5 else ''}", stacklevel=3)
