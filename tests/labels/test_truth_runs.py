"""Runs with a table of labels: what becomes of columns, other labels, hidden names, several files and the clock."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

import flowgauge as fg
from flowgauge.cli import app
from packets import START, capture, eth, ip4, sent, tcp, udp

BEGIN = START // 10**9
FLOWS = (
    ("10.0.0.1", 40001, "192.0.2.1", 443),
    ("10.0.0.1", 40002, "192.0.2.2", 443),
    ("10.0.0.2", 40003, "192.0.2.1", 53),
)


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    """A capture chat_login.pcap of three flows, a minute apart."""
    frames = []
    for number, (client, client_port, server, server_port) in enumerate(FLOWS):
        layer = udp(client_port, server_port) if server_port == 53 else tcp(client_port, server_port, "S")
        frames.append(sent(60 * number, eth(ip4(layer, client, server))))
    path = tmp_path / "chat_login.pcap"
    path.write_bytes(capture(frames))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], str]:
    """Writes a table of labels."""

    def write(text: str) -> str:
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return str(path)

    return write


def test_a_row_wins_over_the_label_of_the_file_and_others_keep_it(chat: Path, table: Any) -> None:
    """Columns of the table follow app and action, and label_by says which rows are of the table."""
    truth = table("server,app,user\n192.0.2.1,mail,anna\n")
    found = fg.read(chat, label="{app}_{action}.pcap", truth=truth)
    assert found["app"].to_pylist() == ["mail", "chat", "mail"]
    assert found["action"].to_pylist() == ["login"] * 3
    assert found["user"].to_pylist() == ["anna", None, "anna"]
    assert found["label_by"].to_pylist() == ["table", "name", "table"]
    names = found.column_names
    assert names[names.index("app") :][:4] == ["app", "action", "user", "label_by"]
    assert {field.name for field in found.schema if field.metadata[b"role"] == b"label"} == set(
        names[names.index("app") :][:4]
    )


def test_without_a_table_there_is_no_column_of_it(chat: Path) -> None:
    """label_by is there where a table is."""
    assert "label_by" not in fg.read(chat).column_names


def test_hidden_addresses_are_matched_by_what_they_were(chat: Path, table: Any, monkeypatch: Any) -> None:
    """Rows name true addresses and files, whatever the output shows."""
    monkeypatch.setenv("FLOWGAUGE_KEY", "07" * 32)
    truth = table("server,file,app\n192.0.2.2,chat_*.pcap,mail\n")
    found = fg.read(chat, truth=truth, anonymize="env")
    assert found["app"].to_pylist() == [None, "mail", None]
    assert "192.0.2.2" not in found["server_ip"].to_pylist()


def test_rows_of_a_file_are_for_its_flows(chat: Path, table: Any, tmp_path: Path) -> None:
    """The same traffic in two files has two labels."""
    other = tmp_path / "other.pcap"
    other.write_bytes(chat.read_bytes())
    truth = table("file,app\nchat_login.pcap,one\nother,two\n")
    found = fg.read([chat, other], truth=truth)
    labels = dict(zip(found["source"].to_pylist(), found["app"].to_pylist(), strict=True))
    assert labels == {str(chat): "one", str(other): "two"}


def test_an_arrow_table_is_a_table_too(chat: Path) -> None:
    """What Python holds need not be written first."""
    truth = pa.table({"client": ["10.0.0.2"], "app": ["dns"]})
    assert fg.read(chat, truth=truth)["app"].to_pylist() == [None, None, "dns"]


def test_cics_table_has_the_label_in_its_own_column(chat: Path, table: Any) -> None:
    """Where a table has a label, Label is that."""
    found = fg.read(chat, schema="cic", truth=table("server,label\n192.0.2.2,DoS Hulk\n"))
    assert found["Label"].to_pylist() == ["NeedManualLabel", "DoS Hulk", "NeedManualLabel"]


def test_the_clock_of_the_table_is_found_and_told(chat: Path, table: Any) -> None:
    """The table is three hours behind; by auto the run finds it, and labels by it."""
    local = [str(np.datetime64(BEGIN - 3 * 3600 + 60 * number, "s")) for number in range(3)]
    rows = [
        f"{time},{time},{flow[2]},app {number}" for number, (time, flow) in enumerate(zip(local, FLOWS, strict=True))
    ]
    truth = table("\n".join(["start,end,dst,app", *rows]) + "\n")
    stats = fg.extract(str(chat), io.BytesIO(), format="csv", truth=truth, truth_offset="auto", active_timeout="off")
    assert stats.truth == {
        "table": truth,
        "offset_s": 10800.0,
        "offset_found": True,
        "rows": 3,
        "rows_matched": 3,
        "records": 3,
        "records_matched": 3,
        "unmatched_rows": [],
    }
    assert stats.labels == {"app 0": 1, "app 1": 1, "app 2": 1}
    given = fg.read(chat, truth=truth, truth_offset=10800)
    assert given["app"].to_pylist() == ["app 0", "app 1", "app 2"]
    with pytest.warns(UserWarning, match="no record matches a row of"):
        assert fg.read(chat, truth=truth)["app"].null_count == 3


def test_finding_the_clock_needs_captures_that_can_be_read_twice(chat: Path, table: Any) -> None:
    """Before anything is read."""
    with pytest.raises(fg.ConfigError, match=r"reads captures twice, and .* can be read only once"):
        fg.read(io.BytesIO(chat.read_bytes()), truth=table("start,app\n5,x\n"), truth_offset="auto")


def test_the_command_tells_what_matched(chat: Path, table: Any, tmp_path: Path) -> None:
    """The summary has a line, the rows without a record are a note, and JSON has all of it."""
    truth, output = table("server,app\n192.0.2.1,mail\n192.0.2.9,web\n"), str(tmp_path / "flows.csv")
    result = CliRunner().invoke(app, ["extract", str(chat), "-o", output, "--truth", truth])
    assert result.exit_code == 0
    assert f"truth     {truth}: 2 of 3 records matched by 1 of 2 rows" in result.stdout
    assert f"1 row of {truth} without a record: 2 (counted from 1)" in result.stderr
    result = CliRunner().invoke(app, ["extract", str(chat), "-o", output, "--truth", truth, "--json-summary"])
    assert json.loads(result.stdout)["truth"]["records_matched"] == 2


@pytest.mark.parametrize("options", [["--truth", "none.csv"], ["--truth-offset", "5"]])
def test_a_mistake_ends_the_command_before_anything_is_written(chat: Path, tmp_path: Path, options: list[str]) -> None:
    """Exit code 2, one line, no output."""
    output = tmp_path / "flows.csv"
    result = CliRunner().invoke(app, ["extract", str(chat), "-o", str(output), *options])
    assert (result.exit_code, output.exists()) == (2, False)
    assert "truth" in result.stderr or "none.csv" in result.stderr
