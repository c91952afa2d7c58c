"""`flowgauge report`: flows or captures in, one page to look at out."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.cli.group import DONE, INPUT_FAILED, say
from flowgauge.errors import ConfigError
from flowgauge.storage import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from flowgauge.flowfiles import Table
    from flowgauge.report.page import Bundle
    from flowgauge.stats import RunStats

FEATURES = "size,iat,flags,tcp,splt,names"


def report(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUTS...", help="Flow tables (Parquet, Arrow, CSV), or captures and folders of them."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Page to write; - is standard output.")
    ] = "report.html",
    label: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Labels of captures from the path's end, e.g. '{app}_{action}_*.pcap'."),
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="GROUP,…", help=f"Column groups to compute of captures [{FEATURES}].")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, notes and summary.")] = False,
) -> None:
    """Make one page to look at, of flow tables or of captures.

    It is one HTML file that needs no network. Of captures, their flows are metered first, as `flowgauge extract` does.
    """
    options = {name: value for name, value in (("label", label), ("features", features)) if value is not None}
    flows, metered = _make(inputs, output, options, quiet)
    if metered is not None:
        _tell(metered, quiet)
    if not quiet:
        print(f"{shown(output)}: {flows:,} flows", file=sys.stderr if output == "-" else sys.stdout)
    raise typer.Exit(INPUT_FAILED if metered is not None and metered.failed else DONE)


def _make(inputs: list[str], output: str, options: dict[str, str], quiet: bool) -> tuple[int, RunStats | None]:
    """Write the page; the number of its flows, and what was counted where captures were metered for it."""
    from flowgauge.flowfiles import read_stats
    from flowgauge.report.page import Bundle

    with Bundle() as scripts:  # it takes seconds, in which the flows can be read
        table, metered = _flows(inputs, options, quiet)
        stats = read_stats(inputs) if metered is None else metered
        _write(_page(table, stats, inputs, _command(inputs, output, options), scripts), output)
    return table.rows, metered


def _command(inputs: list[str], output: str, options: dict[str, str]) -> str:

    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return shlex.join(["flowgauge", "report", *map(shown, inputs), "-o", shown(output), *words])


def _flows(inputs: list[str], options: dict[str, str], quiet: bool) -> tuple[Table, RunStats | None]:
    """The flows of tables, or of captures and what was counted when they were metered."""
    from flowgauge.flowfiles import in_memory, is_flow_file, read_flows

    tables = [path for path in inputs if is_flow_file(path)]
    if tables and len(tables) < len(inputs):
        others = [path for path in inputs if path not in tables]
        raise ConfigError(
            f"{shown(tables[0])} is a flow table and {shown(others[0])} is not: make the report of one or the other"
        )
    if not tables:
        metered, stats = _metered(inputs, options, quiet)
        return in_memory("the captures", metered), stats
    if options:
        raise ConfigError(f"--{next(iter(options))} is for captures, and {shown(tables[0])} is a flow table already")
    return read_flows(tables), None


def _metered(inputs: list[str], options: dict[str, Any], quiet: bool) -> tuple[pa.Table, RunStats]:
    from flowgauge.cli.progress import ProgressBar
    from flowgauge.cli.signals import StopSignal
    from flowgauge.run import collect

    with StopSignal() as stop, ProgressBar() as bar:
        return collect(
            inputs,
            progress=bar.update if sys.stderr.isatty() and not quiet else None,
            notify=(lambda line: None) if quiet else bar.say,
            should_stop=stop.is_set,
            **{"features": FEATURES, **options},
        )


def _page(table: Table, stats: RunStats | None, inputs: list[str], command: str, scripts: Bundle) -> str:
    from flowgauge.report.origin import make_origin
    from flowgauge.report.page import render
    from flowgauge.report.summary import summarise

    summary = summarise(table, stats)
    return render(summary, make_origin(table, summary, [*map(shown, inputs)], command, stats), scripts.text())


def _write(page: str, path: str) -> None:
    """The file appears under its name when it is complete. Raises SinkError."""
    from flowgauge.sinks.output import Output

    output = Output(path)
    output.open()
    try:
        output.write(page.encode("utf-8", "replace"))
        output.commit()
    finally:
        output.abort()


def _tell(stats: RunStats, quiet: bool) -> None:
    from flowgauge.cli.summary import failures, notes

    for line in failures(stats):
        say(line)
    for line in () if quiet else notes(stats):
        say(line)
