"""FragmentStage: puts fragments in the order in which they are metered, with the ports of their datagram."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flowgauge.kernels import fragments as k
from flowgauge.kernels.packet import BATCH_ROWS, METERED, NOT_FRAGMENT, WAITS, PacketBatch, make_batch

_OUT_ROWS = BATCH_ROWS + k.ROW_MAY_EMIT
_FROM_FIRST = ("time", "clock", "epoch", "src_port", "dst_port", "protocol")


class FragmentStage:
    """Between decoding and metering. Costs nothing while no datagram is remembered.

    `orphans` counts tails whose first fragment never came; `clock` and `epoch` are those of the
    last record seen.
    """

    def __init__(self, seed: np.ndarray) -> None:
        self._seed = seed
        self._arrays: k.Fragments | None = None
        self._store: PacketBatch | None = None
        self._out: PacketBatch | None = None
        self.clock = self.epoch = 0

    @property
    def orphans(self) -> int:
        return int(self._arrays.state[0].orphans) if self._arrays else 0

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
                seed=self._seed,
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
        yield from self._steps(batch, rows)
        self.clock, self.epoch = int(batch.clock[rows - 1]), int(batch.epoch[rows - 1])

    def _steps(self, batch: PacketBatch, rows: int) -> Iterator[tuple[PacketBatch, int]]:
        if not self._remembers() and not self._has_fragments(batch, rows):
            yield batch, rows
            return
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

    def _remembers(self) -> bool:
        return self._arrays is not None and self._arrays.state[0].oldest < self._arrays.state[0].newest

    @staticmethod
    def _has_fragments(batch: PacketBatch, rows: int) -> bool:
        fragments = batch.fragment[:rows] != NOT_FRAGMENT
        return bool(fragments.any()) and bool((fragments & (batch.reason[:rows] == METERED)).any())

    def _gather(self, arrays: k.Fragments, batch: PacketBatch | None) -> tuple[PacketBatch, int]:
        """Copy rows out of the batch and the waiting store, in the order decided."""
        state = arrays.state[0]
        assert self._store is not None and self._out is not None
        order = arrays.order[: state.out]
        held = order < 0
        slots = ~order[held]
        if batch is not None:
            source, target = arrays.holds[: 2 * state.holds].reshape(-1, 2).T
            for name in PacketBatch._fields:
                getattr(self._store, name)[target] = getattr(batch, name)[source]
        for name in PacketBatch._fields:
            part = getattr(self._out, name)[: state.out]
            part[held] = getattr(self._store, name)[slots]
            if batch is not None:
                part[~held] = getattr(batch, name)[order[~held]]
        self._settle(arrays, batch, held)
        arrays.free[state.free : state.free + len(slots)] = slots
        state.free += len(slots)
        return self._out, int(state.out)

    def _settle(self, arrays: k.Fragments, batch: PacketBatch | None, held: np.ndarray) -> None:
        """Released rows are metered at the time of what let them go, orphans in the boundary interval before it."""
        rows, out = len(held), self._out
        assert out is not None
        if batch is None:
            out.epoch[:rows] = self.epoch
            return
        trigger, kind = arrays.trigger[:rows], arrays.kind[:rows]
        released, orphan = held & (kind == k.RELEASED), held & (kind == k.ORPHAN)
        for name in _FROM_FIRST:
            getattr(out, name)[:rows][released] = getattr(batch, name)[trigger[released]]
        before = trigger[orphan] - 1
        out.epoch[:rows][orphan] = np.where(before < 0, self.epoch, batch.epoch[before])
        out.reason[:rows][kind == k.PLACEHOLDER] = WAITS
