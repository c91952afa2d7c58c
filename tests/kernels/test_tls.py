"""Hellos of TLS and DTLS, and their fingerprints."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hellos
import oracle_hellos
from dissecting import (
    dissect_client_hello,
    dissect_dtls,
    dissect_tls,
    is_whole_dtls_hello,
    is_whole_hello,
    ja3_hash,
    ja4_hash,
)
from flowgauge.kernels._jit import JIT
from hellos import (
    GREASE,
    RETRY_RANDOM,
    TLS10,
    TLS12,
    TLS13,
    alpn,
    browser_hello,
    certificates,
    chosen_version,
    client_hello,
    dtls_datagrams,
    dtls_fragments,
    dtls_record,
    extension,
    groups,
    handshake,
    point_formats,
    records,
    server_hello,
    server_name,
    signatures,
    versions,
)

CHROME = browser_hello()
DER = bytes(range(256)) * 3
EXAMPLE = (0x1B, 0, 0x33, 0x10, 0x4469, 0x17, 0x2D, 0xD, 5, 0x23, 0x12, 0x2B, 0xFF01, 0xB, 0xA, 0x15)
"""Types of extensions in the example of JA4's specification, in their order."""


def example(*algorithms: int) -> bytes:
    """A hello like that of the example, with these signature algorithms."""
    bodies = {
        0: server_name("example.org"),
        0x10: alpn("h2", "http/1.1"),
        0xD: signatures(*algorithms),
        0x2B: versions(GREASE[1], TLS12, TLS13),
    }
    listing = [bodies.get(kind, extension(kind)) for kind in EXAMPLE]
    ciphers = [GREASE[4], *hellos.CHROME_CIPHERS]
    return client_hello([extension(GREASE[0]), *listing, extension(GREASE[15], b"\0")], ciphers)


# Fingerprints as they are published


def test_ja4_is_that_of_the_specification() -> None:
    """The example of JA4's specification, raw and hashed."""
    raw = dissect_client_hello(example(*hellos.CHROME_SIGNATURES))["ja4"]
    assert raw == (
        "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9"
        "_0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01"
        "_0403,0804,0401,0503,0805,0501,0806,0601"
    )
    assert ja4_hash(raw) == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_ja4_without_signature_algorithms_has_no_last_underscore() -> None:
    """The specification's example of that, and an empty list of extensions."""
    raw = dissect_client_hello(example())["ja4"]
    assert raw.endswith("4469,ff01")
    assert ja4_hash(raw).endswith("_6d807ffa2a79")
    bare = dissect_client_hello(client_hello(None, (0x2F,), legacy=TLS10))["ja4"]
    assert (bare, ja4_hash(bare)[-12:]) == ("t10i010000_002f_", "0" * 12)


@pytest.mark.parametrize(
    ("protocol", "ends"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"h", "hh"),
        (b"", "00"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"Zz", "Zz"),
        (b"/a", "21"),
    ],
)
def test_ja4_takes_the_ends_of_the_first_protocol(protocol: bytes, ends: str) -> None:
    """The specification's rule and its examples: hexadecimal digits where one of both is not alphanumeric."""
    assert dissect_client_hello(client_hello([alpn(protocol, "x")]))["ja4"][8:10] == ends


@pytest.mark.parametrize(
    ("legacy", "offered", "carrier", "name"),
    [
        (TLS12, (GREASE[6], TLS12, TLS13), "t", "t13"),
        (TLS12, (TLS13,), "q", "q13"),
        (TLS12, (), "t", "t12"),
        (TLS10, (0x0302, TLS10), "t", "t11"),
        (0x0300, (), "t", "ts3"),
        (0x0002, (), "t", "ts2"),
        (TLS12, (0x7F1C, TLS12), "t", "t00"),
        (0xFEFF, (), "d", "dd1"),
        (0xFEFD, (), "d", "dd2"),
        (0xFEFD, (0xFEFD, 0xFEFC), "d", "dd3"),
    ],
)
def test_ja4_names_the_highest_version(legacy: int, offered: tuple[int, ...], carrier: str, name: str) -> None:
    """supported_versions without GREASE, else the version of the hello; numbers of DTLS count down."""
    cookie = b"" if carrier == "d" else None
    hello = client_hello([versions(*offered)] if offered else [], legacy=legacy, cookie=cookie)
    assert dissect_client_hello(hello, carrier)["ja4"][:3] == name


