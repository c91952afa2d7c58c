"""Duplicates: the rules of docs/flow-semantics.md on both meters, and the warning where `dedup` is off."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from typer.testing import CliRunner

import flowgauge
import oracle
import strategies
from captures import write_pcap
from flowgauge.cli import app
from flowgauge.decode import Decoder
from flowgauge.duplicates import Removal
from flowgauge.kernels.packet import DUPLICATE, METERED, make_batch
from flowgauge.run import Hooks, Run
from meters import Meter, Result, by_package, by_package_joined, differences, joined
from packets import (
    HOUR,
    MAC_A,
    MAC_B,
    RAW_IP,
    SECOND,
    SLL,
    START,
    Layer,
    Sent,
    capture,
    eth,
    icmp,
    ip4,
    ip6,
    sent,
    sll,
    tcp,
    udp,
)

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "captures"
MILLISECOND = 1_000_000

IPV4, IPV6 = ip4(udp(50000, 53, b"question"), identification=7), ip6(udp(50000, 53, b"question"))


def changed(packet: Layer, at: int, mask: int) -> Layer:
    """The packet with bits of one byte flipped."""
    data = bytearray(packet.data)
    data[at] ^= mask
    return Layer(packet.number, bytes(data))


def duplicates(result: Result) -> int:
    return result.reasons["duplicate"]


# What is equal


@pytest.mark.parametrize(
    "copy",
    [
        sent(0, eth(IPV4)),
        sent(0, eth(IPV4, MAC_B, MAC_A)),
        sent(0, eth(IPV4, vlans=[7, 8])),
        sent(0, eth(IPV4, padding=9)),
        sent(0, sll(IPV4), link=SLL),
        sent(0, IPV4.data, link=RAW_IP),
        sent(0, eth(changed(IPV4, 8, 0xFF))),
        sent(0, eth(changed(changed(IPV4, 10, 0xFF), 11, 0xFF))),
        *(sent(0, eth(changed(IPV4, 1, 1 << bit))) for bit in range(2, 8)),
    ],
)
def test_link_layer_ttl_checksum_and_dscp_are_not_compared(meter: Meter, copy: Sent) -> None:
    """What routers and mirror ports change makes no other packet."""
    result = meter([sent(0, eth(IPV4)), copy], dedup=0.001)
    assert (duplicates(result), result.reasons["metered"]) == (1, 1)
    assert [row["packets"] for row in result.rows] == [1]


@pytest.mark.parametrize("change", [(7, 0xFF), (0, 0x0F), (1, 0x40), (1, 0x80)])
def test_hop_limit_and_dscp_of_ipv6_are_not_compared(meter: Meter, change: tuple[int, int]) -> None:
    """The same in IPv6, whose DSCP lies across two bytes."""
    result = meter([sent(0, eth(IPV6)), sent(0, eth(changed(IPV6, *change)))], dedup=0.001)
    assert duplicates(result) == 1


@pytest.mark.parametrize("packet", [IPV4, ip4(tcp(1, 2, payload=bytes(range(17)))), IPV6])
def test_every_other_bit_is_compared(meter: Meter, packet: Layer) -> None:
    """Each bit of the IP packet but for those makes another packet; ECN too."""
    masked = {4: {1: 0xFC, 8: 0xFF, 10: 0xFF, 11: 0xFF}, 6: {0: 0x0F, 1: 0xC0, 7: 0xFF}}[packet.data[0] >> 4]
    length_and_version = {0: 0xFF, 2: 0xFF, 3: 0xFF} if packet.data[0] >> 4 == 4 else {0: 0xFF, 4: 0xFF, 5: 0xFF}
    frames = [sent(0, eth(packet))]
    for at in range(len(packet.data)):
        bits = 0xFF & ~masked.get(at, 0) & ~length_and_version.get(at, 0)
        frames += [sent(0, eth(changed(packet, at, 1 << bit))) for bit in range(8) if bits >> bit & 1]
    assert duplicates(meter(frames, dedup=0.001)) == 0
    assert duplicates(meter(frames * 2, dedup=0.001)) == meter(frames).reasons["metered"]


def test_lengths_are_compared(meter: Meter) -> None:
    """The same captured bytes of packets with another length, or fewer bytes of the same packet, are no copies."""
    long = ip4(udp(50000, 53, bytes(100)), length=0)
    frames = [
        sent(0, eth(long), captured=60),
        sent(0, eth(long, padding=1), captured=60),
        sent(0, eth(long), captured=61),
        sent(0, eth(long), captured=60),
    ]
    assert duplicates(meter(frames, dedup=0.001)) == 1


def test_copies_cut_at_another_place_are_not_found(meter: Meter) -> None:
    """A tag in front of IP moves the place of the cut: less of the packet was captured."""
    frames = [sent(0, eth(IPV4), captured=46), sent(0, eth(IPV4, vlans=[7]), captured=46)]
    assert duplicates(meter(frames, dedup=0.001)) == 0


def test_a_length_beyond_the_wire_is_that_of_the_wire(meter: Meter) -> None:
    """A copy with padding is one where the IP length says so, and is longer where the length lies or is 0."""
    for length, found in ((None, 1), (0, 0), (1000, 0)):
        packet = ip4(udp(50000, 53), length=length)
        frames = [sent(0, eth(packet)), sent(0, eth(packet, padding=6))]
        assert duplicates(meter(frames, dedup=0.001)) == found


@pytest.mark.parametrize("size", [65_495, 65_496, 65_515, 131_000, 200_003])
def test_long_packets_are_compared_to_their_end(meter: Meter, size: int) -> None:
    """Packets of more than 64 KiB (segmentation offload) too differ by any byte."""
    payload = bytes(range(251)) * (size // 251 + 1)
    packet = ip4(tcp(40000, 443, payload=payload[:size]), length=0)
    places = {40, 65_535, 65_536, size // 2, size + 39}
    frames = [sent(0, eth(changed(packet, at, 1))) for at in sorted(places) if at < size + 40]
    assert duplicates(meter([sent(0, eth(packet)), *frames], dedup=0.001)) == 0
    assert duplicates(meter([sent(0, eth(packet)), *frames, sent(0, eth(packet))], dedup=0.001)) == 1


def test_fragments_are_compared_too(meter: Meter) -> None:
    """Copies of first and later fragments are left out before fragments are put together."""
    pieces = [
        ip4(udp(50000, 53, bytes(8)), identification=1, more=True),
        ip4(Layer(17, bytes(8)), identification=1, offset=2),
    ]
    result = meter([sent(0, eth(piece)) for piece in (pieces[1], *pieces, pieces[0])], dedup=0.001)
    assert duplicates(result) == 2
    assert [(row["packets"], row["fragments"]) for row in result.rows] == [(2, 2)]


def test_tunnels_in_front_of_ip_are_compared() -> None:
    """Packets that differ by the ids of what is around them, though not by their own bytes, are no copies."""
    packets = [((5, 1),), ((6, 1),), ((5, 2),), ((5, 1), (5, 1)), ()]
    data = eth(IPV4)
    batch, decoder, removal = make_batch(2 * len(packets)), Decoder(), Removal(0.001)
    rows = batch.packets
    rows.offset, rows.caplen, rows.frame_len, rows.link = 0, len(data), len(data), 1
    decoder.decode(np.frombuffer(data, np.uint8).copy(), batch, 0, len(rows))
    for row, tunnels in zip(rows, packets * 2, strict=True):
        row.tunnel_depth = len(tunnels)
        row.tunnel_id[: len(tunnels)] = [number for number, _ in tunnels]
        row.tunnel_kind[: len(tunnels)] = [kind for _, kind in tunnels]
    removal.look(np.frombuffer(data, np.uint8).copy(), batch, len(rows), decoder)
    assert rows.reason.tolist() == [METERED] * len(packets) + [DUPLICATE] * len(packets)
    assert decoder.reasons[[METERED, DUPLICATE]].tolist() == [len(packets)] * 2


# When


@pytest.mark.parametrize(
    ("nanoseconds", "found"), [(0, 1), (MILLISECOND, 1), (MILLISECOND + 1, 0), (-MILLISECOND, 1), (-MILLISECOND - 1, 0)]
)
def test_the_time_is_at_most_the_window_either_way(meter: Meter, nanoseconds: int, found: int) -> None:
    """A copy lies at most the window from its packet, earlier or later."""
    frames = [sent(1, eth(IPV4)), sent(1, eth(IPV4), nanoseconds=nanoseconds)]
    assert duplicates(meter(frames, dedup=0.001)) == found


def test_copies_of_copies(meter: Meter) -> None:
    """A duplicate is a packet seen before the next one."""
    frames = [sent(0, eth(IPV4), nanoseconds=step * MILLISECOND) for step in (0, 1, 2, 4)]
    assert duplicates(meter(frames, dedup=0.001)) == 2


def test_the_last_equal_packet_decides(meter: Meter) -> None:
    """Of several equal packets before, the one next to it in the capture is compared."""
    frames = [sent(step, eth(IPV4)) for step in (10, 5, 11, 10.5)]
    assert duplicates(meter(frames, dedup=1)) == 1


def test_nothing_is_left_out_without_the_option(meter: Meter) -> None:
    """By default copies are packets."""
    assert [row["packets"] for row in meter([sent(0, eth(IPV4))] * 3).rows] == [3]


def test_the_time_is_that_which_is_metered(meter: Meter) -> None:
    """A stray time is the clock's, and so is that of a record without time."""
    other = sent(0, eth(ip4(udp(1, 2))))
    frames = [other, sent(0, eth(IPV4)), sent(40_000, eth(IPV4)), sent(0, eth(IPV4))._replace(time=None), other]
    result = meter(frames, dedup=0.001)
    assert (duplicates(result), result.counters["clock_jump"], result.counters["no_time"]) == (3, 1, 1)


