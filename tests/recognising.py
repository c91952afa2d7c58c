"""Services told from Python: first bytes of both ends in; service, confidence and what they name out.

Uncompiled, the bytes are :class:`Guarded`: reading one that is not in a range given to the kernel fails, so do indices
that are negative or signed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dissecting import OUT_BYTES, found
from flowgauge.kernels import services
from flowgauge.kernels._jit import JIT, byte_kernel
from flowgauge.kernels.facts import FACT
from flowgauge.kernels.services import HEAD_BYTES, SERVICES

U = np.uint64
Payloads = bytes | tuple[bytes, ...]


@byte_kernel
def _first_look(data, begin, end, is_udp, client_port, server_port, is_up):
    return services.first_look(data, begin, end, is_udp, client_port, server_port, is_up)


@byte_kernel
def _is_whole(service, data, begin, end, is_up):
    return services.is_whole(service, data, begin, end, is_up)


@byte_kernel
def _judge(data, up_begin, up_end, down_begin, down_end, is_udp, client_port, server_port):
    return services.judge(data, up_begin, up_end, down_begin, down_end, is_udp, client_port, server_port)


@byte_kernel
def _dissect(service, data, up_begin, up_end, down_begin, down_end, is_udp, facts, out):
    services.dissect(service, data, up_begin, up_end, down_begin, down_end, is_udp, facts[0], out)


class Guarded:
    """Bytes of which only some ranges may be read, at unsigned offsets; counts the reads."""

    def __init__(self, data: np.ndarray[Any, np.dtype[np.uint8]], *ranges: tuple[int, int]) -> None:
        self.data, self.ranges, self.reads = data, ranges, 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, at: Any) -> Any:
        self.reads += 1
        begin, end = (at.start, at.stop) if isinstance(at, slice) else (at, int(at) + 1)
        assert isinstance(at, slice) or not isinstance(at, np.signedinteger), f"signed index {at!r}"
        assert any(first <= begin and end <= last for first, last in self.ranges), f"{begin}..{end} of {self.ranges}"
        return self.data[at]


class Told(NamedTuple):
    """What is said of a flow."""

    service: str
    confidence: int
    facts: dict[str, Any]


class Flow(NamedTuple):
    """First bytes of both ends: of TCP one piece, of UDP datagrams."""

    up: tuple[bytes, ...]
    down: tuple[bytes, ...] = ()
    is_udp: bool = False
    client_port: int = 50000
    server_port: int = 50001

    def first(self, direction: int) -> bytes:
        return next(iter((self.up, self.down)[direction]), b"")

    def head(self, direction: int) -> bytes:
        parts = (self.up, self.down)[direction]
        if self.is_udp:
            parts = tuple(len(part).to_bytes(2, "big") + part for part in parts)
        return b"".join(parts)[:HEAD_BYTES]


def tcp(up: bytes, down: bytes = b"", port: int = 50001) -> Flow:
    return Flow((up,), (down,) if down else (), False, 50000, port)


def udp(up: Payloads, down: Payloads = (), port: int = 50001, client: int = 50000) -> Flow:
    ups, downs = ((part,) if isinstance(part, bytes) else part for part in (up, down))
    return Flow(ups, downs, True, client, port)


def guarded(*parts: bytes) -> tuple[Any, list[np.uint64]]:
    """The parts, each between bytes that are of none, and where each begins and ends."""
    data = np.frombuffer(b"\x16" + b"\x16".join(parts) + b"\x16", np.uint8).copy()
    edges, at = [], 1
    for part in parts:
        edges += [at, at + len(part)]
        at += len(part) + 1
    ranges = list(zip(edges[::2], edges[1::2], strict=True))
    return (data if JIT else Guarded(data, *ranges)), [U(edge) for edge in edges]


def first_look(payload: bytes, flow: Flow, direction: int = 0) -> tuple[str, int, int]:
    """Service, confidence and bytes to keep by a direction's first payload."""
    data, (begin, end) = guarded(payload)
    service, sure, keep = _first_look(data, begin, end, flow.is_udp, flow.client_port, flow.server_port, direction == 0)
    return SERVICES[service], int(sure), int(keep)


def is_whole(service: str, head: bytes, is_up: bool = True) -> bool:
    data, (begin, end) = guarded(head)
    return bool(_is_whole(SERVICES.index(service), data, begin, end, is_up))


def judge(up: bytes, down: bytes, flow: Flow) -> tuple[str, int]:
    """Service and confidence by what was kept of both directions."""
    data, edges = guarded(up, down)
    service, sure = _judge(data, *edges, flow.is_udp, flow.client_port, flow.server_port)
    return SERVICES[service], int(sure)


def dissect(service: str, up: bytes, down: bytes, is_udp: bool, size: int = OUT_BYTES) -> dict[str, Any]:
    """What the bytes kept of both directions name."""
    facts, out = np.zeros(1, FACT).view(np.recarray), np.zeros(size, np.uint8)
    facts[0].dns_rcode = -1
    data, edges = guarded(up, down)
    _dissect(SERVICES.index(service), data, *edges, is_udp, facts, out)
    fact = facts[0]
    assert fact.stop <= size
    for begin, length in zip(fact.begin, fact.length, strict=True):
        assert begin + length <= fact.stop or not length
    return found(fact, out)


def tell(flow: Flow, looks: tuple[bytes, ...] = (), heads: tuple[bytes, ...] = ()) -> Told:
    """What is said of a flow, as its keeper asks: look at the first payloads, keep bytes, judge, dissect."""
    looks = looks or (flow.first(0), flow.first(1))
    heads = heads or (flow.head(0), flow.head(1))
    seen = [first_look(look, flow, d) if look else ("", 0, 0) for d, look in enumerate(looks)]
    kept = [head if keep else b"" for head, (_, _, keep) in zip(heads, seen, strict=True)]
    told = [(service, sure) for service, sure, _ in seen if sure]
    if any(kept):
        told.append(judge(kept[0], kept[1], flow))
    service, sure = max(reversed(told), key=lambda pair: pair[1], default=("", 0))
    return Told(service, sure, dissect(service, kept[0], kept[1], flow.is_udp) if service else {})


def tell_heads(heads: Any) -> Told:
    """The same of a flow of a capture (see firstbytes)."""
    flow = Flow((), (), heads.is_udp, heads.client[1], heads.server[1])
    return tell(flow, (heads.look(0), heads.look(1)), (heads.head(0), heads.head(1)))
