"""Traffic over time: packets and bytes of each flow, spread evenly from its start to its end, in at most 240 bins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.report.cells import Cells
from flowgauge.report.flows import Flows

MOST_BINS = 240
_SECOND = 10**9
_WIDTHS = (
    *(10**power * step for power in range(9) for step in (1, 2, 5)),  # ns below a second
    *(_SECOND * step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(3600 * _SECOND * step for step in (1, 2, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24)),
    *(365 * 86400 * _SECOND * step for step in (1, 2, 5, 10)),
)


class Span(NamedTuple):
    """The time axis: `bins` of `width` ns from `begin`, in ns since the epoch."""

    begin: int
    width: int
    bins: int


def make_span(flows: Flows) -> Span:
    """The smallest usual width of which MOST_BINS hold all flows; bins begin at its multiples."""
    if not len(flows):
        return Span(0, _SECOND, 0)
    first, last = int(flows.times("start").min()), int(flows.times("end").max())
    for width in _WIDTHS:
        begin = first // width * width
        if (last - begin) // width < MOST_BINS:
            break
    return Span(begin, width, int((last - begin) // width) + 1)


def over_time(flows: Flows, cells: Cells, span: Span) -> pa.Table:
    """By cell and bin: flows that start in it, and their packets and bytes of frames; rows of zeros are left out."""
    if not span.bins:
        return pa.table({name: pa.array([], pa.int64()) for name in ("cell", "bin", "flows", "packets", "bytes")})
    spread = _Spread(flows, cells, span)
    started = np.bincount(spread.first, minlength=cells.count * span.bins)
    packets, size = spread.of(flows.whole("packets")), spread.of(flows.whole("frame_bytes"))
    used = np.flatnonzero((started > 0) | (packets > 0) | (size > 0))
    cell, place = np.divmod(used, span.bins)
    return pa.table({"cell": cell, "bin": place, "flows": started[used], "packets": packets[used], "bytes": size[used]})


class _Spread:
    """Spreads a count of each flow over the bins that it lasts."""

    def __init__(self, flows: Flows, cells: Cells, span: Span) -> None:
        start = flows.times("start") - span.begin
        end = np.maximum(flows.times("end") - span.begin, start)
        first, last = start // span.width, np.minimum(end // span.width, span.bins - 1)
        self._shape = cells.count, span.bins
        self.first = cells.of * span.bins + first
        self._last = cells.of * span.bins + last
        lasts = np.maximum(end - start, 1).astype(np.float64)
        same = first == last
        self._head = np.where(same, 1.0, ((first + 1) * span.width - start) / lasts)
        self._tail = np.where(same, 0.0, (end - last * span.width) / lasts)
        self._step = np.where(same, 0.0, span.width / lasts)

    def of(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts by cell and bin. Sums up to each bin are rounded, so that those of a cell add up to its total."""
        size = self._shape[0] * self._shape[1]
        single = np.bincount(self.first, counts * self._head, size) + np.bincount(self._last, counts * self._tail, size)
        # Between its first and its last bin a flow has the same share: a step up and a step down, summed up.
        step = counts * self._step
        steps = np.bincount(self.first + 1, step, size + 1)[:size] - np.bincount(self._last, step, size)
        inner = np.cumsum(steps.reshape(self._shape), axis=1)
        total = np.cumsum(single.reshape(self._shape) + inner, axis=1)
        rounded: NDArray[np.int64] = np.diff(np.maximum.accumulate(np.rint(total), axis=1), axis=1, prepend=0)
        return rounded.astype(np.int64).reshape(-1)
