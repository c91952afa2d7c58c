"""Conversations for the tests of names: DNS messages, HTTP requests, and streams cut into segments."""

from __future__ import annotations

import ipaddress
import itertools
import struct
from collections.abc import Iterable, Sequence

from oracle_names import Segment
from packets import A, B, Sent, eth, ip4, ip6, sent, tcp, udp

CLIENT_PORT = 40000


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def dns_query(name: str, kind: int = 1, number: int = 7) -> bytes:
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + dns_name(name) + struct.pack(">HH", kind, 1)


def dns_record(owner: bytes, kind: int, body: bytes) -> bytes:
    return owner + struct.pack(">HHIH", kind, 1, 60, len(body)) + body


def dns_response(
    name: str, addresses: Iterable[str] = (), aliases: Sequence[str] = (), kind: int = 1, number: int = 7, code: int = 0
) -> bytes:
    """The answer to a query: aliases, of each other, and the addresses of the last."""
    answers, owner = [], b"\xc0\x0c"
    for alias in aliases:
        answers.append(dns_record(owner, 5, dns_name(alias)))
        owner = dns_name(alias)
    for address in map(ipaddress.ip_address, addresses):
        answers.append(dns_record(owner, 1 if address.version == 4 else 28, address.packed))
    header = struct.pack(">6H", number, 0x8180 | code, 1, len(answers), 0, 0)
    return header + dns_name(name) + struct.pack(">HH", kind, 1) + b"".join(answers)


def datagram(
    seconds: float, payload: bytes, source: str = A, destination: str = B, ports: tuple[int, int] = (CLIENT_PORT, 443)
) -> Sent:
    network = ip6 if ":" in source else ip4
    return sent(seconds, eth(network(udp(*ports, payload), source, destination)))


def asked(
    seconds: float, name: str, addresses: Iterable[str], client: str = A, server: str = "10.0.0.53", **options: object
) -> list[Sent]:
    """A query of a client and its answer, 10 ms later."""
    ports = 50000, 53
    response = dns_response(name, addresses, **options)  # type: ignore[arg-type]
    return [
        datagram(seconds, dns_query(name), client, server, ports),
        datagram(seconds + 0.01, response, server, client, ports[::-1]),
    ]


def segments_sent(
    segments: Iterable[Segment],
    start: float = 0.0,
    port: int = 443,
    ends: tuple[str, str] = (A, B),
    step: float = 0.001,
) -> list[Sent]:
    """The frames of TCP segments, a millisecond apart."""
    ports = CLIENT_PORT, port
    network = ip6 if ":" in ends[0] else ip4
    return [
        sent(
            start + step * number,
            eth(
                network(
                    tcp(
                        ports[s.end],
                        ports[1 - s.end],
                        "S" if s.syn and not s.end else "SA" if s.syn else "A",
                        s.seq,
                        payload=s.payload,
                    ),
                    ends[s.end],
                    ends[1 - s.end],
                )
            ),
        )
        for number, s in enumerate(segments)
    ]


def cut(stream: bytes, places: Iterable[int], end: int = 0, seq: int = 1000) -> list[Segment]:
    """A stream that begins with number `seq`, cut into segments at these places."""
    bounds = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [Segment(end, seq + low, stream[low:high]) for low, high in itertools.pairwise(bounds) if high > low]


def request(host: str = "www.example.org", path: str = "/a", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tester/1.0\r\n{more}\r\n".encode()


RESPONSE = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
