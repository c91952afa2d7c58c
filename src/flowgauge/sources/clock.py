"""Clock: the running clock of a trace, kept from batch to batch and, on request, from file to file."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels.clock import CLOCK
from flowgauge.snapshot import Snapshot, fill


class Clock:
    """Running clock and boundary counter.

    One Clock handed to several captures in turn continues one trace; `restart` between them starts
    another. Boundary intervals (`epoch`) are counted over all of them and never repeat.
    """

    def __init__(self) -> None:
        self.state = np.zeros(1, CLOCK).view(np.recarray)
        self.state.epoch[0] = -1  # the first record opens epoch 0
        self.restart()

    def restart(self) -> None:
        """Begin a new trace: its first record starts the clock anew and opens the next epoch."""
        self.state.started[0] = 0
        self.state.records[0] = 0

    def snapshot(self) -> Snapshot:
        """All of it."""
        return {"state": self.state}

    def restore(self, snapshot: Snapshot) -> None:
        """Be as at the snapshot."""
        fill(self.state, snapshot, "state")
