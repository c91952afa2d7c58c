"""Group `raw`: the first bytes of the first packets of a record, from the IP header, for models of bytes.

The options are `raw_packets` and `raw_bytes`, how many of each, and `raw_masked`, which zeroes what tells the two ends:
addresses, ports, the checksums over them, IPv4 options and IPv6 extension headers (routes), and of ICMP all but type
and code (it quotes packets and names neighbours).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from flowgauge.arrays import bytes_array, list_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import (
    COUNT,
    Array,
    Feature,
    Layout,
    Left,
    Values,
    count_entries,
    look_ahead_at,
    look_ahead_left,
    state_dtype,
)
from flowgauge.kernels._jit import byte_kernel, helper, kernel
from flowgauge.kernels.header import ICMP, ICMPV6, SCTP, TCP, UDP
from flowgauge.kernels.packet import NO_IP_HEADER, TAIL_FRAGMENT
from flowgauge.memory import Memory

U32, I64, U64 = np.uint32, np.int64, np.uint64
BLOCK_BYTES = 64
END = I64(1 << 30)  # behind all bytes

# A packet.
ENTRY = state_dtype([("length", np.uint64)])
# Bytes; a packet begins with a block of its own.
BLOCK = state_dtype([("bytes", np.uint8, (BLOCK_BYTES,))])


@helper
def _keep(data, begin, count, blocks, slot, first):
    """Copy bytes that the decoder has seen in the captured ones into the blocks from `first` on: unchecked and block by
    block, it takes a fifth of the time."""
    for skipped in range(0, count, BLOCK_BYTES):
        block, size = blocks[slot, first + skipped // BLOCK_BYTES], min(BLOCK_BYTES, count - skipped)
        for place in range(size):
            block.bytes[place] = data[begin + U64(skipped) + U64(place)]


@helper
def _zero(blocks, slot, first, count, begin, end):
    """Zero bytes begin..end of a packet of which `count` are kept."""
    for place in range(begin, min(end, count)):
        blocks[slot, first + place // BLOCK_BYTES].bytes[place % BLOCK_BYTES] = 0


@helper
def _mask_transport(q, blocks, slot, first, count, at):
    """Zero ports and checksum (RFC 9293 §3.1, RFC 768, RFC 9260 §3.1), of ICMP what follows type and code."""
    if q.fragment == TAIL_FRAGMENT:
        return
    if q.protocol == ICMP or q.protocol == ICMPV6:
        _zero(blocks, slot, first, count, at + 2, END)
        return
    if q.protocol == TCP or q.protocol == UDP or q.protocol == SCTP:
        _zero(blocks, slot, first, count, at, at + 4)
    if q.protocol == TCP:
        _zero(blocks, slot, first, count, at + 16, at + 18)
    elif q.protocol == UDP:
        _zero(blocks, slot, first, count, at + 6, at + 8)
    elif q.protocol == SCTP:
        _zero(blocks, slot, first, count, at + 8, at + 12)


@helper
def _mask(q, blocks, slot, first, count):
    """Zero what tells the ends of the packet."""
    at = I64(q.ip_header) * 4
    if q.ip_version == 4:
        _zero(blocks, slot, first, count, I64(10), at)  # checksum, addresses, options
    else:
        _zero(blocks, slot, first, count, I64(8), at)  # addresses, extension headers
    _mask_transport(q, blocks, slot, first, count, at)


@byte_kernel
def update(p, begin, stop, state, entries, blocks, data, size, masked):
    for i in range(begin, stop):
        look_ahead_at(p, i, stop, state, entries)
        q = p.packets[i]
        if q.slot < 0:
            continue
        slot = I64(q.slot)
        place = I64(state[slot].count)
        if place == entries.shape[1]:
            continue
        state[slot].count += U32(1)
        entries[slot, place].length = U64(0)
        if q.ip_header == NO_IP_HEADER:
            continue
        ip_begin = U64(q.payload_offset) - U64(q.header_len) - U64(q.ip_header) * U64(4)
        captured = U64(q.offset) + U64(q.caplen) - ip_begin
        count = min(I64(min(captured, U64(q.ip_len))), size)
        first = place * (blocks.shape[1] // entries.shape[1])
        _keep(data, ip_begin, count, blocks, slot, first)
        entries[slot, place].length = U64(count)
        if masked:
            _mask(q, blocks, slot, first, count)


@kernel
def finish(state, entries, kept, offsets, lengths, ends, data, size):
    """The packets of all rows one after another: `lengths` of each, and `data`, of each `size` bytes; `offsets` are
    those of a row's packets, `ends` those of its bytes."""
    blocks = kept.table
    wide = blocks.shape[1] // entries.table.shape[1]
    for row in range(len(state)):
        look_ahead_left(state, kept, row, wide)
        ends[row] = np.int64(offsets[row]) * size
        for place in range(I64(state[row].count)):
            at = np.int64(offsets[row]) + place
            length = I64(entries.table[entries.slots[row], place].length)
            lengths[at] = length
            for skipped in range(0, length, BLOCK_BYTES):
                block = blocks[kept.slots[row], place * wide + skipped // BLOCK_BYTES]
                for byte in range(min(BLOCK_BYTES, length - skipped)):
                    data[at * size + skipped + byte] = block.bytes[byte]
            for byte in range(length, size):
                data[at * size + byte] = 0
    ends[len(state)] = np.int64(offsets[len(state)]) * size


class _Group:
    """The group of one meter."""

    def __init__(self, config: MeterConfig) -> None:
        self.size, self.masked = config.raw_bytes, np.uint8(config.raw_masked)
        self.with_bytes = config.anonymize is None

    def update(self, p: Array, begin: int, stop: int, state: Array, entries: Array, blocks: Array, data: Array) -> None:
        update(p, begin, stop, state, entries, blocks, data, self.size, self.masked)

    def finalize(self, state: Array, entries: Left, blocks: Left, flows: Array, memory: Memory) -> dict[str, Values]:
        rows = len(state)
        offsets, ends = memory.empty(rows + 1, np.int32), memory.empty(rows + 1, np.int32)
        count_entries(state, offsets)
        total = int(offsets[-1])
        lengths, data = memory.empty(total, np.uint16), memory.empty(total * self.size, np.uint8)
        finish(state, entries, blocks, offsets, lengths, ends, data, self.size)
        found: dict[str, Any] = {"raw_len": list_array(pa.uint16(), offsets, lengths)}
        return found | ({"raw_bytes": bytes_array(ends, data)} if self.with_bytes else {})


def feature(config: MeterConfig) -> Feature:
    """The group, with the options `raw_packets`, `raw_bytes` and `raw_masked`."""
    group = _Group(config)
    wide = config.raw_packets * -(-config.raw_bytes // BLOCK_BYTES)
    layouts = Layout(COUNT), Layout(ENTRY, config.raw_packets, clean=False), Layout(BLOCK, wide, clean=False)
    return Feature("raw", layouts, group.update, group.finalize, ("data",))
