"""Share packets out to shards, each of which meters the flows between some pairs of hosts (docs/design.md).

A shard gets the packets whose innermost addresses are its own, so both directions of a flow and all fragments of a
datagram; and it is told of what concerns all: the first record of each boundary interval, at which records leave
everywhere, and what names hosts.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.dns import is_dns
from flowgauge.kernels.packet import METERED, OVERHEARD

U = np.uint64
_SHIFT = U(32)
_PRIMES = (U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F))
NOBODY = np.int32(-1)

# Of a trace so far: the boundary interval of the last record, -1 before the first.
TRACE = np.dtype([("epoch", np.int64)])


@helper
def _mixed(value):
    value = (value ^ (value >> _SHIFT)) * _PRIMES[0]
    value = (value ^ (value >> _SHIFT)) * _PRIMES[1]
    return value ^ (value >> _SHIFT)


@helper
def pair_hash(q):
    """Of the unordered pair of innermost addresses: the same on every machine, so its seed is no secret."""
    source, destination = _mixed(_mixed(q.src_hi) + q.src_lo), _mixed(_mixed(q.dst_hi) + q.dst_lo)
    return _mixed(source + destination)


@kernel
def choose_shards(p, rows, shards, names, trace, owner, told):
    """Fill `owner` with the shard of each row, NOBODY where it is not metered, and `told` with 1 where all shards are
    told of it; with `names` also what may name hosts. Returns how many boundaries there are."""
    t, boundaries = trace[0], 0
    for i in range(rows):
        q = p.packets[i]
        owner[i], told[i] = NOBODY, 0
        if q.epoch != t.epoch:
            t.epoch = q.epoch
            boundaries += 1
            told[i] = 1
        if q.reason != METERED:
            continue
        owner[i] = np.int32(pair_hash(q) % U(shards))
        if names and q.payload_caplen != 0 and is_dns(q):
            told[i] = 1
    return boundaries


@kernel
def take_shard(p, rows, owner, told, shard, out):
    """Copy the rows of a shard, and those that it is told of, to `out`; how many these are."""
    count = 0
    for i in range(rows):
        own = owner[i] == shard
        if own or told[i] != 0:
            out.packets[count] = p.packets[i]
            if not own and out.packets[count].reason == METERED:
                out.packets[count].reason = OVERHEARD
            count += 1
    return count
