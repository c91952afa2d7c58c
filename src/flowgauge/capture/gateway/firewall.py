"""Other tables that would drop the gateway's packets: an accept of one table never overrides the drop of another.

A packet of each kind that the gateway needs is led through the base chains of the other tables, as far as rules can be
decided without a packet: a rule is true, false or unknown, and only rules that are true count. So a drop of everything
is found whether it is a policy (Docker, ufw) or a last rule (firewalld).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from flowgauge.capture.gateway.machine import within
from flowgauge.capture.gateway.options import Network
from flowgauge.capture.gateway.rules import TABLE

_FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}
_IPTABLES = {"ip": "iptables", "ip6": "ip6tables"}

Rule = dict[str, Any]


@dataclass(frozen=True)
class Flow:
    """Packets of one kind: by which hook and interfaces they come and go, from whom; `port` is one of TCP."""

    hook: str
    version: int
    incoming: str
    outgoing: str | None
    state: str
    sources: tuple[Network, ...] = ()
    port: int | None = None

    @property
    def about(self) -> str:
        way = f"{self.incoming} → {self.outgoing}" if self.outgoing else f"{self.incoming} → port {self.port}"
        return f"{way} ({'replies' if self.state == 'established' else 'clients'}, IPv{self.version})"


@dataclass(frozen=True)
class Obstacle:
    """A base chain that drops a flow, and the command that lets it pass."""

    flow: Flow
    family: str
    table: str
    chain: str
    cause: str
    remedy: str


def flows(lan: str, uplink: str, clients: tuple[Network, ...], port: int | None) -> list[Flow]:
    """What has to pass: clients out, replies in, and the clients' TCP to the transparent proxy."""
    found = []
    for version in sorted({client.version for client in clients}):
        sources = tuple(client for client in clients if client.version == version)
        found.append(Flow("forward", version, lan, uplink, "new", sources))
        found.append(Flow("forward", version, uplink, lan, "established"))
        if port is not None and version == 4:
            found.append(Flow("input", version, lan, None, "new", sources, port))
    return found


def obstacles(ruleset: list[dict[str, Any]], wanted: list[Flow]) -> list[Obstacle]:
    """Every base chain of other tables that drops a wanted flow."""
    chains = [entry["chain"] for entry in ruleset if "chain" in entry]
    rules = [entry["rule"] for entry in ruleset if "rule" in entry]
    found = []
    for base in chains:
        place = (base["family"], base["table"])
        if "hook" not in base or base.get("type") != "filter" or place == ("inet", TABLE):
            continue
        below = [rule for rule in rules if (rule["family"], rule["table"]) == place]
        names = [chain["name"] for chain in chains if (chain["family"], chain["table"]) == place]
        for flow in wanted:
            if base["hook"] == flow.hook and base["family"] in _FAMILIES[flow.version]:
                cause = _Walk(flow, below).cause(base)
                if cause:
                    found.append(Obstacle(flow, *place, base["name"], cause, _remedy(base, names, flow)))
    return found


class _Walk:
    """One flow on its way through the chains of one table."""

    def __init__(self, flow: Flow, rules: list[Rule]) -> None:
        self._flow = flow
        self._rules = rules

    def cause(self, base: dict[str, Any]) -> str | None:
        """Why the base chain drops the flow, None if it does not for all that can be known."""
        verdict, where = self._chain(base["name"])
        if verdict == "drop":
            return f"a rule of chain {where} drops"
        return "its policy is drop" if verdict is None and base.get("policy") == "drop" else None

    def _chain(self, name: str) -> tuple[str | None, str]:
        """`accept` or `drop` with the chain that decides, None at the chain's end."""
        for rule in self._rules:
            if rule["chain"] != name:
                continue
            verdict, target = self._verdict(rule)
            if verdict in ("accept", "drop"):
                return verdict, name
            if verdict == "return":
                return None, name
            if verdict in ("jump", "goto"):  # never in a circle: nft refuses those
                inner = self._chain(target)
                if inner[0] is not None or verdict == "goto":
                    return inner
        return None, name

    def _verdict(self, rule: Rule) -> tuple[str | None, str]:
        """What the rule says of the flow, if it is surely about it."""
        for expression in rule.get("expr", []):
            ((kind, value),) = expression.items()
            if kind == "vmap":
                found = self._mapped(value)
            else:
                found = _statement(kind, value)
            if found[0] is not None:
                return found
            if self._holds(kind, value) is not True:
                return None, ""
        return None, ""

    def _mapped(self, value: Any) -> tuple[str | None, str]:
        data = value["data"]
        for key, verdict in data["set"] if isinstance(data, dict) and "set" in data else ():
            if self._holds("match", {"op": "==", "left": value["key"], "right": key}):
                ((kind, what),) = verdict.items()
                return _statement(kind, what)
        return None, ""

    def _holds(self, kind: str, value: Any) -> bool | None:
        """Whether an expression is true of the flow; None where only a packet could tell."""
        if kind == "xt":
            return self._extension(value)
        if kind == "limit":
            return None
        if kind != "match":  # counters, logging, marks: they decide nothing
            return True
        left, right = value["left"], value["right"]
        found = self._left(left, right) if isinstance(left, dict) else None
        return (not found) if found is not None and value["op"] == "!=" else found

    def _extension(self, value: Any) -> bool | None:
        """Matches of iptables whose content nft does not show: in practice, conntrack is there to accept replies, and
        addrtype (in ufw) to let pass what is for this machine."""
        name = value.get("name") if isinstance(value, dict) else None
        flow = self._flow
        known = {"comment": True, "conntrack": flow.state == "established", "addrtype": flow.hook == "input"}
        return known.get(str(name)) or None

    def _left(self, left: dict[str, Any], right: Any) -> bool | None:
        ((kind, what),) = left.items()
        flow = self._flow
        if kind == "meta":
            return self._meta(what["key"], right)
        if kind == "ct" and what.get("key") == "state":
            return flow.state in _members(right)
        if kind == "ct" and what.get("key") == "status":
            return "dnat" in _members(right) if flow.hook == "input" else None
        if kind == "fib" and what.get("result") == "type" and what.get("flags") == ["daddr"]:
            return "local" in _members(right) if flow.hook == "input" else None
        if kind == "payload" and what.get("protocol") in ("ip", "ip6"):
            if what["protocol"] != ("ip" if flow.version == 4 else "ip6"):
                return False
            return _from(flow.sources, right) if what.get("field") == "saddr" else None
        if kind == "payload" and what.get("protocol") in ("tcp", "th") and what.get("field") == "dport":
            return _any_port(flow.port, right)
        return None

    def _meta(self, key: str, right: Any) -> bool | None:
        flow = self._flow
        known: dict[str, str | None] = {
            "iifname": flow.incoming,
            "iif": flow.incoming,
            "oifname": flow.outgoing,
            "oif": flow.outgoing,
            "nfproto": f"ipv{flow.version}",
            "l4proto": "tcp" if flow.port is not None else None,
        }
        value = known.get(key)
        if value is None:
            return False if key in ("oif", "oifname") else None
        members = _members(right)
        if any(not isinstance(member, str) or member.startswith("@") for member in members):
            return None
        return any(fnmatchcase(value, member) for member in members)


