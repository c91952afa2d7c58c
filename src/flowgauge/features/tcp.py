"""Group `tcp`: what the connection did, and its handshake, losses and windows.

The state of a flow goes on in its next part; what is counted begins anew.
"""

from __future__ import annotations

import numpy as np

from flowgauge.arrays import category_array, history_array, text_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import helper, inline_helper, kernel
from flowgauge.kernels.connection import (
    CLOSED,
    ESTABLISHED,
    FIN_SENT,
    FLIPPED,
    INACTIVE,
    PARTIAL,
    RESET,
    SAID_A,
    SAID_D,
    SEEN,
    STATE_BITS,
    STREAM_CLOSED,
    TCP_STATES,
    W,
    add_counted,
    add_letter,
    connection_state,
    move,
    note_control,
    note_plain,
    set_state,
    state_of,
)
from flowgauge.kernels.header import ACK, FIN, PSH, RST, SYN, TCP
from flowgauge.kernels.packet import (
    CONTINUES,
    LATE_BY_FIN,
    LATE_BY_RST,
    LATE_BY_SERVER_RST,
    NO_WSCALE,
    SWAPPED_ROLES,
)
from flowgauge.kernels.sequence import after, plus
from flowgauge.kernels.stream import (
    NO_SHIFT,
    SACK_PERMITTED,
    SHIFT_BITS,
    SYN_SEEN,
    acknowledge,
    begin_stream,
    forward,
    has_open_hole,
    is_duplicate,
    is_hole,
    is_numbered,
    restarts,
    reveal_gaps,
    send,
    stream_bytes,
)
from flowgauge.memory import Memory
from flowgauge.schema import DIRECTIONS

U8, U32, U64, I64 = np.uint8, np.uint32, np.uint64, np.int64
NANO = 1e9
STATES = text_array(TCP_STATES)
TAIL_UNIT = I64(4)  # ns
MOST_TAIL = I64(0xFFFFFFFF)
WITHOUT_BEFORE = STATE_BITS | FIN_SENT | SEEN

# By end: 0 is the client. What every segment reads or changes comes first.
STATE = state_dtype(
    [
        ("last", np.uint32, (2,)),  # highest number sent or acknowledged, plus one
        ("ack", np.uint32, (2,)),  # highest acknowledgement of what the end sent
        ("start", np.uint32, (2,)),  # initial sequence number; one below the first number seen without a SYN
        ("endpoint", np.uint8, (2,)),
        ("letters", np.uint8, (2,)),
        ("options", np.uint8, (2,)),
        ("wraps", np.uint8, (2,)),  # of `last`, past 2^32 from `start`
        ("window", np.uint16, (2,)),  # latest one sent
        ("init_window", np.uint16, (2,)),
        ("ack_rtt", np.int64),  # time of the latest SYN+ACK until its acknowledgement; then −1 − ns
        ("hole_begin", np.uint32, (2, 2)),  # (end, hole): numbers below `last` that were not seen
        ("hole_end", np.uint32, (2, 2)),
        ("fin", np.uint32, (2,)),  # number behind the payload of the latest FIN
        ("rst", np.uint32, (2,)),  # number of the latest RST
        ("history", np.uint64, (2,)),
        ("syn_rtt", np.int64),  # time of the latest SYN until its answer; then −1 − ns
        ("retransmitted_bytes", np.uint64, (2,)),
        ("gap_bytes", np.uint64, (2,)),
        ("retransmitted", np.uint32, (2,)),
        ("out_of_order", np.uint32, (2,)),
        ("duplicate_acks", np.uint32, (2,)),
        ("zero_windows", np.uint32, (2,)),
        ("gaps", np.uint32, (2,)),
        ("mss", np.uint16, (2,)),
        ("tail", np.uint32),  # time since both ends have closed, in TAIL_UNITs
    ]
)


@helper
def _continue(f, before, swapped):
    """Take over what outlives a part."""
    for end in range(2):
        other = 1 - end if swapped else end
        f.last[end], f.ack[end], f.start[end] = before.last[other], before.ack[other], before.start[other]
        f.endpoint[end], f.wraps[end] = before.endpoint[other], before.wraps[other]
        f.letters[end] = before.letters[other] & STREAM_CLOSED
        f.options[end] = before.options[other] & ~(SHIFT_BITS | SACK_PERMITTED | SYN_SEEN)
        f.window[end], f.fin[end], f.rst[end] = before.window[other], before.fin[other], before.rst[other]
        for hole in range(2):
            f.hole_begin[end, hole] = before.hole_begin[other, hole]
            f.hole_end[end, hole] = before.hole_end[other, hole]


@helper
def _begin_late(f, begins):
    """Behind the end of a connection whose record has left."""
    for end in range(2):
        set_state(f, end, ESTABLISHED)
    if begins & LATE_BY_FIN:
        for end in range(2):
            set_state(f, end, CLOSED)
    else:
        set_state(f, 1 if begins & LATE_BY_SERVER_RST else 0, RESET)


