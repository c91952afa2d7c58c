"""Read a whole capture through the package's sources, for tests."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

from flowgauge.kernels.packet import make_batch
from flowgauge.sources.capture import Capture, open_capture


class Row(NamedTuple):
    """The frame columns of one packet, with its captured bytes in place of where they lie."""

    time: int
    data: bytes
    frame_len: int
    link: int
    number: int
    record_offset: int
    clock: int
    epoch: int


def read_rows(source: Any, *, rows: int = 64, **options: Any) -> tuple[list[Row], Capture]:
    """Every row of a capture given as bytes, path or file object, and the closed capture."""
    batch = _batch(rows)
    found: list[Row] = []
    with open_capture(io.BytesIO(source) if isinstance(source, bytes) else source, **options) as capture:
        while count := capture.read(batch):
            found += [_row(batch, i, capture.buffer) for i in range(count)]
        assert capture.read(batch) == 0
    return found, capture


def _row(batch: Any, i: int, buffer: Any) -> Row:
    begin, length = int(batch.offset[i]), int(batch.caplen[i])
    assert begin + length <= len(buffer)
    rest = (batch.frame_len, batch.link, batch.number, batch.record_offset, batch.clock, batch.epoch)
    data = buffer[begin : begin + length].tobytes()
    return Row(int(batch.time[i]), data, *(int(column[i]) for column in rest))


_batch = functools.cache(make_batch)


def packets(rows: list[Row]) -> list[tuple[int, bytes, int]]:
    """(time, captured bytes, original length) of each row, to compare across containers."""
    return [row[:3] for row in rows]
