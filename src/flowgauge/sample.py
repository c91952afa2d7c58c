"""A small capture made in memory: what features are tried on."""

from __future__ import annotations

import struct
from collections.abc import Iterator

CLIENT, RESOLVER, SERVER = bytes((192, 0, 2, 10)), bytes((192, 0, 2, 53)), bytes((198, 51, 100, 80))  # RFC 5737
_START = 1_700_000_000_000_000  # µs
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
_REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"a" * 2000


def sample_capture() -> bytes:
    """A pcap of two flows: a name looked up by UDP, and a page fetched by TCP, from the handshake to both FINs."""
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return header + b"".join(_record(number, frame) for number, frame in enumerate(_frames()))


def _record(number: int, frame: bytes) -> bytes:
    seconds, fraction = divmod(_START + 15_000 * number, 1_000_000)
    return struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame


def _frames() -> Iterator[bytes]:
    name = b"\x03www\x07example\x03com\x00\x00\x01\x00\x01"
    yield _udp(CLIENT, RESOLVER, 40001, 53, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name)
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04" + SERVER
    yield _udp(RESOLVER, CLIENT, 53, 40001, b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + name + answer)
    yield from _connection()


def _connection() -> Iterator[bytes]:
    """A connection in which a request is answered in two segments."""
    up, down = [1000], [5000]

    def segment(from_client: bool, flags: int, payload: bytes = b"") -> bytes:
        own, other = (up, down) if from_client else (down, up)
        ends = (CLIENT, SERVER, 50001, 80) if from_client else (SERVER, CLIENT, 80, 50001)
        frame = _tcp(*ends, own[0], other[0] if flags & _ACK else 0, flags, payload)
        own[0] += len(payload) + bool(flags & (_SYN | _FIN))
        return frame

    yield segment(True, _SYN)
    yield segment(False, _SYN | _ACK)
    yield segment(True, _ACK)
    yield segment(True, _PSH | _ACK, _REQUEST)
    yield segment(False, _ACK, _RESPONSE[:1400])
    yield segment(False, _PSH | _ACK, _RESPONSE[1400:])
    yield segment(True, _ACK)
    yield segment(True, _FIN | _ACK)
    yield segment(False, _FIN | _ACK)
    yield segment(True, _ACK)


def _tcp(
    source: bytes, destination: bytes, port: int, to: int, seq: int, ack: int, flags: int, payload: bytes
) -> bytes:
    return _frame(
        source, destination, 6, struct.pack(">HHIIBBHHH", port, to, seq, ack, 5 << 4, flags, 64240, 0, 0) + payload
    )


def _udp(source: bytes, destination: bytes, port: int, to: int, payload: bytes) -> bytes:
    return _frame(source, destination, 17, struct.pack(">HHHH", port, to, 8 + len(payload), 0) + payload)


def _frame(source: bytes, destination: bytes, protocol: int, content: bytes) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(content), 1, 0x4000, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + header + source + destination + content
