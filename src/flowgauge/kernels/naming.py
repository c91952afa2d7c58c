"""Names of flows, packet by packet: keep the heads of streams, have them dissected, and learn from DNS answers.

`f` is the state of a flow in group `names`, `flow` its record, and `k` all that flows share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import byte_helper, helper, inline_byte_helper, inline_helper, rare_byte_helper
from flowgauge.kernels.answers import Answers, find_answer, remember_answer
from flowgauge.kernels.bytes import be16
from flowgauge.kernels.dns import (
    BROKEN,
    HEADER,
    MOST_RECORDS,
    answer_count,
    has_header,
    is_address,
    is_dns,
    is_response,
    message_id,
    put_name,
    question_count,
    questions_end,
    read_address,
    read_record,
    response_code,
)
from flowgauge.kernels.facts import DNS_QUERY, SERVER_NAME, TEXTS, begin_text, clear_fact
from flowgauge.kernels.header import TCP, UDP
from flowgauge.kernels.heads import (
    HEAD_BYTES,
    Arena,
    datagram_end,
    has_units,
    have_room,
    head_range,
    is_full_grown,
    put_datagram,
    put_segment,
    release_block,
    segment_place,
)
from flowgauge.kernels.packet import I32, METERED, OVERHEARD, SWAPPED_ROLES, TAIL_FRAGMENT, U8
from flowgauge.kernels.servicelist import SERVICES
from flowgauge.kernels.services import dissect, first_look, is_whole, judge
from flowgauge.kernels.texts import Texts, intern, text_room
from flowgauge.kernels.tlsrecords import follow_records

U16, U32, U64, I64 = np.uint16, np.uint32, np.uint64, np.int64
TLS, QUIC = (np.uint8(SERVICES.index(name)) for name in ("tls", "quic"))

# Values of `kept`: nothing seen yet; a block, but too few of the first bytes; a block that still wants bytes; a block
# that wants no more; nothing to keep, or no more.
NEW, WAITS, KEPT, WHOLE, CLOSED = (np.uint8(value) for value in range(5))
# Bits of `marks`: nothing is left to do for the flow; its heads are due to be dissected; its list of TLS records has
# ended; a query was seen; and its answer. Two for the directions: the number of the next TLS record is known. And: its
# heads were dissected for its next part.
OVER, QUEUED, NO_RECORDS, ASKED, ANSWERED, FOLLOWED = (np.uint8(1 << bit) for bit in range(6))
READ = np.uint8(1 << 7)

OUT_BYTES = 1 << 16
_NAME_BYTES = 256
# What one packet or flow may add to the texts: what is found in heads, or the names of a message.
MOST_TEXTS = len(TEXTS) + MOST_RECORDS + 1
MOST_TEXT_BYTES = OUT_BYTES + (MOST_RECORDS + 1) * _NAME_BYTES
_FEWEST = U64(8)  # bytes of a stream by which it is told whether it is worth keeping
_FAR = I64(1 << 16)  # a segment so far beyond a hole shows that nothing fills it
_BY_MAC = U64(0xFFFFFFFFFFFFFFFF)  # in place of the first half of an address: the second one is a MAC address


class Keeper(NamedTuple):
    """What flows share."""

    arena: Arena
    texts: Texts
    answers: Answers
    fact: np.recarray  # one FACT
    out: U8  # OUT_BYTES of texts
    due: I32  # slots of flows whose heads are to be dissected
    cursor: np.ndarray  # by the names below


# The row at work; how many slots are due; and how many of them, put together at the begin, have a hello to be opened.
ROW, DUE, HELLOS = range(3)


@inline_helper
def has_text_room(k):
    """Whether there is room for whatever the heads of a flow, or a message, may say."""
    texts, size = text_room(k.texts)
    return texts >= MOST_TEXTS and size >= MOST_TEXT_BYTES


@inline_helper
def has_room(k):
    """Whether a packet, whatever it holds, can be looked at; blocks are refused only when none is due to be freed."""
    if not has_text_room(k) or k.cursor[DUE] >= len(k.due):
        return False
    return has_units(k.arena) or (k.cursor[DUE] == 0 and is_full_grown(k.arena))


@helper
def _lower(fact, which, out):
    """Names of hosts are the same in capitals: they are kept in small letters."""
    for place in range(fact.begin[which], fact.begin[which] + fact.length[which]):
        if 65 <= out[place] <= 90:
            out[place] += np.uint8(32)


@helper
def _intern(fact, which, out, texts):
    return intern(texts, out, U64(fact.begin[which]), U64(fact.length[which]))


@helper
def take_facts(f, fact, out, texts):
    """Take over what a dissector has found; what it has not found stays."""
    _lower(fact, SERVER_NAME, out)
    _lower(fact, DNS_QUERY, out)
    for which in range(len(TEXTS)):
        if fact.length[which] != 0:
            f.texts[which] = _intern(fact, which, out, texts)
    f.tls_ech |= fact.tls_ech
    f.tls_version = fact.tls_version if fact.tls_version else f.tls_version
    f.tls_cipher = fact.tls_cipher if fact.tls_cipher else f.tls_cipher
    f.http_status = fact.http_status if fact.http_status else f.http_status
    f.dns_type = fact.dns_type if fact.dns_type else f.dns_type
    f.dns_rcode = fact.dns_rcode + np.int16(1) if fact.dns_rcode >= 0 else f.dns_rcode


@helper
def _head(f, d, arena):
    """Where the head of a direction lies in the arena's bytes."""
    if f.block[d] == 0:
        return U64(0), U64(0)
    return head_range(arena, f.block[d], I64(-1) if f.is_tcp else I64(f.length[d]))


