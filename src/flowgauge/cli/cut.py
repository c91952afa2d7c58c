"""`flowgauge cut`: from flow records back to their packets."""

from __future__ import annotations

from typing import Annotated

import typer

from flowgauge.cli.group import say_if_compiling
from flowgauge.cli.text import counted


def cut(
    table: Annotated[str, typer.Argument(metavar="FLOWS", help="Native flow records, as Parquet or Arrow.")],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE.pcapng|DIR/", help="File to write, or a folder for one file a capture."
        ),
    ],
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="Which rows, e.g. \"app = 'chat' and bytes > 1e6\" [all]; needs DuckDB."),
    ] = None,
    source_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where the captures are, if no more where they were.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No summary.")] = False,
) -> None:
    """Write the packets of flow records, as they were captured.

    The captures are metered again by the options that made the records, so that just the packets are written that count
    in them.
    """
    from flowgauge.cutting import cut as run_cut
    from flowgauge.storage import shown

    say_if_compiling()
    found = run_cut(table, output, where=where, source_dir=source_dir)
    if not quiet and output != "-":
        records, captures = counted(found.records, "record"), counted(found.captures, "capture")
        print(f"{counted(found.packets, 'packet')} of {records}, out of {captures}: {shown(output)}")
