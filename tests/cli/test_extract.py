"""`flowgauge extract`: options are handed on as they are, and every ending has its exit code and place."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import flowgauge
from flowgauge.cli import app
from flowgauge.errors import ConfigError, MissingDependency, NotACapture, SinkError
from flowgauge.stats import RunStats


@dataclass
class Run:
    """Stands for flowgauge.run: records how it was called, then does as it is told."""

    does: Callable[..., RunStats] = lambda **_: RunStats()
    calls: list[dict[str, Any]] = field(default_factory=list)

    def extract(self, inputs: list[str], output: str, **options: Any) -> RunStats:
        self.calls.append({"inputs": inputs, "output": output, **options})
        return self.does(**options)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    fake = Run()
    module = ModuleType("flowgauge.run")
    module.extract = fake.extract  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flowgauge.run", module)
    monkeypatch.setattr(flowgauge, "run", module, raising=False)
    return fake


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["extract", *arguments])


def raising(error: BaseException) -> Callable[..., RunStats]:
    def does(**_: Any) -> RunStats:
        raise error

    return does


HOOKS = {"progress", "notify", "should_stop"}


def test_what_is_not_given_is_left_to_the_api(run: Run) -> None:
    """Only options that are given are handed on, so that defaults and presets live in one place."""
    assert invoke("a.pcap", "b", "-o", "x.csv").exit_code == 0
    (call,) = run.calls
    assert call.keys() == {"inputs", "output"} | HOOKS
    assert (call["inputs"], call["output"]) == (["a.pcap", "b"], "x.csv")


def test_every_option_is_an_argument_of_the_same_name(run: Run) -> None:
    """Each option of the contract reaches the API under its name with underscores."""
    line = (
        "a.pcap -o x --schema basic --features size,iat --label {app}.pcap --label-split _:0:1 --label-strict "
        "--key hosts --vlan-in-key --tunnels outer --idle-timeout tcp=300,udp=60 --active-timeout off --no-tcp-end "
        "--rules labels.csv "
        "--truth labels.csv --truth-offset auto --local-net 10.0.0.0/8 --local-net fd00::/8 --mmdb asn.mmdb "
        "--dedup 1ms --reorder 0.01 --preset zeek --join --max-flows 7 --strict --format jsonl --quiet --json-summary "
        "--partition-by date,app --resume"
    )
    assert invoke(*line.split()).exit_code == 0
    (call,) = run.calls
    assert {name: value for name, value in call.items() if name not in HOOKS} == {
        "inputs": ["a.pcap"],
        "output": "x",
        "schema": "basic",
        "features": "size,iat",
        "label": "{app}.pcap",
        "label_split": "_:0:1",
        "label_strict": True,
        "rules": "labels.csv",
        "truth": "labels.csv",
        "truth_offset": "auto",
        "local_net": ["10.0.0.0/8", "fd00::/8"],
        "mmdb": ["asn.mmdb"],
        "key": "hosts",
        "vlan_in_key": True,
        "tunnels": "outer",
        "idle_timeout": "tcp=300,udp=60",
        "active_timeout": "off",
        "no_tcp_end": True,
        "dedup": "1ms",
        "reorder": "0.01",
        "preset": "zeek",
        "join": True,
        "max_flows": 7,
        "strict": True,
        "format": "jsonl",
        "partition_by": "date,app",
        "resume": True,
    }


def test_in_a_pipe_the_flows_go_to_standard_output(run: Run) -> None:
    """Without -o and with standard output in a pipe, the records go there and the summary to standard error."""
    result = invoke("a.pcap")
    assert result.exit_code == 0
    assert run.calls[0]["output"] == "-"
    assert result.stdout == ""
    assert "packets" in result.stderr


def test_a_terminal_is_not_flooded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -o on a terminal nothing is read: one line asks where the flows go."""
    monkeypatch.setattr("flowgauge.cli.extract._is_terminal", lambda stream: True)
    result = invoke("a.pcap")
    assert result.exit_code == 2
    assert result.stderr.startswith("flowgauge: say where the flows go: -o flows.csv")
    assert run.calls == []


def test_nothing_of_a_bar_in_a_pipe(run: Run) -> None:
    """Progress is asked for only where standard error is a terminal."""
    invoke("a.pcap", "-o", "x")
    assert run.calls[0]["progress"] is None