# What it means


def test_packets_that_are_not_metered_keep_their_reason(meter: Meter) -> None:
    """Only what would be metered can be a duplicate."""
    arp, cut = sent(0, eth(Layer(0x0806, bytes(28)))), sent(0, eth(IPV4), captured=36)
    assert +meter([arp, arp, cut, cut], dedup=0.001).reasons == {"not_ip": 2, "truncated_transport": 2}


def test_duplicates_have_no_oddities(meter: Meter) -> None:
    """Oddities are those of packets that are metered."""
    liar = sent(0, eth(ip4(udp(50000, 53), length=100)))
    assert meter([liar, liar], dedup=0.001).counters["ip_length_lies"] == 1
    assert meter([liar, liar]).counters["ip_length_lies"] == 2


def test_the_record_of_a_duplicate_counts_for_the_clock(meter: Meter) -> None:
    """The clock is computed of all records: it is there that a boundary lies."""
    other = ip4(udp(50001, 53))
    frames = [sent(0, eth(other)), sent(31, eth(IPV4)), sent(301, eth(IPV4)), sent(301, eth(other))]
    assert [row["packets"] for row in meter(frames, dedup=300).rows] == [1, 1, 1]


def test_the_first_of_two_copies_is_kept(meter: Meter) -> None:
    """The packet that comes first in the capture is metered, whatever the times say."""
    frames = [sent(1, eth(IPV4, MAC_A, MAC_B)), sent(0.9995, eth(IPV4, MAC_B, MAC_A))]
    (row,) = meter(frames, dedup=0.001).rows
    assert (row["first_packet"], row["start"], row["client_mac"]) == (1, START + SECOND, MAC_A.hex(":"))


