"""Rules: what the rows of a truth table ask of a flow, as arrays.

Ranges of ports are taken apart into blocks that share their first bits, as networks of addresses do: a row with ranges
is several rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.errors import ConfigError
from flowgauge.labels.truth import values
from flowgauge.labels.truth.reader import Table, distinct, failing
from flowgauge.labels.truth.times import SECOND, read_times

FOREVER = 2**61  # ns: later than any time, and its negative earlier
PORT_BITS = 16
_UNITS = (86_400 * SECOND, 60 * SECOND, SECOND, 10**6, 10**3, 1)
_ENDS = {False: ("client", "server"), True: ("src", "dst")}

Array = NDArray[Any]


class Ends(NamedTuple):
    """One end of each rule: network (version 0: any address) and block of ports, by the number of bits that count."""

    version: Array
    high: Array
    low: Array
    length: Array
    port: Array
    port_length: Array


class Rules(NamedTuple):
    """Rules in any order: `row` is that in the table, and the lowest `rank` of those that match a flow wins.

    Times are ns by the table's clock, from `start` up to and without `end`; `shown` is up to when the row is known to
    hold, for rows that hold until the next one. -1 is any `protocol` or any file, else a number of `patterns`.
    """

    row: Array
    rank: Array
    start: Array
    end: Array
    shown: Array
    ends: tuple[Ends, Ends]
    protocol: Array
    file: Array
    patterns: list[str]


def make_rules(table: Table) -> Rules:
    """The rules of a table. Raises ConfigError naming row and column of what is no such value."""
    rows = np.arange(table.rows)
    start, end, shown = _times(table)
    rank = rows
    conditions = table.header.conditions
    if "start" in conditions and not any(name in conditions for name in ("end", "duration", "duration_us")):
        rank = np.empty_like(rows)  # the latest that has begun: of two at a time the first
        rank[np.lexsort((rows, -start))] = rows
    protocol = _protocols(table)
    ported = np.isin(protocol, (-1, *values.WITH_PORTS))
    one, other = (_End(table, end, ported) for end in _ENDS[table.header.either])
    files, file = _column(table, "file", None, lambda text: None if text.lower() in values.ANY else text)
    patterns = sorted({pattern for pattern in files if pattern is not None})
    places = np.array([-1 if pattern is None else patterns.index(pattern) for pattern in files], np.int64)
    possible = (protocol != values.NEVER) & ((one.version == other.version) | (one.version == 0) | (other.version == 0))
    chosen = rows[possible]
    chosen, first = one.blocks(chosen)
    chosen, second, first = other.blocks_behind(chosen, first)
    return Rules(
        chosen,
        rank[chosen],
        start[chosen],
        end[chosen],
        shown[chosen],
        (one.of(chosen, first), other.of(chosen, second)),
        protocol[chosen],
        places[file][chosen],
        patterns,
    )


def _column(
    table: Table, condition: str, default: Any, read: Callable[[str], Any]
) -> tuple[list[Any], NDArray[np.int64]]:
    """What the values of a column are read as, and which of these each row has; `default` without the column."""
    number = table.header.conditions.get(condition)
    if number is None:
        return [default], np.zeros(table.rows, np.int64)
    found, codes = distinct(table.columns[number])
    fail = failing(table, condition)
    made = []
    for value in found:
        try:
            made.append(default if value is None else read(str(value)))
        except ValueError as error:
            raise fail(value, f"{value!r} is no {_WORDS.get(condition, condition)} ({error})") from None
    return made, codes.astype(np.int64)


_WORDS = {end: "address" for ends in _ENDS.values() for end in ends} | {
    f"{end}_port": "port" for ends in _ENDS.values() for end in ends
}


def _protocols(table: Table) -> NDArray[np.int64]:
    found, codes = _column(table, "protocol", None, values.read_protocol)
    return np.array([-1 if number is None else number for number in found], np.int64)[codes]


class _End:
    """One end of every row."""

    def __init__(self, table: Table, end: str, ported: NDArray[np.bool_]) -> None:
        networks, self._network = _column(table, end, values.EVERYWHERE, values.read_network)
        self._networks = [
            np.array(column, dtype)
            for column, dtype in zip(
                zip(*networks, strict=True), (np.int64, np.uint64, np.uint64, np.int64), strict=True
            )
        ]
        ports, self._ports = _column(table, f"{end}_port", None, values.read_ports)
        everywhere = len(ports)  # rows whose protocol has no ports
        blocks = [list(_blocks(*pair)) if pair else [(0, 0)] for pair in (*ports, None)]
        self._ports = np.where(ported, self._ports, everywhere)
        self._counts = np.array([len(listed) for listed in blocks])
        self._begins = np.cumsum(self._counts) - self._counts
        self._blocks = np.array([block for listed in blocks for block in listed], np.int64)

    @property
    def version(self) -> Array:
        return self._networks[0][self._network]

    def blocks(self, rows: Array) -> tuple[Array, Array]:
        """These rows, each once for every block of its ports, and that block."""
        counts = self._counts[self._ports[rows]]
        repeated = np.repeat(rows, counts)
        places = np.arange(len(repeated)) - np.repeat(np.cumsum(counts) - counts, counts)
        return repeated, self._begins[self._ports[repeated]] + places

    def blocks_behind(self, rows: Array, others: Array) -> tuple[Array, Array, Array]:
        """The same, with the blocks of the other end repeated in the same way."""
        repeated, blocks = self.blocks(rows)
        return repeated, blocks, np.repeat(others, self._counts[self._ports[rows]])

    def of(self, rows: Array, blocks: Array) -> Ends:
        network = self._network[rows]
        port, bits = self._blocks[blocks].T
        version, high, low, length = (column[network] for column in self._networks)
        return Ends(version, high, low, length, port, bits)


def _blocks(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The fewest blocks, each its first port and the bits that all its ports share, that make up a range."""
    while low <= high:
        size = low & -low or 1 << PORT_BITS
        while size > high - low + 1:
            size >>= 1
        yield low, PORT_BITS - (size.bit_length() - 1)
        low += size


