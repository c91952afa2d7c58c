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
            for name in os.listdir(os.path.dirname(path)):
                if name.startswith("."):  # left by a run that was killed
                    os.unlink(os.path.join(os.path.dirname(path), name))
            yield

    def begin(self, asked: dict[str, Any]) -> None:
        """The run begins."""
        self._put(_RUN, asked)

    def add(self, chunk: int, entry: dict[str, Any]) -> None:
        """A chunk is done, and its files have their names."""
        self._put(f"chunk-{chunk:06}.json", entry)

    def finish(self, entry: dict[str, Any]) -> None:
        """All is done."""
        self.delete_checkpoints()
        self._put(_DONE, entry)

    def entries(self) -> list[dict[str, Any]]:
        """The chunks that are done, from the first on without a gap."""
        numbers = self._numbers(_ENTRY)
        whole = next((place for place, number in enumerate(numbers) if place != number), len(numbers))
        return storage.each(lambda number: self._read(f"chunk-{number:06}.json"), numbers[:whole])

    def keep(self, entries: list[dict[str, Any]]) -> None:
        """Only these chunks, from the first on, are done: delete all else, and what a killed run has left behind."""
        for number in reversed(self._numbers(_ENTRY)):
            if number >= len(entries):
                storage.delete(self._url(f"chunk-{number:06}.json"))
        kept = {file.name for entry in entries for file in files_of(entry)}
        with explained(self._dataset):
            storage.each(self._delete, sorted(self._files().keys() - kept))
            self._sweep()

    def _delete(self, name: str) -> None:
        storage.delete(storage.join(self._dataset, name))

    def put_checkpoint(self, chunk: int, data: bytes) -> None:
        """What the run remembers behind a chunk."""
        self._put_bytes(f"checkpoint-{chunk:06}.bin", data)

    def checkpoints(self) -> list[int]:
        """The chunks behind which there are checkpoints."""
        return self._numbers(_CHECKPOINT)

    def checkpoint_url(self, chunk: int) -> str:
        """Where the checkpoint behind a chunk is."""
        return self._url(f"checkpoint-{chunk:06}.bin")

    def checkpoint(self, chunk: int) -> bytes:
        """What is in it."""
        url = self.checkpoint_url(chunk)
        try:
            return storage.read(url)
        except OSError as error:
            raise ConfigError(f"cannot read {storage.shown(url)}: {error.strerror or error}") from error

    def delete_checkpoints(self, before: int | None = None) -> None:
        """Those that are not needed any more."""
        for chunk in self.checkpoints():
            if before is None or chunk < before:
                storage.delete(self.checkpoint_url(chunk))

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        names = (storage.name_of(entry.url) for entry in _listing(self.folder, recursive=False))
        return sorted(int(found[1]) for name in names if (found := pattern.fullmatch(name)))

    def intact(self, entries: list[dict[str, Any]]) -> int:
        """How many chunks, from the first on, have all their files."""
        there = self._files()
        for whole, entry in enumerate(entries):
            if any(there.get(file.name) != file.bytes for file in files_of(entry)):
                return whole
        return len(entries)

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
        dataset = storage.local_path(self._dataset)
        for place, _, names in os.walk(dataset) if dataset is not None else ():
            for name in names:
                if name.startswith(f".part-{self.id}-"):
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
