"""Duplicates: leaves out copies of packets, or estimates how many there are."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowgauge.config import NANOSECONDS
from flowgauge.decode import Decoder
from flowgauge.kernels import duplicates as k
from flowgauge.kernels.packet import PacketBatch
from flowgauge.snapshot import Snapshot, fill

PLACES = 1 << 20
"""Packets that are remembered at most."""

FEWEST_COPIES, LARGEST_SHARE = 8, 0.01
"""Copies in the sample, and their share of it, above which there are too many to go unsaid."""

_SAMPLES = 1 << 12


_SPREAD = 0x9E3779B1  # a prime: where in a period the first block of the next traces lies

Sample = NDArray[np.int64]
"""Packets that were looked at, and copies among them, (2, kind of block)."""


class Duplicates(Protocol):
    """A stage between decoding and metering.

    `sample` is what was looked at for copies that were not left out (:func:`share_of`); `counters` what the user should
    know beside the reasons.
    """

    sample: Sample
    counters: dict[str, int]

    def look(self, data: NDArray[np.uint8], batch: PacketBatch, rows: int, decoder: Decoder) -> None:
        """Take in the decoded rows of a batch; `data` holds their bytes."""
        ...

    def begin(self, number: int) -> None:
        """The packets that follow belong to another trace, which begins with this capture."""
        ...

    def snapshot(self) -> Snapshot:
        """What is remembered of this trace."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot."""
        ...


def share_of(sample: Sample) -> float:
    """Share of packets that are copies of others; 0 where it is too small to be told, or for the sample."""
    weights = np.array([1, k.PERIOD // k.BLOCK])
    sampled, copies = sample
    share = float(copies @ weights / max(1, sampled @ weights))
    return share if copies.sum() >= FEWEST_COPIES and share > LARGEST_SHARE else 0.0


class Removal:
    """Marks a packet as a duplicate when the last one before that is equal lies at most `window` seconds from it."""

    def __init__(self, window: float) -> None:
        self.sample: Sample = np.zeros((2, 2), np.int64)
        self._arrays = k.Duplicates(
            state=_state(k.STATE),
            seen=np.zeros(PLACES, k.SEEN).view(np.recarray),
            heads=np.full(PLACES, -1, np.int64),
            ahead=np.zeros(k.AHEAD, k.FINGERPRINT).view(np.recarray),
            key=np.frombuffer(secrets.token_bytes(8 * k.KEY_WORDS), np.uint64).copy(),
        )
        self._state = self._arrays.state[0]
        self._state.window = round(window * NANOSECONDS)

    @property
    def counters(self) -> dict[str, int]:
        """How many packets gave way to later ones while a copy could still have come."""
        return {"dedup_forgotten": int(self._state.forgotten)}

    def look(self, data: NDArray[np.uint8], batch: PacketBatch, rows: int, decoder: Decoder) -> None:
        """Give copies their reason."""
        k.mark_duplicates(data, batch, 0, rows, self._arrays, decoder.reasons, decoder.walk)

    def begin(self, number: int) -> None:
        self._state.first = self._state.count

    def snapshot(self) -> Snapshot:
        """Of the packets seen last."""
        a = self._arrays
        return {"state": a.state, "seen": a.seen[: self._state.count], "heads": a.heads, "key": a.key}

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot."""
        for name in ("state", "seen", "heads", "key"):
            fill(getattr(self._arrays, name), snapshot, name)


class Estimate:
    """Looks for copies within a millisecond in a sample of the packets, which costs next to nothing."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self._later, self._left = 0, k.FIRST  # whether a block is looked at, and how many records are left of it
        self._passed = 0  # records, from here on, that are not looked at
        random = np.random.default_rng(0)  # the same packets give the same estimate
        self._arrays = k.Estimate(
            state=_state(k.ESTIMATE),
            samples=np.zeros(_SAMPLES, k.SAMPLE).view(np.recarray),
            key=random.integers(0, 2**64, k.KEY_WORDS, np.uint64),
        )
        self._state = self._arrays.state[0]

    @property
    def sample(self) -> Sample:
        return np.array([self._state.sampled, self._state.copies], np.int64)

    def look(self, data: NDArray[np.uint8], batch: PacketBatch, rows: int, decoder: Decoder) -> None:
        """Look at the rows that are to be looked at, wherever batches begin."""
        for begin, stop in self._blocks(rows):
            k.estimate_duplicates(data, batch, begin, stop, self._arrays, self._later)

    def skip(self, rows: int) -> None:
        """Go on as if so many rows had been looked at."""
        for _ in self._blocks(rows):
            pass

    def _blocks(self, rows: int) -> Iterator[tuple[int, int]]:
        """From where to where the next rows are to be looked at."""
        begin = min(rows, self._passed)
        self._passed -= begin
        while begin < rows:
            stop = min(rows, begin + self._left)
            yield begin, stop
            self._left -= stop - begin
            begin = stop
            if not self._left:
                self._later, self._left = 1, k.BLOCK
                begin = min(rows, stop + k.PERIOD - k.BLOCK)
                self._passed = stop + k.PERIOD - k.BLOCK - begin

    def begin(self, number: int) -> None:
        self._arrays.samples.fingerprint[:] = 0
        self._later, self._left, self._passed = 0, k.FIRST, 0
        if number:  # what is looked at depends on the capture alone, whatever was read before
            self._later, self._left, self._passed = 1, k.BLOCK, number * _SPREAD % k.PERIOD

    def snapshot(self) -> Snapshot:
        """Of the sample, and where it goes on."""
        at = [self._later, self._left, self._passed]
        return {"state": self._arrays.state, "samples": self._arrays.samples, "at": at}

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot."""
        fill(self._arrays.state, snapshot, "state")
        fill(self._arrays.samples, snapshot, "samples")
        self._later, self._left, self._passed = snapshot["at"]


def _state(dtype: np.dtype[Any]) -> Any:
    return np.zeros(1, dtype).view(np.recarray)
