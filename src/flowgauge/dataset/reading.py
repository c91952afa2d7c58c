"""A data set as one table: the files below a folder, and the columns that its folders name."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from flowgauge import storage
from flowgauge.dataset import is_dataset
from flowgauge.dataset.keys import DATE, NULL
from flowgauge.dataset.manifest import runs_in
from flowgauge.errors import ConfigError
from flowgauge.schema import arrow_type, native_columns
from flowgauge.stats import RunStats, total

_EXTENSIONS = (".parquet", ".pq")
_SOURCES = b"flowgauge_sources"
_CATEGORY = pa.dictionary(pa.int32(), pa.string())

Opened = Callable[[str], Any]
"""Opens a file to be read anywhere, as a file of Arrow."""


class _File(NamedTuple):
    """A file, the values that its folders name, and its columns and rows."""

    url: str
    values: dict[str, str | None]
    schema: pa.Schema
    rows: int


class DatasetTable(NamedTuple):
    """All rows of a data set. `schema` are the columns of all files and of folders, `read` gives some of them; a column
    that a file lacks is null there."""

    schema: pa.Schema
    rows: int
    read: Callable[[list[str]], pa.Table]


def is_flow_dataset(path: str) -> bool:
    """Whether there is a data set of flows, rather than a folder of captures."""
    return is_dataset(path) and (bool(runs_in(path)) or next(_urls(path), None) is not None)


def open_dataset(folder: str, opened: Opened) -> DatasetTable:
    """The rows of all files below a folder, in the order of their names. Raises ConfigError where there are none, and
    OSError or ArrowException for one that cannot be read."""

    def look(found: tuple[str, dict[str, str | None]]) -> _File:
        url, values = found
        with opened(url) as file:
            footer = pq.read_metadata(file)
        return _File(url, values, footer.schema.to_arrow_schema(), footer.num_rows)

    files = storage.each(look, _urls(folder))
    if not files:
        raise ConfigError(f"{storage.shown(folder)} has no Parquet files yet")
    keys = list(dict.fromkeys(name for file in files for name in file.values))
    kinds = {name: _kind(name) for name in keys}
    schema = pa.unify_schemas([file.schema for file in files], promote_options="permissive")
    schema = pa.schema([*(field for field in schema if field.name not in kinds), *kinds.items()], _said(files))

    def read(names: list[str]) -> pa.Table:
        wanted = pa.schema([schema.field(name) for name in names], schema.metadata)

        def part(file: _File) -> pa.Table:
            stored = [name for name in names if name not in kinds and name in file.schema.names]
            with opened(file.url) as source:
                table = pq.read_table(source, columns=stored)
            columns = [
                _constant(file.values.get(field.name), field.type, file.rows)
                if field.name in kinds
                else table[field.name].cast(field.type)
                if field.name in stored
                else pa.nulls(file.rows, field.type)
                for field in wanted
            ]
            return pa.Table.from_arrays(columns, schema=wanted)

        return pa.concat_tables(storage.each(part, files))

    return DatasetTable(schema, sum(file.rows for file in files), read)


def read_dataset_stats(folder: str) -> RunStats | None:
    """What the runs counted that wrote a data set, added up; None where one of them is not done."""
    done = [run.done() for run in runs_in(folder)]
    if not done or None in done:
        return None
    return total(each["stats"] for each in done if each is not None)


def _urls(folder: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """The files of a data set, and the values that their folders name."""
    depth = len(_parts(folder))
    for entry in storage.listing(folder):
        *folders, name = _parts(entry.url)[depth:]
        if name.endswith(_EXTENSIONS) and not any(part.startswith(("_", ".")) for part in (*folders, name)):
            yield entry.url, dict(_value(part) for part in folders if "=" in part)


def _parts(url: str) -> list[str]:
    path = storage.local_path(url)
    return [part for part in (storage.shown(url) if path is None else path).split("/") if part not in ("", ".")]


def _value(folder: str) -> tuple[str, str | None]:
    name, _, text = folder.partition("=")
    return name, None if text == NULL else urllib.parse.unquote(text)


def _kind(name: str) -> pa.DataType:
    """The type of a column that folders name: that which it has in a file."""
    if name == DATE:
        return pa.date32()
    kinds = {column.name: column.type for column in native_columns()}
    kind = arrow_type(kinds[name]) if name in kinds else _CATEGORY
    return kind if pa.types.is_integer(kind) or pa.types.is_boolean(kind) else _CATEGORY


def _constant(text: str | None, kind: pa.DataType, rows: int) -> pa.Array:
    if text is None:
        return pa.nulls(rows, kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    value = pa.array([text]).cast(kind)[0]
    return pa.repeat(value, rows)


def _said(files: list[_File]) -> dict[bytes, bytes]:
    """What the first file says of how it was made; the captures of one trace only where all files are of that."""
    said = dict(files[0].schema.metadata or {})
    if any((file.schema.metadata or {}).get(_SOURCES) != said.get(_SOURCES) for file in files):
        said.pop(_SOURCES, None)
    return said
