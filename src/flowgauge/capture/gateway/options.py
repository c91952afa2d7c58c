"""What the user asks of the gateway, checked as far as that needs no look at the machine."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from flowgauge.errors import ConfigError

KINDS = {"socks5": "socks5", "socks5h": "socks5", "socks4": "socks4", "http": "http-connect"}
"""Schemes of a proxy's URL, and what redsocks calls them."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Proxy:
    """A SOCKS or HTTP proxy; `address` is IPv4, `shown` is its URL without the password."""

    kind: str
    address: str
    port: int
    user: str
    password: str
    shown: str


@dataclass(frozen=True)
class GatewayOptions:
    """The options of `flowgauge gateway up`; `udp` None stands for drop behind a proxy and direct without."""

    lan: str
    uplink: str
    clients: tuple[Network, ...] = ()
    proxy: Proxy | None = None
    redirect: int | None = None
    udp: str = "direct"
    ipv6: str = "block"

    @property
    def proxied(self) -> bool:
        """Whether the clients' TCP goes to a transparent proxy."""
        return self.proxy is not None or self.redirect is not None


def gateway_options(
    lan: str,
    uplink: str,
    clients: list[str],
    proxy: str | None,
    redirect: int | None,
    udp: str | None,
    ipv6: str,
) -> GatewayOptions:
    """Options from the words of the command line; ConfigError for what cannot be."""
    if proxy is not None and redirect is not None:
        raise ConfigError("--proxy starts a transparent proxy, --redirect takes yours: give one of them")
    if redirect is not None and not 0 < redirect < 65536:
        raise ConfigError(f"--redirect is a TCP port from 1 to 65535, not {redirect}")
    proxied = proxy is not None or redirect is not None
    udp = udp if udp is not None else "drop" if proxied else "direct"
    _one_of("--udp", udp, ("direct", "drop"))
    _one_of("--ipv6", ipv6, ("block", "forward"))
    if proxied and ipv6 == "forward":
        raise ConfigError("--ipv6 forward would lead TCP past the proxy, which takes IPv4 only: leave it at block")
    networks = tuple(_network(client) for client in clients)
    _check_versions(networks, ipv6)
    return GatewayOptions(lan, uplink, networks, _proxy(proxy) if proxy is not None else None, redirect, udp, ipv6)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{option} is {' or '.join(choices)}, not {value!r}")


def _network(client: str) -> Network:
    try:
        return ipaddress.ip_network(client, strict=True)
    except ValueError as error:
        raise ConfigError(f"--client is an address such as 192.168.7.20 or 192.168.7.0/28: {error}") from None


def _check_versions(clients: tuple[Network, ...], ipv6: str) -> None:
    versions = {client.version for client in clients}
    if 6 in versions and ipv6 == "block":
        raise ConfigError("--client with an IPv6 address needs --ipv6 forward; IPv6 is blocked for all by default")
    if versions and 6 not in versions and ipv6 == "forward":
        raise ConfigError("--ipv6 forward with --client: name the client's IPv6 addresses too, by one more --client")
    if versions == {6}:
        raise ConfigError("--client: name the client's IPv4 address too, by one more --client")


def _proxy(url: str) -> Proxy:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--proxy: {error}; it is a URL such as socks5://127.0.0.1:1080") from None
    if parts.scheme not in KINDS or not parts.hostname or port is None or parts.path.strip("/"):
        raise ConfigError(
            f"--proxy is a URL with scheme ({', '.join(KINDS)}), address and port, e.g. socks5://127.0.0.1:1080; "
            f"{_without_password(parts)!r} is none"
        )
    user, password = _credential(parts.username), _credential(parts.password)
    return Proxy(KINDS[parts.scheme], _ipv4(parts.hostname), port, user, password, _without_password(parts))


def _without_password(parts: SplitResult) -> str:
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{'…@' if '@' in parts.netloc else ''}{place}{parts.path}"


def _credential(text: str | None) -> str:
    value = unquote(text or "")
    if not value.isprintable() or set(value) & {'"', "\\"}:
        raise ConfigError(
            '--proxy: user and password may hold no ", \\ or control characters: redsocks cannot read them'
        )
    return value


def _ipv4(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--proxy: {host} has no IPv4 address ({reason}): write the proxy's address") from None
