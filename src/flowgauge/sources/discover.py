"""From what the user names to a list of captures: folders are walked, other files left out.

Importing this module loads neither NumPy nor pyarrow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flowgauge.errors import ConfigError, SourceError
from flowgauge.sources.streams import COMPRESSIONS, Source

# First bytes of a capture, or of a compressed file that may be one.
_PCAP_MAGIC = ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "a1b2cd34", "34cdb2a1")
_PCAPNG_MAGIC = "0a0d0d0a"
_MAGIC = (
    *(bytes.fromhex(magic) for magic in (*_PCAP_MAGIC, _PCAPNG_MAGIC)),
    *(magic for magic, _ in COMPRESSIONS.values()),
)
_LONGEST_MAGIC = max(map(len, _MAGIC))


class CaptureInput(NamedTuple):
    """One capture to be read. `source` is opened, `name` is shown and matched against label templates.

    `explicit` is False for files found in a folder: a compressed one that turns out to hold no
    capture is skipped, while a file that was named is an error.
    """

    source: Source
    name: str
    explicit: bool


class Found(NamedTuple):
    """Captures in reading order, files of folders that are none, and folders that cannot be listed with the reason."""

    captures: list[CaptureInput]
    skipped: list[str]
    failed: dict[str, str]


def find_captures(inputs: Source | Iterable[Source]) -> Found:
    """Every capture of the inputs: paths, "-" (stdin), binary file objects, or a list of those.

    Inputs keep their order; a folder is walked in the order of its names, folders and files alike.
    In folders, hidden files and folders are left out silently; what is no capture by its first
    bytes, no regular file or a link to a folder is `skipped`. Files named are always captures.

    Raises SourceError for a path that does not exist and where no capture is found at all,
    ConfigError for an empty list or what is no input.
    """
    found = Found([], [], {})
    listed = _as_list(inputs)
    for source in listed:
        _add(found, source)
    if not found.captures and not found.failed:
        raise SourceError(f"no capture in {', '.join(map(display_name, listed))}{_others(found.skipped)}")
    return found


def display_name(source: Source) -> str:
    """How an input is called in output and messages: its path with '/', always valid Unicode."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return "stdin" if path == "-" else _text(path)
    name = getattr(source, "name", None)
    return _text(name) if isinstance(name, str) else "stream"


def _text(path: str) -> str:
    shown = os.fsencode(path).decode("utf-8", "replace")
    return shown.replace(os.sep, "/")


def is_live(source: object) -> bool:
    """Whether this is a live capture, which is open already."""
    return getattr(source, "live", False) is True


def _as_list(inputs: Source | Iterable[Source]) -> list[Source]:
    if isinstance(inputs, (str, os.PathLike)) or hasattr(inputs, "read") or is_live(inputs):
        return [inputs]  # type: ignore[list-item]
    if isinstance(inputs, bytes) or not isinstance(inputs, Iterable):
        raise ConfigError(f"an input is a path, '-', a binary file object or a list of those, not {inputs!r}")
    listed = list(inputs)
    if not listed:
        raise ConfigError("no inputs given")
    if sum(1 for source in listed if isinstance(source, str) and source == "-") > 1:
        raise ConfigError("'-' (stdin) is given more than once")
    return listed


def _add(found: Found, source: Source) -> None:
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "read") and not is_live(source):
            raise ConfigError(f"an input is a path, '-' or a binary file object, not {source!r}")
        found.captures.append(CaptureInput(source, display_name(source), True))
        return
    path = os.fspath(source)
    if path == "-" or not os.path.isdir(path):
        if path != "-" and not os.path.lexists(path):
            raise SourceError(f"{display_name(path)}: no such file or folder")
        found.captures.append(CaptureInput(path, display_name(path), True))
        return
    for entry in _walk(path, found):
        name = _text(entry.path)
        if _may_be_capture(entry):
            found.captures.append(CaptureInput(entry.path, name, False))
        else:
            found.skipped.append(name)


def _walk(folder: str, found: Found) -> Iterator[os.DirEntry[str]]:
    """All that is not hidden below a folder, but for the folders themselves."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        found.failed[_text(folder)] = f"cannot list the folder: {error.strerror or error}"
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, found)
        else:
            yield entry


def _may_be_capture(entry: os.DirEntry[str]) -> bool:
    """Whether a regular file begins like a capture; one that cannot be read is for the reader to report."""
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb", buffering=0) as file:
            return file.read(_LONGEST_MAGIC).startswith(_MAGIC)
    except OSError:
        return True


def _others(skipped: list[str]) -> str:
    return f" ({len(skipped)} other {'file' if len(skipped) == 1 else 'files'})" if skipped else ""
