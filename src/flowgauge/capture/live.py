"""Metering what passes an interface, for as long as it takes."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from flowgauge.capture.rotation import Limits, Rotation
from flowgauge.errors import ConfigError
from flowgauge.run import Hooks, Run
from flowgauge.sinks import Terms, is_destination, known_destinations, open_sink
from flowgauge.sources.live import LiveSource
from flowgauge.stats import RunStats

_NOT_LIVE = ("reorder", "join", "label", "label_split", "label_strict", "truth", "truth_offset")


class Counts(NamedTuple):
    """What a live run has done so far; `lost` are frames that the system had no room for."""

    packets: int
    lost: int
    rows: int
    open_flows: int
    files: int
    seconds: float


class _Records(Protocol):
    """Where records go."""

    files: int

    def write(self, batch: pa.RecordBatch) -> None: ...

    def turn(self) -> None: ...

    def start(self, **fields: Any) -> None: ...

    def stop(self, **fields: Any) -> None: ...


class _Stream:
    """One output, of which every record can be read as soon as it is there."""

    files = 0

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.write = sink.write
        self.turn = sink.flush

    def start(self, **fields: Any) -> None:
        """Nothing: a stream has no manifest."""

    stop = start


class Live:
    """A live run: `records` written to a folder, as a stream to standard output with "-", or delivered to the
    destination of a URL.

    `rotate_seconds` and `rotate_size` (bytes) say when another file begins. `options` are those of `extract` but for
    what orders packets or labels files. `rotate` and `counts` may be called at any time. Raises ConfigError.
    """

    def __init__(
        self,
        capture: LiveSource,
        output: str | os.PathLike[str],
        *,
        format: str | None = None,
        rotate_seconds: float | None = None,
        rotate_size: int | None = None,
        **options: Any,
    ) -> None:
        for name in _NOT_LIVE:
            if options.get(name):
                raise ConfigError(f"{name} is for captures that are read, not for a live interface")
        self.capture = capture
        self.rotate: Callable[[], None] = lambda: None
        self._turn: Callable[[], None] = lambda: None
        self._should_stop: Callable[[], bool] = lambda: False
        self._notify: Callable[[str], None] = lambda line: None
        self._is_stream = output == "-" or is_destination(output)
        if self._is_stream:
            if rotate_seconds is not None or rotate_size is not None:
                what = "standard output" if output == "-" else "a destination"
                raise ConfigError(f"{what} is one stream: rotate and rotate_size are for a folder")
        elif "://" in str(output):
            raise ConfigError(f"live writes to a folder, to - or to a destination ({known_destinations()}): {output}")
        elif format is None:
            format = "parquet"
        self._output, self._format, self._options = output, format, options
        self._rotate_seconds, self._rotate_size = rotate_seconds, rotate_size
        self._run = Run(capture, Hooks(turn=self._at_turn, should_stop=self._stops), **options)  # type: ignore[arg-type]
        # So that a format or a destination that is none is told before anything is made.
        checked = output if is_destination(output) else io.BytesIO()
        open_sink(checked, format=format, schema=self._run.output_schema())
        self._records: _Records | None = None
        self._begun = time.monotonic()
        self._rows = 0

    @property
    def meter(self) -> Any:
        """The meter, to look at the flows that are open."""
        return self._run.meter

    def warm(self, notify: Callable[[str], None] | None = None) -> None:
        """Compile what the run needs: a capture that waits for the compiler loses frames."""
        from flowgauge.warmup import compile_ring, load_metering

        self._run.warm(notify)
        compile_ring()
        load_metering(format=self._format or "csv", **self._options)

    def run(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        turn: Callable[[], None] = lambda: None,
        notify: Callable[[str], None] = lambda line: None,
    ) -> RunStats:
        """Meter until `should_stop`; `turn` is called at least twice a second, `notify` when a destination goes down
        or is back. Raises SinkError, SourceError."""
        self._should_stop, self._turn, self._begun, self._notify = should_stop, turn, time.monotonic(), notify
        with self._opened() as records, contextlib.closing(self._run.batches()) as batches:  # type: ignore[type-var]
            self._records = records
            records.start(interface=self.capture.name, filter=self._run.config.filter)
            for batch in batches:
                converted = self._run.schema.convert(batch)
                self._rows += len(converted)
                records.write(converted)
            counts = self.counts()
        records.stop(packets=counts.packets, lost=counts.lost, rows=counts.rows)
        self._run.stats.rows = self._rows
        return self._run.stats

    @contextlib.contextmanager
    def _opened(self) -> Iterator[_Records]:
        schema, omit_null = self._run.output_schema(), self._run.schema.omits_null
        if self._is_stream:
            terms = Terms(lambda line: self._notify(line), live=True)
            with open_sink(self._output, format=self._format, schema=schema, omit_null=omit_null, terms=terms) as sink:
                yield _Stream(sink)
            return
        limits = Limits(self._rotate_seconds, self._rotate_size)
        with Rotation(self._output, self._format or "parquet", schema, limits, omit_null) as rotation:
            self.rotate = rotation.ask
            yield rotation

    def _stops(self) -> bool:
        return self._should_stop()

    def _at_turn(self) -> None:
        if self._records is not None:
            self._records.turn()
        self._turn()

    def counts(self) -> Counts:
        """Where the run is."""
        self.capture.look_at_drops()
        files = 0 if self._records is None else self._records.files
        seconds = time.monotonic() - self._begun
        packets = self._run.packets
        return Counts(packets, self.capture.lost, self._rows, self._run.meter.open_flows, files, seconds)
