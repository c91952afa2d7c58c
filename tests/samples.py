"""The first bytes of each service, made as its specification says: the shortest that tell it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from recognising import Flow, tcp, udp


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    return struct.pack(">BHH", kind, version, len(body)) + body


def client_hello() -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + b"\0\0"
    return record(22, b"\x01" + len(body).to_bytes(3, "big") + body)


def server_hello() -> bytes:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\x13\x01" + b"\0" + b"\0\0"
    return record(22, b"\x02" + len(body).to_bytes(3, "big") + body)


def dtls_hello() -> bytes:
    body = b"\xfe\xfd" + bytes(32) + b"\0\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    message = b"\x01" + len(body).to_bytes(3, "big") + bytes(5) + len(body).to_bytes(3, "big") + body
    return b"\x16\xfe\xfd" + bytes(8) + len(message).to_bytes(2, "big") + message


def labels(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def question(name: str, kind: int = 1, number: int = 0x1234, flags: int = 0x0100) -> bytes:
    return struct.pack(">6H", number, flags, 1, 0, 0, 0) + labels(name) + struct.pack(">HH", kind, 1)


def answer(name: str, records: Sequence[tuple[int, bytes]], flags: int = 0x8180, number: int = 0x1234) -> bytes:
    """An answer to :func:`question`; its records' owner is the name that was asked for."""
    head = (
        struct.pack(">6H", number, flags, 1, len(records), 0, 0) + labels(name) + struct.pack(">HH", records[0][0], 1)
    )
    return head + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for kind, data in records)


def announcement(name: str, address: bytes = b"\x0a\0\0\x05") -> bytes:
    """What mDNS sends without having been asked."""
    return struct.pack(">6H", 0, 0x8400, 0, 1, 0, 0) + labels(name) + struct.pack(">HHIH", 1, 0x8001, 120, 4) + address


def netbios_name(name: str, kind: int = 0x20) -> bytes:
    padded = name.encode().ljust(15) + bytes([kind])
    return b"\x20" + bytes(nibble + 65 for byte in padded for nibble in (byte >> 4, byte & 15)) + b"\0"


def netbios_question(name: str, flags: int = 0x0110) -> bytes:
    return struct.pack(">6H", 0x1234, flags, 1, 0, 0, 0) + netbios_name(name) + b"\0\x20\0\x01"


def netbios_datagram(name: str) -> bytes:
    names = netbios_name(name) + netbios_name("WORKGROUP", 0x1D)
    return b"\x11\x02\x12\x34\x0a\0\0\x01" + struct.pack(">HHH", 138, len(names), 0) + names


def dhcp(*options: tuple[int, bytes]) -> bytes:
    head = b"\x01\x01\x06\0" + bytes(232) + b"\x63\x82\x53\x63\x35\x01\x01"
    return head + b"".join(bytes([code, len(data)]) + data for code, data in options) + b"\xff"


def dhcpv6(*options: tuple[int, bytes]) -> bytes:
    return b"\x01\x12\x34\x56" + b"".join(struct.pack(">HH", code, len(data)) + data for code, data in options)


KEX_LISTS = ("kex1,kex2", "host", "enc-up", "enc-down", "mac-up", "mac-down", "zip-up", "zip-down", "", "")


def key_exchange(lists: Sequence[str] = KEX_LISTS) -> bytes:
    body = b"\x14" + bytes(16) + b"".join(struct.pack(">I", len(text)) + text.encode() for text in lists) + bytes(5)
    return struct.pack(">IB", len(body) + 5, 4) + body + bytes(4)


def rtp(sequence: int, source: int = 0x1234ABCD, kind: int = 0, time: int = 0) -> bytes:
    return struct.pack(">BBHII", 0x80, kind, sequence, time, source) + bytes(20)


def stun(kind: int = 1, attributes: bytes = b"") -> bytes:
    return struct.pack(">HHI", kind, len(attributes), 0x2112A442) + b"transaction!" + attributes


def quic(version: int = 1) -> bytes:
    return b"\xc0" + struct.pack(">I", version) + b"\x08connecti\0\0\x40\x40" + bytes(64)


def openvpn_reset(code: int, hmac: int = 0) -> bytes:
    tail = b"\0" if code == 7 else b"\x01\0\0\0\0otherend"
    front = b"h" * hmac + struct.pack(">II", 1, 0x65000000) if hmac else b""
    return bytes([code << 3]) + b"session!" + front + tail + bytes(4)


