"""Reordering: the rules of docs/flow-semantics.md on both meters, and what the stage keeps in memory."""

from __future__ import annotations

import io
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import given

import flowgauge
import oracle
import strategies
from captures import enhanced, interface, section, simple, write_pcap, write_pcapng
from flowgauge.kernels.packet import make_batch
from flowgauge.run import Hooks, Run
from flowgauge.sources import reorder
from flowgauge.sources.capture import open_capture
from flowgauge.sources.clock import Clock
from flowgauge.sources.reorder import Reorder
from flowgauge.sources.window import Buffers
from meters import Meter, Result, by_oracle, by_package, by_package_joined, differences, joined
from packets import HOUR, SECOND, START, A, B, Sent, capture, eth, icmp, ip4, sent, tcp, udp

MILLISECOND = 1_000_000


def packet(seconds: float, port: int = 50000, *, nanoseconds: int = 0) -> Sent:
    return sent(seconds, eth(ip4(udp(port, 53))), nanoseconds=nanoseconds)


def numbers(result: Result) -> list[int]:
    """Frame numbers of the packets that opened the rows, in output order."""
    return [row["first_packet"] for row in result.rows]


def counts(result: Result) -> tuple[int, int, int]:
    """Packets that were put in order, that were late, and that left early."""
    return tuple(result.counters[name] for name in ("reordered", "reorder_late", "reorder_early"))  # type: ignore


# The order


def test_packets_are_metered_in_order_of_time(meter: Meter) -> None:
    """What was written late comes first: the gaps are those of the wire, and no time steps back."""
    frames = [packet(0), packet(0.003), packet(0.001), packet(0.002), packet(0.004)]
    (row,) = meter(frames, reorder=0.01).rows
    assert (row["clock_back"], row["iat_min_s"], row["iat_max_s"]) == (0, 0.001, 0.001)
    (row,) = meter(frames).rows
    assert row["clock_back"] == 2


def test_direction_and_identity_are_those_of_the_first_in_time(meter: Meter) -> None:
    """A handshake whose packets were written in the wrong order opens as a handshake; places stay those of the file."""
    syn, synack = eth(ip4(tcp(40000, 443, "S", 1))), eth(ip4(tcp(443, 40000, "SA", 5, 2), B, A))
    frames = [packet(0), sent(0.002, synack), sent(0.001, syn)]
    _, row = meter(frames, reorder=0.001).rows
    content = capture(frames)
    assert (row["client_by"], row["client_ip"], row["first_packet"]) == ("syn", A, 3)
    assert row["flow_id"] == content.index(syn) - 16


@pytest.mark.parametrize(("nanoseconds", "late"), [(0, 0), (-1, 1)])
def test_a_packet_as_late_as_the_window_finds_its_place(meter: Meter, nanoseconds: int, late: int) -> None:
    """A packet waits until one has been read that is later by the window; then its place has been passed."""
    frames = [packet(1), packet(1.01), packet(1, nanoseconds=nanoseconds)]
    assert counts(meter(frames, reorder=0.01)) == (1 - late, late, 0)
    assert counts(meter(frames, reorder=0.010000001)) == (1, 0, 0)


def test_equal_times_keep_the_order_of_the_capture(meter: Meter) -> None:
    """Sorting is stable."""
    frames = [packet(1, 50001), packet(0, 50002), packet(1, 50003), packet(0, 50004), packet(1, 50005)]
    ports = [(row["client_port"], row["first_packet"]) for row in meter(frames, reorder=1, key="hosts").rows]
    assert ports == [(50002, 2)]
    opened = meter(frames, reorder=2, idle_timeout=(0.5,) * 4, key="hosts")
    assert [(row["first_packet"], row["packets"]) for row in opened.rows] == [(2, 2), (1, 3)]


def test_a_late_packet_is_metered_at_once(meter: Meter) -> None:
    """A packet whose place has been passed comes before those that wait, and is counted."""
    frames = [packet(0), packet(0.6), packet(1), packet(1.001), packet(0.5), packet(1.002)]
    result = meter(frames, reorder=0.1, active_timeout=0.55)
    assert counts(result) == (0, 1, 0)
    assert [(row["packets"], row["clock_back"]) for row in result.rows] == [(1, 0), (5, 1)]


