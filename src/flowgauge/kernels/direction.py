"""Who is the client: the rules of docs/flow-semantics.md, "Direction", on the packet that opens a flow."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import kernel
from flowgauge.kernels.header import ACK, ICMP, ICMP_COUNTERPART, ICMP_IS_REQUEST, ICMPV6, NO_COUNTERPART, SCTP, SYN, TCP, UDP
from flowgauge.kernels.packet import NO_MAC, TAIL_FRAGMENT
from flowgauge.kernels.state import BY_FIRST, BY_ICMP, BY_PORT, BY_PREVIOUS, BY_SYN, BY_SYNACK

U = np.uint64
GROUP_BIT = U(1 << 40)  # of a MAC address: lowest bit of its first octet
WELL_KNOWN, EPHEMERAL = 1024, 32768

# Answers of a rule: the source is the client, it is the server, or the rule does not decide.
CLIENT, SERVER, UNDECIDED = 0, 1, 2


@kernel
def _is_group(ip_version, hi, lo):
    """IP multicast or limited broadcast (RFC 1112, RFC 919, RFC 4291 §2.7)."""
    if ip_version == 4:
        return lo >> U(28) == U(14) or lo == U(0xFFFFFFFF)
    return hi >> U(56) == U(0xFF)


@kernel
def _to_group(p, i):
    if _is_group(p.ip_version[i], p.dst_hi[i], p.dst_lo[i]):
        return True
    return p.dst_mac[i] != NO_MAC and p.dst_mac[i] & GROUP_BIT != U(0)


@kernel
def _one_of(source, destination):
    """The end for which alone something holds is the server."""
    if source == destination:
        return UNDECIDED
    return SERVER if source else CLIENT


@kernel
def _by_ports(protocol, src_port, dst_port, services):
    if protocol == TCP:
        bit = 1
    elif protocol == UDP:
        bit = 2
    elif protocol == SCTP:
        bit = 4
    else:
        return UNDECIDED
    if src_port == 0 and dst_port == 0:
        return UNDECIDED
    answer = _one_of(services[src_port] & bit != 0, services[dst_port] & bit != 0)
    if answer == UNDECIDED:
        answer = _one_of(src_port < WELL_KNOWN, dst_port < WELL_KNOWN)
    if answer == UNDECIDED:
        answer = _one_of(src_port < EPHEMERAL, dst_port < EPHEMERAL)
    return answer


@kernel
def _by_handshake(p, i):
    """A SYN's sender is the client, a SYN+ACK's receiver; likewise for ICMP requests and answers."""
    protocol = p.protocol[i]
    if protocol == TCP and p.tcp_flags[i] & SYN:
        return (SERVER, BY_SYNACK) if p.tcp_flags[i] & ACK else (CLIENT, BY_SYN)
    if (protocol == ICMP or protocol == ICMPV6) and p.fragment[i] != TAIL_FRAGMENT:
        row = 0 if protocol == ICMP else 1
        kind = p.icmp_type[i]
        if ICMP_IS_REQUEST[row, kind]:
            return CLIENT, BY_ICMP
        if ICMP_COUNTERPART[row, kind] != NO_COUNTERPART and not _to_group(p, i):
            return SERVER, BY_ICMP
    return UNDECIDED, BY_FIRST


@kernel
def source_is_client(p, i, services, previous):
    """(whether the source is the client, the rule that says so).

    `previous` is the answer of the predecessor on the same key, UNDECIDED without one.
    """
    answer, by = _by_handshake(p, i)
    if answer == UNDECIDED and previous != UNDECIDED:
        answer, by = previous, BY_PREVIOUS
    if answer == UNDECIDED:
        answer, by = CLIENT, BY_PORT
        if not _to_group(p, i):
            answer = _by_ports(p.protocol[i], p.src_port[i], p.dst_port[i], services)
    if answer == UNDECIDED:
        answer, by = CLIENT, BY_FIRST
    return answer == CLIENT, by
