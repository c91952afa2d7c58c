"""How fast an interface is metered, in network namespaces made for it: ``sudo python benchmarks/live.py``.

- `rate`: packets of 128 bytes over a veth pair as fast as the sender can, up to `--pps`, for `--seconds`, metered
  with default features on one core: packets sent, metered and lost; then NFStream in the same set-up.
- `idle`: the processor time of metering 10,000 packets a second.
- `soak`: memory while flows come and go at `--pps`, for `--seconds`.

The sender is trafgen, without the queue of the interface (netsniff-ng), for `rate`, and tcpreplay for the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PAYLOAD = 86  # bytes, so that a frame has 128
SETTLE_S = 2.0
NFSTREAM = """
import sys
from nfstream import NFStreamer
packets = 0
options = dict(n_dissections=0, statistical_analysis=True, idle_timeout=1, n_meters=1)
for number, flow in enumerate(NFStreamer(source=sys.argv[1], **options)):
    packets += flow.bidirectional_packets
    if number % 100 == 0:
        print(packets, flush=True)
"""


def sh(*command: str) -> str:
    """Run a command to its end."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces with a veth pair between them: `va` in the first, `vb` in the second."""
    names = tuple(f"fgbench{os.getpid()}{end}" for end in "ab")
    try:
        for name in names:
            sh("ip", "netns", "add", name)
            sh("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            sh("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        sh("ip", "link", "add", "va", "netns", names[0], "type", "veth", "peer", "name", "vb", "netns", names[1])
        for name, end in zip(names, ("va", "vb"), strict=True):
            sh("ip", "-n", name, "link", "set", end, "up")
        yield names  # type: ignore[misc]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def within(name: str, *command: str) -> list[str]:
    """The command in a namespace."""
    return ["ip", "netns", "exec", name, *command]


def write_trace(path: Path, packets: int, flows: int) -> None:
    """A capture of UDP packets of 128 bytes on that many flows, in both directions."""
    choose, macs = random.Random(1), bytes.fromhex("020000000002020000000001") + b"\x08\x00"
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for _ in range(packets):
            flow, back = choose.randrange(flows), choose.random() < 0.5
            ends = [(bytes((10, flow >> 16, flow >> 8 & 255, flow & 255)), 40000), (bytes((172, 16, 0, 1)), 443)]
            (source, port), (target, to) = reversed(ends) if back else ends
            datagram = struct.pack(">HHHH", port, to, 8 + PAYLOAD, 0) + bytes(PAYLOAD)
            header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0) + source + target
            frame = macs + header + datagram
            file.write(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)


TRAFGEN = """{ 0x02,0,0,0,0,2, 0x02,0,0,0,0,1, 0x08,0x00, 0x45,0,0,114, 0,0,0,0,64,17, csumip(14,33),
 10,0,drnd(1),drnd(1), 172,16,0,1, 0x9c,0x40, 1,187, 0,94, 0,0, fill(0x41,86) }
"""