def test_a_terminal_has_a_bar_unless_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the run reports its progress, with --quiet it does not."""
    monkeypatch.setattr("flowgauge.cli.extract._is_terminal", lambda stream: True)
    invoke("a.pcap", "-o", "x")
    invoke("a.pcap", "-o", "x", "--quiet")
    assert [call["progress"] is not None for call in run.calls] == [True, False]


@pytest.mark.parametrize(
    ("stats", "options", "code"),
    [
        (RunStats(), (), 0),
        (RunStats(damaged={"a": "a: cut off at byte 9"}), (), 0),
        (RunStats(damaged={"a": "a: cut off at byte 9"}), ("--strict",), 1),
        (RunStats(failed={"a": "a: unreadable"}), (), 1),
        (RunStats(interrupted=True, failed={"a": "a: unreadable"}), (), 130),
        (RunStats(skipped=["a"], unlabelled=["b"]), ("--strict",), 0),
    ],
)
def test_exit_codes_of_a_finished_run(run: Run, stats: RunStats, options: tuple[str, ...], code: int) -> None:
    """Damage counts with --strict only, a failed input always, and an interruption before both."""
    run.does = lambda **_: stats
    assert invoke("a.pcap", "-o", "x", *options).exit_code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no such group"), 2),
        (NotACapture("a: neither pcap nor pcapng"), 1),
        (SinkError("x: disk full"), 3),
        (MissingDependency("pip install it"), 1),
    ],
)
def test_an_error_is_one_line(run: Run, error: Exception, code: int) -> None:
    """An error that is raised on purpose is one line on standard error and its exit code, never a traceback."""
    run.does = raising(error)
    result = invoke("a.pcap", "-o", "x")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"flowgauge: {error}\n")


def test_a_closed_pipe_ends_quietly(run: Run) -> None:
    """When the reader of the output has gone, the command ends with 0 and says nothing."""
    run.does = raising(BrokenPipeError())
    result = invoke("a.pcap", "-o", "-")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("line", ["--nonsense", "--max-flows many", "--max-flows 1.5", ""])
def test_wrong_usage_exits_with_2(run: Run, line: str) -> None:
    """An unknown option, a value of the wrong kind or no input is wrong usage."""
    assert invoke(*line.split()).exit_code == 2
    assert run.calls == []


def test_a_misspelt_option_is_answered_with_the_right_one(run: Run) -> None:
    """The message about an unknown option names the one that was probably meant."""
    assert "--idle-timeout" in invoke("a.pcap", "--idle-timeuot", "60").stderr


STATS = RunStats(
    files=3,
    packets=1000,
    packet_bytes=90_000,
    flows=2,
    rows=2,
    seconds=0.5,
    reasons={"metered": 990, "not_ip": 10},
    failed={"c.pcap": "c.pcap: permission denied"},
    damaged={"b.pcap": "cut off at byte 77"},
    skipped=["notes.txt"],
    unlabelled=["q.pcap"],
)


def test_the_summary_goes_where_the_records_do_not(run: Run) -> None:
    """The summary is on standard output, beside records on standard error, where lines about files always are."""
    run.does = lambda **_: STATS
    beside_file, beside_records = invoke("a", "-o", "x"), invoke("a", "-o", "-")
    assert "packets by reason" in beside_file.stdout
    assert beside_records.stdout == ""
    assert "packets by reason" in beside_records.stderr
    assert beside_file.stderr.splitlines() == [
        "flowgauge: c.pcap: permission denied",
        "flowgauge: b.pcap: cut off at byte 77; the packets before were metered",
        "flowgauge: skipped 1 file without a capture: notes.txt",
        "flowgauge: 1 file not matched by the label template, labels are empty: q.pcap",
    ]


def test_quiet_says_only_what_went_wrong(run: Run) -> None:
    """With --quiet the summary and the notes are gone, failed and damaged files are still named."""
    run.does = lambda **_: STATS
    result = invoke("a", "-o", "x", "--quiet")
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "flowgauge: c.pcap: permission denied",
        "flowgauge: b.pcap: cut off at byte 77; the packets before were metered",
    ]


def test_the_json_summary_is_one_object(run: Run) -> None:
    """With --json-summary one JSON object holds the version, every count and every file, and nothing else is said."""
    run.does = lambda **_: STATS
    beside_file, beside_records = invoke("a", "-o", "x", "--json-summary"), invoke("a", "-o", "-", "--json-summary")
    assert beside_file.stderr == ""
    assert json.loads(beside_file.stdout) == {"version": flowgauge.__version__, **STATS.as_dict()}
    assert (beside_records.stdout, beside_records.stderr) == ("", beside_file.stdout)


def test_notes_of_the_run_are_shown_unless_quiet(run: Run) -> None:
    """A line from the run, such as that it compiles, is on standard error, and nowhere with --quiet."""

    def does(notify: Callable[[str], None], **_: Any) -> RunStats:
        notify("compiling kernels")
        return RunStats()

    run.does = does
    assert invoke("a", "-o", "x").stderr == "flowgauge: compiling kernels\n"
    assert invoke("a", "-o", "x", "--quiet").stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_the_run_to_stop(run: Run, number: signal.Signals) -> None:
    """The first Ctrl-C or SIGTERM sets the flag, the second would end the process, and afterwards all is as before."""
    seen = []

    def does(should_stop: Callable[[], bool], **_: Any) -> RunStats:
        seen.append(should_stop())
        os.kill(os.getpid(), number)
        seen.append(should_stop())
        seen.append(signal.getsignal(number))
        return RunStats(interrupted=True)

    run.does = does
    before = signal.getsignal(number)
    assert invoke("a", "-o", "x").exit_code == 130
    assert seen == [False, True, signal.SIG_DFL]
    assert signal.getsignal(number) == before


def test_interrupted_elsewhere_exits_with_130(run: Run) -> None:
    """An interruption that the run does not catch has the same exit code and no traceback."""
    run.does = raising(KeyboardInterrupt())
    assert invoke("a", "-o", "x").exit_code == 130


def test_a_full_standard_output_is_an_output_error(run: Run) -> None:
    """When the summary cannot be written, the command exits with 3 and says why."""
    run.does = raising(OSError(28, "No space left on device"))
    result = invoke("a", "-o", "x")
    assert (result.exit_code, result.stderr) == (3, "flowgauge: standard output: No space left on device\n")


def test_too_little_memory_is_said(run: Run) -> None:
    """One line says what needs less, in place of a traceback."""
    run.does = raising(MemoryError("no room for 1 byte"))
    result = invoke("a", "-o", "x")
    said = "flowgauge: not enough memory: fewer open flows (--max-flows), threads and column groups need less\n"
    assert (result.exit_code, result.stderr) == (1, said)
