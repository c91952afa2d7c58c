"""Features found by their names: files, modules, installed packages; and tried without compiling."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

import flowgauge as fg
from flowgauge.cli import app
from flowgauge.custom import load
from flowgauge.sample import sample_capture

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "features"
TINY = f"{EXAMPLES / 'tiny_packets.py'}:tiny"
TEXT = """
import flowgauge as fg

@fg.feature(columns={"n": fg.u32})
def counted(flow):
    flow.n += 1
"""


def test_a_reference_names_file_feature_and_parameters() -> None:
    """FILE.py:NAME(parameter=number) is the feature of the file with that parameter."""
    assert repr(load.load_feature(TINY)) == "tiny(limit=64)"
    assert repr(load.load_feature(f"{TINY}(limit=10)")) == "tiny(limit=10)"
    assert load.load_feature(TINY).functions is load.load_feature(TINY).functions  # the file is run once


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (f"{EXAMPLES}/tiny_packets.py:small", "tiny_packets.py has no feature 'small'; it has tiny"),
        (f"{EXAMPLES}/none.py:tiny", "there is no file .*none.py"),
        ("no_such_module:tiny", "cannot import no_such_module: .*; a file is named with its .py"),
        ("json:dumps", "json has no feature 'dumps'; it has none"),
        (f"{TINY}(10)", "the parameters of .* are not name=number, name=number"),
        (f"{TINY}(limit=ten)", "the parameters of .* are not name=number"),
        (f"{TINY}(limit='ten')", "parameter 'limit' is a number, not 'ten'"),
        (f"{TINY}(most=1)", "feature 'tiny' has no parameter 'most'; it has limit"),
        ("tiny", "no installed package offers a feature 'tiny'; offered: none"),
        ("a b", "'a b' is not FILE.py:NAME"),
    ],
)
def test_what_is_not_there_is_said(reference: str, message: str) -> None:
    """One line says what was looked for and what there is."""
    with pytest.raises(fg.ConfigError, match=message):
        load.load_feature(reference)


def test_a_file_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    """An exception while the file is run is shown with file and line, syntax errors too."""
    path = tmp_path / "broken.py"
    path.write_text("x = 1\nx.nothing\n")
    with pytest.raises(fg.ConfigError, match=r"broken.py:2: AttributeError: 'int' object has no attribute 'nothing'"):
        load.load_feature(f"{path}:x")
    path.write_text("x = (\n")
    with pytest.raises(fg.ConfigError, match=r"broken.py:1: SyntaxError"):
        load.load_feature(f"{path}:x")


def test_packages_offer_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature of an installed package is found by the name of its entry point, among the names of groups."""
    (tmp_path / "offering.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("counted", "offering:counted", load.GROUP)
    with mock.patch.object(load, "entry_points", return_value=[point]):
        assert [column.name for column in fg.columns(features="core,counted")][-1] == "n"
        with pytest.raises(fg.ConfigError, match="offered: counted"):
            load.load_feature("other")


def test_the_command_takes_features(tmp_path: Path) -> None:
    """--feature adds to the groups that are on, or to those of --features, also in other schemas."""
    (tmp_path / "a.pcap").write_bytes(sample_capture())
    for options, first in (([], "flow_id"), (["--features", "core"], "flow_id"), (["--schema", "basic"], "StartTime")):
        output = tmp_path / "flows.csv"
        arguments = ["extract", str(tmp_path / "a.pcap"), "-o", str(output), "--quiet", "--feature", TINY, *options]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        header, *rows = output.read_text().splitlines()
        assert header.startswith(first) and header.endswith(",up_tiny_packets,down_tiny_packets")
        assert [row.split(",")[-2:] for row in rows] == [["1", "1"], ["6", "2"]]
    result = CliRunner().invoke(app, ["extract", str(tmp_path / "a.pcap"), "-o", "-", "--feature", "tiny"])
    assert result.exit_code == 2


def _try(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowgauge.testing", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_trying_runs_plain_python(tmp_path: Path) -> None:
    """python -m flowgauge.testing runs a file's features uncompiled: print works, and is named as not compilable."""
    path = tmp_path / "mine.py"
    path.write_text(TEXT + "    print('seen')\n")
    done = _try(str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("seen\n") == 12
    assert [line for line in done.stdout.splitlines() if line.startswith("  counted")] == [
        "  counted: n=2",
        "  counted: n=10",
    ]
    assert done.stderr.startswith(f"not to be compiled yet: {path}:7: counted: print cannot be compiled")


def test_trying_captures_of_ones_own(tmp_path: Path) -> None:
    """A named feature with parameters runs over given captures; what is not there ends with 2 and one line."""
    capture = tmp_path / "a.pcap"
    capture.write_bytes(sample_capture())
    done = _try(f"{TINY}(limit=1)", str(capture))
    assert "  tiny(limit=1): up_tiny_packets=5 down_tiny_packets=2\n" in done.stdout
    missing = _try(str(tmp_path / "none.py"))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert _try().returncode == 2
