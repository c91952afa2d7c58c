"""The README is enough for somebody who has never seen the project."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docpages import ROOT

SCRIPT = ROOT / "tests" / "newcomer.sh"
RESULTS = ("flows.parquet", "report.html")
LIMIT_S = 600


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone of a repository")
@pytest.mark.skipif(shutil.which("git") is None or shutil.which("bash") is None, reason="git and bash are needed")
def test_newcomer_follows_the_readme(tmp_path: Path) -> None:
    """The README's commands, in an empty home and from a bare clone, succeed within ten minutes."""
    command = [str(SCRIPT), str(tmp_path / "newcomer")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=2 * LIMIT_S)
    assert done.returncode == 0, done.stdout[-5000:]
    took = re.search(r"^the README was followed in (\d+) s$", done.stdout, re.MULTILINE)
    assert took is not None and int(took[1]) < LIMIT_S
    assert "Traceback" not in done.stdout
    for name in RESULTS:
        assert (tmp_path / "newcomer" / "flowgauge" / name).stat().st_size > 0
