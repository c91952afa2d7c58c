"""`flowgauge gateway` as the user meets it: wrong usage and what `status` shows; what it does is tested elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from flowgauge.cli import app
from flowgauge.cli.gateway import _text

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the gateway is for Linux")

UP = ("gateway", "up", "--lan", "lan0", "--uplink", "wan0")


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (("--proxy", "127.0.0.1"), "--proxy is a URL with scheme"),
        (("--udp", "maybe"), "--udp is direct or drop, not 'maybe'"),
        (("--redirect", "1", "--proxy", "socks5://127.0.0.1:1080"), "give one of them"),
    ],
)
def test_wrong_usage(rest: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that cannot be are wrong usage, before anything is looked at."""
    with pytest.raises(SystemExit) as ended:
        app([*UP, *rest])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_other_systems(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On other systems each command says that it needs Linux."""
    monkeypatch.setattr("sys.platform", "darwin")
    for command in (UP, ("gateway", "status"), ("gateway", "down")):
        with pytest.raises(SystemExit) as ended:
            app(command)
        assert ended.value.code == 1
        assert "the gateway needs Linux, this is darwin" in capsys.readouterr().err


def status(**facts: Any) -> str:
    from flowgauge.capture.gateway.rules import COUNTERS
    from flowgauge.capture.gateway.watch import Status

    usual = {"up": True, "since": "noon", "lan": "lan0", "uplink": "wan0", "router": "192.168.7.1", "udp": "direct"}
    counts = dict.fromkeys(COUNTERS, 0) | facts.pop("counts", {})
    return _text(Status(**{**usual, "clients": ["192.168.7.20/32"], "ipv6": "block", "counts": counts, **facts}))


def test_status_without_a_gateway() -> None:
    """Without a gateway there is one line, and one for each problem."""
    assert status(up=False) == "gateway  down"
    assert status(up=False, problems=["rules are there"]).splitlines()[1] == "problem  rules are there"


def test_status_of_a_gateway() -> None:
    """What passes which way is one line each, with its counts."""
    assert status().splitlines() == [
        "gateway  up since noon, lan0 → wan0",
        "clients  192.168.7.20: nothing seen yet; they need 192.168.7.1 as their router",
        "tcp      direct",
        "udp      direct",
        "dns      direct",
        "ipv6     blocked, 0 packets",
    ]
    counts = {"from_clients": 1234, "redirected": 5, "tcp_refused": 6, "udp_dropped": 7}
    facts = {"port": 12380, "proxy": "socks5://192.0.2.1:1", "udp": "drop", "nameserver": "9.9.9.9", "ipv6": "forward"}
    assert status(counts=counts, **facts).splitlines()[1:] == [
        "clients  192.168.7.20: 1,234 packets seen",
        "tcp      through socks5://192.0.2.1:1 by redsocks at port 12380: 5 connections, 6 packets past it refused",
        "udp      dropped but for DNS, 7 packets",
        "dns      asked of the gateway is answered by 9.9.9.9",
        "ipv6     forwarded",
    ]
    assert status(ipv6_watched=False).splitlines()[-1] == (
        "ipv6     blocked, 0 packets; IPv6 is off on lan0, so other routers cannot be seen"
    )
    assert "tcp      to port 9: 0 connections" in status(port=9)
