"""A trace in which what is hard to meter in parts happens everywhere, and its cutting into files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from captures import write_pcap
from packets import HOUR, SECOND, START, Layer, Sent, eth, ip4, other, tcp, udp
from talks import dns_query, dns_response

RESOLVER = "10.0.0.53"
NAMES = ("video.example.com", "mail.example.org", "shop.example.net")
SERVERS = ("192.0.2.10", "192.0.2.20", "198.51.100.30")


def frames(count: int = 2000, *, seed: int = 7, jumps: bool = True) -> list[Sent]:
    """About so many frames: connections between many hosts, DNS answers whose addresses others use, fragments whose
    first one comes late, tunnels whose packets are cut, equal and disordered times, and steps of the clock."""
    draw = random.Random(seed)
    made: list[Sent] = []
    time = START
    talks = [_connection(draw) for _ in range(40)]
    while len(made) < count:
        time += draw.choice((0, 0, 1_000, 400_000, 30_000_000, 900_000_000))
        if draw.random() < 0.002:
            time += 40 * SECOND
        if jumps and draw.random() < 0.002:
            time += draw.choice((2 * HOUR, -3 * HOUR))
        stray = draw.choice((-5 * HOUR, 7 * HOUR)) if jumps and draw.random() < 0.004 else 0
        early = draw.randrange(0, 200_000_000) if draw.random() < 0.1 else 0
        for data in _next(draw, talks):
            made.append(Sent(time - early + stray, data, len(data)))
    return made


def _next(draw: random.Random, talks: list[Iterator[bytes]]) -> list[bytes]:
    kind = draw.random()
    if kind < 0.07:
        return _dns(draw)
    if kind < 0.14:
        return _fragments(draw)
    if kind < 0.17:
        return _cut_tunnel(draw)
    place = draw.randrange(len(talks))
    try:
        return [next(talks[place])]
    except StopIteration:
        talks[place] = _connection(draw)
        return []


def _host(draw: random.Random) -> str:
    return f"10.0.{draw.randrange(3)}.{draw.randrange(1, 30)}"


def _connection(draw: random.Random) -> Iterator[bytes]:
    client, server = _host(draw), draw.choice(SERVERS)
    port, service, length = draw.randrange(32768, 60000), draw.choice((80, 443, 22)), draw.randrange(2, 60)
    sequence = [draw.getrandbits(32), draw.getrandbits(32)]
    yield eth(ip4(tcp(port, service, "S", sequence[0]), client, server))
    yield eth(ip4(tcp(service, port, "SA", sequence[1], sequence[0] + 1), server, client))
    sequence = [sequence[0] + 1, sequence[1] + 1]
    request = f"GET /{length} HTTP/1.1\r\nHost: {draw.choice(NAMES)}\r\n\r\n".encode()
    for step in range(length):
        side = 0 if step == 0 else draw.randrange(2)
        payload = request if step == 0 and service == 80 else draw.randbytes(draw.choice((0, 3, 700)))
        ends = [(port, service, client, server), (service, port, server, client)][side]
        segment = tcp(ends[0], ends[1], "PA", sequence[side], sequence[1 - side], payload)
        sequence[side] += len(payload)
        yield eth(ip4(segment, ends[2], ends[3]))
    if draw.random() < 0.5:
        yield eth(ip4(tcp(port, service, "FA", sequence[0], sequence[1]), client, server))
        yield eth(ip4(tcp(service, port, "FA", sequence[1], sequence[0] + 1), server, client))
    else:
        yield eth(ip4(tcp(port, service, "R", sequence[0]), client, server))


def _dns(draw: random.Random) -> list[bytes]:
    name, client, number = draw.choice(NAMES), _host(draw), draw.getrandbits(16)
    question = udp(50000, 53, dns_query(name, number=number))
    reply = udp(53, 50000, dns_response(name, [SERVERS[NAMES.index(name)]], number=number))
    return [eth(ip4(question, client, RESOLVER)), eth(ip4(reply, RESOLVER, client))]


def _pieces(draw: random.Random, content: Layer, source: str, destination: str) -> list[bytes]:
    """An IP packet in fragments, sometimes the last ones first, and sometimes without the first."""
    number, size = draw.getrandbits(16), 8 * draw.randrange(5, 30)
    cut = range(0, len(content.data), size)
    found = [
        eth(
            ip4(
                Layer(content.number, content.data[at : at + size]),
                source,
                destination,
                identification=number,
                offset=at // 8,
                more=at + size < len(content.data),
            )
        )
        for at in cut
    ]
    if draw.random() < 0.5:
        draw.shuffle(found)
    return found[1:] if draw.random() < 0.1 else found


def _fragments(draw: random.Random) -> list[bytes]:
    return _pieces(draw, udp(5000, 6000, draw.randbytes(600)), _host(draw), draw.choice(SERVERS))


def _cut_tunnel(draw: random.Random) -> list[bytes]:
    """A packet in GRE (RFC 2784), cut outside, so that its first fragment is metered as the packet inside."""
    inside = ip4(udp(7000, 8000, draw.randbytes(500)), _host(draw), draw.choice(SERVERS))
    return _pieces(draw, other(47, b"\0\0\x08\0" + inside.data), "172.16.0.1", "172.16.0.2")


def in_files(folder: Path, sent: list[Sent], count: int) -> list[str]:
    """The frames in so many files behind each other, named so that their order is not that of their names."""
    borders = [len(sent) * place // count for place in range(count + 1)]
    paths = []
    for number in range(count):
        path = folder / f"{count - number:03d}.pcap"
        path.write_bytes(write_pcap(sent[borders[number] : borders[number + 1]], ns=True))
        paths.append(str(path))
    return paths
