"""Agreement with NFStream: the fewest packets that show each cause of a difference, and each rule that is another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import flowgauge as fg
from envelopes import vxlan
from packets import A, B, Layer, Sent, capture, eth, extension, icmp, ip4, ip6, other, sctp, sent, sll, sll2, tcp, udp
from trust import nfstream
from trust.nfstream import (
    CLOCK,
    DAMAGED,
    EXTENSIONS,
    FRAGMENTS,
    LINKS,
    LOST_MAC,
    OFFLOADED,
    SCTP,
    TUNNELLED,
    UNREAD,
)

CAPTURES = Path(__file__).parent.parent / "examples" / "captures"
SLL, SLL2 = 113, 276
WEEK = 7 * 86400.0
SEGMENT = tcp(1024, 80, "A", 1, 1, bytes(1000))


def cooked(data: bytes, link: int) -> Sent:
    return sent(0, data)._replace(link=link)


def echo_in_fragments() -> list[Sent]:
    echo = icmp(8, 0, bytes(40)).data
    first, tail = Layer(1, echo[:24]), Layer(1, echo[24:])
    return [sent(0, eth(ip4(first, more=True))), sent(0, eth(ip4(tail, offset=3)))]


DIFFERENCES: dict[str, tuple[list[Sent], str, int]] = {
    "fragments": (echo_in_fragments(), FRAGMENTS, 1),
    "offloaded": ([sent(0, eth(ip4(SEGMENT, length=0)))], OFFLOADED, 1),
    "cut IPv6": ([sent(0, eth(ip6(SEGMENT)), captured=90)], OFFLOADED, 1),
    "AH": ([sent(0, eth(ip6(extension(51, other(89, bytes(44)), units=4))))], EXTENSIONS, 2),
    "mobility": ([sent(0, eth(ip6(other(135, b"\x3b\0\0\0\0\0\0\0"))))], EXTENSIONS, 2),
    "no next header": ([sent(0, eth(ip6(other(59, bytes(20)))))], EXTENSIONS, 1),
    "SLL": ([cooked(sll(ip4(udp(1024, 53))), SLL)], LOST_MAC, 1),
}
RULES: dict[str, tuple[list[Sent], str, int]] = {
    "VXLAN": ([sent(0, eth(ip4(udp(9, 4789, vxlan(eth(ip4(icmp(8, 0, bytes(8)))), 1)))))], TUNNELLED, 2),
    "clock": ([sent(time, eth(ip4(udp(9, 53)))) for time in (0, WEEK, 1, 2)], CLOCK, 2),
    "SCTP": ([sent(0, eth(ip4(sctp(1024, 80, bytes(20)))))], SCTP, 2),
    "SLL2": ([cooked(sll2(ip4(udp(1024, 53, bytes(8)))), SLL2)], LINKS, 1),
    "802.1ad": ([sent(0, eth(ip4(udp(1024, 53, bytes(8))), vlans=[(0x88A8, 3)]))], LINKS, 1),
    "IHL": ([sent(0, eth(ip4(udp(1024, 53, bytes(8)), words=1)))], DAMAGED, 1),
    "not IP": ([sent(0, eth(Layer(0x0806, ip4(udp(1024, 53, bytes(8))).data)))], DAMAGED, 1),
    "two links": ([sent(0, eth(ip4(udp(1, 53)))), cooked(sll(ip4(udp(1, 53))), SLL)], UNREAD, 1),
}
SAME: dict[str, list[Sent]] = {
    "all ICMP of two hosts": [
        sent(0, eth(ip4(icmp(8, 0, bytes(20))))),
        sent(0.1, eth(ip4(icmp(0, 0, bytes(20)), B, A))),
        sent(0.2, eth(ip4(icmp(3, 3, bytes(28))))),
    ],
    "late packets": [
        sent(1000, eth(ip4(udp(5, 6, bytes(4))))),
        *(sent(time, eth(ip4(udp(7, 8, bytes(4))))) for time in (500, 500.5, 1000.25, 999, 1100, 1219.999, 1340)),
    ],
    "idle and active": [sent(time, eth(ip4(udp(7, 8, bytes(4))))) for time in range(0, 4000, 119)],
}


def agreement_on(folder: Path, frames: list[Sent]) -> Any:
    pytest.importorskip("nfstream")
    path = folder / "packets.pcap"
    path.write_bytes(capture(frames))
    return nfstream.compare([path])


@pytest.mark.parametrize(("frames", "why", "rows"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_causes_are_shown_by_these_packets(tmp_path: Path, frames: list[Sent], why: str, rows: int) -> None:
    """NFStream itself differs on these packets by this cause alone."""
    agreement = agreement_on(tmp_path, frames)
    assert agreement.causes == Counter({why: rows})
    assert not agreement.excluded


@pytest.mark.parametrize(("frames", "rule", "rows"), RULES.values(), ids=RULES)
def test_rules_that_do_not_coincide_are_out_of_the_comparison(
    tmp_path: Path, frames: list[Sent], rule: str, rows: int
) -> None:
    """Flows of these packets are another matter for NFStream, and not compared."""
    agreement = agreement_on(tmp_path, frames)
    assert agreement.excluded == Counter({rule: rows})
    assert agreement.compared == 0


@pytest.mark.parametrize("frames", SAME.values(), ids=SAME)
def test_the_preset_has_the_rules_of_nfstream(tmp_path: Path, frames: list[Sent]) -> None:
    """Keys of ICMP, packets that come late and timeouts give NFStream's rows, every column of them."""
    agreement = agreement_on(tmp_path, frames)
    assert agreement.whole == agreement.compared > 0
    assert not agreement.excluded


def test_compare_matches_the_records_of_nfstream() -> None:
    """`fg.compare` finds each of NFStream's records among ours, and no column but the running number differs."""
    pytest.importorskip("nfstream")
    captures = sorted(CAPTURES.glob("*.pcap"))
    theirs = [row for read in nfstream.flows_of(captures).values() if read is not None for row in read.rows]
    options = {"schema": "nfstream", "preset": "nfstream", "features": "size,iat,flags,tcp,splt", "splt": nfstream.SPLT}
    found = fg.compare(fg.read(captures, **options), pa.Table.from_pylist(theirs))
    assert found.matched == len(theirs) > 60
    assert not found.only_a.number and not found.only_b.number and not found.swapped.number
    assert [column.column for column in found.columns] == ["id"]
    assert not found.only_in_a and not found.only_in_b
