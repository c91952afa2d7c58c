"""The client's first message in QUIC: Initial packets, whose keys anybody can derive, hold it encrypted.

RFC 9000 §17.2, RFC 9001 §5 and RFC 9369 §3; the drafts from 22 on, mvfst, and gQUIC, whose hello is one of its own.
Nothing here raises an exception for what is in a packet.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_DATAGRAMS = 16
"""Datagrams of a client that are looked at; a hello of 16 KiB fits in."""
MAX_HELLO = 16_384
_MAX_PACKETS, _MAX_FRAMES = 8, 512  # of a datagram, of a packet
_MAX_CONNECTIONS, _MAX_ID = 4, 20  # connection ids that keys are derived of, bytes of one

_LONG_FIXED, _INITIAL, _RETRY = 0xC0, 0, 3
_SAMPLE, _ECB = 16, modes.ECB()
_PADDING, _PING, _ACK, _ACK_ECN = 0, 1, 2, 3


class _Scheme(NamedTuple):
    """What keys of a version are derived with, and the types of its Initial packets and CRYPTO frames."""

    salt: bytes
    label: bytes = b"quic"
    initial: int = 0
    crypto: int = 6


_V1 = _Scheme(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"))
_V2 = _Scheme(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2", 1)
_V2_DRAFT = _Scheme(bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3"), b"quicv2", 1)
_DRAFT_29 = _Scheme(bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"))
_DRAFT_23 = _Scheme(bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502"))
_DRAFT_22 = _Scheme(bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a"))
_Q050 = _Scheme(bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"), crypto=8)
_T050 = _Scheme(bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310"), crypto=8)
_T051 = _Scheme(bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"), crypto=8)

_SCHEMES: dict[int, tuple[_Scheme, ...]] = {
    0x00000001: (_V1,),
    0x6B3343CF: (_V2,),
    0x709A50C4: (_V2_DRAFT,),
    **{0xFF000000 + draft: (_V1,) for draft in (33, 34)},
    **{0xFF000000 + draft: (_DRAFT_29,) for draft in range(29, 33)},
    **{0xFF000000 + draft: (_DRAFT_23,) for draft in range(23, 29)},
    0xFF000016: (_DRAFT_22,),
    int.from_bytes(b"Q050", "big"): (_Q050,),
    int.from_bytes(b"T050", "big"): (_T050,),
    int.from_bytes(b"T051", "big"): (_T051,),
}
_MVFST, _MVFST_SCHEMES = 0xFACEB000, (_DRAFT_22, _DRAFT_23, _DRAFT_29, _V1)  # one after the other, as drafts came


def _schemes(version: int) -> tuple[_Scheme, ...]:
    if version & 0xFFFFFF00 == _MVFST:
        return _MVFST_SCHEMES
    return _SCHEMES.get(version, ())


_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_BLOCK = 64


class _Mac:
    """HMAC-SHA256 of many messages with one key (RFC 2104): a third of the time of as many calls of hmac.digest."""

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(_BLOCK, b"\0")
        self._inner, self._outer = sha256(padded.translate(_INNER)), sha256(padded.translate(_OUTER))

    def of(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


def _label(name: bytes, size: int) -> bytes:
    """HkdfLabel without context (RFC 8446 §7.1), and the number of HKDF's only block."""
    name = b"tls13 " + name
    return size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0\1"


@functools.cache
def _derivation(scheme: _Scheme) -> tuple[_Mac, bytes, bytes, bytes]:
    """What the keys of all connections of a version have in common."""
    key, iv, hp = (_label(scheme.label + name, size) for name, size in ((b" key", 16), (b" iv", 12), (b" hp", 16)))
    return _Mac(scheme.salt), key, iv, hp


_CLIENT = _label(b"client in", 32)


