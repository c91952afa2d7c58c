"""One side of a comparison: its columns by the names that both sides share, and what its records are matched by."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.comparing.tables import Table, filled, is_null, is_text, one_array, schema_of
from flowgauge.schema import SIMILAR, native_columns
from flowgauge.schemas import SCHEMAS

NANOSECONDS = 1_000_000_000
_MICRO, _MILLI = 1_000, 1_000_000
_PORTS = (6, 17, 132)  # TCP, UDP and SCTP: protocols whose ports are part of a flow's key
_ICMP, _ICMPV6 = 1, 58
_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
_PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmp6": 58, "ipv6-icmp": 58, "sctp": 132}

I64 = NDArray[np.int64]


ENDS = ("client_ip", "client_port", "server_ip", "server_port")


class Shape(NamedTuple):
    """Where a schema has what records are matched by; times are in units of `unit` ns, and known to `step` ns."""

    client: tuple[str, str]  # address and port
    server: tuple[str, str]
    protocol: str
    start: str
    unit: int
    step: int
    end: str | None = None
    duration: str | None = None
    duration_unit: int = NANOSECONDS


_SHAPES = {
    "native": Shape(("client_ip", "client_port"), ("server_ip", "server_port"), "protocol", "start", 1, 0, "end"),
    "basic": Shape(
        *(("ClientIP", "ClientPort"), ("ServerIP", "ServerPort"), "Protocol", "StartTime", NANOSECONDS, NANOSECONDS),
        duration="DurationTime",
    ),
    "zeek": Shape(
        *(("id.orig_h", "id.orig_p"), ("id.resp_h", "id.resp_p"), "proto", "ts", NANOSECONDS, _MICRO),
        duration="duration",
    ),
    "nfstream": Shape(
        *(("src_ip", "src_port"), ("dst_ip", "dst_port"), "protocol", "bidirectional_first_seen_ms", _MILLI, _MILLI),
        end="bidirectional_last_seen_ms",
    ),
    "cic": Shape(
        *(("Src IP", "Src Port"), ("Dst IP", "Dst Port"), "Protocol", "Timestamp", NANOSECONDS, NANOSECONDS),
        duration="Flow Duration",
        duration_unit=_MICRO,
    ),
    "cic2017": Shape(
        *(("Source IP", "Source Port"), ("Destination IP", "Destination Port"), "Protocol", "Timestamp"),
        *(NANOSECONDS, NANOSECONDS),
        duration="Flow Duration",
        duration_unit=_MICRO,
    ),
}
_CIC_TIME = "%d/%m/%Y %I:%M:%S %p"


class Known(NamedTuple):
    """A column under the name that both sides have. A number is `scale` times as large as there; `loose` says that 0
    may stand for null."""

    name: str
    scale: float = 1.0
    loose: bool = False


class Side:
    """A table, seen through its schema. `columns` are those to compare, by their common name."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.schema = schema_of(table.names)
        self.shape = _SHAPES[self.schema]
        self.columns = {name: Known(name) for name in table.names}
        self.is_foreign = False  # whether native names stand for those of another tool
        self._words: Any = None

    @property
    def has_ends(self) -> bool:
        """Whether records have addresses, ports and a protocol."""
        needed = (*self.shape.client, *self.shape.server, self.shape.protocol)
        return all(name in self.table.names for name in needed)

    @property
    def has_start(self) -> bool:
        """Whether records have a time."""
        return self.shape.start in self.table.names

    @property
    def has_ids(self) -> bool:
        """Whether every record has a Community ID."""
        name = "community_id"
        return name in self.table.names and self.table.column(name, keep=True).null_count == 0

    def ends(self) -> list[pa.Array]:
        """Address and port of client, then of server."""
        ips, ports = self.ips(), self.ports()
        return [ips[0], pa.array(ports[0]), ips[1], pa.array(ports[1])]

    def describe(self, row: int) -> str:
        """A record in words."""
        if not (self.has_ends and self.has_start):
            return f"row {row + 1}"
        if self._words is None:
            self._words = *self.ends(), self.protocol(), self.start()
        client, client_port, server, server_port, protocol, start = self._words
        name = _NAMES.get(int(protocol[row]), f"protocol {protocol[row]}")
        ends = f"{_end(client[row], client_port[row])} → {_end(server[row], server_port[row])}"
        return f"{ends} {name} {np.datetime64(int(start[row]), 'ns')}Z"

    def use_native_names(self) -> None:
        """Call the columns what native ones are called; those that are none are left out."""
        if self.schema == "native":
            return
        self.is_foreign = True
        found: dict[str, Known] = {}
        native = {column.name: column for column in native_columns()}
        for column in SCHEMAS[self.schema].columns():
            meant = native.get(column.native.removeprefix(SIMILAR))
            if column.name not in self.table.names or meant is None or meant.name in found:
                continue
            loose, ratio = column.native.startswith(SIMILAR), _ratio(column.unit, meant.unit)
            if ratio is not None and _comparable(column.type, meant.type):
                found[meant.name] = Known(column.name, ratio, loose)
        ends = zip(ENDS, (*self.shape.client, *self.shape.server), strict=True)
        self.columns = found | {name: Known(own) for name, own in ends if own in self.table.names}

    def start(self) -> I64:
        """Start of each record, ns since the epoch."""
        return self._time(self.shape.start)

    def end(self) -> I64:
        """End of each record; its start where that is all there is."""
        shape = self.shape
        if shape.end is not None and shape.end in self.table.names:
            return self._time(shape.end)
        if shape.duration is None or shape.duration not in self.table.names:
            return self.start()
        seconds = filled(self.table.column(shape.duration), 0).astype(np.float64)
        return np.asarray(self.start() + np.rint(seconds * shape.duration_unit).astype(np.int64))

    def counts_time(self, name: str) -> bool:
        """Whether a column holds times as numbers of `shape.unit`."""
        own = self.columns[name].name
        is_time = own in (self.shape.start, self.shape.end) or own.endswith("_seen_ms")
        kind = self.table.schema.field(own).type if is_time else pa.null()
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

    def _time(self, name: str) -> I64:
        array = self.table.column(name)
        if is_text(array.type):
            array = pc.strptime(array, format=_CIC_TIME, unit="ns", error_is_null=True)
        if pa.types.is_timestamp(array.type):
            array = array.cast(pa.timestamp("ns", array.type.tz)).cast(pa.int64())
            return np.asarray(filled(array, 0), np.int64)
        values = filled(array, 0)
        if np.issubdtype(values.dtype, np.floating):
            return np.asarray(np.rint(values * 1e6).astype(np.int64) * (self.shape.unit // _MILLI))
        return np.asarray(values.astype(np.int64) * self.shape.unit)

    def ips(self) -> list[pa.Array]:
        """Addresses of client and server, spelled alike whatever the tool."""
        columns = [one_array(self.table.column(end[0])) for end in (self.shape.client, self.shape.server)]
        return columns if self.schema == "native" else [_respelled(column) for column in columns]

    def protocol(self) -> I64:
        array = self.table.column(self.shape.protocol)
        if is_text(array.type):
            names = pc.utf8_lower(array).dictionary_encode()
            codes = np.array([_PROTOCOLS.get(name or "", -1) for name in names.dictionary.to_pylist()] or [-1])
            return np.asarray(codes[filled(names.indices, 0)])
        return np.asarray(filled(array, 0), np.int64)

    def ports(self) -> list[I64]:
        """Ports of client and server; 0 where they are no part of a flow's key."""
        kept = np.isin(self.protocol(), _PORTS)
        ends = (self.shape.client, self.shape.server)
        return [np.where(kept, filled(self.table.column(end[1]), 0).astype(np.int64), 0) for end in ends]


_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}


def _end(address: Any, port: Any) -> str:
    text, number = address.as_py() or "?", port.as_py()
    if not number:
        return text
    return f"[{text}]:{number}" if ":" in text else f"{text}:{number}"


def _ratio(unit: str, wanted: str) -> float | None:
    if unit == wanted:
        return 1.0
    return _SECONDS[unit] / _SECONDS[wanted] if unit in _SECONDS and wanted in _SECONDS else None


def _comparable(kind: str, wanted: str) -> bool:
    """Whether both are numbers, or the same."""
    numbers = ("int", "uint", "float")
    return kind == wanted or (kind.startswith(numbers) and wanted.startswith(numbers))


def _respelled(addresses: pa.Array) -> pa.Array:
    encoded = addresses.dictionary_encode()
    texts = [_spelled(text) for text in encoded.dictionary.to_pylist()]
    return pc.take(pa.array(texts, pa.string()), encoded.indices)


def _spelled(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def have_keys(a: Side, b: Side) -> bool:
    """Whether records of both sides can be told apart: by time, and by their Community ID or what it is made of."""
    return a.has_start and b.has_start and ((a.has_ids and b.has_ids) or (a.has_ends and b.has_ends))


def keys(a: Side, b: Side) -> tuple[I64, I64]:
    """A number for each record of both sides: the same for those of the same ends and protocol, whoever is the client.

    That is their Community ID or, where records lack it, what it is computed of (of ICMP without types).
    """
    if a.has_ids and b.has_ids:
        codes = _codes([side.table.column("community_id", keep=True) for side in (a, b)])
        return codes[: a.table.rows], codes[a.table.rows :]
    ips = _codes([column for side in (a, b) for column in side.ips()])
    ports = np.concatenate([port for side in (a, b) for port in side.ports()])
    _, ends = np.unique(ips << 16 | ports, return_inverse=True)
    rows, others = a.table.rows, b.table.rows
    parts = np.split(ends.reshape(-1), np.cumsum([rows, rows, others]))
    pairs = parts[:2], parts[2:]
    low = np.concatenate([np.minimum(*pair) for pair in pairs])
    high = np.concatenate([np.maximum(*pair) for pair in pairs])
    protocol = np.concatenate([side.protocol() for side in (a, b)])
    _, hosts = np.unique(low * (int(ends.max(initial=0)) + 1) + high, return_inverse=True)
    protocol[protocol == _ICMPV6] = _ICMP  # addresses tell them apart, and Zeek's logs call both icmp
    _, found = np.unique(hosts.reshape(-1).astype(np.int64) * 512 + protocol, return_inverse=True)
    return found.reshape(-1)[:rows], found.reshape(-1)[rows:]


def _codes(columns: list[pa.Array]) -> I64:
    """Numbers for the values of columns one behind the other, the same for the same."""
    encoded = pa.concat_arrays([column.cast(pa.string()) for column in columns]).dictionary_encode()
    return np.asarray(filled(encoded.indices, -1), np.int64) + 1


def read_column(side: Side, name: str) -> tuple[pa.Array, Known]:
    """The values of a column by its common name, numbers in its common unit."""
    known = side.columns[name]
    if side.is_foreign and name in ENDS:
        return side.ends()[ENDS.index(name)], known
    gathered = side.table.has_places(known.name)
    array = side.table.gathered(known.name) if gathered else side.table.column(known.name)
    if known.scale != 1.0:
        null = is_null(array)
        array = pa.array(filled(array, 0).astype(np.float64) * known.scale, pa.float64(), mask=null)
    return array, known
