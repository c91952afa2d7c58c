"""Privileges, as far as they can be tested without them."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import pytest

from flowgauge.capture import privilege
from flowgauge.errors import SourceError

NOBODY = pytest.importorskip("pwd").getpwnam("nobody")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A process of root's, and what it asks the system for."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("initgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, lambda *given, name=name: asked.append((name, *given)))
    return asked


def test_under_sudo_the_process_becomes_the_users(root: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups go first, then all three ids of the group and of the user, and caches are looked for at their home."""
    monkeypatch.setenv("SUDO_UID", str(NOBODY.pw_uid))
    monkeypatch.setenv("XDG_CACHE_HOME", "elsewhere")
    monkeypatch.setenv("XDG_STATE_HOME", "elsewhere")
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "root")  # and put back what was there
    privilege.drop()
    gid, uid = NOBODY.pw_gid, NOBODY.pw_uid
    assert root == [("initgroups", "nobody", gid), ("setresgid", gid, gid, gid), ("setresuid", uid, uid, uid)]
    assert os.environ["HOME"] == NOBODY.pw_dir
    assert not {"XDG_CACHE_HOME", "XDG_STATE_HOME"} & {*os.environ}


@pytest.mark.parametrize("caller", ["0", "", "-1", "root", "4000000000"])
def test_nobody_else_to_be(caller: str, root: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Root itself, and what names no user, stay who they are."""
    monkeypatch.setenv("SUDO_UID", caller)
    privilege.drop()
    assert root == []


def test_who_is_not_root_drops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUDO_UID in the environment of a user means nothing."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("SUDO_UID", "0")
    assert privilege.caller() is None


def test_without_the_privilege_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo, or the capability."""

    def refuse(*given: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "AF_PACKET", 17, raising=False)
    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(SourceError, match=r"run with sudo, .* setcap cap_net_raw"):
        privilege.open_packet_socket(None)


@pytest.mark.skipif(sys.platform != "linux", reason="packet sockets are of Linux")
def test_elsewhere_there_are_no_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the way that there is."""
    monkeypatch.delattr(socket, "AF_PACKET")
    with pytest.raises(SourceError, match="--via tcpdump"):
        privilege.open_packet_socket(None)
