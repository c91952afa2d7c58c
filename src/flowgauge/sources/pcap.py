"""Classic pcap: the file header, and the variants that its magic number does not tell apart."""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from flowgauge.errors import TruncatedCapture
from flowgauge.kernels.envelopes import ETHERNET_BYTES, TRAILER_BYTES, TRAILER_MAGIC
from flowgauge.kernels.packet import PacketBatch
from flowgauge.kernels.pcap import PcapLayout, walk_pcap
from flowgauge.kernels.rarelinks import PKTAP_LINKS
from flowgauge.kernels.records import BAD_RECORD, MAX_RECORD
from flowgauge.sources.window import Interface, Window

FILE_HEADER = 24
RECORD_HEADER = 16
MODIFIED_RECORD_HEADER = 24

# More captured bytes than any link type allows: such a record is a sign of a wrong layout.
_PLAUSIBLE = 262_144

_ETHERNET = 1
_NO_ADDRESSES = bytes(12)
_LOOKED_AT = 16  # records at most, for a trailer: PCAPdroid leaves it out where the snap length has no room for it


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
    unread = 0

    def __init__(self, window: Window, standard: bool = False) -> None:
        if not window.need(FILE_HEADER):
            raise TruncatedCapture(f"{window.name} ends inside its pcap file header, at byte {window.available}")
        header = window.peek(FILE_HEADER)
        magic = MAGIC[header[:4]]
        snaplen, link = struct.unpack(magic.order + "II", header[16:])
        self.interfaces = [Interface(link & 0xFFFF, "", snaplen, f"10^-{magic.digits} s")]
        window.skip(FILE_HEADER)
        size = RECORD_HEADER if standard else _record_header(window, magic)
        self.has_pktap = link & 0xFFFF in PKTAP_LINKS
        self.has_trailers = not standard and link & 0xFFFF == _ETHERNET and _has_trailer(window, magic, size)
        self.layout = PcapLayout(
            header=np.uint64(size),
            big=np.uint64(magic.order == ">"),
            unit=np.int64(10 ** (9 - magic.digits)),
            link=np.uint16(link & 0xFFFF),  # the upper half tells of frame check sequences
        )

    def has_processes(self, window: Window) -> bool:
        """Whether frames have trailers or headers that tell of their processes."""
        return self.has_trailers or self.has_pktap

    @property
    def big_endian(self) -> bool:
        """Byte order of the file."""
        return bool(self.layout.big)

    @property
    def records(self) -> tuple[Any, ...]:
        """What the walk is told of them."""
        return (self.layout,)

    def walk(self, batch: PacketBatch, window: Window) -> str | None:
        """Fill rows from the window; what is wrong with the record at the cursor, or None."""
        if walk_pcap(batch, window.data, window.cursor, self.layout) == BAD_RECORD:
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


HEAD_BYTES = FILE_HEADER + MODIFIED_RECORD_HEADER + len(_NO_ADDRESSES)


def may_say_more(head: bytes) -> bool:
    """Whether a file with these first HEAD_BYTES may tell of labels: all but a pcap file of plain frames."""
    magic = MAGIC.get(head[:4])
    if magic is None or len(head) < FILE_HEADER:
        return True
    link = struct.unpack(magic.order + "I", head[20:FILE_HEADER])[0] & 0xFFFF
    begins = (FILE_HEADER + size for size in (RECORD_HEADER, MODIFIED_RECORD_HEADER))
    made_up = any(head[begin : begin + len(_NO_ADDRESSES)] == _NO_ADDRESSES for begin in begins)
    return link in PKTAP_LINKS or (link == _ETHERNET and made_up)


def _has_trailer(window: Window, magic: _Magic, size: int) -> bool:
    """Whether one of the first records, as far as they are read already, ends with PCAPdroid's trailer.

    Their frames have a header made up by PCAPdroid, whose addresses are zero.
    """
    at = 0
    for _ in range(_LOOKED_AT):
        if window.available < at + size + int(ETHERNET_BYTES + TRAILER_BYTES):
            return False
        caplen = struct.unpack(magic.order + "I", window.peek(at + size)[at + 8 : at + 12])[0]
        if caplen > _PLAUSIBLE or window.available < at + size + caplen:
            return False
        frame = window.peek(at + size + caplen)[at + size :]
        if not frame.startswith(_NO_ADDRESSES):
            return False
        if is_trailer(frame):
            return True
        at += size + caplen
    return False


def is_trailer(frame: bytes) -> bool:
    """Whether a record's bytes end with PCAPdroid's trailer: its mark, and a checksum of all before."""
    mark, checksum = frame[-int(TRAILER_BYTES) :][:4], frame[-4:]
    return mark == int(TRAILER_MAGIC).to_bytes(4, "big") and checksum == zlib.crc32(frame[:-4]).to_bytes(4, "little")