def _times(table: Table) -> tuple[Array, Array, Array]:
    """Begin and end of each row, and how far it is known to hold."""
    start, unit = _clock(table, "start", -FOREVER)
    conditions = table.header.conditions
    duration = next((name for name in ("duration", "duration_us") if name in conditions), None)
    known = start > -FOREVER
    shown = np.where(known, start + unit, FOREVER)
    if duration is not None:
        if "start" not in conditions:
            raise ConfigError(f"{table.name}: a duration needs a column of the start")
        spans, codes = _column(table, duration, 0, _SPANS[duration])
        end = np.where(known, shown + np.array(spans, np.int64)[codes], FOREVER)
        return start, end, end
    end, _ = _clock(table, "end", FOREVER)
    wrong = np.flatnonzero(known & (end < start))
    if len(wrong):
        raise ConfigError(f"{table.name}: row {wrong[0] + 1} ends before it begins")
    end = np.where(known, np.maximum(end, shown), end)
    return start, end, np.where(known & (end == FOREVER), shown, end)


def _span(unit: int) -> Callable[[str], int]:
    """Reads a duration in this unit; those below zero, which CICFlowMeter has, are none."""

    def read(text: str) -> int:
        span = float(text) * unit
        if not span < FOREVER:
            raise ValueError("not a number of that size")
        return max(0, round(span))

    return read


_SPANS = {"duration": _span(SECOND), "duration_us": _span(1000)}


def _clock(table: Table, condition: str, otherwise: int) -> tuple[NDArray[np.int64], int]:
    """A column of times, and the unit that they stand for."""
    number = table.header.conditions.get(condition)
    if number is None:
        return np.full(table.rows, otherwise), 0
    array = table.columns[number]
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        times = array.cast(pa.timestamp("ns")).cast(pa.int64())
        known = times.is_valid().to_numpy(zero_copy_only=False)
        filled = times.fill_null(0).to_numpy(zero_copy_only=False)
        unit = next(size for size in _UNITS if not (filled % size).any())
        return np.where(known, filled, otherwise), unit
    found, codes = distinct(array)
    fail = failing(table, condition)
    read = read_times(found, table.header.half_day, lambda place, problem: fail(found[place], problem))
    made = np.array([otherwise if time is None else time for time in read.values], np.int64)
    return made[codes], read.unit
