"""IP fragments: tails take the ports of their first fragment, or wait for it (docs/flow-semantics.md).

The kernel only decides the order of the rows; the rows themselves are moved by NumPy, so that a
new column of the batch needs no line here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.packet import FIRST_FRAGMENT, I32, I64, METERED, NOT_FRAGMENT, OVERHEARD, U64

U = np.uint64
LOW = U(0xFFFFFFFF)
SEEDS = 24  # secret words that names are made with
PATIENCE = np.int64(30_000_000_000)  # ns of clock that a datagram is remembered
MAX_DATAGRAMS = 1 << 16
MAX_WAITING = 1 << 16
MAX_WAITING_EACH = 64
CHAINS = 1 << 17
# Itself, what it lets go, and one datagram forgotten; the same for the datagram around it.
ROW_MAY_EMIT = 4 * MAX_WAITING_EACH + 1

# What a row of the order is: one that is metered as it stands or at the time of the first fragment
# that let it go; one whose first fragment never came; the place in which a row that waits was
# captured, where the clock and the boundaries still count; one that a first fragment let go which is metered as the
# packet inside.
RELEASED, ORPHAN, PLACEHOLDER, TUNNELLED = 0, 1, 2, 3

DATAGRAM = np.dtype(
    [
        ("name", np.uint64),
        ("clock", np.int64),  # of the first packet seen
        ("home", np.int32),  # its hash
        ("chain", np.int32),  # next datagram of the same hash
        ("head", np.int32),  # first waiting row, -1 without one
        ("tail", np.int32),
        ("waiting", np.int32),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("protocol", np.uint8),
        ("known", np.uint8),  # the first fragment was seen
        ("tunnel", np.uint8),  # and was metered as the packet inside
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
        ("tunnelled", np.int64),  # tails of packets that were metered as the packets inside
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
def _half_name(seed, first, q, rest, realm):
    """Multilinear hash of eleven 32-bit words (Lemire and Kaser 2014)."""
    total = (seed[first] + (q.src_hi >> U(32))) * (seed[first + 1] + (q.src_hi & LOW))
    total += (seed[first + 2] + (q.src_lo >> U(32))) * (seed[first + 3] + (q.src_lo & LOW))
    total += (seed[first + 4] + (q.dst_hi >> U(32))) * (seed[first + 5] + (q.dst_hi & LOW))
    total += (seed[first + 6] + (q.dst_lo >> U(32))) * (seed[first + 7] + (q.dst_lo & LOW))
    total += (seed[first + 8] + U(q.ip_id)) * (seed[first + 9] + rest)
    total += (seed[first + 10] + realm) * seed[first + 11]
    return total >> U(32)


@helper
def datagram_name(seed, q):
    """64 bits that stand for the datagram of a fragment: a tunnel's packet has room for no more of what is around it.

    IPv4 tells datagrams apart by their protocol, IPv6 does not.
    """
    rest = U(q.protocol) if q.ip_version == 4 else U(256)
    realm = U(q.realm) if q.tunnel_depth != 0 else U(0)
    return _half_name(seed, 0, q, rest, realm) << U(32) | _half_name(seed, 12, q, rest, realm)


@helper
def _find(f, name):
    """The remembered datagram of this name, -1 without one."""
    number = np.int64(f.chains[name & U(CHAINS - 1)])
    while number >= 0:
        d = f.datagrams[number]
        if d.name == name:
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
    elif kind == TUNNELLED:
        s.tunnelled += d.waiting
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
def _remember(f, name, clock):
    """A fresh datagram; there is room."""
    s = f.state[0]
    number = s.newest & np.int64(MAX_DATAGRAMS - 1)
    s.newest += 1
    d = f.datagrams[number]
    home = np.int64(name & U(CHAINS - 1))
    d.name, d.clock = name, clock
    d.waiting, d.head, d.tail = 0, -1, -1
    d.known = d.tunnel = 0
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
def _datagram(f, name, clock, i):
    """The number of the datagram of this name, remembered from here on."""
    number = _find(f, name)
    if number < 0:
        if f.state[0].newest - f.state[0].oldest == MAX_DATAGRAMS:
            _forget_oldest(f, i)
        number = _remember(f, name, clock)
    return number


@helper
def _take(f, q, i):
    """Place row i, a fragment: it is metered, lets others go, or waits."""
    d = f.datagrams[_datagram(f, datagram_name(f.seed, q), q.clock, i)]
    if q.fragment == FIRST_FRAGMENT:
        d.src_port, d.dst_port, d.protocol = q.src_port, q.dst_port, q.protocol
        d.known, d.tunnel = 1, 0
        _emit(f, i, i, RELEASED)
        _let_go(f, d, i, RELEASED)
    elif d.known:
        q.src_port, q.dst_port, q.protocol = d.src_port, d.dst_port, d.protocol
        f.state[0].tunnelled += d.tunnel
        _emit(f, i, i, RELEASED)
    elif _wait(f, d, i):
        _emit(f, i, i, PLACEHOLDER)
    else:
        f.state[0].orphans += 1
        _emit(f, i, i, ORPHAN)


@helper
def _take_outer(f, q, i):
    """Row i, already placed, is metered as the packet inside the first fragment of a datagram; let its tails go."""
    d = f.datagrams[_datagram(f, q.outer_datagram, q.clock, i)]
    d.src_port, d.dst_port, d.protocol = q.outer_src_port, q.outer_dst_port, q.outer_protocol
    d.known = d.tunnel = 1
    _let_go(f, d, i, TUNNELLED)


@helper
def _is_in_fragment(q):
    """Whether a packet came in the first fragment of a datagram around it, also one that is metered elsewhere."""
    return (q.reason == METERED or q.reason == OVERHEARD) and q.tunnel_depth != 0 and q.outer_fragment != 0


@kernel
def scan(p, rows):
    """(whether any of the rows is a fragment that is metered, clock and epoch of the last)."""
    found = False
    for i in range(rows):
        q = p.packets[i]
        found |= (q.reason == METERED and q.fragment != NOT_FRAGMENT) or _is_in_fragment(q)
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
        if _is_in_fragment(q):
            _take_outer(f, q, i)
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
