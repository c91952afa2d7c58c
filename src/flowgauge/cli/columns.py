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
    packets: Annotated[bool, typer.Option("--packets", help="The columns of `flowgauge packets`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array, with definitions.")] = False,
) -> None:
    """Show the columns of a schema: name, type, unit, group, role and formula.

    In brackets: what NFStream, CICFlowMeter, Zeek and IPFIX (of packets: Wireshark) call it, or which native column it
    is; ≈ where unit or details differ. docs/columns.md explains the terms of the formulas.
    """
    from flowgauge.schemas import columns

    if packets:
        from flowgauge.packettable.columns import packet_columns

        listed = packet_columns()
    else:
        listed = columns(schema, **({} if features is None else {"features": features}))
    schema = "packets" if packets else schema
    names = {column.name: _names(schema, column.name) for column in listed}
    if as_json:
        found = [column._asdict() | {"peers": names[column.name]} for column in listed]
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        last = "formula [in other tools]" if schema in ("native", "packets") else "formula [native column]"
        rows = [_row(column, peers_text(names[column.name]) or column.native) for column in listed]
        print(aligned([(*_HEADER, last), *rows]))


def _names(schema: str, column: str) -> dict[str, tuple[str, ...]]:
    """What other tools call a column."""
    from flowgauge.packettable.columns import WIRESHARK
    from flowgauge.peers import peers

    if schema == "packets":
        return {"Wireshark": WIRESHARK[column]} if column in WIRESHARK else {}
    return peers(column) if schema == "native" else {}


def peers_text(names: dict[str, tuple[str, ...]]) -> str:
    """Names in other tools on one line."""
    return "; ".join(f"{tool} {', '.join(of_tool)}" for tool, of_tool in names.items())


def _row(column: Column, corresponding: str) -> list[Any]:
    """Cells of a line; the last one has formula and corresponding columns."""
    last = f"{column.formula} [{corresponding}]" if corresponding else column.formula
    return [*(getattr(column, name) for name in _HEADER), last]
