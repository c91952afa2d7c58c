"""The rules of docs/flow-semantics.md on hand-written packets, each proved for the oracle and for the package.

The expectations are worked out by hand from the page; neither meter is the judge of the other here.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

import oracle
from meters import Meter, Result
from meters import oracle as slow_meter
from oracle_tcp import COLUMNS as TCP_COLUMNS
from packets import (
    A6,
    B6,
    HOUR,
    LOOP,
    MAC_A,
    MAC_B,
    MINUTE,
    NULL,
    RAW_IP,
    RAW_IPV4,
    RAW_IPV6,
    SECOND,
    SLL,
    SLL2,
    START,
    A,
    B,
    C,
    Layer,
    Sent,
    eth,
    extension,
    fragment6,
    icmp,
    icmp6,
    ip4,
    ip6,
    llc_ip,
    loopback,
    other,
    sctp,
    sent,
    sll,
    sll2,
    snap,
    tcp,
    udp,
)


def columns(result: Result, *names: str) -> list[Any]:
    """These columns of every row, in output order; one name gives values instead of tuples."""
    rows = [tuple(row[name] for name in names) for row in result.rows]
    return [row[0] for row in rows] if len(names) == 1 else rows


def reasons(result: Result) -> dict[str, int]:
    return {name: count for name, count in result.reasons.items() if count}


def up(seconds: float, flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"", **fields: Any) -> Sent:
    """A segment from A:40000 to B:443."""
    ns = fields.pop("nanoseconds", 0)
    return sent(seconds, eth(ip4(tcp(40000, 443, flags, seq, ack, payload, **fields))), nanoseconds=ns)


def down(seconds: float, flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"", **fields: Any) -> Sent:
    """A segment from B:443 to A:40000."""
    ns = fields.pop("nanoseconds", 0)
    packet = ip4(tcp(443, 40000, flags, seq, ack, payload, **fields), B, A)
    return sent(seconds, eth(packet, MAC_B, MAC_A), nanoseconds=ns)


def handshake(seconds: float = 0, **fields: Any) -> list[Sent]:
    """SYN 1000, SYN+ACK 5000, ACK."""
    return [
        up(seconds, "S", 1000, **fields),
        down(seconds, "SA", 5000, 1001, **fields),
        up(seconds, "A", 1001, 5001),
    ]


def datagram(seconds: float, payload: bytes = b"", *, nanoseconds: int = 0, port: int = 50000) -> Sent:
    """A UDP datagram from A to B:53."""
    return sent(seconds, eth(ip4(udp(port, 53, payload))), nanoseconds=nanoseconds)


def answer(seconds: float, payload: bytes = b"", *, nanoseconds: int = 0, port: int = 50000) -> Sent:
    """A UDP datagram from B:53 to A."""
    return sent(seconds, eth(ip4(udp(53, port, payload), B, A), MAC_B, MAC_A), nanoseconds=nanoseconds)


# Three lengths


def test_padding_is_frame_but_not_ip(meter: Meter) -> None:
    """Ethernet padding and trailers count as frame bytes and as nothing else."""
    result = meter([sent(0, eth(ip4(tcp(40000, 443)), padding=6))])
    assert columns(result, "frame_bytes", "ip_bytes", "payload_bytes") == [(60, 40, 0)]


def test_snapped_packets_keep_their_lengths(meter: Meter) -> None:
    """A packet that was cut when captured keeps the lengths that it had on the wire."""
    result = meter([sent(0, eth(ip4(tcp(40000, 443, payload=bytes(1000)))), captured=54)])
    assert columns(result, "frame_bytes", "ip_bytes", "payload_bytes") == [(1054, 1040, 1000)]


def test_ip_length_zero_is_what_the_wire_held(meter: Meter) -> None:
    """An IP length of 0 means original length minus the offset of the IP header, in both versions."""
    frames = [
        sent(0, eth(ip4(udp(50000, 53, bytes(100)), length=0))),
        sent(0, eth(ip6(udp(50000, 53, bytes(100)), length=0))),
    ]
    result = meter(frames)
    assert columns(result, "ip_bytes", "payload_bytes") == [(128, 100), (148, 100)]
    assert result.counters["ip_length_lies"] == 0


def test_ip_length_beyond_the_wire_is_clamped_and_counted(meter: Meter) -> None:
    """An IP length beyond what the wire held is taken as that, and counted."""
    frames = [
        sent(0, eth(ip4(tcp(40000, 443, payload=b"xyz"), length=44))),
        sent(0, eth(ip4(tcp(40000, 443, payload=b"xyz"), length=43))),
    ]
    result = meter(frames)
    assert columns(result, "ip_bytes", "payload_bytes") == [(86, 6)]
    assert result.counters["ip_length_lies"] == 1


@pytest.mark.parametrize(("said", "payload"), [(8, 0), (9, 1), (18, 10), (19, 10), (7, 10), (0, 10)])
def test_udp_payload_is_what_a_plausible_udp_length_says(meter: Meter, said: int, payload: int) -> None:
    """The UDP length counts where it is 8 or more and fits, else all that IP holds."""
    result = meter([sent(0, eth(ip4(udp(50000, 53, bytes(10), length=said))))])
    assert columns(result, "payload_bytes") == [payload]


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (sctp(5000, 5001, bytes(10)), 10),
        (icmp(8, 0, bytes(10)), 14),
        (other(47, bytes(10)), 10),
        (other(50), 0),
        (tcp(40000, 443, payload=bytes(10), offset=15), 0),
        (tcp(40000, 443, payload=bytes(10), offset=4), 10),
        (tcp(40000, 443, payload=bytes(10), offset=7), 2),
        (Layer(132, bytes.fromhex("13881389")), 0),
        (Layer(17, bytes.fromhex("c3500035")), 0),
    ],
)
def test_payload_is_what_is_above_the_transport_header(meter: Meter, content: Layer, payload: int) -> None:
    """Payload begins behind TCP's data offset (5 at least), UDP's 8, SCTP's 12 bytes, else behind IP; never below 0."""
    assert columns(meter([sent(0, eth(ip4(content)))]), "payload_bytes") == [payload]


def test_payload_of_other_protocols_begins_behind_extension_headers(meter: Meter) -> None:
    """IP options and IPv6 extension headers are no payload."""
    chain = extension(0, extension(60, extension(51, other(47, bytes(10)), units=4), units=1))
    frames = [sent(0, eth(ip6(chain))), sent(0, eth(ip4(other(47, bytes(10)), options=bytes(8))))]
    assert columns(meter(frames), "ip_bytes", "payload_bytes") == [(40 + 8 + 16 + 24 + 10, 10), (38, 10)]


def test_ipv6_payload_length_zero_is_real_when_nothing_follows(meter: Meter) -> None:
    """With next header 59 an IPv6 payload length of 0 is 0, whatever the frame has behind it."""
    result = meter([sent(0, eth(ip6(other(59)), padding=6))])
    assert columns(result, "protocol", "ip_bytes", "payload_bytes") == [(59, 40, 0)]


# Which packets are metered

GOOD = ip4(udp(50000, 53, b"payload"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (eth(Layer(0x0806, bytes(28))), "not_ip"),
        (eth(GOOD)[:13], "truncated_link"),
        (eth(GOOD, vlans=[5])[:17], "truncated_link"),
        (eth(GOOD, vlans=[5])[:18], "truncated_ip"),
        (snap(GOOD)[:16], "truncated_link"),
        (snap(GOOD)[:21], "truncated_link"),
        (snap(Layer(0x0806, bytes(28))), "not_ip"),
        (snap(GOOD).replace(b"\xaa\xaa\x03\0\0\0", b"\xaa\xaa\x03\0\0\x01"), "not_ip"),
        (eth(Layer(38, b"\x42\x42\x03" + bytes(35))), "not_ip"),
        (eth(Layer(1501, bytes(40))), "not_ip"),
        (eth(GOOD)[:33], "truncated_ip"),
        (eth(ip4(udp(1, 2), options=bytes(8)))[:41], "truncated_ip"),
        (eth(ip4(udp(1, 2), version=6)), "bad_ip_version"),
        (eth(ip4(udp(1, 2), words=4)), "bad_ihl"),
        (eth(ip4(udp(1, 2), length=19)), "bad_ip_length"),
        (eth(ip4(udp(1, 2), options=bytes(8), length=27)), "bad_ip_length"),
        (eth(ip6(udp(1, 2)))[:53], "truncated_ip"),
        (eth(ip6(udp(1, 2), version=4)), "bad_ip_version"),
        (eth(ip6(extension(0, udp(1, 2))))[:61], "truncated_extension"),
        (eth(ip6(extension(60, udp(1, 2), units=1)))[:62], "truncated_extension"),
        (eth(ip6(fragment6(udp(1, 2))))[:61], "truncated_extension"),
        (eth(ip6(extension(51, udp(1, 2), units=4)))[:77], "truncated_extension"),
        (eth(ip4(udp(1, 2)))[:37], "truncated_transport"),
        (eth(ip4(tcp(1, 2)))[:37], "truncated_transport"),
        (eth(ip4(sctp(1, 2)))[:37], "truncated_transport"),
        (eth(ip4(udp(1, 2), length=23)), "truncated_transport"),
        (eth(ip4(icmp(8)))[:35], "truncated_transport"),
        (eth(ip4(icmp(8), length=21)), "truncated_transport"),
        (eth(ip6(icmp6(128)))[:55], "truncated_transport"),
    ],
)
def test_a_packet_that_is_not_metered_has_one_reason(meter: Meter, data: bytes, reason: str) -> None:
    """A packet in no flow is counted under exactly one reason."""
    result = meter([sent(0, data)])
    assert reasons(result) == {reason: 1}
    assert result.rows == []


