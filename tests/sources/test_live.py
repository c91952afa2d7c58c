"""Live sources: what is metered of a ring, when its blocks go back, and what silence does."""

from __future__ import annotations

import io
import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest

import captures
import flowgauge as fg
import packets
from flowgauge.kernels.packet import make_batch
from flowgauge.run import Hooks, Run
from flowgauge.sources import interfaces, live
from flowgauge.sources.clock import Clock
from flowgauge.sources.filters import Filter
from flowgauge.sources.live import LiveCapture
from rings import FakeRing, Frame
from tcpdump import needs_libpcap

SECOND = packets.SECOND
START = packets.START
GROUPS = "core,size,flags,payload,raw,splt"


def conversation(port: int = 4000) -> list[packets.Sent]:
    """A TCP connection with payload in fragments of IP, and a UDP flow."""
    request = packets.ip4(packets.tcp(port, 80, "PA", 1, 1, b"GET / HTTP/1.1\r\n" * 5))
    datagram = packets.udp(port, 53, b"a question" * 4)
    head = packets.ip4(packets.Layer(17, datagram.data[:24]), identification=7, more=True)
    tail = packets.ip4(packets.Layer(17, datagram.data[24:]), identification=7, offset=3)
    frames = [packets.ip4(packets.tcp(port, 80, "S")), tail, request, head]
    return [packets.sent(number, packets.eth(frame)) for number, frame in enumerate(frames)]


def framed(sent: packets.Sent) -> Frame:
    assert sent.time is not None
    return Frame(sent.data, sent.time, sent.length)


def metered(ring: FakeRing, turns: int, rows: int = 32, **options: Any) -> list[dict[str, Any]]:
    """The records of a ring, stopped after so many turns."""
    source = LiveCapture(ring)  # type: ignore[arg-type]
    left = iter(range(turns))
    stops = Hooks(should_stop=lambda: next(left, None) is None)
    run = Run(source, stops, rows=rows, **options)  # type: ignore[arg-type]
    found = [row for batch in run.batches() for row in batch.to_pylist()]
    assert not run.stats.failed
    return found


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


@pytest.mark.parametrize("rows", [16, 64])
def test_a_block_goes_back_when_everything_has_read_it(rows: int) -> None:
    """Features that read payload, fragments that wait and batches smaller than a block see the bytes that were there,
    though the system overwrites a block as soon as it has it back."""
    sent = [packet for port in range(4000, 4010) for packet in conversation(port)]
    sent = [packet._replace(time=START + number * 1000) for number, packet in enumerate(sent)]
    ring = FakeRing([[framed(packet) for packet in sent[begin : begin + 20]] for begin in range(0, 40, 20)])
    found = metered(ring, 8, rows, features=GROUPS)
    expected = fg.read(io.BytesIO(captures.write_pcap(sent)), features=GROUPS).to_pylist()
    assert len(expected) == 20
    assert without(found, "source", "end_reason") == without(expected, "source", "end_reason")
    assert ring.log == ["start", "take", "give back", "take", "give back", "close"]


def test_the_rest_of_what_arrived_is_metered_when_the_run_ends() -> None:
    """A stop takes in the blocks that wait, until there is none."""
    blocks = [[framed(packet)] for packet in conversation()]
    assert sum(row["up_packets"] for row in metered(FakeRing(blocks), 0, features=GROUPS)) == 4


@pytest.mark.parametrize("late", [0, 10 * SECOND])
def test_a_stop_does_not_wait_for_an_interface_that_never_pauses(monkeypatch: pytest.MonkeyPatch, late: int) -> None:
    """A stop takes in what came before it, but where that is very much no more than can be metered in a while."""
    steady, calls = itertools.count(), itertools.count()
    blocks = ([Frame(packets.eth(packets.ip4(packets.udp(1, 2))), START + next(steady) * SECOND)] for _ in range(500))
    monkeypatch.setattr(live, "time", watch(monotonic=lambda: next(calls) / 4, time_ns=lambda: START + late * SECOND))
    rows = metered(FakeRing(blocks), 0, features=GROUPS)
    assert 1 <= sum(row["up_packets"] for row in rows) < 12


def test_a_stop_takes_in_what_came_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last block metered is that which has the moment of the stop in it."""
    frames = [Frame(packets.eth(packets.ip4(packets.udp(1, 2))), START + second * SECOND) for second in range(9)]
    monkeypatch.setattr(live, "time", watch(time_ns=lambda: START + 5 * SECOND))
    rows = metered(FakeRing([frame] for frame in frames), 0, features=GROUPS)
    assert sum(row["up_packets"] for row in rows) == 6


def watch(**clocks: Any) -> SimpleNamespace:
    """The module `time` with clocks of the test's."""
    usual = {name: getattr(time, name) for name in ("monotonic", "perf_counter", "time_ns")}
    return SimpleNamespace(**usual | clocks)


