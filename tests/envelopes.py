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


def raw(content: Layer | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.data


# Between link and IP


def tagged(kind: int, tag: bytes, content: Layer) -> Layer:
    """A tag of any kind, which ends in the EtherType of what follows."""
    return Layer(kind, tag + struct.pack("!H", content.number) + content.data)


def vn_tag(content: Layer) -> Layer:
    return tagged(0x8926, bytes(4), content)


def hsr(content: Layer) -> Layer:
    """IEC 62439-3: path and size, sequence number."""
    return tagged(0x892F, b"\0\x20\0\1", content)


def cisco_metadata(content: Layer) -> Layer:
    return tagged(0x8909, b"\1\1\0\1\0\5", content)


def macsec(content: Layer, *, identifier: bytes = b"", control: int = 0) -> Layer:
    """IEEE 802.1AE, signed: the frame ends in a check value of 16 bytes."""
    first = control | (0x20 if identifier else 0)
    tag = tagged(0x88E5, bytes((first, 0)) + bytes(4) + identifier, content)
    return tag._replace(data=tag.data + b"\xee" * 16)


def pbb(data: bytes, service: int) -> Layer:
    """IEEE 802.1ah: a customer's frame in a backbone's."""
    return Layer(0x88E7, struct.pack("!I", service) + data)


def fabricpath(data: bytes) -> Layer:
    return Layer(0x8903, b"\x40\x20" + data)


def trill(data: bytes, *, words: int = 0) -> Layer:
    """RFC 6325 §3."""
    return Layer(0x22F3, struct.pack("!HHH", words << 6 | 20, 1, 2) + bytes(4 * words) + data)


NEXT_PROTOCOLS = {0x0800: 1, 0x86DD: 2, BRIDGED: 3, 0x894F: 4, 0x8847: 5}


def nsh(content: Layer, path: int, *, words: int = 2) -> Layer:
    """RFC 8300 §2."""
    header = struct.pack("!HBBI", 0x0FC0 | words, 1, NEXT_PROTOCOLS[content.number], path << 8 | 255)
    return Layer(0x894F, header + bytes(4 * words - 8) + content.data)


def mpls(content: Layer | bytes, *labels: int) -> Layer:
    """RFC 3032: a stack of labels, outermost first, before an IP packet or the bytes of a pseudowire."""
    entries = [label << 12 | 64 for label in labels]
    entries[-1] |= 0x100
    return Layer(0x8847, struct.pack(f"!{len(entries)}I", *entries) + raw(content))


PPP_PROTOCOLS = {0x0800: 0x21, 0x86DD: 0x57, 0x8847: 0x281}


def ppp(content: Layer, *, address: bool = True, short: bool = False) -> Layer:
    """RFC 1661 with or without RFC 1662's address and control; `short` compresses the protocol."""
    protocol = PPP_PROTOCOLS[content.number]
    number = bytes([protocol]) if short else struct.pack("!H", protocol)
    return Layer(PPP, (b"\xff\x03" if address else b"") + number + content.data)


def ppp_bridged(data: bytes, *, lan: bool = False) -> Layer:
    """RFC 3518 §4.2."""
    return Layer(PPP, b"\xff\x03\0\x31" + (b"\x40\1\0\0\0\7" if lan else b"\0\1") + data)


def multilink(content: Layer, *, bits: int = 0xC0) -> Layer:
    """RFC 1990 §3: one fragment of a packet, or all of it."""
    return Layer(PPP, b"\xff\x03\0\x3d" + bytes((bits, 0, 0, 1)) + content.data)


def pppoe(content: Layer, session: int, *, code: int = 0) -> Layer:
    """RFC 2516, a session packet that holds an IP packet."""
    data = ppp(content, address=False).data
    return Layer(0x8864, struct.pack("!BBHH", 0x11, code, session, len(data)) + data)


# Links


def llc(content: Layer) -> bytes:
    """LLC and SNAP."""
    return b"\xaa\xaa\x03\0\0\0" + struct.pack("!H", content.number) + content.data


def nlpid(content: Layer) -> bytes:
    """RFC 2427 §4: IPv4, IPv6, or anything behind SNAP."""
    number = {0x0800: b"\xcc", 0x86DD: b"\x8e"}.get(content.number)
    return number + content.data if number else b"\x80\0\0\0" + struct.pack("!H", content.number) + content.data


def bridged(data: bytes, *, padding: int) -> bytes:
    """A frame behind SNAP (RFC 2427 §4.2, RFC 2684 §5.2)."""
    return b"\0\x80\xc2\0\7" + bytes(padding) + data


def cisco_hdlc(content: Layer) -> bytes:
    return b"\x0f\0" + struct.pack("!H", content.number) + content.data


def frame_relay(data: bytes, *, address: bytes = b"\x18\x41", padding: bool = False) -> bytes:
    """RFC 2427 §3, before an NLPID."""
    return address + (b"\x03\0" if padding else b"\x03") + data


def arcnet(content: Layer, kind: int, *, linux: bool = False, split: bytes = b"\0\0\1") -> bytes:
    """RFC 1051 (kind 240) or RFC 1201 (212, 196)."""
    return b"\1\2" + (bytes(2) if linux else b"") + bytes([kind]) + (b"" if kind == 240 else split) + content.data


def nflog(content: Layer, family: int, order: str = "<") -> bytes:
    """Netfilter log: attributes, the last of which is the packet."""

    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack(order + "HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    return bytes((family, 0, 0, 40)) + attribute(1, bytes(4)) + attribute(10, b"x\0") + attribute(9, content.data)


def pktap(data: bytes, link: int, *, size: int = 108, record: int = 1) -> bytes:
    """Apple's header before a frame of this link type."""
    return struct.pack("<III", size, record, link) + bytes(size - 12) + data


def ppi(data: bytes, link: int, *, fcs: bool = False, aligned: bool = False) -> bytes:
    """Per-packet information with a field of three bytes and that of 802.11."""
    fields = struct.pack("<HH", 7, 3) + bytes(3 + aligned)
    fields += struct.pack("<HHQH", 2, 20, 0, int(fcs)) + bytes(10)
    return struct.pack("<BBHI", 0, int(aligned), 8 + len(fields), link) + fields + data + (b"\xfc" * 4 if fcs else b"")


def radiotap(data: bytes, *, flags: int | None = None, time: bool = False, words: int = 1) -> bytes:
    """https://www.radiotap.org: time, flags and rate; `words` of presence; an FCS where the flags say so."""
    present = [(1 << 31) * (number + 1 < words) for number in range(words)]
    present[0] |= (1 if time else 0) | (0 if flags is None else 2) | 4
    body = bytes(-4 * (words + 1) % 8 + 8) if time else b""
    body += (b"" if flags is None else bytes([flags])) + b"\x0c"
    header = struct.pack("<BBH", 0, 0, 4 + 4 * words + len(body)) + struct.pack(f"<{words}I", *present) + body
    return header + data + (b"\xfc" * 4 if (flags or 0) & 0x10 else b"")


def prism(data: bytes) -> bytes:
    return struct.pack("<II", 0x44, 144) + bytes(136) + data


def avs(data: bytes, *, size: int = 64) -> bytes:
    return struct.pack("!II", 0x80211001, size) + bytes(size - 8) + data


STATION, POINT, SOURCE, DESTINATION = (bytes((2, 0, 0, 0, 1, number)) for number in range(4))


def wireless(
    body: bytes,
    *,
    ways: int = 1,
    quality: int | None = None,
    flags: int = 0,
    control: int = 0x08,
    fragment: int = 0,
    padded: bool = False,
    swapped: bool = False,
) -> bytes:
    """An IEEE 802.11 data frame from SOURCE to DESTINATION; `ways` are To DS (1) and From DS (2).

    `quality` is the first octet of a QoS control field; `swapped` is the form in which some devices send it to others.
    """
    addresses = [
        (DESTINATION, SOURCE, POINT),
        (POINT, SOURCE, DESTINATION),
        (DESTINATION, POINT, SOURCE),
        (POINT, STATION, DESTINATION),
    ][ways]
    first, second = control | (0x80 if quality is not None else 0), flags | ways
    sequence = bytes((fragment, 0x10))
    if swapped:
        first, second, sequence = second, first, sequence[::-1]
    header = bytes((first, second, 0, 0)) + b"".join(addresses) + sequence
    header += (SOURCE if ways == 3 else b"") + (b"" if quality is None else bytes((quality, 0)))
    header += bytes(4) if quality is not None and flags & 0x80 else b""
    return header + (bytes(-len(header) % 4) if padded else b"") + body


def aggregate(*bodies: bytes) -> bytes:
    """An A-MSDU: frames at multiples of four bytes."""
    data = b""
    for body in bodies:
        data += bytes(-len(data) % 4) + DESTINATION + SOURCE + struct.pack("!H", len(body)) + body
    return data


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


def pptp(content: Layer, call: int, *, sequence: bool = True, acknowledged: bool = False) -> Layer:
    """RFC 2637 §4.1."""
    flags = 0x2001 | (0x1000 if sequence else 0) | (0x80 if acknowledged else 0)
    fields = bytes(4 * (sequence + acknowledged))
    return Layer(47, struct.pack("!HHHH", flags, PPP, len(content.data), call) + fields + content.data)


def erspan1(data: bytes) -> Layer:
    return gre(Layer(0x88BE, data))


def erspan2(data: bytes, session: int, *, version: int = 1) -> Layer:
    return gre(Layer(0x88BE, struct.pack("!HHI", version << 12, 0xC000 | session, 0) + data), sequence=1)


def erspan3(content: Layer, session: int, *, version: int = 2, platform: bool = False) -> Layer:
    """A frame, or an IP packet without one."""
    kind = 0 if content.number == BRIDGED else 2
    header = struct.pack("!HHIHH", version << 12, session, 0, 0, kind << 10 | platform)
    return gre(Layer(0x22EB, header + bytes(8 * platform) + content.data), sequence=1)


def etherip(data: bytes, *, version: int = 3) -> Layer:
    return Layer(97, bytes((version << 4, 0)) + data)


def ethernet(data: bytes) -> Layer:
    """RFC 8986: a frame behind IP."""
    return Layer(143, data)


def mpls_in_ip(content: Layer) -> Layer:
    """RFC 4023."""
    return Layer(137, content.data)


def l2tpv3(data: bytes, session: int, *, between: int = 0) -> bytes:
    """RFC 3931 §4.1: `between` are the bytes of cookie and sublayer."""
    return struct.pack("!I", session) + bytes(between) + data


# In UDP


def vxlan(data: bytes, vni: int, *, flags: int = 0x08000000, reserved: int = 0) -> bytes:
    """RFC 7348 §5."""
    return struct.pack("!II", flags, vni << 8 | reserved) + data


def vxlan_gpe(content: Layer, vni: int, *, flags: int = 0x0C) -> bytes:
    return struct.pack("!BxxBI", flags, NEXT_PROTOCOLS.get(content.number, 99), vni << 8) + content.data


def geneve(content: Layer, vni: int, *, options: bytes = b"", version: int = 0) -> bytes:
    """RFC 8926 §3.4."""
    return struct.pack("!BBHI", version << 6 | len(options) // 4, 0, content.number, vni << 8) + options + content.data


def gtp(
    content: Layer, tunnel: int, *, optional: bytes = b"", flags: int = 0x30, kind: int = 255, length: int | None = None
) -> bytes:
    """3GPP TS 29.281 §5.1; `optional` are the four bytes that flags announce, and extension headers."""
    size = len(optional) + len(content.data)
    return struct.pack("!BBHI", flags, kind, size if length is None else length, tunnel) + optional + content.data


def teredo(content: Layer, *, authentication: bytes | None = None, origin: bool = False) -> bytes:
    """RFC 4380 §5.1."""
    data = b""
    if authentication is not None:
        data += struct.pack("!HBB", 1, 0, len(authentication)) + authentication + bytes(9)
    if origin:
        data += b"\0\0" + bytes(6)
    return data + content.data


def ayiya(content: Layer, *, operation: int = 1, following: int = 41) -> bytes:
    """An identity of 16 bytes and a signature of 20."""
    return bytes((0x44, 0x52, 0x10 | operation, following)) + bytes(4 + 16 + 20) + content.data


def l2tp(
    content: Layer, tunnel: int, session: int, *, length: bool = False, numbers: bool = False, offset: int | None = None
) -> bytes:
    """RFC 2661 §3.1, a data message."""
    flags = 2 | (0x4000 if length else 0) | (0x0800 if numbers else 0) | (0x0200 if offset is not None else 0)
    rest = struct.pack("!HH", tunnel, session) + bytes(4 * numbers)
    if offset is not None:
        rest += struct.pack("!H", offset) + bytes(offset)
    rest += content.data
    return struct.pack("!H", flags) + (struct.pack("!H", 4 + len(rest)) if length else b"") + rest


def capwap(data: bytes, *, native: bool = False, bits: int = 0, words: int = 2) -> bytes:
    """RFC 5415 §4.3: a frame, or one of 802.11 where `native`."""
    header = struct.pack("!II", words << 19 | 1 << 9 | native << 8 | bits, 0)
    return header + bytes(max(0, 4 * words - 8)) + data


def tzsp(data: bytes, *, kind: int = 1, fields: bytes = b"\0\x0a\1\xc0", version: int = 1) -> bytes:
    return struct.pack("!BBH", version, 0, kind) + fields + b"\1" + data
