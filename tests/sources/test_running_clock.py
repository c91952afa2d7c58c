"""The running clock and boundaries: docs/flow-semantics.md, "Clock" and "Boundaries"."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from captures import enhanced, interface, section, simple, write_pcap
from flowgauge.kernels.clock import LOOKAHEAD, run_clock
from flowgauge.kernels.packet import make_batch
from flowgauge.kernels.records import NO_TIME
from flowgauge.sources.clock import Clock
from reading import read_rows

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_600_000_000 * SECOND


def run(times, clock=None, final=True):
    """(decided rows, times, clocks, epochs, counts) of a trace in one piece; None has no time."""
    batch = make_batch(max(16, len(times)))
    packets = batch.packets
    packets.time[: len(times)] = [NO_TIME if time is None else time for time in times]
    counts = np.zeros(2, np.int64)
    decided = run_clock(batch, 0, len(times), final, (clock or Clock()).state, counts)
    columns = (packets.time, packets.clock, packets.epoch)
    return decided, *(column[:decided].tolist() for column in columns), counts.tolist()


def clocks(*hours):
    """(times, clocks, jumps) of records at these hours."""
    _, times, running, _, (jumps, _) = run([START + int(h * HOUR) for h in hours])
    return [(t - START) / HOUR for t in times], [(c - START) / HOUR for c in running], jumps


def test_latest_time():
    """The clock is the latest time so far; a record up to an hour before it keeps its own time."""
    assert clocks(0, 0.5, 0.25, 1, 0) == ([0, 0.5, 0.25, 1, 0], [0, 0.5, 0.5, 1, 1], 0)


def test_step_that_returns():
    """A step of more than an hour is false when one of the next records is near the clock."""
    assert clocks(0, 5, 0.1) == ([0, 0, 0.1], [0, 0, 0.1], 1)
    assert clocks(0, -5, 0.1) == ([0, 0, 0.1], [0, 0, 0.1], 1)


def test_genuine_steps():
    """A step that stays sets the clock, also backwards."""
    assert clocks(0, 5, 5, 5) == ([0, 5, 5, 5], [0, 5, 5, 5], 0)
    assert clocks(0, 0, -5, -5) == ([0, 0, -5, -5], [0, 0, -5, -5], 0)
    assert clocks(0, 5) == ([0, 5], [0, 5], 0)


def test_look_ahead_is_eight_records():
    """The eighth record after a step is looked at, the ninth is not."""
    assert clocks(0, *[5] * 8, 0)[2] == 8
    assert clocks(0, *[5] * 9, 0)[1][1] == 5


@pytest.mark.parametrize(("step", "jumps"), [(HOUR, 0), (HOUR + 1, 1), (-HOUR, 0), (-HOUR - 1, 1)])
def test_an_hour_is_not_more_than_an_hour(step, jumps):
    """A step of exactly an hour needs no second look."""
    assert run([START, START + step, START])[4] == [jumps, 0]


def test_first_record_too_late():
    """A first record more than an hour after all of the next takes the time of the record after it."""
    assert clocks(5, 0.5, 0) == ([0.5, 0.5, 0], [0.5, 0.5, 0.5], 1)
    assert clocks(5, 0, 4) == ([5, 5, 4], [5, 5, 5], 1)
    assert clocks(5) == ([5], [5], 0)
    assert clocks(-5, 0)[0] == [-5, 0]


def test_records_without_time():
    """A record without time takes the clock and is counted; the look-ahead passes it over."""
    times = [START, None, START + 2 * HOUR, None, START + 1]
    assert run(times)[1:] == ([START] * 4 + [START + 1], [START] * 4 + [START + 1], [0] * 5, [1, 2])


def test_records_before_the_first_time():
    """Before any time, the clock is the first time among the next eight records, else 0."""
    _, times, _, epochs, counts = run([None] * 10 + [START])
    assert times == [0, 0] + [START] * 9
    assert (epochs, counts) == ([0, 0] + [1] * 9, [0, 10])


def test_extreme_times():
    """The earliest and latest times that a capture can have do not overflow."""
    latest = 2**62 - 1
    assert run([-latest, latest, -latest, latest])[1:3] == ([-latest] * 3 + [latest],) * 2
    assert run([0, None, 0])[1] == [0, 0, 0]


def test_epochs_by_time():
    """A boundary lies before a record in another multiple of 30 s since 1970 than the one before, later or earlier."""
    begin = START - START % (30 * SECOND)
    seconds = [5, 29, 30, 59, 60, 200, 209, 210]
    assert run([begin + s * SECOND for s in seconds])[3] == [0, 0, 1, 1, 2, 3, 3, 4]
    assert run([START, START, START - HOUR - 1, START - HOUR - 1])[3] == [0, 0, 1, 1]
    assert run([START, START, START - HOUR, START - HOUR])[3] == [0, 0, 0, 0]


@pytest.mark.compiled  # a million records
def test_epochs_by_count():
    """Every 2^20th record of a trace opens the next interval."""
    clock = Clock()
    batch = make_batch(1 << 18)
    batch.packets.time[:] = START
    epochs = []
    for _ in range(5):
        run_clock(batch, 0, 1 << 18, True, clock.state, np.zeros(2, np.int64))
        epochs.append((int(batch.packets.epoch[0]), int(batch.packets.epoch[-1])))
    assert epochs == [(0, 0)] * 4 + [(1, 1)]


def test_undecided_rows():
    """Rows whose look-ahead is not complete are left alone unless the input ends."""
    step = [START, START + 5 * HOUR, START + 5 * HOUR]
    assert run(step, final=False)[0] == 1
    assert run(step, final=True)[0] == 3
    assert run([START], final=False)[0] == 0
    assert run([START, START], final=False)[0] == 2
    assert run([START + 5 * HOUR] + [START] * LOOKAHEAD, final=False)[0] == 1 + LOOKAHEAD


def test_continued_and_restarted():
    """A clock goes on over files; a restarted one begins a new trace in the next interval."""
    clock = Clock()
    read = [
        read_rows(write_pcap([(START + s * SECOND, b"x") for s in seconds]), clock=clock)[0]
        for seconds in ([0, 5], [3, 40])
    ]
    assert [[(row.clock - START) // SECOND for row in rows] for rows in read] == [[0, 5], [5, 40]]
    assert [[row.epoch for row in rows] for rows in read] == [[0, 0], [0, 1]]
    clock.restart()
    rows, _ = read_rows(write_pcap([(START, b"x")]), clock=clock)
    assert [(row.clock, row.epoch) for row in rows] == [(START, 2)]


def test_restart_before_any_record():
    """Traces without records use up no interval."""
    clock = Clock()
    clock.restart()
    clock.restart()
    assert run([START], clock)[3] == [0]


_STEPS = st.one_of(
    st.none(),
    st.integers(-3, 40).map(lambda s: s * SECOND),
    st.sampled_from([HOUR, -HOUR]).flatmap(lambda h: st.integers(-1, 1).map(lambda d: h + d)),
    st.integers(-5, 5).map(lambda h: h * HOUR),
)


@given(st.lists(_STEPS, min_size=1, max_size=60), st.integers(16, 40), st.integers(40, 400))
def test_against_the_oracle(offsets, rows, buffer_bytes):
    """Any sequence of times gives the oracle's times, clocks, boundaries and counts, in any pieces."""
    data = section() + interface(resolution=9)
    times = [None if offset is None else START + offset for offset in offsets]
    data += b"".join(simple(b"x") if time is None else enhanced(time, b"x") for time in times)
    counters: Counter[str] = Counter()
    ticks = oracle.run_clock(times, counters)
    found, capture = read_rows(data, rows=rows, buffer_bytes=buffer_bytes // 4 * 4)
    assert [(row.time, row.clock) for row in found] == [(tick.time, tick.clock) for tick in ticks]
    epochs = np.cumsum([tick.boundary for tick in ticks]).tolist()
    assert [row.epoch for row in found] == epochs
    assert capture.counters == {"clock_jump": counters["clock_jump"], "no_time": counters["no_time"]}
