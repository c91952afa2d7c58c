"""`flowgauge report`: one page of flow tables or captures, or one line that says why not."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

import flowgauge as fg
from flowgauge.cli import app
from flowgauge.cli.report import FEATURES

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

CAPTURES = Path(__file__).parent.parent.parent / "examples" / "captures"
LABEL = "{app}_{action}_*.pcap"
DATA = re.compile(r'<script id="data" type="application/json">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    found: pa.Table = fg.read(CAPTURES, label=LABEL, features=FEATURES)
    return found


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def data(path: Path) -> dict[str, Any]:
    """What a page holds."""
    match = DATA.search(path.read_text("utf-8"))
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def without_origin(path: Path) -> dict[str, Any]:
    return {name: value for name, value in data(path).items() if name not in ("title", "subtitle", "made")}


def made(path: Path) -> dict[str, list[str]]:
    return dict(data(path)["made"])


@pytest.mark.parametrize("extension", ["parquet", "arrow", "csv", "csv.gz"])
def test_formats_give_the_same_page(table: pa.Table, tmp_path: Path, extension: str) -> None:
    """A table has the same report in whatever format it was kept."""
    from flowgauge.report.summary import summarise

    path, page = tmp_path / f"flows.{extension}", tmp_path / "report.html"
    fg.write(table, path)
    result = report(path, "-o", page)
    assert (result.exit_code, result.output) == (0, f"{page}: 80 flows\n")
    found, expected = without_origin(page), summarise(table)
    assert found["headline"] == expected.headline
    assert found["cells"]["flows"] == expected.cells["flows"].to_pylist()
    assert {"fingerprints", "names", "tcp_states"} <= found["tables"].keys()
    for name, columns in found["tables"].items():
        counts = [column for column in columns if isinstance(columns[column], list)]
        assert {column: columns[column] for column in counts} == expected.rows(name).select(counts).to_pydict(), name


def test_captures_are_metered_first(tmp_path: Path) -> None:
    """A report of captures has their flows with labels, the packets by reason, and the command that made it."""
    page = tmp_path / "report.html"
    result = report(CAPTURES, "-o", page, "--label", LABEL)
    assert (result.exit_code, result.stdout) == (0, f"{page}: 80 flows\n")
    assert data(page)["headline"]["flows"] == 80
    assert data(page)["dimensions"] == ["app", "action", "protocol", "service"]
    facts = made(page)
    assert facts["Packets"] == ["metered 2,334", "not_ip 22"]
    assert facts["Command"] == [f"flowgauge report {CAPTURES} -o {page} --label '{LABEL}'"]
    assert len(facts["Captures"]) == 12


def test_tables_add_up(table: pa.Table, tmp_path: Path) -> None:
    """Of several tables, one report has all rows, also where a column is in one of them only."""
    first, second, page = tmp_path / "a.parquet", tmp_path / "b.csv", tmp_path / "report.html"
    fg.write(table.slice(0, 30), first)
    fg.write(table.slice(30).drop_columns(["server_name"]), second)
    assert report(first, second, "-o", page).exit_code == 0
    assert data(page)["headline"]["bytes"] == sum(table["frame_bytes"].to_pylist())
    assert data(page)["title"] == f"{first}, {second}"


def test_same_input_same_bytes(table: pa.Table, tmp_path: Path) -> None:
    """Two processes with other hash seeds write the same bytes."""
    fg.write(table, tmp_path / "flows.parquet")
    pages = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "flowgauge", "report", "flows.parquet", "-o", "report.html"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        pages.append((tmp_path / "report.html").read_bytes())
    assert pages[0] == pages[1]


def test_standard_output(table: pa.Table, tmp_path: Path) -> None:
    """With -o - the page goes to standard output and the line about it elsewhere."""
    fg.write(table, tmp_path / "flows.parquet")
    result = report(tmp_path / "flows.parquet", "-o", "-")
    assert result.stdout.startswith("<!doctype html>") and result.stdout.endswith("</html>\n")
    assert result.stderr == "-: 80 flows\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.parquet"], 1, "gone.parquet: no such file or folder"),
        (["gone.csv"], 1, "gone.csv: no such file or folder"),
        (["gone.pcap"], 1, "gone.pcap: no such file or folder"),
        (["other.csv"], 2, "a report is made of native flow records, and there is no column start"),
        (["empty.csv"], 1, "empty.csv: cannot be read as a flow table"),
        (["broken.parquet"], 1, "broken.parquet: cannot be read as a flow table"),
        (["text.csv.gz"], 1, "text.csv.gz: cannot be read as a flow table"),
        (["flows.parquet", "captures"], 2, "flows.parquet is a flow table and captures is not"),
        (["flows.parquet", "--label", LABEL], 2, "--label is for captures, and flows.parquet is a flow table already"),
        (["flows.parquet", "-o", "nowhere/report.html"], 3, "cannot write nowhere/report.html"),
        (["captures", "--features", "nonsense"], 2, "nonsense"),
    ],
)
def test_errors(
    table: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """What cannot be is one line that says what and where, and the page that was there stays as it was."""
    monkeypatch.chdir(tmp_path)
    fg.write(table, "flows.parquet")
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("empty.csv").write_text("")
    Path("broken.parquet").write_bytes(b"PAR1 and nothing of it")
    Path("text.csv.gz").write_text("not compressed")
    Path("captures").mkdir()
    (Path("captures") / "dns.pcap").write_bytes((CAPTURES / "dns_lookup_01.pcap").read_bytes())
    Path("report.html").write_text("before")
    result = report(*arguments)
    assert result.exit_code == code
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert Path("report.html").read_text() == "before"
    assert not list(tmp_path.glob(".report*"))


@pytest.mark.parametrize("module", ["altair", "vl_convert"])
def test_missing_extra(table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Without what draws, the error is the command that installs it."""
    fg.write(table, tmp_path / "flows.parquet")
    found = importlib.util.find_spec
    monkeypatch.setattr("flowgauge.report.page.find_spec", lambda name: None if name == module else found(name))
    result = report(tmp_path / "flows.parquet", "-o", tmp_path / "r.html")
    assert result.exit_code == 1
    assert result.stderr == f"flowgauge: a report needs {module}: pip install 'flowgauge[report]'\n"
    assert not (tmp_path / "r.html").exists()


def test_a_capture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The report has the others, the line names the one, and the exit code is 1."""
    (tmp_path / "bad.pcap").write_bytes(b"no capture at all")
    page = tmp_path / "report.html"
    result = report(CAPTURES / "dns_lookup_01.pcap", tmp_path / "bad.pcap", "-o", page)
    assert result.exit_code == 1
    assert "bad.pcap" in result.stderr
    assert data(page)["headline"]["flows"] == 10
