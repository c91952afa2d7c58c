"""Group `names`: what service a flow is of, and by what names and fingerprints its first bytes tell its ends.

The heads of both streams are kept while there is something in them to wait for, and dissected when they are whole or
the record ends. What is found are numbers and texts; a record has the numbers of its texts in a table of all. DNS
answers are remembered for as long as a trace lasts, and name flows that give no name of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.arrays import category_array, list_array, text_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels import answers, facts, heads, naming
from flowgauge.kernels._jit import byte_kernel, kernel
from flowgauge.kernels.facts import FACT, TEXTS, clear_fact
from flowgauge.kernels.header import RST, SYN, TCP, UDP
from flowgauge.kernels.heads import HEAD_BYTES, LENGTH_BYTES
from flowgauge.kernels.naming import (
    CLOSED,
    DUE,
    KEPT,
    OVER,
    QUEUED,
    QUIC,
    ROW,
    SLOT,
    TLS,
    WHOLE,
    carry_on,
    dissect_heads,
    has_room,
    is_dns,
    look_up,
    note_message,
    note_payload,
    release_heads,
    take_facts,
)
from flowgauge.kernels.packet import CONTINUES, FIRST_FRAGMENT, NOT_FRAGMENT, OPENS, zeroed_records
from flowgauge.kernels.services import SERVICES
from flowgauge.kernels.tls import dissect_client_hello
from flowgauge.kernels.tlsrecords import MOST_RECORDS
from flowgauge.memory import Memory
from flowgauge.names.output import Output
from flowgauge.names.table import TextTable

U8, U64, I64 = np.uint8, np.uint64, np.int64
FIRST_BLOCKS = 1 << 6
MOST_BLOCKS = 1 << 15  # 150 MB
_DUE = 1 << 13
_SURE = U8(99)  # of a hello that was decrypted

# By direction where there are two. What most packets touch comes first.
STATE = state_dtype(
    [
        ("marks", np.uint8),
        ("service", np.uint8),
        ("confidence", np.uint8),
        ("is_tcp", np.uint8),
        ("kept", np.uint8, (2,)),
        ("known", np.uint8, (2,)),  # TCP: whether the number of the first byte is known
        ("length", np.uint16, (2,)),  # UDP: bytes in the block; TCP: whether there are any
        ("most", np.uint16, (2,)),  # bytes that are worth keeping
        ("first", np.uint32, (2,)),  # TCP: sequence number of byte 0
        ("block", np.int32, (2,)),  # number of the block plus one, 0 without one
        ("next", np.uint32, (2,)),  # TLS: number of the next byte of a record's header
        ("carry", np.uint64, (2,)),  # bytes of that header which were read
        ("carried", np.uint8, (2,)),  # and how many these are
        ("records", np.uint8),
        ("tls_ech", np.uint8),
        ("record_down", np.uint16),  # a bit for each record
        ("record_len", np.uint16, (MOST_RECORDS,)),
        ("tls_version", np.uint16),
        ("tls_cipher", np.uint16),
        ("http_status", np.uint16),
        ("dns_type", np.uint16),
        ("dns_rcode", np.int16),  # plus one, 0 without one
        ("query_id", np.uint16),
        ("answer", np.uint32),  # text by which the client knew its server
        ("query_time", np.int64),  # of the first query; then how long its answer took
        ("answer_age", np.int64),
        ("texts", np.uint32, (len(TEXTS),)),
    ]
)


@byte_kernel
def update(p, begin, stop, state, flows, data, k):
    """Returns the first row that was not counted, because there is too little room."""
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f, dns = state[q.slot], is_dns(q)
        has_bytes = q.payload_caplen != 0 or q.tcp_flags & SYN
        if q.begins == 0 and not (has_bytes and (dns or not f.marks & OVER)):
            continue
        if not has_room(k) or (q.begins & CONTINUES and state[q.previous].marks & QUEUED):
            return i
        k.cursor[ROW], k.cursor[SLOT] = i, q.slot
        if q.begins & CONTINUES:
            k.cursor[SLOT] = q.previous
            carry_on(q, state, flows, k)
            k.cursor[SLOT] = q.slot
        elif q.begins & OPENS:
            look_up(q, f, flows[q.slot], k.answers)
        if not has_bytes:
            continue
        if dns:
            note_message(q, f, I64(q.direction), data, k)
        is_stream = q.protocol == TCP and q.fragment == NOT_FRAGMENT and not q.tcp_flags & RST
        is_datagram = q.protocol == UDP and (q.fragment == NOT_FRAGMENT or q.fragment == FIRST_FRAGMENT)
        if not f.marks & OVER and (is_stream or is_datagram):
            note_payload(q, f, I64(q.direction), data, flows[q.slot], k)
    return stop


@byte_kernel
def end_heads(state, begin, flows, k):
    """Dissect what there is of the heads of records that end; the first row that has no room. Blocks are free then."""
    for row in range(begin, len(state)):
        f = state[row]
        if f.block[0] or f.block[1]:
            if not has_room(k):
                return row
            k.cursor[ROW] = row
            dissect_heads(f, flows[row], k)
            release_heads(f, k.arena)
    return len(state)


@byte_kernel
def take_hello(state, slot, hello, k):
    """Name a flow by the hello that was opened."""
    f, fact = state[slot], k.fact[0]
    clear_fact(fact)
    dissect_client_hello(hello, U64(0), U64(len(hello)), True, fact, k.out)
    take_facts(f, fact, k.out, k.texts)
    f.service, f.confidence = QUIC, _SURE
    release_heads(f, k.arena)


@kernel
def give_up(state, slot, k):
    """Look at a flow no more."""
    f = state[slot]
    release_heads(f, k.arena)
    f.marks |= OVER


@kernel
def mark_texts(state, used):
    for row in range(len(state)):
        f = state[row]
        used[f.answer] = True
        for which in range(len(TEXTS)):
            used[f.texts[which]] = True


@kernel
def mark_answers(rows, used):
    for row in range(len(rows)):
        used[rows[row].name] = True


@kernel
def count_records(state, offsets):
    offsets[0] = 0
    for row in range(len(state)):
        offsets[row + 1] = offsets[row] + (np.int32(state[row].records) if state[row].service == TLS else np.int32(0))


@kernel
def list_records(state, offsets, lengths, directions):
    for row in range(len(state)):
        for place in range(offsets[row + 1] - offsets[row]):
            lengths[offsets[row] + place] = state[row].record_len[place]
            directions[offsets[row] + place] = state[row].record_down >> np.uint16(place) & np.uint16(1)


class _Group:
    """The group of one meter: it owns what flows share."""

    def __init__(self, config: MeterConfig, most_blocks: int, most_answers: int) -> None:
        self._texts = TextTable()
        self._output = Output(config, self._texts)
        self._most_answers, self._faults = most_answers, 0
        self._keeper = naming.Keeper(
            _arena(FIRST_BLOCKS, most_blocks),
            self._texts.arrays,
            _answers(most_answers),
            zeroed_records(1, FACT),
            np.zeros(naming.OUT_BYTES, np.uint8),
            np.zeros(_DUE, np.int32),
            np.zeros(3, np.int64),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of what flows share."""
        k = self._keeper
        shared = (k.arena.head, k.arena.there, k.arena.free, k.answers.rows, k.answers.buckets)
        return self._texts.nbytes + sum(array.nbytes for array in shared)

    def counters(self) -> dict[str, int]:
        return {"heads_not_kept": int(self._keeper.arena.pool[0].refused), "dissector_faults": self._faults}

    def restart(self) -> None:
        self._keeper = self._keeper._replace(answers=_answers(self._most_answers))

    def update(self, p: Array, begin: int, stop: int, state: Array, flows: Array, data: NDArray[np.uint8]) -> None:
        k, row = self._keeper, begin
        while True:
            try:
                row = update(p, row, stop, state, flows, data, self._keeper)
            except IndexError:
                row = int(k.cursor[ROW])
                slot = int(k.cursor[SLOT])
                row += self._fault(state, slot) and slot == p.packets[row].slot
                continue
            self._open_hellos(state)
            if row == stop:
                return
            self._make_room(state)

    def _fault(self, state: Array, slot: int) -> bool:
        """A dissector has stopped at a bounds check: its flow has no names."""
        self._faults += 1
        give_up(state, slot, self._keeper)
        return True

    def _make_room(self, state: Array) -> None:
        """Room for whatever one packet can need."""
        texts, size = _room(self._texts)
        if texts < naming.MOST_TEXTS or size < naming.MOST_TEXT_BYTES:
            used = np.zeros(self._texts.rows, np.bool_)
            mark_texts(state, used)
            mark_answers(self._keeper.answers.rows, used)
            self._texts.drop(used)
        self._grow()

    def _grow(self) -> None:
        while self._texts.is_crowded():
            self._texts.grow()
        arena = self._keeper.arena
        pool = arena.pool[0]
        if pool.free + len(arena.free) - pool.fresh < 4 and len(arena.free) < pool.most:
            arena = _grown(arena)
        self._keeper = self._keeper._replace(texts=self._texts.arrays, arena=arena)

    def _open_hellos(self, state: Array) -> None:
        """Open the hellos of QUIC connections that have come further."""
        k = self._keeper
        for slot in k.due[: int(k.cursor[DUE])].tolist():
            f = state[slot]
            f.marks &= ~QUEUED
            if f.block[0]:
                self._open_hello(state, slot, partial=bool(f.kept[0] == WHOLE))
        k.cursor[DUE] = 0

    def _open_hello(self, state: Array, slot: int, partial: bool) -> None:
        """Name a flow by its hello, if that can be read; with `partial` nothing more will come of it."""
        f = state[slot]
        hello = self._hello(int(f.block[0]) - 1, int(f.length[0]), partial)
        if hello is not None:
            if not has_room_for_hello(self._keeper):
                self._grow()
            try:
                take_hello(state, slot, np.frombuffer(bytearray(hello), np.uint8), self._keeper)
            except IndexError:
                self._fault(state, slot)

    def _hello(self, block: int, length: int, partial: bool) -> bytes | None:
        from flowgauge.names.quic import client_hello

        datagrams = _datagrams(self._keeper.arena.head[block, :length].tobytes())
        try:
            return client_hello(datagrams) or (client_hello(datagrams, partial=True) if partial else None)
        except Exception:  # whatever a stranger's bytes can do to it
            self._faults += 1
            return None

    def finalize(self, state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
        records = state.view(np.recarray)
        for row in np.flatnonzero((state["service"] == QUIC) & (state["block"][:, 0] != 0)).tolist():
            self._open_hello(records, row, partial=True)
        row = 0
        while row < len(state):
            try:
                row = end_heads(records, row, flows, self._keeper)
            except IndexError:
                row = int(self._keeper.cursor[ROW])
                self._fault(records, row)
            self._grow()
        return self._output.columns(state, flows) | _record_lists(records, memory)
