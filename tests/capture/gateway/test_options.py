"""The words of `flowgauge gateway up` before anything is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from flowgauge.capture.gateway import system
from flowgauge.capture.gateway.options import GatewayOptions, gateway_options
from flowgauge.capture.gateway.proxy import configuration
from flowgauge.errors import ConfigError, GatewayError, MissingDependency


def options(**given: Any) -> GatewayOptions:
    words: dict[str, Any] = dict.fromkeys(("proxy", "redirect", "udp"))
    return gateway_options(**{"lan": "lan0", "uplink": "wan0", "clients": [], "ipv6": "block", **words, **given})


@pytest.mark.parametrize(
    ("given", "udp"),
    [({}, "direct"), ({"proxy": "socks5://192.0.2.1:1"}, "drop"), ({"redirect": 1}, "drop"), ({"udp": "drop"}, "drop")],
)
def test_udp_is_dropped_behind_a_proxy_unless_told(given: dict[str, Any], udp: str) -> None:
    """Without --udp, UDP is direct without a proxy and dropped behind one: nothing goes round it unasked."""
    assert options(**given).udp == udp
    assert options(**{"udp": "direct", **given}).udp == given.get("udp", "direct")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"proxy": "socks5://192.0.2.1:1", "redirect": 1}, "give one of them"),
        ({"redirect": 65536}, "a TCP port from 1 to 65535, not 65536"),
        ({"udp": "no"}, "--udp is direct or drop, not 'no'"),
        ({"ipv6": "yes"}, "--ipv6 is block or forward, not 'yes'"),
        ({"ipv6": "forward", "redirect": 1}, "would lead TCP past the proxy"),
        ({"clients": ["phone"]}, "--client is an address such as 192.168.7.20"),
        ({"clients": ["192.168.7.20/24"]}, "has host bits set"),
        ({"clients": ["fd00::1"]}, "needs --ipv6 forward"),
        ({"clients": ["192.168.7.20"], "ipv6": "forward"}, "name the client's IPv6 addresses too"),
        ({"clients": ["fd00::1"], "ipv6": "forward"}, "name the client's IPv4 address too"),
        ({"proxy": "127.0.0.1:1080"}, "is a URL with scheme"),
        ({"proxy": "https://127.0.0.1:1080"}, "'https://127.0.0.1:1080' is none"),
        ({"proxy": "socks5://127.0.0.1"}, "is a URL with scheme"),
        ({"proxy": "socks5://127.0.0.1:70000"}, "Port out of range"),
        ({"proxy": "socks5://[::1]:1080"}, "::1 has no IPv4 address"),
        ({"proxy": "socks5://a:%22@127.0.0.1:1080"}, "control characters"),
        ({"proxy": "socks5://a:%0a@127.0.0.1:1080"}, "control characters"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], said: str) -> None:
    """An option that cannot be is named, with what it has to be."""
    with pytest.raises(ConfigError) as caught:
        options(**given)
    assert said in str(caught.value)


def test_no_password_in_messages() -> None:
    """A URL that is refused, and one that is shown, are written without user and password."""
    with pytest.raises(ConfigError) as caught:
        options(proxy="https://anna:secret@192.0.2.1:1")
    proxy = options(proxy="socks5://anna:secret@192.0.2.1:1").proxy
    assert proxy is not None
    for text in (str(caught.value), proxy.shown):
        assert "secret" not in text and "anna" not in text and "://…@192.0.2.1:1" in text


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        ("socks5://192.0.2.1:1", ["type = socks5;"]),
        ("socks4://192.0.2.1:1", ["type = socks4;"]),
        (
            "http://a:b%20c@192.0.2.1:8080",
            ["type = http-connect;", 'login = "a";', 'password = "b c";', "port = 8080;"],
        ),
    ],
)
def test_redsocks_configuration(url: str, lines: list[str]) -> None:
    """redsocks is told the proxy, its kind and its password, to stay in the foreground and to give up root."""
    proxy = options(proxy=url).proxy
    assert proxy is not None
    text = configuration(proxy, 12380)
    for line in (*lines, "ip = 192.0.2.1;", "local_port = 12380;", "daemon = off;"):
        assert f"\t{line}\n" in text
    assert "user = root" not in text and "\tuser = " in text
    assert ("login" in text) == ("@" in url)


def test_a_missing_program_is_an_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nft, ip or redsocks is missing, the message says how to install it."""
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    for name, package in (("nft", "nftables"), ("ip", "iproute2"), ("redsocks", "redsocks")):
        with pytest.raises(MissingDependency, match=f"{name} is not installed: apt-get install {package}"):
            system.program(name)


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Linux, the message says so."""
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(GatewayError, match="needs Linux, this is darwin"):
        system.require_linux()
