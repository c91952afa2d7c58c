"""Every chart is drawn by Vega as it stands, and shows the numbers of the summary."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from typing import Any

import altair
import pandas
import polars
import pyarrow as pa
import pytest
import vl_convert

import flowgauge as fg
from flow_tables import flows_of, generated
from flowgauge.config import DEFAULT_FEATURES
from flowgauge.report.charts import CHARTS, THEMES
from flowgauge.report.drawing import COLOURS, REST, Chart, duration_words, groups, literal
from flowgauge.report.flows import NONE, OTHER
from flowgauge.report.plot import Charts
from flowgauge.report.summary import Summary, summarise

GROUPS = (*DEFAULT_FEATURES, "splt", "names")
NAMES = [chart.name for chart in CHARTS]
BY_NAME = {chart.name: chart for chart in CHARTS}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return generated(800, features=GROUPS)


@pytest.fixture(scope="module")
def summary(table: pa.Table) -> Summary:
    return summarise(table)


def svg_of(chart: Chart, summary: Summary, cells: set[int] | None = None, **params: str) -> str:
    """The chart as Vega draws it, of all cells or of some, with these values of its parameters."""
    rows = chart.rows(summary)
    assert rows is not None
    spec = of_width(chart.spec(summary), 600)
    shown = [row for row in rows.to_pylist() if cells is None or row["cell"] in cells]
    spec["datasets"] = {"rows": shown, "cells": summary.cells.to_pylist()}
    for param in spec.get("params", []):
        if param["name"] in params:
            param["value"] = params[param["name"]]
    return str(vl_convert.vegalite_to_svg(json.dumps(spec), config=THEMES["light"]))


def of_width(spec: dict[str, Any], width: int) -> dict[str, Any]:
    for view in (spec, *spec.get("vconcat", [])):
        if view.get("width") == "container":
            view["width"] = width
    return spec


def marks(svg: str) -> list[dict[str, str]]:
    """What the marks say of themselves to those who cannot see: field and value."""
    labels = re.findall(r'aria-label="([^"]*)" role="graphics-symbol"', svg)
    return [dict(part.split(": ", 1) for part in html.unescape(label).split("; ") if ": " in part) for label in labels]


def number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_drawn(name: str, summary: Summary) -> None:
    """Vega draws each chart with marks and without a text that is no value."""
    svg = svg_of(BY_NAME[name], summary)
    assert "graphics-symbol" in svg
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert texts and not [text for text in texts if re.search("NaN|undefined|null|Infinity", text)]


@pytest.mark.parametrize("name", NAMES)
def test_a_specification_has_no_theme_and_no_data(name: str, summary: Summary) -> None:
    """Colours of backgrounds and texts, and the rows, are for who shows the chart; so are widths in pixels."""
    spec = BY_NAME[name].spec(summary)
    assert not {"config", "background", "title", "datasets"} & spec.keys()
    for view in spec.get("vconcat", [spec]):
        assert view["width"] == "container" and view.get("data", spec.get("data")) == {"name": "rows"}


def test_charts_say_what_they_show() -> None:
    """Names are unique, and each chart has a title, a caption that is a sentence, and a section of the report."""
    assert len(set(NAMES)) == len(NAMES)
    for chart in CHARTS:
        assert chart.title and chart.caption.endswith(".")
        assert chart.section in ("time", "talkers", "anatomy", "tcp", "fingerprints", "labels")


def test_states_show_their_flows(summary: Summary) -> None:
    """The bars of the TCP states add up to the flows in them, of all cells and of some."""
    for cells in (None, {0, 3, 5}):
        expected = Counter[str]()
        for row in summary.tables["tcp_states"].to_pylist():
            if cells is None or row["cell"] in cells:
                expected[row["state"]] += row["flows"]
        found = Counter[str]()
        for mark in marks(svg_of(BY_NAME["tcp_states"], summary, cells)):
            found[mark["state"]] += int(number(mark["flows"]))
        assert found == expected


def test_lists_show_the_largest(summary: Summary) -> None:
    """The list of servers has the fifteen with the most bytes of the cells that are shown."""
    for cells in (None, {1, 2}):
        rows = [row for row in summary.tables["servers"].to_pylist() if cells is None or row["cell"] in cells]
        sizes = Counter[str]()
        for row in rows:
            sizes[row["name"]] += row["bytes"]
        found = Counter[str]()
        for mark in marks(svg_of(BY_NAME["servers"], summary, cells)):
            found[mark["name"]] += int(number(mark["bytes"]))
        assert found == dict(sizes.most_common(15))


@pytest.mark.parametrize("measure", ["bytes", "packets", "flows"])
def test_over_time_shows_all_bins(measure: str, summary: Summary) -> None:
    """The stacked bars and the strip below are as high as the bins of the summary."""
    found = marks(svg_of(BY_NAME["over_time_app"], summary, measure=measure))
    totals = Counter[int]()
    for row in summary.tables["over_time"].to_pylist():
        totals[row["bin"]] += row[measure]
    heights = sorted(number(mark["value"]) for mark in found if "value" in mark and "app" not in mark)
    assert heights == sorted(totals.values())


def test_ecdfs_end_at_one(summary: Summary) -> None:
    """The share of flows that are at most so large is 1 at the largest, of every label."""
    svg = svg_of(BY_NAME["size"], summary)
    shares = {}
    for mark in marks(svg):
        if "share" in mark or "share of flows" in mark:
            share = number(mark.get("share", mark.get("share of flows", "")).rstrip("%"))
            shares[mark["app"]] = max(shares.get(mark["app"], 0), share)
    assert set(shares) == set(groups(summary, "app")) and set(shares.values()) == {100.0}


def test_colours_do_not_depend_on_the_filter(summary: Summary) -> None:
    """A name has one colour in all charts: that of its rank by bytes in all flows; rare names share the grey."""
    listed = groups(summary, "app")
    assert len(listed) == len(COLOURS) + 1 and listed[-1] == OTHER
    scales = []
    for name in ("over_time_app", "servers", "size", "tcp_states"):
        text = json.dumps(BY_NAME[name].spec(summary))
        scales += re.findall(r'"scale": (\{"domain": \["app.*?\})', text)
    assert len(scales) >= 4
    assert set(scales) == {json.dumps({"domain": listed, "range": [*COLOURS, REST]})}


HOSTILE = ["a'b", 'say "x"', "back\\slash", "'] + alert(1) + ['", "line\nfeed", "ünï ☃", "</script>"]


def test_names_are_never_code() -> None:
    """An app may have any name: it is drawn as it is, and none of it is an expression."""
    summary = summarise(flows_of(*({"app": name, "start": 10**18 + n} for n, name in enumerate(HOSTILE))))
    shown = {mark["app"] for mark in marks(svg_of(BY_NAME["clients"], summary)) if "app" in mark}
    assert {name.replace("\n", " ") for name in HOSTILE} == {name.replace("\n", " ") for name in shown}
    assert json.loads(literal(HOSTILE)) == HOSTILE


@pytest.mark.parametrize("app", ["constructor", "__proto__", "toString"])
def test_names_of_javascript(app: str) -> None:
    """An app called as a property that all objects of JavaScript have is drawn as any other."""
    summary = summarise(flows_of({}, {"app": app, "start": 10**18}))
    for name in ("over_time_app", "clients", "size", "tcp_losses", "balance"):
        assert re.search(rf">{app}\u200b?( · read)?<", svg_of(BY_NAME[name], summary)), name


@pytest.mark.parametrize("name", ["over_time_app", "clients", "size", "tcp_states", "balance"])
def test_counts_have_whole_ticks(name: str) -> None:
    """Where there are few flows, axes have no parts of one."""
    for count in (1, 2, 3):
        summary = summarise(flows_of(*({"start": 10**18} for _ in range(count))))
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg_of(BY_NAME[name], summary, measure="flows"))
        assert not [text for text in texts if re.fullmatch(r"\d+m|\d+\.\d+|0\.\d+.*", text)], texts


@pytest.mark.parametrize("name", NAMES)
def test_one_flow_is_drawn_or_left_out(name: str) -> None:
    """Of one flow every chart is drawn, or has no rows; without flows all are left out."""
    one, none = summarise(flows_of({})), summarise(flows_of({}).slice(0, 0))
    chart = BY_NAME[name]
    assert chart.rows(none) is None
    if chart.rows(one) is None:
        assert name in ("over_time_service", "names", "separability")
    else:
        assert "graphics-symbol" in svg_of(chart, one)


def test_charts_without_their_columns_are_left_out() -> None:
    """Without groups splt, tcp and names, and without labels, their charts have no rows."""
    summary = summarise(generated(300, features=("core",), labelled=False))
    left = {chart.name for chart in CHARTS if chart.rows(summary) is not None}
    assert left == {"over_time_protocol", "clients", "servers", "ports", "matrix", "duration", "size"}


def test_first_packets_of_the_majority(table: pa.Table) -> None:
    """A place of the strip is of the end that most flows' packet is from, with their mean length."""
    rows = [
        {"app": "x", "action": "y", "splt_direction": [0, 1], "splt_ip_len": [100, 900]},
        {"app": "x", "action": "y", "splt_direction": [0, 0], "splt_ip_len": [200, 50]},
        {"app": "x", "action": "y", "splt_direction": [0, 1], "splt_ip_len": [300, 1100]},
    ]
    found = marks(svg_of(BY_NAME["fingerprints"], summarise(flows_of(*rows))))
    places = {mark["packet of the flow"]: (mark["sent by"], number(mark["IP length"])) for mark in found}
    assert places == {"1": ("client", 200.0), "2": ("server", 1000.0)}


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [
        (500, "0.5 µs"),
        (10**6, "1 ms"),
        (500 * 10**6, "500 ms"),
        (10**9, "1 s"),
        (60 * 10**9, "1 min"),
        (90 * 10**9, "90 s"),
        (7200 * 10**9, "2 h"),
        (7 * 86400 * 10**9, "7 d"),
    ],
)
def test_widths_in_words(nanoseconds: int, words: str) -> None:
    """The width of a bin is told in its largest whole unit."""
    assert duration_words(nanoseconds) == words


