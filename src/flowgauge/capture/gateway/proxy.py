"""The transparent proxy: its configuration, and its processes, which are known by what they were started with."""

from __future__ import annotations

import grp
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from flowgauge.capture.gateway import state, system
from flowgauge.capture.gateway.options import Proxy
from flowgauge.capture.gateway.supervisor import ENDED
from flowgauge.errors import GatewayError

PORTS = range(12380, 12400)
"""Where redsocks may listen: below the ports that the kernel gives to clients, and always the same where it is free."""

_SUPERVISOR = "flowgauge.capture.gateway.supervisor"
_READY_S = 5.0
_STOP_S = 5.0
_ANSWER_S = 3.0
_LOG_TAIL = 3


def configuration_path() -> Path:
    """redsocks' configuration, which may hold a password."""
    return state.folder() / "gateway-redsocks.conf"


def log_path() -> Path:
    """What redsocks and its supervisor say."""
    return state.folder() / "gateway-redsocks.log"


def configuration(proxy: Proxy, port: int) -> str:
    """redsocks' configuration: in the foreground, as a user of no rights, one line for each error."""
    user, group = _user()
    login = f'\n\tlogin = "{proxy.user}";\n\tpassword = "{proxy.password}";' if proxy.user else ""
    return (
        "base {\n\tlog_debug = off;\n\tlog_info = off;\n\tlog = stderr;\n\tdaemon = off;\n"
        f"\tuser = {user};\n\tgroup = {group};\n\tredirector = iptables;\n}}\n"
        f"redsocks {{\n\tlocal_ip = 0.0.0.0;\n\tlocal_port = {port};\n\tip = {proxy.address};\n\tport = {proxy.port};\n"
        f"\ttype = {proxy.kind};{login}\n}}\n"
    )


def _user() -> tuple[str, str]:
    for name in ("redsocks", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return name, grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
    raise GatewayError("this system has neither a user redsocks nor nobody: create one for the proxy to run as")


def free_port() -> int:
    """The first port of PORTS that nobody listens at."""
    taken = {found.port for found in system.listening("tcp")}
    for port in PORTS:
        if port not in taken:
            return port
    raise GatewayError(f"all TCP ports from {PORTS[0]} to {PORTS[-1]} are taken: stop one of the programs there")


def complaint(proxy: Proxy) -> str | None:
    """What is wrong with the proxy as far as it can be asked, None if it answers as one."""
    try:
        with socket.create_connection((proxy.address, proxy.port), timeout=_ANSWER_S) as connection:
            return _greeting(connection, proxy) if proxy.kind == "socks5" else None
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        return f"the proxy {proxy.shown} does not answer ({reason}): start it, or give another --proxy"


def _greeting(connection: socket.socket, proxy: Proxy) -> str | None:
    """Offer no authentication, or a password where there is one (RFC 1928, section 3)."""
    connection.sendall(bytes([5, 2, 0, 2]) if proxy.user else bytes([5, 1, 0]))
    try:
        answer = connection.recv(2)
    except TimeoutError:
        answer = b""
    if answer == b"\x05\xff":
        wish = "wants another authentication" if proxy.user else "wants a password: --proxy socks5://USER:PASSWORD@…"
        return f"the proxy {proxy.shown} {wish}"
    if len(answer) < 2 or answer[0] != 5:
        return f"what listens at {proxy.shown} speaks no SOCKS5: is it an http:// or socks4:// proxy?"
    return None


def start(identity: str, port: int) -> None:
    """Start the supervisor, away from this terminal, and wait until the proxy listens."""
    package = Path(__file__).parents[3]
    search = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    with open(os.open(log_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600), "ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", _SUPERVISOR, str(state.folder()), identity, system.program("redsocks")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=os.environ | {"PYTHONPATH": search},
            start_new_session=True,
        )
    end = time.monotonic() + _READY_S
    while time.monotonic() < end and supervisor.poll() is None and ENDED not in _log():
        if is_listening(port):
            supervisor.returncode = 0  # it is left behind on purpose
            return
        time.sleep(0.05)
    said = _log().splitlines()[-_LOG_TAIL:]
    raise GatewayError(f"redsocks does not start; its log {log_path()} ends: {' / '.join(said) or 'empty'}")


def _log() -> str:
    return log_path().read_text("utf-8", "replace")


def is_listening(port: int) -> bool:
    """Whether a program listens at a TCP port."""
    return any(found.port == port for found in system.listening("tcp"))


def supervisors() -> list[int]:
    """The supervisors of this state folder, by process id."""
    return list(_processes(["-m", _SUPERVISOR, str(state.folder())]))


def proxies() -> list[int]:
    """The redsocks processes that run with this state folder's configuration."""
    return list(_processes(["-c", str(configuration_path())]))


def _processes(words: list[str]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is(int(entry.name), words):
            yield int(entry.name)


def _is(process: int, words: list[str]) -> bool:
    """Whether a process was started with these arguments behind its name, in this network namespace.

    Process ids in a file would miss those started just before a crash, and may be another program's by now.
    """
    try:
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        return arguments[1 : 1 + len(words)] == words and system.namespace(str(process)) == system.namespace()
    except OSError:
        return False


def stop() -> int:
    """End the supervisor, then whatever proxy it left behind; how many processes that were."""
    return sum(_end(words) for words in (["-m", _SUPERVISOR, str(state.folder())], ["-c", str(configuration_path())]))


def _end(words: list[str]) -> int:
    found = list(_processes(words))
    return sum(_end_one(process, words) for process in found)


def _end_one(process: int, words: list[str]) -> bool:
    """Ask, wait, and force: by a handle that never means another process."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return False
    try:
        if not _is(process, words):
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], _STOP_S)[0]:
                return True
        raise GatewayError(f"process {process} ({' '.join(words)}) does not end, not even by SIGKILL")
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