def negotiation(code: int) -> bytes:
    """RDP's X.224 connection request (0xE0) or confirmation (0xD0)."""
    body = bytes([code]) + bytes(5) + (b"\x01" if code == 0xE0 else b"\x02") + b"\0\x08\0\x0b\0\0\0"
    return struct.pack(">BBHB", 3, 0, len(body) + 5, len(body)) + body


def wireguard(kind: int, size: int) -> bytes:
    return bytes([kind, 0, 0, 0]) + b"\x12\x34\x56\x78" + bytes(size - 8)


GET = b"GET /a/b?c=d HTTP/1.1\r\nHost: www.example.com:8080\r\nUser-Agent: curl/8\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>"
INVITE = b"INVITE sip:bob@sip.example.com:5060;transport=udp SIP/2.0\r\nUser-Agent: phone/1\r\n\r\n"
SEARCH = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nUSER-AGENT: Chrome/1\r\nST: ssdp:all\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.6\r\n"

# By service: flows of which it is to be told, in different forms.
SAMPLES: dict[str, tuple[Flow, ...]] = {
    "tls": (tcp(client_hello(), server_hello(), 443), tcp(record(23, bytes(40)), port=4433), tcp(record(21, b"\2\50"))),
    "quic": (udp(quic(), port=443), udp(quic(0x6B3343CF)), udp(quic(0xFF00001D))),
    "http": (
        tcp(GET, OK, 80),
        tcp(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n"),
        tcp(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ),
    "dns": (
        udp(question("www.example.com"), answer("www.example.com", [(1, b"\1\2\3\4")]), 53),
        udp(question("www.example.com"), port=5333),
        tcp(len(question("a.bc")).to_bytes(2, "big") + question("a.bc"), port=53),
    ),
    "mdns": (udp(question("_ipp._tcp.local", 12), port=5353), udp(announcement("tv.local"), port=5353, client=5353)),
    "llmnr": (udp(question("printer"), port=5355),),
    "netbios_ns": (udp(netbios_question("PRINTER"), port=137, client=137), udp(netbios_question("X"))),
    "netbios_dgm": (udp(netbios_datagram("DESK"), port=138, client=138),),
    "ssdp": (udp(SEARCH, port=1900), udp(b"NOTIFY * HTTP/1.1\r\n\r\n"), udp(b"HTTP/1.1 200 OK\r\nST: x\r\n\r\n")),
    "dhcp": (udp(dhcp((12, b"host")), port=67, client=68),),
    "dhcpv6": (udp(dhcpv6((8, b"\0\0")), port=547, client=546),),
    "ssh": (tcp(SSH + key_exchange(), SSH + key_exchange(), 22), tcp(b"SSH-1.99-x\n")),
    "stun": (
        udp(stun(), stun(0x0101, b"\0\x20\0\x08\0\1\0\0\0\0\0\0")),
        tcp(stun(3)),
        udp(b"\0\1\0\x08" + bytes(16) + b"\0\3\0\4\0\0\0\0"),
    ),
    "dtls": (udp(dtls_hello()), udp(b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x10" + bytes(16))),
    "ntp": (udp(b"\x23" + bytes(47), b"\x24\x01" + bytes(46), 123), udp(b"\x16\x02" + bytes(10), port=123)),
    "mqtt": (tcp(b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4name"), tcp(b"\x10\x12\0\6MQIsdp\3\2\0\x3c\0\4name")),
    "bittorrent": (
        tcp(b"\x13BitTorrent protocol" + bytes(48)),
        udp(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
        udp(bytes.fromhex("00000417271019800000000012345678")),
        udp(b"\x41\0\x12\x34" + bytes(8) + b"\0\4\0\0\0\1\0\0"),
    ),
    "wireguard": (
        udp(wireguard(1, 148), wireguard(2, 92), 51820),
        udp(wireguard(1, 148)),
        udp(wireguard(4, 96), wireguard(4, 32)),  # a transport message of each side
        udp(wireguard(4, 96), port=51820),
    ),
    "openvpn": (
        udp(openvpn_reset(7), openvpn_reset(8), 1194),
        udp(openvpn_reset(7, 20), openvpn_reset(8, 20)),
        tcp(b"\0\x0e" + openvpn_reset(7)),
        udp(b"\x38session!" + struct.pack(">II", 1, 0x65000000) + bytes(37)),
    ),
    "rdp": (tcp(negotiation(0xE0), negotiation(0xD0), 3389), tcp(b"\3\0\0\x16\x11\xe0\0\0\0\0\0Cookie: a\r\n")),
    "smb": (tcp(b"\0\0\0\x40\xfeSMB" + bytes(60)), tcp(b"\x81\0\0\x44" + netbios_name("A") + netbios_name("B"))),
    "ftp": (tcp(b"USER a\r\n", b"220 ready\r\n", 2121), tcp(b"", b"220 ProFTPD\r\n"), tcp(b"", b"220 hi\r\n", 21)),
    "smtp": (tcp(b"EHLO a\r\n", b"220 ready\r\n", 2626), tcp(b"", b"220 mx ESMTP\r\n"), tcp(b"HELO a\r\n")),
    "pop3": (tcp(b"USER a\r\n", b"+OK hi\r\n", 1100), tcp(b"", b"+OK hi\r\n", 110), tcp(b"", b"+OK POP3 here\r\n")),
    "imap": (
        tcp(b"a1 LOGIN b c\r\n", b"* OK hi\r\n", 1430),
        tcp(b"", b"* OK IMAP4rev1\r\n"),
        tcp(b"", b"* OK hi\r\n", 143),
    ),
    "sip": (udp(INVITE, b"SIP/2.0 100 Trying\r\n\r\n", 5060), tcp(INVITE), udp(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n")),
    "rtp": (
        udp((rtp(7), rtp(8, time=160))),
        udp((rtp(65535, time=2**32 - 1), rtp(0)), (rtp(1, 5), rtp(2, 5, time=9))),
        tcp(b"".join(b"\0\x20" + rtp(number) for number in (1, 2))),
    ),
    "rtcp": (udp(struct.pack(">BBHI", 0x80, 201, 1, 7) + struct.pack(">BBHI", 0x81, 202, 1, 7)),),
}

# What is like a service, and is none: the reason first.
NEAR_MISSES: tuple[tuple[str, Flow], ...] = (
    ("RTSP has HTTP's methods", tcp(b"OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n")),
    ("a line that ends is another version's", tcp(b"GET /a GOPHER/1\r\n")),
    ("a key of memcached", tcp(b"GET key\r\n")),
    ("a type of no TLS record", tcp(b"\x13\3\3\0\x10" + bytes(16))),
    ("a TLS record of no bytes", tcp(b"\x16\3\1\0\0" + bytes(16))),
    ("what follows the first record is none", tcp(record(23, bytes(8)) + b"0123456789")),
    ("one RTP packet", udp(rtp(7))),
    ("RTP packets of two sources", udp((rtp(7, 1), rtp(8, 2)))),
    ("RTP's numbers fall", udp((rtp(8), rtp(7)))),
    ("NTP's form on another port", udp(b"\x23" + bytes(47), port=124)),
    ("a version of no NTP", udp(b"\x33" + bytes(47), port=123)),
    ("S7 is in X.224 as RDP is", tcp(b"\3\0\0\x16\x11\xe0\0\0\0\1\0\xc0\1\x0a\xc1\2\1\0\xc2\2\1\2")),
    ("WireGuard's answer of another length", udp(wireguard(2, 93))),
    ("WireGuard's transport of one side, on no port of it", udp(wireguard(4, 96))),
    ("STUN whose length is not the datagram's", udp(stun() + b"more")),
    ("an answer of Redis", tcp(b"*1\r\n$4\r\nPING\r\n", b"+OK\r\n")),
    ("a greeting of either FTP or SMTP", tcp(b"", b"220 ready\r\n")),
    ("a question of visible characters only, off port 53", udp(question("a\x01b.example"))),
    ("versions are negotiated, of which none is known", udp(b"\x80" + bytes(4) + b"\0\0" + b"\x12\x34\x56\x78")),
    ("DHCPv6 whose options end elsewhere", udp(dhcpv6((8, b"\0\0")) + b"x", port=547)),
    ("IRC's USER", tcp(b"USER a +iw b :C D\r\n", b":irc.example NOTICE * :hi\r\n")),
    ("nothing", tcp(b"")),
)
