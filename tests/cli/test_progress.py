"""The progress bar on a terminal."""

from __future__ import annotations

import io
import sys
from typing import NamedTuple

import pytest

from flowgauge.cli.progress import ProgressBar


class Progress(NamedTuple):
    """The fields of flowgauge.run.Progress, without loading the meter."""

    bytes_done: int
    bytes_total: int | None
    packets: int
    flows: int
    file: str


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal as standard error; no fixture, as pytest sets its own between set-up and test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


def test_the_bar_shows_bytes_rate_flows_and_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of the input, packets/s, flows and the file are on the bar, whatever signs the file's name has."""
    terminal = open_terminal(monkeypatch)
    with ProgressBar() as bar:
        bar.update(Progress(0, 4_000_000, 0, 0, "[red]a.pcap"))
        bar.update(Progress(2_000_000, 4_000_000, 5000, 1234, "[red]a.pcap"))
    shown = terminal.getvalue()
    assert "2.0 MB of 4.0 MB" in shown
    assert "packets/s, 1,234 flows" in shown
    assert "[red]a.pcap" in shown


def test_a_pipe_has_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the size of the input is not known, the bytes so far are shown."""
    terminal = open_terminal(monkeypatch)
    with ProgressBar() as bar:
        bar.update(Progress(2_000_000, None, 5000, 1, "stdin"))
    assert "2.0 MB, " in terminal.getvalue()


def test_lines_are_said_with_and_without_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for the user is shown whole, before the bar appears and while it is there."""
    terminal = open_terminal(monkeypatch)
    with ProgressBar() as bar:
        bar.say("first [line]")
        bar.update(Progress(1, 2, 3, 4, "a.pcap"))
        bar.say("second [line]")
    assert terminal.getvalue().startswith("flowgauge: first [line]\n")
    assert "flowgauge: second [line]" in terminal.getvalue()


def test_a_run_without_progress_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is over before its first progress leaves the terminal as it was."""
    terminal = open_terminal(monkeypatch)
    with ProgressBar():
        pass
    assert terminal.getvalue() == ""
