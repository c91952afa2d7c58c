"""The rules of docs/flow-semantics.md, "Tunnels", on hand-written packets, each proved for either meter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envelopes as e
from envelopes import frame, gre, ipip, mpls, nvgre, ppp, pppoe, vxlan
from flowgauge.kernels.layers import GOLDEN, NESTED
from meters import Meter, Result, differences, flowgauge, oracle
from packets import (
    MAC_B,
    A,
    B,
    Layer,
    Sent,
    eth,
    extension,
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

OUTER_A, OUTER_B = "192.0.2.1", "192.0.2.2"
OUTER_A6, OUTER_B6 = "2001:db8:ffff::1", "2001:db8:ffff::2"
INNER4 = ip4(udp(50000, 53, b"payload"))
INNER6 = ip6(udp(50000, 53, b"payload"))


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


def nine_times(data: bytes) -> bytes:
    """A frame behind nine headers of a capture."""
    for number in range(9):
        data = e.pktap(data, 258 if number else 1)
    return data


FRAME = eth(INNER4)
TEREDO6 = ip6(udp(50000, 53, b"payload"))
STATION_FRAME = e.wireless(e.llc(INNER4))


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
    "pbb": (eth(e.pbb(eth(INNER4, vlans=[9]), 0x123456)), "pbb:1193046"),
    "fabricpath": (eth(e.fabricpath(eth(INNER4, vlans=[9]))), "fabricpath"),
    "trill": (eth(e.trill(FRAME)), "trill"),
    "trill with options": (eth(e.trill(FRAME, words=31)), "trill"),
    "nsh": (eth(e.nsh(INNER4, 77)), "nsh:77"),
    "nsh with metadata and a frame": (eth(e.nsh(frame(eth(INNER6)), 1, words=6)), "nsh:1"),
    "mpls in nsh in nsh": (eth(e.nsh(e.nsh(mpls(INNER4, 4), 2), 1)), "nsh:1/nsh:2/mpls:4"),
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
    "gre with Cisco's metadata": (eth(around(gre(Layer(0x8909, b"\x08\0\1\1\0\1\0\5" + INNER4.data)))), "gre"),
    "gre in udp": (to_port(4754, gre(INNER4, key=3).data), "gre:3"),
    "pptp": (eth(around(e.pptp(ppp(INNER4, address=False), 40))), "pptp:40"),
    "pptp with acknowledgement": (eth(around(e.pptp(ppp(INNER4, short=True), 65535, acknowledged=True))), "pptp:65535"),
    "erspan of type I": (eth(around(e.erspan1(FRAME))), "erspan1"),
    "erspan of type II": (eth(around(e.erspan2(eth(INNER4, vlans=[4]), 1023))), "erspan2:1023"),
    "erspan of type III": (eth(around(e.erspan3(frame(FRAME), 5))), "erspan3:5"),
    "erspan of type III with an IP packet": (eth(around(e.erspan3(INNER6, 6, platform=True))), "erspan3:6"),
    "etherip": (eth(around(e.etherip(FRAME))), "etherip"),
    "a frame behind IPv6": (eth(ip6(extension(43, e.ethernet(eth(INNER6))), OUTER_A6, OUTER_B6)), "ethernet"),
    "mpls in IP": (eth(around(e.mpls_in_ip(mpls(INNER4, 12, 13)))), "mpls:12/mpls:13"),
    "mpls in udp": (to_port(6635, mpls(FRAME, 12).data), "mpls:12"),
    **{
        f"l2tpv3 with {size} bytes between": (eth(around(Layer(115, e.l2tpv3(FRAME, 99, between=size)))), "l2tpv3:99")
        for size in (0, 4, 8, 12)
    },
    "l2tpv3 with PPP": (eth(around(Layer(115, e.l2tpv3(ppp(INNER6).data, 1, between=4)))), "l2tpv3:1"),
    "l2tpv3 with HDLC": (eth(around(Layer(115, e.l2tpv3(e.cisco_hdlc(INNER4), 1, between=4)))), "l2tpv3:1"),
    "l2tpv3 in udp": (to_port(1701, b"\0\3\0\0" + e.l2tpv3(FRAME, 2**32 - 1)), "l2tpv3:4294967295"),
    "l2tp": (to_port(1701, e.l2tp(ppp(INNER4), 5, 7)), "l2tp:5.7"),
    "l2tp with everything": (
        to_port(1701, e.l2tp(ppp(INNER6, address=False), 65535, 1, length=True, numbers=True, offset=3)),
        "l2tp:65535.1",
    ),
    "l2tp of a reply's port": (to_port(49152, e.l2tp(ppp(INNER4), 5, 7), source=1701), "l2tp:5.7"),
    "bridged ppp": (to_port(1701, e.l2tp(e.ppp_bridged(FRAME), 1, 2)), "l2tp:1.2"),
    "bridged ppp with a LAN id": (to_port(1701, e.l2tp(e.ppp_bridged(FRAME, lan=True), 1, 2)), "l2tp:1.2"),
    "multilink ppp": (to_port(1701, e.l2tp(e.multilink(ppp(INNER4, address=False)), 1, 2)), "l2tp:1.2"),
    "gtp": (to_port(2152, e.gtp(INNER4, 0xDEADBEEF)), "gtp:3735928559"),
    "gtp of the other side": (to_port(3000, e.gtp(INNER6, 1), source=2152), "gtp:1"),
    "gtp with a sequence number": (to_port(2152, e.gtp(INNER4, 1, flags=0x32, optional=b"\0\1\0\0")), "gtp:1"),
    "gtp with extensions": (
        to_port(2152, e.gtp(INNER4, 1, flags=0x34, optional=b"\0\0\0\x85\1\x10\5\xc0\2\0\0\0\0\0\0\0")),
        "gtp:1",
    ),
    "teredo": (to_port(3544, e.teredo(TEREDO6)), "teredo"),
    "teredo from a server": (
        to_port(3545, e.teredo(TEREDO6, authentication=b"abc", origin=True), source=3544),
        "teredo",
    ),
    "teredo in gtp": (
        to_port(2152, e.gtp(around(udp(9, 3544, e.teredo(TEREDO6, origin=True))), 8)),
        "gtp:8/teredo",
    ),
    "ayiya": (to_port(5072, e.ayiya(INNER6)), "ayiya"),
    "ayiya, IPv4": (to_port(9, e.ayiya(INNER4, following=4), source=5072), "ayiya"),
    "capwap": (to_port(5247, e.capwap(FRAME)), "capwap"),
    "capwap with 802.11": (to_port(9, e.capwap(STATION_FRAME, native=True, words=4), source=5247), "capwap"),
    "capwap with swapped 802.11": (
        to_port(5247, e.capwap(e.wireless(e.llc(INNER6), swapped=True, flags=0x10), native=True)),
        "capwap",
    ),
    "vxlan-gpe": (to_port(4790, e.vxlan_gpe(INNER4, 8)), "vxlan-gpe:8"),
    "vxlan-gpe, IPv6": (to_port(4790, e.vxlan_gpe(INNER6, 8, flags=0x0E)), "vxlan-gpe:8"),
    "vxlan-gpe with a frame": (to_port(4790, e.vxlan_gpe(frame(FRAME), 8)), "vxlan-gpe:8"),
    "nsh in vxlan-gpe": (to_port(4790, e.vxlan_gpe(e.nsh(INNER4, 3), 8)), "vxlan-gpe:8/nsh:3"),
    "mpls in vxlan-gpe": (to_port(4790, e.vxlan_gpe(mpls(INNER4, 3), 8)), "vxlan-gpe:8/mpls:3"),
    "geneve": (to_port(6081, e.geneve(frame(FRAME), 0xFFFFFF)), "geneve:16777215"),
    "geneve with options": (to_port(6081, e.geneve(frame(FRAME), 1, options=bytes(252))), "geneve:1"),
    "geneve with a packet": (to_port(6081, e.geneve(INNER6, 1)), "geneve:1"),
    "tzsp": (to_port(37008, e.tzsp(FRAME)), "tzsp"),
    "tzsp with 802.11": (to_port(37008, e.tzsp(STATION_FRAME, kind=18, fields=b"")), "tzsp"),
    "gre in pppoe": (eth(pppoe(around(gre(INNER4)), 3)), "pppoe:3/gre"),
    "vxlan in gre": (eth(around(gre(around(udp(9, 4789, vxlan(eth(INNER4), 6)))))), "gre/vxlan:6"),
}
"""The same of what an IP packet carries."""

ALL = {**BETWEEN, **INSIDE}

UNNAMED: dict[str, tuple[bytes, int]] = {
    "vn-tag": (eth(e.vn_tag(INNER4)), 1),
    "hsr": (eth(e.hsr(INNER6)), 1),
    "Cisco metadata": (eth(e.cisco_metadata(INNER4), vlans=[8]), 1),
    "macsec": (eth(e.macsec(INNER4)), 1),
    "macsec with an identifier": (eth(e.macsec(INNER6, identifier=bytes(8))), 1),
    "tags in tags": (eth(e.macsec(e.cisco_metadata(e.vn_tag(INNER4)))), 1),
    "802.1H": (eth(INNER4)[:12] + b"\0\x2b\xaa\xaa\3\0\0\xf8\x08\0" + INNER4.data, 1),
    "arcnet of old": (e.arcnet(INNER4, 240), 7),
    "arcnet": (e.arcnet(INNER4, 212), 7),
    "arcnet, IPv6": (e.arcnet(INNER6, 196, split=b"\3\0\1"), 7),
    "arcnet exception": (e.arcnet(INNER4, 212, split=b"\xff\xff\xff\xd4\0\0\1"), 7),
    "arcnet on Linux": (e.arcnet(INNER4, 212, linux=True), 129),
    "arcnet of old on Linux": (e.arcnet(INNER4, 240, linux=True), 129),
    "ppp": (ppp(INNER4).data, 9),
    "ppp without address": (ppp(INNER6, address=False).data, 9),
    "ppp with a short protocol": (ppp(INNER4, address=False, short=True).data, 9),
    "ppp over serial": (ppp(INNER6, short=True).data, 50),
    "Cisco's framing on a PPP link": (e.cisco_hdlc(INNER4), 9),
    "ppp with direction": (b"\1" + ppp(INNER4).data, 204),
    "Cisco HDLC": (e.cisco_hdlc(INNER6), 104),
    "frame relay": (e.frame_relay(e.nlpid(INNER4)), 107),
    "frame relay with a long address": (e.frame_relay(e.nlpid(INNER6), address=b"\x18\x40\2\1"), 107),
    "frame relay with SNAP": (e.frame_relay(e.nlpid(Layer(0x8100, b"\0\7\x08\0" + INNER4.data)), padding=True), 107),
    "frame relay with a frame": (e.frame_relay(b"\x80" + e.bridged(FRAME, padding=0), padding=True), 107),
    "frame relay of Cisco": (b"\x18\x41\x08\0" + INNER4.data, 107),
    "atm": (e.llc(INNER4), 100),
    "atm with a frame": (b"\xaa\xaa\3" + e.bridged(FRAME, padding=2), 100),
    "atm with NLPID": (b"\xfe\xfe\3" + e.nlpid(INNER6), 100),
    "atm without LLC": (INNER4.data, 100),
    "SunATM": (b"\x82\0\0\5" + e.llc(INNER4), 123),
    "SunATM with LAN emulation": (b"\x81\0\0\5\0\1" + FRAME, 123),
    "802.11": (STATION_FRAME, 105),
    "802.11 to a station": (e.wireless(e.llc(INNER6), ways=2), 105),
    "802.11 between stations": (e.wireless(e.llc(INNER4), ways=0), 105),
    "802.11 with four addresses": (e.wireless(e.llc(INNER4), ways=3, quality=0), 105),
    "802.11 with QoS": (e.wireless(e.llc(INNER4), quality=5), 105),
    "802.11 with HT control": (e.wireless(e.llc(INNER4), quality=5, flags=0x80), 105),
    "802.11 with several frames": (e.wireless(e.aggregate(e.llc(INNER4), e.llc(INNER6)), quality=0x80), 105),
    "802.11 with a packet behind other frames": (
        e.wireless(e.aggregate(e.llc(Layer(0x0806, bytes(27))), e.llc(INNER6)), quality=0x80),
        105,
    ),
    "radiotap": (e.radiotap(STATION_FRAME), 127),
    "radiotap with FCS": (e.radiotap(STATION_FRAME, flags=0x10), 127),
    "radiotap with padding": (e.radiotap(e.wireless(e.llc(INNER4), quality=1, padded=True), flags=0x20), 127),
    "radiotap with everything": (
        e.radiotap(e.wireless(e.llc(INNER6), quality=1, padded=True), flags=0x32, time=True, words=3),
        127,
    ),
    "prism": (e.prism(STATION_FRAME), 119),
    "avs on a link of prism": (e.avs(STATION_FRAME), 119),
    "avs": (e.avs(STATION_FRAME, size=68), 163),
    "ppi": (e.ppi(STATION_FRAME, 105), 192),
    "ppi with FCS": (e.ppi(STATION_FRAME, 105, fcs=True), 192),
    "ppi with aligned fields": (e.ppi(FRAME, 1, fcs=True, aligned=True), 192),
    "pktap": (e.pktap(eth(INNER4, vlans=[5]), 1), 258),
    "pktap of old": (e.pktap(INNER6.data, 12, size=120), 149),
    "pktap with 802.11": (e.pktap(e.radiotap(STATION_FRAME), 127), 258),
    "ppi in pktap": (e.pktap(e.ppi(FRAME, 1), 192), 258),
    "ip over fc": (bytes(16) + e.llc(INNER4), 122),
    "ip over 1394": (bytes(16) + b"\x08\0" + INNER4.data, 138),
    "IPsec": (b"\0\0\0\2" + bytes(8) + INNER4.data, 109),
    "IPsec of another byte order": (b"\x18\0\0\0" + bytes(8) + INNER6.data, 109),
    "packet filter log": (b"\x3d\2" + bytes(62) + INNER4.data, 117),
    "nflog": (e.nflog(INNER4, 2), 239),
    "nflog of another byte order": (e.nflog(INNER6, 10, ">"), 239),
    "infiniband": (bytes(40) + b"\x86\xdd\0\0" + INNER6.data, 242),
}
"""Frame and link type of tags and link layers that are no encapsulation."""

NAMED_LINKS: dict[str, tuple[bytes, int, str]] = {
    "pppoe as a link": (pppoe(INNER4, 4).data, 51, "pppoe:4"),
    "mpls as a link": (mpls(INNER6, 4).data, 219, "mpls:4"),
    "mpls in ppp": (ppp(mpls(INNER4, 4)).data, 9, "mpls:4"),
    "mpls in Cisco HDLC": (e.cisco_hdlc(mpls(FRAME, 4)), 104, "mpls:4"),
    "gre in 802.11": (e.wireless(e.llc(around(gre(INNER4)))), 105, "gre"),
}


@pytest.mark.parametrize(("data", "tunnel"), ALL.values(), ids=ALL)
def test_the_packet_inside_is_metered(meter: Meter, data: bytes, tunnel: str) -> None:
    """The innermost IP packet has the endpoints and lengths of the flow, and the column names what is around it."""
    result = meter([sent(0, data)])
    names = ("tunnel", "protocol", "client_port", "server_port", "payload_bytes", "frame_bytes")
    assert columns(result, *names) == [(tunnel, 17, 50000, 53, 7, len(data))]
    assert_is_bare(meter, result)


def assert_is_bare(meter: Meter, result: Result) -> None:
    """The row is that of one of the packets on its own, but for what the link says."""
    same = ("ip_version", "client_ip", "server_ip", "client_port", "server_port", "ip_bytes", "payload_bytes")
    bare = [columns(meter([sent(0, eth(packet))]), *same, "community_id") for packet in (INNER4, INNER6)]
    assert columns(result, *same, "community_id") in bare
    assert result.counters["ip_length_lies"] == 0


@pytest.mark.parametrize(("data", "link"), UNNAMED.values(), ids=UNNAMED)
def test_tags_and_links_lead_to_ip(meter: Meter, data: bytes, link: int) -> None:
    """IP is found behind every tag and every link layer that is walked; they are no tunnels."""
    result = meter([sent(0, data, link=link)])
    assert columns(result, "tunnel", "frame_bytes") == [(None, len(data))]
    assert_is_bare(meter, result)


@pytest.mark.parametrize(("data", "link", "tunnel"), NAMED_LINKS.values(), ids=NAMED_LINKS)
def test_encapsulations_follow_any_link(meter: Meter, data: bytes, link: int, tunnel: str) -> None:
    """What is between link and IP follows any link layer, or is one."""
    result = meter([sent(0, data, link=link)])
    assert columns(result, "tunnel") == [tunnel]
    assert_is_bare(meter, result)


@pytest.mark.parametrize(("data", "link"), UNNAMED.values(), ids=UNNAMED)
def test_a_link_cut_anywhere_is_accounted_for(meter: Meter, data: bytes, link: int) -> None:
    """A frame of any link type that is cut anywhere is metered or has a reason; never is there a fault."""
    frames = [sent(0, data, captured=captured, link=link) for captured in range(len(data) + 1)]
    result = meter(frames)
    assert sum(result.reasons.values()) == len(frames)
    assert result.reasons["decoder_fault"] == result.reasons["unknown_link"] == 0
    assert {row["tunnel"] for row in result.rows} == {None}


@pytest.mark.parametrize(("data", "tunnel"), INSIDE.values(), ids=INSIDE)
def test_outer_meters_the_packet_around(meter: Meter, data: bytes, tunnel: str) -> None:
    """With tunnels="outer" no IP packet is looked into; what is between link and IP is still walked."""
    result = meter([sent(0, data)], tunnels="outer")
    assert set(columns(result, "client_ip", "server_ip")[0]) in ({OUTER_A, OUTER_B}, {OUTER_A6, OUTER_B6})
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


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ALL, *UNNAMED, *NAMED_LINKS])
def test_both_meters_agree_whatever_byte_is_changed(name: str) -> None:
    """Any byte of any header changed, in several ways: both meters see the same, and the decoder has no fault."""
    data, *rest = {**ALL, **UNNAMED, **NAMED_LINKS}[name]
    link = next((value for value in rest if isinstance(value, int)), 1)
    frames = [
        sent(0, data[:at] + bytes([value]) + data[at + 1 :], link=link)
        for at, old in enumerate(data[:-7])
        for value in {0, 255, old ^ 1, old ^ 0x10, old ^ 0x80, (old + 4) % 256} - {old}
    ]
    found = flowgauge(frames)
    assert differences(oracle(frames), found) == []
    assert found.reasons["decoder_fault"] == 0


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
    "pptp without a sequence number": eth(around(e.pptp(ppp(INNER4), 1, sequence=False))),
    "pptp with something else": eth(around(e.pptp(Layer(0x880B, b"\xff\3\0\x2d" + bytes(40)), 1))),
    "erspan of another type": eth(around(e.erspan2(FRAME, 1, version=2))),
    "erspan III of another version": eth(around(e.erspan3(frame(FRAME), 1, version=1))),
    "erspan III of another kind": eth(around(gre(Layer(0x22EB, b"\x20" + bytes(9) + b"\4\0" + FRAME), sequence=1))),
    "etherip of another version": eth(around(e.etherip(FRAME, version=2))),
    "l2tpv3 that controls": eth(around(Layer(115, e.l2tpv3(FRAME, 0)))),
    "l2tpv3 with something else": eth(around(Layer(115, e.l2tpv3(bytes(60), 1)))),
    "l2tp that controls": to_port(1701, b"\xc8\2\0\x14" + bytes(16)),
    "l2tp with another length": to_port(1701, e.l2tp(ppp(INNER4), 5, 7, length=True) + b"x"),
    "l2tp of another version": to_port(1701, b"\0\1" + e.l2tp(ppp(INNER4), 5, 7)[2:]),
    "l2tp with LCP": to_port(1701, e.l2tp(Layer(0, b"\xff\3\xc0\x21" + bytes(20)), 5, 7)),
    "a fragment of multilink ppp": to_port(1701, e.l2tp(e.multilink(ppp(INNER4), bits=0x80), 1, 2)),
    "bridged ppp of another kind": to_port(1701, e.l2tp(Layer(0, b"\0\x31\0\2" + FRAME), 1, 2)),
    "gtp that is no user data": to_port(2152, e.gtp(INNER4, 1, kind=1)),
    "gtp with another length": to_port(2152, e.gtp(INNER4, 1, length=34)),
    "gtp of another version": to_port(2152, e.gtp(INNER4, 1, flags=0x50)),
    "gtp'": to_port(2152, e.gtp(INNER4, 1, flags=0x20)),
    "gtp with an empty extension": to_port(2152, e.gtp(INNER4, 1, flags=0x34, optional=b"\0\0\0\x85\0\0\0\0")),
    "gtp with an extension that goes on": to_port(2152, e.gtp(INNER4, 1, flags=0x34, optional=b"\0\0\0\x85\xff\0\0\0")),
    "teredo with IPv4": to_port(3544, e.teredo(INNER4) + bytes(20)),
    "teredo with a longer packet": to_port(3544, e.teredo(ip6(udp(1, 2), length=9))),
    "ayiya that forwards nothing": to_port(5072, e.ayiya(INNER6, operation=2)),
    "ayiya with something else": to_port(5072, e.ayiya(INNER6, following=59)),
    "capwap in fragments": to_port(5247, e.capwap(FRAME, bits=0x80)),
    "capwap that keeps alive": to_port(5247, e.capwap(FRAME, bits=0x08)),
    "capwap that is encrypted": to_port(5247, b"\1" + bytes(60)),
    "capwap with a short header": to_port(5247, e.capwap(FRAME, words=1) + bytes(8)),
    "capwap with a beacon": to_port(5247, e.capwap(e.wireless(bytes(40), control=0x80), native=True)),
    "vxlan-gpe without a next protocol": to_port(4790, e.vxlan_gpe(INNER4, 1, flags=0x08)),
    "vxlan-gpe with something else": to_port(4790, e.vxlan_gpe(Layer(9, INNER4.data), 1)),
    "geneve of another version": to_port(6081, e.geneve(frame(FRAME), 1, version=1)),
    "geneve with a number that is no EtherType": to_port(6081, e.geneve(Layer(5, e.llc(INNER4)), 1)),
    "tzsp of another version": to_port(37008, e.tzsp(FRAME, version=2)),
    "tzsp with something else": to_port(37008, e.tzsp(FRAME, kind=7)),
    "tzsp of a reply's port": to_port(49152, e.tzsp(FRAME), source=37008),
    "mpls in udp of a reply's port": to_port(49152, mpls(INNER4, 1).data, source=6635),
    **{
        f"text to port {port}": to_port(port, b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n")
        for port in (1701, 2152, 3544, 4754, 4790, 5072, 5247, 6081, 6635, 8472, 37008)
    },
    **{f"zeros to port {port}": to_port(port, bytes(120)) for port in (1701, 2152, 3544, 4754, 5072, 5247, 6081, 6635)},
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
    "pbb cut": (eth(e.pbb(FRAME, 5))[:17], "truncated_link"),
    "fabricpath cut": (eth(e.fabricpath(FRAME))[:15], "truncated_link"),
    "trill cut": (eth(e.trill(FRAME, words=1))[:23], "truncated_link"),
    "nsh cut": (eth(e.nsh(INNER4, 1, words=6))[:37], "truncated_link"),
    "nsh of another version": (eth(Layer(0x894F, b"\x4f" + e.nsh(INNER4, 1).data[1:])), "not_ip"),
    "nsh without its own length": (eth(e.nsh(INNER4, 1)._replace(data=b"\x0f\xc1\1\1" + bytes(40))), "not_ip"),
    "nsh with something else": (eth(Layer(0x894F, b"\x0f\xc2\1\7" + bytes(40))), "not_ip"),
    "vn-tag cut": (eth(e.vn_tag(INNER4))[:19], "truncated_link"),
    "macsec cut": (eth(e.macsec(INNER4))[:21], "truncated_link"),
    "macsec that is encrypted": (eth(e.macsec(INNER4, control=0x0C)), "not_ip"),
    "SNAP with a length": (snap(Layer(40, bytes(60))), "not_ip"),
    "mpls with a short header": (eth(mpls(ip4(udp(1, 2), words=4), 5)), "bad_ihl"),
}


@pytest.mark.parametrize(("data", "reason"), NOT_IP.values(), ids=NOT_IP)
def test_layers_that_lead_to_no_packet_have_a_reason(meter: Meter, data: bytes, reason: str) -> None:
    """What is between link and IP and leads to none is counted with its reason."""
    assert {name: count for name, count in meter([sent(0, data)]).reasons.items() if count} == {reason: 1}


LINKS_WITHOUT_IP: dict[str, tuple[bytes, int, str]] = {
    "802.11 that is encrypted": (e.wireless(e.llc(INNER4), flags=0x40), 105, "not_ip"),
    "802.11 beacon": (e.wireless(bytes(40), control=0x80), 105, "not_ip"),
    "802.11 acknowledgement": (b"\xd4" + bytes(9), 105, "not_ip"),
    "802.11 without data": (e.wireless(b"", control=0x48), 105, "not_ip"),
    "802.11, a later fragment": (e.wireless(INNER4.data, fragment=1), 105, "not_ip"),
    "802.11 with frames that are not IP": (
        e.wireless(e.aggregate(e.llc(Layer(0x0806, bytes(28)))), quality=0x80),
        105,
        "not_ip",
    ),
    "radiotap of another version": (b"\1" + e.radiotap(STATION_FRAME)[1:], 127, "not_ip"),
    "radiotap that is short": (b"\0\0\7\0" + bytes(60), 127, "not_ip"),
    "radiotap that is long": (b"\0\0\xff\0" + bytes(60), 127, "truncated_link"),
    "pktap without a packet": (e.pktap(FRAME, 1, record=0), 258, "not_ip"),
    "pktap with a link that is not decoded": (e.pktap(FRAME, 147), 258, "unknown_link"),
    "pktap in pktap, nine times": (nine_times(FRAME), 258, "unknown_link"),
    "ppi that is short": (b"\0\0\7\0\1\0\0\0" + FRAME, 192, "not_ip"),
    "arcnet, a later fragment": (e.arcnet(INNER4, 212, split=b"\2\0\1"), 7, "not_ip"),
    "arcnet with ARP": (e.arcnet(INNER4, 213), 7, "not_ip"),
    "Cisco HDLC that keeps alive": (b"\x8f\0\x80\x35" + bytes(20), 104, "not_ip"),
    "Cisco HDLC with a length": (b"\x0f\0\0\x40" + e.llc(INNER4), 104, "not_ip"),
    "ppp with LCP": (b"\xff\3\xc0\x21" + bytes(20), 9, "not_ip"),
    "frame relay with an odd first byte": (b"\x19\x41\3\xcc" + INNER4.data, 107, "not_ip"),
    "frame relay with LMI": (e.frame_relay(b"\x08" + bytes(20)), 107, "not_ip"),
    "SunATM with other traffic": (b"\x85\0\0\5" + bytes(20), 123, "not_ip"),
    "atm with something else": (b"\x10" + bytes(40), 100, "bad_ip_version"),
    "nflog of another version": (b"\2\1" + e.nflog(INNER4, 2)[2:], 239, "not_ip"),
    "nflog with an empty attribute": (b"\2\0\0\0" + bytes(20), 239, "not_ip"),
    "nflog without a packet": (e.nflog(INNER4, 2)[:20], 239, "truncated_link"),
    "nflog of another family": (e.nflog(INNER4, 7), 239, "not_ip"),
    "IPsec of another family": (bytes(40), 109, "not_ip"),
    "LLC that is not SNAP": (b"\xaa\xaa\xe3" + bytes(20), 100, "not_ip"),
    "SNAP of another organisation": (b"\xaa\xaa\3\0\0\x0c\x20\0" + bytes(20), 100, "not_ip"),
}


@pytest.mark.parametrize(("data", "link", "reason"), LINKS_WITHOUT_IP.values(), ids=LINKS_WITHOUT_IP)
def test_links_without_a_packet_have_a_reason(meter: Meter, data: bytes, link: int, reason: str) -> None:
    """A frame of another link type that holds no IP packet is counted with its reason."""
    result = meter([sent(0, data, link=link)])
    assert {name: count for name, count in result.reasons.items() if count} == {reason: 1}


@pytest.mark.parametrize(
    ("data", "source", "destination"),
    [
        (e.wireless(e.llc(INNER4), ways=ways, quality=quality), e.SOURCE, e.DESTINATION)
        for ways in range(4)
        for quality in (None, 0)
    ]
    + [(e.wireless(e.aggregate(e.llc(INNER4)), quality=0x80, ways=3), e.SOURCE, e.DESTINATION)],
)
def test_addresses_of_802_11(meter: Meter, data: bytes, source: bytes, destination: bytes) -> None:
    """MAC addresses of 802.11 are those of source and destination, whichever way the frame goes."""
    result = meter([sent(0, data, link=105)])
    assert columns(result, "client_mac", "server_mac") == [(source.hex(":"), destination.hex(":"))]


@pytest.mark.parametrize("trailer", [eth(e.macsec(ip4(udp(50000, 53, b"payload"), length=0))), None])
def test_a_trailer_is_not_on_the_wire_of_ip(meter: Meter, trailer: bytes | None) -> None:
    """Check values behind a frame are not counted where the IP length is unknown."""
    packet = ip4(udp(50000, 53, b"payload"), length=0)
    frames = [
        sent(0, trailer) if trailer else sent(0, e.radiotap(e.wireless(e.llc(packet)), flags=0x10), link=127),
    ]
    assert columns(meter(frames), "ip_bytes") == [35]


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


def test_networks_in_networks_are_told_apart() -> None:
    """Two ids, each in another, that differ by up to 2^15 never give the same realm: their mix cannot cancel out."""
    apart = np.arange(1, (1 << 15) + 1, dtype=np.uint64)
    shift = apart * GOLDEN % NESTED
    assert (np.minimum(shift, NESTED - shift) > 1 << 15).all()


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
