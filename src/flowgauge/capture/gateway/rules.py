"""The gateway's nftables table: one script, loaded as one transaction, removed as one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from flowgauge.capture.gateway import system
from flowgauge.capture.gateway.machine import Machine
from flowgauge.capture.gateway.options import GatewayOptions, Network

TABLE = "flowgauge"
DELETE = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
"""Adding first makes the deletion of what is not there no error, in the same transaction."""

COUNTERS = ("from_clients", "redirected", "tcp_refused", "udp_dropped", "ipv6_blocked", "others_dropped")
SEEN = ("ipv6_routers", "ipv6_addresses")
"""Sets that the kernel fills: who announces IPv6 on the LAN, and who has an address there beyond its link."""

_GLOBAL = "{ 2000::/3, fc00::/7 }"


def script(options: GatewayOptions, machine: Machine, port: int | None) -> str:
    """The script; `port` is that of the transparent proxy. It fails as a whole where the table exists already."""
    blocks = [
        *_sets(machine),
        *(f"counter {name} {{ }}" for name in COUNTERS),
        _chain("watch", _watch(options, machine), "filter", "prerouting", "raw"),
        _chain("prerouting", _prerouting(options, machine, port), "nat", "prerouting", "dstnat - 10"),
        _chain("postrouting", _postrouting(options, machine), "nat", "postrouting", "srcnat - 10"),
        _chain("clients", _clients(options)),
        _chain("forward", _forward(options, machine), "filter", "forward", "filter - 10"),
    ]
    if options.proxy is not None:
        blocks.append(_chain("input", _input(options, port), "filter", "input", "filter - 10"))
    body = "\n".join(blocks).replace("\n", "\n\t")
    return f"create table inet {TABLE}\ntable inet {TABLE} {{\n\t{body}\n}}\n"


def _chain(name: str, rules: Iterable[str], kind: str = "", hook: str = "", priority: str = "") -> str:
    head = [f"type {kind} hook {hook} priority {priority}; policy accept;"] if hook else []
    return "\n".join([f"chain {name} {{", *(f"\t{line}" for line in (*head, *rules)), "}"])


def _sets(machine: Machine) -> Iterator[str]:
    for name, version, networks in (
        ("clients", 4, machine.clients),
        ("clients6", 6, machine.clients),
        ("lan", 4, machine.networks),
    ):
        elements = ", ".join(str(network) for network in networks if network.version == version)
        if elements:
            yield f"set {name} {{ type ipv{version}_addr; flags interval; auto-merge; elements = {{ {elements} }}; }}"
    for name in SEEN:
        yield f"set {name} {{ type ether_addr . ipv6_addr; flags dynamic,timeout; size 1024; timeout 1h; }}"


def _sources(machine: Machine) -> list[str]:
    """What is true of a client's packet, by IP version."""
    versions = {client.version for client in machine.clients}
    return [
        expression
        for version, expression in ((4, "ip saddr @clients"), (6, "ip6 saddr @clients6"))
        if version in versions
    ]


def _watch(options: GatewayOptions, machine: Machine) -> Iterator[str]:
    """What `status` tells of; nothing is decided here."""
    lan = f'iifname "{options.lan}"'
    for source in _sources(machine):
        yield f"{lan} {source} counter name from_clients"
    yield f"{lan} icmpv6 type nd-router-advert update @ipv6_routers {{ ether saddr . ip6 saddr }}"
    yield f"{lan} ip6 saddr {_GLOBAL} update @ipv6_addresses {{ ether saddr . ip6 saddr }}"


def _prerouting(options: GatewayOptions, machine: Machine, port: int | None) -> Iterator[str]:
    """Where the clients' packets go instead."""
    client = f'iifname "{options.lan}" ip saddr @clients'
    if machine.nameserver is not None:
        protocols = "udp" if options.proxied else "{ tcp, udp }"
        yield f"{client} fib daddr type local meta l4proto {protocols} th dport 53 dnat ip to {machine.nameserver}"
    if port is None:
        return
    yield from _proxy_itself(options, machine)
    yield f'{client} fib daddr type local accept comment "the gateway itself"'
    yield f'{client} ip daddr @lan accept comment "the LAN itself"'
    yield f"{client} meta l4proto tcp counter name redirected redirect to :{port}"


