"""The oracle's part of group `names`: heads of streams, TLS records and DNS answers, in plain Python.

Like the oracle itself it shares nothing with the package. What the bytes of a head mean is not its business.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HEAD = 4096
MOST_RECORDS = 10


class Segment(NamedTuple):
    """A TCP segment as it was captured; `end` is 0 for the client."""

    end: int
    seq: int
    payload: bytes
    syn: bool = False


def stream_head(segments: Sequence[Segment], end: int) -> bytes:
    """The first bytes of a direction's stream, as far as none is missing."""
    there: dict[int, int] = {}
    first = None
    for segment in segments:
        if segment.end != end or not (segment.payload or segment.syn):
            continue
        number = (segment.seq + segment.syn) % 2**32
        if first is None or (segment.syn and not there):
            first = number
        place = (number - first + 2**31) % 2**32 - 2**31
        there |= {place + i: byte for i, byte in enumerate(segment.payload) if 0 <= place + i < HEAD}
    length = 0
    while length in there:
        length += 1
    return bytes(there[place] for place in range(length))


def datagram_head(datagrams: Sequence[bytes]) -> bytes:
    """Datagrams, each behind its length, as far as they fit."""
    head = b""
    for datagram in datagrams:
        kept = datagram[: max(0, HEAD - len(head) - 2)]
        if not kept:
            break
        head += struct.pack(">H", len(kept)) + kept
    return head


def tls_records(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """(direction, length) of the first records, up to the first header that is missing or late.

    All segments are of a connection that speaks TLS, and none is cut off.
    """
    found: list[tuple[int, int]] = []
    first: dict[int, int] = {}
    wanted, header = [0, 0], [b"", b""]  # place of the next byte of a header, and what there is of it
    for segment in segments:
        number, end = segment.seq + segment.syn, segment.end
        first.setdefault(end, number)
        start = number - first[end]
        while start <= wanted[end] < start + len(segment.payload):
            part = segment.payload[wanted[end] - start :][: 5 - len(header[end])]
            header[end] += part
            wanted[end] += len(part)
            if len(header[end]) < 5:
                break
            kind, major, _, length = struct.unpack(">BBBH", header[end])
            if not 20 <= kind <= 24 or major != 3:
                return found
            found.append((end, length))
            if len(found) == MOST_RECORDS:
                return found
            wanted[end], header[end] = wanted[end] + length, b""
        if segment.payload and wanted[end] < start:
            return found
    return found


class Answer(NamedTuple):
    """A DNS response to a client: the name asked, and the addresses in it."""

    time: int
    client: str
    name: str
    addresses: tuple[str, ...]


@dataclass
class AnswerMemory:
    """The latest `most` answers: by what name a client was told an address."""

    most: int
    told: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    order: list[tuple[str, str] | None] = field(default_factory=list)

    def learn(self, answer: Answer) -> None:
        for address in answer.addresses:
            key = answer.client, address
            if key in self.told:
                self.order[self.order.index(key)] = None  # its place stays taken
            self.order.append(key)
            if len(self.order) > self.most:
                oldest = self.order.pop(0)
                if oldest is not None:
                    del self.told[oldest]
            self.told[key] = answer.name, answer.time

    def name(self, client: str, server: str, time: int) -> tuple[str, int] | None:
        """Name and age in ns."""
        found = self.told.get((client, server))
        return None if found is None else (found[0], max(0, time - found[1]))
