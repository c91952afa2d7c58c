"""Compile every kernel of the main path by metering a few packets made here."""

from __future__ import annotations

import io
import struct
from typing import Any

_ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2])  # RFC 5737
_MAC_ADDRESSES = bytes(12)
_FORMATS = ("csv", "jsonl", "parquet", "arrow")


def compile_all() -> None:
    """Run packets through every source, stage and sink that has kernels."""
    from flowgauge.kernels import lifetime
    from flowgauge.meter import Meter
    from flowgauge.run import extract
    from flowgauge.sources import libpcap

    for capture, format in zip((_pcap(), _pcapng()) * 2, _FORMATS, strict=True):
        extract(io.BytesIO(capture), io.BytesIO(), format=format, warm=False)
    options: dict[str, Any] = {"dedup": 1.0, "reorder": 1.0, "filter": "ip" if libpcap.is_installed() else None}
    extract(io.BytesIO(_pcap()), io.BytesIO(), format=_FORMATS[0], warm=False, **options)
    lifetime.rebuild_index(Meter().table.arrays)


def _frames() -> list[bytes]:
    """A UDP packet, one in two fragments of which the tail comes first, and one behind a label."""
    datagram = struct.pack(">HHHH", 1024, 53, 32, 0) + bytes(24)
    whole = _ipv4(datagram, 0)
    head, tail = _ipv4(datagram[:16], 0x2000), _ipv4(datagram[16:], 2)
    plain = [_MAC_ADDRESSES + b"\x08\x00" + packet for packet in (whole, tail, head)]
    # Between other addresses, so that it opens a flow.
    return [*plain, _MAC_ADDRESSES + b"\x88\x47\x00\x01\x01\x40" + whole[:12] + _ADDRESSES[::-1] + datagram]


def _ipv4(data: bytes, fragment: int) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 1, fragment, 64, 17, 0)
    return header + _ADDRESSES + data


def _pcap() -> bytes:
    records = (struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in _frames())
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


def _pcapng() -> bytes:
    section = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = _block(1, struct.pack("<HHI", 1, 0, 65535))
    packets = (_block(6, struct.pack("<IIIII", 0, 0, 1, len(frame), len(frame)) + frame) for frame in _frames())
    return section + interface + b"".join(packets)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
