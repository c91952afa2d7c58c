"""`flowgauge live`: meter what passes an interface."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.capture.program import Program, Wanted
from flowgauge.cli.group import DONE, INPUT_FAILED, say
from flowgauge.cli.options import Interface, Promiscuous, RingSize, Snaplen, metering
from flowgauge.errors import ConfigError

if TYPE_CHECKING:
    from flowgauge.capture.live import Live
    from flowgauge.sources.live import LiveSource
    from flowgauge.stats import RunStats


# The parameters are the options: Typer reads them off this signature, and those of metering behind them.
@metering
def live(
    options: dict[str, Any],
    interface: Interface,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of the files; - is standard output; or a destination, e.g. kafka://broker/flows.",
        ),
    ],
    rotate: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin another file after this time, e.g. 5m [never].")
    ] = None,
    rotate_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Begin another file after so many bytes, e.g. 100M [never].")
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="parquet|csv|jsonl|arrow|zeek", help="Format of the files [parquet].")
    ] = None,
    duration: Annotated[str | None, typer.Option(metavar="TIME", help="Stop after this time, e.g. 10m.")] = None,
    snaplen: Snaplen = None,
    promiscuous: Promiscuous = False,
    ring: RingSize = None,
    via: Annotated[
        str | None,
        typer.Option(metavar="ring|tcpdump", help="How packets are captured [ring on Linux, else tcpdump]."),
    ] = None,
    top: Annotated[bool, typer.Option("--top", help="Show the busiest flows, rates and losses.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no summary.")] = False,
) -> None:
    """Meter an interface, for minutes or for months; any is all of them.

    Records are written as flows end, to files that are complete when they have their names. SIGINT and SIGTERM end it
    and write what was metered, SIGHUP begins another file, SIGUSR1 prints counts.
    """
    from flowgauge.capture.units import bytes_of, seconds_of

    after, size = seconds_of("rotate", rotate), bytes_of("rotate-size", rotate_size)
    seconds, memory = seconds_of("duration", duration), bytes_of("ring", ring)
    if top and not sys.stderr.isatty():
        raise ConfigError("top is drawn on a terminal, and standard error is none")
    with _opened(Wanted(interface, options.get("filter"), snaplen, promiscuous, memory), via) as capture:
        from flowgauge.capture.live import Live
        from flowgauge.cli.summary import failures, notes, summary

        run = Live(capture, output, format=format, rotate_seconds=after, rotate_size=size, **options)
        stats = _metered(run, seconds, top, quiet)
    lines = failures(stats)
    if not quiet:
        print(summary(stats), file=sys.stderr if output == "-" else sys.stdout)
        lines += notes(stats)
    for line in lines:
        say(line)
    raise typer.Exit(INPUT_FAILED if stats.failed else DONE)


def _opened(wanted: Wanted, via: str | None) -> LiveSource:
    """The capture of an interface; from here on the process is the user's."""
    from flowgauge.capture.privilege import check_interface, drop, open_ring

    _check(wanted, via)
    name = None if wanted.interface == "any" else wanted.interface
    if (via or ("ring" if sys.platform == "linux" else "tcpdump")) == "tcpdump":
        check_interface(name)
        program = Program(wanted)
        drop()
        from flowgauge.sources.pipe import PipeCapture

        return PipeCapture(program, wanted)
    ring = open_ring(name, wanted.memory, wanted.promiscuous)
    from flowgauge.sources.live import MAX_SNAPLEN, LiveCapture

    return LiveCapture(ring, wanted.snaplen or MAX_SNAPLEN)


def _check(wanted: Wanted, via: str | None) -> None:
    """Raise ConfigError for what cannot be captured."""
    if via not in (None, "ring", "tcpdump"):
        raise ConfigError(f"via is ring or tcpdump, not {via!r}")
    wanted.check()


def _metered(run: Live, seconds: float | None, top: bool, quiet: bool) -> RunStats:
    """Compile, then run until a signal or the time says stop."""
    from flowgauge.cli.signals import StopSignal

    with _Answers(run, quiet) as answers:
        run.warm(None if quiet else say)
        if not quiet:
            say(f"metering {run.capture.name}; Ctrl-C ends it")
        end = None if seconds is None else time.monotonic() + seconds
        with StopSignal() as stop, _view(run, top) as look:

            def turn() -> None:
                answers.give()
                look()

            def over() -> bool:
                return stop.is_set() or (end is not None and time.monotonic() >= end)

            return run.run(over, turn, _ignore if quiet else say)


def _ignore(line: str) -> None:
    pass


class _Answers:
    """To SIGHUP another file, to SIGUSR1 the counts; and a line when the interface goes down or comes up."""

    def __init__(self, run: Live, quiet: bool) -> None:
        self._run, self._quiet = run, quiet
        self._asked = self._down = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Answers:
        handlers = {signal.SIGHUP: lambda *_: self._run.rotate(), signal.SIGUSR1: self._ask}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def give(self) -> None:
        """What was asked for since the last call; not from the handler, which may come in the middle of anything."""
        if self._asked:
            self._asked = False
            counts = self._run.counts()
            say(
                f"{counts.packets:,} packets in {counts.seconds:,.0f} s, {counts.lost:,} lost, "
                f"{counts.open_flows:,} flows open, {counts.rows:,} rows in {counts.files:,} files"
            )
        capture = self._run.capture
        if capture.down != self._down:
            self._down = capture.down
            if not self._quiet:
                say(f"{capture.name} is {'down, and metered again when it is up' if self._down else 'up'}")


@contextlib.contextmanager
def _view(run: Live, top: bool) -> Iterator[Callable[[], None]]:
    """What to call now and then to look at the run."""
    if not top:
        yield lambda: None
        return
    from flowgauge.cli.top import TopView

    with TopView(run) as view:
        yield view.update
