"""Log-binned histograms of the flows' own sizes and times, by cell; ECDFs are their running sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from flowgauge.report.cells import Cells
from flowgauge.report.flows import Flows


class Quantity(NamedTuple):
    """What a histogram is of: a column, its unit, and bins of 10^(1 / `per_decade`) from `least` on; and the section of
    the report that it is in.

    Values below `least` (zeros among them) are in the first bin.
    """

    name: str
    column: str
    title: str
    unit: str
    least: float
    per_decade: int = 10
    section: str = "anatomy"

    def edge(self, place: int) -> float:
        """The lower edge of a bin."""
        return float(self.least * 10.0 ** (place / self.per_decade))


QUANTITIES = (
    Quantity("duration", "duration_s", "duration", "s", 1e-6),
    Quantity("size", "frame_bytes", "bytes", "B", 1.0),
    Quantity("length", "ip_len_mean", "mean packet length", "B", 1.0, 20),
    Quantity("gap", "iat_mean_s", "mean gap between packets", "s", 1e-6),
    Quantity("syn_rtt", "handshake_syn_rtt_s", "time that the server took to answer the SYN", "s", 1e-6, section="tcp"),
    Quantity(
        "ack_rtt", "handshake_ack_rtt_s", "time that the client took to answer the SYN+ACK", "s", 1e-6, section="tcp"
    ),
)
MOST_DECADES = 18


def histograms(flows: Flows, cells: Cells) -> dict[str, pa.Table]:
    """For each quantity whose column there is: `cell`, `bin` and `flows`; flows where it is null are left out."""
    return {quantity.name: _histogram(flows, cells, quantity) for quantity in QUANTITIES if flows.has(quantity.column)}


def _histogram(flows: Flows, cells: Cells, quantity: Quantity) -> pa.Table:
    values = flows.numbers(quantity.column)
    known = ~np.isnan(values)
    bins = MOST_DECADES * quantity.per_decade
    scaled = np.log10(np.maximum(values[known] / quantity.least, 1.0)) * quantity.per_decade
    # A value at an edge belongs above it, also where its logarithm is a hair below.
    places = np.minimum(np.floor(scaled + 1e-9), bins - 1).astype(np.int64)
    counts = np.bincount(cells.of[known] * bins + places, minlength=cells.count * bins)
    used = np.flatnonzero(counts)
    cell, place = np.divmod(used, bins)
    return pa.table({"cell": cell, "bin": place, "flows": counts[used]})
