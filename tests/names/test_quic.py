"""The client's hello in QUIC."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hellos
from dissecting import dissect_client_hello
from flowgauge.names.quic import MAX_DATAGRAMS, client_hello, gquic_server_name
from hellos import DRAFT_27, DRAFT_29, V1, V2, Initial, QuicVersion, browser_hello, crypto, number, quic_datagrams

HELLO = browser_hello()
SHORT = browser_hello(share=32)
OTHER_ID = bytes(range(100, 108))
MVFST = QuicVersion(0xFACEB002, DRAFT_27.salt)
V2_DRAFT = QuicVersion(0x709A50C4, bytes.fromhex("a707c203a59b47184a1d62ca570406ea7ae3e5d3"), "quicv2", 1)


def packet(frames: bytes, size: int = 0, **options: Any) -> bytes:
    return bytes(Initial(frames.ljust(max(size, 4), b"\0"), **options))


def test_examples_of_the_rfcs_are_opened() -> None:
    """The client's Initial packet of RFC 9001 A.2, and of RFC 9369 A.2."""
    frames = hellos.RFC9001_FRAMES
    expected = frames[4:245]
    second = hellos.RFC9369_START + packet(frames, packet=2, version=V2)[32:]
    for datagram in (hellos.RFC9001_PACKET, second):
        assert client_hello([datagram]) == expected
    assert dissect_client_hello(expected, "q")["server_name"] == "example.com"


@pytest.mark.parametrize(
    "version", [V1, V2, V2_DRAFT, DRAFT_29, DRAFT_27, MVFST], ids=lambda version: hex(version.number)
)
@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_hello_is_whole_however_it_is_spread(version: QuicVersion, parts: int) -> None:
    """Over packets, in any order, in one datagram or one in each, sent twice."""
    sent = quic_datagrams(HELLO, parts, size=1200 if parts > 1 else 2000, version=version)
    for datagrams in (sent, sent[::-1], [b"".join(sent)], [part for part in sent for _ in "ab"]):
        assert client_hello(datagrams) == HELLO


@pytest.mark.parametrize("step", [1, 7, 50])
def test_frames_come_in_any_order(step: int) -> None:
    """As browsers shuffle them: CRYPTO frames out of order, overlapping, between PING and PADDING."""
    parts = [crypto(SHORT[i : i + step + 3], i) + b"\1\0\0" for i in range(0, len(SHORT), step)]
    shuffled = parts[::2][::-1] + parts[1::2]
    middle = len(shuffled) // 2
    assert client_hello([packet(b"".join(shuffled[:middle])), packet(b"".join(shuffled[middle:]), packet=1)]) == SHORT


def test_part_of_a_hello_is_given_where_it_is_asked_for() -> None:
    """Up to the first hole; without its beginning there is nothing."""
    sent = quic_datagrams(HELLO, 3)
    step = -(-len(HELLO) // 3)
    assert client_hello(sent[:2]) is None
    assert client_hello(sent[:2], partial=True) == HELLO[: 2 * step]
    assert client_hello([sent[0], sent[2]], partial=True) == HELLO[:step]
    assert client_hello(sent[1:], partial=True) is None
    assert dissect_client_hello(HELLO[:step], "q")["server_name"] == "example.org"


def test_keys_stay_those_of_the_first_connection_id() -> None:
    """The rest of a hello goes to the id that the server chose, under the keys of the client's own."""
    first, second = SHORT[:300], SHORT[300:]
    sent = [packet(crypto(first), 1100), packet(crypto(second, 300), 1100, dcid=OTHER_ID, keys_of=Initial(b"").dcid)]
    assert client_hello(sent) == SHORT


def test_keys_after_a_retry_are_those_of_the_new_id() -> None:
    """The hello comes again, with a token, to the id of the Retry; each of both is whole by itself."""
    retry = b"\xf0" + number(1, 4) + b"\0\x08" + OTHER_ID + b"token" + bytes(16)
    again = [packet(crypto(SHORT), 1100, dcid=OTHER_ID, token=bytes(100), packet=2)]
    cut = quic_datagrams(SHORT, 2)[:1]
    for before in ([], cut, [retry], [*cut, retry]):
        assert client_hello([*before, *again]) == SHORT


def test_other_packets_in_a_datagram_are_passed_over() -> None:
    """0-RTT and Handshake packets have a length; what follows a short header has none."""
    early = b"\xd0" + number(1, 4) + b"\x08" + bytes(8) + b"\0" + hellos.varint(40) + bytes(40)
    initial = packet(crypto(SHORT), 900)
    assert client_hello([early + initial]) == SHORT
    assert client_hello([b"\x40" + bytes(50) + initial]) is None


def test_acknowledgements_are_passed_over() -> None:
    """ACK and ACK_ECN frames may come before CRYPTO frames."""
    ack = b"\2" + hellos.varint(1000) + b"\0\1\0\1\1"
    counts = b"\3" + hellos.varint(5) + b"\0\0\0\1\2\3"
    assert client_hello([packet(ack + counts + crypto(SHORT))]) == SHORT


def test_close_ends_a_packet() -> None:
    """What is behind a frame of another kind is not read."""
    assert client_hello([packet(b"\x1c\0\0\0" + crypto(SHORT))]) is None


@pytest.mark.parametrize("packet_bytes", [1, 2, 3, 4])
def test_packet_numbers_have_one_to_four_bytes(packet_bytes: int) -> None:
    """Their length is protected."""
    assert client_hello([packet(crypto(SHORT), packet=200, packet_bytes=packet_bytes)]) == SHORT


def test_what_is_not_the_clients_gives_nothing() -> None:
    """Changed bytes, unknown versions, servers' packets, messages of another kind, and no bytes."""
    good = packet(crypto(SHORT), 1100)
    server = packet(crypto(hellos.server_hello()), keys_of=b"another")
    for datagram in (
        good[:-1] + b"!",
        good[:1] + b"\0\0\0\7" + good[5:],
        server,
        packet(crypto(hellos.server_hello())),
        b"",
    ):
        assert client_hello([datagram], partial=True) is None
    assert client_hello([]) is None


def test_every_end_and_every_changed_byte_gives_nothing_wrong() -> None:
    """What is cut off or changed is not authentic: no exception, and no hello."""
    good = packet(crypto(SHORT))
    for i in range(len(good)):
        assert client_hello([good[:i]]) is None
        changed = good[:i] + bytes([good[i] ^ 0x41]) + good[i + 1 :]
        assert client_hello([changed]) in (None, SHORT)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=20), st.binary(max_size=200))
