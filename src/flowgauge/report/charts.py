"""The charts of a report, as Vega-Lite made with Altair: one definition for the page and for notebooks.

A specification has two named data sets: `rows`, the aggregates of the chart, and `cells`, which says what each number
of a cell stands for. Bins become values, and rare names one, in the specification; sums over the cells that a filter
leaves are Vega's. So one may take rows away and draw again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from flowgauge.report import drawing as d
from flowgauge.report.cells import DIMENSIONS
from flowgauge.report.drawing import COLOURS, Chart, Make, alt
from flowgauge.report.flows import NONE, OTHER
from flowgauge.report.health import STATES
from flowgauge.report.histograms import MOST_DECADES, QUANTITIES, Quantity
from flowgauge.report.summary import Summary


def _theme(background: str, text: str, faint: str, grid: str) -> dict[str, Any]:
    axis = {"labelColor": text, "titleColor": text, "gridColor": grid, "domainColor": faint, "tickColor": faint}
    plain = {"labelColor": text, "titleColor": text}
    return {
        "background": background,
        "font": "system-ui, sans-serif",
        "axis": {**axis, "titleFontWeight": "normal", "labelFontSize": 11, "titleFontSize": 11},
        "legend": {**plain, "titleFontWeight": "normal", "labelLimit": 140},
        "title": {"color": text, "subtitleColor": text, "anchor": "start"},
        "view": {"stroke": grid},
    }


THEMES = {
    "light": _theme("#ffffff", "#24292f", "#8c959f", "#e4e7eb"),
    "dark": _theme("#15181d", "#d7dde4", "#6b7480", "#2b3138"),
}
"""Configurations of Vega-Lite for the two looks of a page."""


def _over_time(dimension: str) -> Make:
    def make(summary: Summary) -> Any:
        begin, width = summary.span.begin / 1e6, summary.span.width / 1e6
        times = {"time": f"{begin} + datum.bin * {width}", "until": f"{begin} + (datum.bin + 1) * {width}"}
        chart = d.grouped(summary, dimension, value="datum[measure]", **times)
        options, names = ["bytes", "packets", "flows"], ["bytes", "packets", "flows that begin"]
        radio = alt.binding_radio(options=options, labels=names, name="Show ")
        measure = alt.param(name="measure", value="bytes", bind=radio)
        brush = alt.selection_interval(name="brush", encodings=["x"])
        parts = chart.transform_aggregate(value="sum(value)", groupby=["time", "until", "group"])
        detail = _detail(d.stacked(parts.transform_filter(brush), summary, dimension, "value", "time"), brush)
        detail = detail.encode(
            y=alt.Y("below:Q", **d.amount_axis(_MEASURED, f"each {d.duration_words(summary.span.width)}")),
            color=d.colour(summary, dimension),
            tooltip=[
                alt.Tooltip("begins:N", title="from (UTC)"),
                alt.Tooltip("group:N", title=dimension),
                alt.Tooltip("amount:N", title="amount"),
            ],
        )
        total = chart.transform_aggregate(value="sum(value)", groupby=["time", "until"])
        views = detail, _overview(total).add_params(brush)
        return alt.vconcat(*views, spacing=6).add_params(measure)

    return make


_MEASURED = f"measure == 'bytes' ? {d.BYTES} : {d.COUNT}"


def _detail(chart: alt.Chart, brush: Any) -> Any:
    amount = f"measure == 'bytes' ? {d.readable('B', 'datum.value', '.4')} : format(datum.value, ',') + ' ' + measure"
    begins = "utcFormat(datum.time, '%Y-%m-%d %H:%M:%S.%L')"
    marks = chart.transform_calculate(begins=begins, amount=amount).mark_rect(clip=True)
    x = alt.X("time:T", **d.time_axis(), scale=alt.Scale(type="utc", domain=brush))
    return marks.encode(x=x, x2="until:T", y2="above:Q").properties(width="container", height=d.HEIGHT)


def _overview(chart: alt.Chart) -> Any:
    """A low strip of all the time, to drag in."""
    marks = chart.transform_calculate(zero="0").mark_rect(color=d.REST)
    x = alt.X("time:T", **d.time_axis("time, UTC"), scale=alt.Scale(type="utc"))
    marks = marks.encode(x=x, x2="until:T", y=alt.Y("zero:Q", title=None, axis=None), y2="value:Q")
    return marks.properties(width="container", height=36)


def _top(summary: Summary) -> Any:
    """A list of names with their bytes, those of each group behind each other."""
    chart = d.grouped(summary, summary.label)
    chart = chart.transform_aggregate(bytes="sum(bytes)", flows="sum(flows)", groupby=["name", "group"])
    chart = d.ranked(chart, "bytes", ["name"]).transform_calculate(size=d.readable("B", "datum.bytes", ".4"))
    marks = chart.mark_bar().encode(
        x=alt.X("bytes:Q", **d.amount_axis(d.BYTES, "bytes")),
        y=d.names_axis("name"),
        color=d.colour(summary, summary.label),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("group:N", title=summary.label),
            alt.Tooltip("size:N", title="bytes"),
            alt.Tooltip("flows:Q", format=","),
        ],
    )
    return marks.properties(width="container", height=alt.Step(d.ROW))


def _matrix(summary: Summary) -> Any:
    chart = alt.Chart(d.named("rows"))
    chart = chart.transform_aggregate(bytes="sum(bytes)", flows="sum(flows)", groupby=["client", "server"])
    orders = {f"{end}_order": f"datum.{end} == {d.literal(OTHER)} ? -1 : datum.bytes" for end in ("client", "server")}
    chart = chart.transform_calculate(size=d.readable("B", "datum.bytes", ".4"), **orders)
    clients, servers = (alt.EncodingSortField(name, op="sum", order="descending") for name in orders)
    labels = alt.Axis(labelLimit=150, labelAngle=-40, labelAlign="right", grid=False)
    legend = alt.Legend(labelExpr=d.BYTES, orient="top", gradientLength=180, tickCount=4)
    marks = chart.mark_rect(cornerRadius=2).encode(
        x=alt.X("server:N", sort=servers, axis=labels),
        y=alt.Y("client:N", sort=clients, axis=alt.Axis(labelLimit=150, grid=False)),
        color=alt.Color("bytes:Q", scale=alt.Scale(type="log"), title="bytes", legend=legend),
        tooltip=["client:N", "server:N", alt.Tooltip("size:N", title="bytes"), alt.Tooltip("flows:Q", format=",")],
    )
    return marks.properties(width="container", height=alt.Step(24))


def _distribution(quantity: Quantity) -> Make:
    """Flows by label in each bin, and below them what share of each label's flows is at most so large."""

    def make(summary: Summary) -> Any:
        axis = _Decades(quantity, summary.tables[quantity.name]["bin"].to_pylist())
        chart = d.grouped(summary, summary.label, low=axis.place("datum.bin"), high=axis.place("datum.bin", 1))
        chart = chart.transform_aggregate(flows="sum(flows)", groupby=["low", "high", "bin", "group"])
        chart = chart.transform_calculate(least=axis.edge("datum.bin"), most=axis.edge("datum.bin + 1"))
        colour, label = d.colour(summary, summary.label), alt.Tooltip("group:N", title=summary.label)
        bars = d.stacked(chart, summary, summary.label, "flows", "low").mark_rect().encode(x2="high:Q", y2="above:Q")
        bars = bars.encode(
            x=axis.scale("low", None),
            y=alt.Y("below:Q", **d.amount_axis(d.COUNT, "flows")),
            color=colour,
            tooltip=[label, alt.Tooltip("least:N", title="from"), alt.Tooltip("most:N", title="to"), _FLOWS],
        )
        running = _running(chart).encode(
            x=axis.scale("high", f"{quantity.title}, log scale"),
            y=alt.Y("share:Q", title="share of flows", axis=alt.Axis(format="%", tickCount=4)),
            color=colour,
            tooltip=[label, alt.Tooltip("most:N", title="below"), alt.Tooltip("share:Q", format=".1%")],
        )
        ends = running.transform_filter("datum.running == datum.total").mark_point(filled=True, opacity=1, size=30)
        steps = running.mark_line(interpolate="step-after", strokeWidth=2, point="transparent")
        lines = alt.layer(steps, ends)
        views = (view.properties(width="container", height=height) for view, height in ((bars, 130), (lines, 110)))
        return alt.vconcat(*views, spacing=8).resolve_scale(x="shared")

    return make


