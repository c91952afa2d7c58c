"""The flow key of a packet: order its endpoints and hash them."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.header import ICMP, ICMPV6
from flowgauge.kernels.packet import METERED

U = np.uint64
LOW = U(0xFFFFFFFF)


@helper
def _swapped(src_hi, src_lo, src_port, dst_hi, dst_lo, dst_port):
    """Whether the source is the second endpoint of the ordered pair."""
    if src_hi != dst_hi:
        return src_hi > dst_hi
    if src_lo != dst_lo:
        return src_lo > dst_lo
    return src_port > dst_port


@helper
def pack_ports(a_port, b_port, vlan, protocol, version):
    """Everything of a key but the addresses, in one word."""
    return U(a_port) << U(48) | U(b_port) << U(32) | U(vlan) << U(16) | U(protocol) << U(8) | U(version)


@helper
def _hash(seed, a_hi, a_lo, b_hi, b_lo, ports, realm):
    """Multilinear hash of five words and a half (Lemire and Kaser 2014): universal for a secret seed."""
    total = (seed[0] + (a_hi >> U(32))) * (seed[1] + (a_hi & LOW))
    total += (seed[2] + (a_lo >> U(32))) * (seed[3] + (a_lo & LOW))
    total += (seed[4] + (b_hi >> U(32))) * (seed[5] + (b_hi & LOW))
    total += (seed[6] + (b_lo >> U(32))) * (seed[7] + (b_lo & LOW))
    total += (seed[8] + (ports >> U(32))) * (seed[9] + (ports & LOW))
    total += seed[10] * realm
    return np.uint32(total >> U(32))


@helper
def realm_of(q):
    """The tunnel ids that belong to the key, 0 without any."""
    return U(q.realm) if q.tunnel_depth != 0 else U(0)


@kernel
def clear_icmp_ports(p, rows):
    """Give all ICMP between two hosts one key. By now fragments have found each other by the pseudo-ports."""
    for i in range(rows):
        q = p.packets[i]
        if q.protocol == ICMP or q.protocol == ICMPV6:
            q.src_port = q.dst_port = np.uint16(0)


@kernel
def make_keys(p, rows, config):
    """Fill `swapped`, `key_word` and `key_hash` of the metered packets."""
    c = config[0]
    for i in range(rows):
        q = p.packets[i]
        if q.reason != METERED:
            continue
        src_port, dst_port = q.src_port, q.dst_port
        if c.hosts:
            src_port = dst_port = np.uint16(0)
        vlan = q.vlan if c.vlan_in_key else np.uint16(0)
        realm = realm_of(q)
        if _swapped(q.src_hi, q.src_lo, src_port, q.dst_hi, q.dst_lo, dst_port):
            q.swapped = 1
            q.key_word = pack_ports(dst_port, src_port, vlan, q.protocol, q.ip_version)
            q.key_hash = _hash(c.seed, q.dst_hi, q.dst_lo, q.src_hi, q.src_lo, q.key_word, realm)
        else:
            q.swapped = 0
            q.key_word = pack_ports(src_port, dst_port, vlan, q.protocol, q.ip_version)
            q.key_hash = _hash(c.seed, q.src_hi, q.src_lo, q.dst_hi, q.dst_lo, q.key_word, realm)
