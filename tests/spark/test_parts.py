"""flowgauge.spark without Spark: the parts of its work, one after the other in this process."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import flowgauge as fg
from captures import enhanced, interface, section, write_pcap, write_pcapng
from flowgauge.errors import ConfigError, SourceError
from flowgauge.kernels._jit import JIT
from flowgauge.run import extract
from flowgauge.spark.plan import Sizes, Trace, arranged, jobs_of, plan_of
from packets import Sent, eth, ip4, sent, udp
from services_here import needs
from spark_stand_in import Session, extract_by
from spark_trace import frames, in_files

pytestmark = needs("pyspark")

BYTES = "core,size,names,payload,raw,splt"
MANY = 2000 if JIT else 250


def _session(task: int | None = None, **settings: str) -> Session:
    """A session in which a task gets so many bytes, and a capture of more of them is split."""
    if task is not None:
        sizes = dict.fromkeys(("spark_sql_files_openCostInBytes", "spark_sql_files_maxPartitionBytes"), f"{task}b")
        settings = sizes | settings
    return Session(1, **settings)


def _here(inputs: Any, format: str = "parquet", **options: Any) -> tuple[bytes, Any]:
    output = io.BytesIO()
    stats = extract(inputs, output, format=format, threads=1, **options)
    return output.getvalue(), stats


@pytest.mark.parametrize("features", ["core,size,iat,flags,tcp", BYTES])
@pytest.mark.parametrize(("files", "task"), [(1, None), (7, None), (1, 20_000), (3, 40_000)])
def test_a_trace_in_shards_is_the_same_trace(tmp_path: Path, files: int, task: int | None, features: str) -> None:
    """Flows, fragments, tunnels and names that cross the borders of files and parts: the same bytes as read as one."""
    paths = in_files(tmp_path, frames(MANY, jumps=False), files)
    options = {"join": True, "features": features}
    assert extract_by(_session(task), paths, **options)[0] == _here(paths, **options)[0]


@pytest.mark.parametrize("files", [1, 5])
def test_steps_of_the_clock_are_the_same(tmp_path: Path, files: int) -> None:
    """Where times jump, parts do not decide by themselves what is genuine: the clock runs through them in order."""
    paths = in_files(tmp_path, frames(MANY, seed=3, jumps=True), files)
    one, other = extract_by(_session(20_000), paths, join=True), _here(paths, join=True)
    assert one[0] == other[0]
    assert one[1].counters == other[1].counters
    assert one[1].counters["clock_jump"] > 0


def test_a_file_that_begins_far_from_the_others(tmp_path: Path) -> None:
    """A file of simple times that begins hours behind the clock is run through it, too."""
    first, last = frames(60, jumps=False), frames(60, seed=9, jumps=False)
    later = [frame._replace(time=frame.time + 10**13) for frame in last]  # type: ignore[operator]
    paths = [str(tmp_path / name) for name in ("a.pcap", "b.pcap", "c.pcap")]
    for path, content in zip(paths, (first, later, first), strict=True):
        Path(path).write_bytes(write_pcap(content, ns=True))
    assert extract_by(_session(), paths, join=True)[0] == _here(paths, join=True)[0]


def test_a_large_capture_is_metered_in_shards_between_others(tmp_path: Path) -> None:
    """Captures that are traces of their own, a large one among them: the same rows in the same order."""
    sizes = (40, MANY // 2, 30)
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.pcap").write_bytes(write_pcap(frames(size, seed=number, jumps=False), ns=True))
    large = (tmp_path / "1.pcap").stat().st_size
    got, stats = extract_by(_session(large // 3), str(tmp_path), features=BYTES)
    want, other = _here(str(tmp_path), features=BYTES)
    assert got == want
    assert (stats.files, stats.input_bytes) == (other.files, other.input_bytes)


def test_a_trace_has_shards_by_its_own_size(tmp_path: Path) -> None:
    """As many as its bytes fill tasks; more where processors would have no work; never one for each task of all."""
    sizes = Sizes(task=100, most=100, parallel=4, shards=20)
    assert [sizes.shards_of(stored, 1) for stored in (0, 50, 400, 401, 5000)] == [4, 4, 4, 5, 20]
    assert [sizes.shards_of(stored, 8) for stored in (0, 100, 101, 5000)] == [1, 1, 2, 20]
    paths = in_files(tmp_path, frames(MANY, jumps=False), 3)
    run, _ = plan_of(paths, {})
    jobs = jobs_of(run)
    task = max(Path(path).stat().st_size for path in paths) // 2 + 1
    whole, traces = arranged(jobs, run, Sizes(task, 100, 4, 200))
    assert not whole
    assert [trace for trace, _ in traces] == [Trace(number, 2 * number, 2) for number in range(3)]


def test_the_counts_are_the_same(tmp_path: Path) -> None:
    """Files, packets, bytes, reasons, oddities and ends of records are those of one machine, whatever was split."""
    paths = in_files(tmp_path, [*frames(MANY, jumps=False), sent(9e3, b"\0" * 60)], 3)
    for options in ({"join": True}, {"join": True, "filter": "udp"}, {"features": BYTES}):
        if "filter" in options and not _has_libpcap():
            continue
        assert extract_by(_session(30_000), paths, **options)[1].results() == _here(paths, **options)[1].results()


def _has_libpcap() -> bool:
    from flowgauge.sources import libpcap

    return libpcap.is_installed()


def test_damaged_and_unreadable_captures_are_named(tmp_path: Path) -> None:
    """A capture that is cut off and one that is none do not stop the others, with join or without."""
    paths = in_files(tmp_path, frames(90, jumps=False), 3)
    Path(paths[2]).write_bytes(Path(paths[2]).read_bytes()[:-5])
    Path(tmp_path / "none.pcap").write_bytes(b"no capture at all")
    paths.insert(1, str(tmp_path / "none.pcap"))
    for join in (False, True):
        got, stats = extract_by(_session(), paths, join=join)
        want, other = _here(paths, join=join)
        assert got == want
        assert stats.failed == other.failed and len(stats.failed) == 1
        assert stats.damaged == other.damaged and len(stats.damaged) == 1


def test_a_capture_in_a_capture_is_not_split_by_its_records(tmp_path: Path) -> None:
    """Packets that carry records of another capture make borders seem to be where none are: it is read in one part."""
    inner = write_pcap([sent(number, b"\0" * 8) for number in range(60)])[24:]
    carried = [Sent(frame.time, eth(ip4(udp(1, 2, inner))), len(inner) + 42) for frame in frames(50, jumps=False)]
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(carried, ns=True))
    assert extract_by(_session(5_000), str(path))[0] == _here(str(path))[0]


def test_labels_of_all_kinds_are_there(tmp_path: Path) -> None:
    """Labels of names and of a truth table are on the same records, and are counted the same."""
    for app in ("chat", "mail"):
        in_files_of = frames(80, seed=len(app), jumps=False)
        (tmp_path / f"{app}_1.pcap").write_bytes(write_pcap(in_files_of, ns=True))
    table = tmp_path / "truth.csv"
    table.write_text("server_ip,app\n192.0.2.10,video\n10.0.0.53,resolver\n")
    for join in (False, True):
        for options in ({"label": "{app}_*.pcap"}, {"truth": str(table)}):
            paths = [str(tmp_path / f"{app}_1.pcap") for app in ("chat", "mail")]
            one, other = extract_by(_session(), paths, join=join, **options), _here(paths, join=join, **options)
            assert one[0] == other[0]
            assert one[1].labels == other[1].labels and one[1].labels
            assert one[1].truth == other[1].truth


def test_processes_have_the_same_names_in_all_parts(tmp_path: Path) -> None:
    """Labels that packets say have numbers that all tasks agree on."""
    paths = []
    for number, names in enumerate((("ssh", "curl"), ("curl", "dig", "ssh"))):
        records = [
            (frame.time, frame.data, f"s={number},proc={names[place % len(names)]}")
            for place, frame in enumerate(frames(40, seed=number, jumps=False))
        ]
        path = tmp_path / f"{number}.pcapng"
        path.write_bytes(_with_comments(records))
        paths.append(str(path))
    got, want = extract_by(_session(), paths, join=True), _here(paths, join=True)
    assert got[0] == want[0]
    assert {"curl", "dig", "ssh"} <= set(want[1].labels)


def _with_comments(records: list[Any]) -> bytes:
    blocks = [section(), interface(resolution=9)]
    blocks += [enhanced(time, data, pairs=[(1, comment.encode())]) for time, data, comment in records]
    return b"".join(blocks)


def test_schemas_number_and_name_alike(tmp_path: Path) -> None:
    """Tables of other tools are the same, too; NFStream's numbers of records among them."""
    paths = in_files(tmp_path, frames(200, jumps=False), 2)
    for schema in ("nfstream", "zeek"):
        options = {"schema": schema, "join": True}
        assert extract_by(_session(), paths, "csv", **options)[0] == _here(paths, "csv", **options)[0]


