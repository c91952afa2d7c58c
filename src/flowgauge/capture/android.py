"""Android: the app in the foreground of the phone that adb is connected to."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import NamedTuple

_SECONDS = 10.0  # that adb may take, which may have to start its server
# `mResumedActivity: ActivityRecord{8f1 u0 com.example.chat/.Main t7}`; newer systems write topResumedActivity=…
_RESUMED = re.compile(r"ResumedActivity[:=]\s*ActivityRecord\{\S+ u\d+ ([A-Za-z][\w.]*)/")
_VERSION = re.compile(r"^\s*versionName=(\S+)", re.MULTILINE)


class App(NamedTuple):
    """An app, by its package."""

    package: str
    version: str | None


class AdbError(Exception):
    """Why the app is not known."""


def foreground() -> App:
    """The app in front. Raises AdbError without adb, a phone, or an app."""
    found = _RESUMED.search(_adb("dumpsys", "activity", "activities"))
    if found is None:
        raise AdbError("no app is in the foreground of the phone: is its screen unlocked?")
    version = _VERSION.search(_adb("dumpsys", "package", found[1]))
    return App(found[1], None if version is None else version[1])


def _adb(*command: str) -> str:
    """What a command prints on the phone."""
    program = shutil.which("adb")
    if program is None:
        raise AdbError("adb is not installed (apt-get install adb)")
    try:
        done = subprocess.run(
            [program, "shell", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            start_new_session=True,  # Ctrl-C is for this process
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise AdbError(f"adb has not answered within {_SECONDS:.0f} s") from None
    except OSError as error:
        raise AdbError(f"{program}: {error.strerror or error}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise AdbError(f"adb: {lines[-1].removeprefix('adb: ').removeprefix('error: ')}")
    return done.stdout
