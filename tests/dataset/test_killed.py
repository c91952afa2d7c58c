"""The promise of data sets: a run that is killed at any moment and then goes on gives what an undisturbed one gives."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flowgauge.dataset import MANIFESTS
from manyfiles import contents, write_captures
from stoppable import Forker, forker

FILES, MOMENTS, TOGETHER = 200, 20, 10

pytestmark = pytest.mark.slow


def seconds_of(run: Forker, options: dict[str, Any]) -> float:
    begin = time.monotonic()
    assert run.run(options)
    return time.monotonic() - begin


def check_files(dataset: Path) -> None:
    """Every file that has its name is whole."""
    for path in dataset.rglob("part-*.parquet"):
        pq.read_metadata(path)


def done(dataset: Path) -> int:
    return len(list(dataset.glob(f"{MANIFESTS}/*/chunk-*.json")))


@pytest.mark.parametrize("join", [False, True])
def test_a_run_that_is_killed_at_any_moment_goes_on(tmp_path: Path, join: bool) -> None:
    """kill -9 at 20 moments of a run over 200 files, every other time once more while it goes on: the folder has the
    same files, byte for byte, as that of a run that nobody has disturbed, and no other."""
    write_captures(tmp_path / "in", FILES, 12)
    given = {"inputs": str(tmp_path / "in"), "label": "{app}_*.pcap", "partition_by": "date,app", "join": join}
    given["features"] = "core,size"
    rng, stopped = random.Random(20), []
    with forker(TOGETHER, given | {"output": f"{tmp_path}/first/"}) as runs:
        seconds = seconds_of(runs, given | {"output": f"{tmp_path}/whole/"})
        whole = contents(tmp_path / "whole")
        for moment in range(MOMENTS):
            dataset = tmp_path / f"flows{moment}"
            options = given | {"output": f"{dataset}/", "resume": True}
            runs.run(options, rng.random() * seconds)
            stopped.append(done(dataset))
            check_files(dataset)
            if moment % 2:
                runs.run(options, rng.random() * seconds)
                check_files(dataset)
            assert runs.run(options)
            assert contents(dataset) == whole
    chunks = -(-FILES // TOGETHER)
    assert sum(0 < count < chunks for count in stopped) > MOMENTS / 3, f"stopped behind chunks {stopped} of {chunks}"
