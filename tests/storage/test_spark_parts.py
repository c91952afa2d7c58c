"""Large captures in a storage, read in parts by tasks of Spark."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from flowgauge.sources.splitting import layout_of
from flowgauge.storage import put
from services_here import needs
from spark_stand_in import Session, extract_by
from spark_trace import frames, in_files

pytestmark = [pytest.mark.slow, needs("moto", "pyspark")]


def test_an_object_is_read_in_parts(bucket: str, tmp_path: Path) -> None:
    """A large object, and a trace in several, give the rows of the same files on this machine."""
    paths = in_files(tmp_path, frames(400, jumps=False), 2)
    urls = [f"{bucket}/{os.path.basename(path)}" for path in paths]
    for path, url in zip(paths, urls, strict=True):
        put(url, Path(path).read_bytes())
    assert layout_of(urls[0]) is not None
    sizes = dict.fromkeys(("spark_sql_files_openCostInBytes", "spark_sql_files_maxPartitionBytes"), "20000b")
    for join in (False, True):
        here, there = (
            extract_by(Session(1, **sizes), names, "csv", join=join, schema="basic") for names in (paths, urls)
        )
        assert io.BytesIO(here[0]).readlines() == io.BytesIO(there[0]).readlines()
        assert here[1].packets == there[1].packets > 0
