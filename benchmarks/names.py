"""What names cost, on one core: QUIC and TLS handshakes a second, and a run with and without the group.

    python benchmarks/names.py

A QUIC handshake is the Initial packets of a client that nobody has seen before: keys derived, packets opened, CRYPTO
frames put together, ClientHello dissected with JA3 and JA4. Each figure is that of the fastest of many short rounds: a
long one measures what else the machine does. The run is over the mix of bench.py whose TCP flows begin with hellos of
TLS: post-quantum ones of 1.7 kB, cut wherever the mix cuts its segments, of names that are drawn with a long tail.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from measure import one_core

import hellos
from flowgauge.kernels import tls
from flowgauge.kernels._jit import byte_kernel
from flowgauge.kernels.facts import FACT
from flowgauge.kernels.hello import OVER_QUIC
from flowgauge.names.quic import client_hello

U = np.uint64
HANDSHAKES, ROUND, RUNS, PACKETS = 2000, 20, 5, 600_000


@byte_kernel
def _dissect_tls(data, middle, end, facts, out):
    facts[0].stop = 0
    tls.dissect_tls(data, U(0), middle, middle, end, facts[0], out)


@byte_kernel
def _dissect_hello(data, end, facts, out):
    facts[0].stop = 0
    tls.dissect_client_hello(data, U(0), end, OVER_QUIC, facts[0], out)


def rate(handshakes: Sequence[object], read: Callable[[object], object]) -> float:
    """Handshakes a second in the fastest round."""
    best = float("inf")
    for first in range(0, len(handshakes), ROUND):
        batch = handshakes[first : first + ROUND]
        start = time.perf_counter()
        for handshake in batch:
            read(handshake)
        best = min(best, (time.perf_counter() - start) / len(batch))
    return 1 / best


def with_hellos(source: Path, path: Path) -> int:
    """A copy of a capture of Ethernet frames whose TCP streams begin with hellos; how many do."""
    content, rng = bytearray(source.read_bytes()), np.random.default_rng(1)
    names = [f"host{number}.site{number % 500}.example" for number in range(5000)]
    down = hellos.records(hellos.server_hello(), version=0x0303) + hellos.records(bytes(4000), kind=23, version=0x0303)
    streams: dict[tuple[bytes, bytes], bytes] = {}
    at, begun = 24, 0
    while at < len(content):
        size = int.from_bytes(content[at + 8 : at + 12], "little")
        frame, at = at + 16, at + 16 + size
        payload, sender, receiver, server_port = _stream_of(content, frame)
        if payload is None:
            continue
        if (sender, receiver) not in streams:
            up = hellos.records(hellos.browser_hello(names[int(rng.zipf(1.3)) % len(names)]))
            streams[sender, receiver], streams[receiver, sender] = (up, down) if server_port else (down, up)
            begun += 1
        stream = streams[sender, receiver]
        count = min(len(stream), at - payload)
        content[payload : payload + count] = stream[:count]
        streams[sender, receiver] = stream[count:]
    path.write_bytes(content)
    return begun


def _number(content: bytearray, at: int) -> int:
    return int.from_bytes(content[at : at + 2], "big")


def _stream_of(content: bytearray, frame: int) -> tuple[int | None, bytes, bytes, bool]:
    """Where the payload of a TCP segment begins, None without any; its ends; whether it goes to the server."""
    kind = frame + (16 if _number(content, frame + 12) == 0x8100 else 12)
    ip, is_v4 = kind + 2, _number(content, kind) == 0x0800
    if content[ip + (9 if is_v4 else 6)] != 6:
        return None, b"", b"", False
    wide, addresses, tcp = (4, ip + 12, ip + 20) if is_v4 else (16, ip + 8, ip + 40)
    end = ip + _number(content, ip + 2) if is_v4 else tcp + _number(content, ip + 4)
    payload = tcp + (content[tcp + 12] >> 4) * 4
    hosts = (content[addresses : addresses + wide], content[addresses + wide : addresses + 2 * wide])
    ports = (content[tcp : tcp + 2], content[tcp + 2 : tcp + 4])
    sender, receiver = (bytes(host + port) for host, port in zip(hosts, ports, strict=True))
    return payload if payload < end else None, sender, receiver, ports[0] > ports[1]


def runs(packets: int) -> None:
    """Rates without and with the group, in turn."""
    from library import metered, trace

    import flowgauge as fg
    from flowgauge.config import DEFAULT_FEATURES

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"hellos-{packets}.pcap"
        begun = with_hellos(trace(packets), path)
        groups = DEFAULT_FEATURES, (*DEFAULT_FEATURES, "names")
        taken = [[metered(path, one) for one in groups] for _ in range(RUNS)]
        rates = [packets / min(run[which][0] for run in taken) / 1e6 for which in range(2)]
        stages = min((run[1] for run in taken), key=lambda one: one[0])[1]
        print(f"{packets:,} packets, {begun:,} hellos: {rates[0]:.2f} million packets/s, with names {rates[1]:.2f}")
        print(f"names: kernel {stages['names']:.0f}, columns {stages['names columns']:.0f} ns/packet")
        table = fg.read(str(path), features=groups[1])
        print(f"{len(table) - table['server_name'].null_count:,} records have a name")


def main() -> None:
    facts, out = np.zeros(1, FACT).view(np.recarray), np.zeros(1 << 16, np.uint8)

    def quic(datagrams: object) -> None:
        hello = client_hello(datagrams)  # type: ignore[arg-type]
        assert hello is not None
        _dissect_hello(np.frombuffer(bytearray(hello), np.uint8), U(len(hello)), facts, out)
        assert facts[0].length[0] == len("example.org")

    for name, share, parts in (("32-byte key share, 1 packet", 32, 1), ("post-quantum key share, 2 packets", 1216, 2)):
        message = hellos.browser_hello(share=share)
        sent = [hellos.quic_datagrams(message, parts, dcid=os.urandom(8)) for _ in range(HANDSHAKES)]
        quic(sent[0])
        print(f"QUIC, {name}: {rate(sent[1:], quic):,.0f} handshakes/s")

    up, down = hellos.records(hellos.browser_hello()), hellos.records(hellos.server_hello(0xC02F))
    data = np.frombuffer(bytearray(up + down), np.uint8)

    def stream(_: object) -> None:
        _dissect_tls(data, U(len(up)), U(len(data)), facts, out)

    stream(None)
    print(f"TLS, post-quantum key share: {rate([None] * HANDSHAKES, stream):,.0f} handshakes/s")
    with one_core():
        runs(PACKETS)


if __name__ == "__main__":
    main()
