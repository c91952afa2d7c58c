"""Where the captures are that records name: at their place, compressed since or not, or in another folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import pyarrow.compute as pc

from flowgauge import storage
from flowgauge.cutting.records import CAPTURE_BITS, SOURCE, Records, numbers
from flowgauge.errors import SourceError

COMPRESSED = (".gz", ".zst", ".lz4", ".bz2", ".xz")
_PIPES = ("stdin", "stream")


def find_sources(records: Records, source_dir: str | os.PathLike[str] | None) -> dict[int, str]:
    """Number of each capture in the run of the records -> its path now.

    Of a run over one trace these are all of its captures, in order and numbered anew; else those that records are of.
    Raises SourceError naming the first that is not there.
    """
    folder = None if source_dir is None else os.fspath(source_dir)
    if folder is not None and not os.path.isdir(folder):
        raise SourceError(f"{folder}: no such folder")
    if records.sources is not None:
        return {number: _find(name, folder) for number, name in enumerate(records.sources)}
    captures = numbers(records.rows, "flow_id") >> CAPTURE_BITS
    first = np.unique(captures, return_index=True)
    names = pc.take(records.rows[SOURCE], first[1]).to_pylist()
    return {int(number): _find(name, folder) for number, name in zip(first[0], names, strict=True)}


def _find(name: str | None, folder: str | None) -> str:
    if name is None:
        raise SourceError("a record does not say which capture it is of")
    if storage.is_url(name) and folder is None:
        raise SourceError(
            f"the capture {name} is in a storage, and packets are cut out of files of this machine: copy it into a "
            "folder and name that by --source-dir (source_dir)"
        )
    for path in _places(name, folder):
        for spelled in _spellings(path):
            if os.path.isfile(spelled):
                return spelled
    if name in _PIPES and folder is None:
        raise SourceError(f"the records were made of packets that came through a pipe ({name}): nothing holds them now")
    if os.path.exists(name) and folder is None:
        raise SourceError(f"{name} is no file: packets are cut out of files only")
    where = "is not there" if folder is None else f"is neither there nor in {folder}"
    raise SourceError(f"the capture {name} {where}; --source-dir (source_dir) says in which folder it is now")


def _places(name: str, folder: str | None) -> Iterator[str]:
    """Where a capture may be: in the folder, at the longest end of its path, else where it was."""
    if folder is not None:
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
        for begin in range(len(parts)):
            yield os.path.join(folder, *parts[begin:])
    yield name


def _spellings(path: str) -> Iterator[str]:
    """The path, and those that it has when it is compressed, or no more: offsets are those of what is inside."""
    yield path
    for extension in COMPRESSED:
        yield path + extension
    stem, extension = os.path.splitext(path)
    if extension in COMPRESSED:
        yield stem
