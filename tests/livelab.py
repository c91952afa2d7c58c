"""Two hosts on a wire, and `flowgauge live` on one of them: network namespaces with real senders."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netlab import Host, require, until

HERE, THERE = "10.9.0.1", "10.9.0.2"
HERE6, THERE6 = "fd00:9::1", "fd00:9::2"
SEND = """
import socket, sys, time
address, port, count, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as sender:
    for number in range(count):
        sender.sendto(b"%06d" % number * 10, (address, port))
        time.sleep(pause)
"""

PING = """
import socket, struct, sys, time
address, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family, protocol, kind = (socket.AF_INET6, 58, 128) if ":" in address else (socket.AF_INET, 1, 8)
with socket.socket(family, socket.SOCK_RAW, protocol) as sender:
    for number in range(count):
        echo = struct.pack("!BBHHH", kind, 0, 0, 77, number) + bytes(size)
        words = struct.unpack(f"!{len(echo) // 2}H", echo)
        total = sum(words)
        check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        sender.sendto(echo[:2] + struct.pack("!H", check) + echo[4:], (address, 0))
        time.sleep(0.1)
"""

# Frames of a little-endian pcap file, or tagged ones, as they are.
REPLAY = """
import socket, struct, sys, time
data, at = open(sys.argv[1], "rb").read(), 24
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.bind(("w0", 0))
    while at < len(data):
        captured, = struct.unpack_from("<I", data, at + 8)
        if captured <= 1514:
            sender.send(data[at + 16 : at + 16 + captured])
        at += 16 + captured
        time.sleep(0.0005)
"""


class LiveRun:
    """A running `flowgauge live`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def said(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal, and the exit code."""
        self.send(number)
        return self.process.wait(seconds)


class Wire:
    """Hosts `here` and `there` at a switch, by their interfaces w0; what flowgauge writes is in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs: list[LiveRun] = []
        self.switch, self.here, self.there = (Host(role, folder) for role in ("s", "h", "t"))
        self.switch.sh("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.switch.sh("ip", "link", "set", "br0", "up")
        self.connect()
        self.there.plug("w0", self.switch, f"{THERE}/24", f"{THERE6}/64")

    def connect(self) -> None:
        """Plug in this host."""
        self.here.plug("w0", self.switch, f"{HERE}/24", f"{HERE6}/64")

    def live(self, *arguments: str, interface: str = "w0", output: Any = None) -> LiveRun:
        """Start `flowgauge live` here, and return when it meters."""
        log = self.folder / f"live{len(self._runs)}.log"
        command = ["ip", "netns", "exec", self.here.name, sys.executable, "-m", "flowgauge", "live"]
        with open(log, "wb") as errors:
            process = subprocess.Popen(
                [*command, "-i", interface, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output or subprocess.DEVNULL,
                stderr=errors,
            )
        run = LiveRun(process, log)
        self._runs.append(run)
        until(lambda: "metering" in run.said or process.poll() is not None, "metering", 300)
        assert process.poll() is None, run.said
        time.sleep(0.4)  # the ring, or the child, opens behind that line
        return run

    def refused(self, *arguments: str, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
        """`flowgauge live` here, which has to end by itself: its exit code and what it says."""
        done = self.here.run(*prefix, sys.executable, "-m", "flowgauge", "live", *arguments)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def send(self, port: int, count: int = 5, *, address: str = THERE, pause: float = 0.0, host: Any = None) -> None:
        """UDP datagrams from here."""
        (host or self.here).sh(sys.executable, "-c", SEND, address, str(port), str(count), str(pause))

    def ping(self, address: str, count: int = 2, size: int = 56) -> None:
        """Echo requests from here, which the other host answers."""
        self.here.sh(sys.executable, "-c", PING, address, str(count), str(size))

    def replay(self, path: Path) -> None:
        """The frames of a capture, sent from there."""
        self.there.sh(sys.executable, "-c", REPLAY, str(path))

    def close(self) -> None:
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.wait()
        for host in (self.here, self.there, self.switch):
            host.remove()


@contextlib.contextmanager
def wire(folder: Path) -> Iterator[Wire]:
    """A wire for a `with`."""
    require()
    built = Wire(folder)
    try:
        yield built
    finally:
        built.close()


def events(folder: Path) -> list[dict[str, Any]]:
    """The manifest of a folder."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def records(folder: Path) -> list[dict[str, Any]]:
    """The rows of all files of the manifest of a folder, JSON Lines or Parquet."""
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    for event in events(folder):
        if event["event"] == "file":
            path = folder / event["file"]
            rows = (
                pq.read_table(path).to_pylist()
                if path.suffix == ".parquet"
                else [json.loads(line) for line in path.read_text().splitlines()]
            )
            assert len(rows) == event["rows"]
            found += rows
    return found
