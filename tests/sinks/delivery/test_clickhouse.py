"""Flow records in ClickHouse: its own code, in this process, behind its HTTP interface that dies and comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import flowgauge as fg
from docpages import ROOT
from flowgauge.errors import ConfigError, DestinationDown, SinkError
from flowgauge.sinks.delivery.clickhouse import ClickHouse
from flowgauge.sinks.delivery.delivery import Delivery
from flowgauge.sinks.delivery.url import parse_url
from services_here import needs
from sinks.delivery.database_rows import SCHEMA, START, table
from sinks.delivery.far_end import Said, limits

if TYPE_CHECKING:
    from sinks.delivery.clickhouse_server import Server

pytestmark = [pytest.mark.slow, needs("chdb", "clickhouse_connect")]
CAPTURE = ROOT / "examples" / "captures" / "dns_lookup_01.pcap"


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    from sinks.delivery.clickhouse_server import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(process: Server) -> Iterator[Server]:
    process.fails, process.loses = "", False
    process.start()
    yield process
    process.stop()


def opened(server: Server, name: str, schema: pa.Schema = SCHEMA) -> ClickHouse:
    found = ClickHouse(parse_url(f"clickhouse://127.0.0.1:{server.port}/default?table={name}"))
    found.connect(schema)
    return found


def query(server: Server, sql: str) -> list[list[Any]]:
    return [json.loads(line) for line in server.query(sql).splitlines()]


def test_every_type_comes_back(server: Server) -> None:
    """All types have their own; times keep their nanoseconds, null is null, and a list that is null is empty."""
    destination = opened(server, "types")
    destination.deliver(table(range(6)))
    destination.close()
    shown = (
        "* REPLACE (toUnixTimestamp64Nano(start) AS start, toUnixTimestamp64Nano(`end`) AS `end`, hex(head) AS head)"
    )
    rows = query(
        server, f"SELECT {shown} FROM types ORDER BY flow_id SETTINGS output_format_json_quote_64bit_integers=0"
    )
    for row, want in zip(rows, table(range(6)).to_pylist(), strict=True):
        found = dict(zip(SCHEMA.names, row, strict=True))
        want |= {name: want[name] and want[name].value for name in ("start", "end")}
        want |= {"head": want["head"] and "00FF", "splt": want["splt"] or []}
        assert found == want
    assert rows[0][3] == START
    types = dict(query(server, "SELECT name, type FROM system.columns WHERE table = 'types'"))
    assert types["client_port"] == "Nullable(UInt16)"
    assert (types["source"], types["app"]) == ("LowCardinality(String)", "LowCardinality(Nullable(String))")


def test_copies_go_by_themselves(server: Server) -> None:
    """extract makes the table and adds to it; of two runs over the same capture one row of each is left by FINAL."""
    url = f"clickhouse://127.0.0.1:{server.port}?table=twice"
    rows = [fg.extract(CAPTURE, url).rows for _ in range(2)]
    assert query(server, "SELECT count() FROM twice FINAL") == [[rows[0]]]
    assert query(server, "SELECT engine FROM system.tables WHERE name = 'twice'") == [["ReplacingMergeTree"]]


def test_other_columns_are_an_error(server: Server) -> None:
    """A table that lacks a column, or has it in another type, is named with it."""
    server.query("CREATE TABLE narrow (flow_id Int32) ENGINE = MergeTree ORDER BY flow_id")
    with pytest.raises(SinkError, match="narrow has column 'flow_id' of Int32, and the rows have one of Int64"):
        opened(server, "narrow", pa.schema([("flow_id", pa.int64())]))
    with pytest.raises(SinkError, match="narrow has no column 'vlan'"):
        opened(server, "narrow", pa.schema([("vlan", pa.uint16())]))


def test_what_will_not_pass_is_an_error(server: Server) -> None:
    """An error of the statement is one; an overloaded server, and one that nobody reaches, are down."""
    with pytest.raises(SinkError, match="UNKNOWN_DATABASE"):
        ClickHouse(parse_url(f"clickhouse://127.0.0.1:{server.port}/nothing")).connect(SCHEMA)
    destination = opened(server, "answers")
    server.fails = "Code: 497. DB::Exception: Not enough privileges. (ACCESS_DENIED)"
    with pytest.raises(SinkError, match="Not enough privileges"):
        destination.deliver(table(range(2)))
    server.fails = "Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)"
    with pytest.raises(DestinationDown, match="Too many parts"):
        opened(server, "answers").deliver(table(range(2)))
    with pytest.raises(DestinationDown):
        ClickHouse(parse_url("clickhouse://127.0.0.1:1/x")).connect(SCHEMA)


def test_wrong_urls_are_said() -> None:
    """Several servers, an unknown option, a table whose name would be SQL."""
    with pytest.raises(ConfigError, match="name one server"):
        ClickHouse(parse_url("clickhouse://a,b/x"))
    with pytest.raises(ConfigError, match="secure is false or true"):
        ClickHouse(parse_url("clickhouse://a/x?secure=1"))
    with pytest.raises(ConfigError, match="table is a name of letters"):
        ClickHouse(parse_url("clickhouse://a/x?table=a`b"))
    with pytest.raises(ConfigError, match="a database has a name of letters"):
        ClickHouse(parse_url("clickhouse://a/x`y"))


def test_every_row_arrives_through_a_crash(server: Server, tmp_path: Path) -> None:
    """The server loses an answer, goes away and comes back: every row is there, at most one delivery twice, and its
    copies are gone with FINAL."""
    said, total = Said(), 200_000
    destination = ClickHouse(parse_url(f"clickhouse://127.0.0.1:{server.port}?table=crash"))
    destination.rows = 20_000
    comes_back = threading.Timer(2, server.start)
    schema = pa.schema([SCHEMA.field(name) for name in ("source", "flow_id", "part", "start")])
    columns = table(range(10_000), schema).drop_columns("flow_id")
    with Delivery(destination, schema, said.terms(), limits(tmp_path, 60)) as sink:
        for begin in range(0, total, 10_000):
            if begin == 60_000:
                server.loses = True
            if begin == 100_000:
                server.stop()
                comes_back.start()
            ids = pa.array(range(begin, begin + 10_000), pa.int64())
            rows = columns.add_column(1, "flow_id", ids).cast(schema).unify_dictionaries().combine_chunks()
            for batch in rows.to_batches():
                sink.write(batch)
    comes_back.join()
    assert any("is down" in line for line in said) and any("back" in line for line in said)
    ((rows_there, different),) = query(server, "SELECT count(), uniqExact(flow_id) FROM crash")
    assert int(different) == total
    assert total <= int(rows_there) <= total + destination.rows
    assert query(server, "SELECT count() FROM crash FINAL") in ([[total]], [[str(total)]])
