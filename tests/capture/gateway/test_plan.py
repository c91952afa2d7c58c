"""What `up` decides from the machine's facts, without a machine."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from flowgauge.capture.gateway import plan, rules, sysctl, watch
from flowgauge.capture.gateway.machine import Machine
from flowgauge.capture.gateway.options import GatewayOptions, gateway_options

BEFORE = {
    "ipv4/conf/all/send_redirects": "1",
    "ipv4/conf/eth0/send_redirects": "1",
    "ipv4/conf/eth0/forwarding": "0",
    "ipv4/conf/wlan0/forwarding": "0",
    "ipv6/conf/all/accept_ra": "1",
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/eth0/accept_ra": "1",
    "ipv6/conf/wlan0/accept_ra": "0",
}


def machine(**facts: Any) -> Machine:
    networks = (ip_network("192.168.7.0/24"),)
    usual = {"addresses": ("192.168.7.1",), "networks": networks, "clients": networks, "resolver_here": True}
    return Machine(**{**usual, "nameserver": None, "before": BEFORE, **facts})


def options(lan: str = "wlan0", uplink: str = "eth0", **given: Any) -> GatewayOptions:
    words: dict[str, Any] = dict.fromkeys(("proxy", "redirect", "udp"))
    return gateway_options(lan, uplink, [], **{**words, "ipv6": "block", **given})


def settings(given: GatewayOptions, found: Machine) -> list[tuple[str, str]]:
    return list(plan._settings(given, found))


def test_forwarding_of_two_interfaces_is_all_that_is_set() -> None:
    """With two interfaces only their forwarding is set, the LAN's last; what is so already is not set."""
    both = [("ipv4/conf/eth0/forwarding", "1"), ("ipv4/conf/wlan0/forwarding", "1")]
    assert settings(options(), machine()) == both
    assert settings(options(), machine(before=BEFORE | {"ipv4/conf/eth0/forwarding": "1"})) == both[1:]


def test_one_arm_sends_no_redirects() -> None:
    """With one interface its redirects and those of "all" are switched off before it forwards."""
    assert settings(options("eth0"), machine()) == [
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/eth0/send_redirects", "0"),
        ("ipv4/conf/eth0/forwarding", "1"),
    ]


def test_ipv6_routes_are_kept_before_forwarding() -> None:
    """Before IPv6 is forwarded, interfaces that follow announcements are told to go on as routers."""
    found = settings(options(ipv6="forward"), machine())
    assert found[:2] == [("ipv6/conf/eth0/accept_ra", "2"), ("ipv6/conf/all/forwarding", "1")]


def test_what_was_forwarded_stays_forwarded() -> None:
    """Packets of others are dropped on interfaces that did not forward before, and on no other."""
    dropped = 'iifname "wlan0" oifname != "wlan0" meta nfproto ipv4 counter name others_dropped drop'
    assert dropped in rules.script(options(), machine(), None)
    router = machine(before=BEFORE | {f"ipv4/conf/{name}/forwarding": "1" for name in ("eth0", "wlan0")})
    assert "counter name others_dropped drop" not in rules.script(options(), router, None)


def test_hidden_rules_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filter rules of iptables-legacy, which nft does not show, and a machine without a nameserver are notes."""
    names = tmp_path / "names"
    monkeypatch.setattr(plan, "_LEGACY", (str(tmp_path / "missing"), str(names)))
    for text, told in (("nat\n", False), ("nat\nfilter\n", True)):
        names.write_text(text)
        assert any("iptables-legacy" in note for note in plan._notes(options(), machine())) == told
    (note, _) = plan._notes(options(), machine(resolver_here=False))
    assert "no IPv4 nameserver" in note


def test_settings_are_shown_as_sysctl_names_them() -> None:
    """A dry run writes settings so that `sysctl -w` takes them."""
    found = machine()
    made = plan.Plan(options(), found, None, "table\n", {"ipv4/conf/eth0/forwarding": "1"}, ())
    assert "net.ipv4.conf.eth0.forwarding=1  # was 0" in plan.describe(made)
    nothing = plan.Plan(options(), found, None, "table\n", {}, ())
    assert "nothing: the interfaces forward already" in plan.describe(nothing)
    assert sysctl.name("ipv4/conf/eth0/forwarding") == "net.ipv4.conf.eth0.forwarding"


def test_routers_are_not_asked_where_ipv6_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an interface without IPv6, or that has gone, nobody is asked, and the answer is that nothing can be seen."""
    monkeypatch.setattr(sysctl, "ROOT", tmp_path)
    assert watch.solicit("lan0") is False
    (tmp_path / "ipv6/conf/lan0").mkdir(parents=True)
    (tmp_path / "ipv6/conf/lan0/disable_ipv6").write_text("1\n")
    assert watch.solicit("lan0") is False
