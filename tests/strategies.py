"""Hypothesis strategies for captures that put every rule under stress, and for the options that go with them.

Everything is drawn from small sets, the plainest value first: keys collide, sequence numbers meet,
waits land on a timeout or 1 ns beside it, and failures shrink to a few plain packets.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.strategies import SearchStrategy

import envelopes as e
from packets import (
    A6,
    B6,
    ETHERNET,
    HOUR,
    LOOP,
    MAC_A,
    MAC_B,
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
    jumbo,
    llc_ip,
    loopback,
    other,
    sctp,
    sll,
    sll2,
    snap,
    tcp,
    udp,
)

Frames = list[Sent]

EFFORT = float(os.environ.get("FLOWGAUGE_EXAMPLES", "1"))


def examples(number: int) -> settings:
    """So many captures, times the effort that the environment asks for."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=max(5, round(number * EFFORT)), deadline=None, suppress_health_check=slow)


class Wire(NamedTuple):
    """A frame without its time."""

    data: bytes
    length: int
    link: int = ETHERNET


# Times: the timeouts of `options`, the constants of the rules, and 1 ns to either side

WAITS = [0, 1_000_000, *(SECOND * seconds for seconds in (1, 5, 10, 20, 15, 30, 40, 120, 240, 1800))]
STEPS_BACK = [-1, -SECOND, -20 * SECOND]
JUMPS = [HOUR, HOUR + 1, 2 * HOUR, -HOUR, -HOUR - 1, -2 * HOUR]


def waits(*, jumps: bool = False) -> SearchStrategy[int]:
    """ns from one packet to the next."""
    exact = st.sampled_from(WAITS + STEPS_BACK + (JUMPS if jumps else []))
    return st.builds(int.__add__, exact, st.sampled_from([0, 0, 1, -1]))


def conversations(
    wires: SearchStrategy[Wire], *, jumps: bool = False, timeless: bool = False, max_size: int = 30
) -> SearchStrategy[Frames]:
    """Frames with times; `jumps` steps over hours, `timeless` has records without time among them."""
    missing = st.sampled_from([False] * 5 + [True]) if timeless else st.just(False)
    steps = st.lists(st.tuples(waits(jumps=jumps), missing, wires), min_size=1, max_size=max_size)
    return steps.map(_timed)


def _timed(steps: list[tuple[int, bool, Wire]]) -> Frames:
    times = accumulate((wait for wait, _, _ in steps), initial=START)
    next(times)
    first_link = steps[0][2].link
    frames = []
    for time, (_, missing, wire) in zip(times, steps, strict=True):
        simple = missing and wire.link == first_link and wire.length == len(wire.data)
        frames.append(Sent(None if simple else time, *wire))
    return frames


# Packets

HOSTS4 = [A, B, C, "224.0.0.1", "255.255.255.255"]
HOSTS6 = [A6, B6, "ff02::1", "::ffff:10.0.0.1", "::", "::a00:1"]
PORTS = [40000, 443, 53, 0, 1023, 1024, 8080, 32767, 32768]
FLAGS = ["S", "SA", "A", "PA", "FA", "R", "RA", "F", "", "SF", "SR", "FR", "FRA", "SRA", "SFRPAUEC"]
NUMBERS = [0, 1, 2, 3, 4, 5, 8, 2**32 - 1, 2**32 - 2, 2**30, 2**30 + 1, 2**31, 2**31 + 1]
SIZES = [0, 1, 2, 3, 100]


def payloads() -> SearchStrategy[bytes]:
    return st.sampled_from(SIZES).map(bytes)


def _port_pairs(few: bool = False) -> SearchStrategy[tuple[int, int]]:
    ports = st.sampled_from(PORTS[:2] if few else PORTS)
    return st.tuples(ports, ports)


