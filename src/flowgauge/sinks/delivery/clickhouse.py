"""ClickHouse, over its HTTP interface by its own driver: each delivery is one insert of Arrow data."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

from flowgauge.errors import ConfigError, DestinationDown, MissingDependency, SinkError
from flowgauge.sinks.delivery.delivery import KEY
from flowgauge.sinks.delivery.tables import NAME, Database, check_columns_of, columns_of, plain, table_of
from flowgauge.sinks.delivery.url import Url

_PORTS = {"false": 8123, "true": 8443}  # by `secure`
_CONNECT, _ANSWER = 10, 60  # s
_TYPES = {
    **{pa.bool_(): "Bool", pa.string(): "String", pa.binary(): "String"},
    **{pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64"},
    **{pa.uint8(): "UInt8", pa.uint16(): "UInt16", pa.uint32(): "UInt32", pa.uint64(): "UInt64"},
    **{pa.float32(): "Float32", pa.float64(): "Float64"},
}
_TIME = "DateTime64(9, 'UTC')"
_CODE = re.compile(r"\bCode: (\d+)")
# Errors of the server that pass: time-outs, limits of load, memory and space, replication, a shutdown.
_PASSING = {159, 164, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 285, 286, 319, 394, 425, 999}
_SETTINGS = {"async_insert": 0}  # an answer says that rows are there


class ClickHouse(Database):
    """The table of a URL `clickhouse://[user:password@]host[:8123][/database][?table=name]`.

    A table that is made here keeps one of several rows with the same KEY, when the server merges its parts.
    """

    rows = 50_000

    def __init__(self, url: Url) -> None:
        super().__init__()
        url.check_options({"table", "secure"})
        database, self._table = table_of(url)
        secure = url.one_of("secure", ("false", "true"))
        addresses = url.addresses(_PORTS[secure])
        if len(addresses) != 1:
            raise ConfigError(f"{url.shown}: name one server: clickhouse://localhost/default?table=flows")
        self._database = database or url.path or "default"
        if not NAME.fullmatch(self._database):
            raise ConfigError(f"{url.shown}: a database has a name of letters, digits and _")
        self.name = f"{url.shown}?table={self._database}.{self._table}"
        self._driver = _driver()
        self._where: dict[str, Any] = {
            "host": addresses[0][0],
            "port": addresses[0][1],
            "secure": secure == "true",
            "username": url.user or "default",
            "password": url.password or "",
        }
        self.errors = (self._driver.driver.exceptions.Error, OSError)

    def connect(self, schema: pa.Schema) -> None:
        """Connect, and make the table where there is none."""
        self.close()
        columns = _columns(schema, self.name)
        with self.told():
            self._connection = self._driver.get_client(
                **self._where,
                compress=False,
                connect_timeout=_CONNECT,
                send_receive_timeout=_ANSWER,
                query_retries=0,
                autogenerate_session_id=False,
                settings=_SETTINGS,
                client_name="flowgauge",
            )
            self._connection.command(self._definition(columns))
            check_columns_of(self.name, self._table, columns, self._found())

    @property
    def _full_name(self) -> str:
        return f"{_quoted(self._database)}.{_quoted(self._table)}"

    def _definition(self, columns: dict[str, str]) -> str:
        listed = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
        engine = "MergeTree ORDER BY tuple()"
        if columns.keys() >= set(KEY):
            engine = "ReplacingMergeTree ORDER BY (start, source, flow_id, part)"
        return f"CREATE TABLE IF NOT EXISTS {self._full_name} ({listed}) ENGINE = {engine}"

    def _found(self) -> dict[str, str]:
        """Columns and their types, of the table that is there."""
        where = f"database = '{self._database}' AND table = '{self._table}'"
        text = self._connection.raw_query(f"SELECT name, type FROM system.columns WHERE {where}", fmt="JSONEachRow")
        rows = [json.loads(line) for line in text.splitlines()]
        return {row["name"]: row["type"] for row in rows}

    def deliver(self, table: pa.Table) -> None:
        """Insert rows; the answer says that the server has them."""
        if self._connection is None:
            raise DestinationDown("the connection is closed")
        fields = [pa.field(field.name, plain(field.type)) for field in table.schema]
        with self.told():
            self._connection.insert_arrow(_quoted(self._table), table.cast(pa.schema(fields)), _quoted(self._database))

    def error_of(self, error: Exception) -> SinkError:
        """By the number that the server gives; what has none did not come from it."""
        code = _CODE.search(str(error))
        reason = " ".join(str(error).split())[:300]
        if code is None or int(code[1]) in _PASSING:
            return DestinationDown(reason)
        return SinkError(f"{self.name}: {reason}")


def _columns(schema: pa.Schema, name: str) -> dict[str, str]:
    """The types of all columns: what names a row is never null, and a list is empty instead."""
    kinds = columns_of(schema, _kind, name)
    for field in schema:
        if field.name in KEY or pa.types.is_list(field.type):
            continue
        kind, is_category = _kind(plain(field.type)), pa.types.is_dictionary(field.type)
        kinds[field.name] = f"LowCardinality(Nullable({kind}))" if is_category else f"Nullable({kind})"
    return kinds


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return _TIME
    if pa.types.is_dictionary(kind):
        return f"LowCardinality({_kind(kind.value_type)})"
    return f"Array({_kind(kind.value_type)})" if pa.types.is_list(kind) else _TYPES[kind]


def _quoted(name: str) -> str:
    return f"`{name}`"


def _driver() -> Any:
    try:
        import clickhouse_connect
    except ImportError as error:
        raise MissingDependency("clickhouse:// needs its driver: pip install 'flowgauge[clickhouse]'") from error
    return clickhouse_connect
