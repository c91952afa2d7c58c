"""A run into a data set, chunk by chunk: the files of a chunk, then its entry in the manifest."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flowgauge import storage
from flowgauge.dataset.asked import Asked
from flowgauge.dataset.checkpoint import CheckpointError, check_owner, pack, restore, unpack
from flowgauge.dataset.keys import Keys
from flowgauge.dataset.manifest import Manifest, part_stem, runs_in
from flowgauge.dataset.parts import Parts, Target
from flowgauge.errors import ConfigError
from flowgauge.privacy import Seal, read_key
from flowgauge.stats import Counted, RunStats
from flowgauge.threads import ahead

if TYPE_CHECKING:
    from flowgauge.lane import Chunk
    from flowgauge.run import Run

_AHEAD = 8  # batches that wait to be written
_LEAST_BETWEEN = 24  # times the time that a checkpoint takes: they cost 4 % of a run at most
_MOST_SOURCES = 1 << 16  # bytes; the names of more captures than that are not in each file
_SOURCES = b"flowgauge_sources"

Notify = Callable[[str], None]


def write_dataset(
    run: Run,
    inputs: Any,
    output: str | os.PathLike[str],
    *,
    partition_by: str | Iterable[str] | None = None,
    resume: bool = False,
    notify: Notify | None = None,
    warm: bool = True,
) -> RunStats:
    """Write the flows of a run into a data set, or go on with that; the stats of all of it, whoever did which part.

    Raises ConfigError for keys that are no columns, a run that is done or was stopped before (without `resume`), and
    one that is not what was asked for before (with it); SinkError where the data set cannot be written.
    """
    folder = _folder(output)
    keys = Keys(partition_by, run.meter.schema)
    asked = Asked(run, inputs, keys.names)
    manifest = Manifest(folder, asked.id)
    if manifest.asked() is None and resume:
        _check_others(folder, asked)
    with manifest.held():
        writing = _Writing(run, asked, manifest, Target(folder, keys, _schema(run, keys), run.schema.convert), notify)
        if not writing.begin(resume):
            return writing.whole()
        run.stats.compile_seconds = run.warm(notify) if warm else 0.0
        return writing.write()


def _folder(output: str | os.PathLike[str]) -> str:
    name = os.fspath(output)
    path = storage.local_path(name)
    return name if path is None else path


def _schema(run: Run, keys: Keys) -> pa.Schema:
    """The columns of the files."""
    schema = run.output_schema()
    said = dict(schema.metadata or {})
    if len(said.get(_SOURCES, b"")) > _MOST_SOURCES:
        del said[_SOURCES]
    return pa.schema([field for field in schema if field.name not in keys.names], said)


def _check_others(folder: str, asked: Asked) -> None:
    """Raise ConfigError where the data set has runs to go on with, but not this one."""
    for other in runs_in(folder):
        before = other.asked()
        if before is not None and other.done() is None:
            differs = "\n  ".join(asked.differences(before)[:10])
            raise ConfigError(
                f"{storage.shown(folder)} has no run of this command to go on with; the one that was stopped there "
                f"({other.id}) differs:\n  {differs}\nGive that command with --resume, or this one without"
            )


class _Writing:
    """One run at work; `done` are the entries of the chunks that are complete."""

    def __init__(self, run: Run, asked: Asked, manifest: Manifest, target: Target, notify: Notify | None) -> None:
        self._run, self._asked, self._manifest, self._target = run, asked, manifest, target
        self._notify = notify or (lambda line: None)
        self.done: list[dict[str, Any]] = []
        self._next_checkpoint = 0.0

    def begin(self, resume: bool) -> bool:
        """Find out what is done; False where nothing is left to do. Raises ConfigError."""
        manifest, before = self._manifest, self._manifest.asked()
        if before is None:
            manifest.begin(self._asked.as_dict())
            return True
        self.done = manifest.entries()
        finished = manifest.done() is not None
        differs = self._asked.differences(before)
        if finished and (differs or not resume):
            raise ConfigError(self._said_done(differs))
        if not resume and self.done:
            raise ConfigError(
                f"{self._shown}: this run was stopped when {len(self.done)} of {before['chunks']} chunks were done; "
                f"give --resume to do the rest. {_sentence(manifest.anew)}"
            )
        if differs and self.done:
            listed = "\n  ".join(differs)
            raise ConfigError(
                f"{self._shown}: this is not what the run was begun with:\n  {listed}\n{_sentence(manifest.anew)}"
            )
        if finished:
            self._notify(f"{self._shown}: this run is done; nothing is left to do")
            return False
        self._go_on()
        return True

    def _restore(self) -> None:
        """Go on behind the last chunk with a checkpoint."""
        known = [chunk for chunk in self._manifest.checkpoints() if chunk < len(self.done)]
        self.done = self.done[: known[-1] + 1] if known else []
        if known:
            url = self._manifest.checkpoint_url(known[-1])
            check_owner(url)
            try:
                restore(self._run, unpack(self._manifest.checkpoint(known[-1]), self._seal))
            except CheckpointError as error:
                raise ConfigError(f"{storage.shown(url)}: {error}; {self._manifest.anew}") from error

    @property
    def _seal(self) -> Seal | None:
        key = self._run.config.anonymize
        return None if key is None else Seal(read_key(key))

    def _said_done(self, differs: list[str]) -> str:
        if not differs:
            return f"{self._shown}: this run is done, and its flows are there. {_sentence(self._manifest.anew)}"
        listed = "\n  ".join(differs)
        return (
            f"{self._shown}: this run is done, and its flows are there; but since then\n  {listed}\n"
            f"Name the new captures by themselves to add their flows. {_sentence(self._manifest.anew)}"
        )

    def _go_on(self) -> None:
        """Leave of what was done what can be gone on from."""
        manifest = self._manifest
        with_files = manifest.intact(self.done)
        if with_files < len(self.done):
            self._notify(f"{self._shown}: files of chunk {with_files} are missing; it is done again, and what follows")
        self.done = self.done[:with_files]
        if self._run.join and len(self.done) < self._asked.chunks:
            self._restore()
        manifest.keep(self.done)
        manifest.begin(self._asked.as_dict())
        if self.done:
            rest = self._asked.chunks - len(self.done)
            self._notify(f"{self._shown}: {len(self.done)} of {self._asked.chunks} chunks are done, {rest} to do")

    @property
    def _shown(self) -> str:
        return storage.shown(self._target.folder)

    @property
    def _rows(self) -> int:
        return sum(entry["records"] for entry in self.done)

    def write(self) -> RunStats:
        """Do what is not done."""
        run = self._run
        stopped = False
        for chunk in run.chunks(len(self.done), self._rows, cut=True):
            stopped = not self._write_chunk(chunk, stopped)
            if not stopped:
                self._note(chunk)
        stats = self.whole()
        if stopped or len(self.done) < self._asked.chunks:
            stats.interrupted = True
            done = f"{len(self.done)} of {self._asked.chunks} chunks are done"
            self._notify(f"{self._shown}: stopped; {done}, --resume does the rest")
        else:
            self._finish(stats)
        return stats

    def _write_chunk(self, chunk: Chunk, stopped: bool) -> bool:
        """Write the files of a chunk; False where it was stopped in between, and there are none."""
        begin = time.perf_counter()
        records = 0
        parts = Parts(self._target, part_stem(self._manifest.id, chunk.number))
        with parts, contextlib.closing(self._batches(chunk)) as batches:
            for batch in batches:
                if not stopped:
                    parts.write(batch)
                    records += len(batch)
            if stopped or chunk.stats.interrupted:
                return False
            files = parts.close()
        counted = chunk.counted
        counted.stats["rows"] = sum(file.rows for file in files)
        entry = {
            "captures": [self._asked.names.hidden(job.capture.name) for job in chunk.jobs],
            "files": files,
            "records": records,
            "records_before": self._rows,
            "seconds": round(time.perf_counter() - begin, 3),
            **counted._replace(stats=self._asked.names.hide(counted.stats))._asdict(),
        }
        self.done.append(entry)
        return True

    def _batches(self, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        """The records of a chunk, made while others are written where there are threads for that."""
        return ahead(chunk.batches, _AHEAD) if self._run.threads > 1 else (batch for batch in chunk.batches)

    def _note(self, chunk: Chunk) -> None:
        """The files of a chunk are there: say so, behind what is needed to go on from there."""
        manifest, number = self._manifest, chunk.number
        is_last = number == self._asked.chunks - 1
        with_checkpoint = self._run.join and not is_last and time.monotonic() >= self._next_checkpoint
        if with_checkpoint:
            begin = time.monotonic()
            manifest.put_checkpoint(number, pack(self._run.snapshot(), self._seal))
            end = time.monotonic()
            self._next_checkpoint = end + _LEAST_BETWEEN * (end - begin)
        manifest.add(number, self.done[-1])
        if with_checkpoint:
            manifest.delete_checkpoints(before=number)

    def whole(self) -> RunStats:
        """The stats of all chunks that are done."""
        run, names = self._run, self._asked.names
        run.recount([Counted(names.show(entry["stats"]), entry["sample"], entry["matched"]) for entry in self.done])
        run.stats.seconds = sum(entry["seconds"] for entry in self.done)
        return run.stats

    def _finish(self, stats: RunStats) -> None:
        results = stats.results(with_names=self._run.config.anonymize is None)
        files = sum(len(entry["files"]) for entry in self.done)
        self._manifest.finish({"files": files, "seconds": round(stats.seconds, 3), "stats": results})


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
