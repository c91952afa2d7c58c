"""`flowgauge columns`: every column with its meaning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flowgauge.cli.text import aligned

if TYPE_CHECKING:
    from flowgauge.schema import Column

_HEADER = ("name", "type", "unit", "group", "role", "definition")


def columns(
    schema: Annotated[
        str, typer.Option(metavar="native|basic|zeek|nfstream|cic|cic2017", help="Which table.")
    ] = "native",
    features: Annotated[str | None, typer.Option(metavar="GROUP,…", help="Only these column groups, and core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Show the columns of a schema: name, type, unit, group, role and definition."""
    listed = _columns(schema, features)
    if as_json:
        print(json.dumps([column._asdict() for column in listed], indent=1, ensure_ascii=False))
    else:
        print(aligned([_HEADER, *([getattr(column, name) for name in _HEADER] for column in listed)]))


def _columns(schema: str, features: str | None) -> tuple[Column, ...]:
    from flowgauge.schemas import columns

    return columns(schema, **({} if features is None else {"features": features}))
