"""Files that rotate and their manifest, without an interface."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flowgauge.capture import rotation
from flowgauge.capture.rotation import Limits, Manifest, Rotation
from flowgauge.errors import SinkError

SCHEMA = pa.schema([("number", pa.int64())])


def batch(*numbers: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"number": list(numbers)}, SCHEMA)


def rotating(folder: Path, seconds: float | None = None, size: int | None = None, format: str = "jsonl") -> Rotation:
    return Rotation(folder, format, SCHEMA, Limits(seconds, size))


def files(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != "manifest.jsonl")


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_file_has_its_name_when_it_is_complete(tmp_path: Path) -> None:
    """While it is written it is hidden; afterwards the manifest has its name, number, rows and times."""
    with rotating(tmp_path) as run:
        run.write(batch(1, 2))
        [hidden] = files(tmp_path)
        assert hidden.startswith(".flows_")
        run.ask()
        run.turn()
        run.write(batch(3))
    first, second = events(tmp_path)
    assert files(tmp_path) == [first["file"], second["file"]]
    assert (first["number"], first["rows"], second["number"], second["rows"]) == (1, 2, 2, 1)
    assert first["from"] <= first["to"] <= second["from"] <= second["to"]
    assert (tmp_path / second["file"]).read_text() == '{"number":3}\n'


def test_a_file_without_records_is_left_out(tmp_path: Path) -> None:
    """A time in which no flow ended makes neither a file nor a line, and uses no number."""
    with rotating(tmp_path) as run:
        for _ in range(3):
            run.ask()
            run.turn()
        run.write(batch(1))
    assert [event["number"] for event in events(tmp_path)] == [1]
    assert len(files(tmp_path)) == 1


def test_size_is_that_of_what_was_written(tmp_path: Path) -> None:
    """The next file begins at the first look after the size is reached."""
    with rotating(tmp_path, size=100_000) as run:
        for _ in range(5):
            run.write(batch(*range(8192)))  # as many rows as the format writes at a time
            run.turn()
    assert [event["rows"] for event in events(tmp_path)] == [8192] * 5


def test_time_is_that_of_a_clock_that_nobody_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation goes by the monotonic clock: setting the clock of the wall back does not hold a file open."""
    wall, steady = [2_000_000_000.0], [0.0]
    monkeypatch.setattr(rotation.time, "time", lambda: wall[0])
    monkeypatch.setattr(rotation.time, "monotonic", lambda: steady[0])
    with rotating(tmp_path, seconds=60) as run:
        run.write(batch(1))
        wall[0] -= 86_400
        steady[0] += 59
        run.turn()
        assert run.files == 0
        steady[0] += 1
        run.turn()
        assert run.files == 1
    assert files(tmp_path) == ["flows_20330518T033320Z_0001.jsonl"]


def test_a_failed_file_is_dropped(tmp_path: Path) -> None:
    """After an exception there is no file that looks complete, and no line of one."""
    run = rotating(tmp_path)
    run.__enter__()
    run.write(batch(1))
    run.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert files(tmp_path) == []
    assert events(tmp_path) == []


def test_one_run_a_folder(tmp_path: Path) -> None:
    """A second run is refused while the first goes on, and may begin when it has ended."""
    with rotating(tmp_path), pytest.raises(SinkError, match="another run writes its flows here"), rotating(tmp_path):
        pass
    with rotating(tmp_path):
        pass


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    """Hidden files of a run before are removed, other files stay."""
    for name in (".flows_20260101T000000Z_0001.jsonl.part-00", "notes.txt", ".hidden"):
        (tmp_path / name).write_text("")
    with rotating(tmp_path):
        pass
    assert files(tmp_path) == [".hidden", "notes.txt"]


def test_numbers_go_on(tmp_path: Path) -> None:
    """They follow the manifest and the files that are there, one that was completed and not noted among them."""
    Manifest(tmp_path).add("file", file="flows_20260101T000000Z_0007.jsonl", number=7, rows=1)
    (tmp_path / "flows_20260101T000100Z_0008.jsonl").write_text("")
    with rotating(tmp_path) as run:
        run.write(batch(1))
    assert events(tmp_path)[-1]["number"] == 9


def test_a_run_that_did_not_stop_has_lost_records(tmp_path: Path) -> None:
    """What is lost begins with the last complete file, or with the start; after a stop nothing is."""
    manifest = Manifest(tmp_path)
    assert manifest.lost_since() is None
    manifest.add("start")
    started = events(tmp_path)[0]["time"]
    assert manifest.lost_since() == started
    manifest.add("file", file="x", to="2026-01-01T00:00:00.000Z")
    assert manifest.lost_since() == "2026-01-01T00:00:00.000Z"
    with rotating(tmp_path) as run:
        run.start(interface="eth0")
        run.stop()
    assert events(tmp_path)[-2]["lost_since"] == "2026-01-01T00:00:00.000Z"
    assert manifest.lost_since() is None


def test_a_line_that_was_cut_off_harms_no_other(tmp_path: Path) -> None:
    """Behind a line without an end, of a full disk, the next one begins anew; what is no JSON is passed over."""
    (tmp_path / "manifest.jsonl").write_bytes(b'{"event": "start"}\n\xff\n[1]\n{"event": "fi')
    manifest = Manifest(tmp_path)
    manifest.add("stop")
    assert [event["event"] for event in manifest.events()] == ["start", "stop"]
    assert manifest.lost_since() is None


@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl", "arrow"])
def test_every_format_has_its_extension(tmp_path: Path, format: str) -> None:
    """Files can be read again by their names."""
    with rotating(tmp_path, format=format) as run:
        run.write(batch(1))
    assert [Path(name).suffix for name in files(tmp_path)] == [f".{format}"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in the place of the folder, or of its parent, is one clear error."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SinkError, match="choose a folder that you may make"), rotating(path):
            pass
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(SinkError, match=r"manifest\.jsonl: Is a directory"), rotating(tmp_path):
        pass
