"""Decoder: from the frames of a source to header columns, with one counted reason per packet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowgauge.fragments import SEED
from flowgauge.kernels.decode import WALK, decode_rows
from flowgauge.kernels.packet import DECODER_FAULT, PACKET, REASONS, PacketBatch, zeroed_records
from flowgauge.sources.capture import Capture


class Frames(Protocol):
    """A source of frames (flowgauge.sources)."""

    @property
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of the rows."""
        ...

    def steps(self, batch: PacketBatch) -> Iterator[int]:
        """Fill rows, and yield how many are filled so far after each piece of input."""
        ...


class Decoder:
    """Decodes batches and counts what became of each packet.

    `reasons` holds the packets of each reason in the order of REASONS; `wire_bytes` their bytes on the
    wire; `length_lies` the packets whose IP length is more than that; `seconds` the time that batches filled by
    :meth:`fill` took. `tunnels` is the option of MeterConfig.
    """

    def __init__(self, tunnels: str = "inner") -> None:
        self.reasons: NDArray[np.int64] = np.zeros(len(REASONS), np.int64)
        self.walk = np.zeros(1, WALK).view(np.recarray)
        self.walk[0].outer = tunnels == "outer"
        self.seed = SEED  # of the names of datagrams: that of the fragment stage behind
        self.seconds = 0.0
        self._saved = zeroed_records(1, PACKET)

    @property
    def length_lies(self) -> int:
        return int(self.walk[0].length_lies)

    @property
    def wire_bytes(self) -> int:
        return int(self.walk[0].wire_bytes)

    @property
    def decoding(self) -> tuple[Any, ...]:
        """What :func:`decode_rows` is told behind the rows."""
        return self.walk, self.reasons, self._saved, self.seed

    def fill(self, frames: Frames, batch: PacketBatch) -> int:
        """Fill a batch and decode it, step by step; the rows in it."""
        if isinstance(frames, Capture) and frames.is_direct:
            return frames.take(batch, self)
        done = 0
        for rows in frames.steps(batch):
            begin = time.perf_counter()
            self.decode(frames.buffer, batch, done, rows)
            self.seconds += time.perf_counter() - begin
            done = rows
        return done

    def decode(self, data: NDArray[np.uint8], batch: PacketBatch, begin: int, stop: int) -> None:
        """Fill the header fields of rows begin..stop from the source's buffer `data`."""
        while begin < stop:
            try:
                decode_rows(data, batch, begin, stop, *self.decoding)
                return
            except IndexError:
                begin = self.pass_over(batch)

    def pass_over(self, batch: PacketBatch) -> int:
        """Count a packet that has failed a bounds check; the row behind it, from which on it goes on."""
        row = int(self.walk[0].row)
        batch.packets[row].reason = DECODER_FAULT
        self.reasons[DECODER_FAULT] += 1
        return row + 1

    def leave_out(self, reason: np.uint8, packets: int, wire_bytes: int) -> None:
        """Count packets of this reason that never get here."""
        self.reasons[reason] += packets
        self.walk[0].wire_bytes += wire_bytes

    def counts(self) -> dict[str, int]:
        """Packets by reason, all reasons, in the order of REASONS."""
        return dict(zip(REASONS, self.reasons.tolist(), strict=True))