def segments(ports: SearchStrategy[tuple[int, int]]) -> SearchStrategy[Layer]:
    """TCP segments of all flags whose numbers meet, overtake and wrap around."""
    fields = st.fixed_dictionaries(
        {
            "flags": st.sampled_from(FLAGS),
            "seq": st.sampled_from(NUMBERS),
            "ack": st.sampled_from(NUMBERS),
            "payload": st.sampled_from(SIZES[:4]).map(bytes),
            "window": st.sampled_from([65535, 0, 1, 2, 3]),
            "scale": st.sampled_from([None, 0, 1, 14, 15]),
            "mss": st.sampled_from([None, None, 0, 1460]),
            "sack": st.booleans(),
        }
    )
    return st.builds(lambda pair, values: tcp(*pair, **values), ports, fields)


def transports(version: int) -> SearchStrategy[Layer]:
    """Every protocol that has rules of its own, and some that have none."""
    pairs, kinds = _port_pairs(), st.integers(0, 18) | st.integers(127, 146)
    codes = st.integers(0, 3)
    return st.one_of(
        st.builds(lambda pair, payload: udp(*pair, payload), pairs, payloads()),
        st.builds(lambda pair, payload, said: udp(*pair, payload, length=said), pairs, payloads(), st.integers(0, 20)),
        segments(pairs),
        st.builds(lambda pair, payload: sctp(*pair, payload), pairs, payloads()),
        st.builds(icmp if version == 4 else icmp6, kinds, codes, payloads()),
        st.builds(other, st.sampled_from([47, 50, 59, 2, 1, 58, 51, 0]), payloads()),
    )


def packets4() -> SearchStrategy[Layer]:
    """IPv4 packets, with options, wrong lengths and fragment bits."""
    fields = st.fixed_dictionaries(
        {},
        optional={
            "options": st.sampled_from([bytes(4), bytes(40)]),
            "length": st.integers(0, 70),
            "version": st.sampled_from([6, 5]),
            "words": st.integers(0, 15),
            "identification": st.integers(0, 2),
            "offset": st.integers(0, 2),
            "more": st.booleans(),
        },
    )
    host = st.sampled_from(HOSTS4)
    plain = st.builds(ip4, transports(4), host, host)
    return plain | st.builds(
        lambda content, a, b, values: ip4(content, a, b, **values), transports(4), host, host, fields
    )


def packets6() -> SearchStrategy[Layer]:
    """IPv6 packets, with chains of extension headers, wrong lengths and fragment headers."""
    headers = st.one_of(
        st.builds(
            lambda kind, units: lambda content: extension(kind, content, units=units),
            st.sampled_from([0, 43, 60, 51]),
            st.integers(0, 4),
        ),
        st.builds(
            lambda identification, offset, more: (
                lambda content: fragment6(content, identification=identification, offset=offset, more=more)
            ),
            st.integers(0, 2),
            st.integers(0, 2),
            st.booleans(),
        ),
        st.builds(
            lambda length, before: lambda content: jumbo(content, length, before=before),
            st.sampled_from([65535, 65536, 10**6, 2**32 - 1, None]),
            st.sampled_from([b"", b"\0", b"\1\1\0", b"\5\2\0\0", b"\xc2\3\0\0\0", b"\1\xff"]),
        ),
    )
    host = st.sampled_from(HOSTS6)
    lengths = st.none() | st.just(0) | st.integers(0, 70)

    def build(content: Layer, chain: list[Any], source: str, destination: str, length: int | None) -> Layer:
        for header in chain:
            content = header(content)
        return ip6(content, source, destination, length=length)

    return st.builds(build, transports(6), st.lists(headers, max_size=3), host, host, lengths)


# Frames

TAG_TYPES = [0x8100, 0x88A8, 0x9100]
MACS = [MAC_A, MAC_B, b"\xff" * 6, bytes.fromhex("01005e000001")]


def _tags() -> SearchStrategy[list[tuple[int, int]]]:
    tag = st.tuples(st.sampled_from(TAG_TYPES), st.sampled_from([5, 6, 0, 0xE005, 0xF000]))
    return st.lists(tag, max_size=3)