@pytest.mark.parametrize("places", [1, 4])
def test_so_many_packets_are_remembered(meter: Meter, places: int) -> None:
    """The oldest packet gives way to the next, and that is counted where a copy could still come."""
    packets = [ip4(udp(50000 + number, 53)) for number in range(places + 1)]
    with (
        mock.patch.object(oracle, "REMEMBERED_PACKETS", places),
        mock.patch("flowgauge.duplicates.PLACES", places),
    ):
        kept = meter([sent(0, eth(packet)) for packet in (*packets[:places], packets[0])], dedup=1)
        lost = meter([sent(0, eth(packet)) for packet in (*packets, packets[0])], dedup=1)
        late = meter([sent(2 * second, eth(packet)) for second, packet in enumerate(packets)], dedup=1)
    assert [duplicates(result) for result in (kept, lost, late)] == [1, 0, 0]
    assert [result.counters["dedup_forgotten"] for result in (kept, lost, late)] == [1, 2, 0]


def test_a_packet_of_another_trace_is_no_copy() -> None:
    """Captures are compared with each other only where they are joined."""
    captures = [write_pcap([(START, eth(IPV4))])] * 2
    assert duplicates(joined(captures, dedup=1.0)) == duplicates(by_package_joined(captures, dedup=1.0)) == 1
    apart = Run([io.BytesIO(content) for content in captures], Hooks(), dedup=1.0)
    assert sum(len(batch) for batch in apart.batches()) == 2
    assert apart.stats.reasons["duplicate"] == 0


