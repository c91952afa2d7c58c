"""Network interfaces of this machine."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from flowgauge.kernels.ring import LINKS, NO_LINK

_FLAGS, _HARDWARE = 0x8913, 0x8927  # linux/sockios.h: SIOCGIFFLAGS, SIOCGIFHWADDR
_UP = 1  # linux/if.h: IFF_UP


class Interface(NamedTuple):
    """`link` is the LINKTYPE_ value of its frames, None where they are not decoded."""

    name: str
    up: bool
    link: int | None
    addresses: tuple[str, ...]
    mac: str


def interfaces() -> list[Interface]:
    """All interfaces of this machine, in the system's order."""
    import psutil

    addresses, states = psutil.net_if_addrs(), psutil.net_if_stats()
    found = []
    for _, name in socket.if_nameindex():
        own = addresses.get(name, [])
        ips = tuple(a.address.partition("%")[0] for a in own if a.family in (socket.AF_INET, socket.AF_INET6))
        macs = [a.address for a in own if a.family == psutil.AF_LINK]
        up = name in states and states[name].isup
        found.append(Interface(name, up, link_of(name), ips, macs[0] if macs else ""))
    return found


def link_of(name: str) -> int | None:
    """LINKTYPE_ value of an interface's frames; None where they are not decoded, or cannot be told."""
    try:
        link = int(LINKS[hardware_of(name)])
    except (OSError, ImportError):
        return None
    return None if link == NO_LINK else link


def is_undecoded(name: str) -> bool:
    """Whether an interface is known to have frames that are not decoded (Linux)."""
    try:
        return bool(LINKS[hardware_of(name)] == NO_LINK)
    except OSError:
        return False


def hardware_of(name: str) -> int:
    """The ARPHRD_ value of an interface (Linux). Raises OSError."""
    return _half_of_answer(name, _HARDWARE)


def is_up(name: str) -> bool:
    """Whether an interface is switched on (Linux). Raises OSError where it is not there."""
    return bool(_half_of_answer(name, _FLAGS) & _UP)


def mac_of(name: str) -> str:
    """The link-layer address of an interface, "" where it has none (Linux). Raises OSError where it is not there."""
    octets = _answer(name, _HARDWARE)[18:24]
    return octets.hex(":") if any(octets) else ""


def _half_of_answer(name: str, request: int) -> int:
    """What the system says of an interface, the first 16 bits."""
    return int(struct.unpack_from("H", _answer(name, request), 16)[0])


def _answer(name: str, request: int) -> bytes:
    """What the system says of an interface: struct ifreq, which begins with 16 bytes of its name."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        return fcntl.ioctl(asked, request, struct.pack("16s24x", name.encode()[:15]))
