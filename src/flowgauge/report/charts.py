"""The charts of a report, as Vega-Lite made with Altair: one definition for the page and for notebooks.

A specification has two named data sets: `rows`, the aggregates of the chart, and `cells`, which says what each number
of a cell stands for. Bins become values, and rare names one, in the specification; sums over the cells that a filter
leaves are Vega's. So one may take rows away and draw again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flowgauge.errors import MissingDependency
from flowgauge.report.flows import OTHER
from flowgauge.report.histograms import QUANTITIES, Quantity
from flowgauge.report.summary import Summary

try:
    import altair as alt
except ImportError as error:
    raise MissingDependency("charts need Altair: pip install 'flowgauge[report]'") from error

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
"""Okabe and Ito (2008): told apart with every kind of colour vision, on white and on black."""
REST = "#8A8F98"
"""The colour of OTHER."""
HEIGHT = 200
_CELLS = alt.NamedData("cells")


Make = Callable[[Summary], Any]
"""Draws the chart of a summary with Altair."""


@dataclass(frozen=True)
class Chart:
    """One chart. `table` names its rows among the tables of a summary; `make` draws it, where `needs` holds.

    `section` is one of time, talkers, anatomy, tcp, fingerprints and labels. Widths in `spec` are "container": who
    shows it sets those of charts that are made of several (`vconcat`) to a number.
    """

    name: str
    section: str
    title: str
    caption: str
    table: str
    make: Make
    needs: Callable[[Summary], bool] = lambda summary: True

    def rows(self, summary: Summary) -> pa.Table | None:
        """The rows that it shows; None where the flows lack the columns, or no flow has a value."""
        table = summary.tables.get(self.table)
        return table if table is not None and len(table) and self.needs(summary) else None

    def spec(self, summary: Summary) -> dict[str, Any]:
        """Its Vega-Lite specification, without theme and data; raises no error where there are no rows."""
        made: dict[str, Any] = self.make(summary).to_dict(validate=False)
        return made


def _groups(summary: Summary, dimension: str) -> list[str]:
    """The names with the most bytes in a dimension, as many as there are colours, and OTHER where there are more."""
    totals = summary.cells.group_by(dimension).aggregate([("bytes", "sum")]).sort_by([("bytes_sum", "descending")])
    names = [name for name in totals[dimension].to_pylist() if name != OTHER]
    rest = len(names) > len(COLOURS) or len(names) < len(totals)
    return [*names[: len(COLOURS)], *([OTHER] if rest else [])]


def _rows(summary: Summary, dimension: str, **values: str) -> alt.Chart:
    """Rows with their `group`, a name of the dimension that has a colour or OTHER, and calculated values."""
    lookup = alt.LookupData(data=_CELLS, key="cell", fields=[dimension])
    listed = _groups(summary, dimension)
    group = f"indexof({listed!r}, datum.{dimension}) < 0 ? {OTHER!r} : datum.{dimension}"
    chart = alt.Chart(alt.NamedData("rows")).transform_lookup(lookup="cell", from_=lookup)
    return chart.transform_calculate(group=group, **values)


def _stacked(chart: alt.Chart, summary: Summary, dimension: str, amount: str, place: str) -> alt.Chart:
    """The amounts of the groups at a place on top of each other, from `below` to `above`; bars of given width are not
    stacked by Vega-Lite itself."""
    order = f"indexof({_groups(summary, dimension)!r}, datum.group)"
    return chart.transform_calculate(order=order).transform_stack(
        stack=amount, as_=["below", "above"], groupby=[place], sort=[alt.SortField("order", order="ascending")]
    )


def _colour(summary: Summary, dimension: str) -> alt.Color:
    listed = _groups(summary, dimension)
    colours = [REST if name == OTHER else colour for name, colour in zip(listed, (*COLOURS, REST), strict=False)]
    scale = alt.Scale(domain=listed, range=colours)
    return alt.Color("group:N", scale=scale, title=dimension, legend=alt.Legend(orient="top", symbolType="square"))


# Readable numbers of axes: 10 kB, 1.5 ms.
_COUNT = "format(datum.value, '~s')"
_BYTES = "format(datum.value, '~s') + 'B'"
_MEASURED = f"measure == 'bytes' ? {_BYTES} : {_COUNT}"


def _width_words(nanoseconds: int) -> str:
    for size, unit in ((86400 * 10**9, "d"), (3600 * 10**9, "h"), (60 * 10**9, "min"), (10**9, "s"), (10**6, "ms")):
        if nanoseconds >= size and nanoseconds % size == 0:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds / 1000:g} µs"


def _over_time(dimension: str) -> Make:
    def make(summary: Summary) -> Any:
        begin, width = summary.span.begin / 1e6, summary.span.width / 1e6
        times = {"time": f"{begin} + datum.bin * {width}", "until": f"{begin} + (datum.bin + 1) * {width}"}
        rows = _rows(summary, dimension, value="datum[measure]", **times)
        measure = alt.param(
            name="measure", value="bytes", bind=alt.binding_radio(options=["bytes", "packets", "flows"], name="Show ")
        )
        brush = alt.selection_interval(name="brush", encodings=["x"])
        summed = rows.transform_aggregate(value="sum(value)", groupby=["time", "until", "group"])
        words = _width_words(summary.span.width)
        x, amount = (
            alt.X("time:T", title="UTC", scale=alt.Scale(type="utc")),
            alt.Axis(labelExpr=_MEASURED, tickCount=4),
        )
        detail = (
            _stacked(summed.transform_filter(brush), summary, dimension, "value", "time")
            .transform_calculate(begins="utcFormat(datum.time, '%Y-%m-%d %H:%M:%S.%L')")
            .mark_rect(clip=True)
            .encode(
                x=alt.X("time:T", title=None, scale=alt.Scale(type="utc", domain=brush)),
                x2="until:T",
                y=alt.Y("below:Q", title=f"each {words}", axis=amount),
                y2="above:Q",
                color=_colour(summary, dimension),
                tooltip=[
                    alt.Tooltip("begins:N", title="from (UTC)"),
                    alt.Tooltip("group:N", title=dimension),
                    alt.Tooltip("value:Q", title="value", format=",d"),
                ],
            )
        )
        overview = rows.transform_aggregate(value="sum(value)", groupby=["time", "until"])
        overview = overview.transform_calculate(zero="0").mark_rect(color=REST)
        overview = overview.encode(x=x, x2="until:T", y=alt.Y("zero:Q", title=None, axis=None), y2="value:Q")
        detail = detail.properties(width="container", height=HEIGHT)
        overview = overview.properties(width="container", height=36).add_params(brush)
        return alt.vconcat(detail, overview).add_params(measure).resolve_scale(color="shared")

    return make


def _distribution(quantity: Quantity) -> Make:
    """Flows by label in each bin, and below them what share of each label's flows is at most so large."""

    def make(summary: Summary) -> Any:
        step = 1 / quantity.per_decade
        rows = _rows(summary, summary.label, low=f"datum.bin * {step}", high=f"(datum.bin + 1) * {step}")
        summed = rows.transform_aggregate(flows="sum(flows)", groupby=["low", "high", "group"])
        axis = alt.Axis(labelExpr=_power(quantity), values=list(range(_DECADES)), grid=True)
        x = alt.X("low:Q", title=None, axis=axis, scale=alt.Scale(nice=False, zero=False))
        colour = _colour(summary, summary.label)
        edges = {"from_value": _edge(quantity, "low"), "to_value": _edge(quantity, "high")}
        ends = [alt.Tooltip("from_value:N", title="from"), alt.Tooltip("to_value:N", title="to")]
        label = alt.Tooltip("group:N", title=summary.label)
        bars = (
            _stacked(summed.transform_calculate(**edges), summary, summary.label, "flows", "low")
            .mark_rect()
            .encode(
                x=x,
                x2="high:Q",
                y=alt.Y("below:Q", title="flows", axis=alt.Axis(labelExpr=_COUNT, tickCount=4)),
                y2="above:Q",
                color=colour,
                tooltip=[label, *ends, alt.Tooltip("flows:Q", format=",d")],
            )
        )
        lines = (
            summed.transform_joinaggregate(total="sum(flows)", groupby=["group"])
            .transform_window(
                running="sum(flows)", frame=[None, 0], groupby=["group"], sort=[alt.SortField("low", order="ascending")]
            )
            .transform_calculate(share="datum.running / datum.total", to_value=_edge(quantity, "high"))
            .mark_line(interpolate="step-after", strokeWidth=2, point={"size": 12})
            .encode(
                x=alt.X("high:Q", title=f"{quantity.title}, {quantity.unit}", axis=axis, scale=alt.Scale(zero=False)),
                y=alt.Y("share:Q", title="share of flows", axis=alt.Axis(format="%", tickCount=4)),
                color=colour,
                tooltip=[label, alt.Tooltip("to_value:N", title="below"), alt.Tooltip("share:Q", format=".1%")],
            )
        )
        views = (view.properties(width="container", height=HEIGHT * 0.75) for view in (bars, lines))
        return alt.vconcat(*views).resolve_scale(x="shared")

    return make