def test_ja4_counts_to_99() -> None:
    """More than 99 ciphers and extensions are 99 of each, and all of them are in the lists, sorted."""
    ciphers = [0xFFFE - 2 * i for i in range(300)]
    found = dissect_client_hello(client_hello([extension(0x9000 - i) for i in range(120)], ciphers))["ja4"]
    start, listed, kinds = found.split("_")
    assert start == "t12i999900"
    assert listed.split(",") == [f"{cipher:04x}" for cipher in sorted(ciphers)]
    assert kinds.split(",") == [f"{0x9000 - i:04x}" for i in reversed(range(120))]


JA3_EXAMPLES = {
    "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0": "ada70206e40642a3e4461f35503241d5",
    "769,4-5-10-9-100-98-3-6-19-18-99,,,": "de350869b8c85de67a350c8d186f11e6",
}


@pytest.mark.parametrize("text", JA3_EXAMPLES)
def test_ja3_is_that_of_its_authors(text: str) -> None:
    """The examples that came with JA3, as strings and hashed."""
    legacy, ciphers, kinds, *_ = ([int(code) for code in part.split("-") if code] for part in text.split(","))
    bodies = {0: server_name("a.example"), 10: groups(GREASE[2], 23, 24, 25), 11: point_formats(0)}
    hello = client_hello([bodies[kind] for kind in kinds] or None, [GREASE[8], *ciphers], legacy[0])
    found = dissect_client_hello(hello)["ja3"]
    assert (found, ja3_hash(found)) == (text, JA3_EXAMPLES[text])


def test_ja3s_is_that_of_its_authors() -> None:
    """The example that came with JA3S; without extensions the last field is empty."""
    hello = server_hello(47, [extension(kind) for kind in (65281, 0, 11, 35, 5, 16)], TLS10)
    found = dissect_tls(b"", records(hello))["ja3s"]
    assert (found, ja3_hash(found)) == ("769,47,65281-0-11-35-5-16", "836ce314215654b5b1f85f97c73e506f")
    assert dissect_tls(b"", records(server_hello(47, None, TLS10)))["ja3s"] == "769,47,"


# Names


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("_x-1.example", "_x-1.example"),
        ("a" * 255, "a" * 255),
        ("192.0.2.1", "192.0.2.1"),
        ("a" * 256, None),
        ("a" * 255 + ".", "a" * 255),
        ("", None),
        (".", None),
        ("a b", None),
        ("a\nb", None),
        (b"a\0b", None),
        (b"\x1b[2J", None),
        ("=cmd()", None),
        ("bücher.example", None),
    ],
)
def test_server_name_is_a_host_name_or_none(name: str | bytes, told: str | None) -> None:
    """Small letters, no dot at the end, at most 255 characters, and only characters that names of hosts have."""
    assert dissect_tls(records(client_hello([server_name(name)]))).get("server_name") == told


def test_server_name_of_another_kind_is_none() -> None:
    """Only name type 0 is a host's."""
    body = hellos.behind_length(b"\1" + hellos.behind_length(b"a.example", 2), 2)
    assert "server_name" not in dissect_tls(records(client_hello([extension(0, body)])))


@pytest.mark.parametrize(("kind", "told"), [(0xFE0D, 1), (0xFFCE, 1), (0xFE0C, 0)])
def test_encrypted_hello_is_seen(kind: int, told: int) -> None:
    """ECH and its draft ESNI by their extensions."""
    assert dissect_tls(records(browser_hello(more=[extension(kind, bytes(99))]))).get("tls_ech", 0) == told


def test_first_protocol_is_told_where_it_can_be_printed() -> None:
    """ALPN's first name; none with bytes that are not printable."""
    assert dissect_tls(records(CHROME))["tls_alpn"] == "h2"
    assert "tls_alpn" not in dissect_tls(records(client_hello([alpn(b"\x1b[0m", "h2")])))


