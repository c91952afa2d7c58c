"""Classic pcap: the file header, and the variants that its magic number does not tell apart."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from flowgauge.errors import TruncatedCapture
from flowgauge.kernels.packet import PacketBatch
from flowgauge.kernels.pcap import PcapLayout, walk_pcap
from flowgauge.kernels.records import BAD_RECORD, MAX_RECORD
from flowgauge.sources.window import Interface, Window

FILE_HEADER = 24
RECORD_HEADER = 16
MODIFIED_RECORD_HEADER = 24

# More captured bytes than any link type allows: such a record is a sign of a wrong layout.
_PLAUSIBLE = 262_144


class _Magic(NamedTuple):
    order: str  # as struct names it
    digits: int  # of the time's fraction
    modified: bool


_VARIANTS = {0xA1B2C3D4: (6, False), 0xA1B23C4D: (9, False), 0xA1B2CD34: (6, True)}
MAGIC = {
    struct.pack(order + "I", value): _Magic(order, digits, modified)
    for value, (digits, modified) in _VARIANTS.items()
    for order in "<>"
}
"""First four bytes of a file -> byte order, time resolution and size of its record headers."""


class PcapReader:
    """Walks one pcap file; its window stands behind the file header afterwards.

    Of a `standard` one, which a program of today writes, no records are needed to know their headers.
    """

    container = "pcap"
    comments: tuple[str, ...] = ()

    def __init__(self, window: Window, standard: bool = False) -> None:
        if not window.need(FILE_HEADER):
            raise TruncatedCapture(f"{window.name} ends inside its pcap file header, at byte {window.available}")
        header = window.peek(FILE_HEADER)
        magic = MAGIC[header[:4]]
        snaplen, link = struct.unpack(magic.order + "II", header[16:])
        self.interfaces = [Interface(link & 0xFFFF, "", snaplen, f"10^-{magic.digits} s")]
        window.skip(FILE_HEADER)
        self._layout = PcapLayout(
            header=np.uint64(RECORD_HEADER if standard else _record_header(window, magic)),
            big=np.uint64(magic.order == ">"),
            unit=np.int64(10 ** (9 - magic.digits)),
            link=np.uint16(link & 0xFFFF),  # the upper half tells of frame check sequences
        )

    @property
    def big_endian(self) -> bool:
        """Byte order of the file."""
        return bool(self._layout.big)

    def walk(self, batch: PacketBatch, window: Window) -> str | None:
        """Fill rows from the window; what is wrong with the record at the cursor, or None."""
        if walk_pcap(batch, window.data, window.cursor, self._layout) == BAD_RECORD:
            return f"a record claims more than {MAX_RECORD >> 20} MiB"
        return None


def _record_header(window: Window, magic: _Magic) -> int:
    """Bytes of a record header: 24 after the standard magic number, too, where only that makes sense.

    A patched libpcap of 1999 wrote longer headers without saying so; readers look at the first two
    records (as Wireshark does).
    """
    if magic.modified:
        return MODIFIED_RECORD_HEADER
    for size in (RECORD_HEADER, MODIFIED_RECORD_HEADER):
        if _plausible(window, magic, size):
            return size
    return RECORD_HEADER


def _plausible(window: Window, magic: _Magic, size: int) -> bool:
    """Whether the first two records make sense with headers of `size` bytes."""
    at = 0
    for _ in range(2):
        if not window.need(at + size):
            return size == RECORD_HEADER or window.available == at
        _, fraction, caplen, frame_len = struct.unpack(magic.order + "4I", window.peek(at + size)[at : at + 16])
        if fraction >= 10**magic.digits or caplen > min(_PLAUSIBLE, frame_len):
            return False
        at += size + caplen
    return window.need(at) or size == RECORD_HEADER
