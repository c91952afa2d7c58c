"""Group `names`: what service a flow is of, and by what names and fingerprints its first bytes tell its ends.

The heads of both streams are kept while there is something in them to wait for, and dissected when they are whole or
the record ends. What is found are numbers and texts; a record has the numbers of its texts in a table of all. DNS
answers are remembered for as long as a trace lasts, and name flows that give no name of their own.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.arrays import list_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.answers import ROWS, make_answers
from flowgauge.kernels.dns import is_dns
from flowgauge.kernels.facts import FACT, SERVER_NAME, TEXTS, begin_text, clear_fact, put_bytes
from flowgauge.kernels.header import RST, SYN, TCP, UDP
from flowgauge.kernels.heads import LENGTH_BYTES, UNIT_BYTES, can_grow, grown_arena, head_begin, make_arena
from flowgauge.kernels.hello import OVER_QUIC
from flowgauge.kernels.naming import (
    DUE,
    HELLOS,
    MOST_TEXT_BYTES,
    MOST_TEXTS,
    OUT_BYTES,
    OVER,
    QUIC,
    ROW,
    TLS,
    WHOLE,
    Keeper,
    carry_on,
    end_heads,
    has_room,
    has_text_room,
    is_unread,
    look_up,
    note_message,
    note_payload,
    overhear,
    queue,
    release_heads,
    take_facts,
    tells_all,
)
from flowgauge.kernels.packet import CONTINUES, FIRST_FRAGMENT, NOT_FRAGMENT, OPENS, zeroed_records
from flowgauge.kernels.state import FLOW
from flowgauge.kernels.tls import dissect_client_hello
from flowgauge.kernels.tlsrecords import MOST_RECORDS
from flowgauge.memory import Memory
from flowgauge.names.output import Output
from flowgauge.names.table import TextTable
from flowgauge.snapshot import Snapshot, fill

U8, U64, I64 = np.uint8, np.uint64, np.int64
FIRST_UNITS = 1 << 9
MOST_UNITS = 1 << 18  # 150 MB
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
        ("block", np.int32, (2,)),  # the block, 0 without one
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


@kernel
def update(p, begin, stop, state, flows, data, k):
    """Returns the first row that was not counted, because there is too little room."""
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            if tells_all(q):
                if not has_text_room(k):
                    return i
                k.cursor[ROW] = i
                overhear(q, data, k)
            continue
        f, dns = state[q.slot], is_dns(q)
        has_bytes = q.payload_caplen != 0 or q.tcp_flags & SYN
        if q.begins == 0 and not (has_bytes and (dns or not f.marks & OVER)):
            continue
        if not has_room(k):
            return i
        k.cursor[ROW] = i
        if q.begins & CONTINUES:
            if is_unread(state[q.previous]):
                queue(state[q.previous], q.previous, k)
                return i
            carry_on(q, state)
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


@kernel
def end_all(state, slots, begin, stop, flows, last, k):
    """Dissect the heads of slots[begin:stop], of which no more bytes are kept if they are whole, or this is the `last`
    time. Slots with a QUIC hello to be opened first are put together at the begin of `slots`.

    Returns the first place that was not dissected, because there is too little room.
    """
    for place in range(begin, stop):
        if not has_text_room(k):
            return place
        k.cursor[ROW] = place
        if end_heads(state[slots[place]], flows[slots[place]], last, k):
            slots[k.cursor[HELLOS]] = slots[place]
            k.cursor[HELLOS] += 1
    return stop


@kernel
def take_hello(state, slot, hello, is_hello, k):
    """Name a flow by the hello that was opened, or by the bare name in one of Google's; False where its texts have no
    room."""
    if not has_text_room(k):
        return False
    f, fact, end = state[slot], k.fact[0], U64(len(hello))
    clear_fact(fact)
    if is_hello:
        dissect_client_hello(hello, U64(0), end, OVER_QUIC, fact, k.out)
    else:
        begin_text(fact, SERVER_NAME)
        put_bytes(fact, SERVER_NAME, hello, U64(0), end, k.out)
    take_facts(f, fact, k.out, k.texts)
    f.service, f.confidence = QUIC, _SURE
    release_heads(f, k.arena)
    return True


@kernel
def is_roomy(k):
    """Whether there is room for whatever one packet can need."""
    return has_room(k)


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

    def __init__(self, config: MeterConfig, most_units: int, most_answers: int) -> None:
        from flowgauge.names import quic  # loads a library that nobody needs without the group

        self._quic = quic
        self._texts = TextTable()
        self._output = Output(config, self._texts)
        self._most_answers, self._faults = most_answers, 0
        self._k = Keeper(
            make_arena(FIRST_UNITS, most_units),
            self._texts.arrays,
            make_answers(most_answers),
            zeroed_records(1, FACT),
            np.zeros(OUT_BYTES, np.uint8),
            np.zeros(_DUE, np.int32),
            np.zeros(3, np.int64),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of what flows share."""
        k = self._k
        shared = (k.arena.data, k.arena.there, k.answers.rows, k.answers.buckets)
        return self._texts.nbytes + sum(array.nbytes for array in shared)

    def counters(self) -> dict[str, int]:
        return {"heads_refused": int(self._k.arena.pool[0].refused), "dissector_faults": self._faults}

    def named(self) -> dict[str, int]:
        return dict(self._output.bytes)

    def restart(self) -> None:
        self._k = self._k._replace(answers=make_answers(self._most_answers))

    def snapshot(self) -> Snapshot:
        """Of texts, heads and DNS answers."""
        arena, answers = self._k.arena, self._k.answers
        used = int(arena.pool[0].fresh) * UNIT_BYTES
        return {
            "texts": self._texts.snapshot(),
            "units": len(arena.data) // UNIT_BYTES,
            "pool": arena.pool,
            "there": arena.there[0, : used // 64],
            "heads": arena.data[:used],
            "answers": answers.rows[: answers.state[0].next],
            "answered": answers.state,
            "buckets": answers.buckets,
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Know what was known at the snapshot."""
        self._texts.restore(snapshot["texts"])
        arena = make_arena(snapshot["units"], int(self._k.arena.pool[0].most))
        answers = make_answers(self._most_answers)
        parts = {"pool": arena.pool, "there": arena.there[0], "heads": arena.data, "buckets": answers.buckets}
        for name, array in {**parts, "answers": answers.rows, "answered": answers.state}.items():
            fill(array, snapshot, name)
        self._k = self._k._replace(arena=arena, texts=self._texts.arrays, answers=answers)

    def update(self, p: Array, begin: int, stop: int, state: Array, flows: Array, data: NDArray[np.uint8]) -> None:
        row = begin
        while row < stop:
            try:
                row = update(p, row, stop, state, flows, data, self._k)
            except IndexError:
                row = int(self._k.cursor[ROW])
                self._fault(state, int(p.packets[row].slot))
                row += 1
            self._settle(state, flows)
            if row < stop and not is_roomy(self._k):
                self._make_room(state)

    def _fault(self, state: Array, slot: int) -> None:
        """What reads bytes has stopped at a bounds check: the flow, if there is one, is not looked at any more."""
        self._faults += 1
        if slot >= 0:
            give_up(state, slot, self._k)

    def _settle(self, state: Array, flows: Array) -> None:
        """Dissect the heads that are due."""
        due, cursor = self._k.due, self._k.cursor
        count, cursor[DUE] = int(cursor[DUE]), 0
        self._end(state, due[:count], flows, last=False)
        hellos, cursor[HELLOS] = due[: int(cursor[HELLOS])].copy(), 0
        if len(hellos):
            self._end(state, self._open_hellos(state, hellos), flows, last=True)

    def _end(self, state: Array, slots: NDArray[np.int32], flows: Array, last: bool) -> None:
        place = 0
        while place < len(slots):
            self._grow()
            try:
                place = end_all(state, slots, place, len(slots), flows, last, self._k)
            except IndexError:
                place = int(self._k.cursor[ROW])
                self._fault(state, int(slots[place]))

    def _make_room(self, state: Array) -> None:
        """Forget texts that nothing has any more, and grow what is too small all the same."""
        if not self._texts.has_room(MOST_TEXTS, MOST_TEXT_BYTES):
            used = np.zeros(self._texts.rows, np.bool_)
            mark_texts(state, used)
            mark_answers(self._k.answers.rows, used)
            self._texts.drop(used)
            if self._texts.is_crowded():
                self._texts.grow()
            self._k = self._k._replace(texts=self._texts.arrays)
        self._grow()

    def _grow(self) -> None:
        """Have room for whatever one packet can need."""
        while not is_roomy(self._k):
            if can_grow(self._k.arena):
                self._k = self._k._replace(arena=grown_arena(self._k.arena))
            else:
                self._texts.grow()
                self._k = self._k._replace(texts=self._texts.arrays)

    def _open_hellos(self, state: Array, slots: NDArray[np.int32], last: bool = False) -> NDArray[np.int32]:
        """Name QUIC connections by their hellos; those of which it cannot be read, and nothing more will come."""
        fields = state.view(np.ndarray)  # a record array takes microseconds for each field of a row
        blocks, lengths, kept = (fields[name][slots, 0].tolist() for name in ("block", "length", "kept"))
        heads = self._k.arena.data
        read = [
            self._open_hello(state, slot, heads[head_begin(block) :][:length].tobytes(), last or how == WHOLE)
            for slot, block, length, how in zip(slots.tolist(), blocks, lengths, kept, strict=True)
        ]
        return slots[~np.array(read, np.bool_)]

    def _open_hello(self, state: Array, slot: int, head: bytes, last: bool) -> bool:
        """False where nothing can be read of a head, to which nothing more will come."""
        try:
            hello, is_hello = _hello(self._quic, _datagrams(head), last)
        except Exception:  # whatever a stranger's bytes may do to it
            self._faults += 1
            return False
        if hello is None:
            return not last
        data = np.frombuffer(bytearray(hello), np.uint8)
        try:
            while not take_hello(state, slot, data, is_hello, self._k):
                self._grow()
        except IndexError:
            self._fault(state, slot)
        return True

    def finalize(self, state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
        records, rows = state.view(np.recarray), flows.view(np.recarray)
        is_open = (state["block"] != 0).any(axis=1)
        is_quic = (state["service"] == QUIC) & (state["block"][:, 0] != 0) & (state["is_tcp"] == 0)
        self._open_hellos(records, np.flatnonzero(is_quic).astype(np.int32), last=True)
        self._end(records, np.flatnonzero(is_open).astype(np.int32), rows, last=True)
        return self._output.columns(state, flows) | _record_lists(records, memory)


def _datagrams(head: bytes) -> list[bytes]:
    """Those of a head, each behind its length."""
    found, at = [], 0
    while at + LENGTH_BYTES <= len(head):
        begin = at + LENGTH_BYTES
        at = begin + int.from_bytes(head[at:begin], "big")
        found.append(head[begin:at])
    return found


def _hello(quic: ModuleType, datagrams: list[bytes], partial: bool) -> tuple[bytes | None, bool]:
    """The hello in the datagrams of a QUIC client, or the name in one of Google's; whether it is the hello."""
    hello = quic.client_hello(datagrams)
    if hello is None and (name := quic.gquic_server_name(datagrams)) is not None:
        return name.encode("ascii", "backslashreplace"), False
    return hello or (quic.client_hello(datagrams, partial=True) if partial else None), True


def _record_lists(state: Array, memory: Memory) -> dict[str, Values]:
    offsets = memory.empty(len(state) + 1, np.int32)
    count_records(state, offsets)
    total = int(offsets[-1])
    room = len(state) * MOST_RECORDS  # of a size that does not depend on what is found, so that it is found again
    lengths, directions = memory.empty(room, np.uint16), memory.empty(room, np.uint8)
    list_records(state, offsets, lengths, directions)
    return {
        "tls_record_len": list_array(pa.uint16(), offsets, lengths[:total]),
        "tls_record_direction": list_array(pa.uint8(), offsets, directions[:total]),
    }


def compile_rest() -> None:
    """Run the kernels that few packets need: those of hellos, of texts that are forgotten and of faults."""
    group = _Group(MeterConfig(), 16, 2)
    state, flows, place = zeroed_records(1, STATE), zeroed_records(1, FLOW), np.zeros(1, np.int32)
    used = np.zeros(group._texts.rows, np.bool_)
    mark_texts(state, used)
    mark_answers(group._k.answers.rows, used)
    group._texts.drop(used)
    take_hello(state, 0, np.zeros(8, np.uint8), True, group._k)
    end_all(state, place, 0, 1, flows, True, group._k)
    give_up(state, 0, group._k)


def feature(config: MeterConfig, most_units: int = MOST_UNITS, most_answers: int = ROWS) -> Feature:
    """The group, with the option `catalogue`; as large as it may become."""
    group = _Group(config, most_units, most_answers)
    shared = ("flows", "data")
    told = group.counters, group.named, group.snapshot, group.restore
    return Feature("names", (Layout(STATE),), group.update, group.finalize, shared, group.restart, *told)