# What was negotiated


@pytest.mark.parametrize(
    ("legacy", "more", "version"),
    [
        (TLS12, [chosen_version(TLS13)], TLS13),
        (TLS12, [], TLS12),
        (TLS10, [], TLS10),
        (0x0300, None, 0x0300),
        (TLS12, [chosen_version(0x7F1C)], TLS13),
        (TLS12, [chosen_version(0xFB1A)], TLS13),
    ],
)
def test_version_is_the_servers_choice(legacy: int, more: list[bytes] | None, version: int) -> None:
    """supported_versions of the ServerHello, else its version; drafts of TLS 1.3 are TLS 1.3."""
    hello = records(server_hello(0xC02F, more, legacy))
    for up, down in ((records(CHROME), hello), (hello, records(CHROME)), (b"", hello)):
        told = dissect_tls(up, down)
        assert (told["tls_version"], told["tls_cipher"]) == (version, 0xC02F)


def test_version_without_a_server_is_the_highest_offered() -> None:
    """GREASE is no version."""
    assert dissect_tls(records(CHROME))["tls_version"] == TLS13
    assert dissect_tls(records(client_hello([], legacy=0x0302)))["tls_version"] == 0x0302


def test_retry_request_is_the_first_hello_of_the_server() -> None:
    """What follows a HelloRetryRequest is not looked at: version, cipher and JA3S are those of the request."""
    retry = server_hello(0x1302, [chosen_version(TLS13), extension(51, b"\0\x17")], random=RETRY_RANDOM)
    second = server_hello(0x1302, [extension(51, bytes(36)), chosen_version(TLS13)])
    down = records(retry) + records(b"\1", kind=20) + records(second)
    told = dissect_tls(records(CHROME) + records(b"\1", kind=20) + records(browser_hello("other.example")), down)
    assert (told["ja3s"], told["server_name"]) == ("771,4866,43-51", "example.org")


def test_server_hello_of_early_drafts_has_no_session_id() -> None:
    """Drafts of TLS 1.3 up to 21 have the cipher right behind the random bytes."""
    body = b"\x7f\x12" + bytes(32) + b"\x13\x01" + hellos.behind_length(extension(51, bytes(36)), 2)
    told = dissect_tls(records(CHROME), records(handshake(2, body)))
    assert (told["tls_version"], told["tls_cipher"], told["ja3s"]) == (TLS13, 0x1301, "32530,4865,51")


# Records


@pytest.mark.parametrize("size", [1, 2, 5, 37, 300, 16384])
def test_messages_may_be_split_over_records(size: int) -> None:
    """However the handshake bytes are cut into records, the same is told."""
    server = server_hello(0xC02F, [extension(0xFF01, b"\0")]) + certificates(DER, b"another")
    told = dissect_tls(records(CHROME, size), records(server, size))
    assert told == dissect_tls(records(CHROME), records(server))
    assert (told["certificate"], told["server_name"]) == (DER, "example.org")


def test_alerts_between_handshake_records_are_passed_over() -> None:
    """A server that does not know the name may warn before its hello."""
    alert = records(b"\1\x70", kind=21)
    assert dissect_tls(records(CHROME), alert + records(server_hello()))["tls_cipher"] == 0x1301
    assert is_whole_hello(alert + records(CHROME))


def test_certificate_is_told_where_it_is_whole() -> None:
    """The first of the chain; nothing where its last byte is missing, or where it is no certificate that follows."""
    first = records(server_hello(0xC02F))
    down = first + records(certificates(DER, b"another"))
    end = down.index(DER) + len(DER)
    assert dissect_tls(b"", down[:end])["certificate"] == DER
    assert "certificate" not in dissect_tls(b"", down[: end - 1])
    assert "certificate" not in dissect_tls(b"", first + records(handshake(4, bytes(6) + DER)))


