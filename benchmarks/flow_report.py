"""What a report of a million flows costs: seconds of its summary, and bytes of it as JSON.

    python benchmarks/flow_report.py [flows]

The flows are generated: default groups and names, splt; 24 apps with three actions, so that there are about as many
cells as can be.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import pyarrow as pa

from flow_tables import generated
from flowgauge.config import DEFAULT_FEATURES
from flowgauge.report.summary import Summary, summarise

FLOWS = 1_000_000


def measured(flows: int) -> tuple[float, float, Summary]:
    """Seconds, those of processors, and the summary, of so many generated flows."""
    table = generated(flows, features=(*DEFAULT_FEATURES, "splt", "names"))
    begin, used = time.perf_counter(), time.process_time()
    summary = summarise(table)
    return time.perf_counter() - begin, time.process_time() - used, summary


def sizes(summary: Summary) -> dict[str, int]:
    """Bytes of each part as JSON, column by column."""
    tables = {"cells": summary.cells, **summary.tables, "flows": summary.flows}
    tables |= {"separability": summary.separability, "balance": summary.balance}
    return {name: len(_json(table)) for name, table in tables.items()}


def _json(table: pa.Table) -> str:
    columns: dict[str, Any] = table.to_pydict()
    return json.dumps(columns, separators=(",", ":"))


def main() -> None:
    flows = int(sys.argv[1]) if len(sys.argv) > 1 else FLOWS
    seconds, used, summary = measured(flows)
    found = sizes(summary)
    print(f"{flows:,} flows in {summary.cells.num_rows} cells: summary in {seconds:.2f} s, {used:.2f} s of processors")
    print(f"{sum(found.values()):,} bytes of JSON, {sum(found.values()) - found['flows']:,} without the largest flows:")
    for name, size in sorted(found.items(), key=lambda item: -item[1]):
        print(f"  {name:14} {size:>9,}")


if __name__ == "__main__":
    main()
