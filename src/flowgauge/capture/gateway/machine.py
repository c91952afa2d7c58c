"""What the machine is before the gateway: interfaces, addresses, the way to the internet, the resolver."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowgauge.capture.gateway import sysctl, system
from flowgauge.capture.gateway.options import GatewayOptions, Network
from flowgauge.errors import GatewayError

_NAME = re.compile(r"[\w.@:-]+")  # what needs no quoting in a rule; an asterisk there would mean many interfaces
_SOMEWHERE = {4: "1.1.1.1", 6: "2606:4700:4700::1111"}  # only looked up in the routing table
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_DNS = 53


@dataclass(frozen=True)
class Machine:
    """Facts about the two interfaces; `nameserver` answers for the gateway, None where it need not or cannot."""

    addresses: tuple[str, ...]
    networks: tuple[Network, ...]
    clients: tuple[Network, ...]
    resolver_here: bool
    nameserver: str | None
    before: sysctl.Values

    def forwards(self, interface: str) -> bool:
        """Whether IPv4 packets that come in by this interface were forwarded before."""
        return self.before.get(f"ipv4/conf/{interface}/forwarding") == "1"

    @property
    def forwards_ipv6(self) -> bool:
        """Whether IPv6 packets were forwarded before."""
        return self.before.get("ipv6/conf/all/forwarding") == "1"


def look(options: GatewayOptions) -> Machine:
    """Check the interfaces against the options; GatewayError says which one is wrong, and what would be right."""
    links = {link["ifname"]: link for link in system.ip("address", "show")}
    for option, interface in (("--lan", options.lan), ("--uplink", options.uplink)):
        _check_link(option, interface, links)
    found = [info for info in links[options.lan]["addr_info"] if info["scope"] == "global"]
    found.sort(key=lambda info: str(info["family"]))  # IPv4 first
    networks = tuple(ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False) for info in found)
    addresses = tuple(str(info["local"]) for info in found)
    _check_lan(options, addresses, networks)
    resolver = _resolves(addresses)
    nameserver = None if resolver else _nameserver()
    wanted = (4, 6) if options.ipv6 == "forward" else (4,)
    clients = options.clients or tuple(network for network in networks if network.version in wanted)
    for version in wanted:
        check_route(options.uplink, version)
    return Machine(addresses, networks, clients, resolver, nameserver, sysctl.snapshot())


def _check_link(option: str, interface: str, links: dict[str, Any]) -> None:
    usable = [name for name, link in links.items() if "LOOPBACK" not in link["flags"]]
    if interface not in links:
        raise GatewayError(f"{option} {interface}: there is no such interface; there are {', '.join(usable) or 'none'}")
    if interface not in usable:
        raise GatewayError(f"{option} {interface} is the loopback, no network; there are {', '.join(usable) or 'none'}")
    if not _NAME.fullmatch(interface):
        raise GatewayError(f"{option} {interface}: rename it (`ip link set … name …`), rules cannot hold such a name")
    if "UP" not in links[interface]["flags"]:
        raise GatewayError(f"{option} {interface} is down: run `ip link set {interface} up` and give it its address")


def _check_lan(options: GatewayOptions, addresses: tuple[str, ...], networks: tuple[Network, ...]) -> None:
    lan = options.lan
    if not any(network.version == 4 and network.prefixlen < 31 for network in networks):
        raise GatewayError(f"--lan {lan} has no IPv4 network: give it one, e.g. `ip addr add 192.168.7.1/24 dev {lan}`")
    if options.ipv6 == "forward" and not any(network.version == 6 for network in networks):
        raise GatewayError(f"--ipv6 forward: {lan} has no IPv6 network but its link-local one")
    shown = ", ".join(map(str, networks))
    for client in options.clients:
        if not any(within(client, network) for network in networks):
            raise GatewayError(f"--client {client} is not in a network of {lan} ({shown}): is it another interface's?")
        if client.num_addresses == 1 and str(client.network_address) in addresses:
            raise GatewayError(f"--client {client.network_address} is this machine itself: give the phone's address")
    proxy = options.proxy
    if proxy and any(ipaddress.ip_address(proxy.address) in client for client in options.clients):
        raise GatewayError(f"--client holds the proxy {proxy.address} itself, whose connections would go in a circle")


def within(inner: Network, outer: Network) -> bool:
    """Whether one network is part of another."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def check_route(uplink: str, version: int) -> None:
    """The way to the internet is by the uplink."""
    try:
        route = system.ip(f"-{version}", "route", "get", _SOMEWHERE[version])[0]
    except (GatewayError, IndexError) as error:
        raise GatewayError(
            f"--uplink {uplink}: this machine has no IPv{version} route to the internet, give it one: "
            f"`ip -{version} route add default via ROUTER dev {uplink}` ({error})"
        ) from None
    if route.get("dev") != uplink:
        raise GatewayError(
            f"--uplink {uplink}: IPv{version} packets to the internet leave by {route.get('dev')}: "
            f"give --uplink {route.get('dev')} or change the default route"
        )


def _resolves(addresses: tuple[str, ...]) -> bool:
    """Whether a resolver of this machine answers at a LAN address."""
    return any(
        found.port == _DNS and found.address in ("0.0.0.0", "::", *addresses) for found in system.listening("udp")
    )


def _nameserver() -> str | None:
    """The first nameserver of this machine that others can be sent to; systemd-resolved keeps it in its own file."""
    for path in _RESOLVERS:
        for line in path.read_text("utf-8", "replace").splitlines() if path.exists() else ():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and _reachable(words[1]):
                return words[1]
    return None


def _reachable(nameserver: str) -> bool:
    try:
        address = ipaddress.ip_address(nameserver)
    except ValueError:
        return False
    return address.version == 4 and not address.is_loopback


def transparent_proxy(port: int, addresses: tuple[str, ...]) -> str | None:
    """What is wrong with the proxy that the user runs at `port`, None if clients reach it."""
    found = [socket for socket in system.listening("tcp") if socket.port == port]
    if not found:
        return f"nothing listens on TCP port {port}: start the transparent proxy"
    if all(socket.loopback for socket in found):
        return f"port {port} listens on {found[0].address} only: let the proxy listen on {addresses[0]} or 0.0.0.0"
    return None