@pytest.mark.parametrize(
    ("data", "captured"), [(ip4(udp(1, 2, b"xyz")), 38), (ip4(tcp(1, 2, "S")), 38), (ip4(icmp(8)), 36)]
)
def test_ports_or_type_are_enough_to_be_metered(meter: Meter, data: Layer, captured: int) -> None:
    """A transport header that is cut behind its ports or its type and code is metered."""
    result = meter([sent(0, eth(data), captured=captured)])
    assert reasons(result) == {"metered": 1}


def test_a_cut_tcp_header_has_no_flags(meter: Meter) -> None:
    """Flags of a TCP header whose end was not captured count as none."""
    frames = [sent(0, eth(ip4(tcp(40000, 443, "SFR", payload=b"xyz"))), captured=captured) for captured in (53, 54)]
    names = ("syn_packets", "fin_packets", "rst_packets", "payload_bytes")
    assert columns(meter(frames[:1]), *names) == [(0, 0, 0, 3)]
    assert columns(meter(frames[1:]), *names) == [(1, 1, 1, 3)]


@pytest.mark.parametrize(
    ("data", "link", "version"),
    [
        (GOOD.data, RAW_IP, 4),
        (ip6(udp(50000, 53)).data, RAW_IP, 6),
        (GOOD.data, 12, 4),
        (GOOD.data, 14, 4),
        (GOOD.data, RAW_IPV4, 4),
        (ip6(udp(50000, 53)).data, RAW_IPV6, 6),
        (loopback(GOOD, 2, "<"), NULL, 4),
        (loopback(GOOD, 2, ">"), NULL, 4),
        (loopback(GOOD, 2, ">"), LOOP, 4),
        *((loopback(ip6(udp(50000, 53)), family, order), NULL, 6) for family in (10, 24, 28, 30) for order in "<>"),
        (sll(GOOD), SLL, 4),
        (sll(ip6(udp(50000, 53)), vlans=[7]), SLL, 6),
        (sll2(GOOD), SLL2, 4),
        (sll2(ip6(udp(50000, 53)), vlans=[7, 8]), SLL2, 6),
        (eth(GOOD, vlans=[(0x88A8, 7), (0x9100, 8), (0x8100, 9)]), 1, 4),
        (snap(ip6(udp(50000, 53))), 1, 6),
        (llc_ip(GOOD), 1, 4),
    ],
)
def test_every_link_type_leads_to_ip(meter: Meter, data: bytes, link: int, version: int) -> None:
    """IP is found behind every link header that is decoded."""
    result = meter([sent(0, data, link=link)])
    assert columns(result, "ip_version", "client_port", "server_port") == [(version, 50000, 53)]


@pytest.mark.parametrize(
    ("data", "link", "reason"),
    [
        (b"\x50" + bytes(39), RAW_IP, "bad_ip_version"),
        (b"", RAW_IP, "truncated_link"),
        (ip6(udp(1, 2)).data, RAW_IPV4, "bad_ip_version"),
        (ip4(udp(1, 2)).data + bytes(20), RAW_IPV6, "bad_ip_version"),
        (loopback(GOOD, 7), NULL, "not_ip"),
        (loopback(GOOD, 0x01000002), NULL, "not_ip"),
        (loopback(GOOD, 2, "<"), LOOP, "not_ip"),
        (loopback(GOOD, 2)[:3], NULL, "truncated_link"),
        (sll(GOOD)[:15], SLL, "truncated_link"),
        (sll2(GOOD)[:19], SLL2, "truncated_link"),
        (sll2(GOOD, vlans=[7])[:23], SLL2, "truncated_link"),
        (eth(GOOD), 147, "unknown_link"),
    ],
)
def test_other_link_headers_have_a_reason(meter: Meter, data: bytes, link: int, reason: str) -> None:
    """What is behind no link header that is known is counted with its reason."""
    assert reasons(meter([sent(0, data, link=link)])) == {reason: 1}


def test_reasons_add_up_to_the_packets_read(meter: Meter) -> None:
    """Packets read are the sum of all reasons."""
    frames = [sent(0, eth(GOOD)[:length]) for length in range(len(eth(GOOD)) + 1)]
    result = meter(frames)
    assert sum(result.reasons.values()) == len(frames)
    assert reasons(result) == {"truncated_link": 14, "truncated_ip": 20, "truncated_transport": 4, "metered": 12}


# Key


def test_both_directions_are_one_flow(meter: Meter) -> None:
    """The key is an unordered pair of address and port."""
    result = meter([datagram(0), answer(1)])
    assert columns(result, "up_packets", "down_packets") == [(1, 1)]


@pytest.mark.parametrize(
    "packet",
    [
        ip4(udp(50001, 53)),
        ip4(udp(50000, 54)),
        ip4(udp(50000, 53), C, B),
        ip4(udp(53, 50000)),
        ip4(tcp(50000, 53, "A")),
        ip6(udp(50000, 53)),
    ],
)
def test_another_endpoint_protocol_or_version_is_another_flow(meter: Meter, packet: Layer) -> None:
    """Address, port, protocol and IP version are part of the key."""
    assert columns(meter([datagram(0), sent(0, eth(packet))]), "packets") == [1, 1]


def test_mapped_addresses_are_not_ipv4(meter: Meter) -> None:
    """IPv6 packets with addresses that hold the same numbers as IPv4 ones are another flow."""
    mapped = ip6(udp(50000, 53), "::a00:1", "::a00:2")
    assert columns(meter([datagram(0), sent(0, eth(mapped))]), "ip_version", "packets") == [(4, 1), (6, 1)]


@pytest.mark.parametrize(("vlan_in_key", "flows"), [(False, 1), (True, 3)])
def test_vlan_is_part_of_the_key_on_demand(meter: Meter, vlan_in_key: bool, flows: int) -> None:
    """With vlan_in_key the innermost id separates flows; id 0 and no tag are the same."""
    stacks: list[list[int]] = [[5], [6], [6, 5], [], [0]]
    frames = [sent(0, eth(ip4(udp(50000, 53)), vlans=stack)) for stack in stacks]
    result = meter(frames, vlan_in_key=vlan_in_key)
    assert len(result.rows) == flows
    assert columns(result, "vlan", "vlan_outer")[0] == (5, 5)


@pytest.mark.parametrize(
    ("vlans", "expected"), [([], (None, None)), ([0], (None, None)), ([5, 6], (6, 5)), ([5, 0], (None, 5))]
)
def test_vlan_columns_are_the_innermost_and_the_first_tag(
    meter: Meter, vlans: list[int], expected: tuple[int | None, int | None]
) -> None:
    """vlan is the innermost tag's id, vlan_outer the first's; id 0 is none; priority bits are no id."""
    tags = [(0x8100, 0xE000 | tag) for tag in vlans]
    assert columns(meter([sent(0, eth(GOOD, vlans=tags))]), "vlan", "vlan_outer") == [expected]


ICMP_PAIRS = [(8, 0), (10, 9), (13, 14), (15, 16), (17, 18)]
ICMPV6_PAIRS = [(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)]


def ping(version: int, kind: int, *, back: bool = False, code: int = 0, seconds: float = 0) -> Sent:
    """An ICMP or ICMPv6 message from A to B or back."""
    if version == 4:
        return sent(seconds, eth(ip4(icmp(kind, code), *((B, A) if back else (A, B)))))
    return sent(seconds, eth(ip6(icmp6(kind, code), *((B6, A6) if back else (A6, B6)))))


@pytest.mark.parametrize(
    ("version", "request_type", "answer_type"),
    [(4, *pair) for pair in ICMP_PAIRS] + [(6, *pair) for pair in ICMPV6_PAIRS],
)
@pytest.mark.parametrize("answer_first", [False, True])
def test_icmp_requests_and_answers_are_one_flow_of_the_requester(
    meter: Meter, version: int, request_type: int, answer_type: int, answer_first: bool
) -> None:
    """An ICMP request and its counterpart share a flow whose client is the requester; ports are 0."""
    frames = [ping(version, request_type), ping(version, answer_type, back=True)]
    result = meter(frames[::-1] if answer_first else frames)
    names = ("client_ip", "client_by", "up_packets", "down_packets", "client_port", "server_port", "icmp_type")
    client, first = A if version == 4 else A6, answer_type if answer_first else request_type
    assert columns(result, *names) == [(client, "icmp", 1, 1, 0, 0, first)]


def test_icmp_without_counterpart_is_keyed_by_type_and_code(meter: Meter) -> None:
    """Where a type has no counterpart its code stands for the receiver's port."""
    frames = [ping(4, 3, code=1), ping(4, 3, code=3), ping(4, 3, code=1, back=True), ping(4, 3, code=1)]
    result = meter(frames)
    assert columns(result, "icmp_type", "icmp_code", "packets", "client_by") == [
        (3, 1, 2, "first"),
        (3, 3, 1, "first"),
        (3, 1, 1, "first"),
    ]


def test_icmp_by_hosts_is_one_flow_of_all_types(meter: Meter) -> None:
    """With icmp_by_hosts all ICMP of two hosts is one flow, fragments too; type and code are the first packet's."""
    answer = icmp(3, 1, bytes(40))
    parts = [(Layer(1, answer.data[:24]), True, 0), (Layer(1, answer.data[24:]), False, 3)]
    fragments = [
        sent(2, eth(ip4(part, B, A, identification=5, more=more, offset=offset))) for part, more, offset in parts
    ]
    frames = [ping(4, 8), ping(4, 0, back=True), ping(4, 3, code=3), *fragments, ping(6, 135), ping(6, 136, back=True)]
    result = meter(frames, icmp_by_hosts=True)
    names = ("icmp_type", "icmp_code", "up_packets", "down_packets", "client_port")
    assert columns(result, *names) == [(135, 0, 1, 1, 0), (8, 0, 2, 3, 0)]


