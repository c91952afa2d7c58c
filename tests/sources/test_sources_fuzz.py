"""Bounded fuzzing of the walks: whatever the bytes, an orderly end."""

from __future__ import annotations

import io
import random
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowgauge.errors import SourceError
from inputs import BLOCKS, SEEDS, mutated
from reading import read_rows


def check(data: bytes, buffer_bytes: int = 256) -> None:
    """The input is read to an orderly end, twice alike."""
    try:
        rows, capture = read_rows(data, rows=16, buffer_bytes=buffer_bytes)
    except SourceError:
        return
    again, other = read_rows(data)
    assert (rows, capture.damage, capture.counters) == (again, other.damage, other.counters)
    assert "bounds check" not in str(capture.damage)
    assert all(a.record_offset < b.record_offset and a.number < b.number for a, b in pairwise(rows))
    assert all(a.epoch <= b.epoch for a, b in pairwise(rows))
    assert sum(len(row.data) for row in rows) < len(data) or capture.compression


@settings(max_examples=300, deadline=None)
@given(mutated(), st.sampled_from([64, 256, 4096]))
def test_mutated_captures(data, buffer_bytes):
    """A capture with any bytes changed ends in order: packets, then damage or a clear error."""
    check(data, buffer_bytes)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([seed[:24] for seed in SEEDS]), st.binary(max_size=300))
@example(b"", b"")
def test_random_records(head, rest):
    """A file header with anything behind it ends in order."""
    check(head + rest)


def test_cut_at_every_byte():
    """A capture cut at any byte delivers the packets that are whole before it."""
    for data in (SEEDS[0], BLOCKS):
        whole, _ = read_rows(data)
        for length in range(len(data)):
            try:
                rows, capture = read_rows(io.BytesIO(data[:length]))
            except SourceError:
                assert length < 28
                continue
            assert [row.data for row in rows] == [row.data for row in whole[: len(rows)]]
            assert capture.damage is None or f"byte {length}" in capture.damage or "cut off" in capture.damage


def test_seeded_noise():
    """Thousands of captures with a few random bytes changed end in order."""
    generator = random.Random(1)
    for _ in range(1500):
        data = bytearray(generator.choice(SEEDS[:7]))
        for _ in range(generator.randint(1, 8)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        check(bytes(data))