@pytest.mark.parametrize("cut", [100, 600, 1200, len(records(CHROME)) - 1])
def test_hello_that_is_cut_off_gives_what_is_there(cut: int) -> None:
    """Names that are there, but no fingerprint of a part."""
    told = dissect_tls(records(CHROME)[:cut])
    assert told.get("server_name") == ("example.org" if cut > 150 else None)
    assert told.keys().isdisjoint({"ja3", "ja4"})


def test_hello_without_its_fixed_fields_is_none() -> None:
    """What lies behind the end of a message is none of it."""
    for kind in (1, 2):
        assert dissect_tls(records(handshake(kind, bytes(33)) + bytes(range(99)))) == {}


def test_too_small_an_array_is_no_error() -> None:
    """Whatever room texts have, nothing is written elsewhere."""
    whole = dissect_tls(records(CHROME), records(server_hello() + certificates(DER)))
    for size in [*range(0, 200, 7), 1000, 5000, 20000]:
        told = dissect_tls(records(CHROME), records(server_hello() + certificates(DER)), size)
        assert all(told[name] == whole[name] for name in told.keys() - {"cut", "tls_version"}) or told["cut"]


# Whether all is there


@pytest.mark.parametrize("size", [7, 100, 16384])
def test_client_is_whole_at_the_end_of_its_hello(size: int) -> None:
    """Not one byte earlier, whatever the records."""
    stream = records(CHROME, size)
    assert [is_whole_hello(stream[:n]) for n in range(len(stream) - 3, len(stream) + 1)] == [False] * 3 + [True]
    assert is_whole_hello(stream + b"\x14\3\3\0\1\1")


@pytest.mark.parametrize("size", [7, 100, 16384])
def test_server_is_whole_at_the_end_of_its_first_certificate(size: int) -> None:
    """The chain behind it is not waited for."""
    handshakes = server_hello(0xC02F) + certificates(DER, bytes(5000))
    stream = records(handshakes, size)
    whole = next(n for n in range(len(stream)) if is_whole_hello(stream[:n], False))
    assert oracle_hellos.messages(stream[:whole]) == handshakes[: handshakes.index(DER) + len(DER)]
    assert dissect_tls(b"", stream[:whole])["certificate"] == DER


@pytest.mark.parametrize(
    ("behind", "is_whole"),
    [
        (b"", False),
        (records(b"\1", kind=20), True),
        (b"\x17", True),
        (b"\x16", False),
        (b"\x16\3\3\0", False),
        (records(handshake(4, bytes(9))), True),
        (records(handshake(12, bytes(9))), True),
    ],
)
def test_server_without_a_certificate_is_whole_when_something_else_comes(behind: bytes, is_whole: bool) -> None:
    """Behind the hello of TLS 1.3, or of a session that goes on, no certificate can be read."""
    assert is_whole_hello(records(server_hello()) + behind, False) == is_whole


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x17\3\3\0\5", b"\x16\2\0\0\5\1", records(handshake(0, b""))]
)
def test_what_is_no_hello_is_not_waited_for(data: bytes) -> None:
    """Nothing more is to be read there."""
    assert is_whole_hello(data)


def test_nothing_is_no_whole_hello() -> None:
    """Before the first byte all is still to come."""
    assert not is_whole_hello(b"")


# DTLS

DTLS_HELLO = client_hello(
    [server_name("dtls.example"), versions(0xFEFC, 0xFEFD), alpn("webrtc")], (0xC02B, 0x00FF), 0xFEFD, cookie=b"abc"
)


@pytest.mark.parametrize("size", [20, 50, 1200])
def test_dtls_messages_are_put_together(size: int) -> None:
    """Fragments in datagrams, in any order of neighbours, sent twice, behind other records."""
    other = [dtls_record(b"\1", kind=20), dtls_record(bytes(60), epoch=1)]
    parts = dtls_datagrams(DTLS_HELLO, size=size)
    expected = oracle_hellos.client_hello(DTLS_HELLO, "d")
    swapped = [part for i in range(0, len(parts), 2) for part in reversed(parts[i : i + 2])]
    for datagrams in (
        parts,
        swapped,
        parts[::-1][:4] + parts,
        [p for part in parts for p in (part, part)],
        other + parts,
    ):
        assert dissect_dtls(datagrams) == expected
        assert is_whole_dtls_hello(datagrams)
    assert not is_whole_dtls_hello(parts[:-1])
    assert expected["ja4"].startswith("dd3d0203wc_00ff,c02b_002b")


