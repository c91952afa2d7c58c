"""The programs `nft` and `ip`, and what /proc tells: the only module that starts programs of the system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from flowgauge.errors import GatewayError, MissingDependency

_PACKAGES = {"nft": "nftables", "ip": "iproute2", "redsocks": "redsocks"}
_ADMIN_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"  # often missing from a user's PATH
_LISTENING = "0A"  # TCP_LISTEN of the kernel's tcp_states.h
_SECONDS = 30


class Socket(NamedTuple):
    """A local address and port that a program of this machine receives at."""

    address: str
    port: int

    @property
    def loopback(self) -> bool:
        return self.address.startswith("127.") or self.address == "::1"


def require_linux() -> None:
    """The gateway is made of Linux parts."""
    if not sys.platform.startswith("linux"):
        raise GatewayError(f"the gateway needs Linux, this is {sys.platform}; a virtual machine with Linux can be one")


def require_root(command: str) -> None:
    """Rules and sysctls are root's."""
    if os.geteuid() != 0:
        raise GatewayError(f"`{command}` needs root: run `sudo {command}`")


def program(name: str) -> str:
    """The path of a program; MissingDependency is the command that installs it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_ADMIN_FOLDERS}")
    if found is None:
        package = _PACKAGES[name]
        raise MissingDependency(f"{name} is not installed: apt-get install {package} (or your system's {package})")
    return found


def run(name: str, *arguments: str, text: str | None = None) -> str:
    """What the program prints; GatewayError holds what it complains of."""
    command = [program(name), *arguments]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise GatewayError(f"{' '.join([name, *arguments])} gave no answer in {_SECONDS} s") from None
    if done.returncode != 0:
        complaint = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        raise GatewayError(f"{' '.join([name, *arguments])}: {' '.join(complaint[:3])}")
    return done.stdout


def ip(*arguments: str) -> list[dict[str, Any]]:
    """The answer of `ip -json`."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-json", *arguments) or "[]")
    return found


def ruleset() -> list[dict[str, Any]]:
    """All tables, chains, sets, counters and rules of this network namespace, in nft's JSON."""
    found: list[dict[str, Any]] = json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]
    return found


def listening(protocol: str) -> list[Socket]:
    """Who receives: TCP sockets that listen, UDP sockets without a peer."""
    found = []
    for family in (protocol, f"{protocol}6"):
        path = Path("/proc/net", family)
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING or (protocol == "udp" and fields[2].endswith(":0000")):
                address, port = fields[1].split(":")
                found.append(Socket(_address(address), int(port, 16)))
    return found


def _address(digits: str) -> str:
    """An address as /proc/net writes it: words of four bytes in the machine's order."""
    import socket

    words = (int(digits[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(digits), 8))
    data = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def boot() -> str:
    """What tells this boot from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def namespace(process: str = "self") -> str:
    """What tells this network namespace from others."""
    return os.readlink(f"/proc/{process}/ns/net")
