"""`flowgauge extract -o` and `live -o` with destinations, as the user meets them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import flowgauge as fg
import rings
from flowgauge.capture.live import Live
from flowgauge.cli import app
from flowgauge.sources.live import LiveCapture
from sinks.delivery.ipfix_messages import decode

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "captures" / "voip_call_01.pcap"


@pytest.fixture(autouse=True)
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGAUGE_SPOOL_DIR", str(tmp_path / "spool"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    out, errors = capsys.readouterr()
    return int(ended.value.code or 0), out, errors


def test_extract_delivers_the_flows_of_a_capture(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, and the summary is that of any other output."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        url = f"ipfix://127.0.0.1:{listener.getsockname()[1]}"
        code, out, _ = said(capsys, "extract", str(EXAMPLE), "-o", url)
        flows = fg.read(EXAMPLE)
        messages: list[bytes] = []
        while sum(len(message.records) for message in decode(messages)) < len(flows):
            messages.append(listener.recv(65_535))
    assert code == 0 and "flows" in out
    found = [record for message in decode(messages) for record in message.records]
    names = ("flow_id", "up_packets", "down_packets", "server_port")
    expected = zip(*(flows[name].to_pylist() for name in names), strict=True)
    columns = ("flow", "packets", "reverse_packets", "destination_port")
    assert sorted(tuple(record[name] for name in columns) for record in found) == sorted(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "kafka://host"), "name the topic"),
        (("-o", "kafka://me:secret@host:x/flows"), "kafka://host:x/flows: 'x' is no port"),
        (("-o", "ipfix://host?transport=sctp"), "transport is udp or tcp, not 'sctp'"),
        (("-o", "ipfix://host", "--format", "csv"), "format 'csv' is of files"),
        (("-o", "kafak://host/flows"), "name a destination (kafka://, ipfix://"),
        (("-o", "ipfix://host", "--schema", "zeek"), "takes flows of schema native"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what is allowed, and no password in it."""
    code, _, errors = said(capsys, "extract", str(EXAMPLE), *arguments)
    assert (code, errors.count("\n")) == (2, 1), errors
    assert message in errors and "secret" not in errors


def test_a_destination_that_is_down_is_an_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """A line when it goes down, and exit code 3 when the time to wait is over."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"ipfix://127.0.0.1:{port}?transport=tcp&wait=0.2"
    code, _, errors = said(capsys, "extract", str(EXAMPLE), "-o", url)
    assert code == 3
    assert errors.splitlines() == [
        f"flowgauge: ipfix://127.0.0.1:{port} is down (Connection refused); it is tried again for 0.2 s",
        f"flowgauge: ipfix://127.0.0.1:{port} is down (Connection refused); nothing was read",
    ]


@pytest.mark.parametrize("command", ["extract", "live"])
def test_help_names_destinations(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside files and standard output."""
    assert "kafka://" in said(capsys, command, "--help")[1]


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("ipfix://host", {"rotate_seconds": 5.0}, "a destination is one stream"),
        ("ipfix://host", {"format": "csv"}, "format 'csv' is of files"),
        ("ipfix://host?mtu=1", {}, "mtu is a whole number"),
        ("kafak://host/flows", {}, "live writes to a folder, to - or to a destination"),
    ],
)
def test_live_says_what_cannot_be_before_anything_is_opened(
    output: str, options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And makes no folder of a URL."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fg.ConfigError, match=message):
        Live(LiveCapture(rings.FakeRing([])), output, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_no_client_is_loaded_for_other_outputs() -> None:
    """Who writes files does not pay for destinations."""
    import subprocess

    code = (
        "import sys, flowgauge.sinks; print([name for name in sys.modules if 'confluent' in name or '.ipfix' in name])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
