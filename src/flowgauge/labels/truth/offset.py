"""The clock of a truth table: how many seconds it is behind that of the captures.

First all time zones are tried, each with rules that are wider than the steps between them, then smaller steps around
the best ones, and last the rules as they are. Of offsets that match about as much, the plainest is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.config import NANOSECONDS
from flowgauge.errors import ConfigError
from flowgauge.labels.truth.index import Cover, Flows
from flowgauge.labels.truth.truth import Files, Truth, flows_of

_MOST_FLOWS = 1 << 14  # that are looked at
_HALF_HOUR = 1800 * NANOSECONDS
_ZONES = tuple(count * _HALF_HOUR for count in range(-52, 53))  # 26 hours either way: from zone to zone
_STEPS = tuple(round(step * NANOSECONDS) for step in (240, 30, 4, 0.5, 0.1))
_BEAM = 4
_ENOUGH = 0.995  # of the best: at the edges of long rows some flows are in or out by chance
_ROUND = tuple(size * NANOSECONDS for size in (86_400, 3600, 1800, 900, 60, 1))


class Found(NamedTuple):
    """An offset in s, and the share of what could match that does."""

    seconds: float
    share: float


class Sample:
    """In the place of a Truth: keeps some of the records that it sees, and labels none."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._files = Files(truth.rules.patterns)
        self._parts: list[Flows] = []
        self._step, self._seen = 1, 0

    def add_capture(self, source: str, number: int | None = None) -> None:
        self._files.add(source, number)

    def find(self, records: NDArray[Any]) -> None:
        """Keep every so many records, fewer the more there are."""
        chosen = records[-self._seen % self._step :: self._step]
        self._seen += len(records)
        if len(chosen):
            self._parts.append(flows_of(chosen, self._files))
        if sum(len(part.start) for part in self._parts) > 2 * _MOST_FLOWS:
            self._step *= 2
            self._parts = [_thinned(_joined(self._parts))]

    def relabel(self, rows: NDArray[Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
        """No labels."""
        return {}

    def search(self) -> Found:
        """The best offset. Raises ConfigError where there is nothing to compare."""
        name = self._truth.name
        if not self._truth.is_timed:
            raise ConfigError(f"{name} has no times: its clock cannot be found; leave truth_offset out")
        if not self._parts:
            raise ConfigError(f"there are no flows to find the clock of {name} by")
        flows = _joined(self._parts)
        cover = Cover(self._truth.rules, self._truth.either, flows)
        offset = _search(cover)
        return Found(offset / NANOSECONDS, cover.flows(offset) / len(flows.start))


def _joined(parts: list[Flows]) -> Flows:
    width = max(part.files.shape[1] for part in parts)
    padded = [
        part._replace(files=np.pad(part.files, ((0, 0), (0, width - part.files.shape[1])), constant_values=-2))
        for part in parts
    ]
    columns = []
    for values in zip(*padded, strict=True):
        is_pair = isinstance(values[0], tuple)
        columns.append(
            tuple(np.concatenate(ends) for ends in zip(*values, strict=True)) if is_pair else np.concatenate(values)
        )
    return Flows(*columns)  # type: ignore[arg-type]


def _thinned(flows: Flows) -> Flows:
    columns = (tuple(end[::2] for end in c) if isinstance(c, tuple) else c[::2] for c in flows)
    return Flows(*columns)  # type: ignore[arg-type]


def _search(cover: Cover) -> int:
    best = _best(cover, _ZONES, _HALF_HOUR // 2)
    before = _HALF_HOUR
    for step in _STEPS:
        reach = before // step // 2 + 1
        around = {offset + place * step for offset in best for place in range(-reach, reach + 1)}
        best = _best(cover, around | set(best), step // 2)
        before = step
    rounded = {round(offset / size) * size for offset in best for size in _ROUND}
    scores = {offset: cover.count(offset, 0) for offset in {0, *best, *rounded}}
    enough = _ENOUGH * max(scores.values())
    return min((offset for offset, score in scores.items() if score >= enough), key=_plainness)


def _best(cover: Cover, offsets: Iterable[int], width: int) -> list[int]:
    """The few that match most with rules that are so much wider; of equal ones the plainest."""
    scores = {offset: cover.count(offset, width) for offset in offsets}
    return sorted(scores, key=lambda offset: (-scores[offset], _plainness(offset)))[:_BEAM]


def _plainness(offset: int) -> tuple[int, int, int]:
    """Less for multiples of larger units, and for smaller offsets."""
    return next((place for place, size in enumerate(_ROUND) if offset % size == 0), len(_ROUND)), abs(offset), offset
