"""Two hosts in network namespaces, a wire between them, and tcpdump beside one of them.

The phone and the server are network namespaces of their own, with one TAP interface each. The wire
is a thread that carries frames from one TAP to the other, late, at a limited rate, and not always:
round-trip times and retransmissions in the captures are those of the kernel's real protocol stack.
TAP interfaces offload nothing, so packets are recorded as they would be on a real wire. No packet
can leave: neither namespace has any other interface.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

PROGRAMS = Path(__file__).with_name("programs.py")
START_TIMEOUT = 10.0  # seconds
RUN_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class Host:
    """A network namespace with one interface, `eth0`."""

    namespace: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """What the wire does to a frame; seconds, bytes per second, and the share of frames lost."""

    delay: float = 0.012
    jitter: float = 0.003
    rate: float = 2_500_000
    loss: float = 0.0


DNS, DNS6 = "192.168.43.1", "fd00:43::1"
GIT, SSH, CHAT, WEB, PBX = "10.20.30.9", "10.20.30.22", "10.20.30.52", "10.20.30.80", "10.20.30.60"
CHAT6, WEB6 = "fd00:20::52", "fd00:20::80"

PHONE = Host("fg-phone", "02:00:00:00:43:17", ("192.168.43.17/24", "fd00:43::17/64"), (DNS, DNS6))
SERVER = Host(
    "fg-server",
    "02:00:00:00:43:01",
    (
        f"{DNS}/24",
        f"{DNS6}/64",
        *(f"{v4}/32" for v4 in (GIT, SSH, CHAT, WEB, PBX)),
        *(f"{v6}/128" for v6 in (CHAT6, WEB6)),
    ),
)


class Wire(threading.Thread):
    """Carries Ethernet frames between two TAP devices, in order, as `link` says."""

    def __init__(self, taps: tuple[int, int], link: Link, seed: int) -> None:
        super().__init__(daemon=True)
        self._taps = taps
        self._link = link
        self._random = random.Random(seed)
        self._queues: tuple[deque[tuple[float, bytes]], deque[tuple[float, bytes]]] = (deque(), deque())
        self._busy_until = [0.0, 0.0]
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            for tap in select.select(self._taps, [], [], self._patience())[0]:
                self._take(self._taps.index(tap), os.read(tap, 65536))
            for side in (0, 1):
                self._deliver(side)

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _patience(self) -> float:
        """Seconds until the next frame is due, at most 50 ms."""
        due = [queue[0][0] for queue in self._queues if queue]
        return min(0.05, max(0.0, min(due) - time.monotonic())) if due else 0.05

    def _take(self, side: int, frame: bytes) -> None:
        if self._random.random() < self._link.loss:
            return
        sent = max(time.monotonic(), self._busy_until[side]) + len(frame) / self._link.rate
        self._busy_until[side] = sent
        due = sent + self._link.delay + self._random.uniform(0, self._link.jitter)
        queue = self._queues[side]
        queue.append((max(due, queue[-1][0]) if queue else due, frame))

    def _deliver(self, side: int) -> None:
        queue = self._queues[side]
        while queue and queue[0][0] <= time.monotonic():
            os.write(self._taps[1 - side], queue.popleft()[1])


class Lab:
    """Both hosts, up and joined, inside a `with` block; everything is taken down at its end.

    `folder` is for files of the run. Raises CalledProcessError where a command fails, TimeoutError
    where a server does not start.
    """

    def __init__(self, folder: Path, link: Link, seed: int) -> None:
        self.folder = folder
        self._link = link
        self._seed = seed
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Lab:
        with contextlib.ExitStack() as stack:
            taps = (self._add(PHONE, stack), self._add(SERVER, stack))
            wire = Wire(taps, self._link, self._seed)
            wire.start()
            stack.callback(wire.stop)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def _add(self, host: Host, stack: contextlib.ExitStack) -> int:
        """Make a host's namespace with its interface; return the other end of that interface."""
        _system("ip", "netns", "add", host.namespace)
        stack.callback(_system, "ip", "netns", "del", host.namespace)
        settings = Path("/etc/netns", host.namespace)  # `ip netns exec` binds these over /etc
        settings.mkdir(parents=True)
        stack.callback(shutil.rmtree, settings)
        (settings / "resolv.conf").write_text(f"nameserver {DNS}\n")
        tap = _open_tap(host.namespace)
        stack.callback(os.close, tap)
        _system("ip", "link", "set", host.namespace, "netns", host.namespace, "name", "eth0", "address", host.mac)
        for line in _interface_commands(host):
            _system(*in_namespace(host, *line.split()))
        return tap

    def run(self, *command: str, check: bool = True) -> None:
        """Run a program on the phone to its end."""
        subprocess.run(
            in_namespace(PHONE, *command), check=check, env=self._environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=RUN_TIMEOUT,
        )  # fmt: skip

    def start(self, host: Host, *command: str) -> subprocess.Popen[bytes]:
        """Start a program on a host; it is killed at the end of the `with` block."""
        process = subprocess.Popen(
            in_namespace(host, *command), env=self._environment(), stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._exit.callback(_end, process)
        return process

    def serve(self, port: int, *command: str) -> subprocess.Popen[bytes]:
        """Start a server and wait until it listens on `port`."""
        process = self.start(SERVER, *command)
        deadline = time.monotonic() + START_TIMEOUT
        while port not in _bound_ports(SERVER):
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError(f"{command[0]} does not listen on port {port}")
            time.sleep(0.05)
        return process

    @contextlib.contextmanager
    def capture(self, path: Path) -> Iterator[None]:
        """Record all that the phone sends and receives during the block."""
        command = ("tcpdump", "-i", "eth0", "-n", "-U", "--immediate-mode", "-Z", "root", "-w", str(path))
        with subprocess.Popen(in_namespace(PHONE, *command), stderr=subprocess.PIPE, text=True) as tcpdump:
            assert tcpdump.stderr is not None
            try:
                while "listening on" not in tcpdump.stderr.readline():
                    if tcpdump.poll() is not None:
                        raise TimeoutError("tcpdump does not start")
                yield
                time.sleep(0.5)  # what is still on the wire belongs to the capture
            finally:
                tcpdump.send_signal(signal.SIGINT)
            said = tcpdump.stderr.read()
        if "\n0 packets dropped by kernel" not in said:
            raise RuntimeError(f"tcpdump lost packets: {said}")

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "GIT_CONFIG_NOSYSTEM": "1",
        }


