"""`flowgauge compare`: what differs between two sets of flow records."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.cli.text import counted, few

if TYPE_CHECKING:
    from flowgauge.comparing import Comparison
    from flowgauge.comparing.result import Records

SAME, DIFFERS = 0, 1
_MANY_COLUMNS = 20
_LEAST_WIDTH = 140


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="Flow records: Parquet, Arrow, CSV, JSON Lines or a log of Zeek.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The others, in any of these formats, maybe of another tool.")],
    tolerance: Annotated[
        float, typer.Option(metavar="SHARE", help="By how much of the larger one floats may differ.")
    ] = 1e-9,
    within: Annotated[
        float, typer.Option(metavar="S", help="How far apart records of the same ends may start, s.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="All that was found as one JSON object.")] = False,
) -> None:
    """Show what differs between two sets of flow records.

    The exit code is that of diff: 0 where nothing differs, 1 where something does, 2 for trouble.
    """
    from flowgauge.comparing import compare as run_compare

    found = run_compare(a, b, tolerance=tolerance, within=within)
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        _show(found)
    raise typer.Exit(SAME if found.same else DIFFERS)


def _show(found: Comparison) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = max(console.width, _LEAST_WIDTH)
    for part in (_records(found), _columns(found), _labels(found), _drift(found)):
        if part is not None:
            console.print(part)
            console.print()
    for line in _notes(found):
        console.print(line, style="dim", markup=False)
    verdict = "nothing differs" if found.same else "they differ"
    console.print(verdict, style="bold green" if found.same else "bold yellow")


def _table(*columns: str, right: tuple[int, ...] = ()) -> Any:
    """A table without lines around it, with some columns to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=any(columns), header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place in right else "left", overflow="fold")
    return table


def _records(found: Comparison) -> Any:
    """How many records there are, and what became of them."""
    table = _table("", "", "", right=(1,))
    for word, name, rows in (("a", found.a, found.rows[0]), ("b", found.b, found.rows[1])):
        table.add_row(word, f"{rows:,}", _plain(name))
    table.add_row("matched", f"{found.matched:,}", f"compared in {counted(found.compared, 'column')}")
    for word, records, style in (
        ("only in a", found.only_a, "red"),
        ("only in b", found.only_b, "green"),
        ("split in b", found.splits, "yellow"),
        ("merged in b", found.merges, "yellow"),
        ("swapped ends", found.swapped, "yellow"),
    ):
        if records.number:
            table.add_row(word, f"{records.number:,}", _plain(_some(records)), style=style)
    if found.offset_s:
        ahead = "ahead of" if found.offset_s > 0 else "behind"
        table.add_row("clock", f"{abs(found.offset_s):,.9g} s", f"b is {ahead} a", style="yellow")
    return table


def _some(records: Records) -> str:
    more = records.number - 1
    return records.examples[0] + (f", and {more:,} more" if more else "") if records.examples else ""


def _columns(found: Comparison) -> Any:
    from flowgauge.comparing.result import shown

    if not found.columns:
        return None
    table = _table("column", "differs in", "largest: a", "b", "of", right=(1,))
    ranked = sorted(found.columns, key=lambda column: -column.differ)
    for column in ranked[:_MANY_COLUMNS]:
        first = column.examples[0]
        share = f"{column.differ:,} of {column.compared:,}"
        table.add_row(
            column.column, share, *(_plain(_short(shown(value))) for value in (first.a, first.b)), first.record
        )
    if len(ranked) > _MANY_COLUMNS:
        table.add_row(f"and {counted(len(ranked) - _MANY_COLUMNS, 'more column')}")
    return table


def _labels(found: Comparison) -> Any:
    from flowgauge.comparing.result import shown

    if not found.labels:
        return None
    table = _table("label", "pairs", "a", "b", right=(1,))
    for change in found.labels:
        table.add_row(change.column, f"{change.pairs:,}", *(_plain(shown(value)) for value in (change.a, change.b)))
    return table


def _drift(found: Comparison) -> Any:
    from flowgauge.comparing.result import shown

    if not found.drift:
        return None
    table = _table("drift", "distance", "typical: a", "b", right=(1,))
    for drift in found.drift[:_MANY_COLUMNS]:
        table.add_row(drift.column, f"{drift.distance:.2f}", *(_plain(shown(value)) for value in (drift.a, drift.b)))
    if len(found.drift) > _MANY_COLUMNS:
        table.add_row(f"and {counted(len(found.drift) - _MANY_COLUMNS, 'more column')}")
    return table


def _notes(found: Comparison) -> Iterator[str]:
    for word, names in (("a", found.only_in_a), ("b", found.only_in_b)):
        if names:
            yield f"{counted(len(names), 'column')} only in {word}: {few(names)}"
    for change in found.types:
        yield f"type of {change.column}: {change.a} in a, {change.b} in b"
    for name, (before, after) in found.options.items():
        yield f"made with {name} {json.dumps(before)} in a, {json.dumps(after)} in b"
    if found.reordered:
        yield "the records are in another order"


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(text: str) -> str:
    """Text that rich does not take for markup."""
    from rich.markup import escape

    return escape(text)
