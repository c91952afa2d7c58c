"""flowgauge.spark on a cluster of Spark on this machine: a master and two executors, processes each, on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowgauge as fg
from flowgauge.kernels._cache import cache_folder
from services_here import needs
from spark_trace import frames, in_files

pytestmark = [
    pytest.mark.slow,
    needs("java", "pyspark", "pandas"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]

FEATURES = "core,size,names,raw"
SOURCES = str(Path(fg.__file__).parents[1])


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """A session with two executors of one processor each."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.driver.memory": "512m",
        "spark.executor.memory": "512m",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "3",
        "spark.sql.session.timeZone": "Asia/Tokyo",
        "spark.executorEnv.PYTHONPATH": SOURCES,
    }
    if (folder := cache_folder()) is not None:
        settings["spark.executorEnv.FLOWGAUGE_CACHE_DIR"] = str(Path(folder).parent)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.master("local-cluster[2,1,512]").appName("tests")
        for name, value in settings.items():
            builder = builder.config(name, value)
        made = builder.getOrCreate()
        yield made
        made.stop()


@contextlib.contextmanager
def split(spark: Any, task: int) -> Iterator[None]:
    """A task gets so many bytes meanwhile."""
    names = ("spark.sql.files.openCostInBytes", "spark.sql.files.maxPartitionBytes")
    before = {name: spark.conf.get(name) for name in names}
    for name in names:
        spark.conf.set(name, f"{task}b")
    yield
    for name, value in before.items():
        spark.conf.set(name, value)


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """All rows in an order of their own, without the times that Spark cuts to microseconds."""
    table = frame.toArrow()
    kept = [field.name for field in table.schema if not pa.types.is_timestamp(field.type)]
    return _ordered(table.select(kept))


def native_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The same of native records."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            name, column = f"{name}_ns", column.cast(pa.int64())
        columns[name] = column
    return _ordered(pa.table(columns))


def _ordered(table: pa.Table) -> list[dict[str, Any]]:
    return table.sort_by([("flow_id", "ascending"), ("part", "ascending")]).to_pylist()


@pytest.mark.parametrize("parts", [1, 7, 64])
def test_rows_do_not_depend_on_how_input_is_split(spark: Any, tmp_path: Path, parts: int) -> None:
    """A trace in 1, 7 and 64 parts gives the rows of one machine, whatever crosses the borders of files and parts."""
    from flowgauge.spark import flows

    paths = in_files(tmp_path, frames(800, jumps=parts == 7), min(parts, 7))
    stored = sum(os.path.getsize(path) for path in paths)
    with split(spark, stored if parts == 1 else stored // parts):
        frame = flows(spark, paths, join=True, features=FEATURES)
        assert rows_of(frame) == native_rows(fg.read(paths, join=True, features=FEATURES))


def test_a_killed_worker_changes_nothing(spark: Any, tmp_path: Path) -> None:
    """A Python worker and an executor that are killed in the middle are replaced, and the rows are the same."""
    from flowgauge.spark import flows

    paths = in_files(tmp_path, frames(1500, jumps=False), 7)
    frame = flows(spark, paths, join=True)
    killed: list[int] = []
    stopped = threading.Event()
    killer = threading.Thread(target=_kill, args=(killed, stopped))
    killer.start()
    try:
        rows = rows_of(frame)
    finally:
        stopped.set()
        killer.join()
    assert len(killed) == 2
    assert rows == native_rows(fg.read(paths, join=True))


def _kill(killed: list[int], stopped: threading.Event) -> None:
    """Kill a Python worker that is at work for this process's executors, then an executor that is: each once."""
    deadline = time.monotonic() + 60
    before: dict[int, float] = {}
    wanted = ["pyspark.daemon", "CoarseGrainedExecutorBackend"]
    while wanted and not stopped.wait(0.02) and time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                is_daemon = "pyspark.daemon" in command and process.parent().cmdline() != command
                if wanted[0] in " ".join(command) and not is_daemon and _has_worked(process, before):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)
                    wanted.pop(0)
                    break


def _has_worked(process: psutil.Process, before: dict[int, float]) -> bool:
    """Whether a process has used a tenth of a second of a processor since the first look at it."""
    spent = sum(process.cpu_times()[:2])
    return spent - before.setdefault(process.pid, spent) > 0.1


def test_the_command_writes_the_same_file(spark: Any, tmp_path: Path) -> None:
    """`extract --engine spark` writes byte for byte what it writes without, and says the same of it."""
    from flowgauge.run import extract
    from flowgauge.spark.extract import extract as spark_extract

    paths = in_files(tmp_path, frames(600, jumps=False), 3)
    for name, options in (("a.parquet", {"join": True}), ("b.csv", {"features": FEATURES})):
        here, there = str(tmp_path / name), str(tmp_path / f"spark-{name}")
        one, other = extract(paths, here, **options), spark_extract(paths, there, **options)
        assert Path(here).read_bytes() == Path(there).read_bytes()
        assert one.results() == other.results()


def test_executors_write_a_folder(spark: Any, tmp_path: Path) -> None:
    """An output that ends with / is a folder of Parquet files; one that exists is not written over."""
    from flowgauge.errors import SinkError
    from flowgauge.spark.extract import extract as spark_extract

    paths = in_files(tmp_path, frames(300, jumps=False), 2)
    folder = tmp_path / "flows"
    stats = spark_extract(paths, f"{folder}/", join=True)
    table = pq.read_table(folder)
    kept = [field.name for field in table.schema if not pa.types.is_timestamp(field.type)]
    assert len(table) == stats.rows
    assert _ordered(table.select(kept)) == native_rows(fg.read(paths, join=True))
    with pytest.raises(SinkError, match="exists"):
        spark_extract(paths, f"{folder}/", join=True)


def test_spark_can_ask_of_flows(spark: Any, tmp_path: Path) -> None:
    """The frame is one of Spark's: filtered, grouped and counted like any other; a capture that is none ends it."""
    from flowgauge.spark import flows

    paths = in_files(tmp_path, frames(300, jumps=False), 2)
    frame = flows(spark, paths)
    counted = {
        row.server_ip: row["count"] for row in frame.where("protocol = 6").groupBy("server_ip").count().collect()
    }
    table = fg.read(paths)
    wanted: dict[str, int] = {}
    for server, protocol in zip(*(table.column(name).to_pylist() for name in ("server_ip", "protocol")), strict=True):
        if protocol == 6:
            wanted[server] = wanted.get(server, 0) + 1
    assert counted == wanted
    (tmp_path / "none.pcap").write_bytes(b"nothing of that kind")
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException, match="neither pcap nor pcapng"):
        flows(spark, str(tmp_path / "none.pcap")).count()
