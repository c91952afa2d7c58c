"""Decoder: from the frames of a source to header columns, with one counted reason per packet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowgauge.fragments import SEED
from flowgauge.kernels.decode import WALK, decode_rows
from flowgauge.kernels.packet import DECODER_FAULT, PACKET, REASONS, PacketBatch, zeroed_records


class Decoder:
    """Decodes batches and counts what became of each packet.

    `reasons` holds the packets of each reason in the order of REASONS; `wire_bytes` their bytes on the
    wire; `length_lies` the packets whose IP length is more than that. `tunnels` is the option of MeterConfig.
    """

    def __init__(self, tunnels: str = "inner") -> None:
        self.reasons: NDArray[np.int64] = np.zeros(len(REASONS), np.int64)
        self.walk = np.zeros(1, WALK).view(np.recarray)
        self.walk[0].outer = tunnels == "outer"
        self.seed = SEED  # of the names of datagrams: that of the fragment stage behind
        self._saved = zeroed_records(1, PACKET)

    @property
    def length_lies(self) -> int:
        return int(self.walk[0].length_lies)

    @property
    def wire_bytes(self) -> int:
        return int(self.walk[0].wire_bytes)

    def decode(self, data: NDArray[np.uint8], batch: PacketBatch, begin: int, stop: int) -> None:
        """Fill the header fields of rows begin..stop from the source's buffer `data`."""
        while begin < stop:
            try:
                decode_rows(data, batch, begin, stop, self.walk, self.reasons, self._saved, self.seed)
                return
            except IndexError:  # a bounds check: the packet is counted, the rest goes on
                row = int(self.walk[0].row)
                batch.packets[row].reason = DECODER_FAULT
                self.reasons[DECODER_FAULT] += 1
                begin = row + 1

    def leave_out(self, reason: np.uint8, packets: int, wire_bytes: int) -> None:
        """Count packets of this reason that never get here."""
        self.reasons[reason] += packets
        self.walk[0].wire_bytes += wire_bytes

    def counts(self) -> dict[str, int]:
        """Packets by reason, all reasons, in the order of REASONS."""
        return dict(zip(REASONS, self.reasons.tolist(), strict=True))
