"""From what the user names to a list of captures: folders and patterns are walked, other files left out.

Importing this module loads neither NumPy nor pyarrow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from flowgauge import storage
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
_ENDS = re.compile(r"\.(pcap|pcapng|cap)(\.(gz|zst|lz4|bz2|xz))?$", re.IGNORECASE)  # such names say what they are
R = TypeVar("R")


class CaptureInput(NamedTuple):
    """One capture to be read. `source` is opened, `name` is shown and matched against label templates.

    `explicit` is False for files found in a folder or by a pattern: one that turns out to hold no
    capture is skipped, while a file that was named is an error. `size` are the stored bytes, where a storage said them.
    """

    source: Source
    name: str
    explicit: bool
    size: int | None = None


class Found(NamedTuple):
    """Captures in reading order, files of folders that are none, and folders that cannot be listed with the reason."""

    captures: list[CaptureInput]
    skipped: list[str]
    failed: dict[str, str]


def find_captures(inputs: Source | Iterable[Source]) -> Found:
    """Every capture of the inputs: paths, URLs, patterns, "-" (stdin), binary file objects, or a list of those.

    Inputs keep their order; a folder is walked in the order of its names, folders and files alike, and so are the
    matches of a pattern (:func:`flowgauge.storage.glob`). In both, hidden files and folders are left out silently; what
    is no capture by its first bytes, no regular file or a link to a folder is `skipped`. In a storage, files named
    .pcap, .pcapng or .cap (with the extension of a compression or without) are looked at when they are read.
    Files named are always captures.

    Raises SourceError for a path that does not exist, a pattern that nothing matches, a storage that cannot be asked
    and where no capture is found at all, ConfigError for an empty list or what is no input.
    """
    found = Found([], [], {})
    listed = listed_inputs(inputs)
    looks = _looks(listed)
    for source in listed:
        _add(found, source, looks)
    if not found.captures and not found.failed:
        raise SourceError(f"no capture in {', '.join(map(display_name, listed))}{_others(found.skipped)}")
    return found


def of_all(function: Callable[[CaptureInput], R], captures: list[CaptureInput]) -> list[R]:
    """What `function` gives of each capture, in their order; captures in a storage are asked side by side."""
    if any(storage.is_url(capture.source) for capture in captures):
        return storage.each(function, captures)
    return [function(capture) for capture in captures]


def display_name(source: Source) -> str:
    """How an input is called in output and messages: its path with '/', or its URL without what is secret in it; always
    valid Unicode."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return "stdin" if path == "-" else _text(path)
    name = getattr(source, "name", None)
    return _text(name) if isinstance(name, str) else "stream"


def _text(path: str) -> str:
    shown = os.fsencode(storage.shown(path)).decode("utf-8", "replace")
    return shown.replace(os.sep, "/")


def is_live(source: object) -> bool:
    """Whether this is a live capture, which is open already."""
    return getattr(source, "live", False) is True


def listed_inputs(inputs: Source | Iterable[Source]) -> list[Source]:
    """Inputs one by one. Raises ConfigError for what cannot be any."""
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


def _looks(listed: list[Source]) -> dict[str, storage.Entry | None]:
    """What is there under each URL, asked side by side."""
    urls = [source for source in listed if isinstance(source, str) and _in_storage(source)]
    return dict(zip(urls, storage.each(_look, urls), strict=True))


def _in_storage(source: str) -> bool:
    return storage.local_path(source) is None


def _look(url: str) -> storage.Entry | None:
    with _asking(url):
        return storage.look(url)


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Errors of a storage as SourceError."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"cannot read {_text(url)}: {error.strerror or error}") from error


def _add(found: Found, source: Source, looks: dict[str, storage.Entry | None]) -> None:
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "read") and not is_live(source):
            raise ConfigError(f"an input is a path, '-' or a binary file object, not {source!r}")
        found.captures.append(CaptureInput(source, display_name(source), True))
        return
    named = os.fspath(source)
    path = storage.local_path(named)
    if path is None:
        _add_stored(found, named, looks[named])
    elif path == "-" or (os.path.lexists(path) and not os.path.isdir(path)):
        found.captures.append(CaptureInput(path, display_name(path), True))
    elif os.path.isdir(path):
        _add_files(found, (entry.path for entry in _walk(path, found)))
    else:
        _add_files(found, _matching(found, path))


def _add_files(found: Found, paths: Iterable[str]) -> None:
    """What was found on this machine, where it may be a capture."""
    for path in paths:
        if _may_be_capture(path):
            found.captures.append(CaptureInput(path, _text(path), False))
        else:
            found.skipped.append(_text(path))


def _matching(found: Found, pattern: str) -> Iterator[str]:
    """The files on this machine that match a pattern, or are in folders that do."""
    for entry in _matches(pattern):
        if entry.is_folder:
            yield from (inner.path for inner in _walk(entry.url, found))
        else:
            yield entry.url


def _matches(pattern: str) -> list[storage.Entry]:
    if not storage.has_magic(pattern):
        raise SourceError(f"{display_name(pattern)}: no such file or folder")
    with _asking(pattern):
        entries = storage.glob(pattern)
    if not entries:
        raise SourceError(f"{display_name(pattern)}: nothing matches this pattern")
    return entries


def _add_stored(found: Found, url: str, there: storage.Entry | None) -> None:
    """A URL: a file, a folder to be walked, or a pattern."""
    if there is not None and not there.is_folder:
        found.captures.append(CaptureInput(url, _text(url), True, there.size))
        return
    files = []
    for entry in _matches(url) if there is None else [there]:
        with _asking(entry.url):
            files += storage.listing(entry.url) if entry.is_folder else [entry]
    for entry, is_capture in zip(files, storage.each(_stored_may_be_capture, files), strict=True):
        if is_capture:
            found.captures.append(CaptureInput(entry.url, _text(entry.url), False, entry.size))
        else:
            found.skipped.append(_text(entry.url))


def _stored_may_be_capture(entry: storage.Entry) -> bool:
    """Whether a name says so, which saves a look, or else the first bytes."""
    if _ENDS.search(storage.name_of(entry.url)):
        return True
    try:
        return storage.head(entry.url, _LONGEST_MAGIC).startswith(_MAGIC)
    except OSError:
        return True


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


def _may_be_capture(path: str) -> bool:
    """Whether a regular file begins like a capture; one that cannot be read is for the reader to report."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb", buffering=0) as file:
            return file.read(_LONGEST_MAGIC).startswith(_MAGIC)
    except OSError:
        return True


def _others(skipped: list[str]) -> str:
    return f" ({len(skipped)} other {'file' if len(skipped) == 1 else 'files'})" if skipped else ""
