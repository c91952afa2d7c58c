"""`flowgauge packets`: captures in, one row per packet out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowgauge.cli.ending import end
from flowgauge.cli.options import FilterExpression, JsonSummary, Label, LabelSplit, LabelStrict, Quiet, Strict
from flowgauge.errors import ConfigError

if TYPE_CHECKING:
    from flowgauge.stats import RunStats

_OF_FLOWS = ("flows", "ended", "limited", "truth", "named")  # counts that a table of packets has not


# The parameters are the options: Typer reads them off this signature.
def packets(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUTS...", help="Captures, folders of captures, or - for standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write; - is standard output (the default in a pipe)."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Only these columns; see `flowgauge columns --packets`.")
    ] = None,
    filter: FilterExpression = None,
    dedup: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Copies of a packet that are so near in time get the reason duplicate, e.g. 1ms [off]."
        ),
    ] = None,
    tunnels: Annotated[
        str | None, typer.Option(metavar="inner|outer", help="Which packet of a tunnel has the columns [inner].")
    ] = None,
    label: Label = None,
    label_split: LabelSplit = None,
    label_strict: LabelStrict = False,
    strict: Strict = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="csv|parquet|arrow|jsonl", help="Format, where the output's extension does not say."),
    ] = None,
    compression: Annotated[
        str | None, typer.Option(metavar="zstd|lz4", help="Compression of Parquet: smaller, or faster [zstd].")
    ] = None,
    quiet: Quiet = False,
    json_summary: JsonSummary = False,
) -> None:
    """Turn captures into a table of packets, one row per packet, in their order.

    The summary goes to standard output, or to standard error where that takes the rows.
    """
    given = {
        "columns": columns,
        "filter": filter,
        "dedup": dedup,
        "tunnels": tunnels,
        "label": label,
        "label_split": label_split,
        "label_strict": label_strict or None,
        "strict": strict or None,
        "format": format,
        "compression": compression,
    }
    target = _target(output)
    stats = _run(inputs, target, quiet, {name: value for name, value in given.items() if value is not None})
    end(stats, target, strict=strict, quiet=quiet, as_json=json_summary, rows_of="packets", left_out=_OF_FLOWS)


def _target(output: str | None) -> str:
    if output is None and sys.stdout.isatty():
        raise ConfigError("say where the packets go: -o packets.parquet, -o packets.csv, or -o - for this terminal")
    return output or "-"


def _run(inputs: list[str], output: str, quiet: bool, options: dict[str, Any]) -> RunStats:
    from flowgauge.cli.progress import ProgressBar
    from flowgauge.cli.signals import StopSignal
    from flowgauge.packettable.packets import write_packets

    with StopSignal() as stop, ProgressBar() as bar:
        return write_packets(
            inputs,
            output,
            progress=bar.update if sys.stderr.isatty() and not quiet else None,
            notify=None if quiet else bar.say,
            should_stop=stop.is_set,
            **options,
        )