def beaten(ring: FakeRing, wall: int, monkeypatch: pytest.MonkeyPatch, filter: Filter | None = None) -> list[int]:
    """Clock of each beat while a ring is read to its end, the wall's clock at `wall` ns."""
    monkeypatch.setattr(live, "time", watch(time_ns=lambda: wall))
    source, batch, clock = LiveCapture(ring), make_batch(32), Clock()  # type: ignore[arg-type]
    monkeypatch.setattr(source, "_attach", lambda filter: False)
    source.begin(clock, filter)
    beats = []
    for _ in range(3):
        if not max(source.steps(batch), default=0) and source.beat(batch):
            beats.append(int(batch.packets[0].clock))
    source.close()
    return beats


def test_silence_moves_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing comes the clock is that of the wall, one second behind which nothing is on its way."""
    ring = FakeRing([[Frame(packets.eth(packets.ip4(packets.udp(1, 2))), START)]])
    later = START + 60 * SECOND
    assert beaten(ring, later, monkeypatch) == [later - SECOND] * 2


def test_silence_before_the_first_packet_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace begins with its first packet."""
    assert beaten(FakeRing([]), START, monkeypatch) == []


@needs_libpcap
def test_what_the_filter_leaves_out_tells_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others send all the time and none of it passes the filter, the clock goes on with what they sent."""
    kept, other = (packets.eth(packets.ip4(packets.udp(1, port))) for port in (2, 3))
    ring = FakeRing([[Frame(kept, START)], [Frame(other, START + 40 * SECOND)], [Frame(other, START + 80 * SECOND)]])
    beats = beaten(ring, START + 500 * SECOND, monkeypatch, Filter("port 2"))
    assert beats == [START + 40 * SECOND, START + 80 * SECOND]


def test_idle_flows_end_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow whose timeout has passed leaves the meter at the boundary, though no packet came."""
    monkeypatch.setattr(live, "time", watch(time_ns=lambda: START + 40 * SECOND))
    ring = FakeRing([[Frame(packets.eth(packets.ip4(packets.udp(1, 2))), START)]])
    source = LiveCapture(ring)  # type: ignore[arg-type]
    turns: list[int] = []
    run = Run(source, Hooks(turn=lambda: turns.append(1), should_stop=lambda: len(turns) > 4), idle_timeout=5.0)  # type: ignore[arg-type]
    batches = run.batches()
    first = next(batches)
    assert [row["end_reason"] for row in first.to_pylist()] == ["idle"]
    assert len(turns) == 1  # at the first turn without a packet
    assert (run.packets, list(batches)) == (1, [])


def test_a_ring_that_cannot_be_is_a_failure_and_closed() -> None:
    """What the system refuses is in the stats, and the socket does not stay open."""

    class Refused(FakeRing):
        def start(self) -> None:
            raise fg.SourceError("eth7: the system gives no packet ring (Cannot allocate memory)")

    ring = Refused([])
    run = Run(LiveCapture(ring), Hooks())  # type: ignore[arg-type]
    assert list(run.batches()) == []
    assert list(run.stats.failed) == ["eth7"]
    assert ring.log == ["close"]


def test_an_interface_whose_frames_are_not_decoded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CAN bus has no IP: that is said at once, not when the run ends."""
    monkeypatch.setattr(interfaces, "hardware_of", lambda name: 280)  # ARPHRD_CAN
    ring = FakeRing([])
    with pytest.raises(fg.UnsupportedLinkType, match="eth7: frames of such interfaces are not decoded"):
        LiveCapture(ring).begin(Clock())  # type: ignore[arg-type]
    assert ring.log == ["close"]


def test_packets_are_accounted_for() -> None:
    """Beats are no packets: those read are the sum of the reasons."""
    ring = FakeRing([[Frame(b"\0" * 14, START)], None, [Frame(packets.eth(packets.ip4(packets.udp(1, 2))), START)]])
    turns = iter(range(5))
    run = Run(LiveCapture(ring), Hooks(should_stop=lambda: next(turns, None) is None))  # type: ignore[arg-type]
    list(run.batches())
    assert run.stats.packets == 2 == sum(run.stats.reasons.values())
    assert run.stats.reasons["metered"] == 1