@rare_byte_helper
def dissect_heads(f, flow, k):
    """Find what the heads of a flow hold."""
    fact, data, is_udp = k.fact[0], k.arena.data, flow.protocol == UDP
    up_begin, up_end = _head(f, 0, k.arena)
    down_begin, down_end = _head(f, 1, k.arena)
    if up_end == up_begin and down_end == down_begin:
        return
    service, confidence = judge(
        data, up_begin, up_end, down_begin, down_end, is_udp, flow.client_port, flow.server_port
    )
    if confidence >= f.confidence:  # a direction of which nothing is kept may have told more surely
        f.service, f.confidence = service, confidence
    if f.service:
        clear_fact(fact)
        dissect(f.service, data, up_begin, up_end, down_begin, down_end, is_udp, fact, k.out)
        take_facts(f, fact, k.out, k.texts)


@helper
def release_heads(f, arena):
    """Keep no bytes of a flow any more."""
    for d in range(2):
        release_block(arena, f, d)
        f.kept[d] = CLOSED


@byte_helper
def _look(f, d, data, begin, end, flow, arena):
    """Look at the first bytes of a direction, and keep what is worth it."""
    service, confidence, keep = first_look(
        data, begin, end, flow.protocol == UDP, flow.client_port, flow.server_port, d == 0
    )
    if confidence > f.confidence or f.service == 0:
        f.service, f.confidence = service, confidence
    if keep <= 0:
        release_block(arena, f, d)
        f.kept[d] = CLOSED
        return
    f.most[d], f.kept[d] = min(keep, I64(HEAD_BYTES)), KEPT


@helper
def _have_room(f, d, count, arena):
    """Whether the block of a direction has room; it is given up where there is none."""
    if have_room(arena, f, d, count):
        return True
    release_block(arena, f, d)
    f.kept[d] = CLOSED
    return False


@byte_helper
def _has_all(f, d, begin, end, data):
    return I64(end - begin) >= I64(f.most[d]) or is_whole(f.service, data, begin, end, d == 0)


@rare_byte_helper
def _keep_segment(q, f, d, data, flow, k, skip, place, count):
    """Keep what is worth it of a segment's payload, which goes to `place` of its stream."""
    arena, stop = k.arena, U64(q.payload_offset) + U64(q.payload_caplen)
    begin = U64(q.payload_offset) + U64(skip)
    if f.kept[d] == NEW and place == 0 and stop - begin >= _FEWEST:
        _look(f, d, data, begin, stop, flow, arena)
    elif f.kept[d] == NEW and place < HEAD_BYTES:
        f.most[d], f.kept[d] = HEAD_BYTES, WAITS
    if f.kept[d] != WAITS and f.kept[d] != KEPT:
        return
    if count > 0:
        if not _have_room(f, d, place + count, arena):
            return
        put_segment(arena, f.block[d], data, begin, place, count)
        f.length[d] = 1
    head, end = _head(f, d, arena)
    if f.kept[d] == WAITS and end - head >= _FEWEST:
        _look(f, d, arena.data, head, end, flow, arena)
    if f.kept[d] == KEPT and (place > _FAR or _has_all(f, d, head, end, arena.data)):
        f.kept[d] = WHOLE
    elif place > _FAR and f.kept[d] == WAITS:
        release_block(arena, f, d)
        f.kept[d] = CLOSED