_FLOWS = alt.Tooltip("flows:Q", format=",")


class _Decades:
    """A scale of powers of ten for the bins of a quantity, labelled in its unit.

    The first bin holds all that is too small, zeros among them: it stands just in front of the others, however far
    these are.
    """

    def __init__(self, quantity: Quantity, bins: list[int]) -> None:
        first, last = min((place for place in bins if place), default=1), max(bins, default=0) + 1
        missing = max(quantity.per_decade - (last - first), 0)  # it shows a decade at least
        self._quantity = quantity
        self._first, self._last = max(first - missing // 2, 1), last + missing - missing // 2
        self._front = max(self._first - 3, 0) if 0 in bins else None

    def place(self, place: str, more: int = 0) -> str:
        """An expression for the lower edge of a bin on the scale, or that of `more` bins above."""
        moved = place if self._front is None else f"({place} == 0 ? {self._front} : {place})"
        return f"({moved} + {more}) / {self._quantity.per_decade}"

    def edge(self, place: str) -> str:
        """An expression for the lower edge of a bin, as people read it."""
        value = f"{self._quantity.least} * pow(10, ({place}) / {self._quantity.per_decade})"
        return f"({place}) == 0 ? '0' : {d.readable(self._quantity.unit, value)}"

    def scale(self, field: str, title: str | None) -> alt.X:
        per_decade = self._quantity.per_decade
        decades = self._ticks(1)
        decades = self._ticks(1, 2, 5) if len(decades) < 3 else decades
        small = [] if self._front is None else [(self._front + 0.5) / per_decade]
        value = d.readable(self._quantity.unit, f"{self._quantity.least} * pow(10, datum.value)")
        label = f"datum.value < {self._first / per_decade} ? '≤ {self._least()}' : {value}" if small else value
        axis = alt.Axis(labelExpr=label, values=[*small, *decades], labelOverlap=True, labelSeparation=4)
        scale = alt.Scale(
            nice=False,
            zero=False,
            domain=[(self._first if self._front is None else self._front) / per_decade, self._last / per_decade],
        )
        return alt.X(f"{field}:Q", title=title, axis=axis, scale=scale)

    def _ticks(self, *steps: int) -> list[float]:
        """These times the powers of ten, as far as the bins go."""
        places = (power + math.log10(step) for power in range(MOST_DECADES + 1) for step in steps)
        return [place for place in places if self._first <= place * self._quantity.per_decade <= self._last]

    def _least(self) -> str:
        return _LEAST[self._quantity.unit]


_LEAST = {"s": "1 µs", "B": "1 B"}


def _running(chart: alt.Chart) -> Any:
    """The share of a group's flows that are in a bin or below it."""
    by_bin: Any = [alt.SortField("low", order="ascending")]
    summed = chart.transform_joinaggregate(total="sum(flows)", groupby=["group"])
    summed = summed.transform_window(running="sum(flows)", frame=[None, 0], groupby=["group"], sort=by_bin)
    return summed.transform_calculate(share="datum.running / datum.total")


def _states(summary: Summary) -> Any:
    meaning = f"{d.literal(STATES)}[datum.state]"
    chart = d.grouped(summary, summary.label)
    chart = chart.transform_aggregate(flows="sum(flows)", groupby=["state", "group"])
    chart = d.ranked(chart, "flows", ["state"]).transform_calculate(meaning=meaning)
    marks = chart.mark_bar().encode(
        x=alt.X("flows:Q", **d.amount_axis(d.COUNT, "flows")),
        y=d.names_axis("state"),
        color=d.colour(summary, summary.label),
        tooltip=["state:N", "meaning:N", alt.Tooltip("group:N", title=summary.label), _FLOWS],
    )
    return marks.properties(width="container", height=alt.Step(d.ROW))


_LOSSES = {
    "retransmitted_packets": "packets sent again",
    "out_of_order_packets": "packets out of order",
    "gap_bytes": "bytes missing",
}


def _losses(summary: Summary) -> Any:
    """The share of a direction's packets, or bytes, that were sent again, late or missing, by group."""
    radio = alt.binding_radio(options=[*_LOSSES], labels=[*_LOSSES.values()], name="Show ")
    loss = alt.param(name="loss", value="retransmitted_packets", bind=radio)
    of = "loss == 'gap_bytes' ? datum.payload_bytes + datum.gap_bytes : datum.packets"
    chart = d.grouped(summary, summary.label, lost="datum[loss]", all=of, sender=_SENDER)
    chart = chart.transform_aggregate(lost="sum(lost)", all="sum(all)", groupby=["group", "sender"])
    chart = chart.transform_calculate(share="datum.all > 0 ? datum.lost / datum.all : 0")
    marks = chart.mark_bar().encode(
        x=alt.X("share:Q", title="share", axis=alt.Axis(format="~%", tickCount=4)),
        y=d.names_axis("group", d.groups(summary, summary.label)),
        yOffset=alt.YOffset("sender:N", sort=[*_SENDERS]),
        color=alt.Color("sender:N", scale=_SENDER_COLOURS, title="sent by", legend=_TOP_LEGEND),
        tooltip=[
            alt.Tooltip("group:N", title=summary.label),
            alt.Tooltip("sender:N", title="sent by"),
            alt.Tooltip("share:Q", format=".2%"),
            alt.Tooltip("lost:Q", title="count", format=","),
            alt.Tooltip("all:Q", title="of", format=","),
        ],
    )
    return marks.properties(width="container", height=alt.Step(11)).add_params(loss)


_SENDERS = ("client", "server")
_SENDER = "datum.direction == 'up' ? 'client' : 'server'"
_SENDER_COLOURS = alt.Scale(domain=[*_SENDERS], range=[d.UP, d.DOWN])
_TOP_LEGEND = alt.Legend(orient="top", symbolType="square", symbolOpacity=1)


def _strips(summary: Summary) -> Any:
    """A row of packets for each app and action: whose packet is usual at a place, and how long it is."""
    sums: Any = {name: f"sum({name})" for name in ("flows", "up", "up_bytes", "down_bytes")}
    chart = alt.Chart(d.named("rows"))
    chart = chart.transform_aggregate(**sums, groupby=["name", "place"])
    chart = chart.transform_joinaggregate(all="max(flows)", groupby=["name"])
    chart = chart.transform_calculate(
        sender="datum.up * 2 > datum.flows ? 'client' : 'server'",
        agreed="max(datum.up, datum.flows - datum.up) / datum.flows",
        length="datum.sender == 'client' ? datum.up_bytes / datum.up : datum.down_bytes / (datum.flows - datum.up)",
        reached="datum.flows / datum.all",
    )
    marks = chart.mark_rect().encode(
        x=alt.X("place:O", title="packet of the flow", axis=alt.Axis(labelAngle=0, labelOverlap=True, grid=False)),
        y=d.names_axis("name", "ascending"),
        color=alt.Color("sender:N", scale=_SENDER_COLOURS, title="sent by", legend=_TOP_LEGEND),
        opacity=alt.Opacity("length:Q", scale=_LENGTHS, title="IP length", legend=_LENGTH_LEGEND),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("place:O", title="packet"),
            alt.Tooltip("sender:N", title="mostly sent by"),
            alt.Tooltip("agreed:Q", title="of the flows", format=".0%"),
            alt.Tooltip("length:Q", title="mean IP length, bytes", format=",.0f"),
            alt.Tooltip("reached:Q", title="flows that get so far", format=".0%"),
        ],
    )
    return marks.properties(width="container", height=alt.Step(d.ROW))