def _frame(content: Layer, link: int, variant: int, tags: list[tuple[int, int]], macs: tuple[bytes, bytes]) -> bytes:
    """A packet behind a link header; `variant` chooses among those that a link type has."""
    if link in RARE_LINKS:
        return RARE_LINKS[link][variant % len(RARE_LINKS[link])](content)
    families = {0x0800: [2, 2, 7], 0x86DD: [24, 28, 30, 10]}
    if link == ETHERNET:
        plain = eth(content, *macs, vlans=tags, padding=4 * (variant % 2))
        return [plain, plain, snap(content, *macs), llc_ip(content, *macs)][variant]
    if link in (SLL, SLL2):
        return (sll if link == SLL else sll2)(content, macs[0][: 6 if variant else 4], vlans=tags)
    if link in (NULL, LOOP):
        family = families.get(content.number, [9])
        return loopback(content, family[variant % len(family)], "><"[variant % 2])
    return content.data


RARE_LINKS: dict[int, list[Callable[[Layer], bytes]]] = {
    9: [lambda content: _in_ppp(content).data, e.cisco_hdlc],
    51: [lambda content: e.pppoe(_only_ip(content), 3).data],
    100: [e.llc, lambda content: b"\xaa\xaa\3" + e.bridged(eth(content), padding=2), lambda content: content.data],
    104: [e.cisco_hdlc],
    105: [
        lambda content: e.wireless(e.llc(content), ways=3, quality=0),
        lambda content: e.wireless(e.aggregate(e.llc(Layer(0x0806, bytes(9))), e.llc(content)), quality=0x80),
        lambda content: e.wireless(e.llc(content), flags=0x80, quality=1),
    ],
    107: [lambda content: e.frame_relay(e.nlpid(content), padding=True)],
    127: [
        lambda content: e.radiotap(e.wireless(e.llc(content), quality=1, padded=True), flags=0x30, time=True, words=2),
        lambda content: e.radiotap(e.wireless(e.llc(content))),
    ],
    129: [lambda content: e.arcnet(content, 212, linux=True)],
    192: [lambda content: e.ppi(eth(content), 1, fcs=True, aligned=True), lambda content: e.ppi(content.data, 101)],
    239: [lambda content: e.nflog(content, 2), lambda content: e.nflog(content, 10, ">")],
    258: [lambda content: e.pktap(eth(content), 1), lambda content: e.pktap(e.pktap(content.data, 12), 258)],
}
"""Link types that few captures have, and the ways of writing them."""


def frames(content: SearchStrategy[Layer], *, rare: bool = False) -> SearchStrategy[tuple[bytes, int]]:
    """Link header and packet, with the link type."""
    usual = [ETHERNET] * 8 + [RAW_IP, 12, 14, RAW_IPV4, RAW_IPV6, NULL, LOOP, SLL, SLL2, 147]
    links = st.sampled_from([ETHERNET] * 12 + list(RARE_LINKS) if rare else usual)
    mac = st.sampled_from(MACS)
    return st.builds(
        lambda packet, link, variant, tags, macs: (_frame(packet, link, variant, tags, macs), link),
        content,
        links,
        st.integers(0, 3),
        st.just([]) | _tags(),
        st.tuples(mac, mac),
    )


@st.composite
def damaged(draw: st.DrawFn, whole: SearchStrategy[tuple[bytes, int]], reach: int = 100) -> Wire:
    """A frame that is cut at any byte, has a byte changed, or lies about its length on the wire."""
    data, link = draw(whole)
    length = len(data)
    harm = draw(st.sampled_from(["none", "cut", "byte", "longer", "shorter", "cut and byte"]))
    if "byte" in harm and data:
        at = draw(st.integers(0, min(len(data), reach) - 1))
        data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
    if "cut" in harm:
        data = data[: draw(st.integers(0, len(data)))]
    if harm == "longer":
        length += draw(st.integers(1, 2000))
    if harm == "shorter":
        length = draw(st.integers(0, length))
    return Wire(data, length, link)


# Packets in packets

OUTER4, OUTER6 = ["192.0.2.1", "192.0.2.2"], ["2001:db8:ffff::1", "2001:db8:ffff::2"]