# Properties


@st.composite
def mirrored(draw: st.DrawFn, conversation: st.SearchStrategy[list[Sent]]) -> list[Sent]:
    """A conversation with a copy behind each packet, as a router or a switch makes it."""
    both = []
    for frame in draw(conversation):
        copy = bytearray(frame.data)
        if copy[14] >> 4 == 4:
            copy[22] -= draw(st.integers(0, 2))
            copy[24:26] = draw(st.binary(min_size=2, max_size=2))
            copy[15] ^= draw(st.sampled_from([0, 0xB8]))
        else:
            copy[21] -= draw(st.integers(0, 2))
        copy[:12] = draw(st.sampled_from([MAC_A + MAC_B, MAC_B + MAC_A]))
        tagged = draw(st.booleans()) and frame.length == len(copy)
        if tagged:
            copy[12:12] = b"\x81\0\0\7"
        both += [frame, frame._replace(data=bytes(copy), length=frame.length + 4 * tagged)]
    return both


def numbered(frames: list[Sent]) -> list[Sent]:
    """IPv4 packets with identifications, so that no two are equal."""
    return [
        frame._replace(data=frame.data[:18] + number.to_bytes(2, "big") + frame.data[20:])
        for number, frame in enumerate(frames)
    ]


def steady(frames: list[Sent]) -> list[Sent]:
    """The frames within an hour: a copy of a record whose time is far off would make it more credible."""
    assert all(frame.time is not None for frame in frames)
    return [frame._replace(time=START + (frame.time - START) % HOUR) for frame in frames]  # type: ignore[operator]


def without_places(content: bytes, **options: Any) -> Result:
    """What the package finds, without what says where in the capture it is."""
    result = by_package(content, **options)
    for row in result.rows:
        del row["flow_id"], row["first_packet"]
    return result


CONVERSATIONS = strategies.connections() | strategies.exchanges() | strategies.crowds()


@strategies.examples(50)
@given(frames=mirrored(CONVERSATIONS.map(numbered)), options=strategies.options())
def test_a_mirrored_capture_is_the_capture(frames: list[Sent], options: dict[str, Any]) -> None:
    """A capture that holds each packet twice has the rows of one that holds it once, but for the records' places."""
    options |= {"dedup": None, "reorder": None}
    expected = without_places(capture(frames[::2]), **options)
    found = without_places(capture(frames), **options | {"dedup": 0.001})
    assert found.reasons["duplicate"] == found.reasons["metered"] == expected.reasons["metered"]
    assert differences(Result(expected.rows, found.reasons, expected.counters), found) == []


@strategies.examples(50)
@given(frames=mirrored(strategies.fragments().map(steady)), options=strategies.options())
def test_mirrored_fragments_are_the_fragments(frames: list[Sent], options: dict[str, Any]) -> None:
    """The same where packets may be equal to others, which are left out of both, and are put together afterwards."""
    options |= {"dedup": 1.0, "reorder": None}
    expected, found = (without_places(capture(chosen), **options) for chosen in (frames[::2], frames))
    assert found.reasons["metered"] == expected.reasons["metered"]
    assert differences(Result(expected.rows, found.reasons, expected.counters), found) == []


@strategies.examples(30)
@given(frames=strategies.disturbed(strategies.anything()), options=strategies.options())
def test_batch_size_changes_no_duplicate(frames: list[Sent], options: dict[str, Any]) -> None:
    """Packets are compared across batches."""
    content = capture(frames * 2)
    options["dedup"] = 1.0
    assert differences(by_package(content, **options), by_package(content, rows=16, **options)) == []


@pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap is not installed")
@pytest.mark.parametrize("name", ["dns_lookup_01.pcap", "voip_call_01.pcap", "git_clone_01.pcap"])
def test_as_editcap(name: str, tmp_path: Path) -> None:
    """Where frames are wholly equal, those are left out that editcap leaves out."""
    frames = [frame for frame in oracle.read_frames((EXAMPLES / name).read_bytes()) if frame.data[12:14] == b"\x08\0"]
    random = np.random.default_rng(1)
    doubled = []
    for frame in frames:
        assert frame.time is not None
        doubled.append((frame.time, frame.data, frame.length))
        if random.random() < 0.5:
            delay = int(random.integers(0, 1_500)) * 1000
            doubled.append((frame.time + delay, frame.data, frame.length))
    mine, theirs = tmp_path / "doubled.pcap", tmp_path / "single.pcap"
    mine.write_bytes(write_pcap(doubled, link=frames[0].link))
    subprocess.run(["editcap", "-F", "pcap", "-w", "0.001", mine, theirs], check=True, capture_output=True)
    stats = flowgauge.extract(mine, io.BytesIO(), format="csv", dedup=0.001)
    left = len(oracle.read_frames(theirs.read_bytes()))
    assert 0 < stats.reasons["duplicate"] == len(doubled) - left


# The warning


def crowd(packets: int, copies: int, *, delay: float = 0.0002) -> list[Sent]:
    """So many different packets 1 ms apart, and a copy of the first ones."""
    frames = []
    for number in range(packets):
        packet = ip4(udp(1024 + number % 999, 53, number.to_bytes(4, "big")), identification=number % 65536)
        frames.append(sent(number * 0.001, eth(packet)))
        if number < copies:
            frames.append(sent(number * 0.001 + delay, eth(changed(packet, 8, 1), MAC_B, MAC_A)))
    return frames


def suspected(frames: list[Sent], **options: Any) -> float:
    run = Run(io.BytesIO(capture(frames)), Hooks(), **options)
    for _ in run.batches():
        pass
    return run.stats.duplicates_suspected


def test_a_doubled_capture_is_suspected() -> None:
    """A thousand packets of which each comes twice: half of the packets are copies, and that is said."""
    assert suspected(crowd(1000, 1000)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("copies", [500, 1500])
def test_the_share_is_estimated(copies: int) -> None:
    """The estimate is near the share of copies."""
    assert suspected(crowd(2000, copies)) == pytest.approx(copies / (2000 + copies), rel=0.2)


@pytest.mark.slow
def test_copies_of_every_protocol_are_sampled() -> None:
    """Packets without ports, of either version, and in one flow with one length are sampled by their content."""
    builders: list[Callable[[int], Layer]] = [
        lambda number: ip4(icmp(8, 0, number.to_bytes(8, "big")), identification=number),
        lambda number: ip4(tcp(40000, 443, seq=number), identification=number),
        lambda number: ip6(Layer(17, udp(1, 2).data[:6] + number.to_bytes(2, "big") + bytes(99))),
    ]
    for build in builders:
        frames = [sent(number * 0.001, eth(build(number))) for number in range(1500) for _ in range(2)]
        assert suspected(frames) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (crowd(40, 40), {}),
        (crowd(4000, 20), {}),
        (crowd(1000, 1000, delay=0.00100001), {}),
        (crowd(1000, 1000), {"dedup": 1.0}),
        ([sent(0, eth(Layer(0x0806, bytes(28))))] * 2000, {}),
    ],
)
def test_what_is_not_suspected(frames: list[Sent], options: dict[str, Any]) -> None:
    """Few packets, few copies, copies far apart, packets that are not metered, and copies that are left out."""
    assert suspected(frames, **options) == 0


