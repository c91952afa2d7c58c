"""The commands of the documentation that need root and a network run as they stand, in network namespaces.

There, the phone 192.168.7.20 is behind the gateway's `wlan0` and the internet behind its `eth0`, as on every page.
Times to wait are a second each, and what goes on until Ctrl-C gets one. Lines that install get the machine's network,
into folders that are not the machine's; apt-get only says what it would install.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

import netlab
from docpages import PAGES, ROOT, Session, assert_shown, blocks
from netlab import until

pytestmark = [pytest.mark.netns, pytest.mark.slow]

WAITS = re.compile(r"(--(?:duration|baseline|pause)) \d+")
ENDLESS = re.compile(r"flowgauge live (?!.*(?:--duration|\| head))|tcpdump -i")
READY = re.compile(r"metering|listening on|flows open")
INSTALLS = re.compile(r"^(sudo )?(apt-get|pip|\S+/pip|python3 -m venv)\b")
SOURCE = ("pyproject.toml", "README.md", "LICENSE")
LIMIT_S = 400
ADB = """case "$*" in
  "shell dumpsys activity activities") echo "  topResumedActivity=ActivityRecord{1 u0 com.example.chat/.Main t7}" ;;
  *) echo "  versionName=4.1.2" ;;
esac"""
LOAD = f"curl -s -o /dev/null --max-time 1 http://{netlab.INTERNET}/"
BROWSE = f"while sleep 0.2; do {LOAD}; done"


@contextlib.contextmanager
def output(log: Path, terminal: bool) -> Iterator[IO[bytes]]:
    """What a process writes to, and what becomes `log`; a terminal where it draws on one."""
    log.write_bytes(b"")
    if not terminal:
        with log.open("wb") as out:
            yield out
        return
    master, slave = os.openpty()
    threading.Thread(target=_copy, args=(master, log), daemon=True).start()
    with os.fdopen(slave, "wb") as out:
        yield out


def _copy(master: int, log: Path) -> None:
    """Whatever comes, until no process holds the terminal any more."""
    with log.open("ab", buffering=0) as copy, contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            copy.write(data)
    os.close(master)


class PhoneLab(netlab.Lab):
    """The laboratory with the interfaces that the pages name."""

    names = ("wlan0", "eth0")


class LabSession(Session):
    """The blocks of a page, on the gateway of a laboratory whose hosts all browse the web."""

    def __init__(self, folder: Path, lab: PhoneLab) -> None:
        super().__init__(folder)
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for name in SOURCE:
            shutil.copy(ROOT / name, folder)
        self.tool("sudo", 'exec "$@"')
        self.tool("adb", ADB)
        self.tool("apt-get", 'exec /usr/bin/apt-get --simulate "$@"')
        self.variables |= lab.variables()
        self._phone = lab.phone
        self._pid = str(lab.gateway.start("sleep", "3600").pid)
        self._replace_folders(folder)
        for host in (lab.phone, lab.gateway):
            host.start("bash", "-c", BROWSE)
        lab.gateway.start("microsocks", "-i", "127.0.0.1", "-p", "1080")

    def _replace_folders(self, folder: Path) -> None:
        """What lies below /opt and is put into /usr/local/bin is gone with the laboratory."""
        time.sleep(0.3)  # until `ip netns exec` has a mount namespace of its own
        layers = folder / ".layers"
        mounts = (
            "mount -t tmpfs layers /opt",
            f"mkdir {layers} && mount -t tmpfs layers {layers} && mkdir {layers}/up {layers}/work",
            f"mount -t overlay local -o lowerdir=/usr/local/bin,upperdir={layers}/up,workdir={layers}/work "
            "/usr/local/bin",
        )
        for mount in mounts:
            netlab.sh("nsenter", "-t", self._pid, "-m", "sh", "-c", mount)

    def line(self, line: str) -> str:
        """What a line prints that has to succeed."""
        spaces = ["-m"] if INSTALLS.match(line) else ["-m", "-n"]
        shorter = WAITS.sub(lambda match: f"{match[1]} 1", line)
        shell = ["bash", "-euo", "pipefail", "-c", f"cd {self.folder}\n{shorter}"]
        command = ["nsenter", "-t", self._pid, *spaces, *shell]
        log = self.folder / ".log"
        with output(log, terminal="--top" in line) as out:
            process = subprocess.Popen(
                command, env=self.variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        try:
            code = self._end(process, log) if ENDLESS.search(line) else process.wait(LIMIT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said = log.read_text()
        assert code in ((0, 130) if ENDLESS.search(line) else (0,)), f"{line}\nended with {code}:\n{said}"
        if "gateway up" in line:
            until(self._loads_a_page, "a web page on the phone", 20)
        return said

    def _loads_a_page(self) -> bool:
        """What the reader is asked to look at before going on; also, the gateway has then seen the phone."""
        return self._phone.run("sh", "-c", LOAD).returncode == 0

    @staticmethod
    def _end(process: subprocess.Popen[bytes], log: Path) -> int:
        """Press Ctrl-C when it has seen some packets."""
        until(lambda: READY.search(log.read_text()) or process.poll() is not None, "ready", LIMIT_S)
        time.sleep(2)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        return process.wait(60)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LabSession]:
    netlab.require()
    (tmp_path / "lab").mkdir()
    lab = PhoneLab(tmp_path / "lab")
    try:
        yield LabSession(tmp_path, lab)
    finally:
        lab.close()


def has_lab(page: Path) -> bool:
    return any(block.mark == "lab" for block in blocks(page))


@pytest.mark.parametrize("page", [page for page in PAGES if has_lab(page)], ids=lambda page: page.name)
def test_examples_run_in_the_lab(page: Path, session: LabSession) -> None:
    """Every command of a page that needs root and a network succeeds, and prints what the page shows."""
    if "apt-get" in page.read_text("utf-8") and not list(Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("apt-get has no lists of packages here")
    for block in blocks(page):
        if block.mark == "lab":
            printed = [session.line(line) for line in block.text.splitlines()]
            assert_shown(block.shown, "".join(printed))