@helper
def queue(f, slot, k):
    """Have the heads of a flow dissected."""
    if not f.marks & QUEUED:
        f.marks = (f.marks | QUEUED) & ~READ
        k.due[k.cursor[DUE]] = slot
        k.cursor[DUE] += 1


@rare_byte_helper
def _keep_datagram(q, f, d, data, flow, k):
    """Keep what is worth it of a datagram."""
    arena, begin = k.arena, U64(q.payload_offset)
    if f.kept[d] == NEW:
        _look(f, d, data, begin, begin + U64(q.payload_caplen), flow, arena)
    if f.kept[d] != KEPT:
        return
    at = I64(f.length[d])
    stop = datagram_end(I64(q.payload_caplen), at)
    if not _have_room(f, d, stop, arena):
        return
    put_datagram(arena, f.block[d], data, begin, at, stop)
    f.length[d] = stop
    head, end = _head(f, d, arena)
    if _has_all(f, d, head, end, arena.data):
        f.kept[d] = WHOLE
    if f.service == QUIC and d == 0:
        queue(f, q.slot, k)


@inline_helper
def tells_all(q):
    """Whether a packet that is in no record here may hold a DNS message: it lies behind those that count of its record,
    or is metered elsewhere."""
    return (q.reason == METERED or q.reason == OVERHEARD) and q.payload_caplen != 0 and is_dns(q)


@byte_helper
def _message_range(q, data):
    """Where the DNS message of a packet lies, empty where there is none; over TCP it has to be all of the segment."""
    begin = U64(q.payload_offset)
    end = begin + U64(q.payload_caplen)
    if q.protocol == TCP:
        begin += U64(2)
        if end < begin or be16(data, begin - U64(2)) != end - begin:
            return begin, begin
    if q.fragment == TAIL_FRAGMENT or not has_header(data, begin, end):
        return begin, begin
    return begin, end


@helper
def _time_message(q, f, d, number, response):
    """Note when the first query of a flow is asked, and when it is answered."""
    if d == 0 and not response and not f.marks & ASKED:
        f.marks |= ASKED
        f.query_id, f.query_time = number, q.time
    elif d == 1 and response and f.marks & ASKED and not f.marks & ANSWERED and number == U64(f.query_id):
        f.marks |= ANSWERED
        f.query_time = max(I64(0), q.time - f.query_time)


@byte_helper
def _read_name(data, begin, end, at, k):
    """Number of the text of a name, 0 where it is broken."""
    fact = k.fact[0]
    clear_fact(fact)
    begin_text(fact, SERVER_NAME)
    if not put_name(data, begin, end, at, fact, SERVER_NAME, k.out):
        return U32(0)
    _lower(fact, SERVER_NAME, k.out)
    return _intern(fact, SERVER_NAME, k.out, k.texts)


@helper
def _is_group(version, high, low):
    """Whether an address is multicast."""
    return (low >> U64(28)) == U64(14) if version == 4 else (high >> U64(56)) == U64(0xFF)


@helper
def _told_to(q, is_v4):
    """Whom a response tells an address: everybody, its receiver, or, of the other version of IP than it came by, the
    host of its receiver's MAC address (where the link has none, all hosts)."""
    if _is_group(q.ip_version, q.dst_hi, q.dst_lo):
        return U64(0), U64(0)
    if is_v4 != (q.ip_version == 4):
        return _BY_MAC, U64(q.dst_mac)
    return U64(q.dst_hi), U64(q.dst_lo)


@byte_helper
def _learn(q, data, begin, end, k):
    """Remember the addresses that a response tells its receiver: by the name that was asked, or else by their own."""
    asked = question_count(data, begin) > U64(0)
    name = _read_name(data, begin, end, begin + HEADER, k) if asked else U32(0)
    at, left = questions_end(data, begin, end), min(answer_count(data, begin), U64(MOST_RECORDS))
    while left > U64(0) and at != BROKEN:
        kind, kind_class, first, after = read_record(data, end, at)
        if first != BROKEN and is_address(kind, kind_class, first, after):
            if not asked:
                name = _read_name(data, begin, end, at, k)
            high, low = read_address(data, first, after)
            client_hi, client_lo = _told_to(q, after - first == U64(4))
            if name:
                remember_answer(k.answers, client_hi, client_lo, high, low, q.time, name)
        at = after
        left -= U64(1)


