"""The rules of docs/flow-semantics.md, "Tunnels", on hand-written packets, each proved for either meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from envelopes import frame, gre, ipip, mpls, nvgre, ppp, pppoe, vxlan
from meters import METERS, Result
from packets import (
    MAC_B,
    A,
    B,
    Layer,
    Sent,
    eth,
    fragment6,
    icmp,
    ip4,
    ip6,
    other,
    sent,
    snap,
    tcp,
    udp,
)

Meter = Callable[..., Result]

OUTER_A, OUTER_B = "192.0.2.1", "192.0.2.2"
OUTER_A6, OUTER_B6 = "2001:db8:ffff::1", "2001:db8:ffff::2"
INNER4 = ip4(udp(50000, 53, b"payload"))
INNER6 = ip6(udp(50000, 53, b"payload"))


@pytest.fixture(params=METERS, ids=lambda meter: meter.__name__)
def meter(request: pytest.FixtureRequest) -> Meter:
    """Each test runs once with either meter."""
    return request.param


def columns(result: Result, *names: str) -> list[Any]:
    """These columns of every row, in output order; one name gives values instead of tuples."""
    rows = [tuple(row[name] for name in names) for row in result.rows]
    return [row[0] for row in rows] if len(names) == 1 else rows


def around(content: Layer, **fields: Any) -> Layer:
    """The IPv4 packet of a tunnel."""
    return ip4(content, OUTER_A, OUTER_B, **fields)


def around6(content: Layer) -> Layer:
    """The IPv6 packet of a tunnel."""
    return ip6(content, OUTER_A6, OUTER_B6)


def to_port(port: int, payload: bytes, *, source: int = 49152) -> bytes:
    """A frame with a datagram to a tunnel's port."""
    return eth(around(udp(source, port, payload)))


BETWEEN: dict[str, tuple[bytes, str]] = {
    "mpls": (eth(mpls(INNER4, 16004, 24001)), "mpls:16004/mpls:24001"),
    "mpls, IPv6": (eth(mpls(INNER6, 3)), "mpls:3"),
    "mpls multicast": (eth(mpls(INNER4, 16)._replace(number=0x8848)), "mpls:16"),
    "mpls behind a tag": (eth(mpls(INNER4, 0xFFFFF), vlans=[7]), "mpls:1048575"),
    "pseudowire": (eth(mpls(eth(INNER4, vlans=[9]), 17)), "mpls:17"),
    "pseudowire with control word": (eth(mpls(bytes(4) + eth(INNER6), 17)), "mpls:17"),
    "pseudowire with an address like IPv4": (eth(mpls(eth(INNER4, destination=b"\x45" * 6), 17)), "mpls:17"),
    "pppoe": (eth(pppoe(INNER4, 0x1234)), "pppoe:4660"),
    "pppoe, IPv6": (eth(pppoe(INNER6, 1), vlans=[7, 8]), "pppoe:1"),
    "mpls in pppoe": (eth(pppoe(mpls(INNER4, 5), 1)), "pppoe:1/mpls:5"),
    "mpls behind SNAP": (snap(mpls(INNER4, 5)), "mpls:5"),
}
"""Frame and column `tunnel` of what is between link and IP."""