def test_what_does_not_go_with_spark_is_said(tmp_path: Path) -> None:
    """Options that look at packets of several files at once, and objects of this process, are refused by name."""
    from flowgauge.spark import flows

    (path,) = in_files(tmp_path, frames(10, jumps=False), 1)

    @fg.feature(columns={"tiny": fg.u32})
    def tiny(flow: Any, pkt: Any) -> None:
        """Packets."""
        flow.tiny += 1

    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (path, {"join": True, "dedup": "1ms"}, "^dedup compares"),
        (path, {"join": True, "reorder": "1ms"}, "^reorder compares"),
        (path, {"threads": 2}, "^threads is for one machine"),
        (path, {"features": ["core", tiny]}, "name it as FILE.py:tiny"),
        (io.BytesIO(Path(path).read_bytes()), {}, "with Spark, captures are files"),
        (path, {"truth": pa.table({"server_ip": ["1.2.3.4"], "app": ["x"]}), "truth_offset": "auto"}, "on one machine"),
    ]
    for inputs, options, message in wrong:
        with pytest.raises(ConfigError, match=message):
            flows(_session(), inputs, **options)
    with pytest.raises(SourceError, match="no such file"):
        flows(_session(), str(tmp_path / "absent.pcap"))


def test_dedup_and_reorder_are_for_captures_of_their_own(tmp_path: Path) -> None:
    """Without join both give what they give on one machine, and no capture is split then."""
    paths = in_files(tmp_path, frames(200, jumps=False), 2)
    for options in ({"dedup": "1ms"}, {"reorder": "300ms"}):
        assert extract_by(_session(5_000), paths, **options)[0] == _here(paths, **options)[0]


