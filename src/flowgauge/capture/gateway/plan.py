"""What `up` will do, in full, before anything is done: the rules, the settings, the proxy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from flowgauge.capture.gateway import firewall, machine, proxy, rules, state, sysctl, system
from flowgauge.capture.gateway.machine import Machine
from flowgauge.capture.gateway.options import GatewayOptions
from flowgauge.errors import GatewayError

_LEGACY = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")


@dataclass(frozen=True)
class Plan:
    """`port` is that of the transparent proxy; `settings` are written in this order; `notes` are for the user."""

    options: GatewayOptions
    machine: Machine
    port: int | None
    script: str
    settings: sysctl.Values
    notes: tuple[str, ...]


def make(options: GatewayOptions) -> Plan:
    """Look at the machine and decide; changes nothing."""
    found = machine.look(options)
    port = proxy.free_port() if options.proxy is not None else options.redirect
    script = rules.script(options, found, port)
    return Plan(options, found, port, script, dict(_settings(options, found)), tuple(_notes(options, found)))


def _settings(options: GatewayOptions, found: Machine) -> Iterator[tuple[str, str]]:
    """Forwarding of the two interfaces only, and last: until then no packet passes.

    `net.ipv4.ip_forward` would do it for all interfaces and reset their other settings.
    """
    wanted: list[tuple[str, str]] = []
    if options.lan == options.uplink:
        # The client's router and its neighbour are one: the kernel would tell it of the shorter way past the gateway.
        # An interface sends redirects if either it or "all" says so.
        wanted += [(f"ipv4/conf/{name}/send_redirects", "0") for name in ("all", options.lan)]
    if options.ipv6 == "forward":
        # A router ignores other routers' announcements, and with them its own way to the internet, unless this is 2.
        wanted += [(key, "2") for key in _accept_ra(found) if found.before[key] == "1"]
        wanted.append(("ipv6/conf/all/forwarding", "1"))
    wanted += [(f"ipv4/conf/{name}/forwarding", "1") for name in dict.fromkeys((options.uplink, options.lan))]
    return ((key, value) for key, value in wanted if found.before.get(key) != value)


def _accept_ra(found: Machine) -> Iterator[str]:
    """The setting of each interface; those of "all" and "default" are only for interfaces to come."""
    for key in found.before:
        version, _, interface, leaf = key.split("/")
        if version == "ipv6" and leaf == "accept_ra" and interface not in ("all", "default"):
            yield key


def _notes(options: GatewayOptions, found: Machine) -> Iterator[str]:
    if options.redirect is not None:
        wrong = machine.transparent_proxy(options.redirect, found.addresses)
        if wrong:
            yield f"the clients' TCP does not get through yet: {wrong}"
    if not found.resolver_here and found.nameserver is None:
        yield (
            "this machine has no IPv4 nameserver and no resolver on the LAN: clients that ask the gateway for names "
            "get no answer; give them a nameserver of their own"
        )
    if _legacy_tables():
        yield "rules of iptables-legacy are loaded, which nft does not show: look whether they drop forwarded packets"


def _legacy_tables() -> bool:
    for path in _LEGACY:
        try:
            with open(path) as stream:
                if "filter" in stream.read().split():
                    return True
        except OSError:
            continue
    return False


def check(plan: Plan) -> None:
    """What only root can see: the proxy answers, no other table drops the packets, the kernel takes the rules."""
    found = system.ruleset()
    if rules.ours(found):
        raise GatewayError(f"the table inet {rules.TABLE} is there already: run `flowgauge gateway down` first")
    port = plan.port if plan.options.proxied else None
    wanted = firewall.flows(plan.options.lan, plan.options.uplink, plan.machine.clients, port)
    in_the_way = firewall.obstacles(found, wanted)
    if in_the_way:
        raise GatewayError("\n".join(_blocked(in_the_way)))
    rules.check(plan.script)


def _blocked(obstacles: list[firewall.Obstacle]) -> Iterator[str]:
    yield "the firewall of this machine drops what the gateway forwards, and no rule of another table can change that:"
    for one in obstacles:
        yield f"  table {one.family} {one.table}, chain {one.chain}: {one.cause} {one.flow.about}"
    yield "let it pass, then run `up` again (the rules stay until you remove them):"
    yield from dict.fromkeys(f"  {one.remedy}" for one in obstacles)


def describe(plan: Plan) -> str:
    """The plan as text: what `--dry-run` shows."""
    saved = f"# saved first, in {state.path()}: net.ipv4.conf and net.ipv6.conf\n"
    return "\n".join([saved, f"# nft -f -\n{plan.script}", *_described_proxy(plan), *_described_settings(plan)])


def _described_proxy(plan: Plan) -> Iterator[str]:
    if plan.options.proxy is not None and plan.port is not None:
        yield f"# redsocks -c {proxy.configuration_path()}, started again whenever it ends"
        yield proxy.configuration(replace(plan.options.proxy, password="…"), plan.port)


def _described_settings(plan: Plan) -> Iterator[str]:
    yield "# sysctl -w"
    for key, value in plan.settings.items():
        yield f"{sysctl.name(key)}={value}  # was {plan.machine.before.get(key)}"
    if not plan.settings:
        yield "# nothing: the interfaces forward already"
