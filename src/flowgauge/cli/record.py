"""`flowgauge record`: an app's traffic as captures that hold their labels."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.capture.program import Wanted
from flowgauge.cli.group import DONE, say
from flowgauge.cli.options import FilterExpression, Interface, Promiscuous, RingSize, Snaplen
from flowgauge.cli.text import counted, size
from flowgauge.errors import ConfigError

if TYPE_CHECKING:
    from flowgauge.capture.record import Recorder, Status, Take


# The parameters are the options: Typer reads them off this signature.
def record(
    interface: Interface,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Folder of the captures.")],
    app: Annotated[str | None, typer.Option(metavar="NAME", help="The app: a label.")] = None,
    action: Annotated[str | None, typer.Option(metavar="NAME", help="What is done with it: a label.")] = None,
    set: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Another label; repeatable.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help="Name of the captures [{app}_{action}_{n}.pcapng].")
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Only what this IP or MAC address sends and receives.")
    ] = None,
    filter: FilterExpression = None,
    duration: Annotated[str | None, typer.Option(metavar="TIME", help="Length of a take [until Ctrl-C].")] = None,
    repeat: Annotated[int, typer.Option(metavar="N", min=1, help="So many takes, one after another.")] = 1,
    pause: Annotated[str | None, typer.Option(metavar="TIME", help="Wait between takes [0].")] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Record the idle client first, and mark flows that are not new.")
    ] = None,
    adb: Annotated[
        bool,
        typer.Option("--adb", help="Note the app in front of the phone, and its version; without --app it is app."),
    ] = False,
    flows: Annotated[bool, typer.Option("--flows", help="Meter at the same time, into a .parquet beside it.")] = False,
    file_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Begin another file after so many bytes, e.g. 100M [never].")
    ] = None,
    file_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin another file after this time, e.g. 5m [never].")
    ] = None,
    files: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Keep the last N files of a take [all].")
    ] = None,
    snaplen: Snaplen = None,
    promiscuous: Promiscuous = False,
    ring: RingSize = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No counts while it records, no notes and no summary.")
    ] = False,
) -> None:
    """Record an app's traffic, labelled.

    Each take is a pcapng file that only its owner may read, with its label in its name and inside it: extract and info
    find it there. A line for each is in manifest.jsonl of the folder. SIGINT (Ctrl-C) and SIGTERM complete the take.
    """
    from flowgauge.capture.units import bytes_of, seconds_of

    seconds, between = seconds_of("duration", duration), seconds_of("pause", pause) or 0.0
    limits = bytes_of("file-size", file_size), seconds_of("file-time", file_time), files
    wanted = Wanted(interface, filter, snaplen, promiscuous, bytes_of("ring", ring))
    idle = seconds_of("baseline", baseline)
    fields = _fields(app, action, set)
    _check(wanted, repeat, seconds, limits, adb, app)
    from flowgauge.capture.names import TEMPLATE, Names

    template = label or TEMPLATE
    if app is not None:  # else adb will tell
        Names(Path(output), template, fields)
    recording = _open(wanted)
    os.umask(0o077)  # what is recorded is for its owner
    from flowgauge.capture.pieces import PieceLimits
    from flowgauge.capture.record import Options, Recorder

    divided = PieceLimits(*limits)
    options = Options(Path(output), template, client, filter, seconds, divided, flows, idle is not None)
    recorder = Recorder(recording, options)
    recorder.warm(None if quiet else say)
    with recorder:
        _takes(recorder, fields, repeat, between, idle, adb, quiet)
    raise typer.Exit(DONE)


def _fields(app: str | None, action: str | None, others: list[str] | None) -> dict[str, str]:
    """The label, but for what is not given."""
    fields = {"app": app, "action": action}
    for text in others or []:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"--set {text!r} is not FIELD=VALUE, e.g. --set os=android")
        if fields.get(name) is not None:
            raise ConfigError(f"the label {name!r} is given twice")
        fields[name] = value
    return {name: value for name, value in fields.items() if value is not None}


def _check(
    wanted: Wanted,
    repeat: int,
    seconds: float | None,
    limits: tuple[int | None, float | None, int | None],
    adb: bool,
    app: str | None,
) -> None:
    if wanted.interface == "any":
        raise ConfigError("a recording is of one interface: on several, a packet that is forwarded is there twice")
    if repeat > 1 and seconds is None:
        raise ConfigError("--repeat needs --duration: how long each take is")
    if limits[2] is not None and limits[0] is None and limits[1] is None:
        raise ConfigError("--files needs --file-size or --file-time: when another file begins")
    if app is None and not adb:
        raise ConfigError("say what is recorded: --app NAME, or --adb for the app in front of the phone")
    wanted.check()


def _open(wanted: Wanted) -> Any:
    """The recording of an interface; from here on the process is the user's."""
    from flowgauge.capture.privilege import open_ring

    ring = open_ring(wanted.interface, wanted.memory, wanted.promiscuous)
    from flowgauge.capture.recording import Recording
    from flowgauge.sources.live import MAX_SNAPLEN

    return Recording(ring, wanted.snaplen or MAX_SNAPLEN)


