"""First bytes of both directions of every TCP and UDP flow of a capture, in plain Python: what dissectors are given.

Kept are, of TCP, the stream's first bytes in order, as far as there is no hole; of UDP the first datagrams, each behind
its length of two bytes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oracle import Options, Tick, UnmeteredError, UnreadableError, decode, read_frames

HEAD_BYTES = 4096
End = tuple[str, int]


@dataclass
class Heads:
    """A flow: its client is who sent first, or whose SYN was seen."""

    protocol: int
    client: End
    server: End
    first: list[bytes] = field(default_factory=lambda: [b"", b""])  # payload that comes first in each direction
    segments: tuple[dict[int, bytes], dict[int, bytes]] = field(default_factory=lambda: ({}, {}))
    begins: list[int | None] = field(default_factory=lambda: [None, None])  # sequence number of a stream's first byte
    datagrams: tuple[list[bytes], list[bytes]] = field(default_factory=lambda: ([], []))

    @property
    def is_udp(self) -> bool:
        return self.protocol == 17

    @property
    def key(self) -> tuple[int, frozenset[End]]:
        return self.protocol, frozenset((self.client, self.server))

    def head(self, direction: int) -> bytes:
        """What is kept of a direction."""
        if self.is_udp:
            framed = b"".join(len(data).to_bytes(2, "big") + data for data in self.datagrams[direction])
            return framed[:HEAD_BYTES]
        return self._stream(direction)

    def look(self, direction: int) -> bytes:
        """The first payload of a direction: of a stream the part that begins it."""
        return self.first[direction] if self.is_udp else self._stream(direction)[: max(1, len(self.first[direction]))]

    def _stream(self, direction: int) -> bytes:
        parts = self.segments[direction]
        begin = self.begins[direction]
        if not parts:
            return b""
        start = min(parts) if begin is None else begin
        stream = b""
        for at, data in sorted(((seq - start + 2**31) % 2**32 - 2**31, data) for seq, data in parts.items()):
            if at > len(stream) or len(stream) >= HEAD_BYTES:
                break
            stream += data[max(0, len(stream) - at) :]
        return stream[:HEAD_BYTES]

    def add(self, direction: int, data: bytes, seq: int) -> None:
        """One more payload."""
        self.first[direction] = self.first[direction] or data
        if self.is_udp:
            self.datagrams[direction].append(data)
        elif len(self.segments[direction]) < 64 and len(data) > len(self.segments[direction].get(seq, b"")):
            self.segments[direction][seq] = data


def read_heads(path: Path) -> Iterator[Heads]:
    """All flows of a capture that have payload, by the packets that the oracle meters; one flow for each 5-tuple."""
    flows: dict[tuple[int, frozenset[End]], Heads] = {}
    try:
        frames = read_frames(path.read_bytes())
    except UnreadableError:
        return
    for frame in frames:
        try:
            packet = decode(frame, Tick(frame.time or 0, 0, False), Options())
        except UnmeteredError:
            continue
        network, transport = packet.network, packet.transport
        if network.protocol not in (6, 17) or network.fragment == "tail":
            continue
        source = (str(ipaddress.ip_address(network.src)), transport.src_port)
        target = (str(ipaddress.ip_address(network.dst)), transport.dst_port)
        key = network.protocol, frozenset((source, target))
        is_syn = network.protocol == 6 and transport.flags & 2
        sent_first = (target, source) if is_syn and transport.flags & 16 else (source, target)
        flow = flows.setdefault(key, Heads(network.protocol, *sent_first))
        direction = int(source != flow.client)
        if is_syn:
            flow.begins[direction] = (transport.seq + 1) % 2**32
        if transport.content:
            flow.add(direction, transport.content, transport.seq)
    yield from (flow for flow in flows.values() if any(flow.first))
