"""Group `payload`: what the first bytes of each direction's stream look like.

TCP segments are put in their place by sequence number, so that repeated and late ones do no harm; what counts is the
part without a hole from the first byte on. Of other protocols, payloads follow each other in the order of packets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from flowgauge.arrays import bytes_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Left, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import byte_helper, byte_kernel, helper, kernel, prefetch_all
from flowgauge.kernels.bits import leading_bits, put_bits
from flowgauge.kernels.header import RST, SYN, TCP
from flowgauge.kernels.heads import copy_bytes, segment_place
from flowgauge.kernels.packet import NOT_FRAGMENT
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

U8, U32, U64, I64 = np.uint8, np.uint32, np.uint64, np.int64
HEAD = 512  # bytes
AHEAD = 4  # rows

# By direction.
STATE = state_dtype(
    [
        ("first", np.uint32, (2,)),  # TCP: sequence number of byte 0
        ("known", np.uint8, (2,)),  # whether that is known
        ("full", np.uint8, (2,)),  # nothing is missing
        ("length", np.uint16, (2,)),  # bytes there are; TCP: whether there are any
        ("there", np.uint64, (2, HEAD // 64)),  # TCP: a bit for each byte
    ]
)
BYTES = state_dtype([("head", np.uint8, (2, HEAD))])
FLOATS = ("payload_entropy", "payload_printable")
# c · log2(c): the entropy of n bytes is that of n less the sum of those of the counts of each value, divided by n.
_COUNTS = np.arange(HEAD + 1, dtype=np.float64)
C_LOG_C = _COUNTS * np.log2(np.maximum(_COUNTS, 1.0))


@byte_helper
def _add_segment(data, q, f, kept, d):
    """Put the payload of a TCP segment in its place."""
    skip, place, count = segment_place(q, f, d, HEAD)
    if count <= 0:
        return
    copy_bytes(data, U64(q.payload_offset) + U64(skip), count, kept.head, d, place)
    put_bits(f.there, d, U64(place), U64(place + count))
    f.length[d] = 1


@byte_helper
def _add_datagram(data, q, f, kept, d):
    """Put the payload of a packet behind those before."""
    count = min(I64(q.payload_caplen), I64(HEAD) - I64(f.length[d]))
    copy_bytes(data, U64(q.payload_offset), count, kept.head, d, I64(f.length[d]))
    f.length[d] += count
    f.full[d] = f.length[d] == HEAD


@byte_kernel
def update(p, begin, stop, state, heads, data):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0 or (q.payload_caplen == 0 and not q.tcp_flags & SYN):
            continue
        f, d = state[q.slot], I64(q.direction)
        if f.full[d]:
            continue
        if q.protocol != TCP:
            _add_datagram(data, q, f, heads[q.slot], d)
        elif q.fragment == NOT_FRAGMENT and not q.tcp_flags & RST:  # whose payload is none of the stream
            _add_segment(data, q, f, heads[q.slot], d)


@helper
def _length(f, d):
    """Bytes of a direction's head up to the first hole."""
    return I64(f.length[d]) if f.known[d] == 0 else I64(leading_bits(f.there, d, 0, HEAD))


@helper
def _is_printable(byte):
    """ASCII that is printed or white space."""
    return 32 <= byte < 127 or 9 <= byte <= 13


@kernel
def finish(state, heads, table, counts, lengths, floats):
    """Columns of every row: `lengths` is (end, row), `floats` (end, FLOATS, row); `counts` are two times 256 zeros:
    the same byte twice in a row would have to wait for its own count."""
    for row in range(len(state)):
        if row + AHEAD < len(state):
            prefetch_all(heads.table, heads.slots[row + AHEAD])
        f, head = state[row], heads.table[heads.slots[row]].head
        for end in range(2):
            length = _length(f, end)
            lengths[end, row] = length
            if length == 0:
                continue
            for place in range(length):
                counts[place & 1, head[end, place]] += 1
            printable, total = 0, 0.0
            for place in range(length):
                printable += _is_printable(head[end, place])
            # Each value once: by itself, or where it is first seen, whichever are fewer.
            for number in range(min(length, 256)):
                byte = number if length >= 256 else I64(head[end, number])
                total += table[counts[0, byte] + counts[1, byte]]
                counts[0, byte] = counts[1, byte] = 0
            floats[end, 0, row] = max(0.0, (table[length] - total) / length)
            floats[end, 1, row] = np.float64(printable) / length


@kernel
def copy_heads(heads, end, lengths, most, offsets, data):
    """The first bytes of each row, up to `most`, one after another; the offsets of all, and of their end."""
    at = 0
    for row in range(len(heads.slots)):
        offsets[row], head = at, heads.table[heads.slots[row]].head
        for place in range(min(lengths[row], most)):
            data[at] = head[end, place]
            at += 1
    offsets[len(heads.slots)] = at


class _Group:
    """The group of one meter."""

    def __init__(self, head: int) -> None:
        self.head = head
        self._counts = np.zeros((2, 256), np.uint32)

    def finalize(self, state: Array, heads: Left, flows: Array, memory: Memory) -> dict[str, Values]:
        rows = len(state)
        lengths = memory.columns((2,), rows, np.int64)
        floats = memory.columns((2, len(FLOATS)), rows, np.float64)
        finish(state, heads, C_LOG_C, self._counts, lengths, floats)
        found: dict[str, Values] = {}
        for end, prefix in enumerate(DIRECTIONS[1:]):
            none = lengths[end, :rows] == 0
            found |= {prefix + name: (floats[end, place, :rows], none) for place, name in enumerate(FLOATS)}
            if self.head:
                found[prefix + "payload_head"] = self._heads(heads, end, lengths[end, :rows], none, memory)
        return found

    def _heads(self, heads: Left, end: int, lengths: Any, none: Any, memory: Memory) -> pa.Array:
        rows = len(lengths)
        offsets, data = memory.empty(rows + 1, np.int32), memory.empty(rows * self.head, np.uint8)
        copy_heads(heads, end, lengths, self.head, offsets, data)
        return bytes_array(offsets, data, none)


def feature(config: MeterConfig) -> Feature:
    """The group, with the option `payload_head`."""
    group = _Group(0 if config.anonymize else config.payload_head)
    return Feature("payload", (Layout(STATE), Layout(BYTES, clean=False)), update, group.finalize, ("data",))