def _takes(
    recorder: Recorder,
    given: dict[str, str],
    repeat: int,
    pause: float,
    idle: float | None,
    adb: bool,
    quiet: bool,
) -> None:
    """Record them until all are there or a signal says stop."""
    from flowgauge.cli.signals import StopSignal

    fields = given
    with StopSignal() as stop:
        if idle is not None:
            if adb and "app" not in given:  # a phone that is not there is found out before the baseline
                fields = _with_app(recorder, given, given, {})
            _announce(recorder, "baseline, leave the client alone", idle, quiet)
            with _Line(quiet) as line:
                taken = recorder.baseline(idle, stop.is_set, line.update)
            _report(taken, quiet)
        for number in range(1, repeat + 1):
            if number > 1 and pause:
                if not quiet:
                    say(f"pause; {pause:g} s")
                recorder.wait(pause, stop.is_set)
            if stop.is_set():
                break
            session: dict[str, Any] = {"take": number, "of": repeat}
            if adb:
                fields = _with_app(recorder, given, fields, session)
            if stop.is_set():
                break
            of = f"take {number} of {repeat}: " if repeat > 1 else ""
            _announce(recorder, of + _named(fields), recorder.options.duration, quiet)
            with _Line(quiet) as line:
                taken = recorder.take(fields, stop.is_set, line.update, **session)
            _report(taken, quiet)


def _announce(recorder: Recorder, what: str, seconds: float | None, quiet: bool) -> None:
    if not quiet:
        say(f"recording {recorder.recording.name}: {what}; {'Ctrl-C ends it' if seconds is None else f'{seconds:g} s'}")


def _with_app(
    recorder: Recorder, given: dict[str, str], before: dict[str, str], session: dict[str, Any]
) -> dict[str, str]:
    """The label with the app in front of the phone, where none is given; what adb says goes into the session.

    Where adb does not know, it is that of the take before.
    """
    from flowgauge.capture.android import AdbError

    try:
        found = recorder.foreground()
    except AdbError as error:
        if "app" not in before:
            raise ConfigError(f"{error}; give the app with --app") from None
        say(f"{error}; recording goes on without it")
        return before
    session["android"] = found._asdict()
    return {"app": found.package, **given}


class _Line:
    """A line of counts every second; on a terminal it is always the same one."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._before = (time.monotonic(), 0)
        self._down = False

    def update(self, status: Status) -> None:
        """Show it, where it is time."""
        now = time.monotonic()
        since, packets = self._before
        if self._quiet or (now - since < 1.0 and status.down == self._down):
            return
        self._before, self._down = (now, status.packets), status.down
        rate = (status.packets - packets) / max(now - since, 1e-3)
        text = (
            f"{status.seconds:,.0f} s, {status.packets:,} packets, {rate:,.0f} packets/s, "
            f"{size(status.bytes)}, {status.lost:,} lost"
        )
        if status.flows is not None:
            text += f", {counted(status.flows, 'flow')}"
        if status.down:
            text += "; the interface is down, waiting for it"
        end = "\033[K\r" if self._terminal else "\n"
        print(text, end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        """What follows begins on a line of its own."""
        if self._terminal and not self._quiet:
            print("\033[K", end="", file=sys.stderr, flush=True)


def _report(take: Take, quiet: bool) -> None:
    """What a take has become."""
    if quiet:
        return
    lost = f", {take.lost:,} lost" if take.lost else ""
    counts = f"{counted(take.packets, 'packet')}, {size(take.bytes)}, {take.seconds:,.0f} s{lost}"
    for path in (*take.files, *([take.flows] if take.flows else [])):
        print(path)
    print(f"  {_named(take.label)}: {counts}", flush=True)
    if not take.packets:
        say("no packet: does the traffic pass this interface, and are --client and --filter right?")
    if take.lost:
        say("packets were lost: a larger --ring holds more of those that wait")


def _named(label: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in label.items())