def test_columns_have_types_of_spark() -> None:
    """Unsigned integers become the next larger ones, dictionaries texts, lists and all; a time is there twice."""
    from flowgauge.spark.types import spark_schema, to_spark

    late = 1_700_000_000_123_456_789
    batch = pa.RecordBatch.from_pydict(
        {
            "start": pa.array([late, None], pa.timestamp("ns", "UTC")),
            "a": pa.array([255, None], pa.uint8()),
            "b": pa.array([65535, 0], pa.uint16()),
            "c": pa.array([2**32 - 1, 0], pa.uint32()),
            "d": pa.array(["x", None]).dictionary_encode(),
            "e": pa.array([[255, 1], None], pa.list_(pa.uint8())),
            "f": pa.array([b"\0", None], pa.binary()),
            "g": pa.array([0.5, None], pa.float64()),
        }
    )
    made = to_spark(batch)
    assert made.schema == spark_schema(batch.schema)
    assert list(map(str, made.schema.types)) == [
        "timestamp[us, tz=UTC]",
        *("int64", "int16", "int32", "int64", "string", "list<element: int16>", "binary", "double"),
    ]
    row = {name: column[0].as_py() for name, column in zip(made.schema.names, made.columns, strict=True)}
    assert row["start_ns"] == late
    assert row["start"].microsecond == 123_456
    assert (row["a"], row["b"], row["c"], row["d"], row["e"]) == (255, 65535, 2**32 - 1, "x", [255, 1])


