"""The manifest of a run into a data set: what it was asked for, and what of it is done.

In ``_flowgauge/<id>/``: ``run.json`` is written when the run begins, ``chunk-000000.json`` and so on when a chunk and
all its files are complete, ``checkpoint-000000.bin`` before that where captures are one trace, and ``done.json`` when
all is done. Each of them appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from flowgauge import storage
from flowgauge.dataset import MANIFESTS
from flowgauge.dataset.parts import PartFile, explained
from flowgauge.errors import ConfigError, SinkError

_RUN, _DONE, _LOCK = "run.json", "done.json", "lock"
_ENTRY = re.compile(r"chunk-(\d+)\.json")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.bin")


def part_stem(id: str, chunk: int) -> str:
    """The name of a chunk's files, without their extension."""
    return f"part-{id}-{chunk:06}"


class Manifest:
    """The manifest of the run with this id. What cannot be written raises SinkError."""

    def __init__(self, dataset: str, id: str) -> None:
        self._dataset, self.id = dataset, id
        self.folder = storage.join(dataset, MANIFESTS, id)

    def _url(self, name: str) -> str:
        return storage.join(self.folder, name)

    def _read(self, name: str) -> Any:
        """What is in a file; None where there is none. Raises ConfigError where it makes no sense."""
        url = self._url(name)
        try:
            return json.loads(storage.read(url))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {storage.shown(url)}: {error.strerror or error}") from error
        except ValueError:
            raise ConfigError(f"{storage.shown(url)} is damaged: {self.anew}") from None

    def _put(self, name: str, value: Any) -> None:
        self._put_bytes(name, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))

    def _put_bytes(self, name: str, data: bytes) -> None:
        with explained(self._url(name)):
            storage.put(self._url(name), data)

    @property
    def anew(self) -> str:
        """What to do to begin anew."""
        path = storage.local_path(self._dataset)
        if path is not None:
            return f"to begin it anew, delete its files first: find {path} -path '*{self.id}*' -delete"
        shown = storage.shown(self._dataset).rstrip("/")
        return f"to begin it anew, delete first what is in {shown}/{MANIFESTS}/{self.id}/ and all part-{self.id}-*"

    def asked(self) -> dict[str, Any] | None:
        """What the run was asked for; None where it has never begun."""
        found: dict[str, Any] | None = self._read(_RUN)
        return found

    def done(self) -> dict[str, Any] | None:
        """What the run did; None where it is not done."""
        found: dict[str, Any] | None = self._read(_DONE)
        return found

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from doing the same run, where the data set is on this machine. Raises SinkError."""
        with explained(self.folder):
            storage.make_folder(self.folder)
        path = storage.local_path(self._url(_LOCK))
        if path is None:
            yield
            return
        import fcntl

        with explained(path):
            file = open(path, "ab")  # noqa: SIM115 (held as long as the run)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SinkError(f"{self._dataset}: another process does this run now ({error.strerror})") from None
            yield

    def begin(self, asked: dict[str, Any]) -> None:
        """The run begins."""
        self._put(_RUN, asked)

    def add(self, chunk: int, entry: dict[str, Any]) -> None:
        """A chunk is done, and its files have their names."""
        self._put(f"chunk-{chunk:06}.json", entry)

    def finish(self, entry: dict[str, Any]) -> None:
        """All is done."""
        self._put(_DONE, entry)
        for number in self._numbers(_CHECKPOINT):
            self.delete_checkpoint(number)

    def entries(self) -> list[dict[str, Any]]:
        """The chunks that are done, from the first on without a gap."""
        numbers = self._numbers(_ENTRY)
        whole = next((place for place, number in enumerate(numbers) if place != number), len(numbers))
        return storage.each(lambda number: self._read(f"chunk-{number:06}.json"), numbers[:whole])

    def drop_entries(self, first: int) -> None:
        """Chunks from here on are not done."""
        for number in reversed(self._numbers(_ENTRY)):
            if number >= first:
                storage.delete(self._url(f"chunk-{number:06}.json"))

    def put_checkpoint(self, chunk: int, data: bytes) -> None:
        """What the run remembers behind a chunk."""
        self._put_bytes(f"checkpoint-{chunk:06}.bin", data)

    def checkpoints(self) -> list[int]:
        """The chunks behind which there are checkpoints."""
        return self._numbers(_CHECKPOINT)

    def checkpoint(self, chunk: int) -> bytes:
        """Of the chunk with this number."""
        url = self._url(f"checkpoint-{chunk:06}.bin")
        try:
            return storage.read(url)
        except OSError as error:
            raise ConfigError(f"cannot read {storage.shown(url)}: {error.strerror or error}") from error

    def delete_checkpoint(self, chunk: int) -> None:
        """It is not needed any more."""
        storage.delete(self._url(f"checkpoint-{chunk:06}.bin"))

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        names = (storage.name_of(entry.url) for entry in _listing(self.folder, recursive=False))
        return sorted(int(found[1]) for name in names if (found := pattern.fullmatch(name)))

    def intact(self, entries: list[dict[str, Any]]) -> int:
        """How many chunks, from the first on, have all their files; everything of this run behind those, and what it
        has left unfinished, is deleted."""
        there = self._files()
        whole = 0
        for entry in entries:
            if any(there.get(file.name) != file.bytes for file in files_of(entry)):
                break
            whole += 1
        kept = {file.name for entry in entries[:whole] for file in files_of(entry)}
        with explained(self._dataset):
            storage.each(lambda name: storage.delete(storage.join(self._dataset, name)), sorted(there.keys() - kept))
            self._sweep()
        return whole

    def _files(self) -> dict[str, int | None]:
        """The files of this run in the data set, and their bytes."""
        root = _parts(self._dataset)
        found = {}
        for entry in _listing(self._dataset, recursive=True):
            names = _parts(entry.url)[len(root) :]
            if names[-1].startswith(f"part-{self.id}-"):
                found["/".join(names)] = entry.size
        return found

    def _sweep(self) -> None:
        """Delete files that a killed run has left under their hidden names; uploads of objects are not seen."""
        dataset, folder = storage.local_path(self._dataset), storage.local_path(self.folder)
        if dataset is None or folder is None:
            return
        begins = f".part-{self.id}-"
        for place, _, names in os.walk(dataset):
            for name in names:
                if name.startswith(begins) or (place == folder and name.startswith(".")):
                    os.unlink(os.path.join(place, name))


def files_of(entry: dict[str, Any]) -> list[PartFile]:
    """The files of a chunk."""
    return [PartFile(*file) for file in entry["files"]]


def runs_in(dataset: str) -> list[Manifest]:
    """The manifests in a data set."""
    folders = _listing(storage.join(dataset, MANIFESTS), recursive=False)
    return [Manifest(dataset, storage.name_of(entry.url.rstrip("/"))) for entry in folders if entry.is_folder]


def _listing(folder: str, recursive: bool) -> list[storage.Entry]:
    try:
        return storage.listing(folder, recursive=recursive)
    except FileNotFoundError:
        return []


def _parts(url: str) -> list[str]:
    path = storage.local_path(url)
    return [part for part in (storage.shown(url) if path is None else os.path.normpath(path)).split("/") if part]