@rare_byte_helper
def note_message(q, f, d, data, k):
    """Note a DNS message: how long its answer took, and what that tells."""
    begin, end = _message_range(q, data)
    if begin == end:
        return
    response = is_response(data, begin)
    _time_message(q, f, d, message_id(data, begin), response)
    if response and response_code(data, begin) == U64(0):
        _learn(q, data, begin, end, k)


@byte_helper
def overhear(q, data, k):
    """Learn from a DNS message whose flow does not count it."""
    begin, end = _message_range(q, data)
    if begin != end and is_response(data, begin) and response_code(data, begin) == U64(0):
        _learn(q, data, begin, end, k)


@helper
def look_up(q, f, flow, answers):
    """By what name the client of a new flow knows its server."""
    row = find_answer(answers, flow.client_hi, flow.client_lo, flow.server_hi, flow.server_lo)
    if row == 0:
        row = find_answer(answers, _BY_MAC, U64(flow.client_mac), flow.server_hi, flow.server_lo)
    if row == 0:
        row = find_answer(answers, U64(0), U64(0), flow.server_hi, flow.server_lo)
    if row:
        r = answers.rows[row - 1]
        f.answer, f.answer_age = r.name, max(I64(0), q.time - r.time)


@helper
def _swap(pair):
    pair[0], pair[1] = pair[1], pair[0]


@helper
def _swap_roles(f):
    """The ends have changed places; the name that the client knew its server by is none any more."""
    _swap(f.kept)
    _swap(f.known)
    _swap(f.length)
    _swap(f.most)
    _swap(f.first)
    _swap(f.block)
    _swap(f.next)
    _swap(f.carry)
    _swap(f.carried)
    up, down = f.marks & FOLLOWED, f.marks & FOLLOWED << np.uint8(1)
    f.marks = f.marks & ~(FOLLOWED * np.uint8(3)) | up << np.uint8(1) | down >> np.uint8(1)
    f.record_down ^= U16((1 << I64(f.records)) - 1)
    f.answer = U32(0)


@inline_helper
def is_unread(f):
    """Whether the heads of a flow are to be dissected before its next part gets them."""
    return (f.block[0] != 0 or f.block[1] != 0) and not f.marks & READ


@helper
def carry_on(q, state):
    """A flow goes on in its next part, which gets all that is known, and the heads."""
    f, before = state[q.slot], state[q.previous]
    state[q.slot] = state[q.previous]
    f.marks &= ~READ
    for d in range(2):
        before.block[d], before.kept[d] = 0, CLOSED
    before.marks |= OVER
    if q.begins & SWAPPED_ROLES:
        _swap_roles(f)


@inline_byte_helper
def _note_segment(q, f, d, data, flow, k):
    f.is_tcp = 1
    skip, place, count = segment_place(q, f, d, HEAD_BYTES)
    if q.payload_caplen == 0:
        return
    if f.kept[d] < WHOLE and skip < I64(q.payload_caplen):
        _keep_segment(q, f, d, data, flow, k, skip, place, count)
    if f.service == TLS and not f.marks & NO_RECORDS:
        followed = FOLLOWED << np.uint8(d)
        if not f.marks & followed:
            f.marks |= followed
            f.next[d] = f.first[d]
        if not follow_records(q, f, d, data):
            f.marks |= NO_RECORDS


@inline_byte_helper
def note_payload(q, f, d, data, flow, k):
    """Note a packet with payload, or a SYN, of a flow that is not over.

    Most of them have nothing to be kept: what all flows share, a hundred words, is handed on for those alone that have.
    """
    if q.protocol == TCP:
        _note_segment(q, f, d, data, flow, k)
    elif q.payload_caplen != 0 and f.kept[d] < WHOLE:
        _keep_datagram(q, f, d, data, flow, k)
    if f.kept[0] < WHOLE or f.kept[1] < WHOLE:
        return
    if f.block[0] or f.block[1]:
        queue(f, q.slot, k)
    elif f.service != TLS or f.marks & NO_RECORDS:
        f.marks |= OVER


@byte_helper
def end_heads(f, flow, last, k):
    """Dissect the heads of a flow, of which no more bytes are kept if they are whole, or this is the `last` time.

    Whether that was not done, because there is a QUIC hello to be opened first.
    """
    f.marks = f.marks & ~QUEUED | READ
    if not last and f.service == QUIC and flow.protocol == UDP:
        return f.block[0] != 0
    dissect_heads(f, flow, k)
    if last or (f.kept[0] >= WHOLE and f.kept[1] >= WHOLE):
        release_heads(f, k.arena)
    return False
