"""The running clock and the boundaries of a trace (docs/flow-semantics.md, "Clock" and "Boundaries")."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper, kernel
from flowgauge.kernels.records import NO_TIME

LOOKAHEAD = 8
"""Records after one that can decide what its time is worth."""

HOUR = np.int64(3_600_000_000_000)
EPOCH_LENGTH = np.int64(30_000_000_000)
EPOCH_RECORDS = np.int64(1 << 20)

CLOCK = np.dtype(
    [
        ("time", np.int64),  # the running clock
        ("epoch", np.int64),
        ("interval", np.int64),  # that the clock lies in: which multiple of EPOCH_LENGTH
        ("records", np.int64),  # of the trace so far
        ("started", np.uint8),  # 1: a record with a time was seen in this trace
    ],
    align=True,
)

COUNTERS = ("clock_jump", "no_time")
_JUMP, _NO_TIME = 0, 1

# Verdicts on a time: which of the records behind it decide.
_GENUINE, _FALSE, _UNDECIDED = 0, 1, 2


@helper
def _near(time, clock):
    """Within an hour; never true of NO_TIME, whose difference from any clock is larger, also when it wraps."""
    return -HOUR <= time - clock <= HOUR


@helper
def _open_end(row, rows, final):
    """Whether records that are not read yet belong to the look-ahead of `row`."""
    return not final and rows - row <= LOOKAHEAD


@helper
def _step(packets, row, rows, final, clock):
    """Verdict on a time more than an hour off the clock: false when one of the next records is not."""
    for ahead in range(row + 1, min(row + 1 + LOOKAHEAD, rows)):
        if _near(packets[ahead].time, clock):
            return _FALSE
    return _UNDECIDED if _open_end(row, rows, final) else _GENUINE


@helper
def _start(packets, row, rows, final):
    """(verdict, time) of a trace's first time: false when it is more than an hour after all of the next."""
    after = NO_TIME
    for ahead in range(row + 1, min(row + 1 + LOOKAHEAD, rows)):
        if packets[ahead].time == NO_TIME:
            continue
        if packets[row].time - packets[ahead].time <= HOUR:
            return _GENUINE, packets[row].time
        if after == NO_TIME:
            after = packets[ahead].time
    if _open_end(row, rows, final):
        return _UNDECIDED, packets[row].time
    return (_GENUINE, packets[row].time) if after == NO_TIME else (_FALSE, after)


@helper
def _before_start(packets, row, rows, final):
    """(verdict, time) of a record without time before any that has one."""
    for ahead in range(row + 1, min(row + 1 + LOOKAHEAD, rows)):
        if packets[ahead].time != NO_TIME:
            return _GENUINE, packets[ahead].time
    return (_UNDECIDED if _open_end(row, rows, final) else _GENUINE), np.int64(0)


@helper
def _judge(packets, row, rows, final, clock, started):
    """(verdict, clock after the record) where the record alone does not decide it."""
    time = packets[row].time
    if not started:
        if time == NO_TIME:
            return _before_start(packets, row, rows, final)
        return _start(packets, row, rows, final)
    if time == NO_TIME:
        return _GENUINE, clock
    verdict = _step(packets, row, rows, final, clock)
    return verdict, time if verdict == _GENUINE else clock


@inline_helper
def _count_epoch(q, c):
    """Number the boundary interval of a row whose clock is known.

    Where boundaries lie follows from the clock and the number of records alone, so that parts of a trace can be read
    apart from each other.
    """
    since = q.clock - c.interval * EPOCH_LENGTH  # no division for each packet
    if since < 0 or since >= EPOCH_LENGTH or c.records & (EPOCH_RECORDS - 1) == 0:
        c.epoch += 1
        c.interval = q.clock // EPOCH_LENGTH
    c.records += 1
    q.epoch = c.epoch


@kernel
def run_clock(p, begin, rows, final, clock, counts):
    """Fill clock, epoch and the true time of rows `begin` to `rows`; return the first that is not decided.

    A row is decided when the look-ahead is complete or does not matter; `final` says that no record
    follows. `counts` gets one more for each record counted in COUNTERS.
    """
    c = clock[0]
    for row in range(begin, rows):
        q = p.packets[row]
        time = q.time
        if c.started and _near(time, c.time):
            c.time = max(c.time, time)
        else:
            verdict, now = _judge(p.packets, row, rows, final, c.time, c.started != 0)
            if verdict == _UNDECIDED:
                return row
            c.time = now
            if time == NO_TIME or verdict == _FALSE:
                q.time = now
                counts[_NO_TIME if time == NO_TIME else _JUMP] += 1
            c.started = c.started or time != NO_TIME
        q.clock = c.time
        _count_epoch(q, c)
    return rows
