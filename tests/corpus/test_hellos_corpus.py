"""Hellos of real captures: names and fingerprints as Wireshark and Arkime tell them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from corpus_folder import corpus_files, needs_corpus, some
from dissecting import dissect_client_hello, dissect_dtls, dissect_tls, ja4_hash
from flowgauge.names.quic import client_hello, gquic_server_name
from trust import tshark
from trust.tshark_hellos import Stream, streams

pytestmark = [
    pytest.mark.corpus,
    needs_corpus,
    pytest.mark.skipif(not tshark.available(), reason="tshark is not installed"),
]

ROOM = 1 << 18
MAX_DATAGRAMS = 20
FIELDS = {"ja3": "ja3_full", "ja3s": "ja3s_full", "server_name": "extensions_server_name"}

MALFORMED = {("tls_invalid_reads.pcap", "ja3")}
"""The extensions of its hello are longer than the hello; Wireshark stops before them and leaves the last fields out."""


BEHIND_ANOTHER = {"adb_synthetic", "https-connect", "openvpn_synthetic"}
"""Captures of Arkime whose only hello is behind another protocol's bytes."""


def captures() -> list[Path]:
    found = [path for folder in ("ndpi", "arkime", "zeek") for path in corpus_files(folder)]
    texts = {".test", ".csv", ".md", ".txt", ".log", ".json", ""}
    return [path for path in found if path.suffix not in texts or path.parent.name == "traces"]


def of_stream(stream: Stream) -> tuple[str, dict[str, Any]]:
    """Protocol, as Wireshark's fields name it, and what the dissectors find."""
    if stream.key[0] == "tcp":
        up, down = [*stream.heads(), b"", b""][:2]
        return "tls", dissect_tls(up, down, ROOM)
    ends = [[*sent[:MAX_DATAGRAMS]] for sent in (*stream.datagrams(), [], [])][:2]
    told = dissect_dtls(*ends, ROOM)
    if told:
        return "dtls", told
    for datagrams in ends:
        hello = client_hello(datagrams)
        if hello is not None:
            return "quic", dissect_client_hello(hello, "q")
    name = next((name for name in map(gquic_server_name, ends) if name is not None), None)
    return "gquic", {} if name is None else {"server_name": name}


def theirs(stream: Stream, protocol: str) -> dict[str, str]:
    if protocol == "gquic":
        return {"server_name": stream.told.get("gquic.tag.sni", "")}
    layer = "dtls" if protocol == "dtls" else "tls"
    told = {name: stream.told.get(f"{layer}.handshake.{field}", "") for name, field in FIELDS.items()}
    if protocol == "quic":
        del told["ja3s"]  # the server's Initial packets are not opened
    return told


def begins_later(stream: Stream) -> bool:
    """Whether no end begins with a handshake record: TLS behind CONNECT, STARTTLS, SOCKS, a protocol's own header."""
    if stream.key[0] == "tcp":
        return not any(head[:2] == b"\x16\3" for head in stream.heads())
    return not any(sent and sent[0][:2] == b"\x16\xfe" for sent in stream.datagrams())


def test_hellos_are_those_of_wireshark() -> None:
    """JA3, JA3S and server names of every stream that begins with a hello; Wireshark does not look at some ports."""
    equal, ours, later, different = Counter[str](), 0, 0, []
    for path in some(captures()):
        for stream in streams(path):
            protocol, found = of_stream(stream)
            for name, told in theirs(stream, protocol).items():
                here = found.get(name, "")
                if here == told:
                    equal[name] += bool(here)
                elif not told:
                    ours += 1
                elif not here and begins_later(stream):
                    later += 1
                elif (path.name, name) not in MALFORMED:
                    different.append((path.name, stream.key, name, here, told))
    assert different == []
    assert min(equal[name] for name in FIELDS) >= 10
    assert ours + later <= 0.15 * equal.total()


def test_ja4_is_that_of_arkime() -> None:
    """Every one of the captures whose sessions have any, over TLS, DTLS and QUIC."""
    compared = 0
    for path in corpus_files("arkime", "*.test"):
        sessions = [session["body"] for session in json.loads(path.read_text())["sessions3"]]
        expected = {ja4 for session in sessions for ja4 in session.get("tls", {}).get("ja4", [])}
        if not expected:
            continue
        capture = next(other for other in path.parent.glob(path.stem + ".*") if other != path)
        told = [of_stream(stream)[1] for stream in streams(capture)]
        found = {ja4_hash(one["ja4"]) for one in told if "ja4" in one}
        assert found == (set() if path.stem in BEHIND_ANOTHER else expected), path.name
        compared += len(found)
    assert compared >= 13
