"""Keeps the transparent proxy running: `python -m flowgauge.capture.gateway.supervisor FOLDER IDENTITY REDSOCKS`.

It ends when it is told to (SIGTERM), or by itself when the state file in FOLDER is no longer that of the gateway
IDENTITY: so nothing can be left running behind a `down`, whenever a crash came.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

ENDED = "redsocks ended with"
"""What the log says of each life of the proxy that is over."""

_LOOK_S = 0.2
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.2, 30.0
_HEALTHY_S = 60.0
_STOP_S = 3.0
_MOST_LOG_BYTES = 1_000_000
_FILES = 65_536  # two for each proxied connection


class Supervisor:
    """One proxy and its restarts, with ever longer pauses between those that do not help."""

    def __init__(self, folder: Path, identity: str, redsocks: str) -> None:
        self._state = folder / "gateway.json"
        self._log = folder / "gateway-redsocks.log"
        self._identity = identity
        self._command = [redsocks, "-c", str(folder / "gateway-redsocks.conf")]
        self._told = False
        self._known = 0
        self._ours = False

    def run(self) -> None:
        """Until told to end."""
        signal.signal(signal.SIGTERM, self._tell)
        delay = _FIRST_DELAY_S
        while self._wanted():
            started = time.monotonic()
            code = self._once()
            if not self._wanted():
                break
            delay = _FIRST_DELAY_S if time.monotonic() - started > _HEALTHY_S else min(2 * delay, _LONGEST_DELAY_S)
            say(f"{ENDED} {code}; it starts again in {delay:.1f} s")
            self._pause(delay)

    def _once(self) -> int:
        """One life of the proxy."""
        child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        while self._wanted():
            try:
                return child.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                self._shorten_log()
        child.terminate()
        try:
            return child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._wanted() and time.monotonic() < end:
            time.sleep(_LOOK_S)

    def _wanted(self) -> bool:
        return not self._told and self._is_ours()

    def _is_ours(self) -> bool:
        """Whether the state file is there and of this gateway; it is replaced as a whole, so that a new one shows."""
        try:
            inode = self._state.stat().st_ino
            if inode != self._known:
                self._ours = json.loads(self._state.read_text("utf-8"))["identity"] == self._identity
                self._known = inode
            return self._ours
        except (OSError, ValueError, KeyError):
            return False

    def _shorten_log(self) -> None:
        """A proxy that complains of every connection must not fill the memory in which /run lives."""
        if self._log.exists() and self._log.stat().st_size > _MOST_LOG_BYTES:
            os.truncate(self._log, 0)
            say("the log had grown long and starts anew")

    def _tell(self, number: int, frame: FrameType | None) -> None:
        self._told = True


def say(line: str) -> None:
    """A line of the log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), f"flowgauge: {line}", file=sys.stderr, flush=True)


def allow_many_connections() -> None:
    """As many open files as the system lets root have; redsocks counts its connections by them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """Entry point of the process that `up` leaves behind."""
    folder, identity, redsocks = sys.argv[1:]
    allow_many_connections()
    Supervisor(Path(folder), identity, redsocks).run()


if __name__ == "__main__":
    main()
