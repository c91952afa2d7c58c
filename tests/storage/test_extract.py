"""Commands on URLs: the same flows as of local files, whole outputs or none, and nothing secret shown."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import flowgauge as fg
from flowgauge import storage
from flowgauge.cli import app
from flowgauge.errors import SinkError, SourceError
from flowgauge.sinks import open_sink
from flowgauge.storage import retries
from services_here import needs
from webservers import web_server

pytestmark = [pytest.mark.slow, needs("moto", "boto3")]
EXAMPLES = Path(__file__).parents[2] / "examples" / "captures"
NAMES = ("chat_messages_01.pcap", "browser_http-fetch_02.pcap.gz", "ping_echo_01.pcapng", "dns_lookup_01.pcap")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of captures: in folders, hidden, compressed, and other files."""
    found = tmp_path / "in"
    for name, to in zip(
        NAMES, ("b/chat_messages_01.pcap", "b/web_fetch.gz", "ping", "a.d/dns_lookup.pcap"), strict=True
    ):
        (found / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / name, found / to)
    (found / "notes.txt").write_text("no capture")
    (found / "wrong.pcap").write_text("no capture")
    (found / ".hidden.pcap").write_text("no capture")
    return found


@pytest.fixture
def copy(folder: Path, bucket: str) -> str:
    """The URL of the same folder in a bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            storage.put(storage.join(bucket, "in", path.relative_to(folder).as_posix()), path.read_bytes())
    return f"{bucket}/in"


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def without_places(table: pa.Table, place: str) -> pa.Table:
    """The table with the names of sources below a place."""
    names = pc.replace_substring(table["source"].cast(pa.string()), place, "")
    return table.set_column(table.column_names.index("source"), "source", names).replace_schema_metadata()


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "f.parquet", "f.arrow", "f.jsonl.zst"])
def test_an_output_in_a_bucket_is_the_local_one(folder: Path, bucket: str, tmp_path: Path, name: str) -> None:
    """In every format, what is written to a URL is what is written to a file, byte for byte."""
    fg.extract(folder, tmp_path / name)
    fg.extract(folder, f"{bucket}/{name}")
    assert storage.read(f"{bucket}/{name}") == (tmp_path / name).read_bytes()


def test_captures_in_a_bucket_give_the_same_rows(folder: Path, copy: str) -> None:
    """A folder in a bucket is walked like a local one: same order, same rows; the source is the URL."""
    local, far = fg.read(folder), fg.read(copy + "/")
    assert set(far["source"].to_pylist()) >= {f"{copy}/ping", f"{copy}/b/web_fetch.gz"}
    assert without_places(far, copy).equals(without_places(local, folder.as_posix()))


def test_rows_that_do_not_name_their_source_are_the_same_bytes(folder: Path, copy: str, tmp_path: Path) -> None:
    """The whole output is identical for local and far captures, where it does not say where they are."""
    for name in ("f.csv", "f.parquet"):
        fg.extract(folder / "b", tmp_path / name, schema="nfstream")
        fg.extract(f"{copy}/b", f"{copy}/{name}", schema="nfstream")
        assert storage.read(f"{copy}/{name}") == (tmp_path / name).read_bytes()


def test_what_is_skipped_is_the_same(folder: Path, copy: str) -> None:
    """Files that are no captures are skipped, by their first bytes whatever their names say."""
    counts = [fg.extract(place, os.devnull, format="csv") for place in (folder, copy)]
    assert [stats.files for stats in counts] == [4, 4]
    skipped = [{Path(name).name for name in stats.skipped} for stats in counts]
    assert skipped == [{"notes.txt", "wrong.pcap"}] * 2
    assert [stats.failed for stats in counts] == [{}, {}]


@pytest.mark.parametrize("pattern", ["**/*.pcap", "b/*", "*/dns*", "a.d"])
def test_patterns_find_the_same_here_and_there(folder: Path, copy: str, pattern: str) -> None:
    """A pattern in quotes finds what the same one finds on this machine, in the same order."""
    local, far = (fg.read(storage.join(str(place), pattern)) for place in (folder, copy))
    assert len(local)
    assert without_places(far, copy).equals(without_places(local, folder.as_posix()))


def test_one_trace_in_objects_is_ordered_by_first_packets(bucket: str, tmp_path: Path) -> None:
    """With join, parts of a trace are put in order by a look at their first packets, as local ones are."""
    data = (EXAMPLES / "video_stream_01.pcap").read_bytes()
    place, records = 24, []
    while place < len(data):
        size = 16 + int.from_bytes(data[place + 8 : place + 12], "little")
        records.append(data[place : place + size])
        place += size
    thirds = [records[at::1][: len(records) // 3 + 1] for at in range(0, len(records), len(records) // 3 + 1)]
    for name, part in zip("cab", thirds, strict=True):
        storage.put(f"{bucket}/{name}.pcap", data[:24] + b"".join(part))
    whole = fg.read(EXAMPLES / "video_stream_01.pcap")
    joined = fg.read(bucket, join=True)
    assert joined["packets"].to_pylist() == whole["packets"].to_pylist()
    assert set(joined["source"].to_pylist()) == {f"{bucket}/c.pcap"}


def test_labels_come_from_the_end_of_a_url(copy: str) -> None:
    """A label template matches folders and names of a URL as it does those of a path."""
    flows = fg.read(f"{copy}/b/*.pcap", label="{kind}/{app}_{action}_*.pcap")
    assert {tuple(row.values()) for row in flows.select(["kind", "app", "action"]).to_pylist()} == {
        ("b", "chat", "messages")
    }


@pytest.mark.parametrize("ranges", [True, False])
def test_a_capture_of_a_web_server_that_breaks_off_is_whole(
    ranges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks half way is gone on with, with or without ranges, and counted in the summary."""
    monkeypatch.setattr(retries, "PAUSES", (0.0,) * 4)
    data = (EXAMPLES / NAMES[1]).read_bytes()
    with web_server({"/d/x.pcap.gz": data}, ranges=ranges) as site:
        site.breaks = [len(data), len(data), 200, len(data) // 2]  # two looks, and then the reading
        stats = fg.extract(f"{site.url}/d/x.pcap.gz", tmp_path / "far.csv", schema="nfstream")
    fg.extract(EXAMPLES / NAMES[1], tmp_path / "local.csv", schema="nfstream")
    assert (tmp_path / "far.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    assert stats.counters["reconnected"] == 2
    assert not stats.damaged


def test_a_capture_that_cannot_be_read_to_its_end_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where attempts end, the packets before are metered and the file is named with the byte and the reason."""
    monkeypatch.setattr(retries, "PAUSES", (0.0,) * 2)
    data = (EXAMPLES / NAMES[0]).read_bytes()
    with web_server({"/x.pcap": data}) as site:
        site.breaks = [len(data), len(data), 4000, *[0] * 20]
        stats = fg.extract(f"{site.url}/x.pcap", tmp_path / "far.csv")
        assert list(stats.damaged) == [f"{site.url}/x.pcap"]
    assert "after byte 4000 it cannot be read further: the connection was closed after byte 4000" in str(stats.damaged)
    assert stats.rows > 0


def test_names_that_say_what_they_are_save_a_question(folder: Path) -> None:
    """Of files named as captures no first bytes are asked for when a folder is listed."""
    files = {f"/in/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*.pcap")}
    with web_server(files | {"/in/notes.txt": b"no capture"}) as site:
        found = fg.sources.discover.find_captures(f"{site.url}/in/")
        files_asked = {path for path, _ in site.asked if not path.endswith("/")}
    assert len(found.captures) == 3
    assert files_asked == {"/in/notes.txt"}


def test_tables_in_a_bucket_are_reported_and_compared(copy: str, bucket: str, tmp_path: Path) -> None:
    """info, report and compare take URLs, and a page can go to one."""
    pytest.importorskip("vl_convert")
    fg.extract(copy, f"{bucket}/f.parquet")
    fg.extract(copy, f"{bucket}/f.csv.gz")
    told = invoke("info", f"{copy}/ping")
    assert told.exit_code == 0 and f"{bucket}/in/ping" in told.output and "pcapng" in told.output
    secret = bucket.replace("://", "://somebody:geheim@")
    told = invoke("report", f"{secret}/f.parquet", "-o", f"{secret}/page.html")
    assert told.exit_code == 0, told.output
    page = storage.read(f"{bucket}/page.html").decode()
    assert f"flowgauge report {bucket}/f.parquet -o {bucket}/page.html" in page
    assert "geheim" not in page + told.output
    told = invoke("compare", f"{bucket}/f.parquet", f"{bucket}/f.csv.gz")
    assert told.exit_code == 0, told.output


# --- what goes wrong ------------------------------------------------------------------------------


def write_and_fail(output: str) -> None:
    """Write many rows, and then such as do not belong there."""
    schema = pa.schema([("a", pa.int64())])
    with open_sink(output, schema=schema) as sink:
        sink.write(pa.record_batch([pa.array(range(2_000_000))], schema=schema))
        sink.write(pa.record_batch({"b": [1]}))


def test_a_run_that_fails_leaves_no_object(bucket: str, s3: Any) -> None:
    """An exception while rows are written leaves the bucket as it was."""
    storage.put(f"{bucket}/old.parquet", b"old")
    for name in ("new.parquet", "old.parquet", "new.csv"):
        with pytest.raises(SinkError, match="columns other than the output"):
            write_and_fail(f"{bucket}/{name}")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket[5:])["Contents"]] == ["old.parquet"]
    assert storage.read(f"{bucket}/old.parquet") == b"old"


def test_a_run_that_is_killed_leaves_no_object(bucket: str, s3: Any, tmp_path: Path) -> None:
    """kill -9 in the middle of a run leaves nothing under the output's name."""
    program = [sys.executable, "-m", "flowgauge", "extract", "-", "-o", f"{bucket}/flows.csv", "--quiet"]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write((EXAMPLES / NAMES[0]).read_bytes())
        process.stdin.flush()
        for _ in range(150):
            if s3.list_multipart_uploads(Bucket=bucket[5:]).get("Uploads"):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the output was never opened")
        process.send_signal(signal.SIGKILL)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket[5:])


@pytest.fixture
def secret(bucket: str, s3_server: str) -> Iterator[str]:
    """The bucket's URL with a password in it."""
    return bucket.replace("://", "://somebody:geheim@")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("{b}/none.pcap", "-o", "-"), 1, "{shown}/none.pcap: no such file or folder"),
        (("{b}/none/*.pcap", "-o", "-"), 1, "{shown}/none/*.pcap: nothing matches this pattern"),
        (("{x}", "-o", "{b}/none/x.nothing"), 2, "no format is known by the extension of {shown}/none/x.nothing"),
        (("{x}", "-o", "s3://me:geheim@no-such/x.csv"), 3, "cannot write s3://no-such/x.csv: there is no bucket"),
        (("{x}", "-o", "https://me:geheim@host/x.csv"), 2, "https://host/x.csv can only be read"),
        (("s3://me:geheim@no-such-bucket/**", "-o", "-"), 1, "s3://no-such-bucket/**"),
        (("{b}/x?endpoint_override=http://127.0.0.1:1", "-o", "-"), 1, "cannot read {shown}/x: no connection"),
        (("{b}/x?geheim=geheim", "-o", "-"), 2, "{shown}: no option"),
        (("http://me:geheim@127.0.0.1:1/x?sig=geheim", "-o", "-"), 1, "read http://127.0.0.1:1/x: no connection"),
    ],
)  # fmt: skip
def test_errors_are_one_line_without_secrets(secret: str, bucket: str, arguments: Any, code: int, message: str) -> None:
    """What, where and what to do are said in one line, and no password or option of a URL."""
    names = {"b": secret, "x": str(EXAMPLES / NAMES[3])}
    told = invoke("extract", *(argument.format(**names) for argument in arguments))
    assert message.format(shown=bucket) in told.output
    assert told.output.count("\n") == 1
    assert "geheim" not in told.output.replace("no option 'geheim'", "")
    assert told.exit_code == code


