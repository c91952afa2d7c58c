"""A DuckDB file: the database that needs no server. Each delivery is a transaction."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

from flowgauge.errors import ConfigError, DestinationDown, MissingDependency, SinkError
from flowgauge.sinks.delivery.tables import TABLE, Database, check_columns_of, columns_of, plain, quoted
from flowgauge.sinks.delivery.url import Url

_TYPES = {
    **{pa.bool_(): "BOOLEAN", pa.string(): "VARCHAR", pa.binary(): "BLOB"},
    **{pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT"},
    **{pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT", pa.uint32(): "UINTEGER", pa.uint64(): "UBIGINT"},
    **{pa.float32(): "FLOAT", pa.float64(): "DOUBLE"},
}
_TIME = pa.timestamp("ns")  # with a zone, older versions keep microseconds


class DuckDBFile(Database):
    """The table `flows` of a file `*.duckdb`, which is made where it is not there, and appended to where it is."""

    rows = 32_768

    def __init__(self, url: Url) -> None:
        super().__init__()
        if url.hosts:
            raise ConfigError("a DuckDB file is named by its path: -o flows.duckdb")
        self._path = os.path.abspath(url.path)
        self.name = self._path
        self._duckdb = _client()
        self.errors = (self._duckdb.Error,)
        self._schema = pa.schema([])

    def connect(self, schema: pa.Schema) -> None:
        """Open the file, and make the table where there is none."""
        self.close()
        self._schema = pa.schema([pa.field(field.name, _stored(field.type)) for field in schema])
        columns = columns_of(self._schema, _kind, self.name)
        with self.told():
            self._connection = self._duckdb.connect(self._path)
            listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({listed})")
            found = self._connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND NOT internal", [TABLE]
            ).fetchall()
            check_columns_of(self.name, TABLE, columns, dict(found))

    def deliver(self, table: pa.Table) -> None:
        """Append rows; all of them are in the file, or none."""
        if self._connection is None:
            raise DestinationDown("the file is closed")
        with self.told():
            self._connection.register("delivery", table.cast(self._schema))
            self._connection.execute(f"INSERT INTO {TABLE} BY NAME SELECT * FROM delivery")
            self._connection.unregister("delivery")

    def error_of(self, error: Exception) -> SinkError:
        """Another program that has the file open will close it; nothing else passes."""
        reason = str(error).splitlines()[0]
        if isinstance(error, self._duckdb.IOException) and "lock" in reason.lower():
            return DestinationDown(f"another program has it open: {reason}")
        return SinkError(f"cannot write {self.name}: {reason}")


def _stored(kind: pa.DataType) -> pa.DataType:
    return _TIME if pa.types.is_timestamp(kind) else plain(kind)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_NS"
    return f"{_kind(kind.value_type)}[]" if pa.types.is_list(kind) else _TYPES[kind]


def _client() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingDependency("a DuckDB file needs DuckDB: pip install 'flowgauge[sql]'") from error
    return duckdb
