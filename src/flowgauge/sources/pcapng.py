"""pcapng: sections and interfaces, which decide how the blocks that carry packets are read."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from flowgauge.errors import NotACapture
from flowgauge.kernels.packet import PacketBatch
from flowgauge.kernels.pcapng import (
    COMMENT,
    DARWIN_PROCESS,
    ENHANCED_PACKET,
    INTERFACE,
    INTERFACES,
    MAX_BLOCK,
    MIN_BLOCK,
    PACKET,
    SECTION,
    UNKNOWN_LINK,
    Order,
    walk_pcapng,
)
from flowgauge.kernels.rarelinks import PKTAP_LINKS
from flowgauge.kernels.records import BAD_BLOCK, BAD_PACKET, DESCRIPTION, LATEST, NEW_KEY
from flowgauge.labels.process import ProcessLabels
from flowgauge.sources.memo import LabelMemo
from flowgauge.sources.processes import KINDS, Processes, options
from flowgauge.sources.window import Interface, Window

MAGIC = int(SECTION).to_bytes(4, "big")
BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

_SECTION_BYTES, _INTERFACE_BYTES = 28, 20  # of the shortest blocks
SECTION_OPTIONS = 24  # where they begin
_MOST_HEADER = 1 << 20  # bytes of a section header whose comments are looked at
_GLANCED_BYTES = 1 << 16
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14
_MICROSECONDS = 6
_NO_LIMIT = 1 << 32

_WITH_OPTIONS, _PACKET_BYTES = (int(ENHANCED_PACKET), int(PACKET)), 32

_FAULTS = {
    BAD_BLOCK: "a block's two lengths are impossible or differ",
    BAD_PACKET: "a packet claims more bytes than its block has",
}


class PcapngReader:
    """Walks one pcapng file. `interfaces` are those of all sections so far, `comments` those of the first section.

    With `labels` packets get the numbers of what their options say of processes.
    """

    container = "pcapng"
    has_trailers = False

    def __init__(self, window: Window, labels: ProcessLabels | None = None) -> None:
        if not window.need(int(MIN_BLOCK)) or window.peek(12)[8:] not in BYTE_ORDERS:
            raise NotACapture(f"{window.name} begins like pcapng, but no section header follows")
        self.interfaces: list[Interface] = []
        self.comments = _comments(window)
        self._order = "<"
        self._orders = _orders("<")
        self._table = np.zeros(1, INTERFACES).view(np.recarray)
        self._described = 0  # interfaces of this section
        self._labels = labels
        self._memo = LabelMemo(labels is not None)
        self._processes = Processes()
        self._unread = 0  # blocks, of the sections before

    @property
    def big_endian(self) -> bool:
        """Byte order of the last section."""
        return self._order == ">"

    @property
    def has_pktap(self) -> bool:
        """Whether frames of an interface have PKTAP headers."""
        return any(interface.link in PKTAP_LINKS for interface in self.interfaces)

    @property
    def unread(self) -> int:
        """Packets and blocks whose word on processes makes no sense."""
        return self._memo.unread + self._processes.unread + self._unread

    @property
    def records(self) -> tuple[Any, ...]:
        """What the walk is told of them, up to the next section or interface."""
        return self._orders, self._table[: self._described + 1], self._memo.arrays

    def walk(self, batch: PacketBatch, window: Window) -> str | None:
        """Fill rows from the window; what is wrong with the block at the cursor, or None."""
        while True:
            verdict = walk_pcapng(batch, window.words, window.cursor, *self.records)
            if verdict == NEW_KEY:
                self._look_up()
                continue
            if verdict != DESCRIPTION:
                return _FAULTS.get(verdict)
            fault, length = self._describe(window)
            if not length:
                return fault
            window.skip(length)

    def has_processes(self, window: Window) -> bool:
        """Whether one of the first blocks tells of the processes of packets."""
        window.need(_GLANCED_BYTES)
        return tells_of_processes(window.peek(min(window.available, _GLANCED_BYTES)))

    def _look_up(self) -> None:
        """Read the options that the memo has as its key."""
        assert self._labels is not None
        said = self._processes.said(options(self._memo.key.tobytes(), 0, self._order), self._order)
        self._memo.add([(start, self._labels.number(label)) for start, label in said])

    def _describe(self, window: Window) -> tuple[str | None, int]:
        """(what is wrong, bytes) of the description at the cursor; 0 bytes where it is not to be walked over."""
        head = window.peek(12)
        section = head[:4] == MAGIC
        order = BYTE_ORDERS.get(head[8:]) if section else self._order
        if order is None:
            return "a section header has an unknown byte order", 0
        kind, length = struct.unpack(order + "II", head[:8])
        shortest = _SECTION_BYTES if section else int(MIN_BLOCK) if kind in KINDS else _INTERFACE_BYTES
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
        if kind in KINDS:
            self._process(kind, block, window)
        else:
            self._interface(block)
        return None, length

    def _process(self, kind: int, block: bytes, window: Window) -> None:
        """A block that describes a process: what was found of packets before may be something else from now on."""
        if self._processes.describe(kind, block[8:-4], self._order):
            self._memo.forget()
        if kind != int(DARWIN_PROCESS):
            window.count_frame()

    def _section(self, block: bytes, order: str) -> str | None:
        major = struct.unpack_from(order + "H", block, 12)[0]
        if major != 1:
            return f"a section has pcapng version {major}; 1 is known"
        self._order = order
        self._orders = _orders(order)
        self._described = 0
        self._unread += self._processes.unread
        self._processes = Processes()
        self._memo.forget()
        self._table[0] = _row(int(UNKNOWN_LINK), 0, _MICROSECONDS, 0)
        return None

    def _interface(self, block: bytes) -> None:
        link, snaplen = struct.unpack_from(self._order + "H2xI", block, 8)
        said = dict(options(block[:-4], 16, self._order))
        name = said.get(_IF_NAME, b"").split(b"\0")[0].decode("utf-8", "replace")
        resolution = (said.get(_IF_TSRESOL) or bytes([_MICROSECONDS]))[0]
        offset = said.get(_IF_TSOFFSET, b"")
        seconds = struct.unpack(self._order + "q", offset)[0] if len(offset) == 8 else 0
        base = 2 if resolution & 0x80 else 10
        self.interfaces.append(Interface(link, name, snaplen, f"{base}^-{resolution & 0x7F} s"))
        if self._described + 2 > len(self._table):
            self._table = np.resize(self._table, 2 * len(self._table)).view(np.recarray)
        self._table[self._described + 1] = self._table[self._described]
        self._table[self._described] = _row(link, snaplen, resolution, seconds)
        self._described += 1


def tells_of_processes(blocks: bytes) -> bool:
    """Whether one of these blocks, as far as they are whole, tells of the processes of packets."""
    processes = Processes()
    for kind, block, order in _whole_blocks(blocks):
        if kind in KINDS:
            processes.describe(kind, block[8:-4], order)
        elif kind == int(INTERFACE) and len(block) >= _INTERFACE_BYTES:
            if struct.unpack_from(order + "H", block, 8)[0] in PKTAP_LINKS:
                return True
        elif kind in _WITH_OPTIONS and len(block) >= _PACKET_BYTES:
            caplen = struct.unpack_from(order + "I", block, 20)[0]
            pairs = options(block[:-4], 28 + caplen + -caplen % 4, order)
            if any(label for _, label in processes.said(pairs, order)):
                return True
        if processes.seen:
            return True
    return False


def _whole_blocks(blocks: bytes) -> Iterator[tuple[int, bytes, str]]:
    """(type, block, byte order) of each block up to the first that is not whole or makes no sense."""
    at, order = 0, "<"
    while len(blocks) - at >= int(MIN_BLOCK):
        if blocks[at : at + 4] == MAGIC:
            order = BYTE_ORDERS.get(blocks[at + 8 : at + 12], order)
        kind, length = struct.unpack_from(order + "II", blocks, at)
        if length < int(MIN_BLOCK) or length % 4 or at + length > len(blocks):
            return
        yield kind, blocks[at : at + length], order
        at += length


def _comments(window: Window) -> tuple[str, ...]:
    """Those of the section header that the window begins with; none where it is not sound, which its walk finds."""
    order = BYTE_ORDERS[window.peek(12)[8:]]
    length = struct.unpack(order + "I", window.peek(8)[4:])[0]
    if not _SECTION_BYTES <= length <= _MOST_HEADER or not window.need(length):
        return ()
    block = window.peek(length)[:-4]
    texts = (value for code, value in options(block, SECTION_OPTIONS, order) if code == int(COMMENT))
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
