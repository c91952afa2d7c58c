"""Rows by a condition of SQL: DuckDB, which sees the table and nothing else."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flowgauge.errors import ConfigError, MissingDependency

_INSTALL = "conditions of SQL need DuckDB: pip install 'flowgauge[sql]'"
_ALIASES = {"bytes": "frame_bytes"}
"""Words that mean a column where the table has none of that name."""


def select(name: str, records: Any, where: str, columns: list[str]) -> pa.Table:
    """These columns of the rows for which `where` is true; `records` is a table or data set of Arrow.

    DuckDB may open no file, and nothing but one SELECT is run. Raises ConfigError with the place of a mistake, and
    MissingDependency.
    """
    if not where.strip():
        raise ConfigError("the condition is empty; it is SQL, such as \"app = 'chat' and bytes > 1e6\"")
    duckdb = _duckdb()
    connection = duckdb.connect(":memory:", config={"enable_external_access": "false"})
    try:
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        connection.register("records", records)
        connection.execute(f"CREATE TEMP VIEW flows AS SELECT {_shown(records.schema.names)} FROM records")
        return _selected(connection, where, columns)
    except duckdb.Error as error:
        raise ConfigError(f"the condition cannot be used on {name}: {_message(error)}") from None
    finally:
        connection.close()


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise MissingDependency(_INSTALL) from None
    return duckdb


def _shown(names: list[str]) -> str:
    more = (f"{column} AS {word}" for word, column in _ALIASES.items() if column in names and word not in names)
    return ", ".join(("*", *more))


def _selected(connection: Any, where: str, columns: list[str]) -> pa.Table:
    """The condition stands on lines of its own, so that a mistake is shown in it as it was given."""
    listed = ", ".join(f'"{column}"' for column in columns)
    query = f"SELECT {listed} FROM flows WHERE (\n{where}\n)"
    count = len(connection.extract_statements(query))
    if count != 1:
        raise ConfigError(f"the condition is one expression of SQL, not {count} statements: {where}")
    connection.execute(
        f"CREATE TEMP TABLE chosen AS {query}"
    )  # as a relation, it would not tell the place of a mistake
    return connection.table("chosen").to_arrow_table()


def _message(error: Exception) -> str:
    """What DuckDB says; the line of the condition is counted from the first of it."""
    lines = []
    for line in str(error).splitlines():
        head, colon, rest = line.partition(": ")
        if head.startswith("LINE ") and colon and head[5:].isdigit():
            lines.append(f"line {int(head[5:]) - 1}: ".ljust(len(head) + 2) + rest)
        else:
            lines.append(line)
    return "\n".join(lines)
