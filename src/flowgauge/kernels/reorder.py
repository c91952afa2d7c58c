"""Put packets in order of time, with a limited delay (docs/flow-semantics.md, "Reordering").

A packet that is read becomes an entry. Entries wait in a heap, by time and then by the order in which they were read,
and leave into `order`, from which batches are filled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import copy_word, helper, inline_helper, kernel
from flowgauge.kernels.clock import HOUR
from flowgauge.kernels.packet import I32, U8
from flowgauge.kernels.records import NO_TIME

U = np.uint64

STATE = np.dtype(
    [
        ("window", np.int64),  # ns
        ("most_packets", np.int64),  # held at a time
        ("most_bytes", np.int64),
        ("entries", np.int64),  # made so far
        ("waiting", np.int64),  # in the heap
        ("waiting_bytes", np.int64),
        ("ordered", np.int64),  # that have left into the order
        ("delivered", np.int64),  # of those, in batches that are done
        ("bytes", np.int64),  # of the frames that are in use
        ("latest", np.int64),  # time read; NO_TIME at the beginning of a trace
        ("released", np.int64),  # latest time that has left the heap; NO_TIME without one
        ("previous", np.int64),  # time of the record before, or what stands for it
        ("reordered", np.int64),  # packets earlier than one before them that found their place
        ("late", np.int64),  # packets whose place had been passed
        ("early", np.int64),  # packets that left to make room
    ],
    align=True,
)

ENTRY = np.dtype(
    [
        ("time", np.int64),  # as recorded, or NO_TIME
        ("key", np.int64),  # time by which it is ordered
        ("flow_id", np.int64),  # place of the record: capture number << 40 | offset
        ("number", np.int64),
        ("offset", np.uint64),  # of its bytes among the frames
        ("caplen", np.uint32),
        ("frame_len", np.uint32),
        ("link", np.uint16),
        ("label", np.uint32),
    ],
    align=True,
)


class Held(NamedTuple):
    """What has been read and is not done with."""

    state: np.recarray
    entries: np.recarray  # in the order in which they were read
    heap: I32  # entries that wait, a binary heap
    order: I32  # entries that have left it, in order
    moved: I32  # scratch: where entries move to
    frames: U8  # their bytes


@inline_helper
def _before(h, a, b):
    """Whether entry a leaves before entry b."""
    first, second = h.entries[a].key, h.entries[b].key
    return first < second or (first == second and a < b)


@inline_helper
def _push(h, entry):
    s, heap = h.state[0], h.heap
    place = s.waiting
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(h, entry, heap[parent]):
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = entry
    s.waiting += 1
    s.waiting_bytes += h.entries[entry].caplen


@inline_helper
def _pop(h):
    """The entry that is to leave first, taken out of the heap."""
    s, heap = h.state[0], h.heap
    entry = np.int64(heap[0])
    s.waiting -= 1
    s.waiting_bytes -= h.entries[entry].caplen
    last, place = heap[s.waiting], np.int64(0)
    while 2 * place + 1 < s.waiting:
        child = 2 * place + 1
        if child + 1 < s.waiting and _before(h, heap[child + 1], heap[child]):
            child += 1
        if not _before(h, heap[child], last):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = last
    return entry


@inline_helper
def _leave(h, entry):
    s = h.state[0]
    h.order[s.ordered] = entry
    s.ordered += 1


@inline_helper
def _release(h):
    """Let the first entry leave the heap."""
    entry = _pop(h)
    h.state[0].released = h.entries[entry].key
    _leave(h, entry)


@inline_helper
def _step(h, time):
    """A time more than an hour off the latest: nothing moves across it."""
    s = h.state[0]
    while s.waiting > 0:
        _release(h)
    s.latest, s.released = time, NO_TIME


@inline_helper
def _place(h, number):
    """Let an entry wait, or leave where its place has been passed; then what has waited long enough."""
    s, e = h.state[0], h.entries[number]
    if e.time == NO_TIME:
        e.key = s.previous
    elif s.latest == NO_TIME or not -HOUR <= e.time - s.latest <= HOUR:
        _step(h, e.time)
    s.previous = e.key
    if e.key < s.released or e.key == NO_TIME:
        s.late += e.key != NO_TIME
        _leave(h, number)
        return
    s.reordered += e.key < s.latest and e.time != NO_TIME
    _push(h, number)
    s.latest = max(s.latest, e.key)
    while s.waiting > 0:
        waited = h.entries[h.heap[0]].key <= s.latest - s.window
        if not waited and s.waiting <= s.most_packets and s.waiting_bytes <= s.most_bytes:
            break
        s.early += not waited
        _release(h)


@kernel
def take_rows(h, p, rows, base, shift):
    """Take in the rows of a batch, whose bytes lie `shift` bytes behind their offsets among the frames.

    `base` is the flow id of a record at offset 0. There is room for all of them.
    """
    s = h.state[0]
    for i in range(rows):
        q, number = p.packets[i], s.entries
        e = h.entries[number]
        s.entries += 1
        e.time = e.key = q.time
        e.flow_id, e.number = base + q.record_offset, q.number
        e.offset, e.caplen, e.frame_len, e.link = q.offset + shift, q.caplen, q.frame_len, q.link
        e.label = q.label
        _place(h, number)


@kernel
def release_all(h):
    """The trace ends: let everything leave, and begin another."""
    s = h.state[0]
    while s.waiting > 0:
        _release(h)
    s.latest = s.released = s.previous = NO_TIME


@kernel
def fill_rows(h, p, base):
    """Fill the frame fields of a batch from what is in order and not delivered; the rows filled."""
    s = h.state[0]
    rows = min(s.ordered - s.delivered, len(p.packets))
    for i in range(rows):
        q, e = p.packets[i], h.entries[h.order[s.delivered + i]]
        q.time, q.record_offset, q.number = e.time, e.flow_id - base, e.number
        q.offset, q.caplen, q.frame_len, q.link = e.offset, e.caplen, e.frame_len, e.link
        q.label = e.label
    return rows


@helper
def _copy(frames, to, begin, length):
    """Move bytes towards the front."""
    end = begin + length
    while end - begin >= U(8):
        copy_word(frames, to, frames, begin)
        begin += U(8)
        to += U(8)
    while begin < end:
        frames[to] = frames[begin]
        begin += U(1)
        to += U(1)


@kernel
def compact(h):
    """Forget what is delivered: move the rest of the entries and their bytes to the front."""
    s = h.state[0]
    for number in range(s.entries):
        h.moved[number] = -1
    for place in range(s.delivered, s.ordered):
        h.moved[h.order[place]] = 0
    for place in range(s.waiting):
        h.moved[h.heap[place]] = 0
    kept, end = np.int64(0), U(0)
    for number in range(s.entries):
        if h.moved[number] < 0:
            continue
        e, to = h.entries[number], h.entries[kept]
        _copy(h.frames, end, e.offset, U(e.caplen))
        to.time, to.key, to.flow_id, to.number = e.time, e.key, e.flow_id, e.number
        to.offset, to.caplen, to.frame_len, to.link = end, e.caplen, e.frame_len, e.link
        to.label = e.label
        end += U(to.caplen)
        h.moved[number] = kept
        kept += 1
    for place in range(s.delivered, s.ordered):
        h.order[place - s.delivered] = h.moved[h.order[place]]
    for place in range(s.waiting):
        h.heap[place] = h.moved[h.heap[place]]
    s.entries, s.ordered, s.delivered, s.bytes = kept, s.ordered - s.delivered, 0, np.int64(end)
