"""What all charts of a report share: colours, names of groups, readable numbers, rows joined with their cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flowgauge.errors import MissingDependency
from flowgauge.report.flows import OTHER
from flowgauge.report.summary import Summary

try:
    import altair as alt
except ImportError as error:
    raise MissingDependency("charts need Altair: pip install 'flowgauge[report]'") from error

__all__ = [
    "BYTES",
    "COLOURS",
    "COUNT",
    "DOWN",
    "HEIGHT",
    "LONGEST_LIST",
    "REST",
    "ROW",
    "UP",
    "Chart",
    "Make",
    "alt",
    "amount_axis",
    "colour",
    "descending",
    "duration_words",
    "grouped",
    "groups",
    "literal",
    "named",
    "names_axis",
    "ranked",
    "readable",
    "rows",
    "stacked",
    "time_axis",
]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
"""Okabe and Ito (2008): told apart with every kind of colour vision, on white and on black."""
REST = "#8A8F98"
"""The colour of OTHER, and of what has no group."""
UP, DOWN = COLOURS[3], COLOURS[0]
"""Of the client's packets and of the server's."""
HEIGHT = 200
ROW = 20
"""Pixels of a row of a list."""
LONGEST_LIST = 15


def _spaced(text: str, prefixed: str, unit: str) -> str:
    """An expression for a number in d3's SI notation with a space before its unit; `prefixed` says where it ends in a
    prefix."""
    return f"({prefixed} ? slice({text}, 0, -1) + ' ' + slice({text}, -1) : {text} + ' ') + '{unit}'"


def readable(unit: str, value: str, digits: str = ".3") -> str:
    """An expression for a value with its unit: 10 kB, 1.5 ms, 2.8 h."""
    text = f"format({value}, '{digits}~s')"
    if unit == "B":
        return _spaced(text, f"({value}) >= 999.5", unit)
    seconds = _spaced(text, f"({value}) < 0.9995", unit)
    hours = f"format(({value}) / 3600, '.2~r') + ' h'"
    return f"({value}) < 100 ? {seconds} : ({value}) < 3600 ? format(({value}) / 60, '.2~r') + ' min' : {hours}"


# Vega puts ticks between 0 and 1 though the smallest step is 1.
COUNT = "datum.value % 1 == 0 ? format(datum.value, '~s') : ''"
BYTES = readable("B", "datum.value", "")
"""Expressions for labels of axes."""

Make = Callable[[Summary], Any]
"""Draws the chart of a summary with Altair."""


@dataclass(frozen=True)
class Chart:
    """One chart. `table` names its rows, as `Summary.rows` does; `make` draws it, where `needs` holds.

    `wide` ones take the width of a page, two others share it. `section` is one of time, talkers, anatomy, tcp,
    fingerprints and labels. Widths in `spec` are "container": who shows it sets those of charts that are made of
    several (`vconcat`) to a number.
    """

    name: str
    section: str
    title: str
    caption: str
    table: str
    make: Make
    wide: bool = False
    needs: Callable[[Summary], bool] = lambda summary: True

    def rows(self, summary: Summary) -> pa.Table | None:
        """The rows that it shows; None where the flows lack the columns, or no flow has a value."""
        table = summary.rows(self.table)
        return table if table is not None and len(table) and self.needs(summary) else None

    def spec(self, summary: Summary) -> dict[str, Any]:
        """Its Vega-Lite specification, without theme and data."""
        made = self.make(summary).to_dict()
        made.pop("config", None)  # Altair puts its theme into it
        return _without_format(made)  # type: ignore[no-any-return]


def named(name: str) -> Any:
    """A named data set, which is a text in JSON or, in specifications of a page, a list of rows."""
    return alt.NamedData(name, format={"type": "json"})


def _without_format(spec: Any) -> Any:
    if isinstance(spec, list):
        return [_without_format(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    is_data = spec.keys() == {"name", "format"}
    return {name: _without_format(part) for name, part in spec.items() if not (is_data and name == "format")}


def literal(value: str | Sequence[str] | dict[str, str]) -> str:
    """Texts as they are written in an expression of Vega, whatever characters they have."""
    return json.dumps(value)


def groups(summary: Summary, dimension: str) -> list[str]:
    """The names with the most bytes in a dimension, as many as there are colours, and OTHER where there are more."""
    totals = summary.cells.group_by(dimension).aggregate([("bytes", "sum")])
    totals = totals.sort_by([("bytes_sum", "descending"), (dimension, "ascending")])
    names = [name for name in totals[dimension].to_pylist() if name != OTHER]
    rest = len(names) > len(COLOURS) or len(names) < len(totals)
    return [*names[: len(COLOURS)], *([OTHER] if rest else [])]


def rows(*fields: str) -> alt.Chart:
    """The rows of a chart, with these dimensions of their cells."""
    lookup = alt.LookupData(data=named("cells"), key="cell", fields=[*fields])
    return alt.Chart(named("rows")).transform_lookup(lookup="cell", from_=lookup)


def grouped(summary: Summary, dimension: str, **values: str) -> alt.Chart:
    """Rows with their `group`, a name of the dimension that has a colour or OTHER, and calculated values."""
    group = f"indexof({literal(groups(summary, dimension))}, datum.{dimension}) < 0 ? {literal(OTHER)} : "
    return rows(dimension).transform_calculate(group=f"{group}datum.{dimension}", **values)


def stacked(chart: alt.Chart, summary: Summary, dimension: str, amount: str, place: str) -> alt.Chart:
    """The amounts of the groups at a place on top of each other, from `below` to `above`; bars of given width are not
    stacked by Vega-Lite itself."""
    order = f"indexof({literal(groups(summary, dimension))}, datum.group)"
    return chart.transform_calculate(order=order).transform_stack(
        stack=amount, as_=["below", "above"], groupby=[place], sort=[alt.SortField("order", order="ascending")]
    )


def colour(summary: Summary, dimension: str) -> alt.Color:
    """The colour of a group: the same in every chart and under every filter."""
    listed = groups(summary, dimension)
    colours = [REST if name == OTHER else colour for name, colour in zip(listed, (*COLOURS, REST), strict=False)]
    scale = alt.Scale(domain=listed, range=colours)
    return alt.Color("group:N", scale=scale, title=dimension, legend=alt.Legend(orient="top", symbolType="square"))


def descending(amount: str, *names: str) -> list[Any]:
    """An order by an amount, most first, and names where it is the same."""
    by_name = (alt.SortField(name, order="ascending") for name in names)
    return [alt.SortField(amount, order="descending"), *by_name]


def ranked(chart: alt.Chart, amount: str, names: Sequence[str], most: int = LONGEST_LIST) -> alt.Chart:
    """Only rows of the `most` names with the largest sum of an amount, which becomes `total`."""
    order = descending("total", *names)
    chart = chart.transform_joinaggregate(total=f"sum({amount})", groupby=[*names])
    return chart.transform_window(rank="dense_rank()", sort=order).transform_filter(f"datum.rank <= {most}")


def names_axis(field: str, sort: Any = None, title: str | None = None) -> alt.Y:
    """Names from top to bottom, the one with the most first."""
    by = alt.EncodingSortField("total", op="max", order="descending") if sort is None else sort
    return alt.Y(f"{field}:N", title=title, sort=by, axis=alt.Axis(labelLimit=190, grid=False, ticks=False))


def amount_axis(label: str, title: str | None = None, **options: Any) -> dict[str, Any]:
    """Options of a scale of amounts: few ticks, readable numbers, whole ones where counts are small."""
    return {"title": title, "axis": alt.Axis(labelExpr=label, tickCount=4, tickMinStep=1, **options)}


def time_axis(title: str | None = None) -> dict[str, Any]:
    """Options of an axis of times: by the clock of 24 hours."""
    clock = {"hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S", "milliseconds": "%H:%M:%S.%L"}
    dates = {"year": "%Y", "quarter": "%b %Y", "month": "%b %Y", "week": "%d %b", "date": "%d %b", "day": "%d %b"}
    return {"title": title, "axis": alt.Axis(format={**clock, **dates}, labelOverlap=True, labelSeparation=8)}


def duration_words(nanoseconds: int) -> str:
    """A width of bins in words: `5 min`."""
    for size, unit in ((86400 * 10**9, "d"), (3600 * 10**9, "h"), (60 * 10**9, "min"), (10**9, "s"), (10**6, "ms")):
        if nanoseconds >= size and nanoseconds % size == 0:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds / 1000:g} µs"
