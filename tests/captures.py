"""Plain writers of every capture variant, for tests. Imports nothing of the package.

A frame is (time in ns, captured bytes[, original length or None[, link type]]).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
from collections.abc import Iterable, Sequence
from typing import Any

Frame = Sequence[Any]

ETHERNET = 1


def parts(frame: Frame, link: int = ETHERNET) -> tuple[int, bytes, int, int]:
    """(time, captured bytes, original length, link type) of a frame."""
    time, data, *rest = frame
    original = rest[0] if rest and rest[0] is not None else len(data)
    return time, data, original, rest[1] if len(rest) > 1 else link


# --- pcap -----------------------------------------------------------------------------------------


def pcap_header(
    *, order: str = "<", ns: bool = False, modified: bool = False, link: int = ETHERNET, snaplen: int = 262144
) -> bytes:
    """The 24 bytes before the records; `link` may carry bits in its upper half."""
    magic = 0xA1B2CD34 if modified else 0xA1B23C4D if ns else 0xA1B2C3D4
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)


def pcap_record(frame: Frame, *, order: str = "<", ns: bool = False, header: int = 16) -> bytes:
    """One record; the 8 bytes more of a 24-byte header are interface, protocol, type and padding."""
    time, data, original, _ = parts(frame)
    seconds, fraction = divmod(time, 1_000_000_000)
    fields = struct.pack(order + "4I", seconds, fraction if ns else fraction // 1000, len(data), original)
    return fields + struct.pack(order + "IHBB", 2, 0x0800, 0, 0)[: header - 16] + data


def write_pcap(
    frames: Iterable[Frame],
    *,
    order: str = "<",
    ns: bool = False,
    modified: bool = False,
    header: int | None = None,
    link: int = ETHERNET,
    snaplen: int = 262144,
) -> bytes:
    """A pcap file. `header=24` without `modified` is the patched libpcap that kept the standard magic number."""
    size = header or (24 if modified else 16)
    head = pcap_header(order=order, ns=ns, modified=modified, link=link, snaplen=snaplen)
    return head + b"".join(pcap_record(frame, order=order, ns=ns, header=size) for frame in frames)


# --- pcapng ---------------------------------------------------------------------------------------


def padded(data: bytes) -> bytes:
    """`data` filled up to a multiple of 4 bytes."""
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of any kind."""
    body = padded(body)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def options(pairs: Iterable[tuple[int, bytes]], order: str = "<") -> bytes:
    """Options with their end mark; none are no bytes."""
    encoded = b"".join(struct.pack(order + "HH", code, len(value)) + padded(value) for code, value in pairs)
    return encoded + bytes(4) if encoded else b""


def section(order: str = "<", *, major: int = 1, pairs: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """A section header block of unknown section length."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1) + options(pairs, order), order)


def interface(
    link: int = ETHERNET,
    order: str = "<",
    *,
    snaplen: int = 0,
    name: str = "",
    resolution: int | None = None,
    offset: int | None = None,
) -> bytes:
    """An interface description block; `resolution` is the if_tsresol octet, `offset` seconds."""
    pairs = [(2, name.encode())] if name else []
    if resolution is not None:
        pairs.append((9, bytes([resolution])))
    if offset is not None:
        pairs.append((14, struct.pack(order + "q", offset)))
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options(pairs, order), order)


def _ticks(ticks: int) -> tuple[int, int]:
    return ticks >> 32 & 0xFFFFFFFF, ticks & 0xFFFFFFFF


def enhanced(
    ticks: int,
    data: bytes,
    *,
    order: str = "<",
    original: int | None = None,
    index: int = 0,
    pairs: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """An enhanced packet block; `ticks` in the resolution of interface `index`."""
    length = len(data) if original is None else original
    head = struct.pack(order + "5I", index, *_ticks(ticks), len(data), length)
    return block(6, head + padded(data) + options(pairs, order), order)


def obsolete(ticks: int, data: bytes, *, order: str = "<", original: int | None = None, index: int = 0) -> bytes:
    """The packet block that the enhanced one replaced."""
    length = len(data) if original is None else original
    head = struct.pack(order + "HH4I", index, 7, *_ticks(ticks), len(data), length)
    return block(2, head + padded(data), order)


def simple(data: bytes, *, order: str = "<", original: int | None = None) -> bytes:
    """A simple packet block: no time, interface 0."""
    return block(3, struct.pack(order + "I", len(data) if original is None else original) + padded(data), order)


def write_pcapng(frames: Iterable[Frame], *, order: str = "<", ns: bool = True) -> bytes:
    """One section with one interface per link type (in order of appearance); a time of None is a simple packet."""
    rows = [parts(frame) for frame in frames]
    links = list(dict.fromkeys(link for *_, link in rows)) or [ETHERNET]
    blocks = [section(order)]
    blocks += [interface(link, order, resolution=9 if ns else None) for link in links]
    for time, data, original, link in rows:
        if time is None:
            blocks.append(simple(data, order=order, original=original))
        else:
            ticks = time if ns else time // 1000
            blocks.append(enhanced(ticks, data, order=order, original=original, index=links.index(link)))
    return b"".join(blocks)


# --- compression ----------------------------------------------------------------------------------


def _arrow(data: bytes, codec: str) -> bytes:
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
        stream.flush()
        sink.close = lambda: None  # type: ignore[method-assign]  # the stream closes what it writes to
    return sink.getvalue()


COMPRESSORS = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: _arrow(data, "zstd"),
    "lz4": lambda data: _arrow(data, "lz4"),
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}
"""Name of a compression -> function from bytes to one member of it."""
