"""Assign each packet of a batch to a flow record and a direction: the life of flows.

The order of the tests is that of docs/flow-semantics.md, "When a flow ends".
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper, kernel, prefetch
from flowgauge.kernels.direction import CLIENT, SERVER, UNDECIDED, source_is_client
from flowgauge.kernels.header import ICMP, ICMPV6, TCP
from flowgauge.kernels.keys import realm_of
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
from flowgauge.kernels.packet import (
    CONTINUES,
    ENDS,
    FOLLOWED,
    LATE_BY_FIN,
    LATE_BY_RST,
    LATE_BY_SERVER_RST,
    METERED,
    NO_GAP,
    OPENS,
    SWAPPED_ROLES,
    TAIL_FRAGMENT,
)
from flowgauge.kernels.state import (
    ACTIVE,
    BY_FIRST,
    CLIENT_IS_B,
    CLOSE_WAIT,
    CLOSED,
    CLOSED_FIN,
    CLOSED_RST,
    DONE,
    END_ACTIVE,
    END_IDLE,
    END_REUSE,
    END_WINDOW,
    FULL,
    IN_CLOSING,
    LATE,
    NEVER,
    NO_STACK_YET,
    PAIRED_UP,
    PROGRESSED,
    REBUILD,
    RST_BY_SERVER,
    RST_SIDE_ALIVE,
    SEEN_UP,
)
from flowgauge.kernels.tcp import is_attempt, is_bare_syn, opens_anew, shows_rst_ignored, track

# What a packet does to the flow on its key.
STAYS, NEXT_PART, NEW_FLOW = 0, 1, 2
# Idle, but so long ago that the next flow knows nothing of it.
END_GONE = np.uint8(255)
I64 = np.int64
INDEX_AHEAD, KEY_AHEAD = 24, 12


@helper
def _closed_verdict(q, k, c, idle, s):
    """A packet on a closed flow."""
    if (q.connection == ENDS and is_bare_syn(q.tcp_flags)) or (idle != NEVER and q.time - last_time(k) > idle):
        return NEW_FLOW
    if k.marks & LATE:
        return STAYS
    if k.slot < 0 or q.clock - k.close_clock > CLOSE_WAIT:
        return NEW_FLOW if c.forget else NEXT_PART
    if shows_rst_ignored(k, q):
        k.marks &= ~(CLOSED_RST | RST_BY_SERVER | RST_SIDE_ALIVE)
        s.rst_ignored += 1
    return STAYS


@helper
def _verdict(q, k, c, s):
    """(what the packet does to the flow, why the flow's record would end)."""
    idle = idle_timeout(k, c)
    if is_gone(k, c, q.clock):
        return NEW_FLOW, END_GONE
    if k.marks & CLOSED:
        return _closed_verdict(q, k, c, idle, s), END_GONE
    if idle != NEVER and q.time - last_time(k) > idle:
        return NEW_FLOW, END_IDLE
    if c.attempt != NEVER and q.connection == ENDS and q.time - k.part_start > c.attempt and is_attempt(k):
        return NEW_FLOW, END_IDLE
    if q.connection == ENDS and is_bare_syn(q.tcp_flags) and opens_anew(k, q):
        return NEW_FLOW, END_REUSE
    if c.active != NEVER and q.time - k.part_start > c.active:
        return NEXT_PART, END_ACTIVE
    if c.window != NEVER and q.time // c.window > k.part_window:
        return NEXT_PART, END_WINDOW
    return STAYS, END_GONE


@helper
def _count_time(q, k):
    """Gaps to the latest time in flow and direction; then the packet's time is counted in.

    Returns whether the packet is earlier than the latest time.
    """
    bit, back = SEEN_UP << np.uint32(q.direction), False
    q.gap = q.gap_direction = NO_GAP
    if k.marks & (SEEN_UP | (SEEN_UP << np.uint32(1))):
        latest = last_time(k)
        back = q.time < latest
        q.gap = max(I64(0), q.time - latest)
    if k.marks & bit:
        before = k.last[q.direction]
        q.gap_direction = max(I64(0), q.time - before)
        k.last[q.direction] = max(q.time, before)
    else:
        k.last[q.direction] = q.time
        k.marks |= bit
    k.part_start = min(k.part_start, q.time)
    return back


@helper
def _open_flow(q, k, s, c, services, previous):
    """Begin a flow on a key: direction and identity."""
    client, by = True, BY_FIRST
    if not c.first_is_client:
        client, by = source_is_client(q, services, c.services_only, previous)
    k.marks &= ACTIVE | IN_CLOSING
    if client == (q.swapped != 0):
        k.marks |= CLIENT_IS_B
    k.client_by = by
    k.part = 0
    k.flow_id = s.flow_base + q.record_offset
    k.first_packet = q.number


@helper
def _open_record(q, k, c, f, capture):
    """Begin the record `f` of a key."""
    k.part_start, k.counted = q.time, 0
    if c.window != NEVER:
        k.part_window = q.time // c.window
    if q.direction == 0:
        f.client_hi, f.client_lo, f.server_hi, f.server_lo = q.src_hi, q.src_lo, q.dst_hi, q.dst_lo
        f.client_port, f.server_port = q.src_port, q.dst_port
        f.client_mac, f.server_mac = q.src_mac, q.dst_mac
    else:
        f.client_hi, f.client_lo, f.server_hi, f.server_lo = q.dst_hi, q.dst_lo, q.src_hi, q.src_lo
        f.client_port, f.server_port = q.dst_port, q.src_port
        f.client_mac, f.server_mac = q.dst_mac, q.src_mac
    f.start = f.end = q.time
    f.flow_id, f.first_packet, f.part = k.flow_id, k.first_packet, k.part
    f.capture = capture
    f.protocol, f.ip_version = q.protocol, q.ip_version
    f.vlan, f.vlan_outer = q.vlan, q.vlan_outer
    f.icmp_type, f.icmp_code = q.icmp_type, q.icmp_code
    f.client_by, f.opener = k.client_by, q.direction
    if q.protocol == ICMP or q.protocol == ICMPV6:
        f.client_port = f.server_port = 0
        f.has_icmp = q.fragment != TAIL_FRAGMENT


@helper
def _swap_roles(k):
    """Make the server the client: everything that is kept by direction changes places."""
    both = PAIRED_UP | (PAIRED_UP << np.uint32(1))
    swapped = ((k.marks & PAIRED_UP) << np.uint32(1)) | ((k.marks >> np.uint32(1)) & PAIRED_UP)
    k.marks = (k.marks & ~both) | swapped
    k.marks ^= CLIENT_IS_B
    if k.marks & CLOSED_RST:
        k.marks ^= RST_BY_SERVER
    for values in (k.isn, k.first, k.next, k.acked, k.window):
        values[0], values[1] = values[1], values[0]
    k.last[0], k.last[1] = k.last[1], k.last[0]
    k.wscale[0], k.wscale[1] = k.wscale[1], k.wscale[0]


@helper
def _next_part(q, k, c, previous):
    """The next part of a flow whose record, in the slot `previous`, has ended."""
    k.part += 1
    swaps = c.first_is_client and q.direction == 1
    if swaps:
        _swap_roles(k)
    if k.marks & CLOSED:
        k.marks |= LATE
        if k.marks & CLOSED_FIN:
            q.begins = LATE_BY_FIN
        else:
            q.begins = LATE_BY_SERVER_RST if k.marks & RST_BY_SERVER else LATE_BY_RST
    else:
        q.begins, q.previous = (CONTINUES | SWAPPED_ROLES) if swaps else CONTINUES, previous


@helper
def _next_flow(q, t, number, reason):
    """Another flow on a key whose record has ended for this reason."""
    k, previous = t.keys[number], UNDECIDED
    if reason == END_IDLE and not t.config[0].forget:
        previous = CLIENT if q.direction == 0 else SERVER
    wheel_remove(t.keys, t.buckets, number)  # its time may come earlier now, where the clock was set back
    _open_flow(q, k, t.state[0], t.config[0], t.services, previous)


@helper
def _add_key(q, t):
    """A fresh key with a flow on it; -1 when room must be made first."""
    s = t.state[0]
    if s.keys >= t.config[0].max_keys and not make_room(t, q.clock):
        return I64(-1)
    number = new_key(s, t.keys, t.free_keys, t.index, q)
    _open_flow(q, t.keys[number], s, t.config[0], t.services, UNDECIDED)
    return number


@helper
def _note_closed(t, number):
    k, s = t.keys[number], t.state[0]
    if not k.marks & IN_CLOSING:
        k.marks |= IN_CLOSING
        t.closing[s.closing] = number
        s.closing += 1


@inline_helper
def _lacks_room(t):
    """Whether no key or no slot is left for one more flow."""
    s = t.state[0]
    no_key = s.free_keys == 0 and s.fresh_key == len(t.keys) and s.keys < t.config[0].max_keys
    return no_key or (s.free_slots == 0 and s.fresh_slot == len(t.flows))


@helper
def _is_rest(q, k, c):
    """Whether a packet lies behind those of its record that count."""
    if c.first_time != NEVER and q.time - k.part_start > c.first_time:
        return True
    k.counted += np.uint32(1)
    return c.first_packets != NEVER and I64(k.counted) > c.first_packets


@inline_helper
def _count(q, t, number):
    """Count a packet into the flow on its key; the slot of its record, or -1 where it is only counted."""
    k, s = t.keys[number], t.state[0]
    q.direction = q.swapped ^ np.uint8(k.marks & CLIENT_IS_B != 0)
    if k.slot < 0:
        k.slot = new_slot(s, t.free_slots)
        q.begins |= OPENS
        _open_record(q, k, t.config[0], t.flows[k.slot], (s.flow_base + q.record_offset) >> I64(40))
        if q.tunnel_depth != 0:
            t.flows[k.slot].tunnel = NO_STACK_YET
            s.without_stack += 1
    slot, back = k.slot, _count_time(q, k)
    if t.config[0].limits and _is_rest(q, k, t.config[0]):
        t.flows[slot].rest_packets += 1
        slot = np.int32(-1)
    elif back:
        t.flows[slot].clock_back += 1
    if q.gap < 0 and k.bucket < 0:
        wheel_add(s, t.config[0], t.keys, t.buckets, number)
    s.ordinal += 1
    k.used, k.used_clock = s.ordinal, q.clock
    if not is_bare_syn(q.tcp_flags) and not (q.fragment == TAIL_FRAGMENT and q.protocol == TCP):
        k.marks |= PROGRESSED
    if q.connection == ENDS and track(k, q):
        _note_closed(t, number)
    return slot


@inline_helper
def _look_ahead(p, i, stop, t):
    """Ask for the memory that later packets need: the index for those further ahead, keys for the next."""
    mask = np.uint64(len(t.index) - 1)
    if i + INDEX_AHEAD < stop:
        prefetch(t.index, np.int64(np.uint64(p.packets[i + INDEX_AHEAD].key_hash) & mask))
    if i + KEY_AHEAD < stop:
        found = t.index[np.uint64(p.packets[i + KEY_AHEAD].key_hash) & mask]
        prefetch(t.keys, np.int64(found & np.uint64(0xFFFFFFFF)) - 1)


@inline_helper
def _find(q, t):
    """The key of a packet, -1 without one."""
    if q.swapped:
        return find(t.index, t.keys, q.key_hash, q.dst_hi, q.dst_lo, q.src_hi, q.src_lo, q.key_word, realm_of(q))
    return find(t.index, t.keys, q.key_hash, q.src_hi, q.src_lo, q.dst_hi, q.dst_lo, q.key_word, realm_of(q))


@inline_helper
def _settle(q, t, number):
    """Let the packet end the record on its key, where it does."""
    k, s, c = t.keys[number], t.state[0], t.config[0]
    q.direction = q.swapped ^ np.uint8(k.marks & CLIENT_IS_B != 0)
    verdict, reason = _verdict(q, k, c, s)
    if verdict == STAYS:
        return
    slot = k.slot
    end_record(s, k, t.flows, t.ended, END_IDLE if reason == END_GONE else reason, s.epoch + 1)
    if verdict == NEXT_PART:
        _next_part(q, k, c, slot)
    else:
        _next_flow(q, t, number, reason)


@kernel
def assign(p, begin, stop, t):
    """Fill slot, direction, gap and gap_direction of rows begin..stop.

    Returns the first row that was not done; the table's `status` says why: DONE, FULL (a key or slot
    is needed), REBUILD (the queues of the least recently used keys are needed).
    """
    s, c = t.state[0], t.config[0]
    s.status = DONE
    for i in range(begin, stop):
        _look_ahead(p, i, stop, t)
        q = p.packets[i]
        if q.epoch != s.source_epoch:
            s.source_epoch = q.epoch
            boundary(t, q.clock)
        s.clock = q.clock
        q.slot, q.begins = -1, 0
        if q.reason != METERED:
            continue
        if _lacks_room(t):
            s.status = FULL
            return i
        q.connection = 0
        if q.protocol == TCP and q.fragment != TAIL_FRAGMENT and not c.hosts:
            q.connection = ENDS if c.tcp_end else FOLLOWED
        number = _find(q, t)
        if number >= 0:
            _settle(q, t, number)
        else:
            number = _add_key(q, t)
            if number < 0:
                s.status = REBUILD
                return i
        q.slot = _count(q, t, number)
    return stop
