"""What Wireshark reads in the hellos of captures, beside the bytes of both ends that it reads them from."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

HEAD = 16_384
"""Bytes of a stream, of each end, that are put together here."""

_SHARED = ("ja3_full", "ja3s_full", "extensions_server_name")
_BYTES = (
    "tcp.stream",
    "udp.stream",
    "tcp.srcport",
    "udp.srcport",
    "ip.src",
    "ipv6.src",
    "tcp.seq_raw",
    "tcp.flags.syn",
)
_PAYLOADS = ("tcp.payload", "udp.payload")
_HELLOS = tuple(f"{protocol}.handshake.{name}" for protocol in ("tls", "dtls") for name in _SHARED)
_CHOICES = ("tls.handshake.ciphersuite", "tls.handshake.type", "dtls.handshake.type", "quic.version", "gquic.tag.sni")
_NAMES = (*_BYTES, *_PAYLOADS, *_HELLOS, *_CHOICES)


@dataclass
class Stream:
    """A TCP or UDP stream: what each end has sent, and the first of each field that was told."""

    key: tuple[str, str]
    segments: dict[tuple[str, str], list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, str] = field(default_factory=dict)

    def datagrams(self) -> list[list[bytes]]:
        return [[data for _, data in sent] for sent in self.segments.values()]

    def heads(self) -> list[bytes]:
        """First bytes of each end, put together by sequence number up to the first hole."""
        return [_joined(sent) for sent in self.segments.values()]


def _joined(sent: list[tuple[int, bytes]]) -> bytes:
    first = sent[0][0]
    near = sorted(((number - first + 2**31) % 2**32 - 2**31, data) for number, data in sent)
    offset, stream = near[0][0], bytearray()
    for at, data in near:
        at -= offset
        if at > len(stream) or len(stream) > HEAD:
            break
        stream += data[len(stream) - at :]
    return bytes(stream)


def streams(path: Path) -> list[Stream]:
    """All streams with a hello or with a payload, in the order in which they begin."""
    command = ["tshark", "-n", "-r", str(path), "-o", "tcp.reassemble_out_of_order:TRUE", "-T", "fields"]
    command += ["-E", "separator=|", "-E", "occurrence=f"]
    for name in _NAMES:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    found: dict[tuple[str, str], Stream] = {}
    for line in done.stdout.splitlines():
        row = dict(zip(_NAMES, line.split("|"), strict=False))
        protocol = "tcp" if row.get("tcp.stream") else "udp"
        number = row.get(f"{protocol}.stream")
        if number:
            _add(found.setdefault((protocol, number), Stream((protocol, number))), protocol, row)
    return list(found.values())


def _add(stream: Stream, protocol: str, row: dict[str, str]) -> None:
    end = (row["ip.src"] or row["ipv6.src"], row[f"{protocol}.srcport"])
    payload = bytes.fromhex(row[f"{protocol}.payload"].replace(":", ""))
    if payload:
        stream.segments[end].append((int(row["tcp.seq_raw"] or 0), payload))
    for name in (*_HELLOS, *_CHOICES):
        value = row.get(name)
        # the cipher suite of a ServerHello only: those of a ClientHello have the same field
        if value and not (name.endswith("ciphersuite") and row["tls.handshake.type"] != "2"):
            stream.told.setdefault(name, value)