def _statement(kind: str, value: Any) -> tuple[str | None, str]:
    if kind in ("accept", "return"):
        return kind, ""
    if kind in ("drop", "reject"):
        return "drop", ""
    if kind in ("jump", "goto"):
        return kind, str(value["target"])
    if kind == "xt" and isinstance(value, dict) and value.get("name") in ("REJECT", "DROP"):
        return "drop", ""
    return None, ""


def _members(right: Any) -> list[Any]:
    """The values that the right side of a match stands for."""
    if isinstance(right, dict) and "set" in right:
        return list(right["set"])
    return list(right) if isinstance(right, list) else [right]


def _from(sources: tuple[Network, ...], right: Any) -> bool | None:
    """Whether the networks on the right hold all sources, none of them, or who knows."""
    if not sources:
        return None
    found = [_network(member) for member in _members(right)]
    listed = [network for network in found if network is not None]
    if all(any(within(source, network) for network in listed) for source in sources):
        return True
    overlap = any(source.overlaps(network) for network in listed for source in sources)
    return None if overlap or len(listed) < len(found) else False


def _network(member: Any) -> Network | None:
    prefix = member.get("prefix") if isinstance(member, dict) else None
    text = f"{prefix['addr']}/{prefix['len']}" if prefix else member
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _any_port(port: int | None, right: Any) -> bool | None:
    if port is None:
        return None
    for member in _members(right):
        low, high = member["range"] if isinstance(member, dict) and "range" in member else (member, member)
        if not isinstance(low, int) or not isinstance(high, int):
            return None
        if low <= port <= high:
            return True
    return False


def _remedy(base: dict[str, Any], names: list[str], flow: Flow) -> str:
    """The command that lets the flow pass, in the words of whoever keeps the table."""
    if base["table"] == "firewalld":
        inside = flow.incoming if flow.state == "new" else flow.outgoing
        return f"firewall-cmd --zone=trusted --change-interface={inside}"
    if base["family"] in _IPTABLES and base["name"].isupper():
        if any(name.startswith("ufw") for name in names) and flow.state == "new" and flow.version == 4:
            return _ufw(flow)
        return _iptables(base, names, flow)
    return f"nft 'insert rule {base['family']} {base['table']} {base['name']} {_native(flow)} accept'"


def _ufw(flow: Flow) -> str:
    if flow.outgoing is None:
        return f"ufw allow in on {flow.incoming} to any port {flow.port} proto tcp"
    return f"ufw route allow in on {flow.incoming} out on {flow.outgoing}"


def _iptables(base: dict[str, Any], names: list[str], flow: Flow) -> str:
    # Docker inserts its own jumps at the top again and again, and keeps this chain for others.
    chain = "DOCKER-USER" if flow.hook == "forward" and "DOCKER-USER" in names else base["name"]
    what = f"-o {flow.outgoing}" if flow.outgoing else f"-p tcp --dport {flow.port}"
    if flow.state == "established":
        what += " -m conntrack --ctstate ESTABLISHED,RELATED"
    return f"{_IPTABLES[base['family']]} -I {chain} -i {flow.incoming} {what} -j ACCEPT"


def _native(flow: Flow) -> str:
    what = f'oifname "{flow.outgoing}"' if flow.outgoing else f"tcp dport {flow.port}"
    state = " ct state established,related" if flow.state == "established" else ""
    return f'iifname "{flow.incoming}" {what}{state}'
