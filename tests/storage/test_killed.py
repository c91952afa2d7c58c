"""A data set in a bucket: the same files as on this machine, also where a run was killed in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flowgauge import storage
from flowgauge.dataset import MANIFESTS
from flowgauge.flowfiles import open_table, read_stats
from manyfiles import write_captures

pytestmark = pytest.mark.slow

_PROGRAM = """
import sys
import flowgauge.run
from flowgauge.cli import main

flowgauge.run._MOST_TOGETHER = 2
sys.argv[0] = "flowgauge"
main()
"""


def command(inputs: Path, output: str, *more: str) -> list[str]:
    options = ["--label", "{app}_*.pcap", "--partition-by", "date,app", "--join", "--threads", "1", "--quiet"]
    return [sys.executable, "-c", _PROGRAM, "extract", str(inputs), "-o", output, *options, *more]


def objects(folder: str) -> dict[str, Any]:
    """Parts by their names, with their bytes."""
    found = storage.listing(folder)
    return {entry.url[len(folder) :]: storage.read(entry.url) for entry in found if entry.url.endswith(".parquet")}


def test_a_run_into_a_bucket_that_was_killed_goes_on(bucket: str, tmp_path: Path) -> None:
    """Objects are there whole or not at all; --resume gives those of an undisturbed run, and reports read them."""
    write_captures(tmp_path / "in", 40, 12)
    whole, flows = f"{bucket}/whole/", f"{bucket}/flows/"
    subprocess.run(command(tmp_path / "in", whole), check=True, timeout=60)
    with subprocess.Popen(command(tmp_path / "in", flows)) as run:
        for _ in range(600):
            done = [entry for entry in _manifest(flows) if "/chunk-" in entry.url]
            if len(done) >= 3 or run.poll() is not None:
                break
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
    assert 3 <= len(done) < 20 and objects(flows).items() < objects(whole).items()
    subprocess.run(command(tmp_path / "in", flows, "--resume"), check=True, timeout=60)
    assert objects(flows) == objects(whole)
    counted = read_stats([flows])
    assert counted is not None and counted.packets == 480 and open_table(flows, "a").rows == counted.rows


def _manifest(folder: str) -> list[storage.Entry]:
    try:
        return storage.listing(f"{folder}{MANIFESTS}/")
    except FileNotFoundError:
        return []
