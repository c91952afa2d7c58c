"""tcpdump or dumpcap as a child that writes what it captures to a pipe.

It is started before privileges are given up, and waits until it is let go: frames that came while kernels are compiled
would fill the pipe. A shell stands between, with the child's privileges: who was root to start it and no longer is
could not end it otherwise. The shell ends it also when this process is killed.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import IO, NamedTuple

from flowgauge.errors import ConfigError, MissingDependency

# Reads a line, starts the program, and ends it at the next line or at the end of its input.
_GATE = 'read -r _ || exit 0; "$@" & child=$!; exec >&-; read -r _; kill -TERM $child 2>/dev/null; wait $child'
_TCPDUMP_LOST = re.compile(r"(\d+) packets? dropped by (?:kernel|interface)")
_DUMPCAP_LOST = re.compile(r"received/dropped on interface .*: \d+/(\d+)")
_USUAL = re.compile(
    r"listening on|dropped privs|packets? (captured|received|dropped)|^Capturing on|^File: |^Packets|data link type|^$"
)
_END_SECONDS = 2.0
LARGEST_SNAPLEN = 262_144


class Wanted(NamedTuple):
    """What to capture: None is the program's own choice; `memory` is that for frames that wait, in bytes."""

    interface: str
    expression: str | None = None
    snaplen: int | None = None
    promiscuous: bool = False
    memory: int | None = None

    def check(self) -> None:
        """Raise ConfigError for what cannot be captured."""
        if self.snaplen is not None and not 0 < self.snaplen <= LARGEST_SNAPLEN:
            raise ConfigError(f"snaplen is a number of bytes from 1 to {LARGEST_SNAPLEN}, not {self.snaplen}")
        if self.memory is not None and self.memory > (most := _half_of_memory()):
            raise ConfigError(f"ring is a size up to half of this machine's memory, {most // 10**6}M")
        if self.promiscuous and self.interface == "any":
            raise ConfigError("promiscuous is for one interface, not for any")


def _half_of_memory() -> int:
    """Bytes; the system gives more to a ring than is good for the rest, and cannot swap it out."""
    import psutil

    return int(psutil.virtual_memory().total // 2)


class Program:
    """The child. `pipe` is what it writes, from :meth:`go` on. Raises MissingDependency where there is neither."""

    def __init__(self, wanted: Wanted) -> None:
        self.name, command = _command(wanted)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the child)
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", _GATE, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for this process, which ends the child when it is done
        )
        assert self._child.stdin is not None and self._child.stdout is not None
        self._gate, self.pipe = self._child.stdin, self._child.stdout
        self._said = ""

    def go(self) -> None:
        """Let it begin."""
        with contextlib.suppress(BrokenPipeError):
            self._gate.write(b"\n")
            self._gate.flush()

    def finish(self) -> None:
        """Let it end: the pipe ends behind what it still writes."""
        with contextlib.suppress(BrokenPipeError):
            self._gate.close()

    @property
    def lost(self) -> int:
        """Frames that it counted as lost, which it says when it ends."""
        return sum(int(count) for pattern in (_TCPDUMP_LOST, _DUMPCAP_LOST) for count in pattern.findall(self._said))

    @property
    def complaint(self) -> str:
        """What it said beside its usual lines, when it has ended."""
        lines = [line.strip() for line in self._said.splitlines() if not _USUAL.search(line.strip())]
        return "; ".join(lines) or f"{self.name} has ended"

    def close(self) -> None:
        """End it, and read what it said."""
        self.finish()
        self.pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_END_SECONDS)
        if not self._errors.closed:
            self._errors.seek(0)
            self._said = self._errors.read().decode("utf-8", "replace")
            self._errors.close()


def _command(wanted: Wanted) -> tuple[str, list[str]]:
    """Name and command line of the program that is there."""
    for name, arguments in (("tcpdump", _tcpdump), ("dumpcap", _dumpcap)):
        if path := shutil.which(name):
            return name, [path, *arguments(wanted)]
    raise MissingDependency("neither tcpdump nor dumpcap is installed: apt-get install tcpdump, or dnf install tcpdump")


def _tcpdump(wanted: Wanted) -> list[str]:
    # macOS times frames in microseconds, and refuses to be asked for more.
    precise = ["--time-stamp-precision=nano"] if sys.platform == "linux" else []
    memory = [] if wanted.memory is None else ["-B", str(max(1, wanted.memory >> 10))]
    expression = [] if wanted.expression is None else ["--", wanted.expression]
    return [*_common(wanted), "-n", "-U", "--immediate-mode", *precise, *memory, *expression]


def _dumpcap(wanted: Wanted) -> list[str]:
    memory = [] if wanted.memory is None else ["-B", str(max(1, wanted.memory >> 20))]
    expression = [] if wanted.expression is None else ["-f", wanted.expression]
    return [*_common(wanted), "-q", "-P", *memory, *expression]


def _common(wanted: Wanted) -> list[str]:
    """Both take these by the same letters."""
    cut = [] if wanted.snaplen is None else ["-s", str(wanted.snaplen)]
    return ["-i", wanted.interface, "-w", "-", *cut, *([] if wanted.promiscuous else ["-p"])]
