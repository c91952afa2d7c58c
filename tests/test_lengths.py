"""Lengths of packets that were cut when captured, that a network card cut or put together, and of jumbograms."""

from __future__ import annotations

from typing import Any

import pytest

from meters import Meter, Result
from packets import Layer, eth, extension, icmp, ip4, ip6, jumbo, sctp, sent, tcp, udp

LENGTHS = ("frame_bytes", "ip_bytes", "payload_bytes")


def lengths(result: Result) -> list[tuple[int, ...]]:
    return [tuple(row[name] for name in LENGTHS) for row in result.rows]


# Cut when captured


@pytest.mark.parametrize("options", [b"", bytes(8)])
@pytest.mark.parametrize(
    ("content", "ports"),
    [
        (tcp(40000, 443, "S", payload=bytes(900)), 4),
        (udp(50000, 53, bytes(900)), 4),
        (sctp(5000, 5001, bytes(900)), 4),
        (icmp(8, 0, bytes(900)), 2),
    ],
)
def test_lengths_do_not_depend_on_the_cut(meter: Meter, content: Layer, ports: int, options: bytes) -> None:
    """Wherever behind the ports a packet is cut, its lengths are those that it had on the wire."""
    frame = eth(ip4(content, options=options))
    begin = 34 + len(options)
    (whole,) = lengths(meter([sent(0, frame)]))
    for captured in (*range(begin + ports, begin + 30), 500, len(frame) - 1):
        result = meter([sent(0, frame, captured=captured)])
        assert lengths(result) == [whole]
        assert +result.counters == {}


@pytest.mark.parametrize(
    ("captured", "payload"), [(38, 10), (41, 10), (42, 4)], ids=["ports", "half a header", "header"]
)
def test_a_cut_udp_header_tells_no_length(meter: Meter, captured: int, payload: int) -> None:
    """Where the UDP length was not captured, payload is all that IP holds."""
    frame = eth(ip4(udp(50000, 53, bytes(10), length=12)))
    assert lengths(meter([sent(0, frame, captured=captured)])) == [(52, 38, payload)]


def test_a_cut_option_leaves_the_header_as_long_as_it_was(meter: Meter) -> None:
    """The data offset says where payload begins, also where the options in front of it were not captured."""
    frame = eth(ip4(tcp(40000, 443, "S", payload=bytes(50), offset=10)))
    for captured in (54, 60, 73, len(frame)):
        assert lengths(meter([sent(0, frame, captured=captured)])) == [(104, 90, 30)]


def test_padding_behind_a_cut_is_no_traffic(meter: Meter) -> None:
    """The IP length counts where the padding behind the packet was cut off, and where it was captured."""
    frame = eth(ip4(tcp(40000, 443)), padding=6)
    for captured in (54, 57, 60):
        assert lengths(meter([sent(0, frame, captured=captured)])) == [(60, 40, 0)]


# Offloaded


@pytest.mark.parametrize("captured", [None, 96, 54])
@pytest.mark.parametrize("size", [1000, 65_535, 70_000, 200_000])
def test_a_length_of_0_is_what_the_wire_held_at_any_size(meter: Meter, size: int, captured: int | None) -> None:
    """Segmentation offload: packets with total length 0, of more than 64 KiB too."""
    frame = eth(ip4(tcp(40000, 443, payload=bytes(size)), length=0))
    assert lengths(meter([sent(0, frame, captured=captured)])) == [(size + 54, size + 40, size)]


@pytest.mark.parametrize("content", [tcp(40000, 443, payload=bytes(70_000)), udp(1, 2, bytes(70_012), length=0)])
def test_an_ipv6_length_of_0_is_what_the_wire_held(meter: Meter, content: Layer) -> None:
    """The same in IPv6 without a jumbo payload option."""
    frame = eth(ip6(content, length=0))
    payload = {6: 70_000, 17: 70_012}[content.number]
    assert lengths(meter([sent(0, frame)])) == [(70_074, 70_060, payload)]


# Jumbograms (RFC 2675)


@pytest.mark.parametrize("captured", [None, 96, 84])
@pytest.mark.parametrize("before", [b"", b"\x00", b"\x01\x01\x00", b"\x05\x02\x00\x00"])
def test_a_jumbogram_is_as_long_as_its_option_says(meter: Meter, before: bytes, captured: int | None) -> None:
    """The jumbo payload option, behind other options too, tells the length: what follows the packet is no traffic."""
    packet = jumbo(tcp(40000, 443, payload=bytes(70_000)), before=before)
    options = len(packet.data) - 70_020
    frame = eth(ip6(packet, length=0), padding=4)
    result = meter([sent(0, frame, captured=captured)])
    assert lengths(result) == [(70_078 + options, 70_060 + options, 70_000)]
    assert result.counters["ip_length_lies"] == 0


def test_a_udp_jumbogram_has_all_that_ip_holds(meter: Meter) -> None:
    """A UDP length of 0 (RFC 2675 §4) is none: payload is what the jumbogram holds."""
    frame = eth(ip6(jumbo(udp(50000, 53, bytes(70_000), length=0)), length=0), padding=4)
    assert lengths(meter([sent(0, frame)])) == [(70_074, 70_056, 70_000)]


@pytest.mark.parametrize(
    ("fields", "said", "length", "lies"),
    [
        ({"length": 0}, 65_536, 168, 1),
        ({"length": 0}, 2**32 - 1, 168, 1),
        ({"length": 0}, 65_535, 168, 0),
        ({"length": 0}, 0, 168, 0),
        ({"length": 100}, 65_536, 140, 0),
        ({}, 65_536, 164, 0),
    ],
)
def test_an_option_that_cannot_be(meter: Meter, fields: dict[str, Any], said: int, length: int, lies: int) -> None:
    """Up to 65,535 the option means nothing, nor does it beside a length; beyond the wire it is clamped and counted."""
    frame = eth(ip6(jumbo(udp(50000, 53, bytes(108)), said), **fields), padding=4)
    result = meter([sent(0, frame)])
    assert [row["ip_bytes"] for row in result.rows] == [length]
    assert result.counters["ip_length_lies"] == lies


def test_a_jumbo_option_counts_in_the_first_header_only(meter: Meter) -> None:
    """The hop-by-hop header is the first; the same option elsewhere says nothing."""
    frame = eth(ip6(extension(60, jumbo(udp(50000, 53), 65_536)), length=0), padding=4)
    assert [row["ip_bytes"] for row in meter([sent(0, frame)]).rows] == [68]


@pytest.mark.parametrize("captured", [54, 55, 56, 59, 61])
def test_a_cut_jumbo_option(meter: Meter, captured: int) -> None:
    """A hop-by-hop header that is cut ends the packet, as any other does."""
    frame = eth(ip6(jumbo(tcp(40000, 443, payload=bytes(70_000))), length=0))
    assert +meter([sent(0, frame, captured=captured)]).reasons == {"truncated_extension": 1}
