"""``flowgauge.plot``: the charts of a report one by one, for notebooks."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flowgauge.errors import ConfigError
from flowgauge.report.summary import Summary, summarise

if TYPE_CHECKING:
    from flowgauge.report.drawing import Chart

WIDTH = 640


class Charts(dict[str, Any]):
    """Altair charts by name, in the order of a report; a notebook shows them all, one below the other."""

    def __repr__(self) -> str:
        return f"{len(self)} charts: {', '.join(self)}"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for chart in self.values():
            display(chart)  # type: ignore[no-untyped-call]


def plot(table: Any, name: str | None = None) -> Any:
    """The charts of a report of a native flow table, as Altair charts.

    `table` is a pyarrow table, or a data frame of pandas or polars. With a `name` this is one chart, without it all
    that the columns allow, by name; a notebook shows either. Raises ConfigError for a name that there is not and for a
    table without the columns it needs, MissingDependency where Altair is not installed.
    """
    from flowgauge.report.charts import CHARTS

    charts = {chart.name: chart for chart in CHARTS}
    if name is not None and name not in charts:
        near = difflib.get_close_matches(name, charts, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"there is no chart {name!r}; {hint}There are {', '.join(charts)}")
    summary = summarise(table if isinstance(table, pa.Table) else pa.table(table))
    if name is None:
        drawn = {name: _drawn(chart, summary) for name, chart in charts.items()}
        return Charts({name: chart for name, chart in drawn.items() if chart is not None})
    chart = _drawn(charts[name], summary)
    if chart is None:
        raise ConfigError(f"chart {name!r} has nothing to show: the flows have no values in the columns it needs")
    return chart


def _drawn(chart: Chart, summary: Summary) -> Any:
    """The chart with its data, for a page of its own; None where there is nothing to show."""
    rows = chart.rows(summary)
    if rows is None:
        return None
    made = chart.make(summary).properties(title={"text": chart.title, "subtitle": chart.caption, "anchor": "start"})
    for view in made.vconcat if hasattr(made, "vconcat") else [made]:
        view.width = WIDTH
    # Altair checks data against its schema value by value, which takes seconds; a text is one value.
    made.datasets = {"rows": json.dumps(rows.to_pylist()), "cells": json.dumps(summary.cells.to_pylist())}
    return made.configure_range(heatmap={"scheme": "cividis"})
