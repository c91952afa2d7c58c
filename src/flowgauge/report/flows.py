"""Flows: the columns of a native table as arrays, whatever chunks, dictionaries and nulls the table comes with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.errors import ConfigError
from flowgauge.flowfiles import Table, in_memory

NONE = "(none)"
"""What stands for null among the names of a report."""
OTHER = "(other)"
"""What stands for all the names of which there are too many."""

NEEDED = (
    *("start", "end", "duration_s", "client_ip", "server_ip", "server_port", "protocol"),
    *("packets", "frame_bytes", "payload_bytes", "up_packets", "down_packets", "up_frame_bytes", "down_frame_bytes"),
)
"""Columns of group `core` that every report is made of."""

PROTOCOLS = {
    **{1: "ICMP", 2: "IGMP", 4: "IPv4", 6: "TCP", 17: "UDP", 33: "DCCP", 41: "IPv6", 46: "RSVP", 47: "GRE", 50: "ESP"},
    **{51: "AH", 58: "ICMPv6", 88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP", 136: "UDPLite"},
}
"""Names of IP protocol numbers (IANA); others are shown as `IP 99`."""


_USUAL = (
    *("app", "action", "service", "server_name", "source", "end_reason", "client_by", "tcp_state", "community_id"),
    *("splt_direction", "splt_ip_len", "client_port", "up_payload_bytes", "down_payload_bytes"),
)
"""Other columns that most reports ask for: read together, each processor reads some of them."""

_AT_ONCE = 16  # columns that are read side by side and not kept

_T = TypeVar("_T")


class Codes(NamedTuple):
    """A column of names: for each flow the index of its value, -1 for null; every value occurs, and once."""

    codes: NDArray[np.int64]
    values: list[str]


class Flows:
    """Columns of a native flow table as NumPy arrays, one value a flow; each is read and made once.

    Raises ConfigError where the table lacks a column of group `core`.
    """

    def __init__(self, table: pa.Table | Table) -> None:
        self._table = in_memory("the table", table) if isinstance(table, pa.Table) else table
        self.schema: pa.Schema = self._table.schema
        missing = [name for name in NEEDED if name not in self.schema.names]
        if missing:
            raise ConfigError(
                f"a report is made of native flow records, and there is no column {', '.join(missing)}: "
                "write them with --schema native (the default)"
            )
        self._made: dict[tuple[str, str], Any] = {}
        self._keep(name for name in (*NEEDED, *_USUAL) if name in self.schema.names)

    def __len__(self) -> int:
        return self._table.rows

    def has(self, *names: str) -> bool:
        """Whether the table has all of these columns."""
        return all(name in self.schema.names for name in names)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column as it is stored."""
        return self._once("column", name, lambda column: column)

    def rows(self, names: Iterable[str], rows: NDArray[np.int64]) -> pa.Table:
        """Some rows of some columns. A column that only this asks for is not kept: of many features few rows are
        looked at."""
        names, indices = list(names), pa.array(rows)
        taken = {name: self._made["column", name].take(indices) for name in names if ("column", name) in self._made}
        others = [name for name in names if name not in taken]
        for first in range(0, len(others), _AT_ONCE):
            some = self._table.select(others[first : first + _AT_ONCE])
            taken |= {name: _without_views(some[name]).take(indices) for name in some.column_names}
        return pa.table({name: taken[name] for name in names})

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers or truth values; NaN for null."""
        return self._once("numbers", name, _floats)

    def whole(self, name: str) -> NDArray[np.int64]:
        """A column of whole numbers or truth values; 0 for null."""
        return self._once("whole", name, _whole)

    def times(self, name: str) -> NDArray[np.int64]:
        """A column of times, in ns since the epoch; 0 for null."""
        return self._once("whole", name, lambda column: _whole(column.cast(pa.timestamp("ns", "UTC"))))

    def present(self, name: str) -> NDArray[np.bool_]:
        """Where a column is not null."""
        return self._once("present", name, _present)

    def names(self, name: str) -> Codes:
        """A column of texts, of categories or of small numbers."""
        return self._once("names", name, _codes)

    def _keep(self, names: Iterable[str]) -> None:
        columns = self._table.select(list(dict.fromkeys(names)))
        self._made |= {("column", name): _without_views(columns[name]) for name in columns.column_names}

    def _once(self, kind: str, name: str, make: Callable[[pa.ChunkedArray], _T]) -> _T:
        if ("column", name) not in self._made:
            self._keep([name])
        if (kind, name) not in self._made:
            self._made[kind, name] = make(self._made["column", name])
        made: dict[tuple[str, str], _T] = self._made
        return made[kind, name]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts or categories."""
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(texts or pa.types.is_dictionary(kind))