INSIDE: dict[str, tuple[bytes, str]] = {
    "ipip": (eth(around(ipip(INNER4))), "ipip"),
    "6in4": (eth(around(ipip(INNER6))), "6in4"),
    "4in6": (eth(around6(ipip(INNER4))), "4in6"),
    "6in6": (eth(around6(ipip(INNER6))), "6in6"),
    "gre": (eth(around(gre(INNER4))), "gre"),
    "gre, IPv6": (eth(around6(gre(INNER6))), "gre"),
    "gre with a key": (eth(around(gre(INNER4, key=7))), "gre:7"),
    "gre with key 0": (eth(around(gre(INNER4, key=0))), "gre:0"),
    "gre with checksum": (eth(around(gre(INNER4, checksum=True))), "gre"),
    "gre with everything": (eth(around(gre(INNER4, checksum=True, key=9, sequence=5))), "gre:9"),
    "gre with a frame": (eth(around(gre(frame(eth(INNER4))))), "gre"),
    "gre with a frame, key and sequence": (eth(around(gre(frame(eth(INNER4)), key=8, sequence=1))), "gre:8"),
    "gre with PPP": (eth(around(gre(ppp(INNER4)))), "gre"),
    "mpls in gre": (eth(around(gre(mpls(INNER4, 5, 6)))), "gre/mpls:5/mpls:6"),
    "nvgre": (eth(around(nvgre(eth(INNER4, vlans=[9]), 4242))), "nvgre:4242"),
    "vxlan": (to_port(4789, vxlan(eth(INNER4), 42)), "vxlan:42"),
    "vxlan of old Linux": (to_port(8472, vxlan(eth(INNER6), 0)), "vxlan:0"),
    "vxlan with group policy": (to_port(4789, vxlan(eth(INNER4), 1, flags=0x88080005)), "vxlan:1"),
    "vxlan in IPv6": (eth(around6(udp(1, 4789, vxlan(eth(INNER4), 5)))), "vxlan:5"),
    "gre in pppoe": (eth(pppoe(around(gre(INNER4)), 3)), "pppoe:3/gre"),
    "vxlan in gre": (eth(around(gre(around(udp(9, 4789, vxlan(eth(INNER4), 6)))))), "gre/vxlan:6"),
}
"""The same of what an IP packet carries."""

ALL = {**BETWEEN, **INSIDE}


@pytest.mark.parametrize(("data", "tunnel"), ALL.values(), ids=ALL)
def test_the_packet_inside_is_metered(meter: Meter, data: bytes, tunnel: str) -> None:
    """The innermost IP packet has the endpoints and lengths of the flow, and the column names what is around it."""
    result = meter([sent(0, data)])
    names = ("tunnel", "protocol", "client_port", "server_port", "payload_bytes", "frame_bytes")
    assert columns(result, *names) == [(tunnel, 17, 50000, 53, 7, len(data))]
    same = ("ip_version", "client_ip", "server_ip", "ip_bytes", "community_id")
    bare = [columns(meter([sent(0, eth(packet))]), *same) for packet in (INNER4, INNER6)]
    assert columns(result, *same) in bare
    assert result.counters["ip_length_lies"] == 0


@pytest.mark.parametrize(("data", "tunnel"), INSIDE.values(), ids=INSIDE)
def test_outer_meters_the_packet_around(meter: Meter, data: bytes, tunnel: str) -> None:
    """With tunnels="outer" no IP packet is looked into; what is between link and IP is still walked."""
    result = meter([sent(0, data)], tunnels="outer")
    assert columns(result, "client_ip")[0] in (OUTER_A, OUTER_A6)
    assert columns(result, "tunnel") == ["pppoe:3" if tunnel.startswith("pppoe") else None]


@pytest.mark.parametrize(("data", "tunnel"), BETWEEN.values(), ids=BETWEEN)
def test_outer_walks_to_the_first_packet(meter: Meter, data: bytes, tunnel: str) -> None:
    """Labels and sessions between link and IP are the same with tunnels="outer"."""
    assert columns(meter([sent(0, data)], tunnels="outer"), "tunnel", "server_port") == [(tunnel, 53)]


@pytest.mark.parametrize(("data", "tunnel"), ALL.values(), ids=ALL)
def test_a_packet_cut_anywhere_is_accounted_for(meter: Meter, data: bytes, tunnel: str) -> None:
    """A frame that is cut anywhere is metered inside, around that, or has a reason; never is there a fault."""
    frames = [sent(0, data, captured=captured) for captured in range(len(data) + 1)]
    result = meter(frames)
    assert sum(result.reasons.values()) == len(frames)
    assert result.reasons["decoder_fault"] == 0
    assert sum(columns(result, "packets")) == result.reasons["metered"]
    assert {row["tunnel"] for row in result.rows} <= {tunnel, *prefixes(tunnel)}


def prefixes(tunnel: str) -> set[str | None]:
    """What the column is where a packet is metered further outside."""
    parts = tunnel.split("/")
    return {"/".join(parts[:count]) or None for count in range(len(parts))}


