"""What is a capture among the inputs, in which order, and what is left out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
from pathlib import Path

import pytest

from flowgauge.errors import ConfigError, SourceError
from flowgauge.sources import pcap, pcapng
from flowgauge.sources.discover import display_name, find_captures
from flowgauge.sources.streams import COMPRESSIONS

PCAP = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


def make(folder: Path, *names: str, data: bytes = PCAP) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def found_names(folder: Path) -> list[str]:
    root = folder.as_posix() + "/"
    return [capture.name.removeprefix(root) for capture in find_captures(folder).captures]


def test_folders_are_walked_in_the_order_of_path_components(tmp_path: Path) -> None:
    """Captures come sorted by path components, folders and files alike, whatever order the disk has."""
    order = ["Z.pcap", "a/z", "a-c/x", "a.pcap", "b/10.pcap", "b/2.pcap", "b/d/e.pcap", "c.pcap"]
    make(tmp_path, *reversed(order))
    assert found_names(tmp_path) == order


def test_hidden_files_and_folders_are_left_out_unless_named(tmp_path: Path) -> None:
    """Below a folder nothing hidden is read; a hidden file or folder that is named is."""
    make(tmp_path, ".x.pcap", ".git/y.pcap", "a.pcap")
    assert found_names(tmp_path) == ["a.pcap"]
    assert find_captures(tmp_path).skipped == []
    assert find_captures([tmp_path / ".x.pcap"]).captures[0].explicit
    assert found_names(tmp_path / ".git") == ["y.pcap"]


@pytest.mark.parametrize("magic", [*pcap.MAGIC, pcapng.MAGIC, *(magic for magic, _ in COMPRESSIONS.values())])
def test_captures_are_known_by_their_first_bytes(tmp_path: Path, magic: bytes) -> None:
    """Whatever a source can read is found in a folder by its magic number, whatever the name says."""
    make(tmp_path, "capture.txt", data=magic + bytes(8))
    make(tmp_path, "notes.pcap", data=b"meeting notes")
    found = find_captures(tmp_path)
    assert [Path(capture.name).name for capture in found.captures] == ["capture.txt"]
    assert not found.captures[0].explicit
    assert found.skipped == [(tmp_path / "notes.pcap").as_posix()]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_candidates(tmp_path: Path, compress: object) -> None:
    """A compressed file in a folder is judged when it is opened."""
    make(tmp_path, "a", data=compress(PCAP))  # type: ignore[operator]
    assert found_names(tmp_path) == ["a"]


def test_a_file_that_is_named_is_always_read(tmp_path: Path) -> None:
    """What the user names is handed on even where it cannot be a capture, so that reading it reports why."""
    make(tmp_path, "empty", data=b"")
    (capture,) = find_captures(str(tmp_path / "empty")).captures
    assert capture.explicit
    assert capture.source == str(tmp_path / "empty")


def test_no_regular_file_is_no_capture(tmp_path: Path) -> None:
    """Sockets, pipes, dangling links and links to folders below a folder are skipped without being opened."""
    make(tmp_path, "a.pcap", "more/b.pcap")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "a.pcap")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "sock"))
        found = find_captures(tmp_path)
    assert found_names(tmp_path) == ["a.pcap", "link", "more/b.pcap"]
    assert [Path(name).name for name in found.skipped] == ["gone", "loop", "pipe", "sock"]


def test_a_pipe_that_is_named_is_read(tmp_path: Path) -> None:
    """A named pipe is handed on without being opened."""
    os.mkfifo(tmp_path / "pipe")
    assert find_captures(tmp_path / "pipe").captures[0].explicit


def test_inputs_keep_their_order(tmp_path: Path) -> None:
    """Several inputs are read in the order given; a linked folder that is named is walked."""
    make(tmp_path, "b.pcap", "d/a.pcap")
    (tmp_path / "link").symlink_to(tmp_path / "d")
    stream = io.BytesIO(PCAP)
    found = find_captures([tmp_path / "link", stream, "-", str(tmp_path / "b.pcap")])
    assert [Path(capture.name).name for capture in found.captures] == ["a.pcap", "stream", "stdin", "b.pcap"]
    assert [capture.explicit for capture in found.captures] == [False, True, True, True]
    assert found.captures[1].source is stream


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A missing input stops everything before anything is read, and is named."""
    make(tmp_path, "a.pcap")
    with pytest.raises(SourceError, match=r"nowhere\.pcap: no such file or folder"):
        find_captures([tmp_path / "a.pcap", tmp_path / "nowhere.pcap"])


def test_a_folder_without_captures_is_an_error(tmp_path: Path) -> None:
    """Where no capture is found at all, the message names the folder and counts its other files."""
    make(tmp_path, "notes.txt", data=b"text")
    with pytest.raises(SourceError, match=r"no capture in .*\(1 other file\)"):
        find_captures(tmp_path)


