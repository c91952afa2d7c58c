"""Schema `zeek`: conn.log as a table, as Zeek's TSV and as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import flowgauge as fg
from packets import A6, B6, A, B, Sent, capture, eth, icmp, icmp6, ip4, ip6, sctp, sent, tcp, udp
from test_tcp import SHAKE, segments


def rows(frames: list[Sent], **options: Any) -> list[dict[str, Any]]:
    table = fg.read(io.BytesIO(capture(frames)), schema="zeek", preset="zeek", **options)
    return table.to_pylist()


def written(frames: list[Sent], format: str) -> str:
    output = io.BytesIO()
    fg.extract(io.BytesIO(capture(frames)), output, format=format, schema="zeek", preset="zeek")
    return output.getvalue().decode()


QUERY = [
    sent(0, eth(ip4(udp(40000, 53, b"12345")))),
    sent(0.5, eth(ip4(udp(53, 40000, b"1234567"), B, A))),
]


def test_a_connection_has_the_values_of_zeek() -> None:
    """Bytes by sequence numbers, the time without what follows the close, packets and IP bytes of all of it."""
    script = SHAKE + ", > A seq=1 ack=1 len=100, < A seq=1 ack=101 len=50, > FA seq=101 ack=51, < FA seq=51 ack=102"
    [row] = rows(segments(script + ", > A seq=102 ack=52 at=1"))
    expected = {
        "ts": 1_700_000_000.0,
        "id.orig_h": A,
        "id.orig_p": 40000,
        "id.resp_h": B,
        "id.resp_p": 443,
        "proto": "tcp",
        "service": None,
        "duration": 0.006,
        "orig_bytes": 100,
        "resp_bytes": 50,
        "conn_state": "SF",
        "local_orig": True,
        "local_resp": True,
        "missed_bytes": 0,
        "history": "ShADdFf",
        "orig_pkts": 5,
        "orig_ip_bytes": 300,
        "resp_pkts": 3,
        "resp_ip_bytes": 170,
        "tunnel_parents": None,
        "ip_proto": 6,
    }
    assert {name: round(value, 6) if name == "duration" else value for name, value in row.items()} == {
        **expected,
        "uid": row["uid"],
    }


def test_bytes_that_were_not_captured_count() -> None:
    """What was acknowledged was sent; in an established connection it is missed."""
    [row] = rows(segments(SHAKE + ", > A seq=1 ack=1 len=10, < A seq=1 ack=31"))
    assert (row["orig_bytes"], row["missed_bytes"], row["history"]) == (30, 20, "ShADaG")


def test_what_was_caught_in_the_middle_misses_nothing() -> None:
    [row] = rows(segments("> A seq=1 ack=1 len=10, < A seq=1 ack=31"))
    assert (row["orig_bytes"], row["missed_bytes"]) == (30, 0)


@pytest.mark.parametrize(
    ("frames", "state", "history"),
    [
        (QUERY, "SF", "Dd"),
        (QUERY[:1], "S0", "D"),
        (QUERY[1:], "SHR", "^d"),
        (QUERY[::-1], "SF", "^dD"),
    ],
)
def test_udp_tells_who_has_sent(frames: list[Sent], state: str, history: str) -> None:
    [row] = rows(frames)
    assert (row["conn_state"], row["history"]) == (state, history)


def test_an_instant_has_neither_duration_nor_bytes() -> None:
    """As in Zeek, for which one packet has no duration."""
    [row] = rows(QUERY[:1])
    assert (row["duration"], row["orig_bytes"], row["resp_bytes"], row["orig_pkts"]) == (None, None, None, 1)
    [row] = rows(QUERY)
    assert (row["duration"], row["orig_bytes"], row["resp_bytes"]) == (0.5, 5, 7)


def test_icmp_has_type_and_counterpart_as_ports() -> None:
    """The sender's is the type, the other the counterpart or the code; payload is what follows 8 bytes of header."""
    echo = [
        sent(0, eth(ip4(icmp(8, 0, bytes(60))))),
        sent(1, eth(ip4(icmp(0, 0, bytes(60)), B, A))),
    ]
    [row] = rows(echo)
    assert (row["id.orig_p"], row["id.resp_p"], row["orig_bytes"], row["conn_state"]) == (8, 0, 56, "OTH")
    assert row["history"] is None
    [row] = rows([sent(0, eth(ip6(icmp6(128, 0, bytes(8)), A6, B6)))])
    assert (row["proto"], row["id.orig_p"], row["id.resp_p"]) == ("icmp", 128, 129)
    [row] = rows([sent(0, eth(ip4(icmp(3, 3, bytes(30)))))])
    assert (row["id.orig_p"], row["id.resp_p"]) == (3, 3)


