"""Group `names`: heads, their dissection, DNS answers, and what of it goes on in later parts."""

from __future__ import annotations

import functools
import io
import random
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import flowgauge as fg
from flowgauge import features
from flowgauge.features import names
from flowgauge.names.table import TextTable
from flowgauge.run import Hooks, Run
from hellos import browser_hello, quic_datagrams, records, server_hello
from oracle_names import Answer, AnswerMemory, Segment, datagram_head, stream_head, tls_records
from packets import A6, B6, SECOND, START, A, B, C, Sent, capture, eth, ip4, sent, udp
from samples import SAMPLES, netbios_question
from strategies import examples
from talks import (
    CLIENT_PORT,
    RESPONSE,
    asked,
    cut,
    datagram,
    dns_name,
    dns_record,
    dns_response,
    request,
    segments_sent,
)

HELLO = records(browser_hello("www.example.org"))
ANSWER = records(server_hello(extensions=())) + records(bytes(1200), kind=23)
SYN = Segment(0, 999, b"", syn=True)
Row = dict[str, Any]


def named(*frames: Sent, **options: Any) -> list[Row]:
    """Rows of the group."""
    return rows_of(capture(frames), **options)


def rows_of(*captures: bytes, **options: Any) -> list[Row]:
    options = {"features": "core,names", **options}
    sources = [io.BytesIO(content) for content in captures]
    found: list[Row] = fg.read(sources, **options).to_pylist()
    return found


def counted(frames: list[Sent], **options: Any) -> tuple[list[Row], dict[str, int]]:
    run = Run(io.BytesIO(capture(frames)), Hooks(), features="core,names", **options)
    return [row for batch in run.batches() for row in batch.to_pylist()], run.stats.counters


def only(rows: list[Row]) -> Row:
    (row,) = rows
    return row


def of_tcp(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["protocol"] == 6]


# Heads


@examples(40)
@given(places=st.lists(st.integers(0, 5000), max_size=6), seed=st.integers(0, 2**32), with_syn=st.booleans())
def test_a_hello_in_any_pieces_and_order_is_whole_again(places: list[int], seed: int, with_syn: bool) -> None:
    """Segments that are cut anywhere, shuffled and repeated tell what the whole hello tells."""
    pieces = cut(HELLO, places)
    order = random.Random(seed)
    shuffled = [*pieces, *order.sample(pieces, min(2, len(pieces)))]
    if with_syn:
        order.shuffle(shuffled)
        shuffled.insert(0, SYN)
    row = only(named(*segments_sent(shuffled)))
    whole = only(named(*segments_sent([Segment(0, 1000, HELLO)])))
    for name in ("service", "server_name", "server_name_by", "tls_alpn", "ja3", "ja4", "tls_version"):
        assert row[name] == whole[name], name
    assert row["server_name"] == "www.example.org"


@examples(60)
@given(
    places=st.lists(st.integers(0, 400), min_size=1, max_size=5),
    lost=st.sets(st.integers(0, 6), max_size=2),
    seed=st.integers(0, 2**32),
    with_syn=st.booleans(),
    seq=st.sampled_from([1000, 2**32 - 30]),
)
def test_a_head_counts_up_to_the_first_hole(
    places: list[int], lost: set[int], seed: int, with_syn: bool, seq: int
) -> None:
    """An HTTP request is named where, and only where, the oracle's head of its stream holds all of it."""
    stream = request(more="X: " + "x" * 300 + "\r\n")
    order = random.Random(seed)
    pieces = cut(stream, [20 + place for place in places], seq=seq)
    kept = [piece for number, piece in enumerate(pieces) if number not in lost or number == 0]
    if with_syn:
        order.shuffle(kept)
        kept.insert(0, Segment(0, (seq - 1) % 2**32, b"", syn=True))
    row = only(named(*segments_sent(kept, port=80)))
    head = stream_head(kept, 0)
    is_whole = head == stream
    assert (row["http_user_agent"] == "tester/1.0") == (b"User-Agent: tester/1.0\r\n" in head)
    assert (row["server_name"] == "www.example.org") >= is_whole


def test_bytes_before_the_first_known_one_are_left_out() -> None:
    """Without a SYN the stream begins where the first segment does, whatever comes late from before it."""
    frames = segments_sent([Segment(0, 1000, HELLO), Segment(0, 990, b"0123456789" + HELLO[:50])])
    assert only(named(*frames))["server_name"] == "www.example.org"


