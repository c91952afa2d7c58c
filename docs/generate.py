"""Writes what the documentation says of commands and columns: ``python docs/generate.py``.

Each page holds its generated part between two markers; what stands around it is written by hand.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer.main

from flowgauge.cli import app
from flowgauge.cli.columns import peers_text
from flowgauge.cli.group import EXIT_CODES
from flowgauge.packettable.columns import WIRESHARK, packet_columns
from flowgauge.peers import peers
from flowgauge.schema import Column
from flowgauge.schemas import SCHEMAS

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- generated:begin (python docs/generate.py) -->"
END = "<!-- generated:end -->"


def commands(command: Any, name: str = "flowgauge") -> Iterator[tuple[str, Any]]:
    """A command and all below it, each with its full name."""
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")


def cli() -> str:
    """Every command with its arguments and options, and the exit codes."""
    parts = [_command(name, command) for name, command in commands(typer.main.get_command(app))]
    return "\n\n".join([*parts, f"## Exit codes\n\n```\n{_exit_codes()}\n```"])


def _command(name: str, command: Any) -> str:
    arguments = [param.metavar for param in command.params if param.param_type_name == "argument"]
    below = ["COMMAND"] if getattr(command, "commands", {}) else []
    usage = " ".join([name, "[OPTIONS]", *below, *arguments])
    rows = [(_spelling(param), param.help or "") for param in command.params]
    pieces = [f"## {name}", f"```\n{usage}\n```", inspect.cleandoc(command.help or "")]
    if rows:
        pieces.append(_table(("argument or option", "meaning"), rows))
    return "\n\n".join(pieces)


def _spelling(param: Any) -> str:
    names = [param.metavar] if param.param_type_name == "argument" else sorted(param.opts, key=len)
    value = f" {param.metavar}" if param.param_type_name == "option" and param.metavar else ""
    return f"`{', '.join(names)}{value}`"


def _exit_codes() -> str:
    return "\n".join(line.strip() for line in EXIT_CODES.splitlines()[2:] if line)


def columns() -> str:
    """Every column of every schema, group by group."""
    return "\n\n".join(_schema(name, schema.columns()) for name, schema in SCHEMAS.items())


def _schema(name: str, listed: tuple[Column, ...]) -> str:
    groups = dict.fromkeys(column.group for column in listed)
    parts = [f"## Schema `{name}`: {len(listed)} columns"]
    for group in groups:
        rows = [_column(column, name) for column in listed if column.group == group]
        heading = [f"### Group `{group}`"] if len(groups) > 1 else []
        last = "in other tools" if name == "native" else "native column"
        parts += [*heading, _table(("column", "type", "unit", "role", "definition", "formula", last), rows)]
    return "\n\n".join(parts)


def _column(column: Column, schema: str) -> tuple[str, ...]:
    last = peers_text(peers(column.name)) if schema == "native" else column.native
    return f"`{column.name}`", column.type, column.unit, column.role, column.definition, column.formula, last


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def packets() -> str:
    """Every column of the packet table."""
    rows = []
    for column in packet_columns():
        wireshark = ", ".join(f"`{name}`" for name in WIRESHARK.get(column.name, ()))
        rows.append((f"`{column.name}`", column.type, column.unit, column.definition, column.formula, wireshark))
    return _table(("column", "type", "unit", "definition", "how", "in Wireshark"), rows)


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli, "columns.md": columns, "packets.md": packets}
"""Every page that has a generated part, and what makes it."""


def generated(name: str, text: str) -> str:
    """The page `name` with its generated part as it has to be now."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{name} lacks the marker {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{PAGES[name]()}\n{END}{after}"


def main() -> None:
    """Write every page anew."""
    for name in PAGES:
        path = HERE / name
        path.write_text(generated(name, path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
