"""Memory that is used again: only by those who may."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

import flowgauge
from flowgauge import memory, meter
from flowgauge.config import make_config
from flowgauge.memory import Memory
from packets import capture, eth, icmp, ip4, sent, tcp, udp


def _trace() -> io.BytesIO:
    packets = [build(1024 + number, 53) for number in range(60) for build in (tcp, udp)]
    return io.BytesIO(capture([sent(number, eth(ip4(packet))) for number, packet in enumerate(packets)]))


def test_a_block_is_used_again_when_nobody_holds_it() -> None:
    """The same memory comes back after the last view of it, and what Arrow made of it, are gone."""
    blocks = Memory()
    first = blocks.empty((2, 8), np.int64)
    place, held = first.ctypes.data, pa.py_buffer(first[1])
    assert blocks.empty(16, np.int64).ctypes.data != place
    del first
    assert blocks.empty(16, np.float64).ctypes.data != place
    del held
    assert blocks.empty(128, np.uint8).ctypes.data == place


def test_arrays_of_any_size_use_few_blocks() -> None:
    """Sizes that never come again, as those of a live run, do not keep a block each; an eighth is wasted at most."""
    blocks = Memory()
    for rows in range(1, 5000):
        assert blocks.empty((rows, 3), np.int64).shape == (rows, 3)
    assert len(blocks._blocks) < 100
    assert all(len(kept) == 1 for kept in blocks._blocks.values())
    assert 9000 <= next(len(block) for block in _kept_for(blocks, 9000)) <= 9000 * 9 / 8


def _kept_for(blocks: Memory, size: int) -> list[np.ndarray]:
    """The blocks that an array of this size would be made in."""
    place = blocks.empty(size, np.uint8).ctypes.data
    return [block for kept in blocks._blocks.values() for block in kept if block.ctypes.data == place]


def test_columns_do_not_lie_at_powers_of_two() -> None:
    """Columns are whole cache lines apart, and an odd number of them."""
    for rows in (1, 8, 9, 8192):
        for dtype in (np.uint8, np.uint16, np.int64):
            columns = Memory().columns((3, 2), rows, dtype)
            assert columns.shape[:2] == (3, 2) and columns.shape[2] >= rows
            assert columns.strides[1] % 128 == 64


def test_no_more_is_kept_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks beyond the limit are made and forgotten."""
    monkeypatch.setattr(memory, "_KEPT_BYTES", 100)
    blocks = Memory()
    arrays = [blocks.empty(40, np.uint8) for _ in range(5)]
    assert len({array.ctypes.data for array in arrays}) == 5
    assert sum(len(kept) for kept in blocks._blocks.values()) == 2


def test_batches_that_are_held_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records read at once and records copied out batch by batch are the same."""
    monkeypatch.setattr(meter, "BATCH_ROWS", 7)
    copied = [row for batch in flowgauge.stream(_trace()) for row in batch.to_pylist()]
    assert flowgauge.read(_trace()).to_pylist() == copied
    assert len(copied) == 120


def test_batches_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch but the last has the same number of records, whenever the flows ended."""
    monkeypatch.setattr(meter, "BATCH_ROWS", 7)
    assert [len(batch) for batch in flowgauge.stream(_trace(), idle_timeout=10)] == [7] * 17 + [1]


def test_records_that_are_large_come_in_smaller_batches() -> None:
    """So that what they are made of stays as small as that of others."""
    wide = "core,size,iat,flags,tcp,ip,splt,distribution,raw,names"
    sizes = [meter.Meter(make_config(features=groups)).batch_rows for groups in ("core", wide)]
    assert sizes == [32_768, 8192]


def test_an_icmp_tail_has_no_community_id() -> None:
    """Records with and without an id in one batch: the type of an ICMP tail without its first fragment is unknown."""
    frames = [
        sent(0, eth(ip4(icmp(8)))),
        sent(1, eth(ip4(icmp(8), "10.9.9.9", offset=9))),
        sent(2, eth(ip4(udp(7, 8)))),
    ]
    ids = flowgauge.read(io.BytesIO(capture(frames)))["community_id"].to_pylist()
    assert [value is None for value in ids] == [False, True, False]
