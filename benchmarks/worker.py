"""What can only be timed from inside the package; one task a process, the answer as one JSON line.

``python benchmarks/worker.py profile|sinks|slot capture.pcap RUNS``. Each task runs once
unmeasured first, so that kernels are loaded and the capture is in memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORMATS = ("parquet", "csv", "arrow", "jsonl")


def _seconds(action: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def profile(trace: str, runs: int) -> dict[str, Any]:
    """Seconds of every stage from file to Arrow, run by run, and of what lies between them; flows and records found."""
    from flowgauge.run import profile

    found = profile(trace)
    stages = []
    for _ in range(runs):
        seconds = dict(profile(trace))
        total = seconds.pop("total")
        del seconds["packets"], seconds["flows"], seconds["rows"]
        stages.append({**seconds, "other": max(0.0, total - sum(seconds.values()))})
    return {"flows": found["flows"], "rows": found["rows"], "runs": stages}


def sinks(trace: str, runs: int) -> dict[str, Any]:
    """Seconds to write the table of the capture's flows in each format."""
    import flowgauge

    table = flowgauge.read(trace)
    answer: dict[str, Any] = {"rows": table.num_rows, "columns": table.num_columns, "bytes": {}, "seconds": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            output = Path(folder) / f"flows.{name}"
            flowgauge.write(table, str(output))
            answer["seconds"][name] = [_seconds(lambda: flowgauge.write(table, str(output))) for _ in range(runs)]  # noqa: B023
            answer["bytes"][name] = output.stat().st_size
    return answer


def slot(trace: str, runs: int) -> dict[str, Any]:
    """Bytes of state that a flow takes with the default features, in the table as the capture left it."""
    from flowgauge.run import Hooks, Run

    run = Run(trace, Hooks(), threads=1)
    for _ in run.batches():
        pass
    return {"bytes_per_slot": run.meter.table.bytes_per_slot}


TASKS = {task.__name__: task for task in (profile, sinks, slot)}


def main(task: str, trace: str, runs: str) -> None:
    print(json.dumps(TASKS[task](trace, int(runs))))


if __name__ == "__main__":
    main(*sys.argv[1:])
