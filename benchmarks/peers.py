"""Other meters, found at run time: Python packages of this interpreter, tools on PATH."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
Command = Callable[[Path, Path], list[str]]


class Peer(NamedTuple):
    """Another meter: `command` takes the trace and an empty folder for what it writes."""

    name: str
    does: str
    command: Command
    version: Callable[[], str | None]  # None: not installed
    every_core: bool = False


def _package(name: str) -> str | None:
    return importlib.metadata.version(name) if importlib.util.find_spec(name) else None


def _tool(name: str, flag: str) -> str | None:
    """Version of a tool on PATH, as it says itself."""
    if shutil.which(name) is None:
        return None
    said = subprocess.run([name, flag], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"[Vv]ersion:?\s+(\d[\w.]*\w)", said.stdout + said.stderr)
    return found.group(1) if found else "unknown"


def _script(name: str, *arguments: str) -> Command:
    """A script of this folder; its last arguments are the trace and the CSV to write."""
    return lambda trace, folder: [sys.executable, str(HERE / name), *arguments, str(trace), str(folder / "flows.csv")]


def _softflowd(trace: Path, folder: Path) -> list[str]:
    limits = ["-m", "10000000", "-6"]  # as many flows as there are, IPv6 too; no collector to send to
    return ["softflowd", "-r", str(trace), "-d", *limits, "-p", str(folder / "pid"), "-c", "none"]


def _nfpcapd(trace: Path, folder: Path) -> list[str]:
    return ["nfpcapd", "-r", str(trace), "-w", str(folder), "-e", "1800,120"]


PEERS = (
    Peer(
        "nfstream",
        "statistics, no packet inspection, CSV; one meter, one core",
        _script("nfstream_run.py", "1"),
        lambda: _package("nfstream"),
    ),
    Peer(
        "nfstream (all cores)",
        "the same with as many meters as it chooses, every core",
        _script("nfstream_run.py", "0"),
        lambda: _package("nfstream"),
        every_core=True,
    ),
    Peer("dpkt", "a plain loop (dpkt_loop.py), CSV", _script("dpkt_loop.py"), lambda: _package("dpkt")),
    Peer(
        "softflowd", "packets, bytes, times of a flow; output discarded", _softflowd, lambda: _tool("softflowd", "-h")
    ),
    Peer("nfpcapd", "packets, bytes, times, flags of a flow; nfdump file", _nfpcapd, lambda: _tool("nfpcapd", "-V")),
)
