"""A small internet made of network namespaces, real servers and real clients: phone, gateway, server, proxies.

Each process that runs tests has its own (names carry its id), and takes it down whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = (
    *("ip", "ss", "nft", "iptables", "sysctl", "setpriv", "flock"),
    *("redsocks", "microsocks", "tinyproxy", "dnsmasq", "dig", "curl", "openssl", "iperf3", "tcpdump"),
)
REQUIRED = "FLOWGAUGE_REQUIRE_NETNS"
SERVER, AGENT = (Path(__file__).with_name(name) for name in ("netlab_server.py", "netlab_agent.py"))

GATEWAY, PHONE, OTHER = "192.168.7.1", "192.168.7.20", "192.168.7.30"
OUTSIDE, ROUTER, PROXY = "203.0.113.2", "203.0.113.1", "203.0.113.9"
INTERNET, INTERNET6 = "198.51.100.80", "2001:db8:80::80"
NAME = "www.example.test"
_LIMIT_S = 30


def available() -> str | None:
    """Why there can be no laboratory here, None if there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "needs root on Linux"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "no network namespaces here"


def require() -> None:
    """Skip and say why; where $FLOWGAUGE_REQUIRE_NETNS is set, fail instead."""
    reason = available()
    if reason and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but: {reason}")
    if reason:
        pytest.skip(f"network namespaces: {reason}")


