"""Flow records in PostgreSQL: a real server, every type, and what happens when it dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import flowgauge as fg
from docpages import ROOT
from flowgauge.errors import ConfigError, DestinationDown, SinkError
from flowgauge.sinks.delivery.delivery import Delivery
from flowgauge.sinks.delivery.postgresql import PostgreSQL
from flowgauge.sinks.delivery.url import parse_url
from services_here import needs
from sinks.delivery.database_rows import SCHEMA, table, time_of
from sinks.delivery.far_end import Said, limits
from sinks.delivery.postgres_server import Server

pytestmark = [pytest.mark.slow, needs("postgres", "adbc_driver_postgresql")]
CAPTURE = ROOT / "examples" / "captures" / "dns_lookup_01.pcap"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    if server.runs:
        server.stop()


def query(server: Server, sql: str) -> list[tuple[Any, ...]]:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def opened(server: Server, name: str, schema: pa.Schema = SCHEMA) -> PostgreSQL:
    found = PostgreSQL(parse_url(f"{server.url}?table={name}"))
    found.connect(schema)
    return found


def test_every_type_comes_back(server: Server) -> None:
    """Unsigned numbers have a type that holds them, categories are texts, times are cut to microseconds."""
    destination = opened(server, "types")
    destination.deliver(table(range(6)))
    destination.close()
    columns = [name for name in SCHEMA.names if name not in ("start", "end")]
    listed = ", ".join(f'"{name}"' for name in columns)
    rows = query(server, f"SELECT {listed} FROM types ORDER BY flow_id")
    for row, want in zip(rows, table(range(6)).to_pylist(), strict=True):
        found = dict(zip(columns, row, strict=True))
        if found["large"] is not None:
            found["large"] = int(found["large"])
        assert found == {name: want[name] for name in columns}
    times = query(server, 'SELECT start, "end" FROM types ORDER BY flow_id')
    assert [row[0] for row in times] == [time_of(number) for number in range(6)]
    assert times[2][1] is None


def test_texts_with_nul(server: Server) -> None:
    """The one character that a text cannot hold is replaced, and the rest of the delivery is there."""
    schema = pa.schema([("name", pa.string())])
    destination = opened(server, "texts", schema)
    destination.deliver(pa.table({"name": ["a\0b", None, "c"]}, schema))
    destination.close()
    assert query(server, "SELECT name FROM texts") == [("a�b",), (None,), ("c",)]


def test_runs_append(server: Server) -> None:
    """extract makes the table, in a schema too, and adds to it; the key tells copies of a row."""
    query(server, "SELECT 1")
    _execute(server, "CREATE SCHEMA lab")
    rows = [fg.extract(CAPTURE, f"{server.url}?table=lab.flows").rows for _ in range(2)]
    keys = "count(*), count(DISTINCT (source, flow_id, part, start))"
    assert query(server, f"SELECT {keys} FROM lab.flows") == [(sum(rows), rows[0])]


def _execute(server: Server, sql: str) -> None:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        connection.commit()


def test_other_columns_are_an_error(server: Server) -> None:
    """A table that lacks a column, or has it in another type, is named with it; more columns are none."""
    _execute(server, "CREATE TABLE narrow (flow_id integer, note text)")
    with pytest.raises(SinkError, match="narrow has column 'flow_id' of integer, and the rows have one of bigint"):
        opened(server, "narrow", pa.schema([("flow_id", pa.int64())]))
    with pytest.raises(SinkError, match="narrow has no column 'part'"):
        opened(server, "narrow", pa.schema([("part", pa.int32())]))
    opened(server, "narrow", pa.schema([("flow_id", pa.int32())])).close()


def test_what_will_not_pass_is_an_error(server: Server) -> None:
    """A wrong password, an unknown database and a table that may not be written are errors without the password."""
    with pytest.raises(SinkError, match="password authentication failed") as raised:
        PostgreSQL(parse_url(server.url.replace("word@", "wort@"))).connect(SCHEMA)
    assert "wort" not in str(raised.value)
    with pytest.raises(SinkError, match="does not exist"):
        PostgreSQL(parse_url(server.url.replace("/postgres", "/nothing"))).connect(SCHEMA)
    with pytest.raises(SinkError, match="permission denied"):
        opened(server, "pg_catalog.flows")
    with pytest.raises(ConfigError, match="table is a name of letters"):
        PostgreSQL(parse_url(f"{server.url}?table=a;b"))
    with pytest.raises(ConfigError, match="there is no option 'tabel'"):
        PostgreSQL(parse_url(f"{server.url}?tabel=a"))


def test_a_server_that_does_not_answer_is_down() -> None:
    """Nobody listens: it is tried again."""
    with pytest.raises(DestinationDown, match="onnection refused"):
        PostgreSQL(parse_url("postgresql://me@127.0.0.1:1/x")).connect(SCHEMA)


def test_every_row_arrives_through_a_crash(server: Server, tmp_path: Path) -> None:
    """The server crashes in the middle and comes back: every row is there, and at most one delivery twice."""
    said, total = Said(), 60_000
    destination = PostgreSQL(parse_url(f"{server.url}?table=crash"))
    comes_back = threading.Timer(2, server.start)
    with Delivery(destination, SCHEMA, said.terms(), limits(tmp_path, 60)) as sink:
        for begin in range(0, total, 5_000):
            if begin == 30_000:
                server.stop()
                comes_back.start()
            for batch in table(range(begin, begin + 5_000)).unify_dictionaries().combine_chunks().to_batches():
                sink.write(batch)
    comes_back.join()
    assert any("is down" in line for line in said) and any("back" in line for line in said)
    ((rows, different),) = query(server, "SELECT count(*), count(DISTINCT (source, flow_id, part, start)) FROM crash")
    assert different == total
    assert total <= rows <= total + destination.rows
