"""Sequence numbers of a TCP connection: what was sent again, out of order, never seen, and acknowledged twice.

Rules and bounds are those of docs/flow-semantics.md, "Sequence numbers". `f` is the record of the group `tcp`; ends
are numbered by direction. Numbers are compared modulo 2^32 (RFC 9293 §3.4).
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper
from flowgauge.kernels.connection import (
    CLOSED,
    FIN_SENT,
    INACTIVE,
    PARTIAL,
    RESET,
    SEEN,
    SYN_SENT,
    G,
    T,
    add_counted,
    is_clean,
    state_before,
    state_of,
)
from flowgauge.kernels.header import FIN, RST, SYN
from flowgauge.kernels.sequence import after, beyond, numbers_of, plus

U8, U32, U64, I64 = np.uint8, np.uint32, np.uint64, np.int64
HOLES = 2  # of an end, that are remembered
NEAR = I64(1 << 30)  # numbers further apart than this are not compared
FAR = I64(1 << 20)  # a SYN's or RST's number this far away is not believed
MOST_WRAPS = U8(255)

# `options`: the shift of the window scale option, NO_SHIFT without one, and
SHIFT_BITS, NO_SHIFT = U8(15), U8(15)
SACK_PERMITTED, SYN_SEEN = U8(1 << 4), U8(1 << 5)
ACKED_HOLE = U8(1 << 6)  # of hole 0: acknowledged before it was seen; hole 1 has the next bit


@inline_helper
def is_numbered(f, end):
    """Whether the numbers of an end are known: it was seen, and has more than acknowledged a SYN."""
    return f.endpoint[end] & SEEN != 0 and state_of(f, end) != INACTIVE


@inline_helper
def is_hole(f, end, hole):
    return f.hole_begin[end, hole] != f.hole_end[end, hole]


@helper
def has_open_hole(f, end):
    """Whether numbers are missing that nobody has acknowledged."""
    first = is_hole(f, end, 0) and not f.options[end] & ACKED_HOLE
    return first or (is_hole(f, end, 1) and not f.options[end] & (ACKED_HOLE << U8(1)))


@helper
def _set_acked(f, end, hole, acked):
    bit = ACKED_HOLE << U8(hole)
    f.options[end] = (f.options[end] | bit) if acked else (f.options[end] & ~bit)


@helper
def _remove_hole(f, end, hole):
    """Forget a hole; hole 0 is the one that is there when there is one."""
    if hole == 0:
        f.hole_begin[end, 0], f.hole_end[end, 0] = f.hole_begin[end, 1], f.hole_end[end, 1]
        _set_acked(f, end, 0, f.options[end] & (ACKED_HOLE << U8(1)) != 0)
    f.hole_begin[end, 1] = f.hole_end[end, 1] = U32(0)
    _set_acked(f, end, 1, False)


@helper
def _lose(f, end, size):
    """Count bytes that are taken as never seen."""
    f.gap_bytes[end] += U64(size)
    if is_clean(f, 0) and is_clean(f, 1):
        f.gaps[end] += U32(1)
        add_counted(f, G + end, I64(f.gaps[end]))


@helper
def _make_room(f, end):
    """Let go of the older hole, of an acknowledged one first."""
    victim = 1 if f.options[end] & (ACKED_HOLE << U8(1)) and not f.options[end] & ACKED_HOLE else 0
    if not f.options[end] & (ACKED_HOLE << U8(victim)):
        _lose(f, end, after(f.hole_end[end, victim], f.hole_begin[end, victim]))
    _remove_hole(f, end, victim)


@helper
def _add_hole(f, end, begin, stop, acked):
    if is_hole(f, end, 0) and is_hole(f, end, 1):
        _make_room(f, end)
    place = 1 if is_hole(f, end, 0) else 0
    f.hole_begin[end, place], f.hole_end[end, place] = begin, stop
    _set_acked(f, end, place, acked)


@helper
def _fill_hole(f, end, hole, begin, stop):
    """Take begin..stop, which lie in it, out of a hole."""
    low, high = f.hole_begin[end, hole], f.hole_end[end, hole]
    acked = f.options[end] & (ACKED_HOLE << U8(hole)) != 0
    if low == begin and high == stop:
        _remove_hole(f, end, hole)
    elif low == begin:
        f.hole_begin[end, hole] = stop
    else:
        f.hole_end[end, hole] = begin
        if high != stop:
            _add_hole(f, end, stop, high, acked)


@helper
def _fill(f, end, begin, stop):
    """Fill the holes in begin..stop; returns the bytes of open and of acknowledged ones."""
    filled, late, hole = I64(0), I64(0), 0
    while hole < HOLES and is_hole(f, end, hole):
        low = begin if after(begin, f.hole_begin[end, hole]) > 0 else f.hole_begin[end, hole]
        high = stop if after(f.hole_end[end, hole], stop) > 0 else f.hole_end[end, hole]
        size = after(high, low)
        away = after(f.hole_begin[end, hole], begin)
        if size <= 0 or away > NEAR or away < -NEAR:
            hole += 1
            continue
        if f.options[end] & (ACKED_HOLE << U8(hole)):
            late += size
        else:
            filled += size
        whole = low == f.hole_begin[end, hole] and high == f.hole_end[end, hole]
        _fill_hole(f, end, hole, low, high)
        if not whole:  # what was left has taken its place
            hole += 1
    return filled, late


@helper
def _forget_far_holes(f, end):
    """Forget holes so far below the highest number that its next steps could make them look near again."""
    for hole in (1, 0):
        if is_hole(f, end, hole) and beyond(f.last[end], f.hole_end[end, hole]) > NEAR:
            _remove_hole(f, end, hole)


@inline_helper
def forward(f, end, number):
    """Move the highest number of an end, and count when its distance from the first passes 2^32."""
    before = beyond(f.last[end], f.start[end])
    f.last[end] = number
    if beyond(number, f.start[end]) < before and f.wraps[end] < MOST_WRAPS:
        f.wraps[end] += U8(1)


@inline_helper
def _way(f, end):
    """Numbers from the first to the highest of an end."""
    return beyond(f.last[end], f.start[end]) + (I64(f.wraps[end]) << 32)


@helper
def stream_bytes(f, end):
    """Payload bytes that an end has sent, by its numbers and those that were acknowledged."""
    peer = 1 - end
    if state_of(f, end) == INACTIVE:
        return I64(0)
    refused = state_of(f, end) == RESET and state_before(f, end) == SYN_SENT and state_of(f, peer) == INACTIVE
    if refused and beyond(f.ack[end], f.start[end]) > 1:  # the answer to the SYN was of an older connection
        return I64(0)
    return max(_way(f, end) - 1 - (f.endpoint[end] & FIN_SENT != 0), I64(0))


@helper
def begin_stream(q, f, end):
    """Start numbering an end, as if there had been a SYN where there is none."""
    opens = q.tcp_flags & SYN != 0
    f.start[end] = q.tcp_seq if opens else plus(q.tcp_seq, -1)
    f.ack[end] = f.start[end]
    f.last[end] = plus(q.tcp_seq, numbers_of(q)) if opens else q.tcp_seq
    f.wraps[end] = U8(0)
    for _ in range(HOLES):
        _remove_hole(f, end, 0)


@helper
def restarts(q, f, end):
    """Whether a SYN of an end that was seen before begins its numbers anew."""
    state = state_of(f, end)
    if q.tcp_seq == f.start[end] or state == CLOSED:
        return False
    return state != RESET or state_before(f, end) == INACTIVE


@helper
def _send_old(q, f, end, begin, moves):
    """Payload that begins below the highest number: sent again, or late."""
    stop = plus(begin, q.payload_len)
    if after(stop, f.last[end]) > 0:
        stop = f.last[end]
    early = after(f.last[end], begin) - _way(f, end) + 1  # below the first number seen: who knows
    early = min(max(early, I64(0)), after(stop, begin))
    filled, late = _fill(f, end, plus(begin, early), stop)
    f.retransmitted_bytes[end] += U64(after(stop, begin) - early - filled - late)
    if moves or (late and late == after(stop, begin)):
        return
    if filled or late or early:
        f.out_of_order[end] += U32(1)
    else:
        f.retransmitted[end] += U32(1)
    add_counted(f, T + end, I64(f.retransmitted[end]) + I64(f.out_of_order[end]))


@helper
def _send_unusual(q, f, end):
    """Advance an end by a segment that is not just the next."""
    stop = plus(q.tcp_seq, numbers_of(q))
    advance = after(stop, f.last[end])
    if q.tcp_flags & (SYN | RST) and (advance > FAR or advance < -FAR):
        return
    if q.tcp_flags & FIN and advance < -FAR and f.options[end] & SYN_SEEN and f.last[end] == plus(f.start[end], 1):
        forward(f, end, stop)  # nothing but SYN and FIN was seen of more than 2^31 bytes
        return
    if state_of(f, end) == RESET:
        return
    if q.tcp_flags & RST:
        if advance > 0:
            forward(f, end, stop)
        return
    begin = plus(q.tcp_seq, q.tcp_flags & SYN != 0)
    if after(begin, f.last[end]) > 0:
        if advance > 0:  # else it ends 2^31 ahead
            _add_hole(f, end, f.last[end], begin, False)
    elif q.payload_len and begin != f.last[end] and after(begin, f.last[end]) >= -NEAR:
        _send_old(q, f, end, begin, advance > 0)
    if advance > 0:
        forward(f, end, stop)


@inline_helper
def send(q, f, end):
    """Advance an end by a segment that it sends, before its state moves."""
    if q.tcp_seq == f.last[end] and not q.tcp_flags & (SYN | FIN | RST):
        if q.payload_len and state_of(f, end) != RESET:
            forward(f, end, plus(q.tcp_seq, q.payload_len))
    else:
        _send_unusual(q, f, end)
    if is_hole(f, end, 0):
        _forget_far_holes(f, end)


@helper
def _reveal(f, peer, edge, ahead):
    """Numbers below `edge`, `ahead` of the highest, were acknowledged: what is missing there is a gap."""
    hole, last = 0, f.last[peer]
    while hole < HOLES and is_hole(f, peer, hole):
        low, high = beyond(last, f.hole_begin[peer, hole]), beyond(last, f.hole_end[peer, hole])
        if f.options[peer] & (ACKED_HOLE << U8(hole)) or low + ahead <= 0:
            hole += 1
        elif high + ahead < 0:
            _lose(f, peer, low + ahead)
            f.hole_begin[peer, hole] = edge
            hole += 1
        else:
            _lose(f, peer, low - high)
            _remove_hole(f, peer, hole)


@helper
def reveal_gaps(f, peer):
    """After the states have moved: what `peer` sent and was acknowledged, but not seen."""
    edge = f.ack[peer]
    if f.endpoint[peer] & FIN_SENT and after(edge, f.fin[peer]) > 0:
        edge = f.fin[peer]
    state = state_of(f, peer)
    if state == INACTIVE or state == RESET:
        return
    ahead = after(edge, f.last[peer])
    if ahead > NEAR or ahead < -NEAR:
        return
    _reveal(f, peer, edge, ahead)
    if ahead > 0:
        first = f.wraps[peer] == 0 and beyond(edge, f.start[peer]) <= 2
        if state != PARTIAL or not first:  # else a keep-alive was the first to be seen
            _lose(f, peer, ahead)
            _add_hole(f, peer, f.last[peer], edge, True)
        forward(f, peer, edge)
        _forget_far_holes(f, peer)


@inline_helper
def is_duplicate(q, f, end, peer):
    """Whether a segment that acknowledges the highest number so far does so for nothing (RFC 5681 §2)."""
    plain = q.payload_len == 0 and not q.tcp_flags & (SYN | FIN)
    again = q.tcp_window == f.window[end] and f.ack[peer] != f.start[peer]
    return plain and again and after(f.last[peer], q.tcp_ack) > 0


@inline_helper
def acknowledge(q, f, end, peer):
    """Take the acknowledgement of a segment without RST; returns whether it may reveal gaps."""
    advance = after(q.tcp_ack, f.ack[peer])
    if advance > 0:
        if q.tcp_ack == U32(0) and advance > FAR:  # a broken field rather than a long way
            return False
        f.ack[peer] = q.tcp_ack
        return is_hole(f, peer, 0) or after(q.tcp_ack, f.last[peer]) > 0
    if advance == 0 and is_duplicate(q, f, end, peer):
        f.duplicate_acks[end] += U32(1)
    return False
