"""QUIC as its unprotected bytes show it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hellos
from dissecting import looks_like_quic
from hellos import DRAFT_29, V1, V2, QuicVersion, browser_hello, quic_datagrams

HELLO = browser_hello(share=32)
IDS = b"\x08" + bytes(8) + b"\x00"


@pytest.mark.parametrize("version", [V1, V2, DRAFT_29], ids=lambda version: hex(version.number))
def test_long_headers_of_known_versions_are_quic(version: QuicVersion) -> None:
    """Initial packets as clients send them, with ids of any length that is allowed."""
    for dcid, scid in ((bytes(8), b""), (bytes(20), bytes(20)), (b"", b"")):
        (datagram,) = quic_datagrams(HELLO, version=version, dcid=dcid, scid=scid)
        assert looks_like_quic(datagram)


@pytest.mark.parametrize(
    "version", [b"Q050", b"T051", b"\xfa\xce\xb0\x02", b"\x1a\x2a\x3a\x4a", b"\xff\0\0\x1b", b"\x70\x9a\x50\xc4"]
)
def test_other_versions_in_use_are_quic(version: bytes) -> None:
    """Google's, Facebook's, drafts, and reserved ones, which a client sends to be refused."""
    assert looks_like_quic(b"\xc3" + version + IDS + bytes(1000))


@pytest.mark.parametrize("version", [b"\0\0\0\2", b"ABCD", b"Q0A0", b"\xff\0\0\xff", b"\xff\xff\xff\xff"])
def test_unknown_versions_are_not(version: bytes) -> None:
    """A long header alone is one byte in four of anything."""
    assert not looks_like_quic(b"\xc3" + version + IDS + bytes(1000))


def test_version_negotiation_is_quic() -> None:
    """Version 0 with ids and a version that the server has."""
    packet = b"\x80" + bytes(4) + b"\0\x08" + bytes(8) + b"\0\0\0\1"
    assert looks_like_quic(packet)
    assert not looks_like_quic(b"\x80" + bytes(4) + b"\xff" + bytes(20))


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x0d" + bytes(8) + b"Q043" + bytes(30),
        b"\x09" + bytes(8) + b"Q035\1" + bytes(30),
        b"\xc3Q046\x50" + bytes(8) + bytes(30),
    ],
)
def test_google_quic_is_quic(datagram: bytes) -> None:
    """Flags, id and version in clear up to Q043; Q046 with both lengths of ids in one byte."""
    assert looks_like_quic(datagram)
    assert not looks_like_quic(datagram.replace(b"Q0", b"X0"))


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xc3\0\0\0\1",
        b"\x83\0\0\0\1" + IDS + bytes(99),  # without the fixed bit
        b"\xc3\0\0\0\1\x15" + bytes(99),  # an id of 21 bytes
        b"\xc3\0\0\0\1\x08" + bytes(8),  # that ends within its ids
        b"\x43\0\0\0\1" + IDS + bytes(99),  # a short header
        b"\0\1\0\0\0\1\0\0\0\0\0\0\7example\0\0\1\0\1",  # DNS
        b"\x16\xfe\xfd" + bytes(99),  # DTLS
    ],
)
def test_anything_else_is_not(datagram: bytes) -> None:
    """Header form, fixed bit, version and lengths have to be right."""
    assert not looks_like_quic(datagram)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_no_error(data: bytes) -> None:
    """Nothing is read that is not there; what is cut off is told of no other than its longer form."""
    for start in (b"", b"\xc0\0\0\0\1", b"\xc0\0\0\0\0", b"\xc3Q046", b"\x0d"):
        if looks_like_quic(start + data):
            assert looks_like_quic(start + data + bytes(20))


def test_builder_is_the_example_of_the_rfc() -> None:
    """What the other tests are built with makes the packet of RFC 9001, and that of RFC 9369, appendix A.2."""
    packet = hellos.Initial(hellos.RFC9001_FRAMES, packet=2)
    assert bytes(packet) == hellos.RFC9001_PACKET
    second = bytes(dataclasses.replace(packet, version=V2))
    assert (second[:32], second[-16:]) == (hellos.RFC9369_START, hellos.RFC9369_TAG)
