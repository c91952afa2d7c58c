"""Stopwatch: where the time of a run goes, stage by stage."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping


class Stopwatch:
    """Adds the time between its calls to stages: `seconds` by name of the stage.

    :meth:`start` begins anew, so that what happened in between counts for no stage.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    def start(self) -> None:
        """The next stage begins now."""
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """A stage ends and the next one begins."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._since
        self._since = now

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the times of another one."""
        for stage, more in seconds.items():
            self.seconds[stage] += more

    def separate(self, stage: str, within: str, seconds: float) -> None:
        """So much of the time of a stage was that of another one."""
        self.add({stage: seconds, within: -seconds})
