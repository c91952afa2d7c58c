"""Builders of hellos: messages of TLS, records and fragments around them, QUIC Initial packets."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

GREASE = tuple(0x1010 * i + 0x0A0A for i in range(16))
TLS10, TLS12, TLS13 = 0x0301, 0x0303, 0x0304
X25519, X25519_MLKEM768 = 0x001D, 0x11EC
MLKEM768_SHARE = 1184 + 32
RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()  # RFC 8446 §4.1.3

CHROME_CIPHERS = (
    *(0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8),
    *(0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035),
)
CHROME_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)


def number(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big")


def behind_length(data: bytes, width: int) -> bytes:
    return number(len(data), width) + data


def codes(values: Iterable[int]) -> bytes:
    return b"".join(number(value, 2) for value in values)


def extension(kind: int, body: bytes = b"") -> bytes:
    return number(kind, 2) + behind_length(body, 2)


def server_name(name: str | bytes) -> bytes:
    raw = name.encode() if isinstance(name, str) else name
    return extension(0, behind_length(b"\0" + behind_length(raw, 2), 2))


def alpn(*names: str | bytes) -> bytes:
    raw = [name.encode() if isinstance(name, str) else name for name in names]
    return extension(16, behind_length(b"".join(behind_length(name, 1) for name in raw), 2))


def versions(*values: int) -> bytes:
    return extension(43, behind_length(codes(values), 1))


def groups(*values: int) -> bytes:
    return extension(10, behind_length(codes(values), 2))


def point_formats(*values: int) -> bytes:
    return extension(11, behind_length(bytes(values), 1))


def signatures(*values: int) -> bytes:
    return extension(13, behind_length(codes(values), 2))


def key_share(*groups_and_sizes: tuple[int, int]) -> bytes:
    shares = b"".join(codes([group]) + behind_length(bytes(size), 2) for group, size in groups_and_sizes)
    return extension(51, behind_length(shares, 2))


def ech(size: int = 200) -> bytes:
    return extension(0xFE0D, bytes(size))


def handshake(kind: int, body: bytes) -> bytes:
    return number(kind, 1) + behind_length(body, 3)


def client_hello(
    extensions: Sequence[bytes] | None = (),
    ciphers: Sequence[int] = (0x1301,),
    legacy: int = TLS12,
    session: bytes = b"",
    cookie: bytes | None = None,
    random: bytes = bytes(32),
) -> bytes:
    """A handshake message; `cookie` (may be empty) is of DTLS, extensions None leaves their length out too."""
    body = number(legacy, 2) + random + behind_length(session, 1)
    if cookie is not None:
        body += behind_length(cookie, 1)
    body += behind_length(codes(ciphers), 2) + behind_length(b"\0", 1)
    if extensions is not None:
        body += behind_length(b"".join(extensions), 2)
    return handshake(1, body)


def browser_hello(name: str | None = "example.org", share: int = MLKEM768_SHARE, more: Sequence[bytes] = ()) -> bytes:
    """What a browser with a post-quantum key share sends: 1.7 kB, with GREASE."""
    extensions = [
        extension(GREASE[2]),
        *([server_name(name)] if name else []),
        extension(23),
        extension(0xFF01, b"\0"),
        groups(GREASE[3], X25519_MLKEM768, X25519, 23, 24),
        point_formats(0),
        extension(35),
        alpn("h2", "http/1.1"),
        extension(5, b"\1\0\0\0\0"),
        signatures(*CHROME_SIGNATURES),
        extension(18),
        key_share((GREASE[3], 1), (X25519_MLKEM768, share), (X25519, 32)),
        extension(45, b"\1\1"),
        versions(GREASE[5], TLS13, TLS12),
        extension(27, b"\2\0\2"),
        *more,
        extension(GREASE[9], b"\0"),
    ]
    return client_hello(extensions, (GREASE[7], *CHROME_CIPHERS), session=bytes(range(32)))


def server_hello(
    cipher: int = 0x1301,
    extensions: Sequence[bytes] | None = (),
    legacy: int = TLS12,
    session: bytes = b"",
    random: bytes = bytes(32),
) -> bytes:
    body = number(legacy, 2) + random + behind_length(session, 1) + number(cipher, 2) + b"\0"
    if extensions is not None:
        body += behind_length(b"".join(extensions), 2)
    return handshake(2, body)


def chosen_version(value: int) -> bytes:
    return extension(43, number(value, 2))


def certificates(*ders: bytes) -> bytes:
    return handshake(11, behind_length(b"".join(behind_length(der, 3) for der in ders), 3))


def records(data: bytes, size: int = 16384, kind: int = 22, version: int = TLS10) -> bytes:
    """Bytes of the record layer, at most `size` of them in each record."""
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(number(kind, 1) + number(version, 2) + behind_length(part, 2) for part in parts)


def dtls_fragments(message: bytes, sequence: int = 0, size: int = 1200) -> list[bytes]:
    """A handshake message (as of TLS) as fragments of DTLS."""
    kind, body = message[:1], message[4:]
    return [
        kind + number(len(body), 3) + number(sequence, 2) + number(i, 3) + behind_length(body[i : i + size], 3)
        for i in range(0, len(body), size) or [0]
    ]


def dtls_record(data: bytes, kind: int = 22, epoch: int = 0, sequence: int = 0, version: int = 0xFEFD) -> bytes:
    return number(kind, 1) + number(version, 2) + number(epoch, 2) + number(sequence, 6) + behind_length(data, 2)


def dtls_datagrams(message: bytes, sequence: int = 0, size: int = 1200, version: int = 0xFEFD) -> list[bytes]:
    """One fragment in each datagram."""
    return [dtls_record(part, version=version) for part in dtls_fragments(message, sequence, size)]


@dataclass(frozen=True)
class QuicVersion:
    """What differs between versions of QUIC: RFC 9001 §5.2, RFC 9369 §3."""

    number: int
    salt: bytes
    label: str = "quic"
    initial: int = 0  # type of Initial packets


V1 = QuicVersion(1, bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"))
V2 = QuicVersion(0x6B3343CF, bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), "quicv2", 1)
DRAFT_29 = QuicVersion(0xFF00001D, bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"))
DRAFT_27 = QuicVersion(0xFF00001B, bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502"))


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label of at most one block (RFC 8446 §7.1)."""
    info = number(size, 2) + behind_length(b"tls13 " + label.encode(), 1) + b"\0"
    return hmac.new(secret, info + b"\1", hashlib.sha256).digest()[:size]