@helper
def _begin(q, state):
    """The first packet of a record."""
    f = state[q.slot]
    late = q.begins & (LATE_BY_FIN | LATE_BY_RST | LATE_BY_SERVER_RST)
    if q.begins & CONTINUES:
        _continue(f, state[q.previous], q.begins & SWAPPED_ROLES)
    elif late:
        _begin_late(f, q.begins)
    elif q.connection and q.direction == 1:
        add_letter(f, FLIPPED)


@helper
def _first_segment(q, f, end):
    f.endpoint[end] |= SEEN
    f.init_window[end] = q.tcp_window


@helper
def _shake(q, f, end):
    """Options and times of a SYN."""
    if not f.options[end] & SYN_SEEN:
        shift = NO_SHIFT if q.tcp_wscale == NO_WSCALE else q.tcp_wscale
        f.options[end] = (f.options[end] & ~SHIFT_BITS) | shift | SYN_SEEN
        f.mss[end] = q.tcp_mss
        if q.tcp_sack:
            f.options[end] |= SACK_PERMITTED
    if end == 0 and not q.tcp_flags & ACK and f.syn_rtt >= 0:
        f.syn_rtt = max(q.time, I64(0))
    elif end == 1 and q.tcp_flags & ACK:
        if f.syn_rtt > 0:
            f.syn_rtt = I64(-1) - max(I64(0), q.time - f.syn_rtt)
        if f.ack_rtt >= 0:
            f.ack_rtt = max(q.time, I64(0))


@helper
def _control(q, f, end):
    """A segment with SYN, FIN or RST, before it moves any state."""
    note_control(q, f, end)
    if q.tcp_flags & SYN and not q.tcp_flags & RST:
        _shake(q, f, end)
    if q.tcp_flags & FIN:
        f.endpoint[end] |= FIN_SENT
        f.fin[end] = plus(q.tcp_seq, q.payload_len)


@helper
def _close_streams(f):
    """An end has closed its stream when that has ended, and nothing of it is still missing."""
    for end in range(2):
        state = state_of(f, end)
        over = f.endpoint[end] & FIN_SENT or state in (CLOSED, RESET)
        if over and not has_open_hole(f, end):
            f.letters[end] |= STREAM_CLOSED


@helper
def _zero_window(f, end, peer):
    """A window of 0 that matters: the peer may still send, and the end has not reset the connection."""
    if state_of(f, peer) != CLOSED and state_of(f, end) != RESET:
        f.zero_windows[end] += U32(1)
        add_counted(f, W + end, I64(f.zero_windows[end]))


@inline_helper
def _is_open(f, end):
    """Whether an end was seen, has sent no FIN, and is partial or established (whose codes are neighbours)."""
    return np.uint8((f.endpoint[end] & WITHOUT_BEFORE) - (SEEN | PARTIAL)) <= np.uint8(1)


@inline_helper
def _is_usual(q, f, end, peer):
    """Whether a segment is the next one of a connection that is open at both ends, and nothing but that."""
    if not (_is_open(f, end) and _is_open(f, peer)):
        return False
    if q.tcp_seq != f.last[end] or (q.tcp_flags | PSH) != ACK | PSH or q.tcp_window == 0 or f.ack_rtt > 0:
        return False
    if not f.letters[end] & (SAID_D if q.payload_len else SAID_A):
        return False
    holes = is_hole(f, end, U64(0)) or is_hole(f, peer, U64(0))
    return not holes and after(f.last[peer], q.tcp_ack) >= 0 and q.tcp_ack != 0


@inline_helper
def _follow_usual(q, f, end, peer):
    """Count such a segment; what depends on whether it has payload is no branch, which nobody could predict."""
    advance = after(q.tcp_ack, f.ack[peer])
    if advance == 0 and is_duplicate(q, f, end, peer):
        f.duplicate_acks[end] += U32(1)
    f.ack[peer] = q.tcp_ack if advance > 0 else f.ack[peer]
    f.window[end] = q.tcp_window
    forward(f, end, plus(q.tcp_seq, q.payload_len))