PLAIN: dict[str, bytes] = {
    "vxlan without its flag": to_port(4789, vxlan(eth(INNER4), 42, flags=0)),
    "vxlan with other flags": to_port(4789, vxlan(eth(INNER4), 42, flags=0x0C000000)),
    "vxlan with reserved bits": to_port(4789, vxlan(eth(INNER4), 42, flags=0x08000001)),
    "vxlan with a reserved octet": to_port(4789, vxlan(eth(INNER4), 42, reserved=1)),
    "vxlan with an IP packet that is longer": to_port(4789, vxlan(eth(ip4(udp(1, 2), length=29)), 42)),
    "vxlan with a bad header inside": to_port(4789, vxlan(eth(ip4(udp(1, 2), words=4)), 42)),
    "vxlan with ARP": to_port(4789, vxlan(eth(Layer(0x0806, bytes(28))), 42)),
    "vxlan of a reply's port": eth(around(udp(4789, 49152, vxlan(eth(INNER4), 42)))),
    "text to the port of vxlan": to_port(4789, b"GET / HTTP/1.1 and so on, up to some length of its own"),
    "nothing to the port of vxlan": to_port(4789, b""),
    "gre with routing": eth(around(gre(INNER4, flags=0x4000))),
    "gre of another version": eth(around(gre(INNER4, flags=2))),
    "gre keepalive": eth(around(gre(Layer(0, b"")))),
    "gre with ARP": eth(around(gre(frame(eth(Layer(0x0806, bytes(28))))))),
    "gre with PPP that negotiates": eth(around(gre(Layer(0x880B, b"\xff\x03\xc0\x21\x01\x01\0\x04")))),
    "ipip with something else": eth(around(other(4, b"something else"))),
    "6in4 with IPv4": eth(around(other(41, INNER4.data + bytes(40)))),
    "ipip with a cut header": eth(around(other(4, INNER4.data[:19]))),
    "an ICMP error": eth(around(icmp(3, 1, bytes(4) + INNER4.data))),
}
"""Frames in which no packet is found."""


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_packet_without_a_packet_inside_stays_itself(meter: Meter, data: bytes) -> None:
    """Where nothing that checks out is inside, the packet is metered as any other, in every mode."""
    result = meter([sent(0, data)])
    assert columns(result, "tunnel") == [None]
    assert set(columns(result, "client_ip", "server_ip")[0]) == {OUTER_A, OUTER_B}
    assert result.rows == meter([sent(0, data)], tunnels="outer").rows


NOT_IP: dict[str, tuple[bytes, str]] = {
    "discovery": (eth(Layer(0x8863, b"\x11\x09\0\0\0\0")), "not_ip"),
    "pppoe with a code": (eth(pppoe(INNER4, 1, code=7)), "not_ip"),
    "pppoe with LCP": (eth(Layer(0x8864, b"\x11\0\0\1\0\2\xc0\x21")), "not_ip"),
    "mpls with an associated channel": (eth(mpls(b"\x10\0\0\x21" + INNER4.data, 5)), "not_ip"),
    "pseudowire with ARP": (eth(mpls(eth(Layer(0x0806, bytes(28))), 5)), "not_ip"),
    "mpls cut in a label": (eth(mpls(INNER4, 5, 6))[:21], "truncated_link"),
    "pppoe cut": (eth(pppoe(INNER4, 5))[:19], "truncated_link"),
    "mpls without anything": (eth(mpls(b"", 5)), "truncated_link"),
    "mpls with a short header": (eth(mpls(ip4(udp(1, 2), words=4), 5)), "bad_ihl"),
}


@pytest.mark.parametrize(("data", "reason"), NOT_IP.values(), ids=NOT_IP)
def test_layers_that_lead_to_no_packet_have_a_reason(meter: Meter, data: bytes, reason: str) -> None:
    """What is between link and IP and leads to none is counted with its reason."""
    assert {name: count for name, count in meter([sent(0, data)]).reasons.items() if count} == {reason: 1}


