"""The gateway with real parts: a phone, a router, servers and proxies in network namespaces."""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import netlab
from netlab import GATEWAY, INTERNET, INTERNET6, NAME, OTHER, OUTSIDE, PHONE, PROXY, Host, Lab, lab, until

pytestmark = pytest.mark.netns

SOCKS = f"socks5://{PROXY}:1080"
HTTP, HTTPS, HTTP6 = f"http://{INTERNET}/", f"https://{NAME}/", f"http://[{INTERNET6}]/"
PORT = 12380


@pytest.fixture(scope="module")
def two_armed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("two-armed")) as built:
        yield built


@pytest.fixture(scope="module")
def one_armed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("one-armed"), one_armed=True) as built:
        yield built


@pytest.fixture
def net(two_armed: Lab) -> Iterator[Lab]:
    """The laboratory with two interfaces; whatever a test leaves is taken down and has to be as before."""
    yield from as_before(two_armed)


@pytest.fixture
def armed(one_armed: Lab) -> Iterator[Lab]:
    """The laboratory with one interface."""
    yield from as_before(one_armed)


def as_before(built: Lab) -> Iterator[Lab]:
    before = photograph(built.gateway)
    yield built
    if (built.state / "gateway.json").exists():
        built.down()
    assert changed(built, before) == []
    assert processes(built, SUPERVISOR) == redsocks(built) == []


PHOTOGRAPHS = (
    "nft -s list ruleset",
    "grep -rs . /proc/sys/net/ipv4 /proc/sys/net/ipv6 | grep -v tcp_fastopen_key",  # made up at its first use
    "ip route show table all; ip -6 route show table all; ip rule; ip -6 rule",
)


def photograph(host: Host) -> list[str]:
    """Rules, settings and routes of a host, line by line, without the seconds left of an announced route."""
    shown = "".join(host.run("sh", "-c", command).stdout for command in PHOTOGRAPHS)
    return re.sub(r" expires \d+sec", "", shown).splitlines()


def changed(net: Lab, before: list[str]) -> list[str]:
    """What differs on the gateway's host from a photograph of it, order included."""
    return list(difflib.unified_diff(before, photograph(net.gateway), lineterm="", n=0))


