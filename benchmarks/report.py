"""The benchmark's numbers as tables: ``python benchmarks/report.py [results.json]`` prints them again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Results = dict[str, Any]
Rows = Iterable[tuple[str, ...]]
TOO_SHORT = "too short"  # the capture took no longer than starts of the process differ

# Below this share of its core a process was waiting for others (writing files takes a little).
LEAST_CORE_SHARE = 0.9


def _spread(time: dict[str, Any]) -> str:
    """Median (smallest–largest) seconds."""
    return f"{time['median']:.3f} ({time['smallest']:.3f}–{time['largest']:.3f})"


def _millions(rate: float | None) -> str:
    return f"{rate / 1e6:.2f} M" if rate else TOO_SHORT


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def _times(ratio: dict[str, Any] | None) -> str:
    """Median (smallest–largest) of a ratio."""
    if ratio is None:
        return TOO_SHORT
    return f"{ratio['median']:.1f}× ({ratio['smallest']:.1f}–{ratio['largest']:.1f})"


def _table(title: str, headers: tuple[str, ...], rows: Rows) -> Table:
    table = Table(title=title, title_justify="left")
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def fixed(results: Results) -> list[Table]:
    values = results["fixed"]
    rows = (
        ("extract of one packet", _spread(values["extract_one_packet_s"])),
        ("--help", _spread(values["help_s"])),
        ("first run ever", f"{values['first_run_s']:.1f} ({values['first_run_cpu_s']:.1f} of processor time)"),
        ("… of which compiling", f"{values['compile_s']:.1f}"),
    )
    return [_table("Fixed cost", ("process", "seconds"), rows)]


def rates(results: Results) -> list[Table]:
    rows = [
        (
            f"{trace}, {values['packets']:,} packets",
            kind,
            _millions(rate["packets_per_s"]),
            _megabytes(rate["bytes_per_s"]) + "/s" if rate["bytes_per_s"] else TOO_SHORT,
            _spread(rate["seconds"]),
        )
        for trace, values in results["rates"].items()
        for kind, rate in values["rates"].items()
    ]
    table = _table("Rates", ("trace", "to", "packets/s", "bytes/s", "seconds"), rows)
    return [table, *(stages(results, trace) for trace in results["rates"])]


def stages(results: Results, trace: str) -> Table:
    found = results["rates"][trace]["flows"]
    rows = [
        (name, f"{stage['ns_per_packet']:.1f}", f"{stage['share']:.0%}", _spread(stage["seconds"]))
        for name, stage in results["rates"][trace]["stages"].items()
    ]
    return _table(f"Stages, {trace}: {found:,} flows", ("stage", "ns/packet", "share", "seconds"), rows)


def flows_out(results: Results) -> list[Table]:
    values = results["flows_out"]
    rows = [
        (
            name,
            f"{sink['rows_per_s']:,.0f}",
            f"{sink['rows_per_s_with_finalize']:,.0f}",
            f"{sink['bytes_per_row']:.0f}",
            _spread(sink["seconds"]),
        )
        for name, sink in values["sinks"].items()
    ]
    title = f"Flows out, {values['rows']:,} records of {values['columns']} columns"
    return [_table(title, ("sink", "flows/s", "with finalize", "bytes/flow", "seconds"), rows)]


def memory(results: Results) -> list[Table]:
    values = results["memory"]
    rows = (
        ("packets", f"{values['packets']:,}"),
        ("flows", f"{values['flows']:,}"),
        ("state of a flow", f"{values['bytes_per_slot']:,.0f} bytes"),
        ("peak", _megabytes(values["peak_bytes"])),
        ("peak with one packet", _megabytes(values["peak_bytes_one_packet"])),
        ("difference a flow", f"{values['peak_bytes_per_flow']:,.0f} bytes"),
        ("time", f"{values['seconds']:.1f} s"),
    )
    return [_table("Memory, all flows open at once", ("what", "value"), rows)]


def peers(results: Results) -> list[Table]:
    rows, times = [], []
    for name, peer in results["peers"].items():
        if "missing" in peer:
            rows.append((name, peer["missing"].splitlines()[0], "", "", ""))
            continue
        label = f"{name} {peer['version']}"
        rate, packets, cores = f"{peer['packets_per_s']:,.0f}", f"{peer['packets']:,}", f"{peer['cores_used']:.2f}"
        rows.append((label, rate, packets, cores, _spread(peer["seconds"])))
        times.append((label, *map(_times, peer["ratios"].values())))
    headers = ("meter", "packets/s", "packets", "cores", "seconds")
    tables = [_table("Other meters on the mix, less their own start", headers, rows)]
    if times:
        kinds = next(peer["ratios"] for peer in results["peers"].values() if "ratios" in peer)
        title = "How many times as fast flowgauge was in the same minute, by what it makes of the packets"
        tables.append(_table(title, ("meter", *(f"to {kind}" for kind in kinds)), times))
    return tables


SECTIONS = (("fixed", fixed), ("rates", rates), ("flows_out", flows_out), ("memory", memory), ("peers", peers))


def print_results(results: Results) -> None:
    """Print every section that was measured."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    host = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in host["packages"].items() if version)
    console.print(f"{host['cpu']}, one of {host['cores']} cores, Python {host['python']}, {versions}", highlight=False)
    for name, tables in SECTIONS:
        if name in results:
            console.print(*tables(results), sep="\n\n")
    if results.get("core_share", 1.0) < LEAST_CORE_SHARE:
        console.print(f"The core was shared: flowgauge had {results['core_share']:.0%} of it. Its numbers are too low.")


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent / "results.json"
    print_results(json.loads(Path(chosen).read_text()))