_DECADES = 19


def _power(quantity: Quantity) -> str:
    return _readable(quantity, f"{quantity.least} * pow(10, datum.value)")


def _edge(quantity: Quantity, field: str) -> str:
    return _readable(quantity, f"{quantity.least} * pow(10, datum.{field})")


def _readable(quantity: Quantity, value: str) -> str:
    """An expression for a value with its unit, such as 10 kB and 1.5 ms."""
    if quantity.unit == "B":
        return f"format({value}, '.3~s') + 'B'"
    minutes = f"({value}) < 60 ? format({value}, '.3~s') + 's' : ({value}) < 3600 ? "
    return f"{minutes}format(({value}) / 60, '.2~f') + ' min' : format(({value}) / 3600, '.2~f') + ' h'"


def _has(dimension: str) -> Callable[[Summary], bool]:
    return lambda summary: dimension in summary.cells.schema.names


def _time_charts() -> Iterator[Chart]:
    caption = "Packets and bytes of a flow are spread evenly over its duration. Drag in the lower strip to zoom."
    for dimension in ("app", "protocol", "service"):
        name, title = f"over_time_{dimension}", f"Traffic over time, by {dimension}"
        yield Chart(name, "time", title, caption, "over_time", _over_time(dimension), _has(dimension))


def _distributions() -> Iterator[Chart]:
    for quantity in QUANTITIES:
        section = "tcp" if quantity.name.endswith("_rtt") else "anatomy"
        title = quantity.title[0].upper() + quantity.title[1:]
        caption = (
            "Above, flows in bins of equal ratio; below, the share of each label's flows that is at most so large. "
            f"Values below {quantity.least:g} {quantity.unit} are in the first bin."
        )
        yield Chart(quantity.name, section, title, caption, quantity.name, _distribution(quantity))


CHARTS: tuple[Chart, ...] = (*_time_charts(), *_distributions())
"""All charts, in the order of a report."""
