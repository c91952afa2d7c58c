"""Whether the rules of other tables drop what the gateway needs: judged from nft's JSON alone."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from flowgauge.capture.gateway.firewall import Obstacle, flows, obstacles

Json = dict[str, Any]
CLIENTS = (ip_network("192.168.7.0/24"),)
OUT, BACK = "lan0 → wan0 (clients, IPv4)", "wan0 → lan0 (replies, IPv4)"
ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}
COUNTER: Json = {"counter": {"packets": 1, "bytes": 40}}


def meta(key: str, right: Any, op: str = "==") -> Json:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def payload(protocol: str, field: str, right: Any) -> Json:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def state(*states: str) -> Json:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(states)}}


def jump(target: str, kind: str = "jump") -> Json:
    return {kind: {"target": target}}


def ruleset(
    policy: str, *rules: list[Json], family: str = "inet", hook: str = "forward", **chains: list[list[Json]]
) -> list[Json]:
    """One table with a base chain `base`, and further chains by name."""
    place = {"family": family, "table": "other"}
    base = {**place, "name": "base", "type": "filter", "hook": hook, "prio": 0, "policy": policy}
    found: list[Json] = [{"metainfo": {}}, {"table": {"family": family, "name": "other"}}, {"chain": base}]
    found += [{"chain": {**place, "name": name}} for name in chains]
    for name, listed in {"base": rules, **chains}.items():
        found += [{"rule": {**place, "chain": name, "expr": expressions}} for expressions in listed]
    return found


def blocked(found: list[Json], port: int | None = None, lan: str = "lan0", uplink: str = "wan0") -> list[Obstacle]:
    return obstacles(found, flows(lan, uplink, CLIENTS, port))


def ways(found: list[Json], **options: Any) -> list[str]:
    return [one.flow.about for one in blocked(found, **options)]


REPLIES = [state("established", "related"), ACCEPT]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], [OUT, BACK]),
        ([REPLIES], [OUT]),
        ([[meta("iifname", "lan0"), ACCEPT], REPLIES], []),
        ([[meta("iifname", "lan*"), COUNTER, ACCEPT], REPLIES], []),
        ([[meta("iif", {"set": ["lo", "lan0"]}), ACCEPT], REPLIES], []),
        ([[meta("iifname", "eth0"), ACCEPT], REPLIES], [OUT]),
        ([[meta("iifname", "eth0", "!="), ACCEPT]], []),
        ([[meta("iifname", "lan0"), meta("oifname", "docker0"), ACCEPT], REPLIES], [OUT]),
        ([[meta("iifname", "@trusted"), ACCEPT], REPLIES], [OUT]),
        ([[meta("nfproto", "ipv4"), ACCEPT]], []),
        ([[meta("nfproto", "ipv6"), ACCEPT]], [OUT, BACK]),
        ([[payload("ip", "saddr", {"prefix": {"addr": "192.168.0.0", "len": 16}}), ACCEPT], REPLIES], []),
        ([[payload("ip", "saddr", "192.168.7.20"), ACCEPT], REPLIES], [OUT]),
        ([[payload("ip", "saddr", {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT], REPLIES], [OUT]),
        ([[payload("ip6", "saddr", "::"), ACCEPT], REPLIES], [OUT]),
        ([[payload("tcp", "dport", 80), ACCEPT], REPLIES], [OUT]),
        ([[{"limit": {"rate": 1}}, ACCEPT], REPLIES], [OUT]),
        ([[{"xt": {"type": "match", "name": "conntrack"}}, COUNTER, ACCEPT]], [OUT]),
        ([[{"xt": {"type": "match", "name": "comment"}}, ACCEPT]], []),
        ([[{"xt": None}, ACCEPT]], [OUT, BACK]),
        ([[{"log": {"prefix": "x"}}, {"reject": {}}], [ACCEPT]], [OUT, BACK]),
        ([[COUNTER, {"xt": {"type": "target", "name": "REJECT"}}], [ACCEPT]], [OUT, BACK]),
        ([[meta("l4proto", "udp"), DROP], [ACCEPT]], []),
        ([[jump("inner")], REPLIES], []),
        ([[jump("inner", "goto")], [ACCEPT]], [BACK]),
        ([[jump("back")], [ACCEPT]], []),
        ([[meta("iifname", "eth0"), jump("inner")], REPLIES], [OUT]),
        ([[{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", ACCEPT]]}}}]], [OUT]),
        ([[{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@zones"}}], REPLIES], [OUT]),
    ],
)
def test_a_drop_policy(rules: list[list[Json]], expected: list[str]) -> None:
    """Under a drop policy a flow passes where a rule surely accepts it, and only there."""
    inner = [[meta("iifname", "lan0"), ACCEPT]]
    back = [[{"return": None}], [DROP]]
    assert ways(ruleset("drop", *rules, inner=inner, back=back)) == expected


def test_an_accept_policy() -> None:
    """Under an accept policy only a rule that surely drops is in the way, and it is named."""
    assert ways(ruleset("accept")) == []
    assert ways(ruleset("accept", [meta("iifname", "eth0"), DROP], [payload("tcp", "dport", 25), DROP])) == []
    (found, _) = blocked(ruleset("accept", [jump("last")], last=[[DROP]]))
    assert found.cause == "a rule of chain last drops"


def test_what_is_not_in_the_way() -> None:
    """Chains of other hooks, other families and the gateway's own table are left out of account."""
    assert ways(ruleset("drop", hook="output")) == []
    assert ways(ruleset("drop", family="ip6")) == []
    own = ruleset("drop")
    for entry in own[1:]:
        for value in entry.values():
            value["table"] = "flowgauge"
    assert ways(own) == []