def test_a_packet_is_not_late_before_its_place_has_been_passed(meter: Meter) -> None:
    """One later than the window still finds its place where none behind it has left."""
    assert counts(meter([packet(0), packet(1), packet(0.5)], reorder=0.1)) == (1, 0, 0)


def test_off_by_default(meter: Meter) -> None:
    """Without the option the order is that of the capture."""
    assert counts(meter([packet(1), packet(0)])) == (0, 0, 0)


# Times that are missing or far off


def test_a_record_without_time_follows_the_one_before_it(meter: Meter) -> None:
    """It takes the time that the record before it was ordered by, so it moves with it."""
    frames = [
        packet(0, 50001),
        packet(0.005, 50002),
        packet(0, 50003)._replace(time=None),
        packet(0.001, 50004),
        packet(0, 50005)._replace(time=None),
    ]
    result = meter(frames, reorder=0.01, key="hosts", idle_timeout=(0.003,) * 4)
    assert [(row["first_packet"], row["packets"]) for row in result.rows] == [(1, 3), (2, 2)]
    assert counts(result) == (1, 0, 0)
    assert result.counters["no_time"] == 2


def test_records_without_time_in_front_stay_there(meter: Meter) -> None:
    """Before the first time there is nothing to follow."""
    frames = [packet(0, 50001)._replace(time=None), packet(1, 50002), packet(0, 50003)]
    result = meter(frames, reorder=2, key="hosts")
    assert numbers(result) == [1]
    assert counts(result) == (1, 0, 0)


@pytest.mark.parametrize("stray", [5 * 3600, -5 * 3600])
def test_a_stray_time_stays_where_it_was(meter: Meter, stray: float) -> None:
    """Nothing moves across a record that is more than an hour off: the clock judges it in its place."""
    frames = [packet(0), packet(0.002), packet(0.001), packet(stray), packet(0.004), packet(0.003)]
    result = meter(frames, reorder=0.01)
    assert counts(result) == (2, 0, 0)
    assert result.counters["clock_jump"] == 1
    assert [(row["packets"], row["clock_back"], row["duration_s"]) for row in result.rows] == [(6, 0, 0.004)]


@pytest.mark.parametrize(("nanoseconds", "moved"), [(0, 1), (1, 0)])
def test_an_hour_is_not_more_than_an_hour(meter: Meter, nanoseconds: int, moved: int) -> None:
    """A record exactly an hour off is not a step yet."""
    frames = [packet(3600, nanoseconds=nanoseconds), packet(0)]
    assert counts(meter(frames, reorder=3600)) == (moved, 0, 0)


def test_a_step_begins_anew(meter: Meter) -> None:
    """Behind a clock that was set back nothing is late."""
    frames = [packet(7200 + step * 0.01) for step in range(20)] + [packet(step * 0.01) for step in range(20)]
    result = meter(frames, reorder=0.01)
    assert counts(result) == (0, 0, 0)


# Bounds


@pytest.mark.parametrize(("packets", "size"), [(3, 2**26), (2**18, 3 * 42)])
def test_no_more_wait_than_the_bounds_allow(meter: Meter, packets: int, size: int) -> None:
    """Beyond a number of packets or bytes the earliest leave before their time, and are counted."""
    frames = [packet(1 + 0.001 * step) for step in range(10)] + [packet(0)]
    with (
        mock.patch.multiple(oracle, WAITING_PACKETS=packets, WAITING_BYTES=size),
        mock.patch.multiple(reorder, MOST_PACKETS=packets, MOST_BYTES=size),
    ):
        result = meter(frames, reorder=60)
    assert counts(result) == (0, 1, 7)
    assert [row["packets"] for row in result.rows] == [11]