def in_namespace(host: Host, *command: str) -> tuple[str, ...]:
    """The command that runs `command` on `host`."""
    return ("ip", "netns", "exec", host.namespace, *command)


def program(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs one of our own small programs."""
    return (sys.executable, str(PROGRAMS), name, *arguments)


def _interface_commands(host: Host) -> Sequence[str]:
    return (
        "ip link set lo up",
        "sysctl -qw net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.eth0.accept_ra=0",
        "sysctl -qw net.ipv6.conf.eth0.router_solicitations=0",
        "ip link set eth0 up",
        *(f"ip address add {address} dev eth0" for address in host.addresses),
        *(f"ip route add default via {gateway}" for gateway in host.gateways),
    )


def _open_tap(name: str) -> int:
    """Make a TAP interface (linux/if_tun.h: TUNSETIFF, IFF_TAP | IFF_NO_PI) and return its wire end."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
    return tap


def _bound_ports(host: Host) -> set[int]:
    """Local ports of a host's TCP listeners and unconnected UDP sockets (proc_net_tcp: states 0A and 07)."""
    tables = (f"/proc/net/{name}" for name in ("tcp", "tcp6", "udp", "udp6"))
    listing = subprocess.run(in_namespace(host, "cat", *tables), check=True, capture_output=True, text=True)
    rows = (line.split()[:4] for line in listing.stdout.splitlines())
    return {int(local.rpartition(":")[2], 16) for _, local, _, state in rows if state in ("0A", "07")}


def _system(*command: str) -> None:
    subprocess.run(command, check=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=5)
    except (subprocess.TimeoutExpired, BrokenPipeError):
        process.kill()
        process.wait()
