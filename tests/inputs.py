"""Captures to try readers on: with jumps of the clock, of every container, and with any bytes changed."""

from __future__ import annotations

from hypothesis import strategies as st

from captures import COMPRESSORS, block, enhanced, interface, obsolete, section, simple, write_pcap, write_pcapng

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_600_000_000 * SECOND

# Jumps of the clock at several places, so that rows wait for their look-ahead.
_JUMPS = {0: 5 * HOUR, 3: -9 * HOUR, 50: 2 * HOUR, 51: 2 * HOUR, 120: 3 * HOUR, 298: 7 * HOUR}
FRAMES = [
    (START + i * SECOND + _JUMPS.get(i, 0), bytes([i % 251]) * (1 + i * 37 % 700), 1600 if i % 5 else None)
    for i in range(300)
]
CONTAINERS = {"pcap": write_pcap(FRAMES), "pcapng": write_pcapng(FRAMES, order=">")}

_FRAMES = [(START + i * 10**9, bytes(range(i * 11 % 200))) for i in range(30)]
BLOCKS = (
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
    BLOCKS,
    *(compress(write_pcap(_FRAMES)) for compress in COMPRESSORS.values()),
]
_INTERESTING = [0, 1, 3, 4, 7, 8, 12, 16, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]


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