@pytest.mark.slow
def test_the_estimate_does_not_depend_on_batches() -> None:
    """What is looked at is counted in records, not batches; it ends and goes on within them."""
    frames = crowd(1000, 1000)
    with mock.patch.multiple("flowgauge.kernels.duplicates", FIRST=400, PERIOD=320, BLOCK=250):
        assert len({suspected(frames, rows=rows) for rows in (16, 100, 320, 8192)}) == 1
        assert suspected(frames) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_the_same_capture_twice_is_not_suspected() -> None:
    """Packets of another trace are no copies; of the same one they are, where they are near in time."""
    content = capture(crowd(1000, 0))
    for join, share in ((False, 0.0), (True, pytest.approx(0.5, abs=0.02))):
        run = Run([io.BytesIO(content), io.BytesIO(content)], Hooks(), join=join)
        assert sum(len(batch) for batch in run.batches())
        assert run.stats.duplicates_suspected == share


@pytest.mark.slow
def test_the_warning_names_the_option() -> None:
    """`read` and `stream` warn once, with the option that helps; with it, or with few copies, they are silent."""
    content = capture(crowd(1000, 1000))
    with pytest.warns(UserWarning, match=r"about 50% of the packets are copies of others; dedup='1ms'") as caught:
        flowgauge.read([io.BytesIO(content), io.BytesIO(content)])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flowgauge.read(io.BytesIO(content), dedup="1ms")
        flowgauge.read(io.BytesIO(capture(crowd(1000, 0))))


def extracted(tmp_path: Path, *arguments: str) -> Any:
    """What `flowgauge extract` says of two captures whose packets come twice."""
    folder = tmp_path / "captures"
    folder.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder / f"{name}.pcap").write_bytes(capture(crowd(500, 500)))
    return CliRunner().invoke(app, ["extract", str(folder), "-o", str(tmp_path / "flows.csv"), *arguments])


@pytest.mark.slow
def test_the_command_says_it_once(tmp_path: Path) -> None:
    """One line on standard error for all captures; with the option the copies are among the reasons instead."""
    with_copies, without, quiet = (extracted(tmp_path, *words) for words in ((), ("--dedup", "1ms"), ("--quiet",)))
    said = [[line for line in run.stderr.splitlines() if "copies" in line] for run in (with_copies, without, quiet)]
    assert [len(lines) for lines in said] == [1, 0, 0]
    assert said[0][0].endswith("--dedup 1ms leaves them out")
    lines = [line.split() for line in without.stdout.splitlines()]
    assert ["duplicate", "1,000"] in [line[:2] for line in lines]


def test_the_command_counts_what_was_put_in_order(tmp_path: Path) -> None:
    """The summary tells of packets that were put in order and of those that were too late."""
    result = extracted(tmp_path, "--reorder", "0.1ms", "--dedup", "1ms")
    assert "reordered" not in result.stdout
    path = tmp_path / "late.pcap"
    path.write_bytes(capture([sent(step, eth(IPV4)) for step in (1, 2, 4, 3, 3.5, 1)]))
    result = CliRunner().invoke(app, ["extract", str(path), "-o", str(tmp_path / "x.csv"), "--reorder", "1s"])
    shown = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["reordered", "2"] in shown and ["reorder_late", "1"] in shown


def test_a_time_that_cannot_be_is_wrong_usage(tmp_path: Path) -> None:
    """A value that is no time is one line that says what it takes, before anything is read."""
    result = extracted(tmp_path, "--dedup", "captures/")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("flowgauge: dedup is a time up to an hour, such as 0.001 (seconds)")


def test_options_are_checked() -> None:
    """A time is seconds or text with a unit, up to an hour."""
    config = flowgauge.MeterConfig()
    assert (config.dedup, config.reorder) == (None, None)
    for given_, seconds in (("1ms", 0.001), ("200us", 0.0002), ("5 µs", 5e-6), (0.5, 0.5), ("2s", 2.0), (3600, 3600.0)):
        assert Run(io.BytesIO(b"x"), Hooks(), dedup=given_).config.dedup == seconds
    assert Run(io.BytesIO(b"x"), Hooks(), dedup="off", reorder="off").config.results()["reorder"] is None
    for wrong in (0, -1, "soon", "1m", True, float("nan"), 3601, "1e-10"):
        with pytest.raises(flowgauge.ConfigError, match="reorder is a time up to an hour, such as"):
            flowgauge.read(io.BytesIO(b"x"), reorder=wrong)