def test_columns_of_the_link_are_those_of_the_outermost_frame(meter: Meter) -> None:
    """MAC addresses and VLAN ids are those of the frame that was captured, never of a frame inside."""
    inner = eth(INNER4, b"\x0a" * 6, b"\x0b" * 6, vlans=[100, 200])
    frames = [sent(0, eth(around(udp(9, 4789, vxlan(inner, 42))), vlans=[5, 6])), sent(0, eth(mpls(inner, 7)))]
    names = ("client_mac", "server_mac", "vlan", "vlan_outer")
    macs = ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert columns(meter(frames[:1]), *names) == [(*macs, 6, 5)]
    assert columns(meter(frames[1:]), *names) == [(*macs, None, None)]


@pytest.mark.parametrize("levels", [7, 8, 9, 10])
def test_eight_encapsulations_are_walked(meter: Meter, levels: int) -> None:
    """What lies in more than eight encapsulations is metered at the deepest level reached."""
    packet = INNER4
    for level in range(levels):
        packet = ip4(ipip(packet), f"192.0.2.{level}", OUTER_B)
    result = meter([sent(0, eth(packet))])
    client = A if levels <= 8 else f"192.0.2.{levels - 9}"
    assert columns(result, "client_ip", "tunnel") == [(client, "/".join(["ipip"] * min(levels, 8)))]


@pytest.mark.parametrize("labels", [8, 9, 300])
def test_labels_beyond_the_eighth_have_no_name(meter: Meter, labels: int) -> None:
    """More than eight encapsulations between link and IP are walked, and the first eight are named."""
    result = meter([sent(0, eth(mpls(around(gre(INNER4)), *range(labels))))])
    assert columns(result, "client_ip", "tunnel") == [(OUTER_A, "/".join(f"mpls:{n}" for n in range(8)))]


def test_an_encapsulation_of_several_layers_fits_wholly_or_not(meter: Meter) -> None:
    """A packet whose encapsulations would be the eighth and ninth is not entered."""
    for labels, tunnel in ((7, "gre"), (6, "gre/mpls:1")):
        packet = mpls(around(gre(mpls(INNER4, 1))), *range(labels))
        expected = (
            "/".join([*(f"mpls:{n}" for n in range(labels)), tunnel])
            if labels < 7
            else "/".join(f"mpls:{n}" for n in range(labels))
        )
        assert columns(meter([sent(0, eth(packet))]), "tunnel") == [expected]


def overlay(seconds: float, *ids: int, back: bool = False, content: Layer | None = None) -> Sent:
    """A datagram from A to B:53, or its answer, in VXLANs of these ids, outermost first."""
    packet = content or (ip4(udp(53, 50000), B, A) if back else ip4(udp(50000, 53)))
    for vni in reversed(ids):
        ends = (OUTER_B, OUTER_A) if back else (OUTER_A, OUTER_B)
        packet = ip4(udp(40000 + back, 4789, vxlan(eth(packet), vni)), *ends)
    return sent(seconds, eth(packet, *((MAC_B,) if back else ())))


def test_a_symmetric_id_is_part_of_the_key(meter: Meter) -> None:
    """The same endpoints in another overlay network, or in none, are another flow; both directions are one."""
    frames = [overlay(0, 1), overlay(1, 2), overlay(2), overlay(3, 1, back=True), overlay(4, 2), overlay(5)]
    assert columns(meter(frames), "tunnel", "packets", "down_packets") == [
        ("vxlan:1", 2, 1),
        ("vxlan:2", 2, 0),
        (None, 2, 0),
    ]


def test_the_kind_of_a_symmetric_id_is_part_of_the_key(meter: Meter) -> None:
    """Overlays of different kinds are different networks."""
    frames = [overlay(0, 5), sent(1, eth(around(nvgre(eth(ip4(udp(50000, 53))), 5))))]
    assert columns(meter(frames), "tunnel", "packets") == [("vxlan:5", 1), ("nvgre:5", 1)]


def test_nested_symmetric_ids_are_all_part_of_the_key(meter: Meter) -> None:
    """Of overlays in overlays every id counts, and the order of them."""
    stacks = [(1, 2), (2, 1), (1, 1), (2, 2), (1,), (2,), (1, 2, 1), (0xFFFFFF, 1), (1, 0xFFFFFF)]
    frames = [overlay(turn + number / 100, *ids) for turn in range(2) for number, ids in enumerate(stacks)]
    assert columns(meter(frames), "packets") == [2] * len(stacks)


