"""Flows: the columns of a native table as arrays, whatever chunks, dictionaries and nulls the table comes with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.errors import ConfigError

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


_T = TypeVar("_T")


class Codes(NamedTuple):
    """A column of names: for each flow the index of its value, -1 for null; every value occurs, and once."""

    codes: NDArray[np.int64]
    values: list[str]


class Flows:
    """Columns of a native flow table as NumPy arrays, one value a flow; each is made once.

    Raises ConfigError where the table lacks a column of group `core`.
    """

    def __init__(self, table: pa.Table) -> None:
        missing = [name for name in NEEDED if name not in table.schema.names]
        if missing:
            raise ConfigError(
                f"a report is made of native flow records, and there is no column {', '.join(missing)}: "
                "write them with --schema native (the default)"
            )
        self.table = _without_views(table)
        self._made: dict[tuple[str, str], Any] = {}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def has(self, *names: str) -> bool:
        """Whether the table has all of these columns."""
        return all(name in self.table.schema.names for name in names)

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

    def _once(self, kind: str, name: str, make: Callable[[pa.ChunkedArray], _T]) -> _T:
        if (kind, name) not in self._made:
            self._made[kind, name] = make(self.table[name])
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


def _without_views(table: pa.Table) -> pa.Table:
    """The table with texts that pyarrow can take rows of; polars hands over views."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
        elif pa.types.is_dictionary(field.type) and pa.types.is_string_view(field.type.value_type):
            chunks = [
                pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.string()))
                for chunk in table[place].chunks
            ]
            kind = pa.dictionary(field.type.index_type, pa.string())
            table = table.set_column(place, field.name, pa.chunked_array(chunks, kind))
    return table


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
