"""What databases share: a connection, the name of the table, its columns, and whether what is there takes the rows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from flowgauge.errors import ConfigError, SinkError
from flowgauge.sinks.delivery.url import Url

TABLE = "flows"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Database:
    """A connection, None where there is none, that does not survive an error."""

    errors: tuple[type[Exception], ...]
    """What the database's driver raises."""

    def __init__(self) -> None:
        self._connection: Any = None

    def error_of(self, error: Exception) -> SinkError:
        """What is raised for one of the `errors`: DestinationDown for one that passes by itself."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection, also one that is broken."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Raise what goes wrong inside as SinkError, and close the connection then."""
        try:
            yield
        except SinkError:
            self.close()
            raise
        except self.errors as error:
            self.close()
            raise self.error_of(error) from error


def table_of(url: Url) -> tuple[str | None, str]:
    """Schema and name of the table that the option `table` names, as `name` or `schema.name`. Raises ConfigError."""
    text = url.options.get("table", TABLE)
    names = text.split(".")
    if len(names) > 2 or not all(map(NAME.fullmatch, names)):
        raise ConfigError(f"{url.shown}: table is a name of letters, digits and _, or schema.name, not {text!r}")
    return (names[0] if len(names) == 2 else None), names[-1]


def columns_of(schema: pa.Schema, kind_of: Callable[[pa.DataType], str], name: str) -> dict[str, str]:
    """The type of each column, as the database calls it. Raises SinkError for one that it has no type for."""
    try:
        return {field.name: kind_of(field.type) for field in schema}
    except KeyError as error:
        raise SinkError(f"{name} has no type for {error.args[0]}; choose other columns, or write a file") from None


def check_columns_of(name: str, table: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise SinkError where a table that is there cannot take rows of the columns `wanted`."""
    for column, kind in wanted.items():
        if found.get(column) != kind:
            there = f"column {column!r} of {found[column]}" if column in found else f"no column {column!r}"
            raise SinkError(
                f"{name}: the table {table} has {there}, and the rows have one of {kind}: it was made for other "
                "columns (schema, features, labels); write the same ones, or into another table"
            )


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values: texts of categories."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
