"""Services by the first bytes of a flow: which they are, how sure it is, and that no bytes do harm."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowgauge.kernels._jit import JIT
from flowgauge.kernels.services import HEAD_BYTES, SERVICES
from recognising import Flow, Guarded, dissect, first_look, guarded, is_whole, judge, tcp, tell, udp
from samples import GET, NEAR_MISSES, OK, SAMPLES, SSH, client_hello, key_exchange, question, record, rtp, stun

FLOWS = [(service, flow) for service, flows in SAMPLES.items() for flow in flows]
NAMED = [pytest.param(*pair, id=f"{pair[0]}-{number}") for number, pair in enumerate(FLOWS)]


@pytest.mark.parametrize(("service", "flow"), NAMED)
def test_samples(service: str, flow: Flow) -> None:
    """A service is told by the fewest bytes that its specification makes it begin with."""
    told = tell(flow)
    assert told.service == service
    assert told.confidence in (60, 80, 95, 99)


def test_every_service_has_a_sample() -> None:
    """No service is in the list that nothing tells."""
    assert set(SAMPLES) == set(SERVICES[1:])


def test_only_both_sides_make_it_surest() -> None:
    """99 % is what the bytes of both sides say, of services of which both sides' bytes are kept."""
    surest = {service for service, flow in FLOWS if tell(flow).confidence == 99}
    both = {service for service, flow in FLOWS if any(flow.up) and any(flow.down)}
    assert surest <= both
    assert both - surest == {"ntp", "rdp"}


@pytest.mark.parametrize("flow", [pytest.param(flow, id=why) for why, flow in NEAR_MISSES])
def test_near_misses(flow: Flow) -> None:
    """What others send is not taken for a service that it is like."""
    assert tell(flow)[:2] == ("", 0)


def test_a_hello_in_pieces() -> None:
    """A first segment of a few bytes is kept, and decided on when more are there."""
    flow = tcp(client_hello(), port=443)
    assert first_look(client_hello()[:4], flow) == ("tls", 0, HEAD_BYTES)
    assert judge(client_hello()[:4], b"", flow) == ("", 0)
    assert judge(client_hello(), b"", flow) == ("tls", 95)


def test_a_greeting_is_decided_by_the_answer() -> None:
    """`220` is of FTP or of SMTP; words in it, the client's first line, or the port say which."""
    greeting = b"220 ready\r\n"
    assert first_look(greeting, tcp(b""), 1) == ("ftp", 0, 512)
    assert judge(b"EHLO a\r\n", greeting, tcp(b"")) == ("smtp", 99)
    assert judge(b"USER a\r\n", greeting, tcp(b"")) == ("ftp", 99)
    assert judge(b"AUTH TLS\r\n", greeting, tcp(b"")) == ("", 0)
    assert judge(b"AUTH TLS\r\n", greeting, tcp(b"", port=21)) == ("ftp", 80)


def test_directions_may_be_the_wrong_way_round() -> None:
    """Who is the client makes no difference to the service."""
    for service, flow in FLOWS:
        turned = Flow(flow.down, flow.up, flow.is_udp, flow.server_port, flow.client_port)
        if any(turned.up) or service != "quic":
            assert tell(turned).service == service, service


def test_only_the_clients_side_of_quic_is_kept() -> None:
    """Of QUIC only the client's hello can be read."""
    flow = SAMPLES["quic"][0]
    assert first_look(flow.up[0], flow, 0) == ("quic", 95, HEAD_BYTES)
    assert first_look(flow.up[0], flow, 1) == ("quic", 95, 0)


WHOLE = {
    "tls": client_hello(),
    "http": GET,
    "ssh": SSH + key_exchange(),
    "ftp": b"USER a\r\n",
    "dns": udp(question("a.example")).head(0),
    "rtp": udp((rtp(1), rtp(2))).head(0),
    "stun": udp(stun()).head(0),
    "quic": b"".join(len(part).to_bytes(2, "big") + part for part in (b"\xc0" + bytes(40), b"\x40" + bytes(20))),
}


@pytest.mark.parametrize("service", WHOLE)
def test_whole(service: str) -> None:
    """The bytes kept are whole when the last one is there that is read, and not before."""
    head = WHOLE[service]
    assert is_whole(service, head)
    needed = len(head) - 1
    if service == "rtp":
        needed -= 20  # the payload of the second packet
    if service == "ssh":
        assert not is_whole(service, SSH)
    assert not is_whole(service, head[:needed])


def test_messages_without_end_are_never_whole() -> None:
    """A head in which no line ends, or of which nothing is there, is not whole."""
    assert not is_whole("http", b"GET /" + b"a" * 4000)
    assert [service for service in SERVICES if is_whole(service, b"")] == []


def ask_everything(up: bytes, down: bytes, flow: Flow, size: int) -> None:
    """Every function, with every service, on any bytes."""
    for direction, head in enumerate((up, down)):
        service, sure, keep = first_look(head, flow, direction)
        assert service in SERVICES and 0 <= sure <= 99 and 0 <= keep <= HEAD_BYTES
    service, sure = judge(up, down, flow)
    assert (service == "") == (sure == 0)
    for service in SERVICES:
        is_whole(service, up, True)
        dissect(service, up, down, flow.is_udp, size)


@pytest.mark.parametrize(("service", "flow"), NAMED)
def test_any_truncation_is_harmless(service: str, flow: Flow) -> None:
    """Bytes may end anywhere, in either direction: nothing behind them is read, and texts stay in their room."""
    up, down = flow.head(0), flow.head(1)
    for end in range(0, max(len(up), len(down)), 1 if JIT else 7):
        ask = dissect(service, up[:end], down[: len(down) - end], flow.is_udp, 64)
        assert isinstance(ask, dict)
        judge(up[:end], down[:end], flow)
        first_look(flow.first(0)[:end], flow)
        is_whole(service, up[:end])


