"""Assign each packet of a batch to a flow record and a direction: the life of flows.

The order of the tests is that of docs/flow-semantics.md, "When a flow ends".
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import inline_kernel, kernel
from flowgauge.kernels.direction import CLIENT, SERVER, UNDECIDED, source_is_client
from flowgauge.kernels.header import ICMP, ICMPV6, TCP
from flowgauge.kernels.lifetime import (
    boundary,
    end_record,
    find,
    idle_timeout,
    is_gone,
    last_time,
    make_room,
    new_key,
    new_slot,
    wheel_add,
    wheel_remove,
)
from flowgauge.kernels.packet import METERED, NO_GAP, TAIL_FRAGMENT
from flowgauge.kernels.state import (
    ACTIVE,
    BY_FIRST,
    CLIENT_IS_B,
    CLOSE_WAIT,
    CLOSED,
    CLOSED_RST,
    DONE,
    END_ACTIVE,
    END_IDLE,
    END_REUSE,
    FULL,
    IN_CLOSING,
    LATE,
    NEVER,
    PAIRED_UP,
    PROGRESSED,
    REBUILD,
    RST_BY_SERVER,
    RST_SIDE_ALIVE,
    SEEN_UP,
)
from flowgauge.kernels.tcp import is_bare_syn, opens_anew, shows_rst_ignored, track

# What a packet does to the flow on its key.
STAYS, NEXT_PART, NEW_FLOW = 0, 1, 2
# Idle, but so long ago that the next flow knows nothing of it.
END_GONE = np.uint8(255)
I64 = np.int64
TOUCH_ROWS = 256


@kernel
def _closed_verdict(q, k, idle, s):
    """A packet on a closed flow."""
    if (q.connection and is_bare_syn(q.flags)) or (idle != NEVER and q.time - last_time(k) > idle):
        return NEW_FLOW
    if k.flags & LATE:
        return STAYS
    if k.slot < 0 or q.clock - k.close_clock > CLOSE_WAIT:
        return NEXT_PART
    if shows_rst_ignored(k, q):
        k.flags &= ~(CLOSED_RST | RST_BY_SERVER | RST_SIDE_ALIVE)
        s.rst_ignored += 1
    return STAYS


@kernel
def _verdict(q, k, c, s):
    """(what the packet does to the flow, why the flow's record would end)."""
    idle = idle_timeout(k, c)
    if is_gone(k, c, q.clock):
        return NEW_FLOW, END_GONE
    if k.flags & CLOSED:
        return _closed_verdict(q, k, idle, s), END_GONE
    if idle != NEVER and q.time - last_time(k) > idle:
        return NEW_FLOW, END_IDLE
    if q.connection and is_bare_syn(q.flags) and opens_anew(k, q):
        return NEW_FLOW, END_REUSE
    if c.active != NEVER and q.time - k.part_start > c.active:
        return NEXT_PART, END_ACTIVE
    return STAYS, END_GONE


@kernel
def _count_time(q, k):
    """Gaps to the latest time in flow and direction; then the packet's time is counted in.

    Returns whether the packet is earlier than the latest time.
    """
    bit, back = SEEN_UP << np.uint32(q.direction), False
    q.gap = q.gap_direction = NO_GAP
    if k.flags & (SEEN_UP | (SEEN_UP << np.uint32(1))):
        latest = last_time(k)
        back = q.time < latest
        q.gap = max(I64(0), q.time - latest)
    if k.flags & bit:
        before = k.last[q.direction]
        q.gap_direction = max(I64(0), q.time - before)
        k.last[q.direction] = max(q.time, before)
    else:
        k.last[q.direction] = q.time
        k.flags |= bit
    k.part_start = min(k.part_start, q.time)
    return back


@kernel
def _open_flow(p, i, t, number, previous):
    """Begin a flow on a key: direction and identity."""
    k, s = t.keys[number], t.state[0]
    client, by = True, BY_FIRST
    if not t.config[0].first_is_client:
        client, by = source_is_client(p, i, t.services, previous)
    k.flags &= ACTIVE | IN_CLOSING
    if client == (p.swapped[i] != 0):
        k.flags |= CLIENT_IS_B
    k.client_by = by
    k.part = 0
    k.flow_id = s.flow_base + p.record_offset[i]
    k.first_packet = p.number[i]


@kernel
def _open_record(p, i, t, k, direction):
    """Begin a record in a fresh slot."""
    k.slot = new_slot(t)
    k.part_start = p.time[i]
    f = t.flows[k.slot]
    if direction == 0:
        f.client_hi, f.client_lo, f.server_hi, f.server_lo = p.src_hi[i], p.src_lo[i], p.dst_hi[i], p.dst_lo[i]
        f.client_port, f.server_port = p.src_port[i], p.dst_port[i]
        f.client_mac, f.server_mac = p.src_mac[i], p.dst_mac[i]
    else:
        f.client_hi, f.client_lo, f.server_hi, f.server_lo = p.dst_hi[i], p.dst_lo[i], p.src_hi[i], p.src_lo[i]
        f.client_port, f.server_port = p.dst_port[i], p.src_port[i]
        f.client_mac, f.server_mac = p.dst_mac[i], p.src_mac[i]
    f.start = f.end = p.time[i]
    f.flow_id, f.first_packet, f.part = k.flow_id, k.first_packet, k.part
    f.capture = t.state[0].capture
    f.protocol, f.ip_version = p.protocol[i], p.ip_version[i]
    f.vlan, f.vlan_outer = p.vlan[i], p.vlan_outer[i]
    f.icmp_type, f.icmp_code = p.icmp_type[i], p.icmp_code[i]
    f.client_by, f.opener = k.client_by, direction
    if p.protocol[i] == ICMP or p.protocol[i] == ICMPV6:
        f.client_port = f.server_port = 0
        f.has_icmp = p.fragment[i] != TAIL_FRAGMENT


@kernel
def _swap_roles(k):
    """Make the server the client: everything that is kept by direction changes places."""
    both = PAIRED_UP | (PAIRED_UP << np.uint32(1))
    swapped = ((k.flags & PAIRED_UP) << np.uint32(1)) | ((k.flags >> np.uint32(1)) & PAIRED_UP)
    k.flags = (k.flags & ~both) | swapped
    k.flags ^= CLIENT_IS_B
    if k.flags & CLOSED_RST:
        k.flags ^= RST_BY_SERVER
    for values in (k.isn, k.first, k.next, k.acked, k.window):
        values[0], values[1] = values[1], values[0]
    k.last[0], k.last[1] = k.last[1], k.last[0]
    k.wscale[0], k.wscale[1] = k.wscale[1], k.wscale[0]


@kernel
def _turn(p, i, t, number, verdict, reason):
    """End the record of a key and begin what comes after it: another flow or the next part."""
    k = t.keys[number]
    closed = k.flags & CLOSED != 0
    end_record(t, number, END_IDLE if reason == END_GONE else reason, t.state[0].epoch + 1)
    if verdict == NEXT_PART:
        k.part += 1
        if closed:
            k.flags |= LATE
        if t.config[0].first_is_client and t.packet[0].direction == 1:
            _swap_roles(k)
        return
    previous = UNDECIDED
    if reason == END_IDLE:
        previous = CLIENT if t.packet[0].direction == 0 else SERVER
    wheel_remove(t, number)  # its time may come earlier now, where the clock was set back
    _open_flow(p, i, t, number, previous)


@kernel
def _add_key(p, i, t, word):
    """A fresh key with a flow on it; -1 when room must be made first."""
    s = t.state[0]
    if s.keys >= t.config[0].max_keys and not make_room(t, p.clock[i]):
        return I64(-1)
    if p.swapped[i]:
        number = new_key(t, p.hash[i], p.dst_hi[i], p.dst_lo[i], p.src_hi[i], p.src_lo[i], word)
    else:
        number = new_key(t, p.hash[i], p.src_hi[i], p.src_lo[i], p.dst_hi[i], p.dst_lo[i], word)
    _open_flow(p, i, t, number, UNDECIDED)
    return number


@kernel
def _note_closed(t, number):
    k, s = t.keys[number], t.state[0]
    if not k.flags & IN_CLOSING:
        k.flags |= IN_CLOSING
        t.closing[s.closing] = number
        s.closing += 1


@kernel
def _lacks_room(t):
    """Whether no key or no slot is left for one more flow."""
    s = t.state[0]
    no_key = s.free_keys == 0 and s.fresh_key == len(t.keys) and s.keys < t.config[0].max_keys
    return no_key or (s.free_slots == 0 and s.fresh_slot == len(t.flows))


@inline_kernel
def _load(q, p, i):
    """Copy what the helpers need of row i."""
    q.time, q.swapped, q.flags, q.payload = p.time[i], p.swapped[i], p.tcp_flags[i], p.payload_len[i]
    q.seq, q.ack, q.window, q.wscale = p.tcp_seq[i], p.tcp_ack[i], p.tcp_window[i], p.tcp_wscale[i]


@inline_kernel
def _count(p, i, t, number):
    """Count a packet into the flow on its key."""
    k, s, q = t.keys[number], t.state[0], t.packet[0]
    q.direction = q.swapped ^ np.uint8(k.flags & CLIENT_IS_B != 0)
    if k.slot < 0:
        _open_record(p, i, t, k, q.direction)
    if _count_time(q, k):
        t.flows[k.slot].clock_back += 1
    if q.gap < 0 and k.bucket < 0:
        wheel_add(t, number)
    s.ordinal += 1
    k.used, k.used_clock = s.ordinal, q.clock
    p.slot[i], p.direction[i], p.gap[i], p.gap_direction[i] = k.slot, q.direction, q.gap, q.gap_direction
    if not is_bare_syn(q.flags) and p.fragment[i] != TAIL_FRAGMENT:
        k.flags |= PROGRESSED
    if q.connection and track(k, q):
        _note_closed(t, number)


@kernel
def _touch(p, begin, stop, t):
    """Load what the rows begin..stop will need of index and keys, so that they wait for memory together.

    Assigning goes packet by packet and would wait for each; here no load depends on another row's.
    """
    mask, seen = np.uint64(len(t.index) - 1), np.int64(0)
    for i in range(begin, stop):
        found = t.index[np.uint64(p.hash[i]) & mask] & np.uint64(0xFFFFFFFF)
        if found != np.uint64(0):
            k = t.keys[found - np.uint64(1)]
            seen += k.slot + k.last[0] + np.int64(k.next[0])
    t.state[0].touched = seen


@kernel
def assign(p, begin, stop, t, words):
    """Fill slot, direction, gap and gap_direction of rows begin..stop.

    Returns the first row that was not done; the table's `status` says why: DONE, FULL (a key or slot
    is needed), REBUILD (the queues of the least recently used keys are needed).
    """
    s, c, q = t.state[0], t.config[0], t.packet[0]
    s.status = DONE
    for i in range(begin, stop):
        if (i - begin) % TOUCH_ROWS == 0:
            _touch(p, i, min(i + TOUCH_ROWS, stop), t)
        if p.epoch[i] != s.source_epoch:
            s.source_epoch = p.epoch[i]
            boundary(t, p.clock[i])
        s.clock = q.clock = p.clock[i]
        p.slot[i] = -1
        if p.reason[i] != METERED:
            continue
        if _lacks_room(t):
            s.status = FULL
            return i
        _load(q, p, i)
        q.connection = c.tcp_end and p.protocol[i] == TCP and p.fragment[i] != TAIL_FRAGMENT
        a_hi, a_lo, b_hi, b_lo = p.src_hi[i], p.src_lo[i], p.dst_hi[i], p.dst_lo[i]
        if q.swapped:
            a_hi, a_lo, b_hi, b_lo = b_hi, b_lo, a_hi, a_lo
        number = find(t.index, t.keys, p.hash[i], a_hi, a_lo, b_hi, b_lo, words[i])
        if number < 0:
            number = _add_key(p, i, t, words[i])
            if number < 0:
                s.status = REBUILD
                return i
        else:
            k = t.keys[number]
            q.direction = q.swapped ^ np.uint8(k.flags & CLIENT_IS_B != 0)
            verdict, reason = _verdict(q, k, c, s)
            if verdict != STAYS:
                _turn(p, i, t, number, verdict, reason)
        _count(p, i, t, number)
    return stop
