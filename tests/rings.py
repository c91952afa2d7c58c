"""Blocks of a packet ring of Linux made by hand, and a ring of them that keeps its promises and no more."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

HEADER, ADDRESS = 48, 20  # struct tpacket3_hdr, struct sockaddr_ll
ETHERNET, LOOPBACK, TUNNEL = 1, 772, 65534  # linux/if_arp.h
INCOMING, OUTGOING = 0, 4
TAG_VALID, TAG_TYPE_VALID = 1 << 4, 1 << 6


class Frame(NamedTuple):
    """One frame as the system puts it into a ring; `tag` is the VLAN's, taken off, of EtherType `tag_type`."""

    data: bytes
    time: int = 0
    length: int | None = None
    hardware: int = ETHERNET
    kind: int = INCOMING
    tag: int | None = None
    tag_type: int | None = None


def block(frames: Iterable[Frame], begin: int = 0) -> tuple[bytes, int, int]:
    """Bytes of a block that begins at `begin` in the ring, offset in the ring of its first frame, frames."""
    listed, at = list(frames), 48
    content = bytearray(at)
    for number, frame in enumerate(listed):
        mac = -(-(HEADER + ADDRESS) // 16) * 16 + 4 + 2  # behind the headers, with room for a tag in front
        size = -(-(mac + len(frame.data)) // 8) * 8
        status = 1
        if frame.tag is not None:
            status |= TAG_VALID | (0 if frame.tag_type is None else TAG_TYPE_VALID)
        length = len(frame.data) if frame.length is None else frame.length
        following = 0 if number == len(listed) - 1 else size
        content += struct.pack("=IIIIII", following, *divmod(frame.time, 10**9), len(frame.data), length, status)
        content += struct.pack("=HHIIHH8x", mac, mac + 14, 0, frame.tag or 0, frame.tag_type or 0, 0)
        content += struct.pack("=HHiHBB8x", 17, 0, 1, frame.hardware, frame.kind, 6)
        content += bytes(mac - HEADER - ADDRESS) + frame.data
        content += bytes(-len(content) % 8)
    struct.pack_into("=IIIII", content, 0, 3, 48, 1, len(listed), at)
    return bytes(content), begin + at, len(listed)


class FakeRing:
    """Hands out blocks one after another; what is given back is overwritten, as the system does sooner or later."""

    interface = "eth7"
    down = False

    def __init__(self, blocks: Iterable[Iterable[Frame] | None]) -> None:
        self._blocks = list(blocks)  # None: quiet
        self._place = np.zeros(1 << 20, np.uint8)
        self.data, self.words = self._place, self._place.view(np.uint32)
        self.handle: Any = None
        self._taken = False
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")

    def take(self, seconds: float) -> tuple[int, int] | None:
        following = self._blocks.pop(0) if self._blocks else None
        if following is None:
            return None
        content, first, count = block(following)
        self.data[: len(content)] = np.frombuffer(content, np.uint8)
        self.log.append("take")
        self._taken = True
        return first, count

    def give_back(self) -> None:
        if self._taken:
            self.log.append("give back")
            self.data[:] = 0xAA
        self._taken = False

    def drops(self) -> Any:
        from flowgauge.sources.ring import Drops

        return Drops(0, 0)

    def close(self) -> None:
        self.log.append("close")
