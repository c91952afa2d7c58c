"""Runs in processes of their own that can be killed at any moment: forked from one that has all kernels loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_FORKER = """
import json, os, sys
import flowgauge.run
from flowgauge import fragments

flowgauge.run._MOST_TOGETHER = {together}

def run(options):
    fragments.SEED[:] = list(map(int, os.urandom(len(fragments.SEED))))  # a process of its own has its own
    flowgauge.run.extract(**options)

run(json.loads(sys.stdin.readline()))  # loads the kernels
print(0, flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        status = 1
        try:
            run(json.loads(line))
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    print(child, flush=True)
    sys.stdin.readline()  # until then its number is its own
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Forker:
    """Starts runs of `flowgauge.extract`, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, options: dict[str, Any], seconds: float | None = None) -> bool:
        """Run to the end, or kill the run after so many seconds; whether it came to its end. A run may not fail."""
        child = self._ask(json.dumps({"warm": False, "threads": 1, **options}))
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        status = self._ask("wait")
        assert status in (0, signal.SIGKILL), f"the run has failed ({status})"
        return status == 0

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def forker(together: int, first: dict[str, Any]) -> Iterator[Forker]:
    """A forker of runs whose chunks are so many captures, which has done a `first` one."""
    program = [sys.executable, "-c", _FORKER.format(together=together)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            runs = Forker(process)
            runs._ask(json.dumps({"threads": 1, **first}))
            yield runs
        finally:
            process.kill()
