"""How the real command ends: exit code, one line instead of a traceback, and what is written."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import captures
import packets

FLOWGAUGE = [sys.executable, "-m", "flowgauge"]
MANY = 20_000


def frame(number: int) -> packets.Sent:
    """The only packet of its flow."""
    port = 1024 + number % 60_000
    return packets.sent(number / 1000, packets.eth(packets.ip4(packets.udp(port, 53, b"query"))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.pcap").write_bytes(captures.write_pcap([frame(number) for number in range(3)]))
    return tmp_path


def flowgauge(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, to its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*FLOWGAUGE, *arguments], cwd=folder, text=True, timeout=300, **pipes)  # type: ignore[call-overload,no-any-return]


def rows(path: Path) -> int:
    return len(path.read_text().splitlines()) - 1


def test_help_loads_nothing_heavy() -> None:
    """`flowgauge --help` answers without loading Numba, NumPy, pyarrow or rich."""
    code = (
        "import sys; from flowgauge.cli import app\n"
        "try: app(['extract', '--help'])\n"
        "except SystemExit: print({'numba', 'numpy', 'pyarrow', 'rich', 'asyncio'} & sys.modules.keys())"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "set()"


def test_version_is_that_of_the_package() -> None:
    """--version prints the name and the version."""
    import flowgauge as package

    answer = subprocess.run([*FLOWGAUGE, "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout == f"flowgauge {package.__version__}\n"


def test_done_exits_with_0_and_writes(folder: Path) -> None:
    """A readable capture ends with 0, the rows in the file and the summary on standard output."""
    done = flowgauge(folder, "extract", "a.pcap", "-o", "flows.csv", "--json-summary")
    assert done.returncode == 0
    assert rows(folder / "flows.csv") == 3
    summary = json.loads(done.stdout)
    assert (summary["files"], summary["packets"], summary["rows"]) == (1, 3, 3)
    assert sum(summary["reasons"].values()) == summary["packets"]


def test_a_cut_off_capture_is_a_warning_and_with_strict_a_failure(folder: Path) -> None:
    """Packets before the cut are metered, the file is named, and only --strict makes the exit code 1."""
    path = folder / "a.pcap"
    path.write_bytes(path.read_bytes()[:-1])
    for options, code in (((), 0), (("--strict",), 1)):
        done = flowgauge(folder, "extract", "a.pcap", "-o", "flows.csv", *options)
        assert done.returncode == code
        assert rows(folder / "flows.csv") == 2
        assert [line for line in done.stderr.splitlines() if "a.pcap" in line]


@pytest.mark.parametrize("data", [b"", b"meeting notes"])
def test_an_input_that_is_no_capture_fails_and_the_rest_is_written(folder: Path, data: bytes) -> None:
    """An empty file and one that is no capture are named, exit code 1, and the flows of the others are there."""
    (folder / "notes").write_bytes(data)
    done = flowgauge(folder, "extract", "notes", "a.pcap", "-o", "flows.csv")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("flowgauge: notes")]
    assert rows(folder / "flows.csv") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--features", "nonsense"),
        ("--schema", "nonsense"),
        ("--label", "{app"),
        ("--label", "{flow_id}.pcap"),
        ("--label-split", "_"),
        ("--key", "mac"),
        ("--tunnels", "both"),
        ("--idle-timeout", "-1"),
        ("--idle-timeout", "tcp=5,gre=6"),
        ("--active-timeout", "soon"),
        ("--preset", "nonsense"),
        ("--max-flows", "0"),
        ("--format", "nonsense"),
        ("--label", "{app}-{action}.pcap", "--label-strict"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """An option that cannot be is one line and exit code 2, and there is no output."""
    from typer.testing import CliRunner

    from flowgauge.cli import app

    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["extract", "a.pcap", "-o", "flows.csv", *arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("flowgauge: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir(folder) == ["a.pcap"]


def test_an_output_that_cannot_be_written_exits_with_3(folder: Path) -> None:
    """A missing folder of the output is one line and exit code 3."""
    done = flowgauge(folder, "extract", "a.pcap", "-o", "nowhere/flows.csv")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("flowgauge: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("extract", "a.pcap", "-o", "-"), ("columns",)])
def test_a_full_standard_output_exits_with_3(folder: Path, arguments: tuple[str, ...]) -> None:
    """A full disk behind standard output is one line and exit code 3, also where it shows at the last moment."""
    with open("/dev/full", "w") as full:
        done = flowgauge(folder, *arguments, stdout=full)
    assert done.returncode == 3
    assert [line for line in done.stderr.splitlines() if "No space left" in line]
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("extract", "many.pcap", "-o", "-", "--quiet"), ("columns",)])
def test_a_closed_pipe_ends_quietly(folder: Path, arguments: tuple[str, ...]) -> None:
    """When the reader takes one line and goes, the command ends with 0 and says nothing."""
    (folder / "many.pcap").write_bytes(captures.write_pcap([frame(number) for number in range(MANY)]))
    with subprocess.Popen(
        [*FLOWGAUGE, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(300) == 0


def test_standard_input_and_output_make_a_pipeline(folder: Path) -> None:
    """`cat a.pcap | flowgauge extract -` writes the records to the pipe and the summary to standard error."""
    done = subprocess.run(
        [*FLOWGAUGE, "extract", "-"], input=(folder / "a.pcap").read_bytes(), capture_output=True, timeout=300
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert b"packets by reason" in done.stderr


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_what_it_metered(folder: Path, number: signal.Signals) -> None:
    """After a signal what was metered is written and said, and the exit code is 130."""
    with subprocess.Popen(
        [*FLOWGAUGE, "extract", "-", "-o", "flows.csv"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write((folder / "a.pcap").read_bytes())
        process.stdin.flush()
        wait_for_handlers(process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert b"; interrupted" in output
    assert b"flowgauge: stopping" in errors
    assert b"Traceback" not in errors
    assert (folder / "flows.csv").exists()


def wait_for_handlers(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process handles SIGTERM, which Python does not do by itself."""
    bit = 1 << (signal.SIGTERM - 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & bit:
            return
        time.sleep(0.02)
    pytest.fail("the command never handled SIGTERM")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address spaces")
def test_a_limit_of_memory_ends_in_one_line(folder: Path) -> None:
    """What the system refuses is said, and nothing is left behind."""
    import resource

    most = 4_000_000 * 1024
    large = ("--features", "raw", "--raw-packets", "64", "--raw-bytes", "1500")
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (most, most))
    done = flowgauge(folder, "extract", "a.pcap", "-o", "a.csv", *large, preexec_fn=limit)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (
        1,
        ["flowgauge: not enough memory: fewer open flows (--max-flows), threads and column groups need less"],
    )
    assert [path.name for path in folder.iterdir()] == ["a.pcap"]