def test_icmp_columns_are_null_for_other_protocols(meter: Meter) -> None:
    """icmp_type and icmp_code are null for every protocol but ICMP and ICMPv6."""
    assert columns(meter([datagram(0)]), "icmp_type", "icmp_code") == [(None, None)]


def test_other_protocols_have_ports_0(meter: Meter) -> None:
    """Protocols without ports are keyed by their addresses alone."""
    frames = [sent(0, eth(ip4(other(47, b"\0\1\2\3")))), sent(0, eth(ip4(other(47, b"\4\5\6\7"), B, A)))]
    assert columns(meter(frames), "client_port", "server_port", "packets") == [(0, 0, 2)]


def test_hosts_key_ignores_ports(meter: Meter) -> None:
    """With key=hosts a flow is an address pair and protocol; its ports are those of the record's first packet."""
    frames = [datagram(0), answer(1, port=50001), datagram(2, port=50002), *handshake(3)]
    result = meter(frames, key="hosts")
    names = ("protocol", "client_port", "server_port", "packets", "community_id", "client_by")
    assert columns(result, *names) == [(17, 50000, 53, 3, None, "port"), (6, 40000, 443, 3, None, "syn")]


def test_hosts_key_ends_no_connections(meter: Meter) -> None:
    """With key=hosts neither FINs nor RSTs nor new SYNs end a flow."""
    frames = [
        *handshake(),
        up(1, "FA", 1001, 5001),
        down(1, "FA", 5001, 1002),
        up(2, "S", 9000),
        down(3, "RA", 0, 9001),
    ]
    assert columns(meter(frames, key="hosts"), "packets", "end_reason") == [(7, "eof")]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ip4(tcp(34855, 80), "128.232.110.120", "66.35.250.204"), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (ip4(tcp(80, 34855), "66.35.250.204", "128.232.110.120"), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (ip4(udp(54585, 53), "192.168.1.52", "8.8.8.8"), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (ip4(sctp(7, 7), "192.168.170.8", "192.168.170.56"), "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
        (ip4(icmp(8), "192.168.0.89", "192.168.0.1"), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (ip4(icmp(11), "10.0.0.1", "10.0.0.2"), "1:YHxtAirCG//0OzkcVAukqKQN9xM="),
        (ip4(other(46), "10.1.12.1", "10.1.12.2"), "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
        (
            ip6(icmp6(1, 4), "3ffe:501:410:0:2c0:dfff:fe47:33e", "3ffe:507:0:1:200:86ff:fe05:80da"),
            "1:hLZd0XGWojozrvxqE0dWB1iM6R0=",
        ),
        (
            ip6(icmp6(3, 0), "3ffe:501:1800:2345::2", "3ffe:507:0:1:200:86ff:fe05:80da"),
            "1:2ObVBgIn28oZvibYZhZMBgh7WdQ=",
        ),
        (ip6(icmp6(135), "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea"), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
    ],
)
def test_community_id_is_that_of_the_specification(meter: Meter, packet: Layer, expected: str) -> None:
    """community_id equals the baseline values that the specification publishes."""
    assert columns(meter([sent(0, eth(packet))]), "community_id") == [expected]


# Fragments

BODY = udp(50000, 53, bytes(range(200)))


def piece(
    seconds: float,
    begin: int,
    end: int | None = None,
    *,
    identification: int = 7,
    version: int = 4,
    body: Layer = BODY,
    back: bool = False,
) -> Sent:
    """Bytes begin to end (None: the last) of a datagram from A to B, as a fragment."""
    content = Layer(body.number, body.data[begin:end])
    fields: dict[str, Any] = {"identification": identification, "offset": begin // 8, "more": end is not None}
    if version == 6:
        return sent(seconds, eth(ip6(fragment6(content, **fields), *((B6, A6) if back else (A6, B6)))))
    return sent(seconds, eth(ip4(content, *((B, A) if back else (A, B)), **fields)))


@pytest.mark.parametrize("version", [4, 6])
def test_tails_take_the_ports_of_their_first_fragment(meter: Meter, version: int) -> None:
    """All fragments of a datagram are in the flow of its ports and are counted as fragments."""
    result = meter(
        [piece(0, 0, 80, version=version), piece(1, 80, 160, version=version), piece(2, 160, version=version)]
    )
    names = ("client_port", "server_port", "packets", "fragments", "payload_bytes")
    assert columns(result, *names) == [(50000, 53, 3, 3, 200)]


@pytest.mark.parametrize("version", [4, 6])
def test_tails_wait_for_their_first_fragment(meter: Meter, version: int) -> None:
    """Tails that come first are metered right after the first fragment, in their order, at its time."""
    frames = [
        piece(0, 160, version=version),
        piece(1, 80, 160, version=version),
        sent(2, eth(ip4(udp(50000, 53)) if version == 4 else ip6(udp(50000, 53)))),
        piece(5, 0, 80, version=version),
    ]
    result = meter(frames)
    names = ("first_packet", "packets", "fragments", "iat_min_s", "iat_max_s", "duration_s", "clock_back")
    assert columns(result, *names) == [(3, 4, 3, 0.0, 3.0, 3.0, 0)]
    assert result.counters["orphan_fragments"] == 0


def test_icmp_tails_take_the_pseudo_ports(meter: Meter) -> None:
    """A fragmented ping and its fragmented answer are one flow."""
    request, reply = icmp(8, 0, bytes(100)), icmp(0, 0, bytes(100))
    frames = [piece(0, 0, 80, body=request), piece(0, 80, body=request)]
    frames += [piece(1, 80, body=reply, back=True), piece(1, 0, 80, body=reply, back=True)]
    result = meter(frames)
    assert columns(result, "up_packets", "down_packets", "client_port", "icmp_type") == [(2, 2, 0, 8)]


@pytest.mark.parametrize(
    "change", [{"identification": 8}, {"back": True}, {"body": tcp(50000, 53, payload=bytes(200))}, {"version": 6}]
)
def test_a_tail_of_another_datagram_is_an_orphan(meter: Meter, change: dict[str, Any]) -> None:
    """A tail of another identification, direction, protocol or version does not take the ports."""
    result = meter([piece(0, 0, 80), piece(1, 80, **change)])
    assert columns(result, "client_port", "server_port", "packets") == [(50000, 53, 1), (0, 0, 1)]
    assert result.counters["orphan_fragments"] == 1


def test_an_atomic_fragment_is_no_fragment(meter: Meter) -> None:
    """An offset of 0 with nothing to come is not a fragment, and remembers nothing."""
    frames = [
        sent(0, eth(ip4(udp(50000, 53), identification=7))),
        sent(0, eth(ip6(fragment6(udp(50000, 53), identification=7)))),
        piece(1, 80),
        piece(1, 80, version=6),
    ]
    result = meter(frames)
    assert columns(result, "client_port", "fragments") == [(50000, 0), (50000, 0), (0, 1), (0, 1)]


def test_an_orphan_is_metered_at_its_own_time(meter: Meter) -> None:
    """A tail that waits in vain is metered with ports 0 at the time at which it came."""
    result = meter([datagram(0), piece(1, 80), datagram(2), datagram(40)])
    assert columns(result, "client_port", "start", "first_packet") == [
        (0, START + SECOND, 2),
        (50000, START, 1),
    ]
    assert result.counters["orphan_fragments"] == 1


@pytest.mark.parametrize(("late", "orphans"), [(0, 0), (1, 1)])
def test_a_datagram_is_remembered_for_30_seconds_of_clock(meter: Meter, late: int, orphans: int) -> None:
    """A waiting tail meets its first fragment up to 30 s after, not 1 ns later."""
    first = piece(30, 0, 80)
    result = meter([piece(0, 80), first._replace(time=START + 30 * SECOND + late)])
    assert result.counters["orphan_fragments"] == orphans
    assert len(result.rows) == 1 + orphans


@pytest.mark.parametrize(("late", "orphans"), [(0, 0), (1, 1)])
def test_ports_are_remembered_for_30_seconds_of_clock(meter: Meter, late: int, orphans: int) -> None:
    """A tail takes the ports up to 30 s after the datagram's first packet, not 1 ns later."""
    tail = piece(30, 160)._replace(time=START + 30 * SECOND + late)
    result = meter([piece(0, 0, 80), piece(20, 80, 160), tail])
    assert result.counters["orphan_fragments"] == orphans


def test_a_later_first_fragment_replaces_the_ports(meter: Meter) -> None:
    """A tail belongs to the latest first fragment of its identification."""
    second = udp(50001, 53, bytes(200))
    result = meter([piece(0, 0, 80), piece(1, 0, 80, body=second), piece(2, 80, 160), piece(3, 160)])
    assert columns(result, "client_port", "packets") == [(50000, 1), (50001, 3)]


def test_at_most_64_tails_of_a_datagram_wait(meter: Meter) -> None:
    """The 65th tail that comes before its first fragment is an orphan at once."""
    body = udp(50000, 53, bytes(8 * 100))
    frames = [piece(index / 100, 8 * index, 8 * index + 8, body=body) for index in range(1, 66)]
    result = meter([*frames, piece(2, 0, 8, body=body)])
    assert columns(result, "client_port", "packets") == [(0, 1), (50000, 65)]
    assert result.counters["orphan_fragments"] == 1


@pytest.mark.slow
def test_at_most_65536_datagrams_are_remembered(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """When 65,537 datagrams are known the one that was seen first is forgotten and its tail is an orphan."""
    most = 65536
    if meter is slow_meter:  # the same rule, quicker
        most = 1024
        monkeypatch.setattr(oracle, "DATAGRAMS", most)
        monkeypatch.setattr(oracle, "TAILS_IN_ALL", most)
    body = udp(50000, 53, bytes(16))
    frames = [
        Sent(START, eth(ip4(Layer(17, body.data[8:]), C if high else A, identification=low, offset=1)), 50)
        for high in (0, 1)
        for low in range(most // 2)
    ]
    extra = piece(0, 8, body=body, identification=40000)
    firsts = [piece(1, 0, 8, body=body, identification=identification) for identification in (1, 0)]
    result = meter([*frames, extra, *firsts])
    by_ports = {row["client_port"]: row["packets"] for row in result.rows if row["client_ip"] == A}
    assert by_ports == {50000: 3, 0: 1 + most // 2 - 2 + 1}
    assert result.counters["orphan_fragments"] == most - 1 + 1


def test_tcp_tails_take_no_part_in_the_connection(meter: Meter) -> None:
    """A TCP tail has no flags and does not answer a SYN."""
    body = tcp(40000, 443, "S", 1000, payload=bytes(100))
    frames = [piece(0, 0, 80, body=body), piece(1, 80, body=body), up(2, "S", 7777)]
    assert columns(meter(frames), "packets", "syn_packets", "end_reason") == [(3, 2, "eof")]


def test_an_ipv6_datagram_is_known_without_its_protocol(meter: Meter) -> None:
    """An IPv6 tail whose fragment header names an extension header takes protocol and ports of its first fragment."""
    body = extension(60, udp(50000, 53, bytes(100)))
    result = meter([piece(0, 0, 80, version=6, body=body), piece(0, 80, version=6, body=body)])
    assert columns(result, "protocol", "server_port", "packets", "fragments") == [(17, 53, 2, 2)]


def test_a_step_back_forgets_datagrams(meter: Meter) -> None:
    """When the clock is set back a waiting tail is an orphan, and its first fragment comes too late."""
    tail = piece(3 * 3600, 80)
    later = [datagram(3 * 3600)._replace(time=tail.time)] * 2
    result = meter([*later, tail, *[datagram(0)] * 9, piece(1, 0, 80)], **OFF)
    assert result.counters["orphan_fragments"] == 1
    assert columns(result, "client_port", "packets") == [(50000, 12), (0, 1)]


def test_an_orphan_is_metered_before_the_boundary_that_ends_its_wait(meter: Meter) -> None:
    """An orphan meets the flows of its own clock: those that the boundary at the end of its wait would sweep."""
    opener = sent(0, eth(ip4(udp(0, 0), B, A), MAC_B, MAC_A))
    result = meter([opener, piece(15, 80), datagram(46)], idle_timeout=(10,) * 4)
    assert columns(result, "client_ip", "client_by", "end_reason", "down_packets") == [
        (B, "first", "idle", 0),
        (B, "previous", "idle", 1),
        (A, "port", "eof", 0),
    ]


def test_a_boundary_lies_before_a_waiting_tail_too(meter: Meter) -> None:
    """Rows leave at a boundary before a tail that waits, not together with those of the next boundary."""
    frames = [datagram(0, port=50001), up(1, "R", 1), piece(31, 80), datagram(61.5)]
    assert columns(meter(frames, idle_timeout=(20,) * 4), "client_port") == [40000, 50001, 0, 50000]


# Identity


def test_flow_id_is_the_offset_of_the_opening_record(meter: Meter) -> None:
    """flow_id is the byte offset of the record that opened the flow, first_packet its number."""
    frames = [datagram(0, bytes(10)), datagram(0, port=50001), datagram(1, bytes(10))]
    record = 16 + 14 + 20 + 8 + 10
    result = meter(frames)
    assert columns(result, "flow_id", "first_packet") == [(24 + record, 2), (24, 1)]


def test_parts_share_the_identity(meter: Meter) -> None:
    """All parts of a flow have its flow_id and first_packet."""
    frames = [datagram(seconds) for seconds in (0, 60, 120, 180)]
    result = meter(frames, active_timeout=100)
    names = ("flow_id", "first_packet", "part", "packets", "end_reason")
    assert columns(result, *names) == [(24, 1, 0, 2, "active"), (24, 1, 1, 2, "eof")]


# Direction


@pytest.mark.parametrize(
    ("packet", "client", "by"),
    [
        (ip4(tcp(443, 40000, "S")), A, "syn"),
        (ip4(tcp(40000, 443, "SA")), B, "synack"),
        (ip4(tcp(443, 40000, "A")), B, "port"),
        (ip4(icmp(8)), A, "icmp"),
        (ip4(icmp(0)), B, "icmp"),
        (ip4(icmp(3)), A, "first"),
        (ip4(icmp(0), destination="224.0.0.1"), A, "port"),
        (ip6(icmp6(136), destination="ff02::1"), A6, "port"),
        (ip6(icmp6(135), destination="ff02::1:ff00:2"), A6, "icmp"),
        (ip4(udp(53, 50000), destination="224.0.0.251"), A, "port"),
        (ip4(udp(53, 50000), destination="239.255.255.255"), A, "port"),
        (ip4(udp(53, 50000), destination="240.0.0.1"), "240.0.0.1", "port"),
        (ip4(udp(53, 50000), destination="255.255.255.255"), A, "port"),
        (ip6(udp(53, 50000), destination="ff02::fb"), A6, "port"),
        (ip4(udp(53, 50000)), B, "port"),
        (ip4(udp(50000, 53)), A, "port"),
        (ip4(udp(1023, 1024)), B, "port"),
        (ip4(tcp(40000, 1)), A, "port"),
        (ip4(udp(32767, 32768)), B, "port"),
        (ip4(udp(40000, 50000)), A, "first"),
        (ip4(udp(0, 40000)), B, "port"),
        (ip4(udp(0, 0)), A, "first"),
        (ip4(other(47)), A, "first"),
        (ip4(other(2), destination="224.0.0.22"), A, "port"),
        (ip4(sctp(40000, 2905)), A, "port"),
    ],
)
def test_the_first_packet_decides_the_client(meter: Meter, packet: Layer, client: str, by: str) -> None:
    """The first rule that decides names the client, and client_by names the rule."""
    assert columns(meter([sent(0, eth(packet))]), "client_ip", "client_by") == [(client, by)]


def test_a_group_mac_address_makes_the_receiver_the_server(meter: Meter) -> None:
    """A frame to a group MAC address went to the server, whatever the ports say."""
    frame = sent(0, eth(ip4(udp(53, 50000)), MAC_A, bytes.fromhex("01005e000001")))
    assert columns(meter([frame]), "client_ip", "client_by") == [(A, "port")]


def test_the_service_list_comes_before_the_port_ranges(meter: Meter) -> None:
    """A port of the service list is the server's, even where the other one is below 1024."""
    from oracle import services

    known = {port for protocol, port in services() if protocol == 6}
    service = max(port for port in known if 1024 <= port < 32768)
    unknown = next(port for port in range(1, 1024) if port not in known)
    result = meter([sent(0, eth(ip4(tcp(service, unknown, "A"))))])
    assert columns(result, "server_port", "client_by") == [(service, "port")]


def test_direction_never_changes(meter: Meter) -> None:
    """A SYN from the other side does not turn a flow around that ports have decided, nor do later parts."""
    frames = [down(0, "A", 1, 1), up(1, "A", 1, 1), down(90, "A", 1, 1), down(180, "A", 1, 1)]
    result = meter(frames, active_timeout=60)
    names = ("client_ip", "client_by", "up_packets", "down_packets")
    assert columns(result, *names) == [(A, "port", 1, 1), (A, "port", 0, 1), (A, "port", 0, 1)]


def test_macs_are_those_of_the_first_packet(meter: Meter) -> None:
    """client_mac and server_mac follow the direction, of the first packet of the record."""
    result = meter([answer(0), datagram(1)])
    assert columns(result, "client_mac", "server_mac") == [("02:00:00:00:00:01", "02:00:00:00:00:02")]


@pytest.mark.parametrize(
    ("data", "link", "expected"),
    [
        (sll(GOOD), SLL, (MAC_A.hex(":"), None)),
        (sll(ip4(udp(53, 50000))), SLL, (None, MAC_A.hex(":"))),
        (sll2(GOOD), SLL2, (MAC_A.hex(":"), None)),
        (sll(GOOD, b"\0\0\0\0"), SLL, (None, None)),
        (sll2(GOOD, b""), SLL2, (None, None)),
        (GOOD.data, RAW_IP, (None, None)),
    ],
)
def test_macs_are_null_where_the_link_has_none(
    meter: Meter, data: bytes, link: int, expected: tuple[str | None, str | None]
) -> None:
    """Linux cooked captures know the sender's address alone, raw IP none."""
    assert columns(meter([sent(0, data, link=link)]), "client_mac", "server_mac") == [expected]


def test_a_flow_after_an_idle_one_keeps_its_direction(meter: Meter) -> None:
    """A flow whose predecessor ended idle keeps its direction against the port rules, as `previous`."""
    frames = [sent(0, eth(ip4(tcp(443, 40000, "S")))), sent(121, eth(ip4(tcp(40000, 443, "A"), B, A)))]
    result = meter(frames)
    names = ("client_ip", "client_port", "client_by", "end_reason", "down_packets")
    assert columns(result, *names) == [(A, 443, "syn", "idle", 0), (A, 443, "previous", "eof", 1)]


def test_a_syn_comes_before_the_previous_direction(meter: Meter) -> None:
    """A SYN decides, also where the predecessor ended idle."""
    frames = [up(0, "S", 1), sent(121, eth(ip4(tcp(443, 40000, "S"), B, A)))]
    assert columns(meter(frames), "client_ip", "client_by") == [(A, "syn"), (B, "syn")]


def test_a_flow_that_was_gone_has_no_successor(meter: Meter) -> None:
    """A packet on a flow that is gone knows nothing of it, and decides the direction anew."""
    frames = [sent(0, eth(ip4(tcp(443, 40000, "S")))), sent(240, eth(ip4(tcp(40000, 443, "A"), B, A)), nanoseconds=1)]
    assert columns(meter(frames), "client_ip", "client_by", "end_reason") == [(A, "syn", "idle"), (B, "port", "eof")]


def test_first_is_client_makes_the_first_sender_of_a_record_the_client(meter: Meter) -> None:
    """With first_is_client the sender of the first packet of each record is its client."""
    frames = [down(0, "SA", 5000, 1001), up(1, "A", 1001, 5001), up(90, "A", 1001, 5001)]
    result = meter(frames, first_is_client=True, active_timeout=60)
    assert columns(result, "client_ip", "client_by", "up_packets") == [(B, "first", 1), (A, "first", 1)]


def test_equal_endpoints_have_one_direction(meter: Meter) -> None:
    """Packets between equal endpoints cannot be told apart: all have the direction of the first."""
    frame = sent(0, eth(ip4(tcp(7, 7, "S", 1), A, A)))
    assert columns(meter([frame, frame]), "up_packets", "down_packets", "client_by") == [(2, 0, "syn")]


# Clock


def at(*seconds: float | None) -> list[Sent]:
    """Datagrams of one flow at these times; None is a record without time."""
    return [
        Sent(None if second is None else START + round(second * SECOND), datagram(0).data, len(datagram(0).data))
        for second in seconds
    ]


OFF: dict[str, Any] = {"idle_timeout": (None, None, None, None), "active_timeout": None}


def test_clock_times_are_the_clocks(meter: Meter) -> None:
    """With clock_times a packet that comes late has the time of the clock, and timeouts are counted by that."""
    frames = [sent(1000, eth(ip4(udp(5, 6)))), *at(500, 500.5, 1100)]
    late = meter(frames, clock_times=True)
    assert columns(late, "start", "packets", "duration_s") == [
        (START + 1000 * SECOND, 1, 0.0),
        (START + 1000 * SECOND, 3, 100.0),
    ]
    assert columns(meter(frames), "packets") == [1, 1, 1, 1]


def test_a_stray_time_is_the_clocks(meter: Meter) -> None:
    """A record more than an hour ahead, with the clock's neighbourhood back within 8 records, takes the clock."""
    result = meter(at(0, 5, 5000, 6), **OFF)
    assert columns(result, "duration_s", "iat_max_s") == [(6.0, 5.0)]
    assert result.counters["clock_jump"] == 1


@pytest.mark.parametrize(("stray", "jumps"), [(8, 8), (9, 0)])
def test_a_step_is_genuine_when_none_of_8_records_comes_back(meter: Meter, stray: int, jumps: int) -> None:
    """A step of more than an hour is genuine unless one of the next 8 records is near the clock."""
    result = meter(at(0, *[5000] * stray, 1), **OFF)
    assert result.counters["clock_jump"] == jumps
    assert columns(result, "duration_s") == [1.0 if jumps else 5000.0]


@pytest.mark.parametrize(("nanoseconds", "duration"), [(0, 3600.0), (1, 1.0)])
def test_an_hour_is_not_more_than_an_hour(meter: Meter, nanoseconds: int, duration: float) -> None:
    """A step of exactly an hour is an ordinary time; 1 ns more is a jump."""
    frames = at(0, 3600, 1)
    assert frames[1].time is not None
    frames[1] = frames[1]._replace(time=frames[1].time + nanoseconds)
    result = meter(frames, **OFF)
    assert columns(result, "duration_s") == [duration]
    assert result.counters["clock_jump"] == nanoseconds


def test_the_clock_can_be_set_back(meter: Meter) -> None:
    """A genuine step backwards sets the clock: what is gone is measured from there."""
    frames = at(10000, 10000, *[0.0] * 9, 200, 250)
    result = meter(frames, idle_timeout=(100, 100, 100, 100))
    assert columns(result, "packets", "duration_s", "clock_back", "end_reason") == [(13, 10000.0, 11, "eof")]
    assert result.counters["clock_jump"] == 0


def test_the_first_record_is_not_genuine_an_hour_after_all_others(meter: Meter) -> None:
    """A first record more than an hour after each of the next 8 takes the time of the record after it."""
    result = meter(at(5000, 0, 1), **OFF)
    assert columns(result, "start", "duration_s") == [(START, 1.0)]
    assert result.counters["clock_jump"] == 1


def test_the_first_record_counts_when_one_of_the_next_is_near(meter: Meter) -> None:
    """A first record that any of the next 8 confirms is genuine; the others step back."""
    result = meter(at(5000, 0, 4000), **OFF)
    assert columns(result, "start", "duration_s") == [(START + 4000 * SECOND, 1000.0)]
    assert result.counters["clock_jump"] == 1


def test_a_lone_first_record_is_genuine(meter: Meter) -> None:
    """Without any record after it the first one starts the clock."""
    result = meter(at(5000), **OFF)
    assert columns(result, "start") == [START + 5000 * SECOND]


def test_a_record_without_time_takes_the_clock(meter: Meter) -> None:
    """A simple packet takes the running clock, which is the latest time so far, and is counted."""
    result = meter(at(0, 7, 3, None, 8), **OFF)
    assert columns(result, "packets", "duration_s", "iat_max_s", "clock_back") == [(5, 8.0, 7.0, 1)]
    assert result.counters["no_time"] == 1


def test_records_without_time_before_any_other_take_the_next_time(meter: Meter) -> None:
    """Before any time the clock is that of the first record among the next 8 that has one, else 0."""
    assert columns(meter(at(None, None, 3), **OFF), "start", "duration_s") == [(START + 3 * SECOND, 0.0)]
    assert columns(meter(at(None, None)), "start", "packets") == [(0, 2)]
    assert columns(meter(at(*[None] * 9, 3), **OFF), "start", "duration_s") == [(0, (START + 3 * SECOND) / SECOND)]


def test_records_without_time_do_not_confirm_a_step(meter: Meter) -> None:
    """Records without time are passed over when a step is judged."""
    result = meter(at(0, 5000, None, 1), **OFF)
    assert (result.counters["clock_jump"], result.counters["no_time"]) == (1, 1)
    assert columns(result, "duration_s") == [1.0]


# Boundaries and output order


def test_rows_leave_at_boundaries_in_order_of_end(meter: Meter) -> None:
    """Rows come out boundary by boundary, sorted by end, flow_id and part within each."""
    frames = [
        datagram(0, port=50002),
        datagram(0, port=50001),
        up(1, "R", 1),
        datagram(20, port=50003),
        datagram(29, port=50002),
        datagram(30, port=50001),
        datagram(59, port=50004),
    ]
    result = meter(frames)
    assert columns(result, "client_port", "end_reason") == [
        (40000, "rst"),
        (50003, "eof"),
        (50002, "eof"),
        (50001, "eof"),
        (50004, "eof"),
    ]


@pytest.mark.parametrize(("nanoseconds", "order"), [(-1, [50001, 40000]), (0, [40000, 50001])])
def test_a_boundary_lies_at_multiples_of_30_seconds_since_1970(
    meter: Meter, nanoseconds: int, order: list[int]
) -> None:
    """An interval ends where the clock reaches a multiple of 30 s since 1970: here 10, 40 and 70 s after the start."""
    assert (START + 70 * SECOND) % (30 * SECOND) == 0
    frames = [datagram(0), datagram(35), datagram(36, port=50001), up(40, "R", 1)]
    result = meter([*frames, datagram(70, nanoseconds=nanoseconds)])
    assert columns(result, "client_port") == [*order, 50000]


def test_a_closed_record_stays_until_the_boundary_after_its_5_seconds(meter: Meter) -> None:
    """A closed record whose 5 s are not over at a boundary leaves at the next one."""
    frames = [datagram(0), up(26, "R", 1), datagram(30, port=50001), datagram(31), datagram(61)]
    result = meter(frames)
    assert columns(result, "end_reason", "packets") == [("rst", 1), ("eof", 1), ("eof", 3)]
    frames = [datagram(0), up(25, "R", 1), datagram(30, port=50001), up(31, "A", 1), datagram(61)]
    assert columns(meter(frames), "end_reason") == ["rst", "eof", "late", "eof"]


def test_gone_flows_leave_at_a_boundary(meter: Meter) -> None:
    """A flow that is gone at a boundary leaves there, before one that ended earlier in another interval's order."""
    frames = [datagram(0, port=50001), datagram(100), datagram(241), datagram(242, port=50003)]
    result = meter(frames, idle_timeout=(120, 120, 120, 120))
    assert columns(result, "client_port", "end_reason") == [
        (50001, "idle"),
        (50000, "idle"),
        (50000, "eof"),
        (50003, "eof"),
    ]


def test_a_flow_leaves_when_gone_also_after_the_clock_was_set_back(meter: Meter) -> None:
    """After a step back a new flow on an old key leaves at the first boundary at which it is gone by the new clock."""
    frames = [
        *[frame._replace(time=(frame.time or 0) + 3 * HOUR) for frame in handshake()],
        *at(*[0.0] * 10),
        datagram(0.5, port=50001),
        up(1, "S", 90000),
        *at(50, 100, 150, 200, 242, 280),
    ]
    result = meter(frames, idle_timeout=(120, None, None, None))
    assert columns(result, "client_port", "end_reason", "packets") == [
        (40000, "reuse", 3),
        (40000, "idle", 1),
        (50001, "eof", 1),
        (50000, "eof", 16),
    ]


@pytest.mark.slow
def test_a_boundary_lies_before_every_2_to_the_20th_record(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """2^20 records without any clock between them make an interval too."""
    records = 2**20
    if meter is slow_meter:  # the same rule, quicker
        records = 2**10
        monkeypatch.setattr(oracle, "BOUNDARY_RECORDS", records)
    reset = up(0, "R", 1)
    empty = Sent(START, b"", 0)
    new_syn = up(0, "S", 5)
    frames = [reset, new_syn, *[empty] * (records - 2), datagram(0)]
    assert columns(meter(frames), "end_reason", "protocol") == [("rst", 6), ("eof", 6), ("eof", 17)]


# When a flow ends


@pytest.mark.parametrize(("nanoseconds", "ends"), [(0, ["eof"]), (1, ["idle", "eof"])])
def test_idle_is_more_than_the_timeout(meter: Meter, nanoseconds: int, ends: list[str]) -> None:
    """A packet exactly the idle timeout after the latest belongs to the flow, 1 ns later it opens a new one."""
    assert columns(meter([datagram(0), datagram(120, nanoseconds=nanoseconds)]), "end_reason") == ends


def test_idle_is_measured_from_the_latest_time(meter: Meter) -> None:
    """The idle timeout counts from the latest time of either direction, not from the last packet."""
    result = meter([datagram(0), answer(50), datagram(10), datagram(170)])
    assert columns(result, "end_reason", "clock_back") == [("eof", 1)]


def test_idle_timeouts_per_protocol(meter: Meter) -> None:
    """tcp, udp, icmp and other protocols have an idle timeout each."""
    packets = [ip4(tcp(40000, 443)), ip4(udp(50000, 53)), ip4(icmp(8)), ip6(icmp6(128)), ip4(sctp(1, 2))]
    frames = [sent(seconds, eth(packet)) for seconds in (0, 25) for packet in packets]
    result = meter(frames, idle_timeout=(40, 30, 20, 10))
    flows = [(row["protocol"], row["packets"]) for row in result.rows if row["end_reason"] == "eof"]
    assert sorted(flows) == [(1, 1), (6, 2), (17, 2), (58, 1), (132, 1)]


@pytest.mark.parametrize(("nanoseconds", "parts"), [(0, 1), (1, 2)])
def test_active_is_more_than_the_timeout(meter: Meter, nanoseconds: int, parts: int) -> None:
    """A packet exactly the active timeout after the part's start belongs to it, 1 ns later it opens the next."""
    frames = [datagram(0), datagram(50), datagram(100, nanoseconds=nanoseconds)]
    assert len(meter(frames, active_timeout=100).rows) == parts


def test_active_is_measured_from_the_parts_start(meter: Meter) -> None:
    """Each part has its own start, its earliest time."""
    frames = [datagram(10), datagram(5), datagram(16), datagram(25), datagram(26.5)]
    result = meter(frames, active_timeout=10)
    assert columns(result, "part", "packets", "end_reason") == [(0, 2, "active"), (1, 2, "active"), (2, 1, "eof")]


def test_timeouts_can_be_off(meter: Meter) -> None:
    """With both timeouts off a flow lasts for ever."""
    result = meter([datagram(0), datagram(3000), datagram(6000), datagram(9000)], **OFF)
    assert columns(result, "packets", "end_reason") == [(4, "eof")]


def test_a_later_part_of_n_packets_has_n_gaps(meter: Meter) -> None:
    """Parts keep latest times: the first gap of a part is to the packet before it."""
    frames = [datagram(0), answer(1), datagram(12), datagram(15)]
    result = meter(frames, active_timeout=10)
    names = ("part", "packets", "iat_min_s", "iat_max_s", "up_iat_min_s", "up_iat_max_s", "down_iat_max_s")
    assert columns(result, *names) == [
        (0, 2, 1.0, 1.0, None, None, None),
        (1, 2, 3.0, 11.0, 3.0, 12.0, None),
    ]


def test_fins_of_both_sides_close(meter: Meter) -> None:
    """A connection ends `fin` when FINs of both sides were seen, with what follows within 5 s."""
    frames = [*handshake(), up(1, "FA", 1001, 5001), down(2, "FA", 5001, 1002), up(7, "A", 1002, 5002)]
    assert columns(meter(frames), "packets", "end_reason") == [(6, "fin")]


def test_a_fin_of_one_side_does_not_close(meter: Meter) -> None:
    """Retransmitted FINs of one side leave the connection open."""
    frames = [*handshake(), up(1, "FA", 1001, 5001), up(2, "FA", 1001, 5001)]
    assert columns(meter(frames), "packets", "end_reason") == [(5, "eof")]


def closed() -> list[Sent]:
    """A connection that is closed by FINs at 2 s."""
    return [*handshake(), up(1, "FA", 1001, 5001), down(2, "FA", 5001, 1002)]


@pytest.mark.parametrize(("nanoseconds", "ends"), [(0, [("fin", 6)]), (1, [("fin", 5), ("late", 1)])])
def test_packets_later_than_5_seconds_are_late(meter: Meter, nanoseconds: int, ends: list[tuple[str, int]]) -> None:
    """Packets up to 5 s after the close belong to the record, later ones to a part that ends `late`."""
    frames = [*closed(), up(7, "A", 1002, 5002, nanoseconds=nanoseconds)]
    assert columns(meter(frames), "end_reason", "packets") == ends


def test_stragglers_do_not_extend_the_wait(meter: Meter) -> None:
    """The 5 s are counted from the close alone."""
    frames = [*closed(), up(6, "A", 1002, 5002), up(8, "A", 1002, 5002)]
    assert columns(meter(frames), "end_reason", "packets", "part") == [("fin", 6, 0), ("late", 1, 1)]


def test_late_packets_are_one_part(meter: Meter) -> None:
    """All late packets are the next part of the same flow, across boundaries and active timeouts."""
    frames = [*closed(), *[up(20 * index, "A", 1002, 5002) for index in range(1, 8)], down(150, "FA", 5001, 1002)]
    result = meter(frames, active_timeout=30)
    assert columns(result, "flow_id", "end_reason", "packets", "part") == [(24, "fin", 5, 0), (24, "late", 8, 1)]


def test_a_syn_on_a_closed_flow_opens_a_new_one(meter: Meter) -> None:
    """A SYN without ACK opens a new flow on a closed one at once, on a late one too."""
    frames = [*closed(), up(2, "S", 1000), *closed_again(10)]
    result = meter(frames)
    assert columns(result, "end_reason", "packets", "part", "client_by") == [
        ("fin", 5, 0, "syn"),
        ("reuse", 2, 0, "syn"),
        ("fin", 5, 0, "syn"),
        ("late", 1, 1, "syn"),
        ("eof", 1, 0, "syn"),
    ]


def closed_again(seconds: float) -> list[Sent]:
    """Another connection on the same ports, a late packet and a third SYN."""
    return [
        up(seconds, "A", 1001),
        up(seconds, "S", 2000),
        down(seconds, "SA", 6000, 2001),
        up(seconds, "A", 2001, 6001),
        up(seconds, "FA", 2001, 6001),
        down(seconds, "FA", 6001, 2002),
        up(seconds + 6, "A", 2002, 6002),
        up(seconds + 7, "S", 3000),
    ]


def test_a_closed_flow_ends_by_its_idle_timeout(meter: Meter) -> None:
    """A packet more than the idle timeout after the latest opens a new flow that is no successor."""
    frames = [*closed(), down(123, "A", 5002, 1002)]
    result = meter(frames)
    assert columns(result, "end_reason", "packets", "client_by") == [("fin", 5, "syn"), ("eof", 1, "port")]


def test_an_rst_closes(meter: Meter) -> None:
    """An acceptable RST ends the connection."""
    frames = [*handshake(), down(1, "R", 5001), up(10, "A", 1001, 5001)]
    assert columns(meter(frames), "end_reason", "packets") == [("rst", 4), ("late", 1)]


def test_an_rst_of_an_unseen_side_closes(meter: Meter) -> None:
    """Whatever its number, an RST is acceptable where its sender was unseen."""
    assert columns(meter([up(0, "S", 1000), down(0, "RA", 0, 1001)]), "end_reason") == ["rst"]
    assert columns(meter([up(0, "R", 12345)]), "end_reason") == ["rst"]


@pytest.mark.parametrize(
    ("seq", "end"),
    [(5000, "eof"), (5001, "rst"), (5001 + 1000 * 4, "rst"), (5001 + 1000 * 4 + 1, "eof"), (5001 + 2**31, "eof")],
)
def test_an_rst_is_acceptable_within_the_peers_window(meter: Meter, seq: int, end: str) -> None:
    """An RST's number lies from the peer's acknowledgement to that plus its scaled window."""
    frames = [
        up(0, "S", 1000, scale=2),
        down(0, "SA", 5000, 1001, scale=5),
        up(0, "A", 1001, 5001, window=1000),
        down(1, "R", seq),
    ]
    assert columns(meter(frames), "end_reason") == [end]


@pytest.mark.parametrize(("seq", "end"), [(4999, "eof"), (5000, "rst"), (5000 + 2**30, "rst"), (5001 + 2**30, "eof")])
def test_without_a_peer_an_rst_is_acceptable_within_2_to_the_30(meter: Meter, seq: int, end: str) -> None:
    """Where the peer is unseen the window begins at the sender's first number and is 2^30 wide."""
    assert columns(meter([down(0, "A", 5000, 1), down(1, "R", seq)]), "end_reason") == [end]


@pytest.mark.parametrize(("seq", "end"), [(5010, "rst"), (5011, "eof")])
def test_an_rst_at_the_senders_next_number_is_acceptable(meter: Meter, seq: int, end: str) -> None:
    """The window reaches to the sender's next number where that is later."""
    frames = [
        up(0, "S", 1000, scale=0),
        down(0, "SA", 5000, 1001, scale=0),
        up(0, "A", 1001, 5001, window=0),
        down(1, "PA", 5001, 1001, b"123456789"),
        down(1, "R", seq),
    ]
    assert columns(meter(frames), "end_reason") == [end]


@pytest.mark.parametrize(("scale", "width"), [(None, 100), (3, 100 << 3)])
@pytest.mark.parametrize("over", [0, 1])
def test_windows_are_scaled_when_both_syns_have_the_option(
    meter: Meter, scale: int | None, width: int, over: int
) -> None:
    """The window is shifted by the SYN's scale, or not at all when both SYNs are without."""
    frames = [*handshake(scale=scale), up(1, "A", 1001, 5001, window=100), down(1, "R", 5001 + width + over)]
    assert columns(meter(frames), "end_reason") == ["eof" if over else "rst"]


@pytest.mark.parametrize("over", [0, 1])
def test_windows_are_shifted_by_14_when_the_handshake_was_not_seen(meter: Meter, over: int) -> None:
    """Without both SYNs the largest scale is assumed."""
    frames = [down(0, "A", 5000, 1), up(0, "A", 1, 5001, window=2), down(1, "R", 5001 + (2 << 14) + over)]
    assert columns(meter(frames), "end_reason") == ["eof" if over else "rst"]


def test_sequence_numbers_wrap_around(meter: Meter) -> None:
    """Numbers are compared modulo 2^32."""
    top = 2**32 - 1
    frames = [
        up(0, "S", 10),
        down(0, "SA", top, 11),
        up(0, "A", 11, 0, window=10),
        down(1, "PA", 0, 11, bytes(8)),
        down(2, "R", 8),
    ]
    assert columns(meter(frames), "end_reason") == ["rst"]


def test_an_rst_tells_no_sequence_numbers(meter: Meter) -> None:
    """The number of an RST, which may be forged, is not the first of its side."""
    frames = [up(0, "S", 1000), down(1, "R", 5000), down(2, "P", 7001, 0, b"x"), down(3, "R", 5000)]
    result = meter(frames)
    assert result.counters["rst_ignored"] == 1
    assert columns(result, "end_reason") == ["eof"]


def test_a_segment_whose_numbers_are_unknown_does_not_open_a_reset_record(meter: Meter) -> None:
    """Neither a cut TCP header nor a tail nor a segment without flags shows that an RST was ignored."""
    cut = down(2, "PA", 0, 0, b"x")._replace(data=down(2, "PA", 0, 0, b"x").data[:40])
    tail = sent(2, eth(ip4(Layer(6, bytes(8)), B, A, offset=1), MAC_B, MAC_A))
    for follower in (cut, tail, down(2, "", 0, 0, b"x")):
        result = meter([up(0, "S", 1000), down(1, "R", 5000), follower])
        assert result.counters["rst_ignored"] == 0
        assert "rst" in columns(result, "end_reason")


def test_payload_in_sequence_shows_that_an_rst_was_ignored(meter: Meter) -> None:
    """Payload of the side that the RST claims to come from opens the record again."""
    frames = [*handshake(), down(1, "R", 5001), down(2, "PA", 5001, 1001, b"x"), down(20, "PA", 5002, 1001, b"y")]
    result = meter(frames)
    assert columns(result, "end_reason", "packets") == [("eof", 6)]
    assert result.counters["rst_ignored"] == 1


@pytest.mark.parametrize(
    "follower",
    [
        down(2, "A", 5001, 1001),
        down(2, "PA", 5002, 1001, b"x"),
        up(2, "PA", 1001, 5001, b"x"),
        down(2, "RA", 5001, 1001, b"reset by me"),
    ],
    ids=["no payload", "out of sequence", "the other side", "an RST"],
)
def test_other_packets_do_not_open_a_reset_record_again(meter: Meter, follower: Sent) -> None:
    """No payload, payload out of sequence, of the other side, or of an RST leaves the record closed."""
    result = meter([*handshake(), down(1, "R", 5001), follower])
    assert columns(result, "end_reason", "packets") == [("rst", 5)]
    assert result.counters["rst_ignored"] == 0


def test_payload_of_the_other_side_counts_once_the_reset_side_spoke(meter: Meter) -> None:
    """After the RST's side has sent something else, payload of its peer opens the record again too."""
    frames = [*handshake(), down(1, "R", 5001), down(2, "A", 5001, 1001), up(3, "PA", 1001, 5001, b"x")]
    result = meter(frames)
    assert columns(result, "end_reason") == ["eof"]
    assert result.counters["rst_ignored"] == 1


def test_payload_after_5_seconds_does_not_open_a_reset_record(meter: Meter) -> None:
    """After 5 s payload in sequence is late like everything else."""
    frames = [*handshake(), down(1, "R", 5001), down(6, "PA", 5001, 1001, b"x", nanoseconds=1)]
    result = meter(frames)
    assert columns(result, "end_reason", "packets") == [("rst", 4), ("late", 1)]
    assert result.counters["rst_ignored"] == 0


def test_a_new_syn_number_reuses_the_ports(meter: Meter) -> None:
    """A SYN of another initial number opens a new flow on an open one, a retransmitted SYN does not."""
    frames = [*handshake(), up(1, "S", 1000), up(2, "S", 1001)]
    result = meter(frames)
    assert columns(result, "end_reason", "packets", "client_by") == [("reuse", 4, "syn"), ("eof", 1, "syn")]


def test_unanswered_syns_are_one_flow(meter: Meter) -> None:
    """Before anything but SYNs without ACK was seen, another number does not open a new flow."""
    frames = [up(0, "S", 1000), up(1, "S", 2000), up(2, "S", 3000)]
    assert columns(meter(frames), "end_reason", "packets") == [("eof", 3)]


@pytest.mark.parametrize(("seq", "flows"), [(1000, 1), (1001, 2)])
def test_a_synack_tells_the_initial_number(meter: Meter, seq: int, flows: int) -> None:
    """Where the SYN was unseen the SYN+ACK's acknowledgement less 1 is the client's initial number."""
    assert len(meter([down(0, "SA", 5000, 1001), up(1, "S", seq)]).rows) == flows


@pytest.mark.parametrize(("seq", "flows"), [(999, 1), (998, 2), (1000, 2)])
def test_a_syn_right_before_the_first_number_is_of_the_same_connection(meter: Meter, seq: int, flows: int) -> None:
    """A SYN that was overtaken by its first data belongs to the flow."""
    assert len(meter([up(0, "A", 1000, 5001), up(1, "S", seq)]).rows) == flows


def test_a_syn_of_the_server_is_another_connection(meter: Meter) -> None:
    """A SYN from the server opens a new flow once anything but SYNs was seen."""
    result = meter([*handshake(), down(1, "S", 9000)])
    assert columns(result, "client_ip", "end_reason") == [(A, "reuse"), (B, "eof")]


def test_a_simultaneous_open_is_one_flow(meter: Meter) -> None:
    """SYNs of both sides with nothing else between them are one connection."""
    frames = [up(0, "S", 1000), down(0, "S", 5000), up(1, "SA", 1000, 5001), down(1, "SA", 5000, 1001)]
    assert columns(meter(frames), "end_reason", "up_packets", "down_packets") == [("eof", 2, 2)]


@pytest.mark.parametrize(("seq", "flows"), [(5000, 1), (6000, 2)])
def test_a_server_may_repeat_its_syn(meter: Meter, seq: int, flows: int) -> None:
    """In a simultaneous open the server's SYN, sent again, belongs to the flow; one with another number does not."""
    frames = [up(0, "S", 1000), down(0, "S", 5000), up(1, "SA", 1000, 5001), down(2, "S", seq)]
    assert len(meter(frames).rows) == flows


def test_idle_comes_before_reuse_and_reuse_before_active(meter: Meter) -> None:
    """The first test that applies names the reason: idle, then reuse, then active."""
    options = {"idle_timeout": (50, 50, 50, 50), "active_timeout": 20}
    assert columns(meter([*handshake(), up(51, "S", 9)], **options), "end_reason", "part") == [("idle", 0), ("eof", 0)]
    assert columns(meter([*handshake(), up(50, "S", 9)], **options), "end_reason", "part") == [("reuse", 0), ("eof", 0)]
    assert columns(meter([*handshake(), up(50, "A", 9)], **options), "end_reason", "part") == [
        ("active", 0),
        ("eof", 1),
    ]


def test_closed_comes_before_idle_and_active(meter: Meter) -> None:
    """A closed flow keeps its own reason whatever else has passed."""
    options = {"idle_timeout": (50, 50, 50, 50), "active_timeout": 4}
    assert columns(meter([*closed(), up(7, "A", 1002)], **options), "end_reason", "packets") == [("fin", 6)]
    assert columns(meter([*closed(), up(53, "A", 1002)], **options), "end_reason") == ["fin", "eof"]


def test_no_tcp_end_switches_connection_endings_off(meter: Meter) -> None:
    """With no_tcp_end a flow knows nothing of FIN, RST, late packets or reuse."""
    frames = [*closed(), up(20, "A", 1002), up(30, "S", 77), down(31, "R", 0)]
    assert columns(meter(frames, no_tcp_end=True), "end_reason", "packets") == [("eof", 8)]


def test_later_parts_keep_sequence_numbers(meter: Meter) -> None:
    """A part cut by the active timeout still knows initial numbers and FINs of the connection."""
    frames = [*handshake(), up(1, "FA", 1001, 5001), down(20, "A", 5001, 1002), down(21, "FA", 5001, 1002)]
    result = meter(frames, active_timeout=10)
    assert columns(result, "part", "packets", "end_reason") == [(0, 4, "active"), (1, 2, "fin")]


def test_eof_keeps_the_reason_of_gone_flows(meter: Meter) -> None:
    """At the end of input what is gone ended idle, the rest eof."""
    frames = [datagram(0), datagram(240, port=50001, nanoseconds=1)]
    assert columns(meter(frames), "client_port", "end_reason") == [(50000, "idle"), (50001, "eof")]


def test_the_least_recently_used_flow_meets_the_limit(meter: Meter) -> None:
    """When max_flows keys are known the key that was used longest ago leaves."""
    frames = [datagram(0, port=1), datagram(1, port=2), datagram(2, port=1), datagram(3, port=3), datagram(4, port=1)]
    result = meter(frames, max_flows=2)
    ends = {(row["server_port"] + row["client_port"] - 53, row["end_reason"], row["packets"]) for row in result.rows}
    assert ends == {(2, "limit", 1), (1, "eof", 3), (3, "eof", 1)}


@pytest.mark.parametrize(("second", "victim"), [(35.0, 17), (35.1, 6)])
def test_old_unanswered_syns_meet_the_limit_first(meter: Meter, second: float, victim: int) -> None:
    """An unanswered SYN more than 30 s of clock ago leaves before a flow that was used longer ago."""
    frames = [datagram(0), up(5, "S", 1), datagram(second, port=50001)]
    result = meter(frames, max_flows=2)
    assert [row["protocol"] for row in result.rows if row["end_reason"] == "limit"] == [victim]


@pytest.mark.parametrize("options", [{}, {"no_tcp_end": True}, {"key": "hosts"}])
def test_answered_connections_are_no_unanswered_syns(meter: Meter, options: dict[str, Any]) -> None:
    """A connection with anything but SYNs leaves in its turn, with every option."""
    frames = [sent(0, eth(ip4(udp(50000, 53), C))), *handshake(5), sent(50, eth(ip4(udp(50000, 53), C, A)))]
    result = meter(frames, max_flows=2, **options)
    assert [row["protocol"] for row in result.rows if row["end_reason"] == "limit"] == [17]


def test_the_limit_keeps_the_reason_of_closed_and_gone_flows(meter: Meter) -> None:
    """A flow that was closed or gone when the limit takes it keeps its own reason."""
    frames = [up(0, "R", 1), datagram(1), datagram(2, port=50001), datagram(29, port=50002)]
    assert columns(meter(frames[:3], max_flows=1), "end_reason") == ["rst", "limit", "eof"]
    options = {"max_flows": 1, "idle_timeout": (10, 10, 10, 10)}
    assert columns(meter(frames[1:], **options), "end_reason") == ["limit", "idle", "eof"]


# Time and statistics


def test_gaps_and_their_statistics(meter: Meter) -> None:
    """Gaps are to the latest time before, in flow and direction; mean and deviation are exact."""
    frames = [datagram(0), answer(1), datagram(3), answer(4.5)]
    row = meter(frames).rows[0]
    gaps = [1.0, 2.0, 1.5]
    assert (row["iat_min_s"], row["iat_max_s"], row["iat_mean_s"], row["iat_std_s"]) == (1.0, 2.0, 1.5, 0.5)
    assert row["iat_mean_s"] * 3 == pytest.approx(sum(gaps))
    assert (row["up_iat_mean_s"], row["up_iat_std_s"], row["down_iat_max_s"]) == (3.0, None, 3.5)


def test_a_packet_from_the_past_has_gap_0_and_is_counted(meter: Meter) -> None:
    """A packet earlier than the latest time is counted, its gap is 0, and start is the earliest time."""
    frames = [datagram(10), answer(12), datagram(7), answer(11), datagram(12)]
    row = meter(frames).rows[0]
    assert (row["start"], row["end"], row["clock_back"]) == (START + 7 * SECOND, START + 12 * SECOND, 2)
    assert (row["iat_mean_s"], row["up_iat_mean_s"], row["down_iat_mean_s"]) == (0.5, 1.0, 0.0)


def test_nothing_seen_is_null_and_counts_are_0(meter: Meter) -> None:
    """A direction without packets, or one packet alone, has null statistics and zero counts."""
    row = meter([datagram(0, b"xyz")], library=True).rows[0]
    empty = [name for name, value in row.items() if value is None]
    expected = [
        f"down_{series}_{name}" for series in ("ip_len", "payload_len") for name in ("min", "mean", "std", "max")
    ]
    expected += [f"{view}{series}_std" for view in ("", "up_") for series in ("ip_len", "payload_len")]
    expected += [f"{view}iat_{name}_s" for view in ("", "up_", "down_") for name in ("min", "mean", "std", "max")]
    expected += ["vlan", "vlan_outer", "tunnel", "icmp_type", "icmp_code"]
    expected += TCP_COLUMNS
    expected += [f"down_{name}" for name in ("ttl_min", "ttl_max", "dscp")] + ["up_ip_id", "down_ip_id"]
    expected += ["active_std_s"] + [f"idle_{name}_s" for name in ("min", "mean", "std", "max")]
    expected += [f"{view}bulk_{name}" for view in ("up_", "down_") for name in ("packets_mean", "bytes_mean", "rate")]
    expected += [f"down_payload_{name}" for name in ("entropy", "printable", "head")]
    expected += [f"{view}iat_p{percent}_s" for view in ("", "up_", "down_") for percent in (10, 25, 50, 75, 90)]
    expected += [f"down_ip_len_p{percent}" for percent in (10, 25, 50, 75, 90)]
    shapes = ("skewness", "kurtosis")
    expected += [f"{v}{s}_{n}" for v in ("", "up_", "down_") for s in ("ip_len", "iat") for n in shapes]
    assert sorted(empty) == sorted(expected)
    assert (row["down_packets"], row["down_payload_packets"], row["syn_packets"]) == (0, 0, 0)


def test_size_statistics(meter: Meter) -> None:
    """Sizes are of IP packets and of payloads, both directions and each; the deviation is the sample's."""
    frames = [datagram(0, bytes(10)), answer(1, bytes(100)), datagram(2), datagram(3, bytes(20))]
    row = meter(frames).rows[0]
    assert (row["ip_len_min"], row["ip_len_mean"], row["ip_len_max"]) == (28, 60.5, 128)
    assert row["ip_len_std"] == pytest.approx(math.sqrt((22.5**2 + 67.5**2 + 32.5**2 + 12.5**2) / 3), rel=1e-12)
    assert (row["up_payload_len_min"], row["up_payload_len_mean"], row["up_payload_len_max"]) == (0, 10.0, 20)
    assert (row["up_payload_len_std"], row["payload_packets"], row["up_payload_packets"]) == (10.0, 3, 2)


def test_flags_are_counted_by_direction(meter: Meter) -> None:
    """Each TCP flag is counted in both directions and in each."""
    row = meter([up(0, "SEC", 1), down(0, "SAE", 1, 2), up(0, "PAU", 2, 2)]).rows[0]
    assert [row[f"up_{flag}_packets"] for flag in ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")] == [
        *(0, 1, 0, 1, 1, 1, 1, 1)
    ]
    assert (row["syn_packets"], row["ack_packets"], row["down_ece_packets"]) == (2, 2, 1)


def test_deviation_keeps_its_digits(meter: Meter) -> None:
    """Sums are exact: a day of long gaps and one nanosecond more give the right deviation."""
    frames = [datagram(seconds) for seconds in range(0, 100 * 60, 60)] + [datagram(6000, nanoseconds=1)]
    row = meter(frames, active_timeout=None).rows[0]
    assert row["iat_std_s"] == pytest.approx(1e-10, rel=1e-12)
    assert row["iat_max_s"] * SECOND == MINUTE + 1


def test_ipv6_addresses_are_text_of_rfc_5952(meter: Meter) -> None:
    """IPv6 addresses are lower case, without leading zeros, the first longest run of zeros as '::'."""
    packet = ip6(udp(50000, 53), "2001:DB8:0:0:1:0:0:1", "2001:db8:0:1:1:1:1:1")
    assert columns(meter([sent(0, eth(packet))]), "client_ip", "server_ip") == [
        ("2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1")
    ]


def test_no_packets_are_no_rows(meter: Meter) -> None:
    """A capture without packets gives no rows and no counts."""
    result = meter([])
    assert (result.rows, reasons(result)) == ([], {})


# Early and windowed records


def test_only_the_first_packets_count(meter: Meter) -> None:
    """The record knows its first packets alone; the rest is a number, and flows end as they would without."""
    frames = [up(0, "S", 1), down(1, "SA", 1, 2), up(2, "A", 2, 2), up(3, "PA", 2, 2, b"abc"), down(4, "FA", 2, 5)]
    frames += [up(5, "FA", 5, 3), down(6, "A", 3, 6)]
    (row,) = meter(frames, first_packets=3).rows
    assert (row["packets"], row["rest_packets"], row["end_reason"]) == (3, 4, "fin")
    assert (row["payload_bytes"], row["fin_packets"], row["duration_s"]) == (0, 0, 2.0)
    assert (row["tcp_state"], row["tcp_history"]) == ("S1", "ShA")
    (row,) = meter(frames).rows
    assert "rest_packets" not in row


def test_only_the_first_seconds_count(meter: Meter) -> None:
    """A packet exactly so many seconds behind the start counts, one later does not; an earlier one again does."""
    frames = [datagram(0), datagram(2), datagram(2, nanoseconds=1), datagram(1)]
    (row,) = meter(frames, first_seconds=2.0).rows
    assert (row["packets"], row["rest_packets"], row["duration_s"]) == (3, 1, 2.0)
    assert row["clock_back"] == 1


def test_each_part_has_first_packets_of_its_own(meter: Meter) -> None:
    """A part that the active timeout begins counts its own first packets."""
    rows = meter([datagram(second) for second in range(6)], first_packets=1, active_timeout=2.5).rows
    assert [(row["part"], row["packets"], row["rest_packets"]) for row in rows] == [(0, 1, 2), (1, 1, 2)]


def test_windows_cut_at_multiples_of_the_clock(meter: Meter) -> None:
    """A record ends where its window of time does, whenever it began; a late packet stays in the record at work."""
    offset = -(START // SECOND) % 10  # so many seconds behind START a window begins
    frames = [
        datagram(offset - 1),
        datagram(offset),
        datagram(offset - 0.5),
        datagram(offset + 9),
        datagram(offset + 25),
    ]
    rows = meter(frames, window=10.0).rows
    assert [(row["part"], row["packets"], row["end_reason"]) for row in rows] == [
        *((0, 1, "window"), (1, 3, "window"), (2, 1, "eof"))
    ]
    assert len({row["flow_id"] for row in rows}) == 1
