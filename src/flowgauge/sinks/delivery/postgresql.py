"""PostgreSQL, by the ADBC driver: rows go in by COPY in its binary form, each delivery in a transaction of its own."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flowgauge.errors import DestinationDown, MissingDependency, SinkError
from flowgauge.sinks.delivery.tables import Database, check_columns_of, columns_of, plain, quoted, table_of
from flowgauge.sinks.delivery.url import Url

_PORT = 5432
# What holds the numbers of types that there are not.
_STORED = {
    **{pa.int8(): pa.int16(), pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()},
    pa.uint64(): pa.decimal128(20),
}
_TYPES = {
    **{pa.bool_(): "boolean", pa.string(): "text", pa.binary(): "bytea"},
    **{pa.int16(): "smallint", pa.int32(): "integer", pa.int64(): "bigint"},
    **{pa.float32(): "real", pa.float64(): "double precision"},
    pa.decimal128(20): "numeric(20,0)",
}
_TIME = pa.timestamp("us", "UTC")
_NUL, _INSTEAD = "\0", "�"  # a text of PostgreSQL holds any character but this
_SETTINGS = {
    "application_name": "flowgauge",
    "connect_timeout": "10",
    "tcp_user_timeout": "30000",  # ms
    "keepalives_idle": "10",
    "options": "-c statement_timeout=60s -c TimeZone=UTC",
}
_LIBPQ = ("sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs", "connect_timeout")
# Of what is raised without a code while connecting: what does not pass by itself.
_LASTING = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied", "invalid ")
# Classes of SQLSTATE that pass: connection, resources, operator's doing, conflicts, a server that is only a copy.
_PASSING = ("08", "53", "57", "58", "40", "25", "XX")


class PostgreSQL(Database):
    """The table of a URL `postgresql://[user:password@]host[:5432]/database[?table=[schema.]name]`."""

    rows = 10_000

    def __init__(self, url: Url) -> None:
        super().__init__()
        url.check_options({"table", *_LIBPQ})
        self._schema_name, self._table = table_of(url)
        self._uri = _uri(url)
        self._shown_table = ".".join(filter(None, (self._schema_name, self._table)))
        self.name = f"{url.shown}?table={self._shown_table}"
        self._driver = _driver()
        self.errors = (self._driver.Error,)
        self._schema = pa.schema([])

    @property
    def _quoted(self) -> str:
        return ".".join(quoted(name) for name in (self._schema_name, self._table) if name)

    def connect(self, schema: pa.Schema) -> None:
        """Connect, and make the table where there is none."""
        self.close()
        self._schema = pa.schema([pa.field(field.name, _stored(field.type)) for field in schema])
        columns = columns_of(self._schema, _kind, self.name)
        with self.told():
            self._connection = self._driver.connect(self._uri)
            with self._connection.cursor() as cursor:
                found = self._columns(cursor)
                if not found:
                    listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
                    cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._quoted} ({listed})")
                    found = self._columns(cursor)
            self._connection.commit()
            check_columns_of(self.name, self._shown_table, columns, found)

    def _columns(self, cursor: Any) -> dict[str, str]:
        """Columns and their types, of the table where there is one."""
        cursor.execute(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            f"WHERE attrelid = to_regclass('{self._quoted}') AND attnum > 0 AND NOT attisdropped"
        )
        return dict(cursor.fetchall())

    def deliver(self, table: pa.Table) -> None:
        """Append rows; the server has them on its disk, or none of them."""
        if self._connection is None:
            raise DestinationDown("the connection is closed")
        columns = [_converted(table[field.name], field.type) for field in self._schema]
        with self.told(), self._connection.cursor() as cursor:
            cursor.adbc_ingest(
                self._table,
                pa.Table.from_arrays(columns, schema=self._schema),
                mode="append",
                db_schema_name=self._schema_name,
            )
            self._connection.commit()

    def error_of(self, error: Exception) -> SinkError:
        """By its SQLSTATE, or by its words where there is none."""
        reason = _reason(error)
        if _passes(getattr(error, "sqlstate", None), str(error)):
            return DestinationDown(reason)
        return SinkError(f"{self.name}: {reason}")


def _stored(kind: pa.DataType) -> pa.DataType:
    kind = plain(kind)
    if pa.types.is_timestamp(kind):
        return _TIME
    return pa.list_(_stored(kind.value_type)) if pa.types.is_list(kind) else _STORED.get(kind, kind)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamp with time zone"
    return f"{_kind(kind.value_type)}[]" if pa.types.is_list(kind) else _TYPES[kind]


def _converted(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column as it is stored: times cut to microseconds, texts without the one character that there is not."""
    found = column.cast(kind, safe=False) if pa.types.is_timestamp(kind) else column.cast(kind)
    if pa.types.is_string(kind) and pc.any(pc.match_substring(found, _NUL)).as_py():
        found = pc.replace_substring(found, _NUL, _INSTEAD)
    return found


def _passes(state: str | None, text: str) -> bool:
    """Whether what is wrong may be right when it is tried again."""
    if state:
        return state.startswith(_PASSING)
    return not any(words in text for words in _LASTING)


def _reason(error: Exception) -> str:
    """What the server or its client says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) if lines else type(error).__name__


def _uri(url: Url) -> str:
    """What libpq is told: where, who, and how long to wait."""
    quote = urllib.parse.quote
    who = ""
    if url.user is not None:
        who = quote(url.user, "") + (f":{quote(url.password, '')}" if url.password is not None else "") + "@"
    where = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in url.addresses(_PORT))
    settings = _SETTINGS | {name: value for name, value in url.options.items() if name in _LIBPQ}
    query = urllib.parse.urlencode(settings, quote_via=quote)
    return f"postgresql://{who}{where}/{quote(url.path, '')}?{query}"


def _driver() -> Any:
    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError as error:
        raise MissingDependency("postgresql:// needs its driver: pip install 'flowgauge[postgresql]'") from error
    return driver