def test_ids_of_one_direction_are_not_part_of_the_key(meter: Meter) -> None:
    """Labels, sessions and keys that differ in each direction leave one flow; the column has the first packet's."""
    there, back = ip4(udp(50000, 53)), ip4(udp(53, 50000), B, A)
    pairs = [
        (eth(mpls(there, 1)), eth(mpls(back, 2, 3))),
        (eth(pppoe(there, 1)), eth(pppoe(back, 2))),
        (eth(around(gre(there, key=1))), eth(around(gre(back, key=2)))),
        (eth(around(ipip(there))), eth(back)),
    ]
    for pair in pairs:
        result = meter([sent(number, data) for number, data in enumerate(pair)])
        assert columns(result, "packets") == [2]
        assert columns(result, "tunnel") == columns(meter([sent(0, pair[0])]), "tunnel")


def test_every_part_has_the_tunnel_of_its_first_packet(meter: Meter) -> None:
    """The column is that of the record's first packet, part by part."""
    packet = ip4(udp(50000, 53))
    frames = [sent(0, eth(mpls(packet, 1))), sent(20, eth(packet)), sent(40, eth(mpls(packet, 2, 3)))]
    assert columns(meter(frames, active_timeout=10.0), "part", "tunnel") == [
        (0, "mpls:1"),
        (1, None),
        (2, "mpls:2/mpls:3"),
    ]


# Lengths


def test_padding_behind_the_packet_inside_is_not_its_payload(meter: Meter) -> None:
    """The packet inside ends where its own header says."""
    result = meter([sent(0, to_port(4789, vxlan(eth(INNER4, padding=11), 42)))])
    assert columns(result, "ip_bytes", "payload_bytes") == [(35, 7)]


def test_a_packet_longer_than_the_one_around_it_is_clamped_and_counted(meter: Meter) -> None:
    """Where a protocol number announces it, an IP packet inside that claims too much is clamped like any other."""
    result = meter(
        [
            sent(
                0,
                eth(
                    around(ipip(ip4(udp(50000, 53, bytes(10)), length=1000))),
                ),
            )
        ]
    )
    assert columns(result, "tunnel", "ip_bytes") == [("ipip", 38)]
    assert result.counters["ip_length_lies"] == 1


def test_a_lie_around_is_counted_once_and_believed_inside(meter: Meter) -> None:
    """Where the packet around was clamped, the one inside is too, and the frame is counted once."""
    data = to_port(4789, vxlan(eth(ip4(udp(50000, 53, bytes(100)))), 42))[:-60]
    result = meter([sent(0, data)])
    assert columns(result, "tunnel", "ip_bytes") == [("vxlan:42", 68)]
    assert result.counters["ip_length_lies"] == 1


# Fragments


def pieces(packet: Layer, *, identification: int = 7, seconds: float = 0) -> list[Sent]:
    """An IPv4 packet from OUTER_A to OUTER_B in fragments of 64 bytes."""
    data = packet.data
    return [
        sent(
            seconds + number / 10,
            eth(
                around(
                    Layer(packet.number, data[at : at + 64]),
                    identification=identification,
                    offset=at // 8,
                    more=at + 64 < len(data),
                )
            ),
        )
        for number, at in enumerate(range(0, len(data), 64))
    ]


@pytest.mark.parametrize(
    ("packet", "tunnel", "ports"),
    [
        (udp(40000, 4789, vxlan(eth(ip4(udp(50000, 53, bytes(100)))), 42)), "vxlan:42", (40000, 4789)),
        (gre(ip4(udp(50000, 53, bytes(100)))), "gre", (0, 0)),
    ],
)
def test_tails_of_a_packet_around_another_are_metered_outside(
    meter: Meter, packet: Layer, tunnel: str, ports: tuple[int, int]
) -> None:
    """The first fragment is metered inside, as far as it goes; its tails outside, with its ports, and counted."""
    frames = pieces(packet)
    for order in (frames, frames[1:] + frames[:1]):
        result = meter(order)
        rows = sorted(columns(result, "tunnel", "client_port", "server_port", "packets", "fragments"), key=str)
        assert rows == sorted([(tunnel, 50000, 53, 1, 0), (None, *ports, len(frames) - 1, len(frames) - 1)], key=str)
        assert result.counters["tunnel_fragment"] == len(frames) - 1
        assert result.counters["ip_length_lies"] == result.counters["orphan_fragments"] == 0


