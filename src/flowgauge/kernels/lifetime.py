"""Keys and records come and go: the hash index, the timing wheel, the free lists."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.header import ICMP, ICMPV6, TCP, UDP
from flowgauge.kernels.keys import realm_of
from flowgauge.kernels.state import (
    ACTIVE,
    BUCKETS,
    CLOSE_WAIT,
    CLOSED,
    CLOSED_FIN,
    END_FIN,
    END_IDLE,
    END_LATE,
    END_LIMIT,
    END_RST,
    IN_CLOSING,
    LATE,
    NEVER,
    NO_STACK_YET,
    PROGRESSED,
    SEEN_UP,
    SYN_PATIENCE,
    TICK_SHIFT,
)

U = np.uint64
FORGOTTEN = np.int64(2**62)  # `used` of a key that is not in the table


@helper
def find(index, keys, hash32, a_hi, a_lo, b_hi, b_lo, ports, realm):
    """The key with these endpoints, -1 without one."""
    mask = U(len(index) - 1)
    at = U(hash32) & mask
    while True:
        found = index[at]
        if found == U(0):
            return np.int64(-1)
        if found >> U(32) == U(hash32):
            number = np.int64(found & U(0xFFFFFFFF)) - np.int64(1)
            k = keys[number]
            same = k.a_lo == a_lo and k.b_lo == b_lo and k.ports == ports and k.a_hi == a_hi and k.b_hi == b_hi
            if same and k.realm == realm:
                return number
        at = (at + U(1)) & mask


@helper
def index_insert(index, hash32, number):
    """Put a key into the index; the index has room."""
    mask = U(len(index) - 1)
    at = U(hash32) & mask
    while index[at] != U(0):
        at = (at + U(1)) & mask
    index[at] = U(hash32) << U(32) | U(number + 1)


@helper
def index_remove(index, hash32, number):
    """Take a key out of the index; what probed past it moves up."""
    mask = U(len(index) - 1)
    hole = U(hash32) & mask
    while np.int64(index[hole] & U(0xFFFFFFFF)) != number + 1:
        hole = (hole + U(1)) & mask
    at = hole
    while True:
        at = (at + U(1)) & mask
        found = index[at]
        if found == U(0):
            break
        home = (found >> U(32)) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            index[hole] = found
            hole = at
    index[hole] = U(0)


@helper
def last_time(k):
    """Latest time of a flow."""
    if not k.marks & SEEN_UP:
        return k.last[1]
    if not k.marks & (SEEN_UP << np.uint32(1)):
        return k.last[0]
    return max(k.last[0], k.last[1])


@helper
def idle_timeout(k, c):
    """Idle timeout of a key by its protocol, NEVER is off."""
    protocol = (k.ports >> U(8)) & U(0xFF)
    if protocol == U(TCP):
        return c.idle[0]
    if protocol == U(UDP):
        return c.idle[1]
    if protocol == U(ICMP) or protocol == U(ICMPV6):
        return c.idle[2]
    return c.idle[3]


@helper
def is_gone(k, c, clock):
    """Whether nothing is left of a flow, swept or not."""
    idle = idle_timeout(k, c)
    return idle != NEVER and clock - last_time(k) > np.int64(2) * idle


@helper
def wheel_add(s, c, keys, buckets, number):
    """Hang a key into the bucket of the time at which it may be gone."""
    k = keys[number]
    idle = idle_timeout(k, c)
    k.bucket = -1
    if idle == NEVER:
        return
    now = s.tick
    tick = (last_time(k) + np.int64(2) * idle) >> TICK_SHIFT
    bucket = min(max(tick, now), now + np.int64(BUCKETS - 1)) % np.int64(BUCKETS)
    head = buckets[bucket]
    k.bucket, k.later, k.sooner = bucket, head, -1
    if head >= 0:
        keys[head].sooner = number
    buckets[bucket] = number


@helper
def wheel_remove(keys, buckets, number):
    """Take a key out of its bucket, if it hangs in one."""
    k = keys[number]
    if k.bucket < 0:
        return
    if k.sooner >= 0:
        keys[k.sooner].later = k.later
    else:
        buckets[k.bucket] = k.later
    if k.later >= 0:
        keys[k.later].sooner = k.sooner
    k.bucket = -1


@helper
def new_key(s, keys, free_keys, index, q):
    """A fresh key for the packet, in table and index; the table has room."""
    if s.free_keys > 0:
        s.free_keys -= 1
        number = np.int64(free_keys[s.free_keys])
    else:
        number = s.fresh_key
        s.fresh_key += 1
    k = keys[number]
    if q.swapped:
        k.a_hi, k.a_lo, k.b_hi, k.b_lo = q.dst_hi, q.dst_lo, q.src_hi, q.src_lo
    else:
        k.a_hi, k.a_lo, k.b_hi, k.b_lo = q.src_hi, q.src_lo, q.dst_hi, q.dst_lo
    k.ports, k.hash, k.realm = q.key_word, q.key_hash, realm_of(q)
    k.slot = -1
    k.bucket = -1
    k.marks = (k.marks & IN_CLOSING) | ACTIVE
    index_insert(index, q.key_hash, number)
    s.keys += 1
    return number


@helper
def drop_key(t, number):
    """Forget a key that has no record."""
    s = t.state[0]
    k = t.keys[number]
    wheel_remove(t.keys, t.buckets, number)
    index_remove(t.index, k.hash, number)
    k.marks &= IN_CLOSING
    k.used = FORGOTTEN
    t.free_keys[s.free_keys] = number
    s.free_keys += 1
    s.keys -= 1


@helper
def new_slot(s, free_slots):
    """A free record slot; the table has room."""
    if s.free_slots > 0:
        s.free_slots -= 1
        return np.int64(free_slots[s.free_slots])
    s.fresh_slot += 1
    return s.fresh_slot - 1


@helper
def own_reason(k, other):
    """Why the record of a key ends: its close where it was closed, else `other`."""
    if k.marks & LATE:
        return END_LATE
    if k.marks & CLOSED:
        return END_FIN if k.marks & CLOSED_FIN else END_RST
    return other


@helper
def end_record(s, k, flows, ended, reason, leave):
    """End the record of a key, if it has one: it leaves at boundary `leave`."""
    if k.slot < 0:
        return
    f = flows[k.slot]
    f.end_reason = own_reason(k, reason)
    f.leave = leave
    ended[s.ended] = k.slot
    s.ended += 1
    k.slot = -1


@helper
def _sweep_bucket(t, bucket, clock, epoch):
    """Drop what is gone of a bucket and hang the rest into its place of today."""
    number = np.int64(t.buckets[bucket])
    t.buckets[bucket] = -1
    while number >= 0:
        later = np.int64(t.keys[number].later)
        t.keys[number].bucket = -1
        if is_gone(t.keys[number], t.config[0], clock):
            end_record(t.state[0], t.keys[number], t.flows, t.ended, END_IDLE, epoch)
            drop_key(t, number)
        else:
            wheel_add(t.state[0], t.config[0], t.keys, t.buckets, number)
        number = later


@helper
def _sweep_closing(t, clock, epoch):
    """End the records that were closed long enough ago."""
    s = t.state[0]
    kept = np.int64(0)
    for j in range(s.closing):
        number = np.int64(t.closing[j])
        k = t.keys[number]
        waiting = k.marks & CLOSED and not k.marks & LATE and k.slot >= 0
        if waiting and clock - k.close_clock <= CLOSE_WAIT:
            t.closing[kept] = number
            kept += 1
            continue
        if waiting:
            end_record(s, k, t.flows, t.ended, END_FIN, epoch)
        k.marks &= ~IN_CLOSING
    s.closing = kept


@helper
def boundary(t, clock):
    """Cross into the next boundary interval: end what is gone or was closed long enough ago."""
    s = t.state[0]
    s.epoch += 1
    _sweep_closing(t, clock, s.epoch)
    tick = clock >> TICK_SHIFT
    first = min(max(s.tick, tick - np.int64(BUCKETS - 1)), tick)
    s.tick = tick
    for step in range(first, tick + 1):
        _sweep_bucket(t, step % np.int64(BUCKETS), clock, s.epoch)


@helper
def _is_unanswered(k):
    return k.slot >= 0 and (k.ports >> U(8)) & U(0xFF) == U(TCP) and not k.marks & (PROGRESSED | CLOSED)


@helper
def make_room(t, clock):
    """Evict the least recently used key; False when its queues must be rebuilt first."""
    s = t.state[0]
    if clock - s.snapshot_clock > SYN_PATIENCE:
        return False
    victim = np.int64(-1)
    while s.unanswered < s.unanswered_stop:
        number = np.int64(t.unanswered[s.unanswered])
        if t.keys[number].used <= s.snapshot and _is_unanswered(t.keys[number]):
            if clock - t.keys[number].used_clock > SYN_PATIENCE:
                victim = number
            break
        s.unanswered += 1
    while victim < 0 and s.oldest < s.oldest_stop:
        number = np.int64(t.oldest[s.oldest])
        if t.keys[number].used <= s.snapshot:
            victim = number
        s.oldest += 1
    if victim < 0:
        return False
    reason = END_IDLE if is_gone(t.keys[victim], t.config[0], clock) else END_LIMIT
    end_record(s, t.keys[victim], t.flows, t.ended, reason, s.epoch + 1)
    drop_key(t, victim)
    s.limited += 1
    return True


@kernel
def end_all(t, reason):
    """End every record and forget every key; all leave at the next boundary."""
    s = t.state[0]
    few = s.keys * 8 < len(t.index)
    for number in range(s.fresh_key):
        k = t.keys[number]
        if k.marks & ACTIVE:
            why = END_IDLE if is_gone(k, t.config[0], s.clock) else reason
            end_record(s, k, t.flows, t.ended, why, s.epoch + 1)
            if few:
                index_remove(t.index, k.hash, number)
        k.marks = np.uint32(0)
    if not few:
        t.index[:] = U(0)
    t.buckets[:] = -1
    s.keys = s.fresh_key = s.free_keys = s.closing = 0
    s.oldest = s.oldest_stop = s.unanswered = s.unanswered_stop = 0
    s.epoch += 1


@kernel
def rebuild_index(t):
    """Put every active key into an empty index."""
    for number in range(t.state[0].fresh_key):
        if t.keys[number].marks & ACTIVE:
            index_insert(t.index, t.keys[number].hash, number)


@kernel
def keep_stacks(p, rows, t):
    """Keep the encapsulations of packets that opened records; `stacks` has room.

    A pass of its own, for batches with such packets: in `assign` it would cost every packet's time.
    """
    s = t.state[0]
    for i in range(rows):
        q = p.packets[i]
        if q.slot < 0 or q.tunnel_depth == 0 or t.flows[q.slot].tunnel != NO_STACK_YET:
            continue
        if s.free_stacks > 0:
            s.free_stacks -= 1
            row = np.int64(t.free_stacks[s.free_stacks])
        else:
            row = s.fresh_stack
            s.fresh_stack += 1
        stack = t.stacks[row]
        stack.depth = q.tunnel_depth
        for place in range(q.tunnel_depth):
            stack.id[place], stack.kind[place] = q.tunnel_id[place], q.tunnel_kind[place]
        t.flows[q.slot].tunnel = row + 1
    s.without_stack = 0
