"""The command line: parse, hand over, report. Anything heavy is imported inside the commands."""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Annotated

import typer

from flowgauge.cli import (
    cache,
    columns,
    compare,
    cut,
    extract,
    gateway,
    info,
    interfaces,
    live,
    packets,
    record,
    report,
    warmup,
)
from flowgauge.cli.group import EXIT_CODES, Commands

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    help="Captured traffic in, labelled flow records out.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: loading rich would double the time of --help
    pretty_exceptions_enable=False,
)
app.command(epilog=EXIT_CODES)(extract.extract)
app.command(epilog=EXIT_CODES)(packets.packets)
app.command()(columns.columns)
app.command()(info.info)
app.command()(compare.compare)
app.command()(cut.cut)
app.command()(live.live)
app.command()(record.record)
app.command()(report.report)
app.command()(interfaces.interfaces)
app.command()(warmup.warmup)
app.add_typer(cache.cache)
app.add_typer(gateway.gateway)


def _version(wanted: bool) -> None:
    if wanted:
        from flowgauge import __version__

        print(f"flowgauge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the command `flowgauge`."""
    for stream in (sys.stdout, sys.stderr):
        # A file name or a sign that the terminal's encoding lacks is no reason to fail.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    gc.set_threshold(100_000, 50, 100)  # looking for cycles among Numba's objects takes a tenth of a short run
    warnings.formatwarning = lambda message, *_, **__: f"flowgauge: {message}\n"
    try:
        app(prog_name="flowgauge")
    finally:
        gc.freeze()  # nor are there any to be found at the end, which would take a fifth of it