def test_any_bytes_are_no_error(datagrams: Sequence[bytes], frames: bytes) -> None:
    """Datagrams that begin like QUIC's, and authentic packets with any frames."""
    started = [b"\xc0\0\0\0\1" + datagram for datagram in datagrams]
    assert client_hello([*datagrams, *started], partial=True) is None
    authentic = client_hello([packet(frames)], partial=True)
    assert authentic is None or authentic[:1] == b"\1"
    assert gquic_server_name([*datagrams, b"\xc3Q050" + frames, b"\x0d12345678Q043CHLO" + frames]) in (None, "")


@pytest.mark.parametrize(
    "frames",
    [
        b"\1" * 60_000,
        crypto(b"x") * 10_000,
        b"".join(crypto(b"\1", 2 * i) for i in range(8000)),
        b"\2\0\0" + hellos.varint(2**62 - 1) + b"\0" * 50_000,
        b"\6" + hellos.varint(2**62 - 1) + hellos.varint(2**62 - 1) + bytes(50_000),
    ],
    ids=["ping", "crypto", "holes", "ranges", "lengths"],
)
def test_hostile_frames_take_bounded_time(frames: bytes) -> None:
    """A datagram of 60 kB, sixteen times, each with the same number of frames."""
    datagrams = [bytes(_long(frames[:60_000], i)) for i in range(2 * MAX_DATAGRAMS)]
    start = time.perf_counter()
    assert client_hello(datagrams) is None
    assert time.perf_counter() - start < 2


def _long(frames: bytes, i: int) -> bytes:
    """As an Initial packet with a length of four bytes: several of these behind one another fill the datagram."""
    size = 16_000
    return b"".join(packet(frames[j : j + size], packet=i) for j in range(0, len(frames), size))


# Google's


def chlo(name: bytes, tag: bytes = b"SNI\0") -> bytes:
    values = [(b"PAD\0", bytes(30)), (tag, name), (b"VER\0", b"Q043")]
    table, end = b"", 0
    for kind, value in values:
        end += len(value)
        table += kind + end.to_bytes(4, "little")
    return b"CHLO" + len(values).to_bytes(2, "little") + bytes(2) + table + b"".join(value for _, value in values)


Q050 = QuicVersion(int.from_bytes(b"Q050", "big"), bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"))


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x0d" + bytes(8) + b"Q043\1" + bytes(12) + b"\xa0\1\0\4" + chlo(b"Video.Example."),
        b"\xc3Q046\x50" + bytes(8) + bytes(4) + bytes(12) + b"\xa0\1" + chlo(b"Video.Example."),
        packet(b"\x08" + crypto(chlo(b"Video.Example."))[1:], 1100, version=Q050),
    ],
    ids=["Q043", "Q046", "Q050"],
)
def test_google_quic_tells_its_server_name(datagram: bytes) -> None:
    """The tag SNI of a CHLO, as a host name."""
    assert gquic_server_name([b"\x40" + bytes(30), datagram]) == "video.example"
    assert client_hello([datagram], partial=True) is None


@pytest.mark.parametrize("name", [b"T050", b"T051"])
def test_google_quic_with_tls_has_a_client_hello(name: bytes) -> None:
    """Versions of Google with TLS differ by salt and by the type of CRYPTO frames."""
    salt = {b"T050": "7ff579e5acd072915580304c43a2367c60488310", b"T051": "7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"}[
        name
    ]
    version = QuicVersion(int.from_bytes(name, "big"), bytes.fromhex(salt))
    assert client_hello([packet(b"\x08" + crypto(SHORT)[1:], version=version)]) == SHORT


@pytest.mark.parametrize("hello", [chlo(b"a b"), chlo(b"", b"SNI\0"), chlo(b"a.example", b"XYZ\0"), chlo(b"a" * 300)])
def test_google_quic_without_a_host_name_tells_none(hello: bytes) -> None:
    """Names are checked as everywhere."""
    assert gquic_server_name([b"\x0d" + bytes(8) + b"Q043" + hello]) is None
