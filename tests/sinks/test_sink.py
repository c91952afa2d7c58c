"""What all sinks share: where bytes go, when a file appears, and that batches do not matter."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgauge.errors import ConfigError, SinkError
from flowgauge.sinks import FORMATS, open_sink
from flowgauge.sinks.arrow import ArrowWriter
from flowgauge.sinks.parquet import ParquetWriter
from flowgauge.sinks.text import TextWriter
from native_rows import SCHEMA, batch_of, native_batch

ROWS = 120
BATCH = native_batch(ROWS)
BATCHES = {name: batch_of("zeek", ROWS) if name == "zeek" else BATCH for name in FORMATS}
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
needs_user = pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write to every folder")


class Full(io.BytesIO):
    """A disk with room for some bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


class Slow(io.BytesIO):
    """An unbuffered file that takes at most 100 bytes at a time."""

    def write(self, data: Any) -> int:
        return super().write(memoryview(data)[:100])


def written(batches: list[pa.RecordBatch], format: str, output: io.BytesIO | None = None) -> bytes:
    """The bytes of a sink for these batches."""
    output = io.BytesIO() if output is None else output
    with open_sink(output, format=format, schema=BATCHES[format].schema, metadata={"made": "here"}) as sink:
        for batch in batches:
            sink.write(batch)
    return output.getvalue()


def own_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, each dictionary with only what they hold."""
    columns = [c.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every format, writing few rows at a time."""
    monkeypatch.setattr(TextWriter, "rows", 16)
    monkeypatch.setattr(ParquetWriter, "rows", 50)
    monkeypatch.setattr(ArrowWriter, "rows", 50)
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 15, 17, 49, 83])
def test_batches_do_not_change_the_bytes(format: str, step: int) -> None:
    """However rows are cut into batches, with whatever dictionaries, the bytes are the same."""
    pieces = [BATCHES[format].slice(begin, step) for begin in range(0, ROWS, step)]
    whole = written([BATCHES[format]], format)
    assert written(pieces, format) == whole
    assert written([own_dictionaries(piece) for piece in pieces], format) == whole
    assert written([BATCHES[format].slice(0, 0), *pieces, BATCHES[format].slice(0, 0)], format) == whole


def test_rows_behind_a_slice_leave_no_trace(format: str) -> None:
    """The first rows of a longer batch are written as if there were no others."""
    alone = pa.concat_batches([BATCHES[format].slice(begin, 1) for begin in range(43)])
    assert written([BATCHES[format].slice(0, 43)], format) == written([alone], format)


def test_partial_writes_are_completed(format: str) -> None:
    """A file that takes only part of what it is given gets the rest."""
    assert written([BATCHES[format]], format, Slow()) == written([BATCHES[format]], format)


@pytest.mark.parametrize(
    ("name", "magic"),
    [
        ("a.csv", b"flow_id,"),
        ("a.csv.gz", b"\x1f\x8b"),
        ("a.csv.zst", b"\x28\xb5\x2f\xfd"),
        ("a.PARQUET", b"PAR1"),
        ("a.pq", b"PAR1"),
        ("a.arrow", b"ARROW1"),
        ("a.feather", b"ARROW1"),
        ("a.ipc", b"ARROW1"),
        ("a.jsonl", b'{"flow_id'),
        ("a.ndjson", b'{"flow_id'),
    ],
)
def test_the_extension_is_the_format(tmp_path: Path, name: str, magic: bytes) -> None:
    """The format of a path is that of its extension, in upper or lower case."""
    with open_sink(tmp_path / name, schema=SCHEMA) as sink:
        sink.write(BATCH)
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_a_format_given_beats_the_extension(tmp_path: Path) -> None:
    """With `format`, the name of the file does not matter."""
    with open_sink(tmp_path / "a.csv", format="parquet", schema=SCHEMA):
        pass
    assert (tmp_path / "a.csv").read_bytes().startswith(b"PAR1")


def test_unknown_formats_are_refused_with_those_known(tmp_path: Path) -> None:
    """An unknown format or extension, and Parquet in gzip, are one line that says what there is."""
    with pytest.raises(ConfigError, match="'xlsx' is not one of csv, parquet, arrow, jsonl"):
        open_sink(tmp_path / "a.csv", format="xlsx", schema=SCHEMA)
    with pytest.raises(ConfigError, match=r"a\.xlsx: name a file \.csv, \.parquet"):
        open_sink(tmp_path / "a.xlsx", schema=SCHEMA)
    with pytest.raises(ConfigError, match=r"parquet is compressed inside; leave \.gz out"):
        open_sink(tmp_path / "a.parquet.gz", schema=SCHEMA)


