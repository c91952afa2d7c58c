"""Flow tables read back from the files that `extract` writes: Parquet, Arrow and CSV."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from flowgauge.errors import SourceError
from flowgauge.schema import arrow_type, native_columns

_PARQUET, _ARROW = b"PAR1", b"ARROW1"
_CSV = (".csv", ".csv.gz", ".csv.zst")
_OTHERS = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
_PLACE = re.compile(r"(.+)_([1-9][0-9]*)")


def is_flow_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a flow table rather than a capture: by its first bytes, CSV by its extension."""
    name = os.fspath(path).lower()
    try:
        with open(path, "rb", buffering=0) as file:
            begins = file.read(len(_ARROW)).startswith((_PARQUET, _ARROW))
    except OSError:
        begins = False
    return begins or name.endswith((*_CSV, *_OTHERS))


def read_flows(
    paths: Iterable[str | os.PathLike[str]], wanted: Callable[[pa.Field], bool] = lambda field: True
) -> pa.Table:
    """All rows of some flow tables; a column that one of them lacks is null there. Metadata are those of the first.

    Columns that are not `wanted` may be left out. Columns of CSV have the types of the native columns of their names,
    and lists are lists again. Raises SourceError for a file that cannot be read.
    """
    tables = [_read(os.fspath(path), wanted) for path in paths]
    if len(tables) == 1:
        return tables[0]
    try:
        joined = pa.concat_tables(map(_plain, tables), promote_options="permissive")
    except pa.ArrowException as error:
        raise SourceError(f"the flow tables do not go together: {_first_line(error)}") from None
    return joined.replace_schema_metadata(tables[0].schema.metadata)


def _read(path: str, wanted: Callable[[pa.Field], bool]) -> pa.Table:
    try:
        return _reader(path)(path, wanted)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file or folder") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read as a flow table: {_first_line(error)}") from None


def _reader(path: str) -> Any:
    with open(path, "rb") as file:
        head = file.read(len(_ARROW))
    if head.startswith(_PARQUET):
        return _read_parquet
    return _read_arrow if head == _ARROW else _read_csv


def _read_parquet(path: str, wanted: Callable[[pa.Field], bool]) -> pa.Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    return file.read(columns=[field.name for field in file.schema_arrow if wanted(field)])


def _read_arrow(path: str, _: Callable[[pa.Field], bool]) -> pa.Table:
    with pa.OSFile(path) as file:
        return pa.ipc.open_file(file).read_all()


def _read_csv(path: str, _: Callable[[pa.Field], bool]) -> pa.Table:
    from pyarrow import csv

    types = {column.name: arrow_type(column.type) for column in native_columns()}
    with pa.input_stream(path, compression="detect") as stream:
        head = stream.read(1 << 20).split(b"\n", 1)[0].decode("utf-8-sig")
    names = [name.strip().strip('"') for name in head.split(",")]
    known = {name: _csv_type(name, types) for name in names}
    with pa.input_stream(path, compression="detect") as stream:
        table = csv.read_csv(
            stream,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: kind for name, kind in known.items() if kind is not None},
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    return _with_lists(table, types)


def _csv_type(name: str, types: dict[str, pa.DataType]) -> pa.DataType | None:
    """The type of a column of CSV: that of the native column of its name or, of `name_1`, of that list's values."""
    match = _PLACE.fullmatch(name)
    kind = types.get(name) or (types.get(match[1]) if match else None)
    if kind is not None and pa.types.is_list(kind):
        kind = kind.value_type
    return pa.string() if kind is not None and pa.types.is_binary(kind) else kind


def _with_lists(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """The table with one column of lists in the place of those of their values."""
    places: dict[str, list[str]] = {}
    for name in table.column_names:
        match = _PLACE.fullmatch(name)
        if match and name not in types and pa.types.is_list(types.get(match[1], pa.null())):
            places.setdefault(match[1], []).append(name)
    for name, columns in places.items():
        lists = _lists([table[column].combine_chunks() for column in columns], types[name])
        table = table.drop_columns(columns).append_column(name, lists)
    return table


def _lists(columns: list[Any], kind: pa.DataType) -> pa.Array:
    """Lists of the values that are there, in their order."""
    import numpy as np

    arrays = [pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array for array in columns]
    present = np.array([array.is_valid().to_numpy(zero_copy_only=False) for array in arrays]).reshape(len(arrays), -1)
    numbers = np.array([array.fill_null(0).to_numpy(zero_copy_only=False) for array in arrays]).reshape(present.shape)
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=0))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(numbers.T[present.T], kind.value_type))


def _plain(table: pa.Table) -> pa.Table:
    """The table with texts for categories: those of two files have different dictionaries."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _first_line(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else (str(error).splitlines() or ["damaged"])[0]
