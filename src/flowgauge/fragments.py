"""FragmentStage: puts fragments in the order in which they are metered, with the ports of their datagram."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np

from flowgauge.kernels import fragments as k
from flowgauge.kernels.packet import BATCH_ROWS, NO_IP_HEADER, PACKET, WAITS, PacketBatch, make_batch
from flowgauge.snapshot import Snapshot, fill, in_use, restored, rows_at

_OUT_ROWS = BATCH_ROWS + k.ROW_MAY_EMIT
_FROM_FIRST = ("time", "clock", "epoch")
_OF_FIRST = ("src_port", "dst_port", "protocol")
SEED = np.array([secrets.randbits(64) for _ in range(k.SEEDS)], np.uint64)
"""Of the names of datagrams: that of what is around a tunnel's packet is made by the decoder."""


class FragmentStage:
    """Between decoding and metering. Costs nothing while no datagram is remembered.

    `orphans` counts tails whose first fragment never came, `tunnelled` those whose first fragment was metered as
    the packet inside; `clock` and `epoch` are those of the last record seen.
    """

    def __init__(self) -> None:
        self._arrays: k.Fragments | None = None
        self._store: PacketBatch | None = None
        self._out: PacketBatch | None = None
        self.seed = SEED
        self.clock = self.epoch = 0

    @property
    def orphans(self) -> int:
        return int(self._arrays.state[0].orphans) if self._arrays else 0

    @property
    def tunnelled(self) -> int:
        return int(self._arrays.state[0].tunnelled) if self._arrays else 0

    def _open(self) -> k.Fragments:
        """Allocate on the first fragment; empty the memory of the capture before."""
        if self._arrays is None:
            rows = k.MAX_WAITING + _OUT_ROWS
            self._arrays = k.Fragments(
                state=np.zeros(1, k.STATE).view(np.recarray),
                datagrams=np.zeros(k.MAX_DATAGRAMS, k.DATAGRAM).view(np.recarray),
                chains=np.full(k.CHAINS, -1, np.int32),
                next_waiting=np.full(rows, -1, np.int32),
                free=np.arange(rows, dtype=np.int32),
                seed=self.seed,
                order=np.zeros(_OUT_ROWS, np.int64),
                trigger=np.zeros(_OUT_ROWS, np.int64),
                kind=np.zeros(_OUT_ROWS, np.int64),
                holds=np.zeros(2 * _OUT_ROWS, np.int64),
            )
            self._arrays.state[0].free = rows
            self._store, self._out = make_batch(rows), make_batch(_OUT_ROWS)
        return self._arrays

    def process(self, batch: PacketBatch, rows: int) -> Iterator[tuple[PacketBatch, int]]:
        """The rows to meter, in order; each batch yielded is valid until the next."""
        if rows == 0:
            return
        found, clock, epoch = k.scan(batch, rows)
        if not found and not self._remembers():
            yield batch, rows
        else:
            yield from self._reorder(batch, rows)
        self.clock, self.epoch = clock, epoch

    def _reorder(self, batch: PacketBatch, rows: int) -> Iterator[tuple[PacketBatch, int]]:
        arrays = self._open()
        begin = 0
        while begin < rows:
            begin = k.order_rows(arrays, batch, begin, rows)
            yield self._gather(arrays, batch)

    def rest(self) -> Iterator[tuple[PacketBatch, int]]:
        """What still waits at the end of a capture, as orphans."""
        if self._arrays is None:
            return
        done = False
        while not done:
            done = k.order_rest(self._arrays)
            yield self._gather(self._arrays, None)

    def move(self, by: int) -> None:
        """Keep the identity of what waits: offsets of records are counted from a base that went down by so much."""
        if self._store is not None and self._remembers():
            self._store.packets.record_offset += by

    def _remembers(self) -> bool:
        return self._arrays is not None and self._arrays.state[0].oldest < self._arrays.state[0].newest

    def snapshot(self) -> Snapshot:
        """Of what waits and what is remembered, as far as there is any."""
        own = {"seed": self.seed, "clock": self.clock, "epoch": self.epoch}
        arrays, store = self._arrays, self._store
        if arrays is None or store is None or not self._remembers():
            return own
        s = arrays.state[0]
        free = arrays.free[: s.free]
        remembered = np.arange(s.oldest, s.newest) % k.MAX_DATAGRAMS
        return own | {
            "state": arrays.state,
            "remembered": remembered,
            "datagrams": rows_at(arrays.datagrams, remembered),
            "chains": arrays.chains,
            "next_waiting": arrays.next_waiting,
            "free": free,
            "waiting": rows_at(store.packets, in_use(free, len(store.packets))),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot."""
        self.seed = restored(snapshot, "seed", SEED.dtype).copy()
        self.clock, self.epoch = int(snapshot["clock"]), int(snapshot["epoch"])
        if "state" not in snapshot:
            return
        arrays = self._open()
        assert self._store is not None
        fill(arrays.state, snapshot, "state")
        for name in ("chains", "next_waiting", "free"):
            fill(getattr(arrays, name), snapshot, name)
        remembered = restored(snapshot, "remembered", np.int64)
        arrays.datagrams[remembered] = restored(snapshot, "datagrams", k.DATAGRAM)
        free = arrays.free[: arrays.state[0].free]
        packets = self._store.packets
        packets[in_use(free, len(packets))] = restored(snapshot, "waiting", PACKET)

    def _gather(self, arrays: k.Fragments, batch: PacketBatch | None) -> tuple[PacketBatch, int]:
        """Copy packets out of the batch and the waiting store, in the order decided."""
        state = arrays.state[0]
        assert self._store is not None and self._out is not None
        store, out = self._store.packets, self._out.packets[: state.out]
        order = arrays.order[: state.out]
        held = order < 0
        slots = ~order[held]
        if batch is None:
            out[held] = store[slots]
            out.epoch = self.epoch
            out.payload_caplen, out.ip_header = 0, NO_IP_HEADER
        else:
            source, target = arrays.holds[: 2 * state.holds].reshape(-1, 2).T
            store[target] = batch.packets[source]
            out[held] = store[slots]
            out.payload_caplen[held], out.ip_header[held] = 0, NO_IP_HEADER  # its bytes are gone
            out[~held] = batch.packets[order[~held]]
            self._settle(arrays, batch.packets, out, held)
        arrays.free[state.free : state.free + len(slots)] = slots
        state.free += len(slots)
        return self._out, len(out)

    def _settle(self, arrays: k.Fragments, packets: Any, out: Any, held: np.ndarray) -> None:
        """Released rows are metered at the time of what let them go, orphans in the boundary interval before it."""
        trigger, kind = arrays.trigger[: len(out)], arrays.kind[: len(out)]
        released, orphan = held & (kind == k.RELEASED), held & (kind == k.ORPHAN)
        tunnelled = kind == k.TUNNELLED
        for name in _FROM_FIRST:
            out[name][released | tunnelled] = packets[name][trigger[released | tunnelled]]
        for name in _OF_FIRST:
            out[name][released] = packets[name][trigger[released]]
            out[name][tunnelled] = packets[f"outer_{name}"][trigger[tunnelled]]
        before = trigger[orphan] - 1
        out.epoch[orphan] = np.where(before < 0, self.epoch, packets.epoch[before])
        out.reason[kind == k.PLACEHOLDER] = WAITS
