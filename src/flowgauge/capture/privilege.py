"""Privileges: what needs them comes first and is little; then they are given up.

Under sudo all else, Numba's cache and the user's features among it, runs as the user who called: who may write to
that user's folders must not run code as root.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from flowgauge.errors import SourceError

if TYPE_CHECKING:
    from flowgauge.sources.ring import Ring

ADVICE = (
    "capturing needs the capability CAP_NET_RAW: run with sudo, or give it to Python once: "
    "sudo setcap cap_net_raw+ep $(readlink -f $(command -v python3))"
)


class Caller(NamedTuple):
    """Who called sudo."""

    uid: int
    gid: int
    name: str
    home: str


def open_packet_socket(interface: str | None) -> socket.socket:
    """A socket for the frames of an interface (None: all), which receives nothing before it is bound.

    Raises SourceError for an interface that is not there, without the privilege, and elsewhere than on Linux.
    """
    if not hasattr(socket, "AF_PACKET"):
        raise SourceError("packet rings are of Linux; elsewhere capture with --via tcpdump")
    check_interface(interface)
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise SourceError(ADVICE) from None


def open_ring(interface: str | None, size: int | None, promiscuous: bool) -> Ring:
    """The ring of an interface, not started yet; from here on the process is the user's. Raises SourceError."""
    handle = open_packet_socket(interface)
    drop()
    from flowgauge.sources.ring import RING_BYTES, Ring

    return Ring(handle, interface, size=size or RING_BYTES, promiscuous=promiscuous)


def check_interface(name: str | None) -> None:
    """Raise SourceError for an interface that is not there, naming those that are; None is all of them."""
    there = [other for _, other in socket.if_nameindex()]
    if name is not None and name not in there:
        raise SourceError(f"there is no interface {name!r}; there are {', '.join(there)}, and any for all of them")


def caller() -> Caller | None:
    """The user who called sudo; None where this process is not root, or root itself called."""
    uid = os.environ.get("SUDO_UID", "0")
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not uid.isdigit() or uid == "0":
        return None
    import pwd

    try:
        user = pwd.getpwuid(int(uid))
    except KeyError:
        return None
    return Caller(user.pw_uid, user.pw_gid, user.pw_name, user.pw_dir)


def drop() -> None:
    """Become the user who called sudo, for good: groups, ids, and the home that caches and spools are in."""
    user = caller()
    if user is None:
        return
    os.initgroups(user.name, user.gid)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    os.environ |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):  # root's
        os.environ.pop(name, None)
