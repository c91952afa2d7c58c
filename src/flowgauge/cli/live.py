"""`flowgauge live`: meter what passes an interface."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.cli.group import DONE, say
from flowgauge.cli.options import metering

if TYPE_CHECKING:
    from flowgauge.capture.live import Live


# The parameters are the options: Typer reads them off this signature, and those of metering behind them.
@metering
def live(
    options: dict[str, Any],
    interface: Annotated[
        str, typer.Option("--interface", "-i", metavar="NAME", help="What to meter; any is all interfaces.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the files; - is standard output.")
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
    snaplen: Annotated[int | None, typer.Option(metavar="N", help="Bytes of each packet to look at [262144].")] = None,
    promiscuous: Annotated[
        bool, typer.Option("--promiscuous", help="Also packets that are for other machines.")
    ] = False,
    ring: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory for packets that wait [64M].")] = None,
    top: Annotated[bool, typer.Option("--top", help="Show the busiest flows, rates and losses.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes and no summary.")] = False,
) -> None:
    """Meter an interface, for minutes or for months.

    Records are written as flows end, to files that are complete when they have their names. SIGINT and SIGTERM end it
    and write what was metered, SIGHUP begins another file, SIGUSR1 prints counts.
    """
    from flowgauge.capture.units import bytes_of, seconds_of

    after, size = seconds_of("rotate", rotate), bytes_of("rotate-size", rotate_size)
    seconds, memory = seconds_of("duration", duration), bytes_of("ring", ring)
    capture = _open(interface, snaplen, promiscuous, memory)
    from flowgauge.capture.live import Live

    run = Live(capture, output, format=format, rotate_seconds=after, rotate_size=size, **options)
    run.warm(None if quiet else say)
    if not quiet:
        say(f"metering {interface}; Ctrl-C ends it")
    stats = _metered(run, seconds, top)
    if not quiet:
        from flowgauge.cli.summary import failures, notes, summary

        for line in (*failures(stats), *notes(stats)):
            say(line)
        print(summary(stats), file=sys.stderr if output == "-" else sys.stdout)
    raise typer.Exit(DONE)


def _open(interface: str, snaplen: int | None, promiscuous: bool, size: int | None) -> Any:
    """The capture of an interface; from here on the process is the user's."""
    from flowgauge.capture.privilege import drop, open_packet_socket

    name = None if interface == "any" else interface
    handle = open_packet_socket(name)
    drop()
    from flowgauge.sources.live import MAX_SNAPLEN, LiveCapture
    from flowgauge.sources.ring import RING_BYTES, Ring

    ring = Ring(handle, name, size=size or RING_BYTES, promiscuous=promiscuous)
    return LiveCapture(ring, snaplen or MAX_SNAPLEN)


def _metered(run: Live, seconds: float | None, top: bool) -> Any:
    """Run until a signal or the time says stop."""
    from flowgauge.cli.signals import StopSignal

    end = None if seconds is None else time.monotonic() + seconds
    with StopSignal() as stop, _signals(run), _view(run, top) as look:
        return run.run(lambda: stop.is_set() or (end is not None and time.monotonic() >= end), look)


@contextlib.contextmanager
def _signals(run: Live) -> Iterator[None]:
    """SIGHUP begins another file, SIGUSR1 prints counts."""

    def rotate(*_: object) -> None:
        run.rotate()

    def show(*_: object) -> None:
        counts = run.counts()
        say(
            f"{counts.packets:,} packets in {counts.seconds:,.0f} s, {counts.lost:,} lost, "
            f"{counts.open_flows:,} flows open, {counts.rows:,} rows in {counts.files:,} files"
        )

    handlers = {signal.SIGHUP: rotate, signal.SIGUSR1: show}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _view(run: Live, top: bool) -> Iterator[Callable[[], None]]:
    """What to call now and then to look at the run."""
    if not top:
        yield lambda: None
        return
    from flowgauge.cli.top import TopView

    with TopView(run) as view:
        yield view.update
