"""`flowgauge extract`: captures in, flow records out."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from flowgauge.cli.ending import end
from flowgauge.cli.group import say
from flowgauge.cli.options import JsonSummary, Label, LabelSplit, LabelStrict, Quiet, Strict, metering
from flowgauge.errors import ConfigError

if TYPE_CHECKING:
    from flowgauge.stats import RunStats


# The parameters are the options: Typer reads them off this signature, and those of metering behind them.
@metering
def extract(
    options: dict[str, Any],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUTS...", help="Captures, folders, URLs, patterns in quotes, or - for standard input."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER/",
            help="File or URL to write, or folder of a data set; - is standard output (the default in a pipe); or a "
            "destination: kafka://…, postgresql://…, clickhouse://…, ipfix://…, flows.duckdb.",
        ),
    ] = None,
    label: Label = None,
    label_split: LabelSplit = None,
    label_strict: LabelStrict = False,
    rules: Annotated[
        str | None,
        typer.Option(metavar="FILE.csv", help="Labels by packet filters, as pcapML's rules: BPF:<filter>,<label>."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Labels from a table (CSV, Parquet) of times, addresses, ports, …"),
    ] = None,
    truth_offset: Annotated[
        str | None, typer.Option(metavar="S|auto", help="How far the table's clock is behind the captures', s [0].")
    ] = None,
    reorder: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Put packets that come so late into order of time, e.g. 10ms [off]."),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="The inputs are one trace, ordered by their first packets.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads to read and meter with [the processors there are].")
    ] = None,
    strict: Strict = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="csv|parquet|arrow|jsonl|zeek", help="Format, where the output's extension does not say."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="spark", help="Have Apache Spark do it, on many machines [this process].")
    ] = None,
    master: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where Spark is, such as spark://host:7077 [its own settings, or local[*]]."),
    ] = None,
    partition_by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN,…", help="Folders of a data set (-o flows/), e.g. date,app: date is the UTC day."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run into a data set (-o flows/) that was stopped.")
    ] = False,
    quiet: Quiet = False,
    json_summary: JsonSummary = False,
) -> None:
    """Turn captures into flow records, one row per flow.

    The summary goes to standard output, or to standard error where that takes the records.
    """
    given = {
        "label": label,
        "label_split": label_split,
        "label_strict": label_strict or None,
        "rules": rules,
        "truth": truth,
        "truth_offset": truth_offset,
        "reorder": reorder,
        "join": join or None,
        "threads": threads,
        "strict": strict or None,
        "format": format,
        "partition_by": partition_by,
        "resume": resume or None,
    }
    target = _target(output)
    given |= options
    run = _engine(engine, master)
    stats = run(inputs, target, quiet, {name: value for name, value in given.items() if value is not None})
    end(stats, target, strict=strict, quiet=quiet, as_json=json_summary)


def _target(output: str | None) -> str:
    if output is not None:
        return output
    if _is_terminal(sys.stdout):
        raise ConfigError("say where the flows go: -o flows.csv, -o flows.parquet, or -o - for this terminal")
    return "-"


def _engine(name: str | None, master: str | None) -> Callable[..., RunStats]:
    """What extracts: this process, or Spark."""
    if name not in (None, "spark"):
        raise ConfigError(f"engine {name!r} is not spark; without --engine, this process does it")
    if name is None and master is not None:
        raise ConfigError("--master says where Spark is: give --engine spark too")
    return _run if name is None else functools.partial(_run_by_spark, master)


def _run_by_spark(master: str | None, inputs: list[str], output: str, quiet: bool, options: dict[str, Any]) -> RunStats:
    from flowgauge.spark.extract import extract as spark_extract

    return spark_extract(inputs, output, master=master, notify=_ignore if quiet else say, **options)


def _run(inputs: list[str], output: str, quiet: bool, options: dict[str, Any]) -> RunStats:
    from flowgauge.cli.progress import ProgressBar
    from flowgauge.cli.signals import StopSignal
    from flowgauge.run import extract as run_extract

    with StopSignal() as stop, ProgressBar() as bar:
        return run_extract(
            inputs,
            output,
            progress=bar.update if _is_terminal(sys.stderr) and not quiet else None,
            notify=_ignore if quiet else bar.say,
            should_stop=stop.is_set,
            **options,
        )


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _ignore(line: str) -> None:
    pass
