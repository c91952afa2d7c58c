"""The kernel's settings of each interface, `net.ipv4.conf` and `net.ipv6.conf`: read, set, put back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowgauge.errors import GatewayError

ROOT = Path("/proc/sys/net")
_TREES = ("ipv4/conf", "ipv6/conf")
_LEARNT = {"ipv6": {"mtu", "hop_limit"}}  # a router's announcements set them, they are nobody's configuration
_PASSES = 4  # writing a value of "all" sets those of every interface, so that a pass may undo part of itself

Values = dict[str, str]
"""Values by their path below /proc/sys/net, e.g. ``ipv4/conf/eth0/forwarding``."""


def name(key: str) -> str:
    """A key as `sysctl` shows it; a dot within an interface's name becomes a slash there."""
    return "net." + key.replace(".", "\0").replace("/", ".").replace("\0", "/")


def snapshot() -> Values:
    """Every value of both trees that can be read and written."""
    return {key: value for key in _keys() if (value := read(key)) is not None}


def _keys() -> Iterator[str]:
    for tree in _TREES:
        learnt = _LEARNT.get(tree.split("/")[0], set())
        for path in sorted(ROOT.glob(f"{tree}/*/*")):
            if path.name not in learnt and _writable(path):
                yield str(path.relative_to(ROOT))


def _writable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o200)
    except FileNotFoundError:  # the interface has just gone
        return False


def read(key: str) -> str | None:
    """A value, or None where there is none (such as a secret that was never set, or an interface that has gone)."""
    try:
        return (ROOT / key).read_text().strip()
    except OSError:
        return None


def write(key: str, value: str) -> None:
    """Set a value; GatewayError where the kernel refuses."""
    try:
        (ROOT / key).write_text(value)
    except OSError as error:
        raise GatewayError(f"cannot set {name(key)} to {value}: {error.strerror or error}") from None


def differing(before: Mapping[str, str]) -> Values:
    """What is now other than `before`: the present values, in the order in which to write them."""
    found = {key: value for key in sorted(before, key=_order) if (value := read(key)) is not None}
    return {key: value for key, value in found.items() if value != before[key]}


def _order(key: str) -> tuple[int, bool, str]:
    """What sets others comes first: "all", then "default"; and `forwarding`, which resets its neighbours."""
    _, _, interface, leaf = key.split("/")
    return ("all", "default").index(interface) if interface in ("all", "default") else 2, leaf != "forwarding", key


def restore(before: Mapping[str, str]) -> None:
    """Put back every value of `before` whose interface is still there; GatewayError where one stays different."""
    for _ in range(_PASSES):
        left = differing(before)
        if not left:
            return
        for key in left:
            if os.path.exists(ROOT / key):
                write(key, before[key])
    left = differing(before)
    if left:
        key, value = next(iter(left.items()))
        raise GatewayError(f"{name(key)} was {before[key]}, is {value} and does not stay as it was: set it by hand")
