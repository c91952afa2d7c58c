"""Quotes the benchmark in the README: ``python benchmarks/readme_table.py [results.json]`` after ``make bench``.

The tables stand between two markers; nothing else of the page changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
Results = dict[str, Any]


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _millions(rate: float | None) -> str:
    return f"{rate / 1e6:.2f} million" if rate else "too short"


def rates(results: Results) -> str:
    """Packets a second by capture and by what is made of them."""
    traces = results["rates"]
    kinds = list(next(iter(traces.values()))["rates"])
    rows = [
        (
            f"{name}, {trace['packets']:,} packets, {trace['flows']:,} flows",
            *(_millions(trace["rates"][kind]["packets_per_s"]) for kind in kinds),
        )
        for name, trace in traces.items()
    ]
    return table(("packets/s", *(f"to {kind}" for kind in kinds)), rows)


def peers(results: Results) -> str:
    """How many times as fast flowgauge is as each meter that was measured."""
    measured = {name: peer for name, peer in results.get("peers", {}).items() if "ratios" in peer}
    kinds = list(next(iter(measured.values()))["ratios"]) if measured else []
    rows = []
    for name, peer in measured.items():
        cells = (f"{ratio['median']:.1f}" if (ratio := peer["ratios"][kind]) else "too short" for kind in kinds)
        rows.append((f"{name} {peer['version']}", *cells))
    return table(("times as fast as", *(f"to {kind}" for kind in kinds)), rows) if rows else ""


def notes(results: Results) -> str:
    """What was measured, on what, and the costs that do not depend on the capture."""
    host, fixed = results["machine"], results["fixed"]
    one, first = fixed["extract_one_packet_s"]["median"], fixed["compile_s"]
    return (
        f"One core of {host['cpu']}, Python {host['python']}.\n"
        f"A capture of one packet takes {one:.2f} s, compiling on the first run ever {first:.0f} s;\n"
        f"the state of an open flow takes {results['memory']['bytes_per_slot']:.0f} bytes.\n"
        "Virtual machines differ by a factor of two from day to day: ratios to other meters, taken in the same\n"
        "minute, say more than rates."
    )


def write(results: Path, readme: Path) -> None:
    """Put the tables into the README. Raises ValueError where it has no markers."""
    measured = json.loads(results.read_text("utf-8"))
    text = readme.read_text("utf-8")
    begin, end = text.index(BEGIN), text.index(END)
    parts = [part for part in (notes(measured), rates(measured), peers(measured)) if part]
    body = "\n\n".join(parts)
    readme.write_text(f"{text[:begin]}{BEGIN}\n{body}\n{text[end:]}", "utf-8")


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results.json"
    write(chosen, HERE.parent / "README.md")
