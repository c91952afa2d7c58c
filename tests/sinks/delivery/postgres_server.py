"""A PostgreSQL server of a test's own, on loopback, that can be stopped and started."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from services_here import program

USER, PASSWORD = "meter", "a pass/word"
_LIMIT = 30  # s, of every command


class Server:
    """`url` is that of its database; as root it runs as another user, which the server demands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder.mkdir()
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("nobody")
            for path in (folder, self._folder, folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            for parent in (folder, *folder.parents[:3]):
                parent.chmod(parent.stat().st_mode | 0o011)
        shared = (f"--username={USER}", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "--no-sync")
        self._run("initdb", "-D", str(self._folder), "--encoding=UTF8", "--locale=C", *shared)

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:a%20pass%2Fword@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-D", str(self._folder), "-l", str(self._folder / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is what a crash is."""
        self._run("pg_ctl", "stop", "-w", "-D", str(self._folder), "-m", mode)

    @property
    def runs(self) -> bool:
        return (self._folder / "postmaster.pid").exists()

    def _run(self, name: str, *arguments: str) -> None:
        path = program(name)
        assert path is not None
        command = [path, *arguments]
        if os.geteuid() == 0:
            command = [shutil.which("runuser") or "runuser", "-u", "nobody", "--", *command]
        subprocess.run(
            command, cwd="/", check=True, timeout=_LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