def test_api_errors_are_of_flowgauge(bucket: str) -> None:
    """From Python the same errors are SourceError and SinkError."""
    with pytest.raises(SourceError, match="no such file or folder"):
        fg.read(f"{bucket}/none.pcap")
    with pytest.raises(SinkError, match=r"cannot write s3://no-such-bucket/x.csv: there is no bucket 'no-such-bucket'"):
        fg.extract(EXAMPLES / NAMES[3], "s3://no-such-bucket/x.csv")


def test_packets_of_a_bucket_are_those_of_the_folder(folder: Path, copy: str, bucket: str) -> None:
    """The packet table reads and writes URLs as extract does."""
    told = invoke("packets", copy, "-o", f"{bucket}/packets.parquet", "--quiet")
    assert told.exit_code == 0, told.output
    here = invoke("packets", str(folder), "-o", str(folder.parent / "packets.parquet"), "--quiet")
    assert here.exit_code == 0, here.output
    with storage.open_random(f"{bucket}/packets.parquet") as file:
        far = pq.read_table(file)
    local = pq.read_table(folder.parent / "packets.parquet")
    assert len(far) and without_places(far, copy).equals(without_places(local, folder.as_posix()))


def test_packets_are_cut_out_of_files_of_this_machine(copy: str, bucket: str, folder: Path, tmp_path: Path) -> None:
    """cut says what it does not read from a storage, finds a copy by --source-dir, and writes one file to a URL."""
    fg.extract(f"{copy}/b/chat_messages_01.pcap", tmp_path / "f.parquet")
    told = invoke("cut", str(tmp_path / "f.parquet"), "-o", str(tmp_path / "x.pcapng"))
    assert told.exit_code and f"the capture {copy}/b/chat_messages_01.pcap is in a storage" in told.output
    told = invoke("cut", f"{bucket}/f.parquet", "-o", str(tmp_path / "x.pcapng"))
    assert told.exit_code and f"{bucket}/f.parquet: cut takes a table of this machine" in told.output
    copied = (str(tmp_path / "f.parquet"), "--source-dir", str(folder / "b"))
    told = invoke("cut", *copied, "-o", f"{bucket}/folder/")
    assert told.exit_code and "is no folder of this machine: name one file in it" in told.output
    told = invoke("cut", *copied, "-o", f"{bucket}/x.pcapng")
    assert told.exit_code == 0, told.output
    packets = [sum(fg.read(place)["packets"].to_pylist()) for place in (f"{bucket}/x.pcapng", folder / "b" / NAMES[0])]
    assert packets[0] == packets[1]