def test_standard_output_is_csv_unless_said_otherwise(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A dash is standard output, which stays open, in CSV or the format given."""
    for format, start in ((None, b"flow_id,"), ("parquet", b"PAR1")):
        with open_sink("-", format=format, schema=SCHEMA) as sink:
            sink.write(BATCH)
        assert capfdbinary.readouterr().out.startswith(start)


def test_a_file_object_stays_open() -> None:
    """A file object is written and flushed, never closed, and CSV by default."""
    output = io.BytesIO()
    with open_sink(output, schema=SCHEMA):
        pass
    assert output.getvalue().startswith(b"flow_id,")


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    """Until the end there is only a hidden file beside the output, which keeps what it held."""
    path = tmp_path / "flows.csv"
    path.write_text("old")
    with open_sink(path, schema=SCHEMA) as sink:
        sink.write(BATCH)
        (hidden,) = set(tmp_path.iterdir()) - {path}
        assert hidden.name.startswith(".flows.csv.part-")
        assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text().startswith("flow_id,")


def test_files_get_the_permissions_that_new_files_get(tmp_path: Path) -> None:
    """The output is as readable for others as any file that the user makes."""
    (tmp_path / "other").touch()
    with open_sink(tmp_path / "flows.csv", schema=SCHEMA):
        pass
    assert (tmp_path / "flows.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_nothing_is_left_after_an_exception(tmp_path: Path, format: str) -> None:
    """An exception in the middle removes the hidden file and leaves an older output alone."""
    path = tmp_path / "flows"
    path.write_text("old")

    def fail() -> None:
        with open_sink(path, format=format, schema=BATCHES[format].schema) as sink:
            sink.write(BATCHES[format])
            raise KeyError("elsewhere")

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


@pytest.mark.parametrize("room", [0, 3000, 12_000])
def test_a_full_disk_is_one_clear_line(format: str, room: int) -> None:
    """A write that fails at whatever place says what, where and what to do."""
    with pytest.raises(SinkError, match="cannot write the output: No space left on device; free some space"):
        written([BATCHES[format]], format, Full(room))


@needs_full
def test_a_device_that_is_full_is_one_clear_line(format: str) -> None:
    """Errors that show only when buffers are flushed are told as well."""
    with (
        pytest.raises(SinkError, match="cannot write /dev/full: No space left on device"),
        open_sink("/dev/full", format=format, schema=BATCHES[format].schema) as sink,
    ):
        sink.write(BATCHES[format])


def enter(path: Path) -> None:
    """Open a sink and write nothing."""
    with open_sink(path, format="csv", schema=SCHEMA):
        pass


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    """A path that is a folder is refused when the sink is entered."""
    with pytest.raises(SinkError, match="Is a directory; name a file in it"):
        enter(tmp_path)


def test_a_missing_folder_is_no_place(tmp_path: Path) -> None:
    """A folder that does not exist is named, and not made."""
    with pytest.raises(SinkError, match=r"missing.*a\.csv: No such file or directory; create the folder first"):
        enter(tmp_path / "missing" / "a.csv")
    assert not list(tmp_path.iterdir())


@needs_user
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder without permission is refused when the sink is entered."""
    tmp_path.chmod(0o555)
    with pytest.raises(SinkError, match="Permission denied; choose a folder that you may write to"):
        enter(tmp_path / "a.csv")


def test_a_symbolic_link_keeps_pointing(tmp_path: Path) -> None:
    """Writing to a link replaces the file that it points to, not the link."""
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link.csv", tmp_path / "there" / "target.csv"
    link.symlink_to(target)
    enter(link)
    assert link.is_symlink()
    assert target.read_text().startswith("flow_id,")


def test_a_device_stays_a_device() -> None:
    """What is no regular file is written directly and never replaced."""
    before = os.stat(os.devnull).st_mode
    enter(Path(os.devnull))
    assert os.stat(os.devnull).st_mode == before
    assert not stat.S_ISREG(before)


@needs_pipes
def test_a_named_pipe_takes_every_format(tmp_path: Path, format: str) -> None:
    """A pipe, which has no position, gets the same bytes as a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    with open_sink(pipe, format=format, schema=BATCHES[format].schema, metadata={"made": "here"}) as sink:
        sink.write(BATCHES[format])
    reader.join()
    assert received == [written([BATCHES[format]], format)]


def test_a_reader_that_left_is_a_broken_pipe(format: str) -> None:
    """BrokenPipeError is not made a SinkError: the command line ends quietly on it."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as output, pytest.raises(BrokenPipeError):
        written([BATCHES[format]], format, output)  # type: ignore[arg-type]


def test_batches_of_other_columns_are_refused() -> None:
    """A batch whose columns are not those of the sink is refused by the first that differs."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    with open_sink(io.BytesIO(), schema=schema) as sink:
        with pytest.raises(SinkError, match=r"a \(string\) where a \(int64\) is expected"):
            sink.write(pa.RecordBatch.from_pydict({"a": ["x"], "b": ["y"]}))
        with pytest.raises(SinkError, match="1 instead of 2"):
            sink.write(pa.RecordBatch.from_pydict({"a": [1]}))


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    """A sink that was closed is not closed again at the end of its context."""
    with open_sink(tmp_path / "a.csv", schema=SCHEMA) as sink:
        sink.write(BATCH)
        sink.close()
    assert (tmp_path / "a.csv").read_bytes() == written([BATCH], "csv")


def test_many_small_batches_are_kept_as_few(tmp_path: Path) -> None:
    """A live run writes rows one by one for days: what waits to be written takes the room of rows, not of batches."""
    before = pa.total_allocated_bytes()
    with open_sink(tmp_path / "flows.parquet", schema=BATCH.schema) as sink:
        for number in range(1000):
            sink.write(pa.RecordBatch.from_pylist(BATCH.slice(number % ROWS, 1).to_pylist(), BATCH.schema))
        assert len(sink._pending) < 100
        assert pa.total_allocated_bytes() - before < 10 * 1000 / ROWS * BATCH.nbytes
    assert pq.read_table(tmp_path / "flows.parquet").num_rows == 1000


def test_flushed_rows_can_be_read(format: str) -> None:
    """Rows that were flushed are in the output before it is complete, and what follows completes it."""
    whole = BATCHES[format]
    output = io.BytesIO()
    with open_sink(output, format=format, schema=whole.schema) as sink:
        header = len(output.getvalue())
        sink.write(whole.slice(0, 60))
        sink.flush()
        flushed = len(output.getvalue())
        assert flushed > header
        assert sink.written == flushed
        sink.flush()
        assert len(output.getvalue()) == flushed
        sink.write(whole.slice(60))
    assert len(output.getvalue()) > flushed