def hostile(packets: int) -> bytes:
    """A packet almost an hour ahead, which waits for long, and then many of all sizes in the wildest order."""
    frames = [(START + 3000 * SECOND, eth(ip4(udp(1, 2))))]
    for step in range(packets):
        time = START + step * MILLISECOND + (step * 7919 % 1009 - 500) * MILLISECOND
        frames.append((time, eth(ip4(udp(1024 + step % 512, 53, bytes(step * 37 % 900))))))
    return write_pcap(frames)


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    """However packets lie, the stage holds hardly more than the bounds allow, and loses none."""
    content = hostile(60_000)
    bounds = {"MOST_PACKETS": 1000, "MOST_BYTES": 300_000, "_FIRST_ENTRIES": 64, "_FIRST_BYTES": 1024}
    with mock.patch.multiple(reorder, **bounds):
        run = Run(io.BytesIO(content), Hooks(), reorder=3600.0)
    for _ in run.batches():
        pass
    assert run.reorder is not None
    held = run.reorder._held
    assert run.stats.packets == 60_001
    assert run.stats.counters["reorder_early"] > 50_000
    assert len(held.entries) <= 1 << 15  # what is read at once comes on top: 8,192 rows, 2 MiB
    assert len(held.frames) <= 1 << 23


@pytest.mark.slow
def test_nothing_is_lost_when_buffers_grow_and_are_cleared() -> None:
    """Bytes that were moved are still those of their packets: the rows are those of the sorted capture."""
    frames = oracle.read_frames(hostile(1_500))[1:]
    ordered = sorted(frames, key=lambda frame: frame.time or 0)
    expected = by_package(write_pcap([(frame.time, frame.data) for frame in ordered]))
    bounds = {"_FIRST_ENTRIES": 64, "_FIRST_BYTES": 1024, "make_batch": lambda: make_batch(64)}
    with mock.patch.multiple(reorder, **bounds):
        found = by_package(write_pcap([(frame.time, frame.data) for frame in frames]), reorder=2.0)
    for row in (*expected.rows, *found.rows):
        del row["flow_id"], row["first_packet"]
    assert counts(found)[0] > 1_000 and counts(found)[1:] == (0, 0)
    assert differences(Result(expected.rows, found.reasons, found.counters), found) == []


# Properties


@st.composite
def written_late(draw: st.DrawFn) -> tuple[list[Sent], list[Sent]]:
    """A capture in order of time, and the same with packets written up to a window late."""
    frames = draw(strategies.anything() | strategies.exchanges() | strategies.fragments())
    steady = [frame._replace(time=START + ((frame.time or START) - START) % HOUR) for frame in frames]
    ordered = sorted(steady, key=lambda frame: frame.time or 0)
    delays = draw(st.lists(st.sampled_from([0, 1, SECOND, 20 * SECOND]), min_size=len(frames), max_size=len(frames)))
    written = sorted(zip(ordered, delays, strict=True), key=lambda pair: (pair[0].time or 0) + pair[1])
    return ordered, [frame for frame, _ in written]


@strategies.examples(60)
@given(captures=written_late(), options=strategies.options())
def test_a_shuffled_capture_is_the_sorted_one(captures: tuple[list[Sent], list[Sent]], options: dict[str, Any]) -> None:
    """Packets written no later than the window give the rows of the sorted capture, but for the records' places."""
    ordered, written = captures
    # Equal times keep their order: where two were exchanged, either order is right.
    ordered = sorted(written, key=lambda frame: frame.time or 0)
    options |= {"dedup": None, "reorder": None}
    expected = by_package(write_pcapng(ordered), **options)
    found = by_package(write_pcapng(written), **options | {"reorder": 20.0})
    for row in (*expected.rows, *found.rows):
        del row["flow_id"], row["first_packet"]
    key = str  # rows that end at the same time are in the order of their ids, which are others
    expected.rows.sort(key=key), found.rows.sort(key=key)
    assert found.counters["reorder_late"] == 0
    assert differences(Result(expected.rows, expected.reasons, found.counters), found) == []


@strategies.examples(25)
@given(frames=strategies.disturbed(strategies.clocks()), options=strategies.options(), window=strategies.REORDER)
@pytest.mark.parametrize("rows", [16, 33])
def test_batch_size_changes_no_order(rows: int, frames: list[Sent], options: dict[str, Any], window: float) -> None:
    """What leaves is decided record by record."""
    content = capture(frames * 3)
    options["reorder"] = window
    with mock.patch.multiple(reorder, _FIRST_ENTRIES=8, _FIRST_BYTES=64, make_batch=lambda: make_batch(16)):
        found = by_package(content, rows=rows, **options)
    assert differences(by_package(content, **options), found) == []


