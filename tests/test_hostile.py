"""Input that is made to exhaust a meter."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from captures import pcap_header
from flowgauge.run import Hooks, Run

FLOWS = 2_500_000
LIMIT = 500_000
PIECE = 50_000
RAW_IP = 101


class SynFlood(io.RawIOBase):
    """A pcap of SYNs, each from an address and port of its own, 1 µs apart; made piece by piece."""

    record = np.dtype(
        [
            ("time", "<u4", (2,)),
            ("lengths", "<u4", (2,)),
            ("start", "u1", (12,)),
            ("source", ">u4"),
            ("destination", ">u4"),
            ("ports", ">u2", (2,)),
            ("seq", ">u4"),
            ("rest", "u1", (12,)),
        ]
    )

    def __init__(self) -> None:
        self._buffer = pcap_header(link=RAW_IP)
        self._next = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._buffer and self._next < FLOWS:
            self._buffer = self._piece()
        view = memoryview(buffer)
        size = min(len(view), len(self._buffer))
        view[:size] = self._buffer[:size]
        self._buffer = self._buffer[size:]
        return size

    def _piece(self) -> bytes:
        number = np.arange(self._next, min(self._next + PIECE, FLOWS), dtype=np.uint32)
        self._next += PIECE
        records = np.zeros(len(number), self.record)
        records["time"] = np.stack([1_700_000_000 + number // 10**6, number % 10**6], 1)
        records["lengths"] = 40
        records["start"] = np.frombuffer(bytes.fromhex("45000028 00000000 40060000"), np.uint8)
        records["source"] = 0x0A000000 + number
        records["destination"] = 0xC0000201
        records["ports"] = np.stack([1024 + number % 60_000, np.full(len(number), 80)], 1)
        records["seq"] = number
        records["rest"] = np.frombuffer(bytes.fromhex("00000000 50021000 00000000"), np.uint8)
        return records.tobytes()


@pytest.mark.slow
@pytest.mark.compiled
def test_a_syn_flood_is_metered_in_bounded_memory() -> None:
    """Millions of attempts at a limit of half a million: each is a record, and the table grows no further."""
    run = Run(SynFlood(), Hooks(), max_flows=LIMIT, threads=1)
    ended: Counter[str] = Counter()
    packets = largest = 0
    for batch in run.batches():
        ended.update({pair["values"]: pair["counts"] for pair in batch["end_reason"].value_counts().to_pylist()})
        packets += pc.sum(batch["packets"]).as_py()
        assert batch["tcp_state"].unique().to_pylist() == ["S0"]
        largest = max(largest, run.meter.table.nbytes)
    assert run.stats.packets == run.stats.reasons["metered"] == packets == FLOWS
    assert ended == {"limit": FLOWS - LIMIT, "eof": LIMIT}
    assert run.stats.limited
    # Records that have ended wait for the next boundary, which comes after 2^20 packets at the latest.
    assert largest <= 900 * 2 * (LIMIT + 2**20)
