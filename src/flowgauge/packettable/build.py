"""PacketBuilder: from decoded packets to Arrow record batches of the packet table."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.arrays import category_array, ip_array, mac_array, plain_array, text_array, validity
from flowgauge.kernels import codes as k
from flowgauge.kernels import packettable as layout
from flowgauge.kernels.kinds import stack_text
from flowgauge.kernels.packet import REASONS, PacketBatch
from flowgauge.memory import Memory
from flowgauge.schema import Column, label_columns

BATCH_PACKETS = 65_536
"""Rows of a record batch, but for the last one. With twice as many, Parquet takes a tenth less time, and first use of
memory, which costs as much, twice as long."""

_FEWEST_PLACES = 1 << 12  # a power of two
_TEXTS = {
    "reason": list(REASONS),
    "fragment": ["", "first", "later"],
}
_PART_OF = {
    **dict.fromkeys(("ip_version", "src_ip", "dst_ip", "protocol", "ip_len", "ttl", "tos"), "ip"),
    **dict.fromkeys(("header_len", "payload_offset", "payload_len"), "ip"),
    **dict.fromkeys(("src_port", "dst_port"), "ports"),
    **dict.fromkeys(("icmp_type", "icmp_code"), "icmp"),
    **dict.fromkeys(("tcp_flags", "tcp_seq", "tcp_ack", "tcp_window"), "tcp"),
    **{name: name for name in ("src_mac", "dst_mac", "vlan", "vlan_outer", "fragment", "tunnel")},
    "ip_id": "ip_id",
    "ip_header_len": "ip_header",
    "tcp_mss": "mss",
    "tcp_window_scale": "scale",
    "tcp_sack_permitted": "syn",
}
"""The part of a packet that a column is null without."""


class Numbers:
    """Numbers of the values of one column, in a batch of at most `rows`."""

    def __init__(self, rows: int) -> None:
        state = np.zeros(1, k.CODES).view(np.recarray)
        state[0].epoch = 1
        values = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64), np.zeros(rows, np.uint8)
        seed = np.array([secrets.randbits(64) for _ in range(k.SEEDS)], np.uint64)
        self.arrays = k.Codes(state, _places(_FEWEST_PLACES), *values, seed)

    @property
    def values(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
        """Kind, high and low half of each value, in the order of their numbers."""
        count = int(self.arrays.state[0].count)
        return self.arrays.kind[:count], self.arrays.hi[:count], self.arrays.lo[:count]

    def restart(self) -> None:
        """Forget all values."""
        state = self.arrays.state[0]
        state.epoch, state.count = (int(state.epoch) + 1) % 2**32 or 1, 0
        if state.epoch == 1:  # after 2^32 batches places of old would seem to be taken
            self.arrays.places.epoch[:] = 0

    def with_room(self, values: int) -> k.Codes:
        """The arrays; half of the places stay free when so many values come."""
        places = len(self.arrays.places)
        while 2 * (int(self.arrays.state[0].count) + values) > places:
            places *= 2
        if places > len(self.arrays.places):
            self.arrays = self.arrays._replace(places=_places(places))
            k.put_again(self.arrays)
        return self.arrays


def _places(count: int) -> Any:
    return np.zeros(count, k.PLACE).view(np.recarray)


class _Captures:
    """A category column with one value, or null, for each capture."""

    def __init__(self) -> None:
        self._values: list[str | None] = []

    def add(self, value: str | None) -> None:
        self._values.append(value)

    def array(self, first: int, rows: list[int]) -> pa.DictionaryArray:
        """The column of so many `rows` of each capture from the `first` on."""
        texts: dict[str, int] = {}
        values = self._values[first : first + len(rows)]
        codes = np.array([-1 if v is None else texts.setdefault(v, len(texts)) for v in values], np.int32)
        spread = np.repeat(codes, rows)
        return category_array(np.maximum(spread, 0), text_array(texts), spread < 0)


class PacketBuilder:
    """Builds batches of `rows` packets each, whatever the batches are that packets come in.

    `columns` are those of flowgauge.packettable.columns, with labels of the names `labels`; the batches have the Arrow
    `schema`.
    """

    def __init__(
        self, columns: Iterable[Column], schema: pa.Schema, labels: Iterable[str] = (), rows: int = BATCH_PACKETS
    ) -> None:
        self.schema = schema
        self._names = [column.name for column in columns]
        self._size = rows
        self._memory = Memory()
        self._tables = {name: Numbers(rows) for name in ("src_mac", "dst_mac", "src_ip", "dst_ip", "tunnel")}
        self._stacks = np.zeros(rows, layout.STACK).view(np.recarray)
        small = len(layout.SMALL)
        self._small = k.SmallCodes(
            np.full((small, 256), -1, np.int32), np.zeros((small, 256), np.uint8), np.zeros(small, np.int64)
        )
        self._of_captures = {
            name: _Captures() for name in ("source", *(column.name for column in label_columns(labels)))
        }
        self._first, self._rows_of = 0, list[int]()  # the first capture that has rows in the batch, and how many
        self._row = 0
        self._columns = self._new_columns()

    def begin_capture(self, source: str, labels: Mapping[str, str] | None) -> None:
        """The packets that follow are of this capture."""
        for name, values in self._of_captures.items():
            values.add(source if name == "source" else (labels or {}).get(name))
        self._rows_of.append(0)

    def feed(self, batch: PacketBatch, rows: int) -> Iterator[pa.RecordBatch]:
        """Take in rows of a decoded batch; yields what is full with them."""
        begin = 0
        while begin < rows:
            stop = min(rows, begin + self._size - self._row)
            values = self._values(stop - begin)
            layout.split_packets(batch, begin, stop, self._columns, self._row, values)
            self._row += stop - begin
            self._rows_of[-1] += stop - begin
            if self._row == self._size:
                yield self._built()
            begin = stop

    def flush(self) -> Iterator[pa.RecordBatch]:
        """The rows that are left."""
        if self._row:
            yield self._built()

    def _values(self, rows: int) -> layout.Values:
        """The values so far, with room for those of so many rows."""
        src_macs, dst_macs, src_ips, dst_ips, tunnels = (table.with_room(rows) for table in self._tables.values())
        return layout.Values(src_macs, dst_macs, src_ips, dst_ips, tunnels, self._stacks, self._small)

    def _new_columns(self) -> layout.Columns:
        make, size = self._memory.columns, self._size
        return layout.Columns(
            make((len(layout.TIMES),), size, np.int64),
            make((len(layout.LONGS),), size, np.uint32),
            make((len(layout.SHORTS),), size, np.uint16),
            make((len(layout.OCTETS),), size, np.uint8),
            make((len(layout.CODES),), size, np.int32),
            make((len(layout.PARTS),), size, np.uint8),
        )

    def _built(self) -> pa.RecordBatch:
        """The batch of all rows so far; what follows begins the next one."""
        bits = {name: self._bits(name) for name in layout.PARTS}
        arrays = [self._array(name, field.type, bits) for name, field in zip(self._names, self.schema, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        self._first += len(self._rows_of) - 1
        self._rows_of = [0]
        self._row = 0
        self._columns = self._new_columns()
        for table in self._tables.values():
            table.restart()
        self._small.code[:] = -1
        self._small.count[:] = 0
        return batch

    def _bits(self, part: str) -> pa.Buffer | None:
        return validity(self._columns.has[layout.PARTS.index(part), : self._row] == 0)

    def _array(self, name: str, kind: pa.DataType, bits: Mapping[str, pa.Buffer | None]) -> pa.Array:
        valid = bits[_PART_OF[name]] if name in _PART_OF else None
        if name in self._of_captures:
            return self._of_captures[name].array(self._first, self._rows_of)
        if name in layout.CODES:
            codes = self._columns.codes[layout.CODES.index(name), : self._row]
            return pa.DictionaryArray.from_arrays(plain_array(pa.int32(), codes, valid), self._texts(name))
        values = _column(self._columns, name)[: self._row]
        if pa.types.is_boolean(kind):
            values = np.packbits(values, bitorder="little")
            return pa.Array.from_buffers(kind, self._row, [valid, pa.py_buffer(values)])
        return plain_array(kind, values, valid)

    def _texts(self, name: str) -> pa.Array:
        """The values of a column of CODES, in the order of their numbers."""
        if name in layout.SMALL:
            place = layout.SMALL.index(name)
            values = self._small.value[place, : self._small.count[place]]
            return text_array(_TEXTS[name][value] for value in values)
        kinds, highs, lows = self._tables[name].values
        if name == "tunnel":
            stacks = self._stacks[: len(kinds)].tolist()
            return text_array(stack_text(kind[:depth], ids[:depth]) for ids, kind, depth in stacks)
        return mac_array(lows, self._memory) if name.endswith("mac") else ip_array(kinds, highs, lows, self._memory)


def _column(columns: layout.Columns, name: str) -> NDArray[Any]:
    """The values of a column of numbers."""
    listed: tuple[tuple[tuple[str, ...], NDArray[Any]], ...] = (
        (layout.TIMES, columns.times),
        (layout.LONGS, columns.longs),
        (layout.SHORTS, columns.shorts),
        (layout.OCTETS, columns.octets),
    )
    return next(values[names.index(name)] for names, values in listed if name in names)