# Captures


def test_interfaces_of_any_resolution_are_put_together(meter: Meter) -> None:
    """Times are compared in nanoseconds, whatever the interface counts in; those without time follow."""
    data = eth(ip4(icmp(8)))
    content = section() + interface(resolution=6) + interface(resolution=9) + interface(resolution=0x80 | 10)
    seconds = START // SECOND
    content += enhanced(seconds * 10**6 + 500_000, data, index=0)
    content += enhanced(START + 250_000_000, data, index=1)
    content += enhanced(seconds * 2**10 + 768, data, index=2)
    content += simple(data)
    content += enhanced(START + 125_000_000, data, index=1)
    run = by_oracle if meter.__name__ == "oracle" else by_package
    (row,) = run(content, reorder=1.0).rows
    assert (row["first_packet"], row["packets"], row["clock_back"], row["duration_s"]) == (5, 5, 0, 0.625)
    assert (row["iat_min_s"], row["iat_max_s"]) == (0.0, 0.25)


def rotated() -> list[bytes]:
    """Three captures of one trace that overlap, as several queues write them."""
    files: list[list[tuple[int, bytes]]] = [[], [], []]
    for step in range(60):
        late = (0, 9, 4)[step % 3]
        number = min(2, (step + late) // 20)
        files[number].append((START + step * MILLISECOND, eth(ip4(udp(50000 + step % 2, 53, bytes(step))))))
    return [write_pcap(records) for records in files]


def test_joined_captures_are_put_together() -> None:
    """The captures of a trace are ordered over their borders; ids name the file that a packet is in."""
    captures = rotated()
    options = {"reorder": 0.01, "idle_timeout": (0.005,) * 4}
    expected = joined(captures, **options)
    assert expected.counters["reordered"] > 0 and expected.counters["reorder_late"] == 0
    for rows in (None, 16):
        assert differences(expected, by_package_joined(captures, rows=rows, **options)) == []
    alone = by_package_joined(captures)
    assert alone.counters["reordered"] == 0 and sum(row["clock_back"] for row in alone.rows) > 0


@st.composite
def split(draw: st.DrawFn) -> list[list[Sent]]:
    """A trace within an hour, with copies and disorder, in several captures ordered by their first packets."""
    frames = [
        frame._replace(time=START + ((frame.time or START) - START) % HOUR)
        for frame in draw(strategies.disturbed(strategies.clocks() | strategies.fragments()))
    ]
    cuts = sorted(draw(st.lists(st.integers(0, len(frames)), max_size=3)))
    parts = [frames[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(frames)], strict=True)]
    return sorted((part for part in parts if part), key=lambda part: part[0].time or 0)


@strategies.examples(50)
@given(parts=split(), options=strategies.options(), window=strategies.REORDER)
def test_both_join_captures_alike(parts: list[list[Sent]], options: dict[str, Any], window: float) -> None:
    """Order and copies are found over the borders of captures, and every record names the capture of its packet."""
    captures = [capture(part) for part in parts]
    options["reorder"] = window
    assert differences(joined(captures, **options), by_package_joined(captures, **options)) == []


def test_the_source_is_that_of_the_packet(tmp_path: Any) -> None:
    """A record whose first packet was held over the border of its file names that file."""
    for name, frames in (("a", [packet(0), packet(0.004, 50001)]), ("b", [packet(0.002, 50002), packet(0.005, 50003)])):
        (tmp_path / f"{name}.pcap").write_bytes(capture(frames))
    table = flowgauge.read(tmp_path, reorder=0.01, join=True, label="{app}.pcap")
    found = {row["client_port"]: (row["source"][-6:], row["app"], row["flow_id"] >> 40) for row in table.to_pylist()}
    assert found == {
        50000: ("a.pcap", "a", 0),
        50001: ("a.pcap", "a", 0),
        50002: ("b.pcap", "b", 1),
        50003: ("b.pcap", "b", 1),
    }


