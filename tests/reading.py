"""Read a whole capture through the package's sources, for tests."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

from flowgauge.kernels.packet import make_batch
from flowgauge.sources.capture import Capture, open_capture
from flowgauge.sources.window import BUFFER_BYTES, Buffers


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


def read_rows(
    source: Any, *, rows: int = 64, buffer_bytes: int = BUFFER_BYTES, **options: Any
) -> tuple[list[Row], Capture]:
    """Every row of a capture given as bytes, path or file object, and the closed capture."""
    batch = _batch(rows)
    found: list[Row] = []
    options["buffers"] = Buffers(buffer_bytes)
    with open_capture(io.BytesIO(source) if isinstance(source, bytes) else source, **options) as capture:
        while count := capture.read(batch):
            found += [_row(packet, capture.buffer) for packet in batch.packets[:count]]
        assert capture.read(batch) == 0
    return found, capture


def _row(packet: Any, buffer: Any) -> Row:
    begin, length = int(packet.offset), int(packet.caplen)
    assert begin + length <= len(buffer)
    rest = (packet.frame_len, packet.link, packet.number, packet.record_offset, packet.clock, packet.epoch)
    data = buffer[begin : begin + length].tobytes()
    return Row(int(packet.time), data, *map(int, rest))


_batch = functools.cache(make_batch)


def packets(rows: list[Row]) -> list[tuple[int, bytes, int]]:
    """(time, captured bytes, original length) of each row, to compare across containers."""
    return [row[:3] for row in rows]
