"""Tables of flow records in files of any format, as columns that are read when they are asked for."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowgauge import storage
from flowgauge.dataset import is_dataset
from flowgauge.dataset.reading import is_flow_dataset, open_dataset, read_dataset_stats
from flowgauge.errors import ConfigError, SourceError
from flowgauge.schema import arrow_type, native_columns
from flowgauge.schemas import SCHEMAS
from flowgauge.schemas.zeek import ZEEK_TYPES
from flowgauge.sinks import by_extension, known_extensions
from flowgauge.stats import STATS, RunStats, total

_PLACE = re.compile(r"_(\d+)$")
_EMPTY = ("-", "(empty)")
_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}
_TIME = pa.timestamp("ns", "UTC")


class Table:
    """Rows of named columns.

    `typed` says whether the file knows their types; in text, columns that are known by their name get their type, and
    floats have so many decimals as `step` says (0: all).
    """

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        rows: int,
        read: Callable[[list[str]], pa.Table],
        typed: bool = True,
        step: float = 0.0,
    ) -> None:
        self.name = name
        self.schema = schema
        self.rows = rows
        self.typed = typed
        self.step = step
        self._read = read
        self._kept: dict[str, pa.Array] = {}

    @property
    def names(self) -> list[str]:
        return list(self.schema.names)

    def column(self, name: str, keep: bool = False) -> pa.Array:
        """All values of a column, dictionaries as what they stand for; `keep` remembers them."""
        if name in self._kept:
            return self._kept[name]
        array = one_array(self._read([name]).column(0))
        if keep:
            self._kept[name] = array
        return array

    def select(self, names: list[str]) -> pa.Table:
        """Some columns as they are stored, read side by side."""
        return self._read(names)

    def has_places(self, name: str) -> bool:
        """Whether a list is there as a column for each of its places."""
        return name not in self.names and f"{name}_1" in self.names

    def places(self, name: str) -> list[str]:
        """The columns of the places of a list, in order."""
        found = [other for other in self.names if _PLACE.sub("", other) == name and _PLACE.search(other)]
        return sorted(found, key=lambda other: int(other.rsplit("_", 1)[1]))

    def gathered(self, name: str) -> pa.Array:
        """A list that is there as a column for each of its places, null behind its end."""
        columns = [self.column(place) for place in self.places(name)]
        valid = np.stack([column.is_valid().to_numpy(zero_copy_only=False) for column in columns], axis=1)
        values = pa.concat_arrays(columns)
        rows, places = np.nonzero(valid)
        taken = values.take(pa.array(places * self.rows + rows))
        offsets = np.append(0, np.cumsum(valid.sum(axis=1))).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), taken)


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array; dictionaries are what they stand for."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):  # by older versions
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def open_table(source: Any, side: str) -> Table:
    """The table of a path, or of what Arrow takes as a table; `side` names one without a path. Raises ConfigError."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        try:
            return _READERS[_format(path)](path)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the table {storage.shown(path)}: {_reason(error, path)}") from None
    if not (isinstance(source, pa.Table) or hasattr(source, "__arrow_c_stream__")):
        raise ConfigError(f"a table is a path or an Arrow table, not {source!r}")
    return in_memory(side, source if isinstance(source, pa.Table) else pa.table(source))


def _reason(error: Exception, path: str) -> str:
    if isinstance(error, OSError) and error.errno:
        return str(error.strerror) if storage.is_url(path) else os.strerror(error.errno)
    return str(error).splitlines()[0]


