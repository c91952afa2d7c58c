"""A slow reader of hellos that shares nothing with the kernels: slices, which end where the bytes do."""

from __future__ import annotations

import re
from typing import Any

GREASE = {0x0A0A + 0x1010 * i for i in range(16)}
JA4_VERSIONS = {
    **{0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"},
    **{0xFEFF: "d1", 0xFEFD: "d2", 0xFEFC: "d3"},
}


class Reader:
    """Takes bytes from the front; `whole` says whether all that was asked for was there."""

    def __init__(self, data: bytes) -> None:
        self.data, self.whole = data, True

    def take(self, size: int) -> bytes:
        self.whole &= size <= len(self.data)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        taken = self.take(size)
        return int.from_bytes(taken, "big") if len(taken) == size else 0

    def vector(self, size: int) -> bytes:
        if len(self.data) < size:
            self.take(size)
            return b""
        return self.take(self.number(size))


def codes(data: bytes) -> list[int]:
    pairs = (int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data) - 1, 2))
    return [code for code in pairs if code not in GREASE]


def extensions(data: bytes) -> list[tuple[int, bytes]]:
    reader, found = Reader(data), []
    while len(reader.data) >= 4:
        found.append((reader.number(2), reader.vector(2)))
    return found


def listed(data: bytes | None, width: int) -> bytes:
    return b"" if data is None else Reader(data).vector(width)


def client_hello(message: bytes, letter: str = "t") -> dict[str, Any]:
    """What is to be found in a ClientHello, by the names of what dissectors find."""
    size = int.from_bytes(message[1:4], "big")
    if len(message[: 4 + size]) < 38 or message[0] != 1:
        return {}
    reader = Reader(message[4 : 4 + size])
    is_whole = len(message) >= 4 + size
    legacy = reader.number(2)
    reader.take(32)
    reader.vector(1)
    if letter == "d":
        reader.vector(1)
    ciphers = codes(reader.vector(2))
    reader.vector(1)
    listing = extensions(reader.vector(2))
    bodies: dict[int, bytes] = {}
    for kind, body in listing:
        bodies.setdefault(kind, body)
    offered = codes(listed(bodies.get(43), 1))
    best = min if letter == "d" else max
    version = best(offered) if offered else legacy
    told = {
        "tls_version": 0x0304 if version >> 8 in (0x7F, 0xFB) else version,
        "tls_ech": int(0xFE0D in bodies or 0xFFCE in bodies),
        "server_name": server_name(listed(bodies.get(0), 2)),
        "tls_alpn": "",
    }
    protocols = Reader(listed(bodies.get(16), 2))
    first = protocols.vector(1)
    if not protocols.whole:
        first = b""
    if re.fullmatch(rb"[!-~]+", first):
        told["tls_alpn"] = first.decode()
    if is_whole:
        kinds = [kind for kind, _ in listing if kind not in GREASE]
        groups, formats = codes(listed(bodies.get(10), 2)), listed(bodies.get(11), 1)
        fields = [[legacy], ciphers, kinds, groups, formats]
        told["ja3"] = ",".join("-".join(map(str, values)) for values in fields)
        start = letter + JA4_VERSIONS.get(version, "00") + "id"[0 in bodies]
        start += f"{min(len(ciphers), 99):02}{min(len(kinds), 99):02}{ends(first)}"
        parts = [sorted(ciphers), sorted(kind for kind in kinds if kind not in (0, 16))]
        if signatures := codes(listed(bodies.get(13), 2)):
            parts.append(signatures)
        told["ja4"] = "_".join([start, *(",".join(f"{code:04x}" for code in part) for part in parts)])
    return {name: value for name, value in told.items() if value}


def server_name(entries: bytes) -> str:
    reader = Reader(entries)
    kind, name = reader.take(1), reader.vector(2)
    if not reader.whole or kind != b"\0":
        return ""
    name = name.removesuffix(b".")
    return name.decode().lower() if re.fullmatch(rb"[A-Za-z0-9._-]{1,255}", name) else ""


def ends(protocol: bytes) -> str:
    if not protocol:
        return "00"
    if re.fullmatch(rb"[0-9A-Za-z]", protocol[:1]) and re.fullmatch(rb"[0-9A-Za-z]", protocol[-1:]):
        return chr(protocol[0]) + chr(protocol[-1])
    return protocol.hex()[0] + protocol.hex()[-1]


def server_hello(message: bytes) -> dict[str, Any]:
    """What is to be found in a ServerHello."""
    size = int.from_bytes(message[1:4], "big")
    if len(message[: 4 + size]) < 38 or message[0] != 2:
        return {}
    is_whole = len(message) >= 4 + size
    reader = Reader(message[4 : 4 + size])
    legacy = reader.number(2)
    reader.take(32)
    is_draft = legacy >> 8 == 0x7F
    if not is_draft:
        reader.vector(1)
    cipher = reader.number(2)
    if not reader.whole:
        return {}
    reader.take(0 if is_draft else 1)
    listing = extensions(reader.vector(2))
    chosen = next((body for kind, body in listing if kind == 43), b"")
    version = int.from_bytes(chosen[:2], "big") if len(chosen) >= 2 else legacy
    told: dict[str, Any] = {"tls_cipher": cipher}
    if is_whole or version != 0x0303:
        told["tls_version"] = 0x0304 if version >> 8 in (0x7F, 0xFB) else version
    if is_whole:
        kinds = [kind for kind, _ in listing if kind not in GREASE]
        told["ja3s"] = f"{legacy},{cipher}," + "-".join(map(str, kinds))
    return {name: value for name, value in told.items() if value}


def messages(stream: bytes) -> bytes:
    """Handshake bytes of a stream of records, past alerts, up to the first record of another kind."""
    found = bytearray()
    while len(stream) >= 5 and stream[1] == 3:
        kind, size = stream[0], int.from_bytes(stream[3:5], "big")
        if kind == 22 and 0 < size <= 18432:
            found += stream[5 : 5 + size]
        elif kind != 21 or size != 2:
            break
        stream = stream[5 + size :]
    return bytes(found)


def dissect_tls(up: bytes, down: bytes = b"") -> dict[str, Any]:
    told: dict[str, Any] = {}
    for stream in (up, down):
        found = messages(stream)
        hello = client_hello(found)
        if told.get("tls_version"):
            hello.pop("tls_version", None)
        told |= hello | server_hello(found)
        if found[:1] == b"\2" and (der := certificate(found[4 + int.from_bytes(found[1:4], "big") :])):
            told["certificate"] = der
    return told


def certificate(message: bytes) -> bytes:
    if len(message) < 10 or message[0] != 11:
        return b""
    size = int.from_bytes(message[7:10], "big")
    return message[10 : 10 + size] if len(message) >= 10 + size else b""
