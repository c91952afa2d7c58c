"""Summary: all that a report tells of a flow table, as counts, sums and bins.

Every table of it has a column `cell`, the number of a row of `cells`: what is left by a filter on app, action, protocol
and service is the sum over the cells that it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from flowgauge.report.cells import make_cells
from flowgauge.report.fingerprints import fingerprints
from flowgauge.report.flows import Flows
from flowgauge.report.health import health
from flowgauge.report.histograms import histograms
from flowgauge.report.labels import balance, separability
from flowgauge.report.largest import largest_flows
from flowgauge.report.overtime import Span, make_span, over_time
from flowgauge.report.quality import Finding, quality
from flowgauge.report.talkers import talkers
from flowgauge.stats import RunStats


@dataclass(frozen=True)
class Summary:
    """All that a report tells.

    `headline` are single values, ready for JSON. `cells` says what each number of a cell stands for; `tables` are
    aggregates by cell; `balance`, `separability` and `quality` are of all flows. `flows` are the largest flows. `span`
    is the time axis of table `over_time`, and `label` the dimension by which distributions are told apart.
    """

    headline: dict[str, Any]
    cells: pa.Table
    tables: dict[str, pa.Table]
    quality: list[Finding]
    separability: pa.Table
    balance: pa.Table
    flows: pa.Table
    span: Span
    label: str

    def rows(self, name: str) -> pa.Table | None:
        """A table by name: one of `tables`, or `cells`, `separability`, `balance`; None where there is none."""
        others = {"cells": self.cells, "separability": self.separability, "balance": self.balance}
        return self.tables.get(name, others.get(name))


def summarise(table: pa.Table, run: RunStats | None = None) -> Summary:
    """The summary of a native flow table; `run` is what its run counted, where the report is made of captures.

    Raises ConfigError where a column of group `core` is missing.
    """
    flows = Flows(table)
    cells = make_cells(flows)
    span = make_span(flows)
    tables = {
        "over_time": over_time(flows, cells, span),
        **talkers(flows, cells),
        **histograms(flows, cells),
        **health(flows, cells),
        **fingerprints(flows, cells),
    }
    return Summary(
        headline(flows),
        cells.table,
        tables,
        quality(flows, run),
        separability(flows),
        balance(flows),
        largest_flows(flows, cells),
        span,
        cells.main,
    )


def headline(flows: Flows) -> dict[str, Any]:
    """Counts of all flows, and when they were; times are ISO 8601 (UTC), None without flows."""
    some = len(flows) > 0
    sums = {
        name: int(flows.whole(column).sum())
        for name, column in (
            *(("packets", "packets"), ("bytes", "frame_bytes"), ("payload_bytes", "payload_bytes")),
            *(("up_bytes", "up_frame_bytes"), ("down_bytes", "down_frame_bytes")),
        )
    }
    start = int(flows.times("start").min()) if some else None
    end = int(flows.times("end").max()) if some else None
    distinct = {
        name: len(flows.names(column).values)
        for name, column in (("clients", "client_ip"), ("servers", "server_ip"), ("files", "source"), ("apps", "app"))
        if flows.has(column)
    }
    return {
        "flows": len(flows),
        **sums,
        "start": _iso(start),
        "end": _iso(end),
        "span_s": (end - start) / 1e9 if start is not None and end is not None else None,
        "median_duration_s": float(np.median(flows.numbers("duration_s"))) if some else None,
        **distinct,
    }


def _iso(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else f"{np.datetime64(nanoseconds // 1000, 'us')}Z"
