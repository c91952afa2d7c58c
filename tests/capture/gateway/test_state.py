"""What is written before anything is changed, and what is put back from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flowgauge.capture.gateway import state, sysctl
from flowgauge.errors import GatewayError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWGAUGE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_state_file_is_private_and_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced, then its folder, before it counts; only its owner reads it; nothing else is left."""
    synced: list[str] = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.readlink(f"/proc/self/fd/{handle}")), sync(handle))
    )
    with state.locked():
        assert state.load() is None
        (folder / "gateway.json.new").write_text("left by a crash")
        state.save({"phase": "starting"})
        assert state.load() == {"version": 1, "phase": "starting"}
    assert synced == [str(folder / "gateway.json.new"), str(folder)]
    assert [path.name for path in folder.iterdir()] == ["gateway.json"]
    assert (folder / "gateway.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_one_at_a_time(folder: Path) -> None:
    """The lock is refused while it is held, and free after."""
    with state.locked(), pytest.raises(GatewayError, match="another `flowgauge gateway` is at work"), state.locked():
        pass
    with state.locked():
        pass


def test_folders_that_cannot_be(folder: Path) -> None:
    """A folder that others may write to, or that cannot be made, is refused by name."""
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(GatewayError, match=r"state belongs to others or is writable by them"), state.locked():
        pass
    folder.rmdir()
    folder.write_text("a file")
    with pytest.raises(GatewayError, match=r"cannot use the state folder .*state: File exists"), state.locked():
        pass


@pytest.mark.parametrize(
    ("text", "said"), [("{", "cannot be read"), (json.dumps({"version": 2}), "another version of flowgauge")]
)
def test_damaged_state(folder: Path, text: str, said: str) -> None:
    """A state file that cannot be understood is an error that says what to do, never an empty state."""
    folder.mkdir()
    (folder / "gateway.json").write_text(text)
    with pytest.raises(GatewayError, match=said):
        state.load()


def tree(root: Path, values: dict[str, str]) -> None:
    for key, value in values.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of settings."""
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    values = {"ipv4/conf/all/forwarding": "0", "ipv4/conf/eth0.5/forwarding": "0", "ipv4/conf/eth0.5/rp_filter": "2"}
    tree(tmp_path, values | {"ipv6/conf/eth0.5/mtu": "1500", "ipv6/conf/eth0.5/accept_ra": "1", "ipv4/ip_forward": "0"})
    read_only = tmp_path / "ipv4/conf/all/mc_forwarding"
    read_only.write_text("0")
    read_only.chmod(0o444)
    return tmp_path


def test_a_snapshot_is_what_can_be_put_back(root: Path) -> None:
    """Both trees without what cannot be written, and without what announcements of routers set."""
    assert set(sysctl.snapshot()) == {
        "ipv4/conf/all/forwarding",
        "ipv4/conf/eth0.5/forwarding",
        "ipv4/conf/eth0.5/rp_filter",
        "ipv6/conf/eth0.5/accept_ra",
    }
    assert sysctl.name("ipv4/conf/eth0.5/rp_filter") == "net.ipv4.conf.eth0/5.rp_filter"


def test_restoring_writes_what_differs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only values that differ are written, "all" and forwarding first; an interface that has gone is no error."""
    before = sysctl.snapshot()
    changed = {"ipv4/conf/eth0.5/rp_filter": "0", "ipv4/conf/eth0.5/forwarding": "1", "ipv4/conf/all/forwarding": "1"}
    tree(root, changed)
    (root / "ipv6/conf/eth0.5/accept_ra").unlink()
    assert sysctl.differing(before) == changed
    written: list[str] = []
    write = sysctl.write
    monkeypatch.setattr(sysctl, "write", lambda key, value: (written.append(key), write(key, value)))
    sysctl.restore(before)
    assert written == ["ipv4/conf/all/forwarding", "ipv4/conf/eth0.5/forwarding", "ipv4/conf/eth0.5/rp_filter"]
    assert sysctl.differing(before) == {}


def test_a_setting_that_does_not_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that somebody sets again and again ends in an error that names it, not in a loop."""
    before = sysctl.snapshot()
    tree(root, {"ipv4/conf/all/forwarding": "1"})
    monkeypatch.setattr(sysctl, "write", lambda key, value: None)
    with pytest.raises(GatewayError, match=r"net\.ipv4\.conf\.all\.forwarding was 0, is 1 and does not stay"):
        sysctl.restore(before)