def test_plot_gives_all_charts(table: pa.Table) -> None:
    """fg.plot of a table is every chart that its columns allow, by name and in order, as Altair charts with data."""
    charts = fg.plot(table)
    assert isinstance(charts, Charts) and list(charts) == NAMES
    assert all(isinstance(chart, altair.TopLevelMixin) for chart in charts.values())
    spec = charts["duration"].to_dict()
    assert spec["title"]["text"] == "Duration" and len(json.loads(spec["datasets"]["rows"])) > 100
    assert repr(charts) == f"{len(NAMES)} charts: {', '.join(NAMES)}"


def test_a_notebook_shows_all_charts(table: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown in a notebook, each chart is displayed, one after the other."""
    shown: list[Any] = []
    display = pytest.importorskip("IPython.display")
    monkeypatch.setattr(display, "display", shown.append)
    charts = fg.plot(table)
    charts._ipython_display_()
    assert shown == list(charts.values())


def test_plot_gives_one_chart(table: pa.Table) -> None:
    """fg.plot of a table and a name is that chart, drawn as it is in the page; data frames are as good."""
    chart = fg.plot(table, "tcp_states")
    assert "graphics-symbol" in vl_convert.vegalite_to_svg(chart.to_json())
    for frame in (polars.from_arrow(table), table.to_pandas()):
        assert isinstance(frame, (polars.DataFrame, pandas.DataFrame))
        assert fg.plot(frame, "tcp_states").to_dict() == chart.to_dict()


def test_plot_says_what_there_is(table: pa.Table) -> None:
    """A name that there is not is an error with the nearest and all others; so is a chart without its columns."""
    with pytest.raises(fg.ConfigError, match=r"no chart 'durations'; did you mean 'duration'\?.*over_time_app"):
        fg.plot(table, "durations")
    with pytest.raises(fg.ConfigError, match="'fingerprints' has nothing to show"):
        fg.plot(generated(50), "fingerprints")


def test_plot_without_altair() -> None:
    """Where Altair is not installed, the error is the install command."""
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['altair'] = None\n"
        "import flowgauge as fg, pyarrow as pa\n"
        "try:\n    fg.plot(pa.table({}))\n"
        "except fg.MissingDependency as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'flowgauge[report]'" in done.stdout


def test_no_label_is_said_once() -> None:
    """Flows without app and action are (none) in the list of labels, not (none) · (none)."""
    summary = summarise(flows_of({}, {"app": None, "action": None, "start": 10**18}))
    assert {mark["name"] for mark in marks(svg_of(BY_NAME["balance"], summary))} == {"mail · read", NONE}
