"""Captures and records in an object storage, metered by Spark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services_here import needs
from spark_trace import frames, in_files

pytestmark = [pytest.mark.slow, needs("java", "pyspark", "moto")]


def test_the_same_command_gives_the_same_table(s3: Any, bucket: str, tmp_path: Path) -> None:
    """One trace in a bucket, and an output there: with `--engine spark` it has the same bytes."""
    name = bucket.removeprefix("s3://")
    for path in in_files(tmp_path, frames(600, jumps=False), 3):
        s3.upload_file(path, name, f"2026/{Path(path).name}")
    written = []
    for engine in ([], ["--engine", "spark", "--master", "local[2]"]):
        output = f"flows-{len(engine)}.parquet"
        command = [sys.executable, "-m", "flowgauge", "extract", f"{bucket}/2026/**/*.pcap", "-o", f"{bucket}/{output}"]
        done = subprocess.run([*command, "--join", *engine], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        written.append(s3.get_object(Bucket=name, Key=output)["Body"].read())
    assert written[0] == written[1]
    assert len(written[0]) > 10_000
