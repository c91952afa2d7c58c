"""`flowgauge columns`: every column with its formula."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.cli.text import aligned

if TYPE_CHECKING:
    from flowgauge.schema import Column

_HEADER = ("name", "type", "unit", "group", "role")


def columns(
    schema: Annotated[
        str, typer.Option(metavar="native|basic|zeek|nfstream|cic|cic2017", help="Which table.")
    ] = "native",
    features: Annotated[str | None, typer.Option(metavar="GROUP,…", help="Only these column groups, and core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array, with definitions.")] = False,
) -> None:
    """Show the columns of a schema: name, type, unit, group, role and formula.

    In brackets: what NFStream, CICFlowMeter, Zeek and IPFIX call it, or which native column it is; ≈ where unit or
    details differ. docs/columns.md explains the terms of the formulas.
    """
    from flowgauge.peers import peers
    from flowgauge.schemas import columns

    listed = columns(schema, **({} if features is None else {"features": features}))
    if as_json:
        found = [column._asdict() | {"peers": peers(column.name) if schema == "native" else {}} for column in listed]
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        names = {column.name: peers_text(peers(column.name)) for column in listed} if schema == "native" else {}
        last = "formula [in other tools]" if schema == "native" else "formula [native column]"
        rows = [_row(column, names.get(column.name, column.native)) for column in listed]
        print(aligned([(*_HEADER, last), *rows]))


def peers_text(names: dict[str, tuple[str, ...]]) -> str:
    """Names in other tools on one line."""
    return "; ".join(f"{tool} {', '.join(of_tool)}" for tool, of_tool in names.items())


def _row(column: Column, corresponding: str) -> list[Any]:
    """Cells of a line; the last one has formula and corresponding columns."""
    last = f"{column.formula} [{corresponding}]" if corresponding else column.formula
    return [*(getattr(column, name) for name in _HEADER), last]