def is_flow_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a table rather than a capture: by its first bytes, texts by their extension, a folder by the
    Parquet files in it."""
    name = os.fspath(path)
    return is_flow_dataset(name) or (_magic(name) or by_extension(storage.shown(name))[0]) is not None


def read_flows(paths: Iterable[str | os.PathLike[str]]) -> Table:
    """All rows of some tables; a column that one of them lacks is null there. Metadata are those of the first.

    Lists, which text has as a column for each place, are lists again. Raises SourceError for a file that cannot be
    read, and for tables that have different types.
    """
    try:
        tables = [_with_lists(open_table(path, "the table")) for path in paths]
    except ConfigError as error:
        raise SourceError(str(error)) from None
    if len(tables) == 1:
        return tables[0]
    try:
        joined = pa.concat_tables(map(_in_texts, tables), promote_options="permissive")
    except pa.ArrowException as error:
        raise SourceError(f"the flow tables do not go together: {str(error).splitlines()[0]}") from None
    return in_memory(tables[0].name, joined.replace_schema_metadata(tables[0].schema.metadata))


def read_stats(paths: Iterable[str | os.PathLike[str]]) -> RunStats | None:
    """What the runs counted that wrote these tables, added up; None where one of them does not say it."""
    import pyarrow.parquet as pq

    runs: list[Any] = []
    for path in paths:
        if _format(os.fspath(path)) == "dataset":
            counted = read_dataset_stats(os.fspath(path))
            if counted is None:
                return None
            runs.append(counted.results())
            continue
        if _format(os.fspath(path)) != "parquet":
            return None
        with _opened(os.fspath(path)) as file:
            noted = (pq.read_metadata(file).metadata or {}).get(STATS.encode())
        if noted is None:
            return None
        runs.append(json.loads(noted))
    return total(runs)


def _with_lists(table: Table) -> Table:
    if table.typed:
        return table
    lists = [name for name, kind in _native_types().items() if pa.types.is_list(kind) and table.has_places(name)]
    places = {place for name in lists for place in table.places(name)}
    columns = {name: table.column(name) for name in table.names if name not in places}
    return in_memory(table.name, pa.table(columns | {name: table.gathered(name) for name in lists}))


def _in_texts(table: Table) -> pa.Table:
    """All of it, with texts for categories: those of two files have different dictionaries."""
    return pa.table({name: table.column(name) for name in table.names})


def _magic(path: str) -> str | None:
    """The format that the first bytes of a file say, None where they say none."""
    try:
        head = storage.head(path, 6)
    except OSError:
        return None
    return next((format for magic, format in _MAGIC.items() if head.startswith(magic)), None)


def _format(path: str) -> str:
    name = storage.shown(path)
    if is_dataset(path):
        return "dataset"
    format = _magic(path) or by_extension(name)[0]
    if format is None:
        raise ConfigError(f"{name}: no table by its extension; there are {known_extensions()}")
    return format


def in_memory(name: str, table: pa.Table, typed: bool = True, step: float = 0.0) -> Table:
    """A table of Arrow, which has all columns already."""
    return Table(name, table.schema, len(table), table.select, typed, step)


def _opened(path: str) -> Any:
    """A table as a file of Arrow; one of this machine is mapped."""
    local = storage.local_path(path)
    return storage.open_random(path) if local is None else pa.memory_map(local)


def _text(path: str) -> Any:
    """The text of a table, decompressed where its name says that it is compressed."""
    local = storage.local_path(path)
    if local is not None:
        return pa.input_stream(local, compression="detect")
    return pa.input_stream(storage.open_random(path), compression=by_extension(storage.shown(path))[1])


def _parquet(path: str) -> Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(_opened(path))
    return Table(storage.shown(path), file.schema_arrow, file.metadata.num_rows, file.read)


def _dataset(path: str) -> Table:
    return Table(storage.shown(path), *open_dataset(path, _opened))


def _arrow(path: str) -> Table:
    with _opened(path) as file:
        return in_memory(storage.shown(path), pa.ipc.open_file(file).read_all())


def _csv(path: str) -> Table:
    from pyarrow import csv

    with _text(path) as stream:
        names = csv.open_csv(stream, parse_options=csv.ParseOptions(newlines_in_values=True)).schema.names
    known = _types_of_text(names)
    types = {name: known.get(name, pa.string()) for name in names}
    convert = csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
    with _text(path) as stream:
        table = csv.read_csv(stream, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=convert)
    for place, name in enumerate(names):
        if name not in known:
            table = table.set_column(place, name, _inferred(table[name]))
    return in_memory(storage.shown(path), table, typed=False)


def _inferred(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as the numbers that they all are; what begins with 0 is the text of a name, such as a number of a file."""
    named = pc.match_substring_regex(column, r"^[-+]?0\d")
    for kind in (pa.int64(), pa.float64()) if not pc.any(named).as_py() else ():
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(kind)
    return column


