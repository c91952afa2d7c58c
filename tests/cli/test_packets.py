"""`flowgauge packets`: options are handed on, and every ending has its exit code and place."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flowgauge.cli import app
from flowgauge.packettable.columns import PACKET_COLUMNS
from packets import capture, eth, ip4, other, sent, tcp, udp


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frames = [sent(0, eth(ip4(udp(1, 2)))), sent(0.0001, eth(ip4(udp(1, 2)))), sent(1, eth(ip4(tcp(1, 2, "S"))))]
    (tmp_path / "chat_login_1.pcap").write_bytes(capture([*frames, sent(2, eth(other(0x0806, bytes(28))))]))
    return tmp_path


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["packets", *map(str, arguments)])


def test_every_option_is_handed_on(folder: Path) -> None:
    """Columns, filter, copies, labels, tunnels, compression: each has its effect on the file."""
    out = folder / "x.parquet"
    chosen = "number,reason,app"
    shared = ("--dedup", "1ms", "--filter", "udp", "--tunnels", "outer", "--compression", "lz4", "--columns", chosen)
    done = invoke(folder, "-o", out, "--label", "{app}_{action}_*.pcap", "--label-strict", "--strict", *shared)
    assert done.exit_code == 0, done.output
    assert pq.read_table(out).to_pylist() == [
        {"number": 1, "reason": "metered", "app": "chat"},
        {"number": 2, "reason": "duplicate", "app": "chat"},
    ]
    assert pq.read_metadata(out).row_group(0).column(0).compression == "LZ4"


def test_the_summary_counts_rows(folder: Path) -> None:
    """It says packets, rows and reasons, and no flows; as JSON likewise."""
    lines = invoke(folder, "-o", folder / "x.csv").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4:2]] == [["packets", "4"], ["rows", "4"]]
    assert any(line.split()[:2] == ["not_ip", "1"] for line in lines)
    assert not any(line.startswith(("flows", "ended")) for line in lines)
    counts = json.loads(invoke(folder, "-o", folder / "x.csv", "--json-summary").stdout)
    assert (counts["rows"], counts["packets"], "flows" in counts) == (4, 4, False)


def test_rows_go_to_standard_output(folder: Path) -> None:
    """Without a file they are CSV on standard output, and the summary is on standard error."""
    done = invoke(folder, "--columns", "number,src_port")
    assert done.stdout == "number,src_port\n1,1\n2,1\n3,1\n4,\n"
    assert "packets by reason" in done.stderr


def test_endings(folder: Path) -> None:
    """Exit code 1 where an input cannot be read, 2 for wrong usage, 3 where the output cannot be written."""
    (folder / "no.pcap").write_bytes(b"none at all")
    done = invoke(folder / "no.pcap", folder, "-o", folder / "x.csv")
    assert (done.exit_code, "neither pcap nor pcapng" in done.stderr) == (1, True)
    assert (folder / "x.csv").read_text().count("\n") == 5
    done = invoke(folder, "-o", folder / "x.csv", "--columns", "nothing")
    assert (done.exit_code, "no column 'nothing'" in done.stderr) == (2, True)
    done = invoke(folder, "-o", folder / "x.nothing")
    assert (done.exit_code, "no format is known" in done.stderr) == (2, True)
    done = invoke(folder, "-o", folder / "missing" / "x.csv")
    assert (done.exit_code, "create the folder first" in done.stderr) == (3, True)


def test_a_cut_off_capture_is_strictly_an_error(folder: Path) -> None:
    """A warning by default, exit code 1 with --strict; the packets before are written."""
    path = folder / "chat_login_1.pcap"
    path.write_bytes(path.read_bytes()[:-3])
    for options, code in (((), 0), (("--strict",), 1)):
        done = invoke(path, "-o", folder / "x.csv", *options)
        assert (done.exit_code, "cut off; the packets before were written" in done.stderr) == (code, True)


def test_columns_are_shown() -> None:
    """`flowgauge columns --packets` has a line for each column, with what Wireshark calls it."""
    lines = CliRunner().invoke(app, ["columns", "--packets"]).stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [*(column.name for column in PACKET_COLUMNS), "app", "action"]
    assert any(line.startswith("tcp_seq ") and line.endswith("[Wireshark tcp.seq_raw]") for line in lines)
    found = json.loads(CliRunner().invoke(app, ["columns", "--packets", "--json"]).stdout)
    assert found[1]["peers"] == {"Wireshark": ["frame.number"]}