def test_the_way_to_the_transparent_proxy() -> None:
    """Behind a proxy the clients' TCP has to pass the input hook at the proxy's port."""
    allowed = [payload("tcp", "dport", {"set": [22, {"range": [12000, 13000]}]}), ACCEPT]
    redirected = [{"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, ACCEPT]
    assert ways(ruleset("drop", hook="input")) == []
    assert ways(ruleset("drop", hook="input"), port=12380) == ["lan0 → port 12380 (clients, IPv4)"]
    assert ways(ruleset("drop", allowed, hook="input"), port=12380) == []
    assert ways(ruleset("drop", allowed, hook="input"), port=80) == ["lan0 → port 80 (clients, IPv4)"]
    assert ways(ruleset("drop", redirected, hook="input"), port=80) == []
    local = {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}
    for one in (local, {"xt": {"type": "match", "name": "addrtype"}}):
        ufw = ruleset("accept", [jump("not_local")], hook="input", not_local=[[one, {"return": None}], [DROP]])
        assert ways(ufw, port=12380) == []


def test_ipv6_clients() -> None:
    """Where IPv6 is forwarded, ip6 tables count too."""
    clients = (*CLIENTS, ip_network("fd00:7::/64"))
    found = obstacles(ruleset("drop", family="ip6"), flows("lan0", "wan0", clients, None))
    assert [one.flow.version for one in found] == [6, 6]


def named(found: list[Json], table: str, chain: str, **others: str) -> list[Json]:
    """The same rule set under the names that a firewall gives its table and chains."""
    text = json.dumps(found)
    for name, other in {"other": table, "base": chain, **others}.items():
        text = text.replace(f'"{name}"', f'"{other}"')
    renamed: list[Json] = json.loads(text)
    return renamed


def test_remedies_in_the_words_of_the_firewall() -> None:
    """Each firewall is let pass by its own command: iptables, ufw, firewalld, else nft."""
    plain = ruleset("drop", family="ip", extra=[])
    docker = named(plain, "filter", "FORWARD", extra="DOCKER-USER")
    ufw = named(plain, "filter", "FORWARD", extra="ufw-user-forward")
    replies = "iptables -I FORWARD -i wan0 -o lan0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    assert [one.remedy for one in blocked(named(plain, "filter", "FORWARD"))] == [
        "iptables -I FORWARD -i lan0 -o wan0 -j ACCEPT",
        replies,
    ]
    assert blocked(docker)[0].remedy == "iptables -I DOCKER-USER -i lan0 -o wan0 -j ACCEPT"
    assert [one.remedy for one in blocked(ufw)] == ["ufw route allow in on lan0 out on wan0", replies]
    assert {one.remedy for one in blocked(named(ruleset("drop"), "firewalld", "filter_FORWARD"))} == {
        "firewall-cmd --zone=trusted --change-interface=lan0"
    }
    assert blocked(ruleset("drop"))[1].remedy == (
        'nft \'insert rule inet other base iifname "wan0" oifname "lan0" ct state established,related accept\''
    )
    incoming = named(ruleset("drop", family="ip", hook="input", extra=[]), "filter", "INPUT", extra="ufw-user-input")
    assert blocked(incoming, port=12380)[0].remedy == "ufw allow in on lan0 to any port 12380 proto tcp"