def _jsonl(path: str) -> Table:
    from pyarrow import json

    times = [name for name, kind in _native_types().items() if pa.types.is_timestamp(kind)]
    options = json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in times]))
    with _text(path) as stream:
        table = json.read_json(stream, parse_options=options)
    table = table.drop_columns([name for name in times if table[name].null_count == len(table)])
    for name, kind in _types_of_text(table.column_names).items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    return in_memory(storage.shown(path), table, typed=False)


def _zeek(path: str) -> Table:
    from pyarrow import csv

    with _text(path) as stream:
        text = stream.read()
    head = [line for line in text[: 1 << 16].decode("utf-8", "replace").splitlines() if line.startswith("#fields\t")]
    if not head:
        raise ConfigError(f"{storage.shown(path)} has no line of #fields: no log of Zeek as tab-separated values")
    names = head[0].split("\t")[1:]
    rows = b"\n".join(line for line in text.split(b"\n") if line and not line.startswith(b"#"))
    types = {name: _ZEEK.get(ZEEK_TYPES.get(name, "string"), pa.string()) for name in names}
    table = (
        csv.read_csv(
            pa.BufferReader(rows),
            csv.ReadOptions(column_names=names),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            csv.ConvertOptions(
                column_types=types,
                null_values=list(_EMPTY),
                strings_can_be_null=True,
                true_values=["T"],
                false_values=["F"],
            ),
        )
        if rows
        else pa.table({name: pa.array([], kind) for name, kind in types.items()})
    )
    return in_memory(storage.shown(path), table, typed=False, step=1e-6)


_ZEEK = {
    "time": pa.float64(),
    "interval": pa.float64(),
    "count": pa.int64(),
    "port": pa.int64(),
    "bool": pa.bool_(),
}
_READERS: Mapping[str, Callable[[str], Table]] = {
    "parquet": _parquet,
    "dataset": _dataset,
    "arrow": _arrow,
    "csv": _csv,
    "jsonl": _jsonl,
    "zeek": _zeek,
}


def _types_of_text(names: list[str]) -> dict[str, pa.DataType]:
    """The types of known columns in a file of text: of the schema that the names are those of."""
    known = _native_types()
    if (schema := schema_of(names)) != "native":
        known = {column.name: _plain(column.type) for column in SCHEMAS[schema].columns()}
    places = {name: known.get(_PLACE.sub("", name)) for name in names if _PLACE.search(name)}
    listed = {name: kind.value_type for name, kind in places.items() if kind is not None and pa.types.is_list(kind)}
    return {name: known[name] for name in names if name in known} | listed


def _native_types() -> dict[str, pa.DataType]:
    if not _NATIVE:
        _NATIVE.update((column.name, _plain(column.type)) for column in native_columns())
    return _NATIVE


_NATIVE: dict[str, pa.DataType] = {}


def _plain(kind: str) -> pa.DataType:
    """The type in text: categories are texts, bytes the text of their digits."""
    return pa.string() if kind in ("category", "binary") else arrow_type(kind)


def schema_of(names: list[str]) -> str:
    """The schema whose columns these are, as far as they are known: the one with most of them."""
    found = set(names)
    counts = {name: len(found & {column.name for column in schema.columns()}) for name, schema in SCHEMAS.items()}
    return max(counts, key=lambda name: counts[name])


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_null(array: pa.Array) -> Any:
    """Where an array is null, as NumPy has it."""
    return array.is_null().to_numpy(zero_copy_only=False)


def filled(array: pa.Array, value: Any) -> Any:
    """An array of numbers as NumPy has it, with a value in place of null."""
    return (pc.fill_null(array, value) if array.null_count else array).to_numpy(zero_copy_only=False)