def varint(value: int) -> bytes:
    """RFC 9000 §16."""
    for width, prefix in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if value < 1 << 8 * width - 2:
            return number(value | prefix << 8 * width - 2, width)
    raise ValueError(value)


def crypto(data: bytes, offset: int = 0) -> bytes:
    """A CRYPTO frame."""
    return b"\6" + varint(offset) + varint(len(data)) + data


@dataclass
class Initial:
    """A client's Initial packet, protected when it is written out."""

    payload: bytes  # frames
    dcid: bytes = bytes.fromhex("8394c8f03e515708")
    scid: bytes = b""
    token: bytes = b""
    packet: int = 0
    packet_bytes: int = 4
    version: QuicVersion = field(default=V1)
    keys_of: bytes | None = None  # connection id that keys are of, where it is another

    def __bytes__(self) -> bytes:
        key, iv, hp = self._keys()
        header = bytearray([0xC0 | self.version.initial << 4 | self.packet_bytes - 1])
        header += number(self.version.number, 4) + behind_length(self.dcid, 1) + behind_length(self.scid, 1)
        header += varint(len(self.token)) + self.token
        header += number(self.packet_bytes + len(self.payload) + 16 | 0x4000, 2)
        at = len(header)
        header += number(self.packet, self.packet_bytes)
        nonce = number(int.from_bytes(iv, "big") ^ self.packet, 12)
        sealed = AESGCM(key).encrypt(nonce, self.payload, bytes(header))
        data = header + sealed
        encryptor = Cipher(algorithms.AES(hp), modes.ECB()).encryptor()
        mask = encryptor.update(bytes(data[at + 4 : at + 20]))
        data[0] ^= mask[0] & 0x0F
        for i in range(self.packet_bytes):
            data[at + i] ^= mask[1 + i]
        return bytes(data)

    def _keys(self) -> tuple[bytes, bytes, bytes]:
        connection = self.dcid if self.keys_of is None else self.keys_of
        secret = hmac.new(self.version.salt, connection, hashlib.sha256).digest()
        client = _expand(secret, "client in", 32)
        label = self.version.label
        return (
            _expand(client, f"{label} key", 16),
            _expand(client, f"{label} iv", 12),
            _expand(client, f"{label} hp", 16),
        )


