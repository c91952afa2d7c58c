"""Data sets: where flows go, how files are called, and what a run says that was stopped, is done, or is another one."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import flowgauge as fg
import flowgauge.run
from flowgauge.dataset import MANIFESTS, parts
from flowgauge.errors import ConfigError, SinkError
from flowgauge.flowfiles import open_table, read_stats
from flowgauge.stats import RunStats, total
from manyfiles import DAY, contents, write_captures
from packets import START

LABEL = "{app}_*.pcap"
KEYS = "date,app"


@pytest.fixture(autouse=True)
def few_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four captures."""
    monkeypatch.setattr(flowgauge.run, "_MOST_TOGETHER", 4)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    write_captures(tmp_path / "in", 10)
    return tmp_path / "in"


def write(inputs: Any, output: Path, **options: Any) -> RunStats:
    return fg.extract(inputs, f"{output}/", **{"label": LABEL, **options})


def stopping_after(captures: int) -> Any:
    """A wish to stop that comes when so many captures were read."""
    asked = iter(range(captures))
    return lambda: next(asked, None) is None


def entries(output: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(output.glob(f"{MANIFESTS}/*/chunk-*.json"))]


def part_names(output: Path) -> list[str]:
    return sorted(str(path.relative_to(output)) for path in output.rglob("*.parquet"))


# What is written


@pytest.mark.parametrize("join", [False, True])
def test_a_data_set_has_the_rows_of_a_single_file(inputs: Path, tmp_path: Path, join: bool) -> None:
    """The parts, one chunk after the other, hold what one file holds, in its order."""
    stats = write(inputs, tmp_path / "flows", join=join)
    whole = fg.read(inputs, label=LABEL, join=join)
    rows = [pq.read_table(tmp_path / "flows" / name) for name in part_names(tmp_path / "flows")]
    assert pa.concat_tables(rows).to_pylist() == whole.to_pylist()
    assert stats.rows == len(whole) == sum(entry["records"] for entry in entries(tmp_path / "flows"))
    assert len(entries(tmp_path / "flows")) == 3