def test_only_the_bytes_that_are_read_travel() -> None:
    """Packets travel without their bytes where no feature reads any; with group raw alone, with as many as it keeps."""
    from flowgauge.config import make_config
    from flowgauge.kernels.shipping import ALL_BYTES
    from flowgauge.spark.blocks import bytes_needed

    assert bytes_needed(make_config()) == 0
    assert bytes_needed(make_config(features="raw", raw_bytes=40)) == 40
    assert bytes_needed(make_config(features="raw,names")) == ALL_BYTES
    assert bytes_needed(make_config(features="payload")) == ALL_BYTES


def test_packets_survive_the_way(tmp_path: Path) -> None:
    """A block gives back the rows that went in, and each finds its own bytes."""
    from flowgauge.kernels.packet import PACKET
    from flowgauge.spark.blocks import Packets, joined, to_batch, unpacked

    rows = np.zeros(3, PACKET)
    rows["number"], rows["offset"], rows["payload_offset"] = (1, 2, 3), (0, 2, 4), (1, 3, 5)
    one = Packets(rows.view(np.uint8), np.arange(6, dtype=np.uint8))
    packed = unpacked(one.packets.tobytes(), one.data.tobytes())
    batch, count = to_batch(both := joined([packed, packed]))
    assert count == 6
    assert batch.packets.number.tolist() == [1, 2, 3, 1, 2, 3]
    assert both.data[batch.packets.payload_offset].tolist() == [1, 3, 5, 1, 3, 5]
    assert batch.packets.offset.tolist() == [0, 2, 4, 6, 8, 10]


def test_pcapng_is_read_whole(tmp_path: Path) -> None:
    """A large pcapng file is metered by one task, and gives what it gives otherwise."""
    path = tmp_path / "a.pcapng"
    path.write_bytes(write_pcapng(frames(60, jumps=False)))
    assert extract_by(_session(1_000), str(path))[0] == _here(str(path))[0]


def test_the_command_takes_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--engine spark` hands everything to Spark, with its master; another engine, or a master alone, is refused."""
    from typer.testing import CliRunner

    from flowgauge.cli import app
    from flowgauge.stats import RunStats

    calls: list[dict[str, Any]] = []

    def extracted(inputs: Any, output: Any, **options: Any) -> RunStats:
        calls.append({"inputs": inputs, "output": output, **options})
        return RunStats()

    monkeypatch.setattr("flowgauge.spark.extract.extract", extracted)
    line = "extract a.pcap -o x.csv --engine spark --master spark://host:7077 --join --features core --quiet"
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    (call,) = calls
    assert call.pop("notify") is not None
    wanted = {"inputs": ["a.pcap"], "output": "x.csv", "master": "spark://host:7077"}
    assert call == wanted | {"join": True, "features": "core"}
    for wrong, message in (("--engine flink", "'flink' is not spark"), ("--master local", "give --engine spark too")):
        result = CliRunner().invoke(app, ["extract", "a.pcap", "-o", "x.csv", *wrong.split()])
        assert result.exit_code == 2
        assert message in result.stderr


def test_without_pyspark_the_install_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is one line; so is a PySpark that is too old."""
    from flowgauge.spark.frame import flows

    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.0.1")
    with pytest.raises(fg.MissingDependency, match=r"4\.0\.1 is too old: pip install --upgrade 'flowgauge\[spark\]'"):
        flows(_session(), "a.pcap")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(fg.MissingDependency, match=r"pip install 'flowgauge\[spark\]'"):
        flows(_session(), "a.pcap")


def test_data_sets_are_written_by_one_process() -> None:
    """What only a data set of this process has is refused, before anything is read."""
    for name, value in (("partition_by", "app"), ("resume", True)):
        with pytest.raises(ConfigError, match=f"^{name} is for data sets"):
            extract_by(_session(), "absent.pcap", **{name: value})