def _only_ip(content: Layer) -> Layer:
    """The packet, or one in its place where a header has no number for what it is."""
    return content if content.number in (0x0800, 0x86DD) else ip4(other(59))


def _in_ppp(content: Layer) -> Layer:
    return e.ppp(_only_ip(content), short=True)


LAYERS: list[Callable[[Layer, int], Layer]] = [
    lambda content, number: e.mpls(content if content.number in (0x0800, 0x86DD) else eth(content), number),
    lambda content, number: e.mpls(bytes(4) + eth(content, vlans=[number]), number, 9),
    lambda content, number: e.pppoe(_only_ip(content), number),
    lambda content, number: e.pbb(eth(content), number),
    lambda content, number: e.nsh(_only_ip(content), number),
    lambda content, number: e.trill(eth(content), words=number),
    lambda content, number: e.macsec(content, identifier=bytes(8) * number),
    lambda content, number: e.vn_tag(content),
]
"""What wraps a packet, or something that wraps one, between link and IP; with an id."""

CARRIED: list[Callable[[Layer, int], Layer]] = [
    lambda content, number: e.ipip(_only_ip(content)),
    lambda content, number: e.gre(content),
    lambda content, number: e.gre(content, key=number, checksum=bool(number & 1), sequence=7),
    lambda content, number: e.gre(_in_ppp(content)),
    lambda content, number: e.nvgre(eth(content), number),
    lambda content, number: e.pptp(_in_ppp(content), number, acknowledged=bool(number & 1)),
    lambda content, number: e.erspan1(eth(content)),
    lambda content, number: e.erspan2(eth(content, vlans=[number]), number),
    lambda content, number: e.erspan3(_only_ip(content), number, platform=bool(number & 1)),
    lambda content, number: e.etherip(eth(content)),
    lambda content, number: e.ethernet(eth(content)),
    lambda content, number: e.mpls_in_ip(e.mpls(content, number)),
    lambda content, number: Layer(115, e.l2tpv3(eth(content), 5, between=4 * number)),
    lambda content, number: udp(49152, 4789, e.vxlan(eth(content), number)),
    lambda content, number: udp(49152, 8472, e.vxlan(eth(content, vlans=[3]), number, flags=0x88000001)),
    lambda content, number: udp(49152, 4790, e.vxlan_gpe(_only_ip(content), number)),
    lambda content, number: udp(49152, 6081, e.geneve(content, number, options=bytes(4 * number))),
    lambda content, number: udp(49152, 6081, e.geneve(e.frame(eth(content)), number)),
    lambda content, number: udp(2152, 2152, e.gtp(content, number)),
    lambda content, number: udp(49152, 2152, e.gtp(content, 1, flags=0x34, optional=bytes(3) + b"\x85\1\0\0\0")),
    lambda content, number: udp(3544, 49152, e.teredo(content, authentication=bytes(number), origin=bool(number & 1))),
    lambda content, number: udp(49152, 5072, e.ayiya(content)),
    lambda content, number: udp(49152, 1701, e.l2tp(_in_ppp(content), number, 2, length=bool(number & 1), offset=1)),
    lambda content, number: udp(5247, 49152, e.capwap(eth(content))),
    lambda content, number: udp(49152, 5247, e.capwap(e.wireless(e.llc(content), swapped=number > 1), native=True)),
    lambda content, number: udp(49152, 37008, e.tzsp(eth(content))),
    lambda content, number: udp(49152, 6635, e.mpls(content, number).data),
    lambda content, number: udp(49152, 4754, e.gre(content).data),
]
"""What an IP packet carries around a packet; with an id."""


