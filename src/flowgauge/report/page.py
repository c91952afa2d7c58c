"""The page of a report: one HTML file that holds its data, its charts and all that draws them.

Nothing is loaded from anywhere, and a content security policy forbids it: scripts are those whose hashes it names, and
there is no evaluation of strings (Vega interprets its expressions). Names in the data come from captures; they stand in
a block of JSON that no name can end, and page.js makes text of them, never markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Iterable
from importlib import resources
from importlib.util import find_spec
from typing import Any, NamedTuple

import pyarrow as pa

from flowgauge import __version__
from flowgauge.errors import MissingDependency
from flowgauge.report.cells import DIMENSIONS
from flowgauge.report.summary import Summary

_MARKER = re.compile(r"\{\{(\w+)\}\}")
_ENDS = re.compile(r"</(?=script)|<!--", re.IGNORECASE)
_HIDDEN = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


class Origin(NamedTuple):
    """What a report says of itself: its title, one line below it, and how it was made as pairs of a name and lines."""

    title: str
    subtitle: str
    made: tuple[tuple[str, list[str]], ...]


def render(summary: Summary, origin: Origin, scripts: str | None = None) -> str:
    """The page as HTML; the same summary and origin give the same text. `scripts` are those of :func:`bundle`, where
    they have been made already. Raises MissingDependency."""
    own = {"bundle": _closed(bundle() if scripts is None else scripts), "script": _closed(_asset("page.js"))}
    parts = {
        "policy": _policy(own.values()),
        "generator": f"flowgauge {__version__}",
        "title": html.escape(origin.title),
        "style": _asset("page.css"),
        "data": _json(_data(summary, origin)),
        **own,
    }
    return _MARKER.sub(lambda marker: parts[marker[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return resources.files("flowgauge.report").joinpath(name).read_text("utf-8")


def check() -> None:
    """Raises MissingDependency where what draws is not installed."""
    missing = [name for name in ("altair", "vl_convert") if find_spec(name) is None]
    if missing:
        raise MissingDependency(f"a report needs {' and '.join(missing)}: pip install 'flowgauge[report]'")


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; it takes seconds to make, once in a process."""
    check()
    import vl_convert

    script: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # which its types ask for, and it does not
    return script


def _closed(script: str) -> str:
    """A script that does not end its element: in strings and patterns, `<\\/script` is the same text."""
    return _ENDS.sub(lambda match: "<\\" + match[0][1:], script)


def _policy(scripts: Iterable[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> str:
    """JSON in which no text can end the script element that holds it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(_HIDDEN)


def _data(summary: Summary, origin: Origin) -> dict[str, Any]:
    from flowgauge.report.drawing import REST

    charts, tables = _charts(summary)
    return {
        "rest": REST,
        "version": __version__,
        "title": origin.title,
        "subtitle": origin.subtitle,
        "made": origin.made,
        "headline": summary.headline,
        "dimensions": [name for name in DIMENSIONS if name in summary.cells.schema.names],
        "cells": _columns(summary.cells),
        "tables": tables,
        "charts": charts,
        "quality": [dict(finding._asdict()) for finding in summary.quality],
        "balance": _columns(summary.balance),
        "separability": _columns(summary.separability),
        "flows": _columns(summary.flows),
    }


def _charts(summary: Summary) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The charts that there is something to draw of, and their tables, each once."""
    from flowgauge.report.charts import CHARTS

    charts: list[dict[str, Any]] = []
    tables: dict[str, Any] = {}
    for chart in CHARTS:
        rows = chart.rows(summary)
        if rows is None:
            continue
        tables.setdefault(chart.table, _columns(rows))
        words = {name: getattr(chart, name) for name in ("name", "section", "title", "caption", "table")}
        charts.append({**words, "wide": chart.wide, "spec": chart.spec(summary)})
    return charts, tables


def _columns(table: pa.Table) -> dict[str, Any]:
    """A table by columns; texts, which repeat, as `codes` of `values`."""
    return {name: _column(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _column(column: pa.ChunkedArray) -> Any:
    if pa.types.is_floating(column.type):
        return [None if value is None or not math.isfinite(value) else value for value in column.to_pylist()]
    if not pa.types.is_string(column.type):
        return column.to_pylist()
    texts = column.to_pylist()
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return {"values": list(places), "codes": [places[text] for text in texts]}