class Meter:
    """`flowgauge live` in a namespace, on one core."""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.folder = folder
        command = ["taskset", "-c", str(max(os.sched_getaffinity(0))), sys.executable, "-m", "flowgauge", "live"]
        self.process = subprocess.Popen(
            within(name, *command, "-i", "vb", "-o", str(folder), "--quiet", *options), stderr=subprocess.PIPE
        )
        manifest = folder / "manifest.jsonl"
        while not (manifest.exists() and "start" in manifest.read_text()):
            if self.process.poll() is not None:
                raise SystemExit(self.process.communicate()[1].decode())
            time.sleep(0.1)

    def usage(self) -> tuple[float, float]:
        """Processor seconds, and megabytes of memory in use."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return (int(fields[11]) + int(fields[12])) / ticks, pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> dict[str, int]:
        """What it counted."""
        time.sleep(SETTLE_S)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return dict(json.loads((self.folder / "manifest.jsonl").read_text().splitlines()[-1]))


def received(name: str) -> int:
    """Packets that the interface has received."""
    return int(json.loads(sh(*within(name, "ip", "-j", "-s", "link", "show", "vb")))[0]["stats64"]["rx"]["packets"])


def send_fast(name: str, pps: int, seconds: float, folder: Path) -> float:
    """Packets as fast as can be, up to `pps`; the seconds that it took."""
    config = folder / "trafgen.cfg"
    config.write_text(TRAFGEN)
    gap = ["--rate", f"{pps}pps"] if pps else []
    command = ["trafgen", "--dev", "va", "--conf", str(config), "--cpus", "1", "-q", *gap]
    begin = time.perf_counter()
    with subprocess.Popen(
        within(name, "taskset", "-c", str(min(os.sched_getaffinity(0))), *command),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as sender:
        time.sleep(seconds)
        os.killpg(sender.pid, signal.SIGINT)  # it has a process for each core
    return time.perf_counter() - begin


def rate(args: argparse.Namespace) -> None:
    """Sent, metered and lost."""
    for run in range(args.runs):
        with namespaces() as (outside, inside), tempfile.TemporaryDirectory() as folder:
            meter = Meter(inside, Path(folder) / "flows", "--ring", args.ring)
            seconds = send_fast(outside, args.pps, args.seconds, Path(folder))
            found, there = meter.stop(), received(inside)
            print(
                f"run {run + 1}: {there / seconds:,.0f} packets/s for {seconds:.0f} s: {there:,} sent, "
                f"{found['packets']:,} metered, {found['lost']:,} lost",
                flush=True,
            )
    with namespaces() as (outside, inside), tempfile.TemporaryDirectory() as folder:
        command = within(inside, sys.executable, "-c", NFSTREAM, "vb")
        peer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        time.sleep(10)
        seconds = send_fast(outside, args.pps, min(args.seconds, 20), Path(folder))
        sent = received(inside)
        send_fast(outside, 1000, 20, Path(folder))  # flows end when others go on
        os.killpg(peer.pid, signal.SIGKILL)  # and its children
        lines = (peer.stdout.read() if peer.stdout else "").split()
        found = int(lines[-1]) if lines else 0
        print(f"NFStream: {sent / seconds:,.0f} packets/s for {seconds:.0f} s: {sent:,} sent, {found:,} in its flows")


def replay(name: str, trace: Path, pps: int, seconds: float) -> subprocess.Popen[bytes]:
    """Send a capture again and again, each time between other addresses."""
    loops = max(1, round(pps * seconds / packets_of(trace)))
    options = ["--preload-pcap", "--pps-multi=100", "-i", "va", f"--pps={pps}", f"--loop={loops}", "--unique-ip"]
    return subprocess.Popen(
        within(name, "tcpreplay", *options, str(trace)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def packets_of(trace: Path) -> int:
    return (trace.stat().st_size - 24) // (16 + 14 + 28 + PAYLOAD)


def idle(args: argparse.Namespace) -> None:
    """Share of a core at 10,000 packets/s."""
    with namespaces() as (outside, inside), tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.pcap"
        write_trace(trace, 50_000, 1_000)
        meter = Meter(inside, Path(folder) / "flows")
        with replay(outside, trace, 10_000, args.seconds + 5) as sender:
            time.sleep(2)
            (before, _), begin = meter.usage(), time.perf_counter()
            time.sleep(args.seconds)
            (after, _), took = meter.usage(), time.perf_counter() - begin
            sender.terminate()
        print(f"10,000 packets/s: {(after - before) / took:.1%} of a core over {took:.0f} s; {meter.stop()}")


def soak(args: argparse.Namespace) -> None:
    """Memory, minute by minute."""
    with namespaces() as (outside, inside), tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.pcap"
        write_trace(trace, 200_000, 20_000)
        meter = Meter(inside, Path(folder) / "flows", "--rotate", "1m", "--idle-timeout", "10")
        taken = []
        with replay(outside, trace, args.pps, args.seconds) as sender:
            begin = time.monotonic()
            while sender.poll() is None:
                time.sleep(5)
                taken.append(((time.monotonic() - begin) / 60, meter.usage()[1]))
            said = sender.stdout.read().decode() if sender.stdout else ""
        sent = re.search(r"Successful packets:\s+(\d+)", said)
        found = meter.stop()
        for minute in range(int(taken[-1][0]) + 1):
            values = [megabytes for when, megabytes in taken if minute <= when < minute + 1]
            print(f"minute {minute + 1}: {statistics.median(values):.1f} MB")
        late = [(when, megabytes) for when, megabytes in taken if when >= 3]
        if len(late) > 2:
            slope = statistics.linear_regression(*zip(*late, strict=True)).slope
            print(f"slope after minute 3: {slope:+.2f} MB a minute")
        print(f"{int(sent[1]) if sent else 0:,} sent; {found}")


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast an interface is metered.")
    parser.add_argument("what", choices=["rate", "idle", "soak"])
    parser.add_argument("--pps", type=int, default=500_000, help="packets a second to send at most; 0: no limit")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ring", default="64M", help="memory of the ring")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that namespaces are taken down
    {"rate": rate, "idle": idle, "soak": soak}[args.what](args)


if __name__ == "__main__":
    main()