def _around(wrap: Callable[[Layer, int], Layer], number: int, back: bool, piece: int) -> Callable[[Layer], Layer]:
    """An IP packet around what `wrap` makes: of either version, whole or the first or second fragment of two."""

    def build(content: Layer) -> Layer:
        carried = wrap(content, number)
        ends = OUTER4[::-1] if back else OUTER4
        if piece > 5:
            return ip6(carried, *(OUTER6[::-1] if back else OUTER6))
        cut = 8 * (len(carried.data) * 3 // 32)
        if piece == 5:
            return ip4(Layer(carried.number, carried.data[:cut]), *ends, identification=number, more=True)
        if piece == 4:
            rest = Layer(carried.number, carried.data[cut:])
            return ip4(rest, *ends, identification=number, offset=cut // 8)
        return ip4(carried, *ends)

    return build


def _nest(content: Layer, wrappers: list[Callable[[Layer], Layer]]) -> Layer:
    for wrapper in wrappers:
        content = wrapper(content)
    return content


def tunnels(packets: SearchStrategy[Layer], *, most: int = 3) -> SearchStrategy[Layer]:
    """A packet in up to so many encapsulations, of few ids, in whole packets and in fragments."""
    number = st.integers(0, 2)
    between = st.builds(lambda layer, number: lambda content: layer(content, number), st.sampled_from(LAYERS), number)
    inside = st.builds(_around, st.sampled_from(CARRIED), number, st.booleans(), st.integers(0, 7))
    wrappers = st.lists(st.one_of(inside, inside, inside, between), min_size=1, max_size=most)
    return st.builds(_nest, packets, wrappers)


def tunnelled_frames() -> SearchStrategy[Frames]:
    """Many packets in packets at one time, on any link: what the decoder makes of each."""
    content = tunnels(packets4() | packets6(), most=10)
    wires = damaged(frames(content, rare=True), 250)
    return st.lists(wires, min_size=1, max_size=20).map(lambda chosen: [Sent(START, *wire) for wire in chosen])


def tunnelled_conversations() -> SearchStrategy[Frames]:
    """A few flows and fragments of few datagrams, in and out of tunnels."""
    whole = udp(50000, 53, bytes(24))
    packets = st.sampled_from(
        [
            ip4(whole),
            ip4(udp(53, 50000), B, A),
            ip4(tcp(40000, 443, "S", 1)),
            ip4(Layer(17, whole.data[:16]), identification=1, more=True),
            ip4(Layer(17, whole.data[16:]), identification=1, offset=2),
            ip6(udp(50000, 53)),
        ]
    )
    return conversations(st.one_of(packets, tunnels(packets), tunnels(packets)).map(_plain))


def anything() -> SearchStrategy[Frames]:
    """All layers, all kinds of damage, all kinds of times."""
    wires = damaged(frames(packets4() | packets6()))
    return conversations(wires, jumps=True, timeless=True)


def single_frames() -> SearchStrategy[Frames]:
    """Many packets at one time: what the decoder makes of each."""
    wires = damaged(frames(packets4() | packets6()))
    return st.lists(wires, min_size=1, max_size=40).map(lambda chosen: [Sent(START, *wire) for wire in chosen])


# Conversations of one kind


def _plain(packet: Layer) -> Wire:
    data = eth(packet)
    return Wire(data, len(data))


def connections() -> SearchStrategy[Frames]:
    """TCP segments on one or two keys, in any order: handshakes, endings, resets, reuse."""
    content = segments(_port_pairs(few=True))
    segment = st.builds(lambda layer, back: ip4(layer, B, A) if back else ip4(layer), content, st.booleans())
    cut = st.builds(
        lambda wire, captured: wire._replace(data=wire.data[:captured]), segment.map(_plain), st.integers(38, 60)
    )
    tail = st.builds(
        lambda back: _plain(ip4(Layer(6, bytes(8)), *((B, A) if back else (A, B)), offset=1)), st.booleans()
    )
    return conversations(st.one_of(segment.map(_plain), segment.map(_plain), segment.map(_plain), cut, tail))


@st.composite
def exchanges(draw: st.DrawFn) -> Frames:
    """Connections whose numbers are in order, with resets, closes and new SYNs in between."""
    scale = draw(st.sampled_from([None, 0, 3]))
    next_number = [draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(NUMBERS))]
    steps = draw(
        st.lists(
            st.tuples(
                waits(),
                st.integers(0, 1),
                st.sampled_from(["A", "S", "SA", "PA", "FA", "R", "RA", "S2", "PA+", "PA-", "R+", "R-"]),
                st.sampled_from([0, 1, 1000]),
            ),
            min_size=1,
            max_size=25,
        )
    )
    time, result = START, []
    for wait, side, kind, size in steps:
        time += wait
        flags, seq = kind.rstrip("2+-"), next_number[side]
        if kind == "S2":
            seq = next_number[side] = (seq + 12345) % 2**32
        if kind.endswith(("+", "-")):
            seq += draw(st.sampled_from([1, 65535, 65536, 2**30])) * (1 if kind.endswith("+") else -1)
        payload = bytes(size if "P" in flags else 0)
        segment = tcp(
            (40000, 443)[side], (443, 40000)[side], flags, seq, next_number[1 - side], payload, window=1000, scale=scale
        )
        if not kind.endswith(("+", "-")) and "R" not in flags:
            next_number[side] = (seq + len(payload) + ("S" in flags) + ("F" in flags)) % 2**32
        result.append(Sent(time, *_plain(ip4(segment, *((A, B), (B, A))[side]))))
    return result


BLOCK = 10
"""Bytes; segments of lossy transfers begin and end at multiples."""


@st.composite
def losses(draw: st.DrawFn) -> Frames:
    """Transfers whose segments are lost, repeated, late and acknowledged unseen, maybe caught in the middle."""
    starts = draw(st.sampled_from([(0, 0), (2**32 - 35, 5), (2**31 - 20, 2**32 - 1)]))
    steps = [(0, "S", 0, 0, 0), (1, "SA", 0, 0, 0), (0, "A", 0, 0, 0)][draw(st.sampled_from([0, 0, 0, 1, 2, 3])) :]
    step = st.tuples(
        st.sampled_from([0, 0, 1]),
        st.sampled_from(["A", "A", "PA", "PA", "PA", "FA", "RA", "R", "SA", "P"]),
        st.integers(0, 12),  # block at which the segment begins
        st.integers(1, 4),  # blocks that it has
        st.integers(0, 14),  # blocks of the peer that it acknowledges
    )
    steps += draw(st.lists(step, min_size=1, max_size=30))
    scale, time, result = draw(st.sampled_from([None, 2])), START, []
    stride = draw(st.sampled_from([BLOCK, BLOCK, BLOCK, 2**28]))
    for side, flags, block, blocks, acked in steps:
        time += draw(st.sampled_from([1, SECOND // 100, SECOND]))
        opening = "S" in flags
        seq = starts[side] + (0 if opening else 1 + block * stride - draw(st.sampled_from([0, 0, 0, 1])))
        ack = starts[1 - side] + 1 + acked * stride if "A" in flags else 0
        segment = tcp(
            (40000, 443)[side],
            (443, 40000)[side],
            flags,
            seq,
            ack,
            bytes(blocks * BLOCK if "P" in flags else draw(st.sampled_from([0, 0, 0, 1]))),
            window=draw(st.sampled_from([1000, 1000, 1000, 0])),
            scale=scale if opening else None,
            mss=1400 if opening else None,
            sack=opening,
        )
        result.append(Sent(time, *_plain(ip4(segment, *((A, B), (B, A))[side]))))
    return result


STEPS = [0, 1, 30, 31, 999, 1000, 10**6, 10**6 + 1, 10**8, SECOND, SECOND + 1, 5 * SECOND, 5 * SECOND + 1, -1, -SECOND]
"""ns; gaps within and beyond the limits of the groups `activity` and `bulk`, and over many orders of magnitude."""


@st.composite
def streams(draw: st.DrawFn) -> Frames:
    """One long conversation: headers that vary, contents that matter, segments that are late, lost and repeated."""
    is_tcp, version = draw(st.booleans()), draw(st.sampled_from([4, 4, 6]))
    content = draw(st.sampled_from([bytes(700), bytes(range(256)) * 3, b"GET / HTTP/1.1\r\n\x00\xff" * 40]))
    sent, time, result = [0, 0], START, []
    starts = draw(st.sampled_from([(0, 0), (2**32 - 35, 5)]))
    identification = draw(st.sampled_from([0, 65530]))
    step = st.tuples(
        st.sampled_from(STEPS),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from(["A", "A", "PA", "PA", "S", "R"]),
        st.sampled_from([0, 0, 1, 10, 100, 300]),
        st.sampled_from([0, 0, 0, -10, 10, 600]),
    )
    for wait, side, flags, size, shift in draw(st.lists(step, min_size=1, max_size=60)):
        time += wait
        begin = max(0, sent[side] + shift) if is_tcp else 0
        payload = content[begin : begin + size]
        if shift == 0:
            sent[side] += len(payload)
        ports = (40000, 443)[side], (443, 40000)[side]
        seq = starts[side] + (0 if flags == "S" else 1 + begin)
        layer = tcp(*ports, flags, seq, 1, payload) if is_tcp else udp(*ports, payload)
        identification = (identification + draw(st.sampled_from([0, 1, 1, 1000, 1001]))) % 65536
        ttl, tos = draw(st.sampled_from([64, 64, 63, 0, 255])), draw(st.sampled_from([0, 0, 0xB8, 0xFF]))
        if version == 4:
            packet = ip4(layer, *((A, B), (B, A))[side], identification=identification, ttl=ttl, tos=tos)
        else:
            packet = ip6(layer, *((A6, B6), (B6, A6))[side], ttl=ttl, tos=tos)
        data = eth(packet)
        captured = draw(st.sampled_from([len(data)] * 4 + [len(data) - 3, 60]))
        result.append(Sent(time, data[:captured], len(data)))
    return result


def library_options() -> SearchStrategy[dict[str, Any]]:
    """Options of the feature groups."""
    choices: dict[str, SearchStrategy[Any]] = {
        "splt": st.sampled_from([1, 2, 30, 70]),
        "splt_data": st.just(True),
        "activity_gap": st.sampled_from([1e-9, 1e-3, 1.0]),
        "payload_head": st.sampled_from([0, 1, 512]),
        "raw_packets": st.sampled_from([1, 3, 64]),
        "raw_bytes": st.sampled_from([1, 21, 64, 65, 1500]),
        "raw_masked": st.just(True),
        "active_timeout": st.sampled_from([1.0, 5.0]),
        "no_tcp_end": st.just(True),
    }
    return st.fixed_dictionaries({}, optional=choices)


def fragments() -> SearchStrategy[Frames]:
    """Pieces of a few datagrams in any order, among packets on the same keys."""
    bodies = [
        udp(50000, 53, bytes(16)),
        udp(50001, 53, bytes(16)),
        icmp(8, 0, bytes(20)),
        icmp(0, 0, bytes(20)),
        tcp(40000, 443, "S", 1, payload=bytes(4)),
        other(47, bytes(24)),
        udp(0, 0, bytes(16)),
    ]

    def piece(body: Layer, part: int, identification: int, version: int, back: bool) -> Layer:
        fields: dict[str, Any] = {"identification": identification, "offset": part, "more": part < 2}
        content = Layer(body.number, body.data[8 * part : 8 * part + 8])
        if version == 4:
            return ip4(content, *((B, A) if back else (A, B)), **fields)
        return ip6(fragment6(content, **fields), *((B6, A6) if back else (A6, B6)))

    body = st.sampled_from(bodies)
    pieces = st.builds(piece, body, st.integers(0, 2), st.integers(0, 1), st.sampled_from([4, 4, 4, 6]), st.booleans())
    whole = st.builds(lambda content, back: ip4(content, *((B, A) if back else (A, B))), body, st.booleans())
    return conversations(st.one_of(pieces, pieces, whole).map(_plain), jumps=True)


def clocks() -> SearchStrategy[Frames]:
    """Datagrams of two flows and a connection at times that jump, stray and are missing."""
    packets = [
        ip4(udp(50000, 53)),
        ip4(udp(53, 50000), B, A),
        ip4(udp(50001, 53)),
        ip4(tcp(40000, 443, "S", 1)),
        ip4(tcp(443, 40000, "RA", 0, 2), B, A),
        Layer(0x0806, bytes(28)),
    ]
    return conversations(st.sampled_from(packets).map(_plain), jumps=True, timeless=True, max_size=40)


def crowds() -> SearchStrategy[Frames]:
    """Flows of more keys than a small `max_flows` holds."""
    datagram = st.builds(lambda port: ip4(udp(port, 53)), st.integers(50000, 50007))
    segment = st.builds(
        lambda port, flags: ip4(tcp(port, 443, flags, 1)), st.integers(40000, 40003), st.sampled_from(["S", "A", "R"])
    )
    return conversations(st.one_of(datagram, segment).map(_plain), max_size=50)


# Copies and disorder

COPY_DELAYS = [0, 1, -1, 1_000_000, 1_000_001, -1_000_000, -1_000_001, SECOND, SECOND + 1]
HEADER_CHANGES = {  # bytes behind the Ethernet header that a router may change, and some that it may not
    "ttl": 8,
    "hop limit": 7,
    "dscp": 1,
    "checksum": 10,
    "identification": 5,
    "address": 15,
    "port": 21,
    "far": 45,
}


@st.composite
def _copy(draw: st.DrawFn, frame: Sent) -> Sent:
    """The frame again, a little later or earlier, with other MAC addresses, a tag, and a header byte changed."""
    time = None if frame.time is None else frame.time + draw(st.sampled_from(COPY_DELAYS))
    data = bytearray(frame.data)
    if frame.link == ETHERNET and len(data) > 14:
        at = 14 + HEADER_CHANGES[draw(st.sampled_from(list(HEADER_CHANGES)))]
        if at < len(data):
            data[at] ^= draw(st.sampled_from([0, 1, 2, 4, 0x40]))
        if draw(st.booleans()):
            data[:12] = MAC_B + MAC_A
    length = frame.length
    if frame.link == ETHERNET and len(data) > 14 and draw(st.booleans()):
        data[12:12] = b"\x81\0\0\7"
        length += 4
    return Sent(time, bytes(data), max(0, length), frame.link)


@st.composite
def disturbed(draw: st.DrawFn, conversation: SearchStrategy[Frames]) -> Frames:
    """A conversation in which some frames were captured twice and some were written late."""
    frames: Frames = []
    for frame in draw(conversation):
        frames.append(frame)
        for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
            frames.append(draw(_copy(frame)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(frames) - 1))
        frames.insert(min(len(frames), place + draw(st.integers(1, 8))), frames.pop(place))
    return frames


# Options

DEDUP = st.sampled_from([0.001, 1.0, 1e-9])
REORDER = st.sampled_from([0.001, 1.0, 20.0, 3600.0])


def options(*, limit: bool = False) -> SearchStrategy[dict[str, Any]]:
    """Options of both meters under the same names; those that are absent have their default."""
    timeout = st.sampled_from([10.0, 20.0, 120.0, 1.0, None])
    choices: dict[str, SearchStrategy[Any]] = {
        "idle_timeout": timeout.map(lambda seconds: (seconds,) * 4) | st.tuples(timeout, timeout, timeout, timeout),
        "active_timeout": st.sampled_from([15.0, 5.0, 1.0, None]),
        "key": st.just("hosts"),
        "attempt_timeout": st.sampled_from([1.0, 5.0]),
        "forget": st.just(True),
        "no_tcp_end": st.just(True),
        "vlan_in_key": st.just(True),
        "icmp_by_hosts": st.just(True),
        "tunnels": st.just("outer"),
        "first_is_client": st.just(True),
        "first_packets": st.sampled_from([1, 2, 5]),
        "first_seconds": st.sampled_from([1e-9, 1.0, 15.0]),
        "window": st.sampled_from([1.0, 15.0, 3600.0]),
        "services_only": st.just(True),
        "clock_times": st.just(True),
        "dedup": DEDUP,
        "reorder": REORDER,
    }
    required = {"max_flows": st.integers(1, 4)} if limit else {}
    return st.fixed_dictionaries(required, optional=choices)
