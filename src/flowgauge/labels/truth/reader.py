"""A truth table as columns: a file of comma-separated values or Parquet, or an Arrow table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from flowgauge.errors import ConfigError
from flowgauge.labels.truth.fields import Header, read_header

_PARQUET = (".parquet", ".pq")
_HEAD = 1 << 18  # bytes that the header is looked for in
_DELIMITERS = ",;\t|"
_ENCODINGS = ("utf-8", "cp1252", "latin-1")  # CIC-IDS2017 has dashes of Windows in its labels


class Table(NamedTuple):
    """The columns that count, by their place in the header; texts are stripped, and null where they are empty."""

    name: str
    header: Header
    columns: dict[int, pa.Array]
    rows: int


def read_table(source: Any) -> Table:
    """The table of a path, or of an object that Arrow takes as a table. Raises ConfigError."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if path.lower().endswith(_PARQUET):
            return _from_arrow(path, _read_parquet(path))
        return _read_csv(path)
    if not (isinstance(source, pa.Table) or hasattr(source, "__arrow_c_stream__")):
        raise ConfigError(f"truth is the path of a table (CSV or Parquet) or an Arrow table, not {source!r}")
    return _from_arrow("truth", pa.table(source))


def _read_parquet(path: str) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"cannot read the table {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error).splitlines()[0]


def _from_arrow(name: str, table: pa.Table) -> Table:
    header = read_header(name, table.column_names)
    numbers = (*header.conditions.values(), *header.labels.values())
    for number in numbers:
        kind = table.schema.field(number).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise ConfigError(
                f"{name}: the column {table.column_names[number]!r} holds {kind}: no text, number or time"
            )
    return _without_blank_rows(name, header, {number: _single(table.column(number)) for number in numbers})


def _read_csv(path: str) -> Table:
    names, delimiter, lines = _head(path)
    header = read_header(path, names)
    numbers = sorted({*header.conditions.values(), *header.labels.values()})
    for encoding in _ENCODINGS:
        try:
            found = _csv_columns(path, (len(names), delimiter, lines), numbers, encoding)
        except (UnicodeDecodeError, pa.ArrowInvalid) as error:
            if isinstance(error, UnicodeDecodeError) or (encoding == _ENCODINGS[0] and "UTF8" in str(error)):
                continue
            raise ConfigError(f"cannot read the table {path}: {_reason(error)}") from None
        return _without_blank_rows(path, header, dict(zip(numbers, map(_single, found.columns), strict=True)))
    raise ConfigError(f"cannot read the table {path}: it is no text")


def _head(path: str) -> tuple[list[str], str, int]:
    """Names of the columns, what separates them, and the lines that they take."""
    try:
        with pa.input_stream(path, compression="detect") as stream:
            head = stream.read(_HEAD)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"cannot read the table {path}: {_reason(error)}") from None
    text = head.decode("utf-8-sig", "replace")
    first = text.partition("\n")[0]
    if not first.strip() or "\0" in first:
        raise ConfigError(f"{path}: the first line names no columns; a table is CSV, or Parquet by its extension")
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    return next(rows), delimiter, rows.line_num


def _csv_columns(path: str, form: tuple[int, str, int], numbers: list[int], encoding: str) -> pa.Table:
    from pyarrow import csv as arrow_csv

    width, delimiter, lines = form
    names = [f"c{number}" for number in range(width)]
    chosen = [names[number] for number in numbers]
    with pa.input_stream(path, compression="detect") as stream:
        return arrow_csv.read_csv(
            stream,
            arrow_csv.ReadOptions(column_names=names, skip_rows=lines, encoding=encoding),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(
                include_columns=chosen,
                column_types=dict.fromkeys(chosen, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )


def _single(column: pa.ChunkedArray) -> pa.Array:
    """One array; dictionaries are what they stand for."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # by older versions
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    return array


def _without_blank_rows(name: str, header: Header, columns: dict[int, pa.Array]) -> Table:
    """CIC-IDS2017 has hundreds of thousands of them behind its last row."""
    arrays = list(columns.values())
    filled = arrays[0].is_valid()
    for array in arrays[1:]:
        filled = pc.or_(filled, array.is_valid())
    kept = {number: array.filter(filled) for number, array in columns.items()}
    rows = len(next(iter(kept.values())))
    if not rows:
        raise ConfigError(f"{name} has no rows")
    return Table(name, header, kept, rows)


def distinct(array: pa.Array) -> tuple[list[Any], Any]:
    """The values that a column has, None for null behind them, and the place of each row's among these."""
    encoded = array.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    return [*(None if value != value else value for value in values), None], codes  # NaN is null


def failing(table: Table, condition: str) -> Callable[[Any, str], ConfigError]:
    """Makes errors that name table, column and the first row with a value."""

    def fail(value: Any, problem: str) -> ConfigError:
        array = table.columns[table.header.conditions[condition]]
        row = pc.index(array, pa.scalar(value, array.type)).as_py() + 1
        return ConfigError(f"{table.name}: row {row}, column of {condition}: {problem}")

    return fail
