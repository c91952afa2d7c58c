"""From a file to decoded packets in one call of a kernel.

Meanwhile no thread waits for Python's lock, and what was read is decoded while it is in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowgauge.kernels._external import by_name, read_file, ticks
from flowgauge.kernels._jit import inline_helper, kernel
from flowgauge.kernels.clock import run_clock
from flowgauge.kernels.decode import decode_rows
from flowgauge.kernels.pcap import walk_pcap
from flowgauge.kernels.pcapng import walk_pcapng
from flowgauge.kernels.records import MORE

U = np.uint64

INTAKE = np.dtype(
    [
        ("clocked", np.int64),  # rows that the clock has run over
        ("decoded", np.int64),
        ("piece", np.uint64),  # bytes that are read at once
        ("read_bytes", np.int64),
        ("read_ns", np.int64),
        ("decode_ns", np.int64),
        ("file", np.int32),  # descriptor
        ("blocks", np.uint8),  # 1: of pcapng
        ("over", np.uint8),  # 1: no record follows those in the rows
        ("walking", np.uint8),  # 1 while records are walked
    ],
    align=True,
)
"""How far a batch is filled, how it goes on, and what that took."""

_walk_pcap, _walk_pcapng = by_name(walk_pcap), by_name(walk_pcapng)
_run_clock, _decode = by_name(run_clock), by_name(decode_rows)


@inline_helper
def _settle(p, data, s, rows, clock, counts, decoding):
    """Time and decode the rows up to `rows`."""
    s.clocked = _run_clock((p, s.clocked, rows, s.over != 0, clock, counts))
    begin = ticks()
    _decode((data, p, s.decoded, s.clocked, *decoding))
    s.decoded = s.clocked
    s.decode_ns += ticks() - begin


@inline_helper
def _read_on(data, s, c):
    """Read a piece behind the bytes that are there; whether there was one, and room for it."""
    room = min(U(len(data)) - c.end, s.piece)
    if room == U(0):
        return False
    begin = ticks()
    count = read_file(s.file, data, c.end, room)
    s.read_ns += ticks() - begin
    if count <= 0:
        return False
    s.read_bytes += count
    c.end += U(count)
    return True


@kernel
def take_in(p, data, words, cursor, pcap, pcapng, intake, clock, counts, decoding):
    """Walk, time and decode records, and read more of them, until the rows or the buffer are full.

    `words` are the bytes of `data`; `pcap`, or with `blocks` `pcapng`, are what the walk is told of the records, and
    `decoding` what :func:`decode_rows` is told behind the rows. Returns the verdict of the walk: MORE where the buffer
    is full, where nothing could be read, and where it is over.
    """
    s, c = intake[0], cursor[0]
    while True:
        verdict = MORE
        if s.over == 0:
            s.walking = 1
            if s.blocks != 0:
                verdict = _walk_pcapng((p, words, cursor, *pcapng))
            else:
                verdict = _walk_pcap((p, data, cursor, *pcap))
            s.walking = 0
        _settle(p, data, s, c.row, clock, counts, decoding)
        if verdict != MORE or s.over != 0 or not _read_on(data, s, c):
            return verdict


def bind(
    p: Any, data: Any, words: Any, cursor: Any, pcap: Any, pcapng: Any, clock: Any, counts: Any, decoding: Any
) -> None:
    """Comes before the first call of :func:`take_in`: calls what that calls, for no rows of `p`."""
    walk_pcap(p, data, cursor, *pcap)
    walk_pcapng(p, words, cursor, *pcapng)
    run_clock(p, 0, 0, False, clock, counts)
    decode_rows(data, p, 0, 0, *decoding)
