"""What ends a TCP connection: FINs, acceptable RSTs and new SYNs (RFC 9293 §3.10.7.4, docs/flow-semantics.md)."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper
from flowgauge.kernels.header import ACK, FIN, RST, SYN
from flowgauge.kernels.packet import ENDS, NO_WSCALE
from flowgauge.kernels.sequence import after, beyond, numbers_of, plus
from flowgauge.kernels.state import (
    ACK_UP,
    CLOSED_FIN,
    CLOSED_RST,
    FIN_UP,
    ISN_UP,
    PROGRESSED,
    RST_BY_SERVER,
    RST_SIDE_ALIVE,
    SEEN_UP,
    SEQ_UP,
    SYN_UP,
)

U8, U32, I64 = np.uint8, np.uint32, np.int64
UNKNOWN_SHIFT = U8(14)  # the largest: no RST is refused for a handshake that was not seen
UNSEEN_WINDOW = I64(1 << 30)


@helper
def _bit(flag, direction):
    return flag << U32(direction)


@helper
def is_bare_syn(flags):
    """A SYN without ACK."""
    return flags & SYN != 0 and flags & ACK == 0


@helper
def is_attempt(k):
    """Whether the client has sent a SYN, no FIN since, and the server nothing."""
    return k.marks & (SYN_UP | FIN_UP | _bit(SEEN_UP, 1)) == SYN_UP


@helper
def opens_anew(k, q):
    """Whether a SYN without ACK on an open flow is the beginning of another connection."""
    if not k.marks & PROGRESSED:
        return False
    direction = I64(q.direction)
    if k.marks & _bit(ISN_UP, direction):
        return q.tcp_seq != k.isn[direction]
    if direction == 1:
        return True
    return not (k.marks & SEQ_UP and after(k.first[0], q.tcp_seq) == 1)


@helper
def _is_acceptable(k, direction, seq):
    """Whether an RST's sequence number lies in the window of its receiver."""
    peer = 1 - direction
    if not k.marks & _bit(SEQ_UP, direction):
        return True
    low = k.acked[peer] if k.marks & _bit(ACK_UP, peer) else k.first[direction]
    width = I64(k.window[peer]) if k.marks & _bit(SEQ_UP, peer) else UNSEEN_WINDOW
    sent = beyond(k.next[direction], low)
    if after(k.next[direction], plus(low, width)) > 0:
        width = sent
    return beyond(seq, low) <= width


@helper
def _track_syn(k, q, direction):
    k.isn[direction] = q.tcp_seq
    k.marks |= _bit(ISN_UP, direction) | _bit(SYN_UP, direction)
    k.wscale[direction] = q.tcp_wscale
    peer = 1 - direction
    if q.tcp_flags & ACK and not k.marks & _bit(ISN_UP, peer):
        k.isn[peer] = plus(q.tcp_ack, -1)
        k.marks |= _bit(ISN_UP, peer)


@helper
def _shift(k, direction):
    """Window scale of a direction: known when both SYNs were seen."""
    both = SYN_UP | _bit(SYN_UP, 1)
    if k.marks & both != both:
        return UNKNOWN_SHIFT
    if k.wscale[0] == NO_WSCALE or k.wscale[1] == NO_WSCALE:
        return U8(0)
    return k.wscale[direction]


@helper
def _track_numbers(k, q, direction):
    """Follow sequence numbers, acknowledgements and the window of a segment without RST."""
    end = plus(q.tcp_seq, numbers_of(q))
    if not k.marks & _bit(SEQ_UP, direction):
        k.marks |= _bit(SEQ_UP, direction)
        k.first[direction], k.next[direction] = q.tcp_seq, end
    elif after(end, k.next[direction]) > 0:
        k.next[direction] = end
    if q.tcp_flags & ACK:
        if not k.marks & _bit(ACK_UP, direction) or after(q.tcp_ack, k.acked[direction]) > 0:
            k.acked[direction] = q.tcp_ack
        k.marks |= _bit(ACK_UP, direction)
    shift = U8(0) if q.tcp_flags & SYN else _shift(k, direction)
    k.window[direction] = U32(U32(q.tcp_window) << U32(shift))


@helper
def shows_rst_ignored(k, q):
    """Whether a segment on a flow closed by RST shows that nobody heeded the RST."""
    if not k.marks & CLOSED_RST or q.connection != ENDS:
        return False
    if q.tcp_flags == 0 or q.tcp_flags & (RST | SYN) or q.payload_len == 0:
        return False
    direction = I64(q.direction)
    if k.marks & _bit(SEQ_UP, direction) and after(q.tcp_seq, k.next[direction]) != 0:
        return False
    rst_side = 1 if k.marks & RST_BY_SERVER else 0
    return direction == rst_side or k.marks & RST_SIDE_ALIVE != 0


@helper
def track(k, q):
    """Follow a TCP segment of an open or closed flow; True when it closes the flow."""
    direction = I64(q.direction)
    closed = k.marks & (CLOSED_FIN | CLOSED_RST) != 0
    if q.tcp_flags & RST:
        if closed or not _is_acceptable(k, direction, q.tcp_seq):
            return False
        k.marks &= ~(RST_BY_SERVER | RST_SIDE_ALIVE)
        k.marks |= CLOSED_RST | (RST_BY_SERVER if direction == 1 else U32(0))
        k.close_clock = q.clock
        return True
    if k.marks & CLOSED_RST and direction == (1 if k.marks & RST_BY_SERVER else 0):
        k.marks |= RST_SIDE_ALIVE
    if q.tcp_flags == 0:
        return False
    if q.tcp_flags & SYN:
        _track_syn(k, q, direction)
    _track_numbers(k, q, direction)
    if q.tcp_flags & FIN:
        k.marks |= _bit(FIN_UP, direction)
    both = FIN_UP | _bit(FIN_UP, 1)
    if closed or k.marks & both != both:
        return False
    k.marks |= CLOSED_FIN
    k.close_clock = q.clock
    return True