def distinct(codes: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The different codes, all below `size`, in order; the place of each code among them; and how often they occur."""
    if size > _SMALL:
        used, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
        return used, places.reshape(-1), counts
    counts = np.bincount(codes, minlength=size)
    used = np.flatnonzero(counts)
    places = np.zeros(size, np.int64)
    places[used] = np.arange(len(used))
    return used, places[codes], counts[used]


_SMALL = 1 << 22  # a table of so many counts is faster than sorting


def protocol_name(number: str | int) -> str:
    """The name of an IP protocol number."""
    return PROTOCOLS.get(int(number), f"IP {number}")


def _without_views(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with texts that pyarrow can take rows of; polars hands over views."""
    if pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    if not (pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type)):
        return column
    chunks = [
        pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.string())) for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.dictionary(column.type.index_type, pa.string()))


def _plain(column: pa.ChunkedArray) -> NDArray[Any]:
    return column.to_numpy()  # type: ignore[no-any-return]


def _present(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(_plain(pc.is_valid(column)), np.bool_)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return np.asarray(_plain(_filled(_cast(values, pa.float64()), float("nan"))), np.float64)


def _whole(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(_plain(_filled(_cast(column, pa.int64()), 0)), np.int64)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind, safe=False)


def _filled(column: Any, value: float) -> Any:
    return column.fill_null(value) if column.null_count else column


def _codes(column: pa.ChunkedArray) -> Codes:
    """Codes of the values; those of a dictionary may repeat or be null in it, so they are named anew."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    column = column.unify_dictionaries()
    if not column.num_chunks:
        return Codes(np.zeros(0, np.int64), [])
    values = column.chunk(0).dictionary.cast(pa.string()).dictionary_encode()
    renamed = np.append(_whole_of(values.indices), -1)
    codes = renamed[np.concatenate([_whole_of(chunk.indices) for chunk in column.chunks])]
    return _in_order(codes, values.dictionary)


def _in_order(codes: NDArray[np.int64], values: pa.Array) -> Codes:
    """Values in alphabetical order, so that nothing depends on how they were encoded; without those that no flow has,
    such as those of a dictionary of other rows."""
    there = np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0
    order = pc.sort_indices(values).to_numpy()
    order = order[there[order]]
    place = np.full(len(values) + 1, -1, np.int64)
    place[order] = np.arange(len(order))
    return Codes(place[codes], [_drawable(name) for name in values.take(pa.array(order)).to_pylist()])


_OF_OBJECTS = frozenset(
    {
        *("constructor", "toString", "toLocaleString", "valueOf", "hasOwnProperty", "isPrototypeOf"),
        *("propertyIsEnumerable", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__"),
        "__lookupSetter__",
    }
)


def _drawable(name: str) -> str:
    """The name, but for what stops Vega-Lite: one that every object of JavaScript has a property of ends in a space of
    no width, and separators of lines and paragraphs are spaces."""
    return f"{name}\u200b" if name in _OF_OBJECTS else name.translate(_SEPARATORS)


_SEPARATORS = {0x2028: " ", 0x2029: " "}


def _whole_of(indices: pa.Array) -> NDArray[np.int64]:
    return np.asarray(_filled(indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False), np.int64)
