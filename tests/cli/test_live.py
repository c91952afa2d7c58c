"""`flowgauge live` and `flowgauge interfaces` as the user meets them; what live does is tested with real parts."""

from __future__ import annotations

import io
import json
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import flowgauge as fg
import rings
from flowgauge.capture.live import Counts, Live
from flowgauge.capture.openflows import OpenFlow
from flowgauge.cli import app
from flowgauge.cli.live import _Answers
from flowgauge.cli.top import TopView
from flowgauge.sources.live import LiveCapture

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    out, errors = capsys.readouterr()
    return int(ended.value.code or 0), out, errors


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rotate", "soon", "rotate is a time above 0"),
        ("--rotate-size", "0", "rotate-size is a size above 0"),
        ("--duration", "-1s", "duration is a time above 0"),
        ("--ring", "much", "ring is a size above 0"),
        ("--ring", "100T", "ring is a size up to half of this machine's memory"),
        ("--snaplen", "0", "snaplen is a number of bytes from 1"),
        ("--via", "magic", "via is ring or tcpdump, not 'magic'"),
    ],
)
def test_wrong_usage(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Values that cannot be are wrong usage, whoever asks and whatever interface, before anything is opened."""
    code, _, errors = said(capsys, "live", "-i", "no-interface", "-o", "nowhere", option, value)
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--ring", "100T", "ring is a size up to half of this machine's memory"),
        ("--snaplen", "0", "snaplen is a number of bytes from 1"),
        ("--snaplen", "262145", "snaplen is a number of bytes from 1"),
    ],
)
def test_a_recording_cannot_ask_for_more_than_live(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is captured has the same limits whether it is kept or metered."""
    code, _, errors = said(capsys, "record", "-i", "no-interface", "-o", "nowhere", "--app", "a", option, value)
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


@linux
@pytest.mark.parametrize("via", ["ring", "tcpdump"])
def test_an_interface_that_is_not_there(via: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that are there."""
    code, _, errors = said(capsys, "live", "-i", "no-interface", "-o", "nowhere", "--via", via)
    assert code == 1
    assert errors.startswith("flowgauge: there is no interface 'no-interface'; there are lo")


@pytest.mark.parametrize("name", ["reorder", "join", "label", "label_split", "label_strict"])
def test_options_of_files_are_not_for_live(name: str) -> None:
    """What orders packets or labels files has no meaning on a wire, and is said so."""
    value: Any = {"reorder": 1.0, "label": "{app}", "label_split": "_:0"}.get(name, True)
    with pytest.raises(fg.ConfigError, match=f"{name} is for captures that are read"):
        Live(LiveCapture(rings.FakeRing([])), "nowhere", **{name: value})  # type: ignore[arg-type]


def test_a_stream_has_no_files_to_rotate() -> None:
    """Rotation needs a folder, and a format has to be one, before anything is opened."""
    capture: Any = LiveCapture(rings.FakeRing([]))  # type: ignore[arg-type]
    with pytest.raises(fg.ConfigError, match="one stream"):
        Live(capture, "-", rotate_size=5)
    with pytest.raises(fg.ConfigError, match="format 'nonsense'"):
        Live(capture, "nowhere", format="nonsense")


class FakeRun:
    """A run with counts and flows of the test's."""

    def __init__(self) -> None:
        self.capture = SimpleNamespace(name="eth0", down=False)
        self.meter = None
        self.packets = 0

    def counts(self) -> Counts:
        return Counts(self.packets, 3, 20, 5, 2, 60.0)


def test_answers_are_given_at_a_turn(capsys: pytest.CaptureFixture[str]) -> None:
    """SIGUSR1 only asks: the counts are printed at the next turn, and once."""
    run: Any = FakeRun()
    run.packets = 1234
    answers = _Answers(run, quiet=True)
    answers._ask()
    assert capsys.readouterr().err == ""
    answers.give()
    answers.give()
    line = "flowgauge: 1,234 packets in 60 s, 3 lost, 5 flows open, 20 rows in 2 files\n"
    assert capsys.readouterr().err == line


def test_an_interface_that_goes_down_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Down and up are one line each, but with --quiet."""
    for quiet, expected in ((False, ["down, and metered again when it is up", "up"]), (True, [])):
        run: Any = FakeRun()
        answers = _Answers(run, quiet)
        for down in (False, True, True, False, False):
            run.capture.down = down
            answers.give()
        assert capsys.readouterr().err.splitlines() == [f"flowgauge: eth0 is {text}" for text in expected]


def test_the_view_shows_rates_and_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head has the rate since the last look and all counts, the table a line for each flow, busiest first."""
    from rich.console import Console

    from flowgauge.cli import top

    now = [100.0]
    monkeypatch.setattr(top.time, "monotonic", lambda: now[0])
    run: Any = FakeRun()
    view = TopView(run)
    written = io.StringIO()
    console = Console(file=written, width=110, height=12)
    drawn: list[Any] = []
    view._screen = SimpleNamespace(console=console, update=lambda table, refresh: drawn.append(table))
    asked: list[int] = []
    flow = OpenFlow("10.0.0.1:5000", "[2001:db8::1]:443", "tcp", 5_000_000, 4000, 2_000_000, 61.0)
    view._watch = SimpleNamespace(busiest=lambda count: asked.append(count) or [flow])
    run.packets = 5000
    view.update()
    assert drawn == []  # less than a second has passed
    now[0] += 2
    view.update()
    console.print(drawn[0])
    assert asked == [8]  # lines of the terminal but for the head
    lines = written.getvalue().splitlines()
    head = "eth0: 2,500 packets/s, 5,000 packets, 3 lost, 5 flows open, 20 rows, 60 s"
    assert lines[0].strip() == head
    assert lines[1].split() == ["client", "server", "protocol", "rate", "bytes", "packets", "age"]
    assert " ".join(lines[2].split()) == "10.0.0.1:5000 [2001:db8::1]:443 tcp 1.0 MB/s 5.0 MB 4,000 61 s"


@linux
def test_interfaces_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every interface of the machine is there, in aligned columns or as JSON."""
    app(["interfaces", "--json"], standalone_mode=False)
    listed = json.loads(capsys.readouterr().out)
    assert [interface["name"] for interface in listed] == [name for _, name in socket.if_nameindex()]
    [loopback] = [interface for interface in listed if interface["name"] == "lo"]
    assert loopback["link"] == 1
    app(["interfaces"], standalone_mode=False)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "state", "link", "MAC", "address", "addresses"]
    assert len(lines) == len(listed)
    assert [line for line in lines if line.startswith("lo ") and "Ethernet" in line]