@functools.lru_cache(maxsize=1024)
def _keys(scheme: _Scheme, connection: bytes) -> tuple[AESGCM, int, bytes]:
    """AEAD, IV and key of header protection of a client's Initial packets to this connection id (RFC 9001 §5.2)."""
    salted, key, iv, hp = _derivation(scheme)
    client = _Mac(_Mac(salted.of(connection)).of(_CLIENT))
    return AESGCM(client.of(key)[:16]), int.from_bytes(client.of(iv)[:12], "big"), client.of(hp)[:16]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of RFC 9000 §16 and what is behind; IndexError where it does not begin, too little is a wrong number."""
    first = data[at]
    if first < 0x40:
        return first, at + 1
    width = 1 << (first >> 6)
    return int.from_bytes(data[at : at + width], "big") & (1 << 8 * width - 2) - 1, at + width


class _Initial(NamedTuple):
    """An Initial packet: data[begin:end], its number from `number` on."""

    schemes: tuple[_Scheme, ...]
    connection: bytes
    begin: int
    number: int
    end: int


def _packet(data: bytes, begin: int) -> tuple[_Initial | None, int]:
    """The packet that begins here, if it is an Initial one, and where it ends, 0 where that is not to be known."""
    schemes = _schemes(int.from_bytes(data[begin + 1 : begin + 5], "big"))
    first, at = data[begin], begin + 6 + data[begin + 5]
    if first & _LONG_FIXED != _LONG_FIXED or not schemes or at > begin + 6 + _MAX_ID:
        return None, 0
    connection = data[begin + 6 : at]
    at += 1 + data[at]
    kind = (first >> 4) - schemes[0].initial & 3  # as numbered in version 1
    if kind == _RETRY:  # which has no length
        return None, 0
    if kind == _INITIAL:
        token, at = _varint(data, at)
        at += token
    size, at = _varint(data, at)
    end = at + size
    if kind != _INITIAL or size < 4 + _SAMPLE or end > len(data):
        return None, end
    return _Initial(schemes, connection, begin, at, end), end


class _Opener:
    """Opens packets with the keys of one connection id, and puts together what is in them."""

    def __init__(self, scheme: _Scheme, connection: bytes) -> None:
        self._aead, self._iv, hp = _keys(scheme, connection)
        self._mask = Cipher(algorithms.AES(hp), _ECB).encryptor().update
        self._crypto = scheme.crypto
        self._pieces: dict[int, bytes] = {}

    def open(self, data: bytes, packet: _Initial) -> bytes | None:
        """Its frames (RFC 9001 §5.3, §5.4), None where these are not its keys."""
        _, _, begin, at, end = packet
        mask = self._mask(data[at + 4 : at + 4 + _SAMPLE])
        first = data[begin] ^ mask[0] & 0x0F
        width = 1 + (first & 3)
        behind = at + width
        number = int.from_bytes(data[at:behind], "big") ^ int.from_bytes(mask[1 : 1 + width], "big")
        header = b"%c%b%b" % (first, data[begin + 1 : at], number.to_bytes(width, "big"))
        try:
            return self._aead.decrypt((self._iv ^ number).to_bytes(12, "big"), data[behind:end], header)
        except InvalidTag:
            return None

    def take(self, frames: bytes) -> None:
        """Keep what CRYPTO frames bring, up to a frame that has no place in a client's first packets."""
        at, end, pieces, left = 0, len(frames), self._pieces, _MAX_FRAMES
        try:
            while at < end and left > 0:
                kind = frames[at]
                at, left = at + 1, left - 1
                if kind == self._crypto:
                    offset, at = _varint(frames, at)
                    size, at = _varint(frames, at)
                    if offset < MAX_HELLO and size > len(pieces.get(offset, b"")):
                        pieces[offset] = frames[at : at + size]
                    at += size
                elif kind == _PADDING:
                    if frames.count(0, at) == end - at:  # all the rest, as nearly always
                        return
                    at = end - len(frames[at:].lstrip(b"\0"))
                elif kind in (_ACK, _ACK_ECN):
                    at = _behind_ack(frames, at, kind)
                elif kind != _PING:
                    return
        except IndexError:  # the last frame is cut off
            return

    def stream(self) -> bytes:
        """The bytes that came, from the first one to the first hole."""
        if len(self._pieces) == 1:
            return self._pieces.get(0, b"")[:MAX_HELLO]
        stream = bytearray()
        for offset in sorted(self._pieces):
            if offset > len(stream):
                break
            stream += self._pieces[offset][len(stream) - offset :]
        return bytes(stream[:MAX_HELLO])


