"""pcapng: sections and interfaces, which decide how the blocks that carry packets are read."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import numpy as np

from flowgauge.errors import NotACapture
from flowgauge.kernels.packet import PacketBatch
from flowgauge.kernels.pcapng import (
    INTERFACES,
    MAX_BLOCK,
    MIN_BLOCK,
    SECTION,
    UNKNOWN_LINK,
    Order,
    walk_pcapng,
)
from flowgauge.kernels.records import BAD_BLOCK, BAD_PACKET, DESCRIPTION, LATEST
from flowgauge.sources.window import Interface, Window

MAGIC = int(SECTION).to_bytes(4, "big")
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

_SECTION_BYTES, _INTERFACE_BYTES = 28, 20  # of the shortest blocks
_SECTION_OPTIONS = 24  # where they begin
_MOST_HEADER = 1 << 20  # bytes of a section header whose comments are looked at
_COMMENT = 1
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14
_MICROSECONDS = 6
_NO_LIMIT = 1 << 32

_FAULTS = {
    BAD_BLOCK: "a block's two lengths are impossible or differ",
    BAD_PACKET: "a packet claims more bytes than its block has",
}


class PcapngReader:
    """Walks one pcapng file. `interfaces` are those of all sections so far, `comments` those of the first section."""

    container = "pcapng"

    def __init__(self, window: Window) -> None:
        if not window.need(int(MIN_BLOCK)) or window.peek(12)[8:] not in _ORDERS:
            raise NotACapture(f"{window.name} begins like pcapng, but no section header follows")
        self.interfaces: list[Interface] = []
        self.comments = _comments(window)
        self._order = "<"
        self._orders = _orders("<")
        self._table = np.zeros(1, INTERFACES).view(np.recarray)
        self._described = 0  # interfaces of this section

    @property
    def big_endian(self) -> bool:
        """Byte order of the last section."""
        return self._order == ">"

    def walk(self, batch: PacketBatch, window: Window) -> str | None:
        """Fill rows from the window; what is wrong with the block at the cursor, or None."""
        while True:
            table = self._table[: self._described + 1]
            verdict = walk_pcapng(batch, window.words, window.cursor, self._orders, table)
            if verdict != DESCRIPTION:
                return _FAULTS.get(verdict)
            fault, length = self._describe(window)
            if not length:
                return fault
            window.skip(length)

    def _describe(self, window: Window) -> tuple[str | None, int]:
        """(what is wrong, bytes) of the description at the cursor; 0 bytes where it is not to be walked over."""
        head = window.peek(12)
        section = head[:4] == MAGIC
        order = _ORDERS.get(head[8:]) if section else self._order
        if order is None:
            return "a section header has an unknown byte order", 0
        length = struct.unpack(order + "I", head[4:8])[0]
        shortest = _SECTION_BYTES if section else _INTERFACE_BYTES
        if not shortest <= length <= MAX_BLOCK or length % 4:
            return _FAULTS[BAD_BLOCK], 0
        if window.available < length:
            return None, 0
        block = window.peek(length)
        if block[4:8] != block[-4:]:
            return _FAULTS[BAD_BLOCK], 0
        if section:
            fault = self._section(block, order)
            return fault, 0 if fault else length
        self._interface(block)
        return None, length

    def _section(self, block: bytes, order: str) -> str | None:
        major = struct.unpack_from(order + "H", block, 12)[0]
        if major != 1:
            return f"a section has pcapng version {major}; 1 is known"
        self._order = order
        self._orders = _orders(order)
        self._described = 0
        self._table[0] = _row(int(UNKNOWN_LINK), 0, _MICROSECONDS, 0)
        return None

    def _interface(self, block: bytes) -> None:
        link, snaplen = struct.unpack_from(self._order + "H2xI", block, 8)
        options = dict(_options(block, 16, self._order))
        name = options.get(_IF_NAME, b"").split(b"\0")[0].decode("utf-8", "replace")
        resolution = (options.get(_IF_TSRESOL) or bytes([_MICROSECONDS]))[0]
        offset = options.get(_IF_TSOFFSET, b"")
        seconds = struct.unpack(self._order + "q", offset)[0] if len(offset) == 8 else 0
        base = 2 if resolution & 0x80 else 10
        self.interfaces.append(Interface(link, name, snaplen, f"{base}^-{resolution & 0x7F} s"))
        if self._described + 2 > len(self._table):
            self._table = np.resize(self._table, 2 * len(self._table)).view(np.recarray)
        self._table[self._described + 1] = self._table[self._described]
        self._table[self._described] = _row(link, snaplen, resolution, seconds)
        self._described += 1


def _options(block: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    """(code, value) of a block's options, which begin at byte `at`, up to the first that does not fit."""
    end = len(block) - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", block, at)
        at += 4
        if code == 0 or at + length > end:
            return
        yield code, block[at : at + length]
        at += length + -length % 4


def _comments(window: Window) -> tuple[str, ...]:
    """Those of the section header that the window begins with; none where it is not sound, which its walk finds."""
    order = _ORDERS[window.peek(12)[8:]]
    length = struct.unpack(order + "I", window.peek(8)[4:])[0]
    if not _SECTION_BYTES <= length <= _MOST_HEADER or not window.need(length):
        return ()
    texts = (value for code, value in _options(window.peek(length), _SECTION_OPTIONS, order) if code == _COMMENT)
    return tuple(text.decode("utf-8", "replace") for text in texts)


def _orders(order: str) -> Order:
    native = "<" if sys.byteorder == "little" else ">"
    return Order(big=np.uint64(order == ">"), foreign=np.uint64(order != native))


def _row(link: int, snaplen: int, resolution: int, seconds: int) -> tuple[int, ...]:
    """The row of INTERFACES for an if_tsresol octet and an if_tsoffset."""
    binary, digits = resolution >> 7, resolution & 0x7F
    divisor = multiplier = 1
    if not binary:
        divisor, multiplier = 10 ** max(digits - 9, 0), 10 ** max(9 - digits, 0)
    if divisor >= 1 << 64:  # a tick is too short for 64 bits of them to make a nanosecond
        divisor, multiplier = 1, 0
    most = int(LATEST) // multiplier if multiplier else 2**64 - 1
    offset = max(-int(LATEST), min(int(LATEST), seconds * 1_000_000_000))
    return link, snaplen or _NO_LIMIT, divisor, most, multiplier, binary, digits, offset