HEADS = [flow.head(side) for _, flow in FLOWS for side in (0, 1) if flow.head(side)]
PORTS = st.sampled_from([21, 25, 53, 67, 110, 123, 137, 143, 443, 546, 1900, 3478, 5353, 5355, 40000])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sample's bytes of which some are others, or random ones."""
    data = bytearray(draw(st.sampled_from(HEADS)) if draw(st.booleans()) else draw(st.binary(max_size=120)))
    for _ in range(draw(st.integers(0, 6)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(
            st.sampled_from([0, 1, 12, 0x3F, 0x80, 0xC0, 0xFF, 10, 13, 32])
        )
    return bytes(data) + draw(st.binary(max_size=10))


@settings(max_examples=300 if JIT else 60, deadline=None)
@given(up=mutated(), down=mutated(), is_udp=st.booleans(), port=PORTS, size=st.sampled_from([0, 1, 7, 300, 65536]))
def test_any_bytes_are_harmless(up: bytes, down: bytes, is_udp: bool, port: int, size: int) -> None:
    """Whatever a flow begins with, nothing outside it is read and nothing outside `out` is written."""
    ask_everything(up, down, Flow((up,), (down,), is_udp, 40001, port), size)


HOSTILE = {
    "no line ends": b"GET /" + b"a" * 4091,
    "only line ends": b"GET / HTTP/1.1\r\n" + b"\n" * 4080,
    "a header of colons": b"GET / HTTP/1.1\r\n" + b":" * 4080,
    "many short fields": b"GET / HTTP/1.1\r\n" + b"a:b\n" * 1020,
    "many hosts": b"GET / HTTP/1.1\r\n" + b"host: a\n" * 510,
    "a long SIP target": b"INVITE sip:" + b"@;?" * 1361,
    "a name that points to itself": b"\x10\0" + b"\x12\x34\x81\x80\0\1\x0f\xff\0\0\0\0\0\0\1\0\1" + b"\xc0\x0c" * 2000,
    "names that point backwards": b"\x0f\xf0"
    + b"\x12\x34\x84\0\0\0\xff\xff\0\0\0\0"
    + b"\xc0\x0c\0\x0c\0\1\0\0\0\0\0\2\xc0\x0c" * 290,
    "names of one letter": b"\x0f\xf0" + b"\x12\x34\1\0\0\xff\0\0\0\0\0\0" + b"\1a" * 2040,
    "empty datagrams": b"\0\0" * 2048,
    "datagrams of one byte": b"\0\1\x80" * 1365,
    "empty TLS records": b"\x16\3\1\0\1\1" * 682,
    "options of no bytes": b"\x0f\xf0" + b"\1\1\6\0" + bytes(232) + b"\x63\x82\x53\x63" + b"\x0c\0" * 1900,
    "lists of no names": SSH + key_exchange([""] * 10) + bytes(3900),
}
MOST_READS = 80  # of a byte, on average


@pytest.mark.skipif(JIT, reason="reads are counted uncompiled")
@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bytes make anything read them more than a fixed number of times."""
    head = HOSTILE[name][:HEAD_BYTES]
    readers: list[Guarded] = []

    def watched(*parts: bytes) -> object:
        data, edges = guarded(*parts)
        readers.append(data)
        return data, edges

    monkeypatch.setattr("recognising.guarded", watched)
    for is_udp in (False, True):
        ask_everything(head, head, Flow((head,), (head,), is_udp, 40000, 53), 65536)
    assert max(reader.reads for reader in readers) <= MOST_READS * 2 * HEAD_BYTES


def test_random_bytes_are_no_service() -> None:
    """Of flows of random bytes to the ports of services at most one in a thousand is taken for one by its payload."""
    source, ports = random.Random(1), [53, 123, 443, 546, 1194, 3478, 5004, 5353, 6881, 51820, 40000]
    flows, found = 20_000 if JIT else 1500, 0
    for number in range(flows):
        payloads = tuple(source.randbytes(source.choice((20, 48, 64, 92, 148, 300))) for _ in range(2))
        flow = Flow(payloads, (), bool(number % 2), 40000, source.choice(ports))
        if flow.server_port == 123:  # any 48 bytes are NTP there, by version, mode and stratum
            continue
        found += tell(flow).service != ""
    assert found <= flows // 1000


def test_http_over_both_sides() -> None:
    """The sample is read as what it says."""
    assert tell(tcp(GET, OK, 80)).facts == {
        "http_method": "GET",
        "server_name": "www.example.com",
        "http_path": "/a/b",
        "http_user_agent": "curl/8",
        "http_status": 200,
        "http_content_type": "text/html; charset=utf-8",
        "dns_rcode": -1,
    }


def test_old_hello() -> None:
    """A hello in the form of SSL 2 is TLS."""
    old = b"\x80\x1c\1\3\1\0\3\0\0\0\x10\0\0\x2f" + bytes(16)
    assert tell(tcp(old))[:2] == ("tls", 95)
    assert tell(tcp(old[:1] + b"\x1d" + old[2:]))[:2] == ("", 0)


def test_records_of_a_connection_that_was_joined_late() -> None:
    """A record that begins no stream tells TLS, unless what follows it is none."""
    assert tell(tcp(record(23, bytes(30)) + record(23, bytes(9))))[:2] == ("tls", 80)
