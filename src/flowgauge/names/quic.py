"""The client's first message in QUIC: Initial packets, whose keys anybody can derive, hold it encrypted.

RFC 9000 §17.2, RFC 9001 §5 and RFC 9369 §3; the drafts from 22 on, mvfst, and gQUIC, whose hello is one of its own.
Nothing here raises an exception for what is in a packet.
"""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_DATAGRAMS = 16
"""Datagrams of a client that are looked at; a hello of 16 KiB fits in."""
MAX_HELLO = 16_384
_MAX_PACKETS, _MAX_FRAMES, _MAX_ID = 8, 512, 20  # of a datagram, of a packet, bytes of a connection id

_LONG_FIXED = 0xC0
_TAG, _SAMPLE = 16, 16
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO = 0, 1, 2, 3, 6
_NOT_PADDING = re.compile(rb"[^\0]")


class _Scheme(NamedTuple):
    """What keys of a version are derived with, and the type of its Initial packets."""

    salt: bytes
    label: bytes = b"quic"
    initial: int = 0


_V1 = _Scheme(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"))
_V2 = _Scheme(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2", 1)
_V2_DRAFT = _Scheme(bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3"), b"quicv2", 1)
_DRAFT_29 = _Scheme(bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"))
_DRAFT_23 = _Scheme(bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502"))
_DRAFT_22 = _Scheme(bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a"))
_Q050 = _Scheme(bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"))
_T050 = _Scheme(bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310"))
_T051 = _Scheme(bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"))

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


def _label(name: bytes, size: int) -> bytes:
    """HkdfLabel without context (RFC 8446 §7.1), and the number of HKDF's only block."""
    name = b"tls13 " + name
    return size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0\1"


@functools.cache
def _labels(label: bytes) -> tuple[bytes, bytes, bytes]:
    return _label(label + b" key", 16), _label(label + b" iv", 12), _label(label + b" hp", 16)


_CLIENT = _label(b"client in", 32)


class _Keys(NamedTuple):
    aead: AESGCM
    iv: int
    hp: bytes


@functools.lru_cache(maxsize=1024)
def _keys(scheme: _Scheme, connection: bytes) -> _Keys:
    """Keys of a client's Initial packets (RFC 9001 §5.2), of the connection id that its first one is sent to."""
    digest = hmac.digest
    secret = digest(digest(scheme.salt, connection, "sha256"), _CLIENT, "sha256")
    key, iv, hp = (digest(secret, label, "sha256") for label in _labels(scheme.label))
    return _Keys(AESGCM(key[:16]), int.from_bytes(iv[:12], "big"), hp[:16])


class _Initial(NamedTuple):
    """An Initial packet: its bytes in a datagram, and where the packet number begins in them."""

    version: int
    connection: bytes
    data: bytes
    number: int


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of RFC 9000 §16 and what is behind; IndexError where it does not begin, too little is a wrong number."""
    first = data[at]
    width = 1 << (first >> 6)
    return int.from_bytes(data[at : at + width], "big") & (1 << 8 * width - 2) - 1, at + width


def _packet(data: bytes, begin: int) -> tuple[_Initial | None, int]:
    """The packet that begins here, if it is an Initial one, and where it ends: at 0 if that is not to be known."""
    first, version = data[begin], int.from_bytes(data[begin + 1 : begin + 5], "big")
    schemes = _schemes(version)
    if first & _LONG_FIXED != _LONG_FIXED or not schemes:
        return None, 0
    at = begin + 6 + data[begin + 5]
    connection = data[begin + 6 : at]
    at += 1 + data[at]
    kind = (first >> 4 & 3) - schemes[0].initial & 3  # as numbered in version 1
    if kind == 3 or len(connection) > _MAX_ID:  # a Retry has no length
        return None, 0
    if kind == 0:
        token, at = _varint(data, at)
        at += token
    size, at = _varint(data, at)
    end = at + size
    if kind != 0:
        return None, end
    if size < 4 + _SAMPLE or end > len(data):
        return None, 0
    return _Initial(version, connection, data[begin:end], at - begin), end


def _packets(datagram: bytes) -> Iterator[_Initial]:
    """The Initial packets in a datagram."""
    at = 0
    try:
        for _ in range(_MAX_PACKETS):
            found, end = _packet(datagram, at)
            if found is not None:
                yield found
            if end <= at:
                return
            at = end
    except IndexError:  # it ends within a header
        return


class _Opener:
    """Opens packets with the keys of one connection id."""

    def __init__(self, keys: _Keys) -> None:
        self._aead, self._iv, hp = keys
        self._mask: CipherContext = Cipher(algorithms.AES(hp), modes.ECB()).encryptor()
        self.pieces: dict[int, bytes] = {}

    def open(self, packet: _Initial) -> bytes | None:
        """Its frames (RFC 9001 §5.3, §5.4), None where these are not its keys."""
        data, at = packet.data, packet.number
        mask = self._mask.update(data[at + 4 : at + 4 + _SAMPLE])
        first = data[0] ^ mask[0] & 0x0F
        width = 1 + (first & 3)
        number = int.from_bytes(data[at : at + width], "big") ^ int.from_bytes(mask[1 : 1 + width], "big")
        header = bytes([first]) + data[1:at] + number.to_bytes(width, "big")
        try:
            return self._aead.decrypt((self._iv ^ number).to_bytes(12, "big"), data[at + width :], header)
        except InvalidTag:
            return None

    def take(self, frames: bytes) -> None:
        """Keep what CRYPTO frames bring, up to a frame that has no place in a client's first packets."""
        at, pieces = 0, self.pieces
        try:
            for _ in range(_MAX_FRAMES):
                found = _NOT_PADDING.search(frames, at)
                if found is None:
                    return
                at = found.start() + 1
                kind = frames[at - 1]
                if kind == _CRYPTO:
                    offset, at = _varint(frames, at)
                    size, at = _varint(frames, at)
                    if offset < MAX_HELLO and size > len(pieces.get(offset, b"")):
                        pieces[offset] = frames[at : at + size]
                    at += size
                elif kind in (_ACK, _ACK_ECN):
                    at = _behind_ack(frames, at, kind)
                elif kind != _PING:
                    return
        except IndexError:
            return

    def stream(self) -> bytes:
        """The bytes that came, from the first one to the first hole."""
        if len(self.pieces) == 1:
            return self.pieces.get(0, b"")
        stream = bytearray()
        for offset in sorted(self.pieces):
            if offset > len(stream):
                break
            stream += self.pieces[offset][len(stream) - offset :]
        return bytes(stream[:MAX_HELLO])


def _behind_ack(frames: bytes, at: int, kind: int) -> int:
    """RFC 9000 §19.3."""
    _, at = _varint(frames, at)
    _, at = _varint(frames, at)
    ranges, at = _varint(frames, at)
    _, at = _varint(frames, at)
    for _ in range(min(2 * ranges, len(frames)) + (3 if kind == _ACK_ECN else 0)):
        _, at = _varint(frames, at)
    return at


def _is_whole(stream: bytes) -> bool:
    return len(stream) >= 4 and len(stream) >= 4 + int.from_bytes(stream[1:4], "big")


def _streams(datagrams: Sequence[bytes]) -> Iterator[bytes]:
    """What is known of the client's stream after each Initial packet: of each connection id that keys are of."""
    openers: dict[tuple[_Scheme, bytes], _Opener] = {}
    for datagram in datagrams[:MAX_DATAGRAMS]:
        for packet in _packets(datagram):
            for scheme in _schemes(packet.version):
                name = (scheme, packet.connection)
                if name not in openers and len(openers) < MAX_DATAGRAMS:
                    openers[name] = _Opener(_keys(*name))
            # An id that the server chose comes in the header later; the keys stay those of the first one.
            for opener in list(openers.values()):
                frames = opener.open(packet)
                if frames is not None:
                    opener.take(frames)
                    yield opener.stream()
                    break


def client_hello(datagrams: Sequence[bytes], partial: bool = False) -> bytes | None:
    """The TLS ClientHello, a bare handshake message, in the first datagrams of a QUIC client; None where there is none.

    The message may be spread over several packets, in any order; with `partial` what there is up to its first hole is
    given where it is not whole.
    """
    longest = b""
    for stream in _streams(datagrams):
        if stream[:1] != b"\1":
            continue
        if _is_whole(stream):
            return stream[: 4 + int.from_bytes(stream[1:4], "big")]
        longest = max(longest, stream, key=len)
    return longest if partial and longest else None


def gquic_server_name(datagrams: Sequence[bytes]) -> str | None:
    """The server name in a CHLO, the hello of Google's QUIC: in clear up to Q046, in Initial packets in Q050."""
    for datagram in datagrams[:MAX_DATAGRAMS]:
        name = _chlo_name(datagram) if datagram[9:10] == b"Q" or datagram[1:2] == b"Q" else None
        if name is not None:
            return name
    if any(datagram[1:5] == b"Q050" for datagram in datagrams[:MAX_DATAGRAMS]):
        return next((name for name in map(_chlo_name, _streams(datagrams)) if name is not None), None)
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