def _joined(names: list[str]) -> str:
    """An expression for one name of several dimensions; NONE is said once."""
    joined = " + ' · ' + ".join(f"datum.{name}" for name in names)
    return f"datum.{names[0]} == datum.{names[-1]} ? datum.{names[0]} : {joined}"


_LENGTHS = alt.Scale(domain=[40, 1500], range=[0.22, 1], clamp=True)
_LENGTH_LEGEND = alt.Legend(orient="top", values=[40, 500, 1000, 1500], symbolType="square", symbolFillColor=d.REST)


def _balance(summary: Summary) -> Any:
    """Labels with their flows; of many the first thirty."""
    balance = summary.balance
    named = [name for name in ("app", "action") if set(balance[name].to_pylist()) - {NONE}] or ["app"]
    label = _joined(named)
    chart = alt.Chart(d.named("rows")).transform_calculate(name=label, total="datum.flows")
    order = d.descending("flows", "name")
    chart = chart.transform_window(rank="row_number()", sort=order).transform_filter("datum.rank <= 30")
    marks = chart.mark_bar().encode(
        x=alt.X("flows:Q", **d.amount_axis(d.COUNT, "flows")),
        y=d.names_axis("name"),
        tooltip=[
            alt.Tooltip("name:N", title=" · ".join(named)),
            _FLOWS,
            alt.Tooltip("share:Q", format=".1%"),
            *(alt.Tooltip(f"{name}:Q", format=",") for name in ("packets", "bytes", "files")),
        ],
    )
    return marks.properties(width="container", height=alt.Step(d.ROW))