def _behind_ack(frames: bytes, at: int, kind: int) -> int:
    """RFC 9000 §19.3."""
    _, at = _varint(frames, at)
    _, at = _varint(frames, at)
    ranges, at = _varint(frames, at)
    for _ in range(1 + 2 * min(ranges, len(frames)) + (3 if kind == _ACK_ECN else 0)):
        _, at = _varint(frames, at)
    return at


class _Client:
    """What a client's datagrams bring, in the streams of the connection ids that keys are of."""

    def __init__(self) -> None:
        self._openers: dict[bytes, list[_Opener]] = {}

    def read(self, datagram: bytes) -> bytes:
        """The stream that this datagram is of, as far as it is known then; empty if it is of none."""
        at, left, last = 0, _MAX_PACKETS, None
        try:
            while at < len(datagram) and left > 0:
                packet, end = _packet(datagram, at)
                if packet is not None:
                    last = self._opened(datagram, packet) or last
                if end <= at:
                    break
                at, left = end, left - 1
        except IndexError:  # it ends within a header
            pass
        return b"" if last is None else last.stream()

    def _opened(self, datagram: bytes, packet: _Initial) -> _Opener | None:
        """Who could open the packet, and has taken it."""
        openers = self._openers
        if packet.connection not in openers and len(openers) < _MAX_CONNECTIONS:
            openers[packet.connection] = [_Opener(scheme, packet.connection) for scheme in packet.schemes]
        # An id that the server chose comes in later headers; the keys stay those of the first one, but for a Retry.
        for several in openers.values():
            for opener in several:
                frames = opener.open(datagram, packet)
                if frames is not None:
                    opener.take(frames)
                    return opener
        return None


def client_hello(datagrams: Sequence[bytes], partial: bool = False) -> bytes | None:
    """The TLS ClientHello, a bare handshake message, in the first datagrams of a QUIC client; None where there is none.

    The message may be spread over several packets, in any order; with `partial` what there is up to its first hole is
    given where it is not whole.
    """
    client, longest = _Client(), b""
    for datagram in datagrams[:MAX_DATAGRAMS]:
        stream = client.read(datagram)
        if stream[:1] != b"\1":
            continue
        size = 4 + int.from_bytes(stream[1:4], "big")
        if len(stream) >= max(size, 4):
            return stream[:size]
        longest = max(longest, stream, key=len)
    return longest if partial and longest else None


def gquic_server_name(datagrams: Sequence[bytes]) -> str | None:
    """The server name in a CHLO, the hello of Google's QUIC: in clear up to Q046, in Initial packets in Q050."""
    client = _Client()
    for datagram in datagrams[:MAX_DATAGRAMS]:
        if datagram[1:5] == b"Q050":
            name = _chlo_name(client.read(datagram))
        elif datagram[9:10] == b"Q" or datagram[1:4] == b"Q04":
            name = _chlo_name(datagram)
        else:
            name = None
        if name is not None:
            return name
    return None


_MAX_TAGS = 128
_HOST = re.compile(rb"[A-Za-z0-9._-]{1,255}")


def _chlo_name(data: bytes) -> str | None:
    """SNI of the tags behind CHLO: their number, then each with the end of its value, then the values."""
    begin = data.find(b"CHLO")
    tags = int.from_bytes(data[begin + 4 : begin + 6], "little")
    if begin < 0 or not 0 < tags <= _MAX_TAGS:
        return None
    table, values, start = begin + 8, begin + 8 + 8 * tags, 0
    for at in range(table, values, 8):
        end = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"SNI\0":
            name = data[values + start : values + end]
            is_name = len(name) == end - start and _HOST.fullmatch(name) is not None
            return name.decode().lower().rstrip(".") if is_name else None
        start = end
    return None
