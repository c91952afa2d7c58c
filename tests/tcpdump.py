"""tcpdump, for tests that compare what a filter selects."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest

from flowgauge.sources import libpcap

needs_libpcap = pytest.mark.skipif(not libpcap.is_installed(), reason="no libpcap (apt-get install libpcap0.8)")
needs_tcpdump = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="no tcpdump (apt-get install tcpdump)")

Packet = tuple[int, bytes, int]
"""Time in ns, captured bytes, bytes on the wire."""


class RefusedError(Exception):
    """tcpdump does not take the expression, or the capture; the message is its last line."""


def select(capture: bytes, *expression: str) -> list[Packet]:
    """The packets of a capture that an expression selects, in order. Raises RefusedError."""
    command = ["tcpdump", "--time-stamp-precision=nano", "-n", "-r", "-", "-w", "-", "--", *expression]
    done = subprocess.run(command, input=capture, capture_output=True, timeout=60)
    if done.returncode:
        raise RefusedError(done.stderr.decode().strip().splitlines()[-1].removeprefix("tcpdump: "))
    return _records(done.stdout)


def _records(data: bytes) -> list[Packet]:
    found, at = [], 24
    while at < len(data):
        seconds, nanoseconds, captured, length = struct.unpack_from("=4I", data, at)
        found.append((seconds * 1_000_000_000 + nanoseconds, data[at + 16 : at + 16 + captured], length))
        at += 16 + captured
    return found