def test_datagrams_are_kept_behind_their_lengths() -> None:
    """What was kept of a UDP flow is what the oracle keeps: each datagram behind its length, cut off at the end."""
    from flowgauge.kernels.heads import make_arena

    datagrams, put = [bytes([i]) * 1200 for i in range(1, 6)], _put_kernel()
    arena, flow = make_arena(64, 64), np.zeros(1, [("block", np.int32, (2,))]).view(np.recarray)
    at = 0
    for data in datagrams:
        at = put(arena, flow, np.frombuffer(data, np.uint8).copy(), np.int64(at))
    assert arena.data[(int(flow[0].block[1]) - 1) // 4 * 512 :][:at].tobytes() == datagram_head(datagrams)


@functools.cache
def _put_kernel() -> Any:
    from flowgauge.kernels._jit import kernel
    from flowgauge.kernels.heads import datagram_end, have_room, put_datagram

    def put(arena, flow, data, at):  # type: ignore[no-untyped-def]
        end = datagram_end(np.int64(len(data)), at)
        if have_room(arena, flow[0], 1, end):
            put_datagram(arena, flow[0].block[1], data, np.uint64(0), at, end)
        return end

    return kernel(put)


def test_both_directions_are_dissected_together() -> None:
    """Request and response name what each of them says."""
    row = only(named(*segments_sent([Segment(0, 1000, request()), Segment(1, 5000, RESPONSE)], port=80)))
    assert (row["service"], row["service_by"], row["server_name"], row["server_name_by"]) == (
        *("http", "payload"),
        *("www.example.org", "http_host"),
    )
    assert (row["http_method"], row["http_path"], row["http_status"], row["http_content_type"]) == (
        *("GET", "/a", 404, "text/html"),
    )


def test_what_a_direction_has_told_for_sure_stays_told() -> None:
    """A server's line that might be of a mail service makes none of what the client's first bytes have shown."""
    (request,) = SAMPLES["rdp"][0].up
    talk = [Segment(0, 1000, request), Segment(1, 5000, b"220 ready\r\n")]
    row = only(named(*segments_sent(talk, port=3389)))
    assert (row["service"], row["service_by"]) == ("rdp", "payload")


def test_the_server_may_speak_first_and_late() -> None:
    """A response that is captured before its request is kept until the request is there."""
    row = only(named(*segments_sent([SYN, Segment(1, 5000, RESPONSE), *cut(request(), [30])], port=80)))
    assert (row["http_status"], row["server_name"]) == (404, "www.example.org")


@pytest.mark.parametrize("rows", [16, 17, 64])
def test_the_size_of_batches_changes_no_name(rows: int) -> None:
    """Packets in batches of any size give the same rows."""
    frames = [
        *asked(0, "plain.example.net", [C]),
        *segments_sent([SYN, *cut(HELLO, [700, 1400]), *cut(ANSWER, [100], end=1, seq=77)], 1),
        *segments_sent([Segment(0, 1, bytes(40))], 2, ends=(A, C)),
        *(
            datagram(3 + i / 100, data, A, C)
            for i, data in enumerate(quic_datagrams(browser_hello("q.example.org"), 2))
        ),
    ]
    expected, _ = counted(frames)
    found, _ = counted(frames, rows=rows)
    assert found == expected
    assert {row["server_name"] for row in expected} >= {"www.example.org", "q.example.org", "plain.example.net"}


# The arena


def test_flows_without_room_for_their_heads_are_metered_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the arena is full flows have no names of their own, and the run says how many heads it has not kept."""
    monkeypatch.setitem(features.FEATURES, "names", functools.partial(names.feature, most_units=6))
    frames = [
        frame
        for number in range(5)
        for frame in segments_sent([Segment(0, 1000, HELLO[:600])], ends=(f"10.0.1.{number}", B))
    ]
    rows, counters = counted(frames)
    assert len(rows) == 5
    assert [row["server_name"] for row in rows].count("www.example.org") == 3
    assert {row["service"] for row in rows} == {"tls"}
    assert counters["heads_refused"] == 2


@pytest.mark.parametrize("rows", [16, 8192])
def test_blocks_are_used_again(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many flows, one after the other, need no more room than is in use at a time, however large batches are."""
    monkeypatch.setitem(features.FEATURES, "names", functools.partial(names.feature, most_units=2))
    frames = [
        frame
        for number in range(20)
        for frame in segments_sent(
            [Segment(0, 1000, request(f"h{number}.example.org")), Segment(1, 1, RESPONSE)],
            *(number, 80, (f"10.0.1.{number}", B)),
        )
    ]
    found, counters = counted(frames, rows=rows)
    assert [row["server_name"] for row in found] == [f"h{number}.example.org" for number in range(20)]
    assert counters["heads_refused"] == 0


@pytest.mark.parametrize("rows", [16, 8192])
def test_texts_of_flows_that_have_left_are_forgotten(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of many flows, a few at a time, need room for a few, and none is mistaken for another."""
    tables: list[TextTable] = []

    def small() -> TextTable:
        tables.append(TextTable(256, 1 << 17))
        return tables[-1]

    monkeypatch.setattr(names, "TextTable", small)
    frames = [
        frame
        for number in range(200)
        for frame in segments_sent([Segment(0, 1, request(f"h{number}.example.org", f"/{number}"))], 60.0 * number, 80)
    ]
    found, _ = counted(frames, rows=rows, idle_timeout=10)
    assert [row["server_name"] for row in found] == [f"h{number}.example.org" for number in range(200)]
    assert [row["http_path"] for row in found] == [f"/{number}" for number in range(200)]
    assert tables[0].rows <= 1024


# Parts


def test_names_go_on_in_later_parts() -> None:
    """What was told in the first part of a flow is told of every part."""
    segments = [Segment(0, 1000, HELLO), Segment(1, 1, ANSWER)]
    later = [Segment(0, 1000 + len(HELLO), b"more"), Segment(1, 1 + len(ANSWER), b"more")]
    rows = named(*segments_sent(segments), *segments_sent(later, 12), window=10)
    assert [row["part"] for row in rows] == [0, 1]
    shared = ("service", "server_name", "server_name_by", "ja3", "ja3s", "ja4", "tls_version", "tls_cipher")
    assert all(rows[0][name] == rows[1][name] is not None for name in shared)


def test_a_head_goes_on_in_the_next_part() -> None:
    """A hello over the boundary of two parts names the second; the first has what its bytes tell."""
    first, second = cut(HELLO, [len(HELLO) - 200])
    rows = named(*segments_sent([SYN, first]), *segments_sent([second], 12), window=10)
    assert [row["server_name"] for row in rows] == ["www.example.org", "www.example.org"]
    assert [row["ja4"] is None for row in rows] == [True, False]


def test_a_quic_hello_over_two_parts_names_the_second() -> None:
    """Datagrams of the first part are opened again with those of the second."""
    one, two = quic_datagrams(browser_hello("q.example.org"), 2)
    rows = named(datagram(0, one), datagram(12, two), window=10)
    assert [row["server_name"] for row in rows] == [None, "q.example.org"]
    assert rows[1]["server_name_by"] == "quic_sni"


def test_a_quic_hello_is_opened_before_its_block_goes_on() -> None:
    """Datagrams that came since a hello was last tried count, also where the next part begins in the same batch."""
    one, two = quic_datagrams(browser_hello("q.example.org"), 2)
    filling = [datagram(0.001 * number, b"", C, B) for number in range(1, 16)]
    rows, _ = counted([datagram(0, one), *filling, datagram(1, two), datagram(12, one)], rows=16, window=10)
    assert [row["server_name"] for row in rows if row["client_ip"] == A] == ["q.example.org"] * 2


# QUIC


def test_a_quic_hello_in_several_datagrams_is_opened_when_it_is_whole() -> None:
    """The name is there, whatever the server sends in between."""
    one, two = quic_datagrams(browser_hello("q.example.org"), 2)
    server = datagram(0.001, bytes([0xC0]) + bytes(60), B, A, (443, CLIENT_PORT))
    row = only(named(datagram(0, one), server, datagram(0.002, two)))
    assert (row["service"], row["server_name"], row["server_name_by"]) == ("quic", "q.example.org", "quic_sni")
    assert row["ja4"].startswith("q13d")


def test_a_reader_of_hellos_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception of what reads bytes ends a run."""

    def fail(*args: Any, **options: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr("flowgauge.names.quic.client_hello", fail)
    rows, counters = counted([datagram(0, data) for data in quic_datagrams(browser_hello("q.example.org"))])
    assert (rows[0]["service"], rows[0]["server_name"]) == ("quic", None)
    assert counters["dissector_faults"] > 0


def test_a_dissector_that_stops_is_counted_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow at which a bounds check stops has no names; the packets behind it are metered as ever."""
    update, failed = names.update, []

    def fail_once(p: Any, begin: int, stop: int, *rest: Any) -> int:
        if not failed:
            failed.append(begin)
            rest[-1].cursor[0] = begin
            raise IndexError
        return int(update(p, begin, stop, *rest))

    monkeypatch.setattr(names, "update", fail_once)
    frames = [
        frame
        for number in range(2)
        for frame in segments_sent([Segment(0, 1000, HELLO)], number, ends=(f"10.0.1.{number}", B))
    ]
    rows, counters = counted(frames)
    assert [row["server_name"] for row in rows] == [None, "www.example.org"]
    assert counters["dissector_faults"] == 1


# DNS


def test_a_flow_without_a_name_has_that_of_its_clients_latest_answer() -> None:
    """It is the name that was asked, whatever aliases are between, with the answer's age."""
    frames = [
        *asked(0, "old.example.net", [C]),
        *asked(1, "www.Example.NET", ["10.9.9.9", C], aliases=["edge.cdn.example"]),
        *segments_sent([Segment(0, 1, b"\0" * 30)], 5, ends=(A, C)),
    ]
    row = only(of_tcp(named(*frames)))
    assert (row["server_name"], row["server_name_by"], row["server_domain"]) == (
        *("www.example.net", "dns_answer"),
        "example.net",
    )
    assert row["server_name_age_s"] == pytest.approx(3.99, abs=1e-9)


def test_a_name_of_its_own_comes_before_a_dns_answer() -> None:
    """A flow with SNI is not named by an answer, and has no age of one."""
    frames = [*asked(0, "other.example.net", [C]), *segments_sent([Segment(0, 1, HELLO)], 5, ends=(A, C))]
    row = only(of_tcp(named(*frames)))
    assert (row["server_name"], row["server_name_by"], row["server_name_age_s"]) == ("www.example.org", "sni", None)


def test_answers_are_of_their_client_and_of_the_time_before() -> None:
    """Neither another client's answer names a flow, nor one that comes when the flow has begun, nor a failure."""
    other = asked(0, "other.example.net", [C], client="10.0.0.77")
    failure = asked(1, "failed.example.net", [C], code=3)
    late = asked(3, "late.example.net", [C])
    flow = segments_sent([Segment(0, 1, b"\0" * 30), Segment(0, 31, b"\0" * 30)], 2.9, ends=(A, C), step=1.0)
    frames = sorted([*other, *failure, *late, *flow], key=lambda frame: frame.time or 0)
    assert only(of_tcp(named(*frames)))["server_name"] is None


def test_answers_over_tcp_and_ipv6_count() -> None:
    """A message that is all of a segment is read behind its length."""
    response = dns_response("six.example.net", [B6], kind=28)
    message = Segment(1, 1, len(response).to_bytes(2, "big") + response)
    frames = [
        *segments_sent([message], 0, port=53, ends=(A6, "2001:db8::53")),
        *segments_sent([Segment(0, 1, b"\0" * 30)], 1, ends=(A6, B6)),
    ]
    assert {row["server_name"] for row in named(*frames) if row["server_port"] == 443} == {"six.example.net"}


def test_addresses_of_the_other_ip_version_are_told_to_the_host() -> None:
    """What was asked by IPv4 names a flow by IPv6 of the same MAC address, and of no other."""
    answers = asked(0, "six.example.net", [B6], kind=28)
    flow = segments_sent([Segment(0, 1, b"\0" * 30)], 1, ends=(A6, B6))
    other = [frame._replace(data=frame.data[:6] + bytes(6) + frame.data[12:]) for frame in flow]
    answers = [frame._replace(data=swapped(frame.data)) if number else frame for number, frame in enumerate(answers)]
    assert only(of_tcp(named(*answers, *flow)))["server_name"] == "six.example.net"
    assert only(of_tcp(named(*answers, *other)))["server_name"] is None


def swapped(frame: bytes) -> bytes:
    """The frame in the other direction between two MAC addresses."""
    return frame[6:12] + frame[:6] + frame[12:]


def test_multicast_answers_are_for_all() -> None:
    """A host that announces itself by mDNS is named to everybody."""
    record = dns_record(dns_name("printer.local"), 1, bytes([10, 0, 0, 3]))
    message = b"\0\0\x84\0\0\0\0\1\0\0\0\0" + record
    frames = [
        datagram(0, message, C, "224.0.0.251", (5353, 5353)),
        *segments_sent([Segment(0, 1, b"\0" * 30)], 1, ends=(A, C)),
    ]
    assert only(of_tcp(named(*frames)))["server_name"] == "printer.local"


def test_answers_are_remembered_within_a_trace_alone() -> None:
    """Files of one trace share what was answered; files that are traces of their own do not."""
    one = capture(asked(0, "www.example.net", [C]))
    two = capture(segments_sent([Segment(0, 1, b"\0" * 30)], 5, ends=(A, C)))
    assert [row["server_name"] for row in of_tcp(rows_of(one, two))] == [None]
    assert [row["server_name"] for row in of_tcp(rows_of(one, two, join=True))] == ["www.example.net"]


@examples(60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([A, "10.0.0.9"]), st.integers(0, 5), st.sampled_from(["a.example", "b.example", ""])),
        max_size=14,
    ),
    most=st.sampled_from([4, 8]),
)
def test_the_latest_answers_are_remembered_as_by_the_oracle(steps: list[tuple[str, int, str]], most: int) -> None:
    """Answers and flows in any order: the same names and ages, also where more was answered than is remembered."""
    memory, frames, expected = AnswerMemory(most), [], []
    for number, (client, place, name) in enumerate(steps):
        server = f"10.1.0.{place}"
        if name:
            frames += asked(number, name, [server], client)
            memory.learn(Answer(START + number * SECOND + SECOND // 100, client, name, (server,)))
        else:
            port = 1000 + number
            frames.append(sent(number, eth(ip4(udp(CLIENT_PORT, port, b"x"), client, server))))
            expected.append((port, memory.name(client, server, START + number * SECOND)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(features.FEATURES, "names", functools.partial(names.feature, most_answers=most))
        rows = {row["server_port"]: row for row in named(*frames)} if frames else {}
    for port, found in expected:
        row = rows[port]
        age = row["server_name_age_s"]
        assert (row["server_name"], None if age is None else round(age * SECOND)) == (found or (None, None))


def test_the_response_time_is_that_of_the_first_querys_answer() -> None:
    """An answer with another id, and a second one, do not count."""
    wrong = datagram(0.005, dns_response("www.example.net", [C], number=8), "10.0.0.53", A, (53, 50000))
    query, answer = asked(0, "www.example.net", [C])
    again = datagram(0.5, dns_response("www.example.net", [C]), "10.0.0.53", A, (53, 50000))
    row = only(named(query, wrong, answer, again))
    assert row["dns_response_s"] == pytest.approx(0.01, abs=1e-9)
    assert (row["service"], row["dns_query"], row["dns_type"]) == ("dns", "www.example.net", "A")


# TLS records


@examples(60)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 5, 40, 900])), min_size=1, max_size=12),
    places=st.lists(st.integers(0, 8000), max_size=8),
    lost=st.sets(st.integers(1, 12), max_size=1),
    repeated=st.integers(0, 12),
)
def test_tls_records_are_listed_as_by_the_oracle(
    lengths: list[tuple[int, int]], places: list[int], lost: set[int], repeated: int
) -> None:
    """Records cut anywhere, with segments lost and repeated, have the oracle's lengths and directions."""
    numbers = [1000, 5000]
    segments = [Segment(0, 1000, HELLO)]
    numbers[0] += len(HELLO)
    for number, (end, length) in enumerate(lengths):
        record = b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)
        segments += cut(record, [place // (number + 1) for place in places], end, numbers[end])
        numbers[end] += len(record)
    kept = [segment for number, segment in enumerate(segments) if number not in lost]
    kept += kept[repeated : repeated + 1]
    row = only(named(*segments_sent(kept)))
    found = list(zip(row["tls_record_direction"], row["tls_record_len"], strict=True))
    assert found == tls_records(kept)


# What strangers send


def test_texts_are_safe_to_print() -> None:
    """Control characters and what is no UTF-8 are shown as numbers; quotes and commas stay."""
    path = "/\x1b[31m\x07\x7f\u0085\u202e,\"'=1+1"
    raw = request("www.example.org", path).replace(b"tester/1.0", b"\xff\xfe=cmd")
    row = only(named(*segments_sent([Segment(0, 1000, raw), Segment(1, 1, RESPONSE)], port=80)))
    assert row["http_path"] == "/\\x1b[31m\\x07\\x7f\\x85\\u202e,\"'=1+1"
    assert row["http_user_agent"] == "\\xff\\xfe=cmd"


@examples(80)
@given(data=st.data())
def test_no_bytes_end_a_run(data: st.DataObject) -> None:
    """Whatever is in packets, on whatever ports, is metered, and no dissector stops at a bounds check."""
    seeds = [HELLO, ANSWER, request(), RESPONSE, dns_response("a.example", [C, B6]), b"SSH-2.0-x\r\n", bytes(60)]
    seeds += quic_datagrams(browser_hello("q.example.org"), 2)
    frames: list[Sent] = []
    for number in range(data.draw(st.integers(1, 12))):
        payload = bytearray(data.draw(st.sampled_from(seeds) | st.binary(max_size=80)))
        for _ in range(data.draw(st.integers(0, 4)) if payload else 0):
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
        payload = payload[: data.draw(st.integers(0, 2000))]
        end, port = data.draw(st.integers(0, 1)), data.draw(st.sampled_from([443, 53, 80, 5353, 22, 137, 67, 5060]))
        if data.draw(st.booleans()):
            seq = data.draw(st.sampled_from([1, 2, 100, 2**32 - 5]))
            frames += segments_sent([Segment(end, seq, bytes(payload))], number, port)
        else:
            hosts = (A, B)
            ports = (CLIENT_PORT, port)
            frames.append(datagram(number, bytes(payload), hosts[end], hosts[1 - end], ports[:: 1 - 2 * end]))
    rows, counters = counted(frames)
    assert sum(row["packets"] for row in rows) == len(frames)
    assert counters["dissector_faults"] == 0


def test_anonymised_names_are_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that name ends are hidden by the key or left out; fingerprints and guesses stay."""
    monkeypatch.setenv("FLOWGAUGE_KEY", "ab" * 32)
    frames = [
        *asked(0, "www.youtube.com", [C]),
        *segments_sent([Segment(0, 1, b"\0" * 30)], 5, ends=(A, C)),
        *segments_sent([Segment(0, 1000, HELLO)], 6),
    ]
    hidden, plain = named(*frames, anonymize="env"), named(*frames)
    by_name = {row["server_name"]: row for row in of_tcp(plain)}
    shown = [row for row in hidden if row["protocol"] == 6]
    assert {row["app_guess"] for row in shown} == {"YouTube", None}
    assert {row["ja4"] for row in shown} == {None, by_name["www.example.org"]["ja4"]}
    text = repr(hidden)
    assert "youtube.com" not in text and "example.org" not in text
    assert not {"http_path", "dns_answers", "tls_not_after", "http_user_agent"} & hidden[0].keys()
    assert all(len(row["server_name"]) == 16 for row in shown)


def test_a_catalogue_of_ones_own_comes_first(tmp_path: Any) -> None:
    """Apps of the user's file name flows; a file that is none is an error before anything is read."""
    own = tmp_path / "own.yaml"
    own.write_text("video: {My App: [example.org]}\n", "utf-8")
    row = only(named(*segments_sent([Segment(0, 1000, HELLO)]), catalogue=[own]))
    assert (row["app_guess"], row["app_category"]) == ("My App", "video")
    with pytest.raises(fg.ConfigError, match="cannot read the catalogue"):
        named(*segments_sent([SYN]), catalogue=str(tmp_path / "none.yaml"))


def test_netbios_has_types_of_its_own() -> None:
    """Its question for a name is NB, not the DNS type of the same number."""
    row = only(named(datagram(0, netbios_question("PRINTER"), ports=(137, 137))))
    assert (row["service"], row["dns_type"]) == ("netbios_ns", "NB")


def test_a_port_tells_the_service_where_no_payload_does() -> None:
    """And says so."""
    row = only(named(*segments_sent([SYN], port=22)))
    assert (row["service"], row["service_by"], row["service_confidence"]) == ("ssh", "port", 20)