def test_dtls_records_and_datagrams_hold_several_messages() -> None:
    """A server's flight in one record, and in several records of one datagram."""
    flight = [server_hello(0xC02B, [], 0xFEFD), certificates(DER)]
    fragments = [part for i, message in enumerate(flight) for part in dtls_fragments(message, i)]
    for down in ([dtls_record(b"".join(fragments))], [b"".join(map(dtls_record, fragments))]):
        told = dissect_dtls(dtls_datagrams(DTLS_HELLO), down)
        assert (told["certificate"], told["tls_cipher"], told["tls_version"]) == (DER, 0xC02B, 0xFEFD)
        assert is_whole_dtls_hello(down, False)
        assert not is_whole_dtls_hello([down[0][:-1]], False)


def test_dtls_hello_before_the_cookie_is_the_one_that_is_read() -> None:
    """The client repeats its hello with the cookie of a HelloVerifyRequest, which is no ServerHello."""
    first = client_hello([server_name("dtls.example")], legacy=0xFEFD, cookie=b"")
    again = client_hello([server_name("dtls.example")], legacy=0xFEFD, cookie=bytes(32))
    verify = handshake(3, b"\xfe\xff" + hellos.behind_length(bytes(32), 1))
    server = dtls_datagrams(verify) + dtls_datagrams(server_hello(0xC02B, [], 0xFEFD), 1)
    told = dissect_dtls(dtls_datagrams(first) + dtls_datagrams(again, 1), server)
    assert told["ja4"] == oracle_hellos.client_hello(first, "d")["ja4"]
    assert told["tls_cipher"] == 0xC02B


# Anything


def codes(count: int) -> st.SearchStrategy[list[int]]:
    """Numbers of two bytes, GREASE more often than by chance."""
    return st.lists(st.one_of(st.sampled_from(GREASE), st.integers(0, 0xFFFF)), max_size=count)


EXTENSIONS = st.one_of(
    st.builds(extension, st.one_of(st.sampled_from(GREASE), st.integers(0, 0xFFFF)), st.binary(max_size=20)),
    st.builds(server_name, st.one_of(st.binary(max_size=20), st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True))),
    st.lists(st.binary(max_size=10), max_size=4).map(lambda names: alpn(*names)),
    codes(8).map(lambda values: versions(*values)),
    codes(8).map(lambda values: groups(*values)),
    codes(8).map(lambda values: signatures(*values)),
    st.binary(max_size=5).map(lambda values: point_formats(*values)),
)
CLIENT_HELLOS = st.builds(
    client_hello,
    st.one_of(st.none(), st.lists(EXTENSIONS, max_size=12)),
    codes(40),
    st.sampled_from([TLS10, TLS12, 0x0300, 0xFEFD]),
    st.binary(max_size=32),
    st.none(),
)
SERVER_HELLOS = st.builds(
    server_hello,
    st.integers(0, 0xFFFF),
    st.one_of(st.none(), st.lists(EXTENSIONS, max_size=6)),
    st.sampled_from([TLS12]),
)


@settings(deadline=None)
@given(CLIENT_HELLOS, SERVER_HELLOS, st.binary(min_size=1, max_size=300), st.integers(1, 400))
def test_any_hello_is_read_as_the_oracle_does(client: bytes, server: bytes, der: bytes, size: int) -> None:
    """Built hellos in records of any size: equal to a reader that shares nothing with the kernels."""
    up, down = records(client, size), records(server + certificates(der), size)
    assert dissect_tls(up, down) == oracle_hellos.dissect_tls(up, down)
    assert dissect_client_hello(client, "q") == oracle_hellos.client_hello(client, "q")
    assert is_whole_hello(up)