def test_folders_are_named_by_day_and_column(tmp_path: Path) -> None:
    """`date` is the UTC day of the record's start; the columns of folders are not in the files."""
    write_captures(tmp_path / "in", 2, start=START // DAY * DAY + DAY - 30_000_000_000)
    write(tmp_path / "in", tmp_path / "flows", partition_by=KEYS)
    folders = {str(Path(name).parent) for name in part_names(tmp_path / "flows")}
    assert folders == {f"date=2023-11-{day}/app={app}" for day in (14, 15) for app in ("chat", "mail")} - {
        "date=2023-11-14/app=mail"
    }
    for name in part_names(tmp_path / "flows"):
        table = pq.ParquetFile(tmp_path / "flows" / name).read()
        assert "app" not in table.column_names
        assert {str(start.date()) for start in table["start"].to_pylist()} == {name[5:15]}


def test_rows_without_a_value_have_the_folder_that_hive_has(inputs: Path, tmp_path: Path) -> None:
    """Null is __HIVE_DEFAULT_PARTITION__, and null again when it is read."""
    write(inputs, tmp_path / "flows", partition_by="app,action")
    assert {Path(name).parent.name for name in part_names(tmp_path / "flows")} == {"action=__HIVE_DEFAULT_PARTITION__"}
    fields = pa.schema([("app", pa.string()), ("action", pa.string())])
    table = ds.dataset(tmp_path / "flows", partitioning=ds.partitioning(fields, flavor="hive")).to_table()
    assert set(table["app"].to_pylist()) == {"chat", "mail"} and table["action"].null_count == len(table)
    assert open_table(f"{tmp_path}/flows/", "a").column("action").null_count == len(table)


def test_names_of_folders_are_escaped(tmp_path: Path) -> None:
    """What a path cannot hold is written as %XX; other characters, of whatever script, are left as they are."""
    (path,) = write_captures(tmp_path / "in", 1)
    table = pa.table({"server_port": [443], "app": ["a/b=ü c%"]})
    fg.extract(path, f"{tmp_path}/flows/", truth=table, partition_by="app")
    assert (tmp_path / "flows" / "app=a%2Fb%3Dü c%25").is_dir()
    assert "a/b=ü c%" in ds.dataset(tmp_path / "flows", partitioning="hive").to_table()["app"].to_pylist()


def test_the_same_command_writes_the_same_bytes(inputs: Path, tmp_path: Path) -> None:
    """Names and bytes of all files follow from inputs and options, whatever the number of threads."""
    for number, threads in enumerate((1, 2, 3)):
        write(inputs, tmp_path / f"flows{number}", partition_by=KEYS, threads=threads)
    first, *others = (contents(tmp_path / f"flows{number}") for number in range(3))
    assert others == [first, first]


@pytest.mark.parametrize("threads", [2, 3])
def test_a_joined_trace_has_the_same_bytes_for_any_threads(inputs: Path, tmp_path: Path, threads: int) -> None:
    """Shards put their records into one order, at the end of each chunk, too."""
    write(inputs, tmp_path / "one", join=True, threads=1)
    write(inputs, tmp_path / "many", join=True, threads=threads)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_another_command_adds_to_a_data_set(inputs: Path, tmp_path: Path) -> None:
    """Files of another run have other names, and those that are there stay as they are."""
    write(inputs, tmp_path / "flows", partition_by=KEYS)
    before = contents(tmp_path / "flows")
    write_captures(tmp_path / "more", 3, seed=2)
    stats = write(tmp_path / "more", tmp_path / "flows", partition_by=KEYS)
    after = contents(tmp_path / "flows")
    assert before.items() <= after.items() and len(after) > len(before)
    both = open_table(f"{tmp_path}/flows/", "a")
    assert both.rows == sum(map(len, (fg.read(inputs), fg.read(tmp_path / "more"))))
    counted = read_stats([f"{tmp_path}/flows/"])
    assert counted is not None and counted.packets == stats.packets + 400


def test_few_files_are_open_and_few_rows_wait(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more folders than files may be open, a folder gets several files; the rows are all there, in their order."""
    monkeypatch.setattr(parts, "MOST_OPEN", 2)
    monkeypatch.setattr(parts, "MOST_WAITING", 20)
    monkeypatch.setattr(parts, "SLICE", 16)
    write(inputs, tmp_path / "flows", partition_by="client_ip")
    names = part_names(tmp_path / "flows")
    assert any(name.endswith("-1.parquet") for name in names)
    whole = fg.read(inputs, label=LABEL)
    found = open_table(f"{tmp_path}/flows/", "a")
    assert sorted(found.column("flow_id").to_pylist()) == sorted(whole["flow_id"].to_pylist())


def test_other_schemas_are_put_into_folders_by_native_columns(inputs: Path, tmp_path: Path) -> None:
    """A schema without times or labels of its own can still be laid out by them."""
    stats = write(inputs, tmp_path / "flows", schema="basic", partition_by=KEYS)
    table = ds.dataset(tmp_path / "flows", partitioning="hive").to_table()
    assert stats.rows == len(table) and {"FlowBytes", "app", "date"} <= set(table.column_names)


def test_readers_see_one_table(inputs: Path, tmp_path: Path) -> None:
    """Arrow, DuckDB and polars read all parts, with the columns that folders name."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    write(inputs, tmp_path / "flows", partition_by=KEYS)
    rows = len(fg.read(inputs))
    assert ds.dataset(tmp_path / "flows", partitioning="hive").count_rows() == rows
    query = f"select count(*), min(app) from read_parquet('{tmp_path}/flows/**/*.parquet', hive_partitioning = true)"
    assert duckdb.sql(query).fetchall() == [(rows, "chat")]
    frame = polars.scan_parquet(f"{tmp_path}/flows/**/*.parquet", hive_partitioning=True)
    assert frame.select(polars.len(), polars.col("app").min()).collect().rows() == [(rows, "chat")]
    own = open_table(f"{tmp_path}/flows/", "a")
    assert own.rows == rows and own.column("date").type == pa.date32()


# Counts


@pytest.mark.parametrize("options", [{}, {"join": True}, {"dedup": "1ms"}, {"truth": True}])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_counts_of_chunks_sum_up_to_those_of_the_run(
    inputs: Path, tmp_path: Path, options: dict[str, Any], threads: int
) -> None:
    """Each chunk has what was counted in it; the summary is their sum, and that of a run into one file."""
    if "truth" in options:
        options = {"truth": pa.table({"server_port": [443, 444], "app": ["web", "none"]})}
    stats = write(inputs, tmp_path / "flows", threads=threads, **options)
    single = fg.extract(inputs, tmp_path / "flows.csv", label=LABEL, **options)
    assert stats.results() == single.results()
    summed = total(entry["stats"] for entry in entries(tmp_path / "flows"))
    for name in ("packets", "packet_bytes", "files", "flows", "rows", "reasons", "ended", "counters", "labels"):
        assert getattr(summed, name) == getattr(stats, name), name


# Stopped, done, another


@pytest.mark.parametrize("join", [False, True])
def test_a_stopped_run_leaves_whole_chunks_and_resume_does_the_rest(inputs: Path, tmp_path: Path, join: bool) -> None:
    """What a run leaves that is stopped is some whole chunks; --resume makes of it what an undisturbed run makes."""
    options = {"partition_by": KEYS, "join": join, "threads": 1}
    whole = write(inputs, tmp_path / "whole", **options)
    said: list[str] = []
    stats = write(inputs, tmp_path / "flows", should_stop=stopping_after(6), notify=said.append, **options)
    assert stats.interrupted and 0 < stats.packets < whole.packets
    assert len(entries(tmp_path / "flows")) == 1 and "--resume" in said[-1]
    with pytest.raises(ConfigError, match=r"1 of 3 chunks were done; give --resume"):
        write(inputs, tmp_path / "flows", **options)
    stats = write(inputs, tmp_path / "flows", resume=True, **options)
    assert stats.results() == whole.results()
    assert contents(tmp_path / "flows") == contents(tmp_path / "whole")


def test_resume_takes_what_is_missing_or_torn_as_not_done(inputs: Path, tmp_path: Path) -> None:
    """A part that is gone or has another size is written again, with all behind it; what was left over is deleted."""
    write(inputs, tmp_path / "whole")
    write(inputs, tmp_path / "flows", should_stop=stopping_after(9), threads=1)
    names = part_names(tmp_path / "flows")
    assert len(names) == 2
    (tmp_path / "flows" / names[1]).write_bytes(b"PAR1")
    stem = names[0].removesuffix("0.parquet")
    (tmp_path / "flows" / f"{stem}7.parquet").write_bytes(b"left over")
    (tmp_path / "flows" / f".{names[1]}.part-0123abcd").write_bytes(b"half written")
    write(inputs, tmp_path / "flows", resume=True)
    assert contents(tmp_path / "flows") == contents(tmp_path / "whole")


def test_a_run_that_is_done_says_so(inputs: Path, tmp_path: Path) -> None:
    """Without --resume it is an error that says how to begin anew; with it, nothing is done, and summed up the same."""
    stats = write(inputs, tmp_path / "flows")
    before = contents(tmp_path / "flows")
    with pytest.raises(ConfigError, match=r"this run is done.*find .* -delete"):
        write(inputs, tmp_path / "flows")
    said: list[str] = []
    assert write(inputs, tmp_path / "flows", resume=True, notify=said.append).results() == stats.results()
    assert "nothing is left to do" in said[-1] and contents(tmp_path / "flows") == before
    shutil.copy(inputs / "chat_000.pcap", inputs / "chat_010.pcap")
    with pytest.raises(ConfigError, match=r"chat_010.pcap is new\nName the new captures by themselves"):
        write(inputs, tmp_path / "flows", resume=True)


def test_to_begin_anew_is_what_the_message_says(inputs: Path, tmp_path: Path) -> None:
    """The command that the message gives removes this run, and the same command begins again."""
    write(inputs, tmp_path / "flows", partition_by=KEYS)
    before = contents(tmp_path / "flows")
    with pytest.raises(ConfigError) as error:
        write(inputs, tmp_path / "flows", partition_by=KEYS)
    assert os.system(str(error.value).split("first: ")[1]) == 0
    assert not part_names(tmp_path / "flows")
    write(inputs, tmp_path / "flows", partition_by=KEYS)
    assert contents(tmp_path / "flows") == before


def test_resume_says_what_differs(inputs: Path, tmp_path: Path) -> None:
    """Captures that changed, options that are others and another version are each named."""
    write(inputs, tmp_path / "flows", should_stop=stopping_after(6), threads=1)
    with pytest.raises(ConfigError, match=r"idle_timeout: .*120.0.*, now .*60.0"):
        write(inputs, tmp_path / "flows", resume=True, idle_timeout=60)
    with pytest.raises(ConfigError, match=r"inputs: .*/in, now .*/in/chat_000.pcap"):
        write(inputs / "chat_000.pcap", tmp_path / "flows", resume=True)
    (manifest,) = (tmp_path / "flows" / MANIFESTS).glob("*/run.json")
    asked = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(asked | {"flowgauge": "0.0.1"}))
    with pytest.raises(ConfigError, match=r"version of flowgauge: 0.0.1, now "):
        write(inputs, tmp_path / "flows", resume=True)
    manifest.write_text(json.dumps(asked))
    with open(inputs / "mail_009.pcap", "ab") as file:
        file.write(bytes(1))
    (inputs / "mail_001.pcap").rename(inputs / "mail_1.pcap")
    with pytest.raises(ConfigError) as error:
        write(inputs, tmp_path / "flows", resume=True)
    for line in ("mail_1.pcap is new", "mail_001.pcap is gone", "mail_009.pcap has changed ("):
        assert line in str(error.value)
    manifest.write_text("{")
    with pytest.raises(ConfigError, match=r"run.json is damaged: to begin it anew"):
        write(inputs, tmp_path / "flows", resume=True)


def test_resume_where_nothing_was_begun_begins(inputs: Path, tmp_path: Path) -> None:
    """A job that is started again and again can always give --resume."""
    write(inputs, tmp_path / "flows", resume=True)
    write(inputs, tmp_path / "whole")
    assert contents(tmp_path / "flows") == contents(tmp_path / "whole")


def test_captures_that_could_not_be_read_are_not_tried_again(inputs: Path, tmp_path: Path) -> None:
    """They are a result like others: the summary of a resumed run names them."""
    (inputs / "chat_000.pcap").write_bytes(b"no capture")
    paths = sorted(map(str, inputs.glob("*.pcap")))
    write(paths, tmp_path / "flows", should_stop=stopping_after(6), threads=1)
    stats = write(paths, tmp_path / "flows", resume=True)
    assert list(stats.failed) == [paths[0]] and stats.files == 9


def test_two_processes_do_not_do_the_same_run(inputs: Path, tmp_path: Path) -> None:
    """The second one says so, and harms nothing."""
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_: Any) -> bool:
        inside.set()
        return not go_on.wait(20)

    run = threading.Thread(target=write, args=(inputs, tmp_path / "flows"), kwargs={"should_stop": wait, "threads": 1})
    run.start()
    try:
        assert inside.wait(60)
        with pytest.raises(SinkError, match="another process does this run now"):
            write(inputs, tmp_path / "flows", resume=True)
    finally:
        go_on.set()
        run.join()
    assert len(entries(tmp_path / "flows")) == 3


