"""How a command that reads captures and writes a table ends: what it says, and its exit code."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

from flowgauge.cli.group import DONE, INPUT_FAILED, INTERRUPTED, say

if TYPE_CHECKING:
    from flowgauge.stats import RunStats

_DONE = {"records": "metered", "packets": "written"}


def end(
    stats: RunStats,
    output: str,
    *,
    strict: bool,
    quiet: bool,
    as_json: bool,
    rows_of: str = "records",
    left_out: tuple[str, ...] = (),
) -> NoReturn:
    """Print lines about files and the summary, and exit; as JSON, one object without the counts `left_out` holds all.

    The summary goes to standard output, or to standard error where that takes the rows.
    """
    _report(stats, sys.stderr if output == "-" else sys.stdout, quiet, as_json, rows_of, left_out)
    failed = stats.failed or (strict and stats.damaged)
    raise typer.Exit(INTERRUPTED if stats.interrupted else INPUT_FAILED if failed else DONE)


def _report(
    stats: RunStats, stream: TextIO, quiet: bool, as_json: bool, rows_of: str, left_out: tuple[str, ...]
) -> None:
    if as_json:
        from flowgauge import __version__

        counts = {name: value for name, value in stats.as_dict().items() if name not in left_out}
        print(json.dumps({"version": __version__, **counts}), file=stream)
        return
    from flowgauge.cli.summary import failures, notes, summary

    for line in failures(stats, _DONE[rows_of]):
        say(line)
    if quiet:
        return
    for line in notes(stats):
        say(line)
    print(summary(stats, rows_of), file=stream)