@settings(deadline=None)
@given(CLIENT_HELLOS, SERVER_HELLOS, st.binary(min_size=1, max_size=99), st.integers(1, 200), st.data())
def test_what_is_whole_is_enough(client: bytes, server: bytes, der: bytes, size: int, data: st.DataObject) -> None:
    """From the first byte on at which a direction is said to be whole, the same is found as in all of it."""
    for message in (client, server + certificates(der, der)):
        stream = records(message, size) + records(b"\1", kind=20) + records(b"behind")
        end = next(n for n in range(len(stream) + 1) if is_whole_hello(stream[:n]))
        later = data.draw(st.integers(end, len(stream)))
        assert is_whole_hello(stream[:later])
        assert dissect_tls(stream[:end]) == dissect_tls(stream[:later]) == dissect_tls(stream)


@settings(deadline=None)
@given(
    st.sampled_from([browser_hello(share=40), example(*hellos.CHROME_SIGNATURES)]),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(0, 2000),
)
def test_any_change_is_read_as_the_oracle_does(hello: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """Changed bytes, lengths among them, and any end: no exception, and the same as the oracle."""
    server = server_hello(0xC02F, [extension(0xFF01, b"\0"), chosen_version(TLS12)]) + certificates(DER[:99])
    for stream in (records(hello, 400), records(server, 50)):
        changed = bytearray(stream)
        for at, value in changes:
            changed[at % len(changed)] = value
        data = bytes(changed[: cut or None])
        assert dissect_tls(data) == oracle_hellos.dissect_tls(data)
        assert is_whole_hello(data) in (False, True)


def test_every_end_is_read_as_the_oracle_does() -> None:
    """A hello and a server's flight that end at each of their bytes."""
    up = records(browser_hello(share=8), 200)
    down = records(server_hello(0xC02F, [extension(0xFF01, b"\0")]) + certificates(DER[:20]), 60)
    for stream in (up, down):
        for end in range(len(stream) + 1):
            assert dissect_tls(stream[:end]) == oracle_hellos.dissect_tls(stream[:end])


@settings(deadline=None)
@given(st.data())
def test_any_datagrams_are_no_error(data: st.DataObject) -> None:
    """DTLS with changed bytes and lengths, cut anywhere."""
    parts = dtls_datagrams(DTLS_HELLO, size=30) + dtls_datagrams(server_hello(1, [], 0xFEFD) + b"", 1)
    datagrams = [bytearray(part) for part in parts]
    for which, at, value in data.draw(st.lists(st.tuples(*[st.integers(0, 255)] * 3), max_size=8)):
        chosen = datagrams[which % len(datagrams)]
        chosen[at % len(chosen)] = value
    sent = [bytes(part[: data.draw(st.integers(0, len(part)))]) for part in datagrams]
    told = dissect_dtls(sent, sent[::-1])
    assert told.get("server_name", "dtls.example").isascii()
    assert is_whole_dtls_hello(sent) in (False, True)


def _hostile(size: int) -> dict[str, bytes]:
    """Streams of about so many bytes, with the most steps that can be made of them."""
    ciphers = client_hello([], [0xFFFE - 2 * (i % 30000) for i in range(min(size // 2, 32000))])
    kinds = client_hello([extension(0xFFFE - 2 * (i % 30000)) for i in range(min(size // 4, 16000))])
    return {
        "ciphers": records(ciphers),
        "extensions": records(kinds),
        "records": records(browser_hello(share=size // 6 - 600), 1),
        "alerts": records(bytes(2), kind=21) * (size // 7),
    }


@pytest.mark.compiled
@pytest.mark.skipif(not JIT, reason="not compiled")
@pytest.mark.parametrize("name", _hostile(8000))
def test_time_grows_with_the_bytes(name: str) -> None:
    """Eight times as many bytes take far less than 64 times as long."""
    few, many = (_seconds(_hostile(size)[name]) for size in (8000, 64000))
    assert many < 24 * few + 1e-3


def _seconds(stream: bytes) -> float:
    """Those of the fastest of several calls."""
    taken = []
    for _ in range(15):
        start = time.perf_counter()
        dissect_tls(stream, b"", 1 << 20)
        taken.append(time.perf_counter() - start)
    return min(taken)
