"""The rows of a table whose packets are wanted, and what it says of how it was made."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge import storage
from flowgauge.cutting.where import select
from flowgauge.errors import ConfigError, FlowgaugeError

KEY = ("flow_id", "part")
SOURCE = "source"
REST = "rest_packets"
CHECKED = ("first_packet", "client_ip", "client_port", "server_ip", "server_port", "protocol", "packets")
"""Columns by which a record that is metered again is known to be the same."""

CAPTURE_BITS = 40
"""Of a flow_id: what is above is the number of the capture in its run."""

_OPTIONS = (
    *("key", "vlan_in_key", "icmp_by_hosts", "tunnels", "idle_timeout", "active_timeout", "attempt_timeout"),
    *("no_tcp_end", "forget", "first_is_client", "services_only", "clock_times", "filter", "dedup", "reorder"),
    *("max_flows", "window"),
)
"""Options that decide which packets are of which record. Those of early records are not: they count fewer of them."""

_ARROW = (".arrow", ".feather", ".ipc")
_PARQUET = (".parquet", ".pq")


class Records(NamedTuple):
    """`rows` has the columns KEY, `source` and CHECKED, each record once, in order of KEY; `options` are those of
    :class:`flowgauge.run.Run`; `sources` are the files of the run where they are one trace, else None."""

    name: str
    rows: pa.Table
    options: dict[str, Any]
    sources: list[str] | None


def read_records(table: Any, where: str | None) -> Records:
    """The records of a table or of the path of one. Raises ConfigError, and FlowgaugeError where there are no rows."""
    name, records = _opened(table)
    options, sources = _origin(name, records.schema)
    columns = [*KEY, SOURCE, *CHECKED, *((REST,) if REST in records.schema.names else ())]
    if missing := [column for column in columns if column not in records.schema.names]:
        raise ConfigError(f"{name} lacks the column {missing[0]!r}: to cut packets, keep the group core as it is")
    rows = _plain(records, columns) if where is None else select(name, records, where, columns)
    if not len(rows):
        raise FlowgaugeError(f"no row of {name} is selected: nothing was written")
    return Records(name, _each_once(rows), options, sources)


def _opened(table: Any) -> tuple[str, Any]:
    """Name, and the rows as a table or a data set that is read piece by piece."""
    if isinstance(table, pa.Table):
        return "the table", table
    if not isinstance(table, (str, os.PathLike)):
        raise ConfigError(f"a table is a pyarrow.Table or the path of a Parquet or Arrow file, not {table!r}")
    import pyarrow.dataset as ds

    path = os.fspath(table)
    if storage.is_url(path):
        raise ConfigError(f"{storage.shown(path)}: cut takes a table of this machine: copy it first")
    extension = os.path.splitext(path)[1].lower()
    if extension not in (*_PARQUET, *_ARROW):
        raise ConfigError(f"{path} does not tell how its rows were made: cut takes Parquet or Arrow, not {extension}")
    if not os.path.exists(path):
        raise ConfigError(f"{path}: no such file")
    try:
        return path, ds.dataset(path, format="parquet" if extension in _PARQUET else "ipc")
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"cannot read {path}: {str(error).splitlines()[0]}") from None


def _origin(name: str, schema: pa.Schema) -> tuple[dict[str, Any], list[str] | None]:
    """The options of the run that made a table, and its files where they are one trace."""
    said = (schema.metadata or {}).get(b"flowgauge_options")
    if said is None:
        raise ConfigError(
            f"{name} does not say how its rows were made: take a table of fg.read or of extract, as Parquet or Arrow "
            "(what goes through pandas or polars loses that)"
        )
    made = json.loads(said)
    if made.get("anonymize"):
        raise ConfigError(f"{name} is anonymised: it has neither the addresses nor the files of its packets")
    if made.get("schema") != "native":
        raise ConfigError(f"{name} has the schema {made.get('schema')}: only native tables name their packets")
    options: dict[str, Any] = {
        option: "off" if made[option] is None else made[option] for option in _OPTIONS if option in made
    }
    if options.get("filter") == "off":
        del options["filter"]
    options["idle_timeout"] = {kind: "off" if s is None else s for kind, s in options["idle_timeout"].items()}
    options["join"] = bool(made.get("join"))
    if not options["join"]:
        return options, None
    sources = schema.metadata.get(b"flowgauge_sources")
    if sources is None:
        raise ConfigError(f"{name} joins files and does not name them all: extract it again by this version")
    return options, json.loads(sources)


def _plain(records: Any, columns: list[str]) -> pa.Table:
    return records.select(columns) if isinstance(records, pa.Table) else records.to_table(columns=columns)


def _each_once(rows: pa.Table) -> pa.Table:
    """The rows in order of KEY, and none twice."""
    flow_id, part = (numbers(rows, name) for name in KEY)
    order = np.lexsort((part, flow_id))
    flow_id, part = flow_id[order], part[order]
    new = np.append(True, (flow_id[1:] != flow_id[:-1]) | (part[1:] != part[:-1]))
    return pa.table({name: _text(rows[name]) for name in rows.column_names}).take(pa.array(order[new]))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def numbers(rows: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of integers; none is null."""
    found: NDArray[np.int64] = pc.cast(rows[name], pa.int64()).to_numpy()
    return found