def until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    """Wait for a condition, not longer than this."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.03)


class Host:
    """A network namespace and what runs in it."""

    def __init__(self, role: str, folder: Path) -> None:
        self.name = f"fg{os.getpid()}-{role}"
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.remove()  # one that a killed run with the same process id has left
        sh("ip", "netns", "add", self.name)
        # Addresses are usable at once: a test that compares routes must not see them come up.
        self.sh("sysctl", "-qw", *(f"net.ipv6.conf.{name}.accept_dad=0" for name in ("all", "default")))
        self.sh("ip", "link", "set", "lo", "up")

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        full = ["ip", "netns", "exec", self.name, *command]
        environment = os.environ | variables
        return subprocess.run(full, capture_output=True, text=True, timeout=_LIMIT_S, env=environment, check=False)

    def sh(self, *command: str) -> str:
        """What a command prints that has to succeed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a server, which ends with the laboratory."""
        with open(self.folder / f"{self.name}.log", "ab") as log:
            full = ["ip", "netns", "exec", self.name, *command]
            process = subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a server."""
        process.kill()
        process.wait()
        self._started.remove(process)

    def listens(self, port: int) -> bool:
        """Whether a TCP server is ready."""
        return bool(self.sh("ss", "-Hltn", f"sport = {port}").strip())

    def plug(self, interface: str, switch: Host, *addresses: str) -> None:
        """A cable to a switch, and addresses at this end."""
        peer = f"p{self.name.split('-')[1]}-{interface}"[:15]
        ends = ("ip", "link", "add", interface, "netns", self.name, "type", "veth", "peer", "name", peer)
        sh(*ends, "netns", switch.name)
        switch.sh("ip", "link", "set", peer, "master", "br0", "up")
        self.sh("ip", "link", "set", interface, "up")
        for address in addresses:
            self.sh("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def resolver(self, address: str) -> None:
        """The nameserver that the host's /etc/resolv.conf names."""
        place = Path("/etc/netns", self.name)
        place.mkdir(parents=True)
        (place / "resolv.conf").write_text(f"nameserver {address}\n")

    def remove(self) -> None:
        """End every process in the namespace, and the namespace."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False).stdout
        for process in map(int, found.split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for started in self._started:
            started.wait()
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        shutil.rmtree(Path("/etc/netns", self.name), ignore_errors=True)


def sh(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)


class Lab:
    """phone, other ── lan ── gateway ── wan ── server (the internet), proxy.

    One-armed, server and gateway are in the LAN, and the server is the LAN's router.
    """

    names = ("lan0", "wan0")  # of the gateway's interfaces

    def __init__(self, folder: Path, one_armed: bool = False) -> None:
        self.folder = folder
        self._hosts: list[Host] = []
        self._agent: subprocess.Popen[str] | None = None
        self._tag = "1" if one_armed else "2"
        self.lan_interface, self.uplink = ("arm0", "arm0") if one_armed else self.names
        try:
            self._build(one_armed)
        except BaseException:
            self.close()
            raise

    def _host(self, role: str) -> Host:
        host = Host(role + self._tag, self.folder)
        self._hosts.append(host)
        return host

    def _switch(self, role: str) -> Host:
        switch = self._host(role)
        switch.sh("ip", "link", "add", "br0", "type", "bridge")
        switch.sh("ip", "link", "set", "br0", "up")
        return switch

    def _build(self, one_armed: bool) -> None:
        lan = self._switch("lan")
        self.phone, self.other, self.gateway, self.server = map(self._host, ("ph", "ot", "gw", "sv"))
        for host, address in ((self.phone, PHONE), (self.other, OTHER)):
            host.plug("eth0", lan, f"{address}/24", f"fd00:7::{address.rpartition('.')[2]}/64")
            host.sh("ip", "route", "add", "default", "via", GATEWAY)
            host.sh("ip", "-6", "route", "add", "default", "via", "fd00:7::1")
        self.gateway.plug(self.lan_interface, lan, f"{GATEWAY}/24", "fd00:7::1/64")
        strict = ("net.ipv4.conf.all.rp_filter=1", f"net.ipv4.conf.{self.lan_interface}.rp_filter=1")
        self.gateway.sh("sysctl", "-qw", f"net.ipv6.conf.{self.lan_interface}.accept_ra=0", *strict)
        # A router, and known as one: of another its neighbours would forget the route that it has announced.
        self.server.sh("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        self.server.sh("ip", "address", "add", f"{INTERNET}/32", "dev", "lo")
        self.server.sh("ip", "address", "add", f"{INTERNET6}/128", "dev", "lo", "nodad")
        if one_armed:
            self.server.plug("eth0", lan, "192.168.7.254/24")
            self.gateway.sh("ip", "route", "add", "default", "via", "192.168.7.254")
            self.gateway.resolver("192.168.7.254")
        else:
            self._build_wan()
        self.phone.resolver(GATEWAY)
        command = ["ip", "netns", "exec", self.gateway.name, sys.executable, str(AGENT)]
        self._agent = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._serve()

    def _build_wan(self) -> None:
        wan = self._switch("wan")
        self.proxy = self._host("px")
        for host, interface, address in ((self.gateway, self.uplink, OUTSIDE), (self.proxy, "eth0", PROXY)):
            host.plug(interface, wan, f"{address}/24", f"fd00:113::{address.rpartition('.')[2]}/64")
            host.sh("ip", "route", "add", "default", "via", ROUTER)
        self.server.plug("eth0", wan, f"{ROUTER}/24", "fd00:113::1/64")
        self.gateway.sh("ip", "-6", "route", "add", "default", "via", "fd00:113::1")
        self.server.sh("ip", "-6", "route", "add", "fd00:7::/64", "via", "fd00:113::2")
        self.gateway.resolver(ROUTER)
        self.socks = self.proxy.start("microsocks", "-p", "1080")
        self.proxy.start("microsocks", "-p", "1081", "-u", "anna", "-P", "p;s#s word")
        configuration = self.folder / "tinyproxy.conf"
        configuration.write_text("Port 8888\nTimeout 60\nMaxClients 20\n")
        self.proxy.start("tinyproxy", "-d", "-c", str(configuration))

    def _serve(self) -> None:
        certificate, key = self._certificate()
        self.server.start(sys.executable, str(SERVER), "80")
        self.server.start(sys.executable, str(SERVER), "443", str(certificate), str(key))
        for port in ("53", "5353"):
            names = ("--no-resolv", "--no-hosts", f"--address=/{NAME}/{INTERNET}", f"--port={port}")
            self.server.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", *names)
        self.server.start("iperf3", "--server", "--bind", INTERNET)  # UDP answers from the address asked
        for port in (53, 80, 443, 5201):
            until(lambda port=port: self.server.listens(port), f"server at port {port}")

    def _certificate(self) -> tuple[Path, Path]:
        self.certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        subject = ("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}")
        made = ("req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        sh("openssl", *made, "-keyout", str(key), "-out", str(self.certificate), *subject)
        return self.certificate, key

    def flowgauge(
        self, *arguments: str, killed: tuple[str, int] | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """`flowgauge gateway …` on the gateway, with a state folder of its own; `killed` as the agent says."""
        request = {"arguments": ["gateway", *arguments], "variables": self.variables() | variables, "killed": killed}
        assert self._agent and self._agent.stdin and self._agent.stdout
        self._agent.stdin.write(json.dumps(request) + "\n")
        self._agent.stdin.flush()
        code, out, errors = json.loads(self._agent.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out, errors)

    def variables(self) -> dict[str, str]:
        return {"FLOWGAUGE_STATE_DIR": str(self.state)}

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def up(self, *arguments: str) -> str:
        """`up` with the right interfaces has to succeed."""
        done = self.flowgauge("up", "--lan", self.lan_interface, "--uplink", self.uplink, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def refused(self, *arguments: str) -> str:
        """`up` with the right interfaces has to fail; what it says."""
        done = self.flowgauge("up", "--lan", self.lan_interface, "--uplink", self.uplink, *arguments)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr

    def down(self) -> str:
        """`down` has to succeed."""
        done = self.flowgauge("down")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, url: str = f"http://{INTERNET}/", host: Host | None = None, seconds: float = 3) -> str | None:
        """The address that the server sees of a client that fetches from it; None if it cannot."""
        certificate = ("--cacert", str(self.certificate), "--resolve", f"{NAME}:443:{INTERNET}")
        done = (host or self.phone).run("curl", "-sS", "--max-time", str(seconds), *certificate, url)
        return done.stdout.strip() if done.returncode == 0 else None

    def ask(self, server: str, port: int = 53) -> bool:
        """Whether the phone gets a name answered, over UDP."""
        options = ("+short", "+tries=1", "+time=1", "-p", str(port))
        return self.phone.run("dig", *options, f"@{server}", NAME).stdout.strip() == INTERNET

    def close(self) -> None:
        """Take everything down; no error stops it."""
        for host in self._hosts:
            host.remove()
        if self._agent is not None:
            self._agent.communicate()


@contextlib.contextmanager
def lab(folder: Path, one_armed: bool = False) -> Iterator[Lab]:
    """A laboratory for a `with`."""
    require()
    built = Lab(folder, one_armed)
    try:
        yield built
    finally:
        built.close()
