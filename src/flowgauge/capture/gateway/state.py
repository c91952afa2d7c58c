"""The state file: what was there before, written and synced before anything is changed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowgauge.errors import GatewayError

_DEFAULT = "/run/flowgauge"
_VERSION = 1

State = dict[str, Any]


def folder() -> Path:
    """Where the gateway keeps its files: $FLOWGAUGE_STATE_DIR, else /run/flowgauge, which a reboot empties."""
    return Path(os.environ.get("FLOWGAUGE_STATE_DIR") or _DEFAULT).absolute()


def path() -> Path:
    """The state file: there from before the first change until everything is undone."""
    return folder() / "gateway.json"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One `up` or `down` at a time; the kernel gives the lock back when its holder dies."""
    place = folder()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise GatewayError(f"cannot use the state folder {place}: {error.strerror or error}") from None
    try:
        _check_owner(place, os.fstat(handle))
        _lock(place, handle)
        yield
    finally:
        os.close(handle)


def _lock(place: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise GatewayError(f"another `flowgauge gateway` is at work (it holds {place}): wait for it to end") from None


def _check_owner(place: Path, found: os.stat_result) -> None:
    """What is in the folder becomes settings of the kernel: nobody else may write there."""
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise GatewayError(f"the state folder {place} belongs to others or is writable by them: chmod 700 and chown it")


def load() -> State | None:
    """What the file holds, None without one."""
    try:
        state: State = json.loads(path().read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GatewayError(
            f"{path()} cannot be read ({error}): what was there before is not known; put forwarding and the like "
            "back by hand, remove the file, and `flowgauge gateway down` removes the rules"
        ) from None
    if state.get("version") != _VERSION:
        raise GatewayError(f"{path()} is of another version of flowgauge: run that version's `gateway down`")
    return state


def save(state: State) -> None:
    """Replace the file as a whole; after this it survives a crash of the process and of the machine."""
    write_private(path(), json.dumps({"version": _VERSION, **state}, indent=1))


def write_private(target: Path, text: str) -> None:
    """A file for root's eyes only, synced, as a whole or not at all."""
    temporary = target.with_name(target.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(target)
    _sync_folder(target.parent)


def remove(target: Path) -> None:
    """Remove a file where it is there, and let that survive a crash."""
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    _sync_folder(target.parent)


def _sync_folder(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
