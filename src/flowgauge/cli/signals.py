"""Ctrl-C and SIGTERM as a wish: what was metered is written, then the run ends."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPING = b"\nflowgauge: stopping, what there is so far is written; once more ends at once\n"


class StopSignal:
    """While entered, the first signal sets a flag and the second ends the process at once."""

    def __init__(self) -> None:
        self._stopped = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def is_set(self) -> bool:
        """Whether the run shall stop."""
        return self._stopped

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        with contextlib.suppress(OSError):
            os.write(2, _STOPPING)  # not print: the signal may have come in the middle of one