def test_tails_without_their_first_fragment_are_orphans(meter: Meter) -> None:
    """A tail that never meets its first fragment is an orphan, whatever it was part of."""
    result = meter(pieces(gre(ip4(udp(50000, 53, bytes(100)))))[1:])
    assert columns(result, "protocol", "client_ip", "tunnel") == [(47, OUTER_A, None)]
    assert (result.counters["orphan_fragments"], result.counters["tunnel_fragment"]) == (2, 0)


def test_fragments_are_whole_packets_with_outer(meter: Meter) -> None:
    """With tunnels="outer" fragments of a tunnel's packets are those of any other."""
    frames = pieces(udp(40000, 4789, vxlan(eth(ip4(udp(50000, 53, bytes(100)))), 42)))
    result = meter(frames, tunnels="outer")
    assert columns(result, "server_port", "packets") == [(4789, len(frames))]
    assert result.counters["tunnel_fragment"] == 0


def test_ipv6_fragments_around(meter: Meter) -> None:
    """The same for IPv6 around."""
    whole = udp(40000, 4789, vxlan(eth(ip4(udp(50000, 53, bytes(100)))), 42))
    frames = [
        sent(0, eth(around6(fragment6(Layer(17, whole.data[:96]), identification=5, more=True)))),
        sent(1, eth(around6(fragment6(Layer(17, whole.data[96:]), identification=5, offset=12)))),
    ]
    result = meter(frames)
    assert columns(result, "tunnel", "server_port", "packets") == [("vxlan:42", 53, 1), (None, 4789, 1)]
    assert result.counters["tunnel_fragment"] == 1


def test_fragments_inside_are_those_of_a_datagram_inside(meter: Meter) -> None:
    """Fragments inside take the ports of their first fragment inside; other networks' fragments are not theirs."""
    whole = udp(50000, 53, bytes(40))
    first = ip4(Layer(17, whole.data[:16]), identification=3, more=True)
    tail = ip4(Layer(17, whole.data[16:]), identification=3, offset=2)
    frames = [
        overlay(0, 1, content=first),
        overlay(1, 2, content=tail),
        overlay(2, 1, content=tail),
        overlay(3, 2, content=first),
    ]
    result = meter(frames)
    assert columns(result, "tunnel", "server_port", "packets", "fragments") == [
        ("vxlan:1", 53, 2, 2),
        ("vxlan:2", 53, 2, 2),
    ]
    assert result.counters["tunnel_fragment"] == 0


def test_a_fragment_inside_a_fragment(meter: Meter) -> None:
    """The first fragment around holds a first fragment inside: the tails of either find their own."""
    whole = udp(50000, 53, bytes(100))
    first = ip4(Layer(17, whole.data[:88]), identification=3, more=True)
    tail = ip4(Layer(17, whole.data[88:]), identification=3, offset=11)
    frames = [*pieces(gre(first)), sent(1, eth(around(gre(tail))))]
    for order in (frames, frames[::-1]):
        result = meter(order)
        rows = {(row["tunnel"], row["server_port"]): row["packets"] for row in result.rows}
        assert rows == {("gre", 53): 2, (None, 0): 1}
        assert result.counters["tunnel_fragment"] == 1


def test_connections_inside_are_connections(meter: Meter) -> None:
    """Flags and numbers of segments inside open and close connections."""
    flags = [("S", 1, 0), ("SA", 5, 2), ("A", 2, 6), ("FA", 2, 6), ("FA", 6, 3), ("A", 3, 7)]
    frames = []
    for number, (bits, seq, ack) in enumerate(flags):
        back = bits == "SA" or (bits, seq) == ("FA", 6)
        segment = ip4(tcp(443, 40000, bits, seq, ack), B, A) if back else ip4(tcp(40000, 443, bits, seq, ack))
        frames.append(overlay(number, 9, content=segment, back=back))
    result = meter(frames)
    assert columns(result, "end_reason", "client_by", "packets", "syn_packets") == [("fin", "syn", 6, 2)]
