"""How fast hellos are read: QUIC handshakes and TLS handshakes a second, on one core.

    python benchmarks/names.py

A QUIC handshake is the Initial packets of a client that nobody has seen before: keys derived, packets opened, CRYPTO
frames put together, ClientHello dissected with JA3 and JA4. Each figure is that of the fastest of many short rounds: a
long one measures what else the machine does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import hellos
from flowgauge.kernels import tls
from flowgauge.kernels._jit import byte_kernel
from flowgauge.kernels.facts import FACT
from flowgauge.kernels.hello import OVER_QUIC
from flowgauge.names.quic import client_hello

U = np.uint64
HANDSHAKES, ROUND = 2000, 20


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


if __name__ == "__main__":
    main()
