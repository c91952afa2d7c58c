"""Packets on their way from the task that decodes them to the one that meters them: blocks of rows of a PacketBatch.

A block is one row of a table: packets of one shard that were read one after the other, as PACKET records, and what is
needed of their bytes. Blocks are put in order by the part of the trace that they are of, and their number in it; never
by time, which would put packets with equal or disordered times in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.config import MeterConfig
from flowgauge.custom.declare import ARGUMENTS, arguments_of
from flowgauge.kernels.packet import METERED, OVERHEARD, PACKET, PacketBatch, make_batch
from flowgauge.kernels.sharding import TRACE, choose_shards, take_shard
from flowgauge.kernels.shipping import ALL_BYTES, take_bytes

BLOCKS = pa.schema(
    [
        ("shard", pa.int32()),
        ("part", pa.int32()),
        ("number", pa.int64()),
        ("packets", pa.binary()),
        ("bytes", pa.binary()),
        ("counts", pa.binary()),
    ]
)
"""`counts`, in place of packets, is what the task has counted."""

HELD = 1 << 23
"""Bytes of packets that a task gathers before it gives them to their shards."""

_READING = {"names", "payload"}


def bytes_needed(config: MeterConfig) -> int:
    """How many bytes of each packet features read: ALL_BYTES, or so many from the innermost IP header on."""
    if _READING & set(config.features) or any(map(_reads_payload, config.custom)):
        return int(ALL_BYTES)
    return config.raw_bytes if "raw" in config.features else 0


def _reads_payload(feature: Any) -> bool:
    return any("payload" in arguments_of(function, ARGUMENTS) for function in feature.functions.values())


class Packets(NamedTuple):
    """Rows of a batch, as the bytes that they are in memory, and the bytes that they point at."""

    packets: NDArray[np.uint8]
    data: NDArray[np.uint8]


class Sharing:
    """Shares packets out to shards, in the place of a meter: what it is fed comes back as BLOCKS.

    `first` is the number of the first shard of the trace, `begins` says that the trace does so here.
    """

    def __init__(self, first: int, shards: int, part: int, config: MeterConfig, begins: bool) -> None:
        self._first, self._shards, self._part = first, shards, part
        self._names = "names" in config.features
        self._most = bytes_needed(config)
        self._trace = np.zeros(1, TRACE).view(np.recarray)
        self._trace[0].epoch = -1 if begins else 0
        self._taken = make_batch()
        self._bytes = np.zeros(HELD, np.uint8)
        self._waiting: list[list[Packets]] = [[] for _ in range(shards)]
        self._held = 0
        self._last: Any = None
        self._number = 0

    def feed(self, batch: PacketBatch, rows: int, data: NDArray[np.uint8]) -> list[pa.RecordBatch]:
        """Take in decoded rows; the blocks that are full."""
        if not rows:
            return []
        owner, told = np.empty(rows, np.int32), np.empty(rows, np.uint8)
        choose_shards(batch, rows, self._shards, self._names, self._trace, owner, told)
        told |= _lets_others_go(batch.packets[:rows])
        if rows > len(self._taken.packets):
            self._taken = make_batch(rows)
        for shard in range(self._shards):
            count = take_shard(batch, rows, owner, told, shard, self._taken)
            if count:
                self._keep(shard, count, data)
        self._last = batch.packets[rows - 1 : rows].copy(), int(owner[-1]), bool(told[-1])
        return self._blocks() if self._held >= HELD else []

    def _keep(self, shard: int, count: int, data: NDArray[np.uint8]) -> None:
        done = place = 0
        while done < count:
            done, place = take_bytes(self._taken, done, count, data, self._most, self._bytes, place)
            if done < count:
                self._bytes = np.concatenate((self._bytes, np.zeros_like(self._bytes)))
        self._add(shard, Packets(_raw(self._taken.packets[:count]).copy(), self._bytes[:place].copy()))

    def _add(self, shard: int, packets: Packets) -> None:
        self._waiting[shard].append(packets)
        self._held += packets.packets.nbytes + packets.data.nbytes

    def rest(self) -> list[pa.RecordBatch]:
        """The blocks of what waits: every shard is told of the last row, whose clock is that of the trace so far."""
        if self._last is not None:
            last, owner, told = self._last
            last.reason = np.where(last.reason == METERED, OVERHEARD, last.reason)
            last.payload_caplen = last.tunnel_depth = last.caplen = 0
            for shard in range(self._shards):
                if not told and shard != owner:
                    self._add(shard, Packets(_raw(last), self._bytes[:0]))
            self._last = None
        return self._blocks()

    def _blocks(self) -> list[pa.RecordBatch]:
        rows = []
        for shard, waiting in enumerate(self._waiting):
            if waiting:
                packets, data = joined(waiting)
                rows.append((self._first + shard, packets.tobytes(), data.tobytes()))
                waiting.clear()
        self._held = 0
        if not rows:
            return []
        self._number += 1
        shards, packets_of, bytes_of = zip(*rows, strict=True)
        count = len(rows)
        columns = [shards, [self._part] * count, [self._number] * count, packets_of, bytes_of, [None] * count]
        return [_batch(columns)]

    # What else a meter has, for who meters into this one.
    flows = open_flows = 0
    limited = False

    def begin_capture(self, *capture: Any) -> int:
        return 0

    def end_capture(self, reason: str = "eof") -> None:
        pass

    def flush(self) -> Iterator[pa.RecordBatch]:
        yield from self.rest()

    def rows_by_label(self) -> Iterator[Any]:
        return iter(())

    def close(self) -> None:
        pass

    @property
    def counters(self) -> dict[str, int]:
        return {}

    ended = named = counters


def counts_row(part: int, shard: int, counts: bytes) -> pa.RecordBatch:
    """What was counted of a part, as a row of BLOCKS."""
    return _batch([[shard], [part], [0], [None], [None], [counts]])


def _batch(columns: list[Any]) -> pa.RecordBatch:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, BLOCKS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=BLOCKS)


def _lets_others_go(packets: Any) -> NDArray[np.uint8]:
    """1 where tails wait for a packet that may be in another shard: those of the packet around it."""
    inside = (packets.tunnel_depth != 0) & (packets.reason == METERED)
    found: NDArray[np.uint8] = (inside & (packets.outer_fragment != 0)).astype(np.uint8)
    return found


def joined(waiting: list[Packets]) -> Packets:
    """All of these packets as one, with the bytes of all."""
    packets = np.concatenate([each.packets for each in waiting])
    rows = packets.view(PACKET)
    row = place = 0
    for each in waiting:
        stop = row + len(each.packets) // PACKET.itemsize
        rows["offset"][row:stop] += np.uint32(place)
        rows["payload_offset"][row:stop] += np.uint32(place)
        row, place = stop, place + len(each.data)
    return Packets(packets, np.concatenate([each.data for each in waiting]))


def to_batch(packets: Packets) -> tuple[PacketBatch, int]:
    """The packets as a batch, and how many they are."""
    rows = len(packets.packets) // PACKET.itemsize
    batch = make_batch(rows)
    _raw(batch.packets)[:] = packets.packets
    return batch, rows


def unpacked(packets: bytes, data: bytes) -> Packets:
    """The packets of a block."""
    return Packets(np.frombuffer(packets, np.uint8), np.frombuffer(data, np.uint8))


def _raw(records: Any) -> NDArray[np.uint8]:
    raw: NDArray[np.uint8] = records.view(np.ndarray).view(np.uint8)
    return raw