@pytest.mark.parametrize("inputs", [[], 3, b"x.pcap", [None], ["-", "-"]])
def test_what_is_no_input_is_refused(inputs: object) -> None:
    """An empty list, bytes, other objects and stdin twice are wrong usage."""
    with pytest.raises(ConfigError):
        find_captures(inputs)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without permission is named with the reason, and the rest is read."""
    make(tmp_path, "a.pcap", "closed/b.pcap")
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    found = find_captures(tmp_path)
    assert [Path(capture.name).name for capture in found.captures] == ["a.pcap"]
    assert found.failed == {(tmp_path / "closed").as_posix(): "cannot list the folder: Permission denied"}


def test_names_are_always_text(tmp_path: Path) -> None:
    """A file name that is no UTF-8 is shown with a replacement character and opened by its true name."""
    true_name = os.fsencode(tmp_path) + b"/caf\xe9.pcap"
    with open(true_name, "wb") as file:
        file.write(PCAP)
    (capture,) = find_captures(tmp_path).captures
    assert capture.name.endswith("/caf\ufffd.pcap")
    assert os.fsencode(capture.source) == true_name  # type: ignore[arg-type]
    capture.name.encode()


def test_an_open_file_is_called_by_its_name(tmp_path: Path) -> None:
    """A binary file object is shown under the path it was opened with."""
    make(tmp_path, "a.pcap")
    with open(tmp_path / "a.pcap", "rb") as file:
        assert display_name(file) == (tmp_path / "a.pcap").as_posix()


def test_a_file_that_cannot_be_opened_is_for_the_reader_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a folder that cannot be looked into is handed on, not skipped as if it were no capture."""
    make(tmp_path, "a.pcap")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("flowgauge.sources.discover.open", denied, raising=False)
    assert found_names(tmp_path) == ["a.pcap"]


def test_a_pattern_finds_what_a_folder_would_hold(tmp_path: Path) -> None:
    """A pattern in quotes is matched here; what it finds is looked at as in a folder, and folders are walked."""
    make(tmp_path, "2026/06/a.pcap", "2026/06/d/b.pcap", "2026/07/c.pcap", "2026/.h/x.pcap", "other/e.pcap")
    make(tmp_path, "2026/06/notes.pcap", data=b"no capture")
    for pattern, names in (
        ("2026/**/*.pcap", ["2026/06/a.pcap", "2026/06/d/b.pcap", "2026/07/c.pcap"]),
        ("2026/0?/*.pcap", ["2026/06/a.pcap", "2026/07/c.pcap"]),
        ("2026/*6", ["2026/06/a.pcap", "2026/06/d/b.pcap"]),
    ):
        found = find_captures(str(tmp_path / pattern))
        assert [capture.name.removeprefix(f"{tmp_path.as_posix()}/") for capture in found.captures] == names
        assert not any(capture.explicit for capture in found.captures)
        assert found.skipped == [(tmp_path / "2026/06/notes.pcap").as_posix()]


def test_a_pattern_of_this_folder_finds_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names found below the current folder are those that a shell would give."""
    make(tmp_path, "a.pcap", "d/b.pcap")
    monkeypatch.chdir(tmp_path)
    found = {
        pattern: [capture.name for capture in find_captures(pattern).captures] for pattern in ("*", "./*", "**/b*")
    }
    assert found == {"*": ["a.pcap", "d/b.pcap"], "./*": ["./a.pcap", "./d/b.pcap"], "**/b*": ["d/b.pcap"]}


def test_a_name_that_is_there_is_no_pattern(tmp_path: Path) -> None:
    """A file whose name has the signs of a pattern is that file."""
    make(tmp_path, "a[1].pcap", "a1.pcap")
    (found,) = find_captures(str(tmp_path / "a[1].pcap")).captures
    assert found.explicit and found.name.endswith("a[1].pcap")


def test_a_pattern_that_nothing_matches_is_an_error(tmp_path: Path) -> None:
    """Nothing found is said with the pattern, not taken for an empty folder."""
    with pytest.raises(SourceError, match=r"\*\*/x\.pcap: nothing matches this pattern"):
        find_captures(str(tmp_path / "**" / "x.pcap"))


def test_a_file_url_is_the_path_that_it_names(tmp_path: Path) -> None:
    """file:///path and /path are the same capture, of the same name."""
    make(tmp_path, "a b.pcap")
    (found,) = find_captures((tmp_path / "a b.pcap").as_uri()).captures
    assert (found.source, found.name) == (str(tmp_path / "a b.pcap"), (tmp_path / "a b.pcap").as_posix())