def test_a_fragment_that_waits_keeps_its_identity() -> None:
    """A tail whose first fragment never comes opens a flow of the file it was captured in, also after its border."""
    tail = sent(0, eth(ip4(udp(1, 2, bytes(8)), offset=4)))
    captures = [capture([packet(0), tail]), capture([packet(1, 50009), packet(50, 50008)])]
    assert differences(joined(captures), by_package_joined(captures)) == []


def test_a_capture_alone_is_a_trace() -> None:
    """Without `join` what waits leaves at the end of its capture."""
    captures = rotated()
    run = Run([io.BytesIO(content) for content in captures], Hooks(), reorder=0.01)
    rows = [row for batch in run.batches() for row in batch.to_pylist()]
    expected = [by_oracle(content, reorder=0.01) for content in captures]
    assert run.stats.counters["reordered"] == sum(result.counters["reordered"] for result in expected)
    assert sorted(row["flow_id"] % 2**40 for row in rows) == sorted(
        row["flow_id"] for result in expected for row in result.rows
    )


def test_packets_that_are_read_are_metered_when_interrupted() -> None:
    """An interruption ends reading; what waits then is metered all the same."""
    for join in (False, True):
        content = write_pcap([(START + step * MILLISECOND, eth(ip4(udp(1, 2)))) for step in range(300)])
        with mock.patch.object(reorder, "make_batch", return_value=make_batch(64)):
            run = Run(io.BytesIO(content), Hooks(should_stop=lambda: True), reorder=0.01, join=join)
        (batch,) = run.batches()
        assert run.stats.interrupted
        assert run.stats.packets == 64
        assert batch["packets"].to_pylist() == [run.stats.packets]
        assert batch["end_reason"].to_pylist() == ["stop"]


@pytest.mark.parametrize("join", [False, True])
def test_a_capture_without_a_known_link_is_said(join: bool) -> None:
    """A capture of which nothing can be decoded is named, and only that one."""
    known = capture([packet(step) for step in range(5)])
    unknown = write_pcap([(START + SECOND * step, bytes(60)) for step in range(5)], link=147)
    for captures in ([known, unknown], [unknown, known]):
        sources = [io.BytesIO(content) for content in captures]
        for number, source in enumerate(sources):
            source.name = f"{number}.pcap"  # type: ignore[attr-defined]
        run = Run(sources, Hooks(), reorder=100.0, join=join)
        for _ in run.batches():
            pass
        assert list(run.stats.failed) == [f"{captures.index(unknown)}.pcap"]
        assert run.stats.reasons["unknown_link"] == 5


def test_a_damaged_capture_is_ordered_up_to_the_damage() -> None:
    """What was read before the break is put in order and metered."""
    content = capture([packet(1), packet(0), packet(2)])[:-5]
    run = Run(io.BytesIO(content), Hooks(), reorder=10.0)
    assert [row["packets"] for batch in run.batches() for row in batch.to_pylist()] == [2]
    assert run.stats.damaged and run.stats.counters["reordered"] == 1


def test_rows_are_delivered_as_they_leave() -> None:
    """Rows of the stage have the bytes of their packets until the next are asked for; nothing comes twice."""
    frames = [
        (START + (step ^ 3) * MILLISECOND, bytes(range(step % 199, step % 199 + step % 50))) for step in range(900)
    ]
    batch = make_batch(64)
    seen = []
    with (
        mock.patch.multiple(reorder, _FIRST_ENTRIES=8, _FIRST_BYTES=64),
        open_capture(io.BytesIO(write_pcap(frames)), timed=False, buffers=Buffers(1024)) as source,
    ):
        stage = Reorder(0.004, Clock())
        stage.begin(source, 3)
        while rows := max(stage.steps(batch), default=0):
            for row in batch.packets[:rows]:
                begin, end = int(row.offset), int(row.offset) + int(row.caplen)
                seen.append((int(row.time), stage.buffer[begin:end].tobytes(), int(row.number)))
    assert seen == [(time, data, number + 1) for number, (time, data) in sorted(enumerate(frames), key=lambda x: x[1])]
