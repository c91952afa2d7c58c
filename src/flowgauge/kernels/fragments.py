"""IP fragments: tails take the ports of their first fragment, or wait for it (docs/flow-semantics.md).

The kernel only decides the order of the rows; the rows themselves are moved by NumPy, so that a
new column of the batch needs no line here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.packet import FIRST_FRAGMENT, I32, I64, METERED, NOT_FRAGMENT, U64

U = np.uint64
PATIENCE = np.int64(30_000_000_000)  # ns of clock that a datagram is remembered
MAX_DATAGRAMS = 1 << 16
MAX_WAITING = 1 << 16
MAX_WAITING_EACH = 64
CHAINS = 1 << 17
ROW_MAY_EMIT = 2 * MAX_WAITING_EACH + 1  # itself, what it lets go, and one datagram forgotten

# What a row of the order is: one that is metered as it stands or at the time of the first fragment
# that let it go; one whose first fragment never came; the place in which a row that waits was
# captured, where the clock and the boundaries still count.
RELEASED, ORPHAN, PLACEHOLDER = 0, 1, 2

DATAGRAM = np.dtype(
    [
        ("src_hi", np.uint64),
        ("src_lo", np.uint64),
        ("dst_hi", np.uint64),
        ("dst_lo", np.uint64),
        ("clock", np.int64),  # of the first packet seen
        ("identification", np.uint32),
        ("home", np.int32),  # its hash
        ("chain", np.int32),  # next datagram of the same hash
        ("head", np.int32),  # first waiting row, -1 without one
        ("tail", np.int32),
        ("waiting", np.int32),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("protocol", np.uint8),
        ("header_protocol", np.uint8),  # IPv4 tells datagrams apart by it, IPv6 (0) does not
        ("known", np.uint8),  # the first fragment was seen
    ],
    align=True,
)

STATE = np.dtype(
    [
        ("oldest", np.int64),  # datagrams oldest..newest (modulo MAX_DATAGRAMS) are remembered
        ("newest", np.int64),
        ("clock", np.int64),  # of the row before
        ("waiting", np.int64),
        ("free", np.int64),  # length of the free list of waiting rows
        ("out", np.int64),  # rows written to the order
        ("holds", np.int64),  # rows to be copied into the waiting store
        ("orphans", np.int64),
    ],
    align=True,
)


class Fragments(NamedTuple):
    """Arrays of the fragment stage."""

    state: np.recarray
    datagrams: np.recarray
    chains: I32  # first datagram of each hash
    next_waiting: I32
    free: I32
    seed: U64
    order: I64  # rows to meter: a row of the batch, or ~slot of the waiting store
    trigger: I64  # row of the batch at which a waiting row is metered
    kind: I64  # RELEASED, ORPHAN or PLACEHOLDER
    holds: I64  # pairs: row of the batch, slot of the waiting store


@helper
def _chain(f, q, header_protocol):
    seed = f.seed
    total = (seed[0] + q.src_lo) * (seed[1] + q.dst_lo) + (seed[2] + q.src_hi) * (seed[3] + q.dst_hi)
    total += (seed[4] + U(q.fragment_id)) * (seed[5] + U(header_protocol))
    return np.int64(total >> U(32)) & np.int64(CHAINS - 1)


@helper
def _find(f, q, chain, header_protocol):
    """The remembered datagram of a packet, -1 without one."""
    number = np.int64(f.chains[chain])
    while number >= 0:
        d = f.datagrams[number]
        same = d.src_lo == q.src_lo and d.dst_lo == q.dst_lo and d.identification == q.fragment_id
        if same and d.src_hi == q.src_hi and d.dst_hi == q.dst_hi and d.header_protocol == header_protocol:
            return number
        number = np.int64(d.chain)
    return np.int64(-1)


@helper
def _emit(f, source, trigger, kind):
    s = f.state[0]
    f.order[s.out], f.trigger[s.out], f.kind[s.out] = source, trigger, kind
    s.out += 1


@helper
def _let_go(f, d, trigger, kind):
    """Meter the rows that wait for a datagram."""
    s = f.state[0]
    row = np.int64(d.head)
    while row >= 0:
        _emit(f, ~row, trigger, kind)
        row = np.int64(f.next_waiting[row])
    s.waiting -= d.waiting
    if kind == ORPHAN:
        s.orphans += d.waiting
    d.waiting, d.head, d.tail = 0, -1, -1


@helper
def _forget_oldest(f, trigger):
    """Forget the oldest datagram; what waits for it are orphans."""
    s = f.state[0]
    number = s.oldest & np.int64(MAX_DATAGRAMS - 1)
    d = f.datagrams[number]
    _let_go(f, d, trigger, ORPHAN)
    if f.chains[d.home] == number:
        f.chains[d.home] = d.chain
    else:
        before = np.int64(f.chains[d.home])
        while f.datagrams[before].chain != number:
            before = np.int64(f.datagrams[before].chain)
        f.datagrams[before].chain = d.chain
    s.oldest += 1


@helper
def _remember(f, q, home, header_protocol):
    """A fresh datagram for a packet; there is room."""
    s = f.state[0]
    number = s.newest & np.int64(MAX_DATAGRAMS - 1)
    s.newest += 1
    d = f.datagrams[number]
    d.src_hi, d.src_lo, d.dst_hi, d.dst_lo = q.src_hi, q.src_lo, q.dst_hi, q.dst_lo
    d.identification, d.header_protocol = q.fragment_id, header_protocol
    d.clock = q.clock
    d.waiting, d.head, d.tail = 0, -1, -1
    d.known = 0
    d.home, d.chain = home, f.chains[home]
    f.chains[home] = number
    return number


@helper
def _wait(f, d, i):
    """Let row i wait for its first fragment; False when there are too many."""
    s = f.state[0]
    if d.waiting >= MAX_WAITING_EACH or s.waiting >= MAX_WAITING:
        return False
    s.free -= 1
    slot = f.free[s.free]
    f.holds[2 * s.holds], f.holds[2 * s.holds + 1] = i, slot
    s.holds += 1
    f.next_waiting[slot] = -1
    if d.tail >= 0:
        f.next_waiting[d.tail] = slot
    else:
        d.head = slot
    d.tail = slot
    d.waiting += 1
    s.waiting += 1
    return True


@helper
def _take(f, q, i):
    """Place row i, a fragment: it is metered, lets others go, or waits."""
    header_protocol = q.protocol if q.ip_version == 4 else np.uint8(0)
    home = _chain(f, q, header_protocol)
    number = _find(f, q, home, header_protocol)
    if number < 0:
        if f.state[0].newest - f.state[0].oldest == MAX_DATAGRAMS:
            _forget_oldest(f, i)
        number = _remember(f, q, home, header_protocol)
    d = f.datagrams[number]
    if q.fragment == FIRST_FRAGMENT:
        d.src_port, d.dst_port, d.protocol, d.known = q.src_port, q.dst_port, q.protocol, 1
        _emit(f, i, i, RELEASED)
        _let_go(f, d, i, RELEASED)
    elif d.known:
        q.src_port, q.dst_port, q.protocol = d.src_port, d.dst_port, d.protocol
        _emit(f, i, i, RELEASED)
    elif _wait(f, d, i):
        _emit(f, i, i, PLACEHOLDER)
    else:
        f.state[0].orphans += 1
        _emit(f, i, i, ORPHAN)


@kernel
def scan(p, rows):
    """(whether any of the rows is a fragment that is metered, clock and epoch of the last)."""
    found = False
    for i in range(rows):
        q = p.packets[i]
        found |= q.reason == METERED and q.fragment != NOT_FRAGMENT
    last = p.packets[rows - 1]
    return found, last.clock, last.epoch


@kernel
def order_rows(f, p, begin, stop):
    """Decide the order in which rows begin..stop and those that wait are metered.

    Returns the first row that was not placed, because the order could run over.
    """
    s = f.state[0]
    s.out = s.holds = 0
    room = len(f.order) - ROW_MAY_EMIT
    for i in range(begin, stop):
        q = p.packets[i]
        stepped_back = q.clock < s.clock
        while s.oldest < s.newest:
            d = f.datagrams[s.oldest & np.int64(MAX_DATAGRAMS - 1)]
            if not stepped_back and q.clock - d.clock <= PATIENCE:
                break
            if s.out > room:
                return i
            _forget_oldest(f, i)
        s.clock = q.clock
        if s.out > room:
            return i
        if q.reason == METERED and q.fragment != NOT_FRAGMENT:
            _take(f, q, i)
        else:
            _emit(f, i, i, RELEASED)
    return stop


@kernel
def order_rest(f):
    """Let go of everything that waits, as far as the order has room; True when nothing is left."""
    s = f.state[0]
    s.out = s.holds = 0
    while s.oldest < s.newest:
        if s.out > len(f.order) - ROW_MAY_EMIT:
            return False
        _forget_oldest(f, 0)
    return True