def _proxy_itself(options: GatewayOptions, machine: Machine) -> Iterator[str]:
    """A proxy in the LAN is no client: its connections would go round in a circle."""
    if options.proxy is not None and any(ip_address(options.proxy.address) in one for one in machine.networks):
        yield f'iifname "{options.lan}" ip saddr {options.proxy.address} accept comment "the proxy itself"'


def _postrouting(options: GatewayOptions, machine: Machine) -> Iterator[str]:
    """Clients' packets leave with the gateway's address; packets of the gateway itself stay as they are."""
    for source in _sources(machine):
        yield f'oifname "{options.uplink}" {source} fib saddr type != local masquerade'
    if machine.nameserver is not None:
        yield "ip saddr @clients ct status dnat meta l4proto { tcp, udp } th dport 53 masquerade"


def _input(options: GatewayOptions, port: int | None) -> Iterator[str]:
    """Only redirected connections reach the transparent proxy: it listens on every address."""
    yield f'tcp dport {port} iifname "{options.lan}" ip saddr @clients ct status dnat accept'
    yield f"tcp dport {port} drop"


def _clients(options: GatewayOptions) -> Iterator[str]:
    """Clients' packets which are not TCP behind a proxy."""
    if options.udp == "drop":
        yield "meta l4proto udp th dport 53 accept"
        yield f"meta l4proto {{ icmp, ipv6-icmp{'' if options.proxied else ', tcp'} }} accept"
        yield "counter name udp_dropped drop"
    yield f'oifname "{options.uplink}" accept'
    yield "ct status dnat accept"


def _forward(options: GatewayOptions, machine: Machine) -> Iterator[str]:
    lan, uplink = options.lan, options.uplink
    client = f'iifname "{lan}" ip saddr @clients'
    leaving = f'iifname "{lan}"' + ("" if lan == uplink else f' oifname != "{lan}"')
    if options.ipv6 == "block":
        yield f"{leaving} meta nfproto ipv6 counter name ipv6_blocked reject with icmpv6 admin-prohibited"
    if options.proxied:
        yield from _proxy_itself(options, machine)
        yield f'{client} ip daddr @lan accept comment "the LAN itself"'
        yield f"{client} meta l4proto tcp counter name tcp_refused reject with tcp reset"
    yield f'oifname "{lan}" ct direction reply ct state established,related accept'
    for source in _sources(machine):
        yield f'iifname "{lan}" {source} jump clients'
    # Forwarding concerns whole interfaces: what they did not forward before, they do not forward now.
    if not machine.forwards(lan):
        yield f"{leaving} meta nfproto ipv4 counter name others_dropped drop"
    if not machine.forwards(uplink) and lan != uplink:
        yield f'iifname "{uplink}" meta nfproto ipv4 counter name others_dropped drop'
    if options.ipv6 == "forward" and not machine.forwards_ipv6:
        yield "meta nfproto ipv6 counter name others_dropped drop"


def check(text: str) -> None:
    """Let the kernel judge the script without loading it."""
    system.run("nft", "-c", "-f", "-", text=text)


def load(text: str) -> None:
    """Load the script, all of it or nothing."""
    system.run("nft", "-f", "-", text=text)


def delete() -> None:
    """Remove the table where it is there."""
    system.run("nft", "-f", "-", text=DELETE)


def ours(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The objects of the gateway's table by their kind (`chain`, `rule`, `set`, …); empty without the table."""
    objects: dict[str, list[dict[str, Any]]] = {}
    for entry in found:
        for kind, value in entry.items():
            table = value.get("name") if kind == "table" else value.get("table")
            if value.get("family") == "inet" and table == TABLE:
                objects.setdefault(kind, []).append(value)
    return objects


def fingerprint(objects: dict[str, list[dict[str, Any]]]) -> str:
    """What changes when somebody changes the table, and not with the traffic."""
    kept = [{**entry, "handle": 0} for kind in ("chain", "rule") for entry in objects.get(kind, [])]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def networks(words: Iterable[str]) -> str:
    """Networks as users write them: a single address without its length."""
    return ", ".join(word.removesuffix("/32").removesuffix("/128") for word in words)


def shown(clients: Iterable[Network]) -> str:
    """Clients as users write them."""
    return networks(map(str, clients))
