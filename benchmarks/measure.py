"""Timed child processes on one core.

Every measurement of the benchmark is a process of its own: it starts from the same state, can be
stopped when it takes too long, and its peak memory is its own. (Linux counts the memory of the
process that starts another into the peak of the one started: this module imports nothing large.)
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",  # Arrow's pool too
    "ARROW_IO_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


class RunError(Exception):
    """A measured process failed; the message holds the end of what it said."""


class TimeLimitError(RunError):
    """A measured process was stopped at its time limit."""


class Run(NamedTuple):
    """One process: wall-clock seconds, seconds of all its cores, peak bytes (0: unknown), output."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some runs."""

    median: float
    smallest: float
    largest: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


def environment(cache: str | None = None) -> dict[str, str]:
    """The environment of measured processes: one thread, bytecode written, a kernel cache of choice."""
    variables = {**os.environ, **ONE_THREAD}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    if cache is not None:
        variables["FLOWGAUGE_CACHE_DIR"] = cache
    return variables


@contextlib.contextmanager
def one_core() -> Iterator[set[int]]:
    """Keep this process and those it starts on one core, where the system can; yields all cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield set(range(os.cpu_count() or 1))
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def all_cores(cores: set[int]) -> Iterator[None]:
    """Give the processes started inside all of `cores` again."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _wait(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Wait for a process; (CPU seconds, peak bytes) of it and of those it waited for."""
    if not hasattr(os, "wait4"):
        process.wait()
        return 0.0, 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * RSS_UNIT


def _stop(process: subprocess.Popen[bytes], out_of_time: threading.Event) -> None:
    """Stop a process and those that it started, and say so."""
    out_of_time.set()
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def run(command: Sequence[str], limit_s: float, variables: dict[str, str]) -> Run:
    """Run a command to its end. Raises RunError, or TimeLimitError after `limit_s` seconds."""
    out_of_time = threading.Event()
    with tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, start_new_session=True
        )
        timer = threading.Timer(limit_s, _stop, (process, out_of_time))
        timer.start()
        cpu_seconds, peak_bytes = _wait(process)
        seconds = time.perf_counter() - begin
        timer.cancel()
        output.seek(0)
        text = output.read().decode(errors="replace")
    if out_of_time.is_set():
        raise TimeLimitError(f"{command[0]}: stopped after {limit_s:g} s")
    if process.returncode != 0:
        raise RunError(f"{' '.join(command)}: exit code {process.returncode}\n{text[-2000:]}")
    return Run(seconds, cpu_seconds, peak_bytes, text)


def worker(task: str, trace: str, runs: int, variables: dict[str, str], limit_s: float = 600) -> Any:
    """The answer of a task of worker.py, which times the package from inside."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
    answer = run([sys.executable, script, task, trace, str(runs)], limit_s, variables).output
    return json.loads(answer.splitlines()[-1])
