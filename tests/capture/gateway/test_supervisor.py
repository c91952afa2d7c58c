"""The supervisor by itself, with a program that only pretends to be redsocks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab import until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the gateway is for Linux")

LIVES = '#!/bin/sh\necho "$$" >> {folder}/lives\n{rest}\n'
LOG = "gateway-redsocks.log"


class Supervised:
    """A supervisor with its folder."""

    def __init__(self, folder: Path, rest: str) -> None:
        self.folder = folder
        self.name("one")
        program = folder / "redsocks"
        program.write_text(LIVES.format(folder=folder, rest=rest))
        program.chmod(0o755)
        command = [sys.executable, "-m", "flowgauge.capture.gateway.supervisor", str(folder), "one", str(program)]
        with open(folder / LOG, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def name(self, identity: str) -> None:
        """Whose gateway the state file is."""
        (self.folder / "gateway.json.new").write_text(json.dumps({"identity": identity}))
        (self.folder / "gateway.json.new").replace(self.folder / "gateway.json")

    def lives(self) -> list[int]:
        """The process ids of all proxies so far."""
        path = self.folder / "lives"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def log(self) -> str:
        return (self.folder / LOG).read_text()


@pytest.fixture
def made() -> Iterator[list[Supervised]]:
    """Supervisors that end with the test."""
    listed: list[Supervised] = []
    yield listed
    for one in listed:
        one.process.kill()
        one.process.wait()


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_pauses_grow(tmp_path: Path, made: list[Supervised]) -> None:
    """A proxy that ends at once is started again after ever longer pauses, each of them in the log."""
    made.append(Supervised(tmp_path, "exit 3"))
    until(lambda: len(made[0].lives()) >= 3, "three lives")
    assert "redsocks ended with 3; it starts again in 0.4 s" in made[0].log()
    assert "redsocks ended with 3; it starts again in 0.8 s" in made[0].log()


@pytest.mark.parametrize("how", ["told", "state gone", "another gateway"])
def test_it_ends_with_its_gateway(tmp_path: Path, made: list[Supervised], how: str) -> None:
    """SIGTERM, a state file that has gone and one of another gateway end the supervisor and its proxy."""
    made.append(Supervised(tmp_path, "exec sleep 60"))
    until(made[0].lives, "the first life")
    if how == "told":
        os.kill(made[0].process.pid, signal.SIGTERM)
    elif how == "state gone":
        (tmp_path / "gateway.json").unlink()
    else:
        made[0].name("two")
    assert made[0].process.wait(10) == 0
    assert not running(made[0].lives()[0])


def test_a_proxy_that_ignores_sigterm(tmp_path: Path, made: list[Supervised]) -> None:
    """A proxy that does not end when asked is killed."""
    made.append(Supervised(tmp_path, "trap '' TERM\nwhile :; do sleep 0.1; done"))
    until(made[0].lives, "the first life")
    (tmp_path / "gateway.json").unlink()
    assert made[0].process.wait(10) == 0
    assert not running(made[0].lives()[0])


def test_the_log_stays_short(tmp_path: Path, made: list[Supervised]) -> None:
    """A log of more than a megabyte is begun anew: it lies in memory."""
    made.append(Supervised(tmp_path, f"head -c 1500000 /dev/zero | tr '\\0' x >> {tmp_path / LOG}\nexec sleep 60"))
    until(lambda: "starts anew" in made[0].log(), "a new log")
    assert (tmp_path / LOG).stat().st_size < 1000
