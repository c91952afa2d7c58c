"""Flow records in a DuckDB file: every type, appended, all or nothing of a delivery."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flowgauge as fg
from docpages import ROOT
from flowgauge.errors import ConfigError, DestinationDown, SinkError
from flowgauge.sinks.delivery.duckdbfile import DuckDBFile
from flowgauge.sinks.delivery.url import Url
from services_here import needs
from sinks.delivery.database_rows import SCHEMA, START, table

pytestmark = needs("duckdb")
EXAMPLES = ROOT / "examples" / "captures"


def opened(path: Path) -> DuckDBFile:
    found = DuckDBFile(Url("duckdb", (), None, None, str(path), {}))
    found.connect(SCHEMA)
    return found


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return rows


def test_every_type_comes_back(tmp_path: Path) -> None:
    """Numbers, texts, bytes, lists and times to the nanosecond are those of the rows; null stays null."""
    path = tmp_path / "x.duckdb"
    destination = opened(path)
    destination.deliver(table(range(6)))
    destination.close()
    rows = query(
        path, 'SELECT * REPLACE (epoch_ns(start) AS start, epoch_ns("end") AS "end") FROM flows ORDER BY flow_id'
    )
    wanted = table(range(6)).to_pylist()
    for row, want in zip(rows, wanted, strict=True):
        want |= {name: want[name] and want[name].value for name in ("start", "end")}
        assert dict(zip(SCHEMA.names, row, strict=True)) == want
    assert rows[0][3] == START


def test_runs_append(tmp_path: Path) -> None:
    """A second run finds the table and adds its rows; what extract says is what is there."""
    path = tmp_path / "flows.duckdb"
    stats = [fg.extract(EXAMPLES / name, path) for name in ("dns_lookup_01.pcap", "voip_call_01.pcap")]
    assert query(path, "SELECT count(*), count(DISTINCT source) FROM flows") == [(sum(s.rows for s in stats), 2)]
    assert query(path, "SELECT typeof(source), typeof(start), typeof(client_port) FROM flows LIMIT 1") == [
        ("VARCHAR", "TIMESTAMP_NS", "USMALLINT")
    ]


def test_other_columns_are_an_error(tmp_path: Path) -> None:
    """A table that was made with other columns is named with the first that differs; more columns than needed are not
    an error."""
    path = tmp_path / "flows.duckdb"
    fg.extract(EXAMPLES / "dns_lookup_01.pcap", path, features="size,flags")
    with pytest.raises(SinkError, match=r"has no column 'iat_min_s'.*write the same ones"):
        fg.extract(EXAMPLES / "dns_lookup_01.pcap", path, features="size,iat")
    fg.extract(EXAMPLES / "dns_lookup_01.pcap", path, features="size")
    ((without, rows),) = query(path, "SELECT count(*) FILTER (syn_packets IS NULL), count(*) FROM flows")
    assert (without > 0, rows) == (True, 2 * without)


def test_a_failed_delivery_leaves_nothing(tmp_path: Path) -> None:
    """Rows that cannot be inserted are none of them in the table."""
    path = tmp_path / "x.duckdb"
    destination = opened(path)
    destination.deliver(table(range(3)))
    destination._connection.execute("CREATE UNIQUE INDEX once ON flows (flow_id)")
    with pytest.raises(SinkError, match="cannot write"):
        destination.deliver(table(range(2, 10)))
    assert query(path, "SELECT count(*) FROM flows") == [(3,)]


def test_a_file_in_use_is_waited_for(tmp_path: Path) -> None:
    """A file that another program has open is down, until that closes it."""
    path = tmp_path / "x.duckdb"
    opened(path).close()
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with pytest.raises(DestinationDown, match="another program has it open"):
            opened(path)
        other.communicate(timeout=20)
    opened(path).close()


def test_what_is_no_database_is_an_error(tmp_path: Path) -> None:
    """A file of something else, a folder that is not there, and a URL in place of a path."""
    path = tmp_path / "x.duckdb"
    path.write_bytes(b"something else" * 1000)
    for wrong in (path, tmp_path / "missing" / "x.duckdb"):
        with pytest.raises(SinkError, match="cannot write"):
            opened(wrong)
    with pytest.raises(ConfigError, match=r"-o flows\.duckdb"):
        fg.extract(EXAMPLES / "dns_lookup_01.pcap", "duckdb://host/flows")