def quic_datagrams(message: bytes, parts: int = 1, size: int = 1200, **options: object) -> list[bytes]:
    """A ClientHello in this many Initial packets, each a padded datagram."""
    step = -(-len(message) // parts)
    frames = [crypto(message[i : i + step], i) for i in range(0, len(message), step)]
    return [
        bytes(Initial(frame.ljust(size - 50, b"\0"), packet=i, **options))  # type: ignore[arg-type]
        for i, frame in enumerate(frames)
    ]


# RFC 9001 A.2: frames and packet. RFC 9369 A.2 has the same frames: its first bytes, and the tag over all of them.
RFC9001_FRAMES = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000"
    "c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500"
    "050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003"
    "020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff050480"
    "00ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff"
) + bytes(917)
RFC9001_PACKET = bytes.fromhex(
    "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c0bab7df5"
    "976d27cd449f63300099f3991c260ec4c60d17b31f8429157bb35a1282a643a8d2262cad67500cadb8e7378c8eb7539ec4d4905f"
    "ed1bee1fc8aafba17c750e2c7ace01e6005f80fcb7df621230c83711b39343fa028cea7f7fb5ff89eac2308249a02252155e2347"
    "b63d58c5457afd84d05dfffdb20392844ae812154682e9cf012f9021a6f0be17ddd0c2084dce25ff9b06cde535d0f920a2db1bf3"
    "62c23e596d11a4f5a6cf3948838a3aec4e15daf8500a6ef69ec4e3feb6b1d98e610ac8b7ec3faf6ad760b7bad1db4ba3485e8a94"
    "dc250ae3fdb41ed15fb6a8e5eba0fc3dd60bc8e30c5c4287e53805db059ae0648db2f64264ed5e39be2e20d82df566da8dd5998c"
    "cabdae053060ae6c7b4378e846d29f37ed7b4ea9ec5d82e7961b7f25a9323851f681d582363aa5f89937f5a67258bf63ad6f1a0b"
    "1d96dbd4faddfcefc5266ba6611722395c906556be52afe3f565636ad1b17d508b73d8743eeb524be22b3dcbc2c7468d54119c74"
    "68449a13d8e3b95811a198f3491de3e7fe942b330407abf82a4ed7c1b311663ac69890f4157015853d91e923037c227a33cdd5ec"
    "281ca3f79c44546b9d90ca00f064c99e3dd97911d39fe9c5d0b23a229a234cb36186c4819e8b9c5927726632291d6a418211cc29"
    "62e20fe47feb3edf330f2c603a9d48c0fcb5699dbfe5896425c5bac4aee82e57a85aaf4e2513e4f05796b07ba2ee47d80506f8d2"
    "c25e50fd14de71e6c418559302f939b0e1abd576f279c4b2e0feb85c1f28ff18f58891ffef132eef2fa09346aee33c28eb130ff2"
    "8f5b766953334113211996d20011a198e3fc433f9f2541010ae17c1bf202580f6047472fb36857fe843b19f5984009ddc324044e"
    "847a4f4a0ab34f719595de37252d6235365e9b84392b061085349d73203a4a13e96f5432ec0fd4a1ee65accdd5e3904df54c1da5"
    "10b0ff20dcc0c77fcb2c0e0eb605cb0504db87632cf3d8b4dae6e705769d1de354270123cb11450efc60ac47683d7b8d0f811365"
    "565fd98c4c8eb936bcab8d069fc33bd801b03adea2e1fbc5aa463d08ca19896d2bf59a071b851e6c239052172f296bfb5e724047"
    "90a2181014f3b94a4e97d117b438130368cc39dbb2d198065ae3986547926cd2162f40a29f0c3c8745c0f50fba3852e566d44575"
    "c29d39a03f0cda721984b6f440591f355e12d439ff150aab7613499dbd49adabc8676eef023b15b65bfc5ca06948109f23f350db"
    "82123535eb8a7433bdabcb909271a6ecbcb58b936a88cd4e8f2e6ff5800175f113253d8fa9ca8885c2f552e657dc603f252e1a8e"
    "308f76f0be79e2fb8f5d5fbbe2e30ecadd220723c8c0aea8078cdfcb3868263ff8f0940054da48781893a7e49ad5aff4af300cd8"
    "04a6b6279ab3ff3afb64491c85194aab760d58a606654f9f4400e8b38591356fbf6425aca26dc85244259ff2b19c41b9f96f3ca9"
    "ec1dde434da7d2d392b905ddf3d1f9af93d1af5950bd493f5aa731b4056df31bd267b6b90a079831aaf579be0a39013137aac6d4"
    "04f518cfd46840647e78bfe706ca4cf5e9c5453e9f7cfd2b8b4c8d169a44e55c88d4a9a7f9474241e221af44860018ab0856972e"
    "194cd934"
)
RFC9369_START = bytes.fromhex("d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485")
RFC9369_TAG = bytes.fromhex("a18b2faa745b6fe189cf772a9f84cbfc")