def _separability(summary: Summary) -> Any:
    """The features that tell the most of the label: five, and up to 25 of those that tell something."""
    listed = summary.separability.slice(0, 25)
    names = sorted(set(listed["group"].to_pylist()))
    chart = alt.Chart(d.named("rows")).transform_calculate(total="datum.bits")
    order = d.descending("bits", "feature")
    chart = chart.transform_window(rank="row_number()", sort=order).transform_filter(
        "datum.rank <= 25 && (datum.rank <= 5 || datum.share >= 0.005)"
    )
    colours = alt.Scale(domain=names, range=[*COLOURS, *[d.REST] * len(names)][: len(names)])
    marks = chart.mark_bar().encode(
        x=alt.X("share:Q", title="share of the label that it tells", axis=alt.Axis(format="%", tickCount=4)),
        y=d.names_axis("feature"),
        color=alt.Color("group:N", scale=colours, title="feature group", legend=_TOP_LEGEND),
        tooltip=[
            "feature:N",
            "definition:N",
            alt.Tooltip("bits:Q", format=".3f"),
            alt.Tooltip("share:Q", format=".1%"),
            alt.Tooltip("flows:Q", title="flows that have it", format=","),
        ],
    )
    return marks.properties(width="container", height=alt.Step(d.ROW))


