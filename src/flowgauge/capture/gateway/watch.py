"""What `status` tells: whether all that `up` made still holds, what has passed, and who goes round the gateway."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from flowgauge.capture.gateway import firewall, machine, proxy, rules, state, sysctl, system
from flowgauge.capture.gateway.options import Network, Proxy
from flowgauge.errors import GatewayError

STATUS = "flowgauge gateway status"
_AGAIN = "run `flowgauge gateway down` and `up` again"
_ALL_ROUTERS, _ROUTER_SOLICITATION = "ff02::2", 133  # RFC 4861, section 4.1
_ANSWER_S = 0.6  # routers wait up to 0.5 s (RFC 4861, section 6.2.6)


@dataclass(frozen=True)
class Status:
    """`up` is False without a gateway; `router` is its address for the clients.

    `counts` are packets, and for `redirected` connections; `ipv6_watched` is whether other IPv6 routers can be seen.
    """

    up: bool
    since: str | None = None
    lan: str | None = None
    uplink: str | None = None
    router: str | None = None
    clients: list[str] = field(default_factory=list)
    proxy: str | None = None
    port: int | None = None
    udp: str | None = None
    ipv6: str | None = None
    nameserver: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    ipv6_watched: bool = True
    ipv6_routers: list[str] = field(default_factory=list)
    ipv6_addresses: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def status() -> Status:
    """Look; changes nothing, but asks the LAN once whether another router announces IPv6."""
    system.require_root(STATUS)
    saved = state.load()
    if saved is None:
        left = bool(rules.ours(system.ruleset())) or bool(proxy.supervisors() or proxy.proxies())
        hint = "rules or processes of a gateway are there without a state file: run `flowgauge gateway down`"
        return Status(up=False, problems=[hint] if left else [])
    if saved["phase"] != "up":
        hint = f"the `up` of {saved['since']} did not come to its end: run `flowgauge gateway down`"
        return Status(up=False, problems=[hint])
    if saved["namespace"] != system.namespace():
        raise GatewayError(f"{state.path()} is of another network namespace: run `{STATUS}` there")
    return _status(saved)


def _status(saved: state.State) -> Status:
    asked = solicit(saved["lan"])
    found = system.ruleset()
    if asked and not _seen(rules.ours(found), "ipv6_routers"):
        time.sleep(_ANSWER_S)
        found = system.ruleset()
    objects = rules.ours(found)
    routers, addresses = _seen(objects, "ipv6_routers"), _seen(objects, "ipv6_addresses")
    return Status(
        up=True,
        since=saved["since"],
        lan=saved["lan"],
        uplink=saved["uplink"],
        router=saved["addresses"][0],
        clients=saved["clients"],
        proxy=saved["proxy"],
        port=saved["port"],
        udp=saved["udp"],
        ipv6=saved["ipv6"],
        nameserver=saved["nameserver"],
        counts=dict.fromkeys(rules.COUNTERS, 0) | {one["name"]: one["packets"] for one in objects.get("counter", [])},
        ipv6_watched=asked,
        ipv6_routers=routers,
        ipv6_addresses=addresses,
        problems=list(_problems(saved, found)) + list(_round(saved, routers, addresses)),
    )


def solicit(interface: str) -> bool:
    """Ask the routers of a link to announce themselves; False where IPv6 is off there."""
    if sysctl.read(f"ipv6/conf/{interface}/disable_ipv6") != "0":
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            index = socket.if_nametoindex(interface)
            raw.sendto(struct.pack(">BBHI", _ROUTER_SOLICITATION, 0, 0, 0), (_ALL_ROUTERS, 0, 0, index))
    except OSError:
        return False
    return True


def _seen(objects: dict[str, list[dict[str, Any]]], name: str) -> list[str]:
    """The elements of a set of MAC and IPv6 addresses, each as `address (MAC)`."""
    elements = [element for one in objects.get("set", []) if one["name"] == name for element in one.get("elem", [])]
    pairs = [element.get("elem", {}).get("val", element)["concat"] for element in elements]
    return sorted(f"{address} ({hardware})" for hardware, address in pairs)


def _problems(saved: state.State, found: list[dict[str, Any]]) -> Iterator[str]:
    """What no longer is as `up` left it."""
    if saved["boot"] != system.boot():
        yield f"the machine has started anew since: {_AGAIN}"
        return
    objects = rules.ours(found)
    if not objects:
        yield f"the table inet {rules.TABLE} is gone, somebody has flushed the rules: {_AGAIN}"
    elif rules.fingerprint(objects) != saved["table"]:
        yield f"somebody has changed the table inet {rules.TABLE}: {_AGAIN}"
    for key, value in saved["settings"].items():
        present = sysctl.read(key)
        if present != value:
            yield f"{sysctl.name(key)} is {present} instead of {value}, somebody has changed it: {_AGAIN}"
    yield from _interface_problems(saved)
    networks = tuple(map(_network, saved["clients"]))
    wanted = firewall.flows(saved["lan"], saved["uplink"], networks, saved["port"])
    for one in firewall.obstacles(found, wanted):
        yield f"table {one.family} {one.table}, chain {one.chain}: {one.cause} {one.flow.about}: {one.remedy}"
    yield from _proxy_problems(saved)


def _network(text: str) -> Network:
    import ipaddress

    return ipaddress.ip_network(text)


def _interface_problems(saved: state.State) -> Iterator[str]:
    links = {link["ifname"]: link for link in system.ip("address", "show")}
    for interface in dict.fromkeys((saved["lan"], saved["uplink"])):
        if interface not in links:
            yield f"the interface {interface} is gone"
        elif "UP" not in links[interface]["flags"]:
            yield f"the interface {interface} is down"
    present = {info["local"] for info in links.get(saved["lan"], {}).get("addr_info", [])}
    if saved["lan"] in links and not present.intersection(saved["addresses"]):
        yield f"{saved['lan']} has other addresses than at `up` ({', '.join(saved['addresses'])}): {_AGAIN}"
    try:
        machine.check_route(saved["uplink"], 4)
    except GatewayError as error:
        yield str(error)


def _proxy_problems(saved: state.State) -> Iterator[str]:
    if saved["port"] is None:
        return
    if saved["proxy"] is None:
        wrong = machine.transparent_proxy(saved["port"], tuple(saved["addresses"]))
        if wrong:
            yield wrong
        return
    if not proxy.supervisors():
        yield f"the supervisor of redsocks is gone: {_AGAIN}"
    if not proxy.proxies():
        yield f"redsocks does not run, see {proxy.log_path()}"
    address, port = saved["proxy_at"]
    wrong = proxy.complaint(Proxy("", address, port, "", "", saved["proxy"]))
    if wrong:
        yield wrong


def _round(saved: state.State, routers: list[str], addresses: list[str]) -> Iterator[str]:
    """Whether clients have another way out than this machine."""
    if not routers or saved["ipv6"] == "forward":
        return
    have = f"; they have the addresses {', '.join(addresses)}" if addresses else ""
    yield (
        f"clients can go round the gateway by IPv6: {', '.join(routers)} announces it on {saved['lan']}{have}: "
        "turn IPv6 off at that router or on the client"
    )