def status(net: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(net.flowgauge("status", "--json").stdout)
    return found


def processes(net: Lab, word: str) -> list[int]:
    """The processes of the gateway's host with this word in what they were started with."""
    found = net.gateway.sh("ip", "netns", "pids", net.gateway.name).split()
    return [int(one) for one in found if word in words(one)]


def words(process: str) -> list[str]:
    """What a process was started with; nothing if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except OSError:
        return []


SUPERVISOR = "flowgauge.capture.gateway.supervisor"


def redsocks(net: Lab) -> list[int]:
    """The transparent proxy, without its supervisor."""
    return processes(net, str(net.state / "gateway-redsocks.conf"))


# --- what passes ------------------------------------------------------------------------------------------------------


def test_the_phone_reaches_the_internet_by_the_gateway_only(net: Lab) -> None:
    """Without the gateway nothing passes; with it TCP, TLS, UDP and names do, from the gateway's address."""
    assert net.get(seconds=0.5) is None
    assert not net.ask(INTERNET)
    said = net.up()
    assert GATEWAY in said
    assert [net.get(HTTP), net.get(HTTPS)] == [OUTSIDE, OUTSIDE]
    assert net.ask(INTERNET) and net.ask(INTERNET, 5353)
    net.down()
    assert net.get(seconds=0.5) is None


def test_down_leaves_everything_as_it_was(net: Lab) -> None:
    """`up` changes rules and settings, `down` puts them back, and a second `down` has nothing to do and says so."""
    before = photograph(net.gateway)
    net.up("--proxy", SOCKS)
    assert "+/proc/sys/net/ipv4/conf/lan0/forwarding:1" in changed(net, before)
    assert "is down" in net.down()
    assert changed(net, before) == []
    assert net.down() == "nothing to take down\n"
    assert list(net.state.iterdir()) == []


def test_names_asked_of_the_gateway_are_answered(net: Lab) -> None:
    """A phone whose nameserver is the gateway gets answers of the gateway's own nameserver, or of a resolver there."""
    net.up()
    assert net.ask(GATEWAY)
    assert status(net)["nameserver"] == netlab.ROUTER
    net.down()
    ours = ("--no-resolv", "--no-hosts", f"--address=/{NAME}/{INTERNET}", "--port=53", "--pid-file=")
    resolver = net.gateway.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", *ours)
    until(lambda: net.gateway.listens(53), "dnsmasq on the gateway")
    net.up("--udp", "drop")
    assert net.ask(GATEWAY)
    assert status(net)["nameserver"] is None
    net.gateway.stop(resolver)
    assert not net.ask(GATEWAY)


@pytest.mark.parametrize(
    "proxy",
    [SOCKS, f"http://{PROXY}:8888", f"socks5://anna:p%3Bs%23s%20word@{PROXY}:1081"],
    ids=["socks", "http", "login"],
)
def test_tcp_goes_through_the_proxy(net: Lab, proxy: str) -> None:
    """Behind --proxy the servers see the proxy's address; the password is in no file that others can read."""
    net.up("--proxy", proxy)
    assert [net.get(HTTP), net.get(HTTPS)] == [PROXY, PROXY]
    for path in net.state.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert "word" not in path.read_text() or path.name == "gateway-redsocks.conf"
    shown = net.flowgauge("status")
    assert shown.returncode == 0, shown.stdout
    assert "word" not in shown.stdout


def test_without_the_proxy_tcp_goes_nowhere(net: Lab) -> None:
    """When the proxy dies the phone's TCP ends too, status says why, and all is well again with the proxy."""
    net.up("--proxy", SOCKS)
    net.proxy.stop(net.socks)
    try:
        assert net.get(seconds=1) is None
        assert any("does not answer" in problem for problem in status(net)["problems"])
    finally:
        net.socks = net.proxy.start("microsocks", "-p", "1080")
        until(lambda: net.proxy.listens(1080), "the proxy")
    assert net.get() == PROXY


def test_tcp_past_the_proxy_is_refused(net: Lab) -> None:
    """TCP that is not redirected, for whatever reason, is refused and counted, and status finds the changed rules."""
    net.up("--proxy", SOCKS)
    net.gateway.sh("nft", "flush", "chain", "inet", "flowgauge", "prerouting")
    assert net.get(seconds=0.5) is None
    found = status(net)
    assert found["counts"]["tcp_refused"] > 0
    assert any("changed the table inet flowgauge" in problem for problem in found["problems"])
    net.gateway.sh("nft", "flush", "ruleset")
    assert any("is gone" in problem for problem in status(net)["problems"])


def test_udp_behind_a_proxy(net: Lab) -> None:
    """Behind a proxy UDP is dropped but for DNS, or forwarded as --udp says."""
    net.up("--proxy", SOCKS)
    assert net.ask(INTERNET) and net.ask(GATEWAY)
    assert not net.ask(INTERNET, 5353)
    assert status(net)["counts"]["udp_dropped"] == 1
    net.down()
    net.up("--proxy", SOCKS, "--udp", "direct")
    assert net.ask(INTERNET, 5353)
    assert net.get() == PROXY


def test_udp_can_be_dropped_without_a_proxy(net: Lab) -> None:
    """--udp drop alone leaves TCP and DNS."""
    net.up("--udp", "drop")
    assert net.get() == OUTSIDE and net.ask(INTERNET)
    assert not net.ask(INTERNET, 5353)


def test_much_data_passes_the_proxy(net: Lab) -> None:
    """iperf3 moves 20 MB up and down through the proxy, and UDP beside it."""
    net.up("--proxy", SOCKS, "--udp", "direct")
    for direction in ((), ("--reverse",)):
        done = net.phone.sh("iperf3", "--json", "--client", INTERNET, "--bytes", "20M", *direction)
        assert (
            json.loads(done)["end"]["sum_received"]["bytes"] > 5_000_000
        )  # what is under way at the end does not count
    done = net.phone.sh("iperf3", "--json", "--client", INTERNET, "--udp", "--bitrate", "10M", "--time", "1")
    assert json.loads(done)["end"]["sum"]["lost_percent"] < 10


def test_a_transparent_proxy_of_ones_own(net: Lab) -> None:
    """--redirect hands TCP to the user's port; one that only loopback reaches, or that is not there, is told of."""
    said = net.up("--redirect", "9999")
    assert "nothing listens on TCP port 9999" in said
    own = net.folder / "own.conf"
    base = "base { log = stderr; daemon = off; redirector = iptables; }\n"
    for address, seen in (("127.0.0.1", None), ("0.0.0.0", PROXY)):
        there = f"local_ip = {address}; local_port = 9999; ip = {PROXY}; port = 1080; type = socks5;"
        own.write_text(f"{base}redsocks {{ {there} }}\n")
        process = net.gateway.start("redsocks", "-c", str(own))
        until(lambda: net.gateway.listens(9999), "redsocks of one's own")
        assert net.get(seconds=1) == seen
        assert bool(status(net)["problems"]) == (seen is None)
        net.gateway.stop(process)
    net.down()


def test_only_the_named_client(net: Lab) -> None:
    """With --client other hosts of the LAN are forwarded no more than before."""
    net.up("--client", PHONE)
    assert net.get() == OUTSIDE
    assert net.get(host=net.other, seconds=0.5) is None
    found = status(net)
    assert found["clients"] == [f"{PHONE}/32"]
    assert found["counts"]["others_dropped"] > 0


def test_others_keep_what_they_had(net: Lab) -> None:
    """Where the machine was a router before, hosts that are not clients are forwarded as before, past the proxy."""
    net.gateway.sh("sysctl", "-qw", "net.ipv4.ip_forward=1")
    net.server.sh("ip", "route", "add", f"{OTHER}/32", "via", OUTSIDE)
    try:
        before = photograph(net.gateway)
        net.up("--client", PHONE, "--proxy", SOCKS)
        assert net.get(host=net.other) == OTHER
        assert net.get() == PROXY
        net.down()
        assert changed(net, before) == []
    finally:
        net.server.sh("ip", "route", "del", f"{OTHER}/32")
        net.gateway.sh("sysctl", "-qw", "net.ipv4.ip_forward=0")
        settings = ("accept_redirects=1", "forwarding=0")  # what the kernel gave them when it was made no router again
        for name in ("all", "default", "lo", "lan0", "wan0"):
            net.gateway.sh("sysctl", "-qw", *(f"net.ipv4.conf.{name}.{setting}" for setting in settings))


def test_nobody_gets_in_from_outside(net: Lab) -> None:
    """Hosts of the uplink reach no client, and nobody reaches the transparent proxy but by being redirected."""
    net.up("--proxy", SOCKS)
    web = net.phone.start(sys.executable, str(netlab.SERVER), "80")
    until(lambda: net.phone.listens(80), "a server on the phone")
    net.server.sh("ip", "route", "add", "192.168.7.0/24", "via", OUTSIDE)
    try:
        assert net.get(f"http://{PHONE}/", net.other) == OTHER
        assert net.get(f"http://{PHONE}/", net.server, seconds=0.5) is None
        for host, address in ((net.server, OUTSIDE), (net.phone, GATEWAY), (net.gateway, "127.0.0.1")):
            assert net.get(f"http://{address}:{PORT}/", host, seconds=0.5) is None
    finally:
        net.server.sh("ip", "route", "del", "192.168.7.0/24")
        net.phone.stop(web)


def test_the_gateway_itself_is_not_proxied(net: Lab) -> None:
    """The phone reaches servers of the gateway directly, the gateway the internet as before."""
    net.up("--proxy", SOCKS)
    web = net.gateway.start(sys.executable, str(netlab.SERVER), "80")
    until(lambda: net.gateway.listens(80), "a server on the gateway")
    assert net.get(f"http://{GATEWAY}/") == PHONE
    assert net.get(f"http://{OUTSIDE}/") == PHONE
    assert net.get(host=net.gateway) == OUTSIDE
    net.gateway.stop(web)


def test_a_proxy_on_the_gateway(net: Lab) -> None:
    """A proxy on the gateway itself, only reachable there, does not loop: its connections are not redirected."""
    socks = net.gateway.start("microsocks", "-i", "127.0.0.1", "-p", "1080")
    until(lambda: net.gateway.listens(1080), "a proxy on the gateway")
    net.up("--proxy", "socks5://127.0.0.1:1080")
    assert [net.get(HTTP), net.get(HTTPS)] == [OUTSIDE, OUTSIDE]
    assert status(net)["counts"]["redirected"] == 2
    net.gateway.stop(socks)
    assert net.get(seconds=1) is None


def test_a_proxy_in_the_lan_is_no_client(net: Lab) -> None:
    """A proxy among the clients reaches the internet directly, not in a circle through itself."""
    socks = net.other.start("microsocks", "-p", "1080")
    until(lambda: net.other.listens(1080), "a proxy in the LAN")
    net.up("--proxy", f"socks5://{OTHER}:1080")
    assert net.get() == OUTSIDE
    assert status(net)["counts"]["redirected"] == 1
    net.down()
    assert "in a circle" in net.refused("--proxy", f"socks5://{OTHER}:1080", "--client", "192.168.7.0/24")
    net.other.stop(socks)


def test_a_capture_on_the_lan_shows_phone_and_server(net: Lab) -> None:
    """On the LAN interface packets carry the addresses of phone and server, also behind a proxy."""
    net.up("--proxy", SOCKS)
    output, errors = net.folder / "lan.txt", net.folder / "lan.err"
    command = f"tcpdump -i lan0 -n -l -c 2 'tcp[tcpflags] & tcp-syn != 0' > {output} 2> {errors}"
    tcpdump = net.gateway.start("timeout", "10", "sh", "-c", command)
    until(lambda: errors.exists() and "listening" in errors.read_text(), "tcpdump")
    assert net.get(HTTPS) == PROXY
    tcpdump.wait(10)
    there, back = output.read_text().splitlines()
    assert f"IP {PHONE}." in there and f"> {INTERNET}.443:" in there
    assert f"IP {INTERNET}.443 > {PHONE}." in back


# --- one arm ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
def test_one_armed(armed: Lab, proxied: bool) -> None:
    """With one interface for both the servers see the gateway, or the proxy, which may be in the LAN itself."""
    socks = armed.other.start("microsocks", "-p", "1080")
    until(lambda: armed.other.listens(1080), "a proxy")
    armed.up("--client", PHONE, *(("--proxy", f"socks5://{OTHER}:1080") if proxied else ()))
    seen = OTHER if proxied else GATEWAY
    assert [armed.get(HTTP), armed.get(HTTPS)] == [seen, seen]
    assert armed.ask(GATEWAY) and armed.ask(INTERNET)
    armed.other.stop(socks)


def redirects(host: Host) -> int:
    """How often the host has told another of a shorter way."""
    names, values = (line.split() for line in host.sh("cat", "/proc/net/snmp").splitlines() if line.startswith("Icmp:"))
    return int(values[names.index("OutRedirects")])


def test_one_armed_sends_no_redirects(armed: Lab) -> None:
    """The kernel would tell the phone of the way past the gateway, and does with the setting that `up` changes."""
    before = redirects(armed.gateway)
    armed.up("--client", PHONE)
    assert armed.get() == GATEWAY
    assert redirects(armed.gateway) == before
    armed.gateway.sh("sysctl", "-qw", "net.ipv4.conf.all.send_redirects=1")
    assert any("send_redirects is 1 instead of 0" in problem for problem in status(armed)["problems"])
    assert armed.get() == GATEWAY
    assert redirects(armed.gateway) > before


def test_one_armed_for_the_whole_lan(armed: Lab) -> None:
    """Without --client all hosts of the one network are clients, and the router's answers reach them."""
    armed.up("--udp", "drop")
    for host in (armed.phone, armed.other):
        assert armed.get(host=host) == GATEWAY
    assert armed.ask(GATEWAY) and armed.ask("192.168.7.254")


# --- IPv6 -------------------------------------------------------------------------------------------------------------


def set_forwarding6(net: Lab, value: int) -> None:
    net.gateway.sh("sysctl", "-qw", f"net.ipv6.conf.all.forwarding={value}")


def test_ipv6_does_not_go_past_the_gateway(net: Lab) -> None:
    """IPv6 that the machine forwarded before is blocked and counted while the gateway is up, and passes again after."""
    set_forwarding6(net, 1)
    try:
        before = photograph(net.gateway)
        assert net.get(HTTP6) == "fd00:7::20"
        net.up("--proxy", SOCKS)
        assert net.get(HTTP6, seconds=0.5) is None
        assert status(net)["counts"]["ipv6_blocked"] > 0
        net.down()
        assert net.get(HTTP6) == "fd00:7::20"
        assert changed(net, before) == []
    finally:
        set_forwarding6(net, 0)


def test_ipv6_is_forwarded_where_asked(net: Lab) -> None:
    """--ipv6 forward leads it out with the gateway's address, and the gateway keeps its own announced route."""
    announcer = announce(net.server, "fd00:113::", net)
    net.gateway.sh("ip", "-6", "route", "del", "default")
    try:
        until(lambda: "proto ra" in net.gateway.sh("ip", "-6", "route", "show", "default"), "an announced route", 20)
        before = photograph(net.gateway)
        net.up("--ipv6", "forward")
        assert (net.get(HTTP6, seconds=5) or "").startswith("fd00:113:")
        assert net.get() == OUTSIDE
        assert "proto ra" in net.gateway.sh("ip", "-6", "route", "show", "default")
        net.down()
        assert changed(net, before) == []
    finally:
        net.server.stop(announcer)
        net.gateway.run("ip", "-6", "route", "flush", "proto", "ra")
        net.gateway.run("ip", "-6", "address", "flush", "dev", "wan0", "dynamic")
        net.gateway.sh("ip", "-6", "route", "replace", "default", "via", "fd00:113::1")


def announce(host: Host, prefix: str, net: Lab) -> Any:
    """A router that announces itself and a prefix."""
    options = ("--port=0", "--enable-ra", f"--dhcp-range={prefix},ra-only", "--ra-param=eth0,10,1800", "--pid-file=")
    leases = f"--dhcp-leasefile={net.folder}/leases"
    return host.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", leases, *options)


def test_status_says_who_goes_round_by_ipv6(net: Lab) -> None:
    """Another router that announces IPv6 on the LAN is named, with what it makes possible; exit code 1."""
    net.up()
    assert net.flowgauge("status").returncode == 0
    assert status(net)["ipv6_watched"] is True
    announcer = announce(net.other, "fd00:7::", net)
    try:
        until(lambda: net.flowgauge("status").returncode == 1, "status finds the router", 20)
        (problem,) = status(net)["problems"]
        assert re.search(r"can go round the gateway by IPv6: fe80::\S+ \([0-9a-f:]{17}\) announces it on lan0", problem)
    finally:
        net.other.stop(announcer)


# --- other firewalls --------------------------------------------------------------------------------------------------

DOCKER = """
iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -A DOCKER-USER -j RETURN
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -P INPUT DROP
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""

FIREWALLD = """
table inet strict {
  chain incoming {
    type filter hook input priority filter + 10; policy accept
    ct state { established, related } accept
    iifname "lo" accept
    jump zones
    reject with icmpx admin-prohibited
  }
  chain forwarded {
    type filter hook forward priority filter + 10; policy accept
    ct state { established, related } accept
    ct state invalid drop
    jump zones
    reject with icmpx admin-prohibited
  }
  chain zones { }
}
"""


def remedies(message: str) -> list[str]:
    """The commands that a refusal names."""
    lines = message.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("let it pass"))
    return [line.strip() for line in lines[start + 1 :]]


def test_a_docker_that_drops_is_found(net: Lab) -> None:
    """A drop policy of iptables is refused with commands after which `up` and the traffic pass; they stay behind."""
    net.gateway.sh("sh", "-ec", DOCKER)
    try:
        message = net.refused("--proxy", SOCKS)
        assert "table ip filter, chain FORWARD: its policy is drop" in message
        assert remedies(message) == [
            "iptables -I DOCKER-USER -i lan0 -o wan0 -j ACCEPT",
            "iptables -I DOCKER-USER -i wan0 -o lan0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            f"iptables -I INPUT -i lan0 -p tcp --dport {PORT} -j ACCEPT",
        ]
        for command in remedies(message):
            net.gateway.sh("sh", "-c", command)
        before = photograph(net.gateway)
        net.up("--proxy", SOCKS)
        assert net.get() == PROXY and net.ask(INTERNET)
        assert "-A DOCKER-USER -i lan0" in net.gateway.sh("iptables", "-S")
        net.down()
        assert changed(net, before) == []
    finally:
        net.gateway.sh("nft", "flush", "ruleset")


def test_a_last_rule_that_rejects_is_found(net: Lab) -> None:
    """A rejecting last rule, as firewalld has it, is refused with the exact nft commands, which work as printed."""
    net.gateway.sh("sh", "-c", f"echo '{FIREWALLD}' | nft -f -")
    try:
        message = net.refused("--proxy", SOCKS)
        assert "chain forwarded: a rule of chain forwarded drops lan0 → wan0" in message
        assert remedies(message) == [
            f"nft 'insert rule inet strict incoming iifname \"lan0\" tcp dport {PORT} accept'",
            'nft \'insert rule inet strict forwarded iifname "lan0" oifname "wan0" accept\'',
        ]
        for command in remedies(message):
            net.gateway.sh("sh", "-c", command)
        net.up("--proxy", SOCKS)
        assert net.get() == PROXY and net.ask(INTERNET)
        net.gateway.sh("nft", "flush", "chain", "inet", "strict", "incoming")
        assert net.flowgauge("status").returncode == 0
        net.gateway.sh("nft", "add", "rule", "inet", "strict", "incoming", "iifname", "lan0", "drop")
        assert any("chain incoming" in problem for problem in status(net)["problems"])
    finally:
        net.gateway.sh("nft", "delete", "table", "inet", "strict")


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        ("rules.load", 0),
        ("proxy.start", 0),
        ("proxy.is_listening", 0),
        ("sysctl.write", 0),
        ("sysctl.write", 1),
        ("rules.fingerprint", 0),
    ],
)
def test_up_killed_midway(net: Lab, function: str, calls: int) -> None:
    """Wherever SIGKILL hits `up`: status and a second `up` say so, and `down` restores everything, twice if asked."""
    before = photograph(net.gateway)
    options = ("up", "--lan", "lan0", "--uplink", "wan0", "--proxy", SOCKS)
    done = net.flowgauge(*options, killed=(function, calls))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "did not come to its end: run `flowgauge gateway down`" in net.flowgauge("status").stdout
    assert "did not come to its end" in net.refused()
    net.down()
    assert changed(net, before) == []
    assert processes(net, SUPERVISOR) == []
    assert net.down() == "nothing to take down\n"


@pytest.mark.parametrize("function", ["sysctl.write", "rules.delete", "proxy.stop", "state.remove"])
def test_down_killed_midway(net: Lab, function: str) -> None:
    """Wherever SIGKILL hits `down`, the next one ends its work."""
    before = photograph(net.gateway)
    net.up("--proxy", SOCKS)
    done = net.flowgauge("down", killed=(function, 0))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "is down" in net.down()
    assert changed(net, before) == []


def test_the_proxy_comes_back(net: Lab) -> None:
    """A redsocks that dies is started again by its supervisor."""
    net.up("--proxy", SOCKS)
    (first,) = redsocks(net)
    os.kill(first, signal.SIGKILL)
    until(lambda: redsocks(net) not in ([], [first]) and net.gateway.listens(PORT), "redsocks is back")
    assert net.get() == PROXY
    assert "redsocks ended with -9" in (net.state / "gateway-redsocks.log").read_text()


def test_the_supervisor_killed(net: Lab) -> None:
    """Without its supervisor the proxy goes on, status says so, and `down` ends it and restores everything."""
    before = photograph(net.gateway)
    net.up("--proxy", SOCKS)
    (supervisor,) = processes(net, SUPERVISOR)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not processes(net, SUPERVISOR), "the supervisor's end")
    assert net.get() == PROXY
    assert any("the supervisor of redsocks is gone" in problem for problem in status(net)["problems"])
    net.down()
    assert redsocks(net) == []
    assert changed(net, before) == []


def test_a_supervisor_without_a_gateway_ends_by_itself(net: Lab) -> None:
    """A supervisor whose state file has gone ends itself and its proxy; `down` removes the rules that are left."""
    before = photograph(net.gateway)
    net.up("--proxy", SOCKS)
    saved = (net.state / "gateway.json").read_text()
    (net.state / "gateway.json").unlink()
    until(lambda: not processes(net, SUPERVISOR) and not redsocks(net), "the end of both")
    assert "without a state file" in net.flowgauge("status").stdout
    assert "the table inet flowgauge is there already" in net.refused()
    said = net.down()
    assert "removed the table inet flowgauge" in said and "not known" in said
    (net.state / "gateway.json").write_text(saved)
    net.down()
    assert changed(net, before) == []


def test_a_proxy_that_does_not_start(net: Lab) -> None:
    """When redsocks ends at once, `up` shows what it said and leaves everything as it was."""
    before = photograph(net.gateway)
    tools = net.folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "redsocks").write_text("#!/bin/sh\necho this one is broken >&2\nexit 1\n")
    (tools / "redsocks").chmod(0o755)
    options = ("up", "--lan", "lan0", "--uplink", "wan0", "--proxy", SOCKS)
    done = net.flowgauge(*options, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "redsocks does not start" in done.stderr and "this one is broken" in done.stderr
    assert changed(net, before) == []
    assert not (net.state / "gateway.json").exists()


def test_after_a_reboot(net: Lab) -> None:
    """A state file that has outlived a reboot does not bring back settings of the time before."""
    net.up()
    path = net.state / "gateway.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "boot": "another"}))
    assert any("started anew" in problem for problem in status(net)["problems"])
    assert "started anew" in net.down()
    assert net.gateway.sh("sysctl", "-n", "net.ipv4.conf.lan0.forwarding").strip() == "1"
    for name in ("lan0", "wan0"):
        net.gateway.sh("sysctl", "-qw", f"net.ipv4.conf.{name}.forwarding=0")


def test_settings_of_others_meanwhile(net: Lab) -> None:
    """A setting that another program changes while the gateway is up goes back too, and `down` names it."""
    net.up()
    net.gateway.sh("sysctl", "-qw", "net.ipv4.conf.wan0.rp_filter=2", "net.ipv4.ip_forward=1")
    assert status(net)["problems"] == []
    said = net.down()
    assert "another program had set net.ipv4.conf.wan0.rp_filter to 2; it is 0 again" in said
    assert "net.ipv4.conf.all.forwarding to 1" in said


def test_settings_lost_meanwhile(net: Lab) -> None:
    """Status finds forwarding that another program has switched off, and an uplink that is down."""
    net.up()
    net.gateway.sh("sysctl", "-qw", "net.ipv4.conf.lan0.forwarding=0")
    assert any("net.ipv4.conf.lan0.forwarding is 0 instead of 1" in problem for problem in status(net)["problems"])


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_up_twice(net: Lab) -> None:
    """A second `up` is refused and leaves the first alone."""
    net.up()
    assert "the gateway is up since" in net.refused()
    assert net.get() == OUTSIDE


@pytest.mark.parametrize(
    ("lan", "uplink", "rest", "said"),
    [
        ("lan9", "wan0", (), "--lan lan9: there is no such interface; there are lan0, wan0"),
        ("lan0", "wan9", (), "--uplink wan9: there is no such interface"),
        ("lo", "wan0", (), "--lan lo is the loopback"),
        ("wan0", "lan0", (), "--uplink lan0: IPv4 packets to the internet leave by wan0: give --uplink wan0"),
        ("lan0", "wan0", ("--client", "192.168.8.20"), "--client 192.168.8.20/32 is not in a network of lan0"),
        ("lan0", "wan0", ("--client", GATEWAY), f"--client {GATEWAY} is this machine itself"),
        ("lan0", "wan0", ("--proxy", f"socks5://{PROXY}:1079"), "does not answer (Connection refused): start it"),
        ("lan0", "wan0", ("--proxy", f"socks5://{PROXY}:1081"), "wants a password"),
    ],
)
def test_wrong_interfaces_and_addresses(net: Lab, lan: str, uplink: str, rest: tuple[str, ...], said: str) -> None:
    """`up` says which interface or address is wrong and what would be right, and changes nothing."""
    before = photograph(net.gateway)
    done = net.flowgauge("up", "--lan", lan, "--uplink", uplink, *rest)
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert changed(net, before) == []


def test_an_uplink_that_leads_nowhere(net: Lab) -> None:
    """An interface that is down, or has no route to the internet, is refused with the command that helps."""
    net.gateway.sh("ip", "route", "del", "default")
    try:
        assert "ip -4 route add default via ROUTER dev wan0" in net.refused()
        net.gateway.sh("ip", "link", "add", "idle", "type", "bridge")
        assert "--uplink idle is down" in net.flowgauge("up", "--lan", "lan0", "--uplink", "idle").stderr
        net.gateway.sh("ip", "link", "set", "idle", "up")
        said = net.flowgauge("up", "--lan", "idle", "--uplink", "wan0").stderr
        assert "--lan idle has no IPv4 network: give it one, e.g. `ip addr add 192.168.7.1/24 dev idle`" in said
    finally:
        net.gateway.run("ip", "link", "del", "idle")
        net.gateway.sh("ip", "route", "add", "default", "via", netlab.ROUTER)


def test_without_root(net: Lab) -> None:
    """Without root each command is refused and says how to run it; a dry run works and says what it could not see."""
    net.folder.chmod(0o755)
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "flowgauge", "gateway")
    for command in (("up", "--lan", "lan0", "--uplink", "wan0"), ("status",), ("down",)):
        done = net.gateway.run(*user, *command, **net.variables())
        assert done.returncode == 1
        assert f"`flowgauge gateway {command[0]}` needs root: run `sudo flowgauge" in done.stderr
    done = net.gateway.run(*user, "up", "--lan", "lan0", "--uplink", "wan0", "--dry-run", **net.variables())
    assert done.returncode == 0, done.stderr
    assert "masquerade" in done.stdout and "not as root" in done.stderr


def test_a_dry_run_shows_and_changes_nothing(net: Lab) -> None:
    """--dry-run prints rules, settings and the proxy's configuration without its password; nothing is changed."""
    before = photograph(net.gateway)
    proxy = f"socks5://anna:p%3Bs%23s%20word@{PROXY}:1081"
    done = net.flowgauge("up", "--lan", "lan0", "--uplink", "wan0", "--proxy", proxy, "--dry-run")
    assert done.returncode == 0, done.stderr
    for shown in (f"redirect to :{PORT}", "net.ipv4.conf.lan0.forwarding=1  # was 0", 'login = "anna"'):
        assert shown in done.stdout
    assert "word" not in done.stdout.replace("password", "")
    assert changed(net, before) == []
    assert not (net.state / "gateway.json").exists()
    script = done.stdout.split("# nft -f -\n")[1].split("\n# redsocks")[0]
    net.gateway.sh("sh", "-c", f"cat <<'EOF' | nft -c -f -\n{script}\nEOF")


def test_two_commands_at_a_time(net: Lab) -> None:
    """While one command is at work another is refused, and a folder that others may write to is not used."""
    net.up()
    holder = net.gateway.start("flock", str(net.state), "sleep", "20")
    until(lambda: net.gateway.run("flock", "-n", str(net.state), "true").returncode == 1, "the lock")
    assert "another `flowgauge gateway` is at work" in net.flowgauge("down").stderr
    net.gateway.stop(holder)
    for process in processes(net, "sleep"):
        os.kill(process, signal.SIGKILL)
    net.state.chmod(0o777)
    try:
        assert "writable by them" in net.flowgauge("down").stderr
    finally:
        net.state.chmod(0o700)
