"""How the flows of a report came about: versions, command, options and files, of the table's metadata and the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flowgauge import __version__
from flowgauge.cli.text import counted, shortened, size
from flowgauge.report.page import Origin
from flowgauge.report.summary import Summary
from flowgauge.stats import RunStats

_MANY_FILES = 20


def make_origin(
    table: pa.Table, summary: Summary, inputs: Sequence[str], command: str, run: RunStats | None = None
) -> Origin:
    """What the report says of itself; `run` is what was counted where captures were metered for it."""
    title = ", ".join(shortened(inputs, 3))
    facts = [("Command", [command]), ("Input", list(shortened(inputs, _MANY_FILES)))]
    return Origin(title, _subtitle(summary), (*facts, *_versions(table), *_counts(run), *_files(table)))


def _subtitle(summary: Summary) -> str:
    head = summary.headline
    parts = [counted(head["flows"], "flow"), counted(head["packets"], "packet"), size(head["bytes"])]
    if head.get("files"):
        parts.append(counted(head["files"], "capture"))
    if head["start"] is not None:
        parts.append(_period(head["start"], head["end"]))
    return " · ".join(parts)


def _period(start: str, end: str) -> str:
    """From one minute to another, the day of the end only where it is another one."""
    (day, begin), (last, until) = (stamp[:16].split("T") for stamp in (start, end))
    return f"{day} {begin} – {until} UTC" if day == last else f"{day} {begin} – {last} {until} UTC"


def _versions(table: pa.Table) -> Iterator[tuple[str, list[str]]]:
    stored = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    metered = stored.get("flowgauge_version")
    by = f"flowgauge {metered}, column set {stored.get('flowgauge_columns_version', '?')}" if metered else ""
    yield "Flows metered by", [by or "not known: the table carries no metadata (CSV has none)"]
    yield "Report made by", [f"flowgauge {__version__}"]
    if options := stored.get("flowgauge_options"):
        yield "Options", list(_options(json.loads(options)))


def _options(options: dict[str, Any]) -> Iterator[str]:
    """Those that say something: neither off nor absent."""
    for name, value in options.items():
        if value in (None, False, [], {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key}={'off' if item is None else f'{item:g}'}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        yield f"{name} = {'on' if value is True else value}"


def _counts(run: RunStats | None) -> Iterator[tuple[str, list[str]]]:
    if run is None:
        return
    yield "Packets", [f"{name} {count:,}" for name, count in run.reasons.items() if count]
    ended = sorted(((count, name) for name, count in run.ended.items() if count), reverse=True)
    yield "Flows ended by", [", ".join(f"{name} {count:,}" for count, name in ended)]


def _files(table: pa.Table) -> Iterator[tuple[str, list[str]]]:
    if "source" not in table.schema.names or not len(table):
        return
    column = table["source"]
    names = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
    counts = pc.value_counts(names.combine_chunks()).to_pylist()
    lines = [f"{entry['values'] or '(not known)'}: {counted(entry['counts'], 'flow')}" for entry in counts]
    yield "Captures", shortened(sorted(lines), _MANY_FILES)
