"""Sinks: flow records to a file, standard output or a file object, in one of five formats; or to another system."""

from __future__ import annotations

import functools
import os
from typing import IO, Any

import pyarrow as pa

from flowgauge import storage
from flowgauge.errors import ConfigError
from flowgauge.sinks.delivery import Terms, is_destination, known_destinations, open_delivery
from flowgauge.sinks.output import Output
from flowgauge.sinks.sink import Opener, Sink

__all__ = ["FORMATS", "Sink", "Terms", "is_destination", "known_destinations", "open_sink"]

FORMATS: dict[str, tuple[str, ...]] = {
    "csv": (".csv",),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "jsonl": (".jsonl", ".ndjson"),
    "zeek": (".log",),
}
"""Every format and the file name extensions that stand for it."""

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Extensions behind those of csv, jsonl and zeek."""


def open_sink(
    output: str | os.PathLike[str] | IO[bytes],
    *,
    format: str | None = None,
    schema: pa.Schema,
    metadata: dict[str, str] | None = None,
    omit_null: bool = False,
    terms: Terms = Terms(),  # noqa: B008 (a tuple)
    threads: int = 1,
) -> Any:
    """A sink, to be used as a context manager, for record batches of `schema`.

    `output` is a path, the URL of a storage, "-" (standard output), a binary file object, or the URL of a destination,
    to which rows are delivered on these terms. The format is `format`, else that of the extension, else CSV for a
    stream. `metadata` and that of the fields are stored by Parquet and Arrow; with `omit_null` JSON leaves out what is
    null; `threads` are those of the run. Raises ConfigError for a format that is not known; entering the context
    raises SinkError where the output cannot be opened.
    """
    schema = schema.with_metadata(metadata or schema.metadata or {})
    if is_destination(output):
        if format is not None:
            raise ConfigError(f"format {format!r} is of files; what a destination takes is an option in its URL")
        return open_delivery(output, schema, terms, omit_null)
    path = storage.shown(os.fspath(output)) if isinstance(output, (str, os.PathLike)) and output != "-" else None
    name = path if path is not None else "" if output == "-" else str(getattr(output, "name", ""))
    found, compression = by_extension(name)
    chosen = _chosen(format) if format is not None else _by_name(found, path)
    return Sink(Output(output), schema, _opener(chosen, compression, omit_null, threads))


def _chosen(format: str) -> str:
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is not one of {', '.join(FORMATS)}")
    return format


def by_extension(path: str) -> tuple[str | None, str | None]:
    """The format that the end of a path stands for, and the compression behind it; None without a known one."""
    stem, extension = os.path.splitext(path.lower())
    compression = COMPRESSIONS.get(extension)
    if compression is not None:
        extension = os.path.splitext(stem)[1]
    return next((format for format, extensions in FORMATS.items() if extension in extensions), None), compression


def known_extensions() -> str:
    """All that stand for a format, to be shown."""
    return ", ".join(extension for extensions in FORMATS.values() for extension in extensions)


def _by_name(found: str | None, path: str | None) -> str:
    """The format that was found; for a stream (`path` None) without one, CSV."""
    if found is not None or path is None:
        return found or "csv"
    raise ConfigError(
        f"no format is known by the extension of {path}: name a file {known_extensions()}, give the format, or name a "
        f"destination ({known_destinations()})"
    )


def _opener(format: str, compression: str | None, omit_null: bool, threads: int) -> Opener:
    """Writers are imported when they are used: they load kernels or more of pyarrow."""
    if format in ("csv", "jsonl", "zeek"):
        from flowgauge.sinks.text import csv_writer, jsonl_writer
        from flowgauge.sinks.zeek import zeek_writer

        writers: dict[str, Any] = {
            "csv": csv_writer,
            "jsonl": functools.partial(jsonl_writer, omit_null=omit_null),
            "zeek": zeek_writer,
        }
        return functools.partial(writers[format], compression=compression)
    if compression is not None:
        raise ConfigError(f"{format} is compressed inside; leave {_extension(compression)} out of the name")
    if format == "parquet":
        from flowgauge.sinks.parquet import ParquetWriter

        return functools.partial(ParquetWriter, threads=threads)
    from flowgauge.sinks.arrow import ArrowWriter

    return ArrowWriter


def _extension(compression: str) -> str:
    return next(extension for extension, name in COMPRESSIONS.items() if name == compression)