# What cannot be


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("date,apps", r"'apps' is no column of this run; there are date, .*app.*whole numbers"),
        ("iat_mean_s", r"'iat_mean_s' is double: folders are named by texts and whole numbers"),
        ("start", r"'start' is timestamp"),
        ("app,app", r"'app' twice"),
        ("service", r"'service' is no column of this run"),
    ],
)
def test_a_key_that_cannot_be_is_refused(inputs: Path, tmp_path: Path, keys: str, message: str) -> None:
    """Before anything is read or written, with what there is."""
    with pytest.raises(ConfigError, match=message):
        write(inputs, tmp_path / "flows", partition_by=keys)
    assert not (tmp_path / "flows").exists()


def test_single_files_and_pipes_are_no_data_sets(inputs: Path, tmp_path: Path) -> None:
    """The message says what a data set is called, and where a pipe goes."""
    for option in ({"resume": True}, {"partition_by": "app"}):
        with pytest.raises(ConfigError, match=r"is for a data set.*name a folder, -o .*/flows/"):
            fg.extract(inputs, tmp_path / "flows.parquet", **option)
    with pytest.raises(ConfigError, match=r"whose files are Parquet: format 'csv' is for a single file"):
        write(inputs, tmp_path / "flows", format="csv")
    with open(inputs / "chat_000.pcap", "rb") as file, pytest.raises(ConfigError, match=r"-o flows.parquet"):
        write(file, tmp_path / "flows", label=None)


def test_hidden_names_are_in_no_file(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --anonymize neither the manifest nor a checkpoint has a name or an address in the clear."""
    monkeypatch.setenv("FLOWGAUGE_KEY", "5b" * 32)
    (inputs / "chat_000.pcap").write_bytes(b"no capture")
    options = {"anonymize": "env", "filter": "host 10.0.0.1 or net 10.0.0.0/8", "join": True, "threads": 1}
    whole = write(inputs, tmp_path / "whole", **options)
    write(inputs, tmp_path / "flows", should_stop=stopping_after(6), **options)
    assert list(tmp_path.glob(f"flows/{MANIFESTS}/*/checkpoint-*.bin"))
    for data in contents(tmp_path / "flows").values():
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        for secret in (b"chat_0", b"mail_0", str(tmp_path).encode(), b"10.0.0.1", b"no capture"):
            assert secret not in text
    assert write(inputs, tmp_path / "flows", resume=True, **options).results() == whole.results()
    assert contents(tmp_path / "flows") == contents(tmp_path / "whole")