@helper
def _follow(q, f, end, peer):
    """Count any segment into the record of its flow."""
    flags = q.tcp_flags
    control = flags & (SYN | FIN | RST)
    if not is_numbered(f, end) or (flags & SYN and restarts(q, f, end)):
        begin_stream(q, f, end)
    if not f.endpoint[end] & SEEN:
        _first_segment(q, f, end)
    if f.letters[0] & f.letters[1] & STREAM_CLOSED and q.gap > 0:
        f.tail = U32(min(MOST_TAIL, I64(f.tail) + q.gap // TAIL_UNIT))
    if control:
        _control(q, f, end)
    else:
        note_plain(q, f, end)
    if q.tcp_window == 0 and not flags & RST:
        _zero_window(f, end, peer)
    reveals = False
    if flags & ACK and not flags & RST:
        if is_numbered(f, peer):
            reveals = acknowledge(q, f, end, peer)
        if f.ack_rtt > 0 and end == 0 and not flags & SYN and f.ack[1] != f.start[1]:
            f.ack_rtt = I64(-1) - max(I64(0), q.time - f.ack_rtt)
        f.window[end] = q.tcp_window
    send(q, f, end)
    if control or state_of(f, end) == INACTIVE:
        move(q, f, end, peer)
    if reveals and state_of(f, end) != INACTIVE:
        reveal_gaps(f, peer)
    if (f.endpoint[0] | f.endpoint[1]) & FIN_SENT or state_of(f, 0) == RESET or state_of(f, 1) == RESET:
        _close_streams(f)


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        if q.begins and q.protocol == TCP:
            _begin(q, state)
        if q.connection == 0 or q.tcp_flags == 0:
            continue
        f, end = state[q.slot], U64(q.direction)  # an unsigned index is not looked at for being below 0
        peer = end ^ U64(1)
        if _is_usual(q, f, end, peer):
            _follow_usual(q, f, end, peer)
        else:
            _follow(q, f, I64(end), I64(peer))


# Columns of the arrays that `finish` fills, each of (end, column, row).
COUNTS = (
    "retransmitted_packets",
    "retransmitted_bytes",
    "out_of_order_packets",
    "gap_bytes",
    "duplicate_acks",
    "zero_windows",
    "stream_bytes",
)
HALVES = ("init_window", "mss")
OCTETS = ("window_scale", "sack_permitted", "no_window", "no_mss", "no_scale", "no_syn")


@kernel
def finish(state, flows, counts, halves, octets, shared, seconds):
    """Columns of every row; `shared` holds state, history and whether there is none, `seconds` both handshake times
    and the tail."""
    for row in range(len(state)):
        f = state[row]
        for end in range(2):
            counts[end, 0, row], counts[end, 1, row] = f.retransmitted[end], f.retransmitted_bytes[end]
            counts[end, 2, row], counts[end, 3, row] = f.out_of_order[end], f.gap_bytes[end]
            counts[end, 4, row], counts[end, 5, row] = f.duplicate_acks[end], f.zero_windows[end]
            counts[end, 6, row] = stream_bytes(f, end)
            halves[end, 0, row], halves[end, 1, row] = f.init_window[end], f.mss[end]
            shift, no_syn = f.options[end] & SHIFT_BITS, not f.options[end] & SYN_SEEN
            octets[end, 0, row], octets[end, 1, row] = shift, f.options[end] & SACK_PERMITTED != 0
            octets[end, 2, row] = flows[row].part > 0 or not f.endpoint[end] & SEEN
            octets[end, 3, row], octets[end, 4, row] = f.mss[end] == 0, no_syn or shift == NO_SHIFT
            octets[end, 5, row] = no_syn
        shared[0, row] = connection_state(f, counts[0, 6, row] == 0 and counts[1, 6, row] == 0)
        shared[1, row] = flows[row].protocol != TCP or not (f.endpoint[0] | f.endpoint[1]) & SEEN
        seconds[0, row] = np.float64(I64(-1) - f.syn_rtt) / NANO
        seconds[1, row] = np.float64(I64(-1) - f.ack_rtt) / NANO
        seconds[2, row] = np.float64(I64(f.tail) * TAIL_UNIT) / NANO


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    rows = len(state)
    counts = memory.columns((2, len(COUNTS)), rows, np.int64)
    halves = memory.columns((2, len(HALVES)), rows, np.uint16)
    octets = memory.columns((2, len(OCTETS)), rows, np.uint8)
    shared, seconds = memory.columns((2,), rows, np.uint8), memory.columns((3,), rows, np.float64)
    finish(state, flows, counts, halves, octets, shared, seconds)
    none = shared[1, :rows] != 0
    found: dict[str, Values] = {
        "tcp_state": category_array(shared[0, :rows], STATES, none),
        "tcp_history": history_array(state["history"], memory, none),
        "handshake_syn_rtt_s": (seconds[0, :rows], none | (state["syn_rtt"] >= 0)),
        "handshake_ack_rtt_s": (seconds[1, :rows], none | (state["ack_rtt"] >= 0)),
        "closed_tail_s": (seconds[2, :rows], none),
    }
    for end, prefix in enumerate(DIRECTIONS[1:]):
        found |= {prefix + name: (counts[end, place, :rows], none) for place, name in enumerate(COUNTS)}
        window, mss = halves[end, :, :rows]
        scale, sack, no_window, no_mss, no_scale, no_syn = octets[end, :, :rows]
        found[prefix + "init_window"] = (window, none | (no_window != 0))
        found[prefix + "mss"] = (mss, none | (no_mss != 0))
        found[prefix + "window_scale"] = (scale, none | (no_scale != 0))
        found[prefix + "sack_permitted"] = (sack, none | (no_syn != 0))
    return found


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("tcp", (Layout(STATE),), update, finalize)
