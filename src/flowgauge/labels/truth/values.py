"""Addresses, ports and protocols of a truth table. Each function raises ValueError for what is none."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

ANY = ("", "*", "any", "-")
"""What stands for any address, port, protocol or file, beside nothing."""

PROTOCOLS = {
    **{"icmp": 1, "igmp": 2, "ipv4": 4, "ipip": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "dccp": 33, "ipv6": 41},
    **{"rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "icmp6": 58, "icmpv6": 58, "ipv6-icmp": 58, "ospf": 89, "eigrp": 88},
    **{"etherip": 97, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136, "udp-lite": 136, "mpls": 137},
    # what Argus calls flows by what is in them
    **{"rtp": 17, "rtcp": 17, "udt": 17},
}
NOT_IP = ("arp", "rarp", "llc", "ipx", "ipx/spx", "spx", "unas", "man", "lldp", "stp", "aoe", "isis", "decnet")
"""Protocols of Argus that no IP packet has: rows that no flow matches."""
NEVER = 256
WITH_PORTS = (6, 17, 132)
_LARGEST_PORT = 65_535


class Network(NamedTuple):
    """The addresses that share the first `length` bits of one, which is given by its halves; version 0: all."""

    version: int
    high: int
    low: int
    length: int


EVERYWHERE = Network(0, 0, 0, -1)


def read_network(text: str) -> Network:
    """An address, or a network such as 192.0.2.0/24."""
    if text.strip().lower() in ANY:
        return EVERYWHERE
    network = ipaddress.ip_network(text.strip(), strict=False)
    number = int(network.network_address)
    return Network(network.version, number >> 64, number & (2**64 - 1), network.prefixlen)


def read_ports(text: str) -> tuple[int, int] | None:
    """First and last port of `80`, `8000-8080` or `0x50`; None for any."""
    text = text.strip().lower()
    if text in ANY:
        return None
    first, separator, last = text.partition("-")
    low = _port(first)
    high = _port(last) if separator else low
    if low > high:
        raise ValueError("the first port is above the last")
    return low, high


def _port(text: str) -> int:
    text = text.strip().removesuffix(".0")  # numbers of a column with gaps, as pandas writes them
    try:
        port = int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        raise ValueError("not a number") from None
    if not 0 <= port <= _LARGEST_PORT:
        raise ValueError("not from 0 to 65535")
    return port


def read_protocol(text: str) -> int | None:
    """Number of a protocol, given by it or by name; None for any, NEVER for one that is not IP's."""
    text = text.strip().lower()
    if text in ANY:
        return None
    if text in NOT_IP:
        return NEVER
    if text in PROTOCOLS:
        return PROTOCOLS[text]
    try:
        number = int(text.removesuffix(".0"))
    except ValueError:
        raise ValueError("neither a number nor a known name") from None
    if not 0 <= number <= 255:
        raise ValueError("not from 0 to 255")
    return number