def _has(dimension: str) -> Callable[[Summary], bool]:
    return lambda summary: dimension in summary.cells.schema.names


def _time_charts() -> Iterator[Chart]:
    caption = "Packets and bytes of a flow are spread evenly over its duration. Drag in the lower strip to zoom."
    for dimension in DIMENSIONS[:1] + DIMENSIONS[2:]:
        name, title = f"over_time_{dimension}", f"Traffic over time, by {dimension}"
        yield Chart(name, "time", title, caption, "over_time", _over_time(dimension), True, _has(dimension))


def _talker_charts() -> Iterator[Chart]:
    for name, title, caption in (
        ("clients", "Clients", "Addresses of clients with the most bytes."),
        ("servers", "Servers", "Addresses of servers with the most bytes."),
        ("names", "Names of servers", "Names from TLS, QUIC, HTTP and DNS with the most bytes."),
        (
            "ports",
            "Ports of servers",
            "Port and protocol with the most bytes; the protocol alone where it has no ports.",
        ),
    ):
        yield Chart(name, "talkers", title, caption, name, _top)
    caption = "Bytes between the largest clients and servers, both directions; all others are (other)."
    yield Chart("matrix", "talkers", "Who talks to whom", caption, "matrix", _matrix, True)


def _distributions(section: str) -> Iterator[Chart]:
    for quantity in QUANTITIES:
        if quantity.section == section:
            title = quantity.title[0].upper() + quantity.title[1:]
            caption = (
                "Above, flows in bins of equal ratio; below, the share of each label's flows that is at most so large "
                f"(a dot: all). Values below {_LEAST[quantity.unit]} are in the first bin, which stands in front."
            )
            yield Chart(quantity.name, section, title, caption, quantity.name, _distribution(quantity))


CHARTS: tuple[Chart, ...] = (
    *_time_charts(),
    *_talker_charts(),
    *_distributions("anatomy"),
    Chart(
        *("tcp_states", "tcp", "How TCP connections ended"),
        "SF: established and ended by both. S0: no answer. S1: not ended. REJ: refused. RSTO, RSTR: reset by client or "
        "server. OTH: begun before the capture.",
        *("tcp_states", _states),
    ),
    Chart(
        *("tcp_losses", "tcp", "Lost and late"),
        "Share of the TCP packets that were sent again or came out of order, and of the bytes that no packet holds.",
        *("tcp_losses", _losses),
    ),
    *_distributions("tcp"),
    Chart(
        *("fingerprints", "fingerprints", "The first packets"),
        "Each row is an app and action, each column a packet from the first on: the colour says who mostly sends it, "
        "its strength how long it is.",
        *("fingerprints", _strips, True),
    ),
    Chart(
        *("balance", "labels", "Flows of each label"),
        "Labels with few flows are hardly learnt, and where one has most, accuracy says nothing of the others.",
        *("balance", _balance),
    ),
    Chart(
        *("separability", "labels", "What tells the labels apart"),
        "Mutual information of feature and label, as a share of what there is to know of the label. Features that name "
        "ends, files or times are left out.",
        *("separability", _separability),
    ),
)
"""All charts, in the order of a report."""
