"""Bounded fuzzing of the walks: whatever the bytes, an orderly end."""

from __future__ import annotations

import io
import random
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from captures import COMPRESSORS, block, enhanced, interface, obsolete, section, simple, write_pcap, write_pcapng
from flowgauge.errors import SourceError
from reading import read_rows

START = 1_600_000_000_000_000_000
_FRAMES = [(START + i * 10**9, bytes(range(i * 11 % 200))) for i in range(30)]
_BLOCKS = (
    section("<") + interface(1, resolution=0x8A, offset=-5, name="x") + enhanced(9, b"abc", pairs=[(1, b"note")])
    + block(0xBAD, bytes(12)) + simple(b"abcdefg") + obsolete(10, b"xyz") + interface(113, snaplen=4)
    + simple(b"12345678") + section(">") + interface(101, ">", resolution=9)
    + enhanced(1 << 40, bytes(50), order=">") + block(5, bytes(8), ">")
)  # fmt: skip
SEEDS = [
    *(
        write_pcap(_FRAMES, **variant)
        for variant in ({}, {"order": ">", "ns": True}, {"modified": True}, {"header": 24})
    ),
    *(write_pcapng(_FRAMES, order=order) for order in "<>"),
    _BLOCKS,
    *(compress(write_pcap(_FRAMES)) for compress in COMPRESSORS.values()),
]
_INTERESTING = [0, 1, 3, 4, 7, 8, 12, 16, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]


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


@st.composite
def mutated(draw) -> bytes:
    """A valid capture with a few bytes or words changed, cut out, repeated or cut off."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["byte", "word", "cut", "repeat", "insert", "end"]))
        if kind == "byte":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "word":
            order = draw(st.sampled_from(["little", "big"]))
            data[at & ~3 : (at & ~3) + 4] = draw(st.sampled_from(_INTERESTING)).to_bytes(4, order)
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 200))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=20))
        else:
            del data[at:]
    return bytes(data)


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
    for data in (SEEDS[0], _BLOCKS):
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