def test_other_protocols_have_no_ports_and_bytes() -> None:
    [row] = rows([sent(0, eth(ip4(sctp(7, 8, bytes(5))))), sent(1, eth(ip4(sctp(7, 8, bytes(5)))))])
    assert (row["proto"], row["id.orig_p"], row["id.resp_p"], row["ip_proto"]) == ("unknown_transport", 0, 0, 132)
    assert (row["orig_bytes"], row["orig_ip_bytes"], row["conn_state"]) == (0, 74, "OTH")


def test_local_is_what_is_not_routed() -> None:
    frames = [sent(0, eth(ip4(udp(40000, 53), "8.8.8.8", "192.168.1.1"))), sent(0, eth(ip6(udp(1, 2), A6, "2600::1")))]
    assert [(row["local_orig"], row["local_resp"]) for row in rows(frames)] == [(False, True), (True, False)]


def test_an_attempt_is_given_up_after_5_seconds() -> None:
    """A SYN that is sent again after that is another attempt, and direction is decided anew."""
    syns = [sent(at, eth(ip4(tcp(40000, 443, "S", 1)))) for at in (0, 1, 4.9, 5.1, 7)]
    assert [row["orig_pkts"] for row in rows(syns)] == [3, 2]
    assert len({row["uid"] for row in rows(syns)}) == 2


def test_uids_are_names_that_stay() -> None:
    """The same in every run, another for every flow."""
    first, again = (rows([*QUERY, *segments(SHAKE)]) for _ in range(2))
    uids = [row["uid"] for row in first]
    assert uids == [row["uid"] for row in again]
    assert len(set(uids)) == 2
    assert all(len(uid) == 18 and uid[0] == "C" and uid.isalnum() for uid in uids)


def test_logs_have_the_header_of_zeek() -> None:
    """Separator, fields and types; unset fields are dashes, times have six decimals, booleans are T and F."""
    lines = written(QUERY, "zeek").splitlines()
    assert lines[:6] == [
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        "#path\tconn",
        "#open\t2023-11-14-22-13-20",
    ]
    names, types, values = (line.split("\t") for line in lines[6:9])
    assert (names[0], types[0]) == ("#fields", "#types")
    assert len(names) == len(types) == len(values) + 1
    row = dict(zip(names[1:], values, strict=True))
    kinds = dict(zip(names[1:], types[1:], strict=True))
    assert (row["ts"], kinds["ts"]) == ("1700000000.000000", "time")
    assert (row["duration"], kinds["duration"]) == ("0.500000", "interval")
    assert (row["local_orig"], row["service"], kinds["tunnel_parents"]) == ("T", "-", "set[string]")
    assert lines[9:] == ["#close\t2023-11-14-22-13-20"]


def test_a_log_of_nothing_is_a_log() -> None:
    assert written([], "zeek").count("\n") == 9


def test_json_leaves_out_what_is_unset() -> None:
    """As Zeek writes it: one object a line, times as numbers."""
    [line] = written(QUERY[:1], "jsonl").splitlines()
    row = json.loads(line)
    assert row["ts"] == 1_700_000_000
    assert row["proto"] == "udp"
    assert "duration" not in row and "service" not in row


def test_only_that_schema_is_written_as_log() -> None:
    with pytest.raises(fg.ConfigError, match="format zeek is for schema zeek: flow_id is no column of that"):
        fg.extract(io.BytesIO(capture(QUERY)), io.BytesIO(), format="zeek")


def test_a_finished_table_cannot_become_a_log() -> None:
    table = fg.read(io.BytesIO(capture(QUERY)))
    with pytest.raises(fg.ConfigError, match="schema 'zeek' is made while metering"):
        fg.write(table, io.BytesIO(), schema="zeek", format="csv")
