"""Encapsulations for the tests, from the inside out like everything in packets.py.

    sent(0, eth(ip4(udp(49152, 4789, vxlan(eth(ip4(tcp(40000, 443))), 42)))))

What is carried in UDP is bytes for :func:`packets.udp`; what has an IP protocol or an EtherType is a Layer.
"""

from __future__ import annotations

import struct

from packets import Layer

BRIDGED, PPP = 0x6558, 0x880B


def frame(data: bytes) -> Layer:
    """An Ethernet frame as what another header carries."""
    return Layer(BRIDGED, data)


# Between link and IP


def mpls(content: Layer | bytes, *labels: int) -> Layer:
    """RFC 3032: a stack of labels, outermost first, before an IP packet or the bytes of a pseudowire."""
    entries = [label << 12 | 64 for label in labels]
    entries[-1] |= 0x100
    data = content if isinstance(content, bytes) else content.data
    return Layer(0x8847, struct.pack(f"!{len(entries)}I", *entries) + data)


PPP_PROTOCOLS = {0x0800: 0x21, 0x86DD: 0x57, 0x8847: 0x281}


def ppp(content: Layer, *, address: bool = True, short: bool = False) -> Layer:
    """RFC 1661 with or without RFC 1662's address and control; `short` compresses the protocol."""
    protocol = PPP_PROTOCOLS[content.number]
    number = bytes([protocol]) if short else struct.pack("!H", protocol)
    return Layer(PPP, (b"\xff\x03" if address else b"") + number + content.data)


def pppoe(content: Layer, session: int, *, code: int = 0) -> Layer:
    """RFC 2516, a session packet that holds an IP packet."""
    data = ppp(content, address=False).data
    return Layer(0x8864, struct.pack("!BBHH", 0x11, code, session, len(data)) + data)


# In IP


def ipip(content: Layer) -> Layer:
    """RFC 2003, RFC 4213, RFC 2473: an IP packet in another."""
    return Layer({0x0800: 4, 0x86DD: 41}[content.number], content.data)


def gre(
    content: Layer, *, key: int | None = None, checksum: bool = False, sequence: int | None = None, flags: int = 0
) -> Layer:
    """RFC 2784 and RFC 2890."""
    optional = [(0x8000, 0 if checksum else None), (0x2000, key), (0x1000, sequence)]
    bits = sum(bit for bit, value in optional if value is not None) | flags
    fields = b"".join(struct.pack("!I", value) for _, value in optional if value is not None)
    return Layer(47, struct.pack("!HH", bits, content.number) + fields + content.data)


def nvgre(data: bytes, subnet: int) -> Layer:
    """RFC 7637: a frame and its virtual subnet."""
    return gre(frame(data), key=subnet << 8 | 7)


# In UDP


def vxlan(data: bytes, vni: int, *, flags: int = 0x08000000, reserved: int = 0) -> bytes:
    """RFC 7348 §5."""
    return struct.pack("!II", flags, vni << 8 | reserved) + data
