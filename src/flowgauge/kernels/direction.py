"""Who is the client: the rules of docs/flow-semantics.md, "Direction", on the packet that opens a flow."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper
from flowgauge.kernels.header import (
    ACK,
    ICMP,
    ICMP_COUNTERPART,
    ICMP_IS_REQUEST,
    ICMPV6,
    NO_COUNTERPART,
    SCTP,
    SYN,
    TCP,
    UDP,
)
from flowgauge.kernels.packet import NO_MAC, TAIL_FRAGMENT
from flowgauge.kernels.state import BY_FIRST, BY_ICMP, BY_PORT, BY_PREVIOUS, BY_SYN, BY_SYNACK

U = np.uint64
GROUP_BIT = U(1 << 40)  # of a MAC address: lowest bit of its first octet
WELL_KNOWN, EPHEMERAL = 1024, 32768

# Answers of a rule: the source is the client, it is the server, or the rule does not decide.
CLIENT, SERVER, UNDECIDED = np.int64(0), np.int64(1), np.int64(2)


@helper
def _is_group(ip_version, hi, lo):
    """IP multicast or limited broadcast (RFC 1112, RFC 919, RFC 4291 §2.7)."""
    if ip_version == 4:
        return lo >> U(28) == U(14) or lo == U(0xFFFFFFFF)
    return hi >> U(56) == U(0xFF)


@helper
def _to_group(q):
    if _is_group(q.ip_version, q.dst_hi, q.dst_lo):
        return True
    return q.dst_mac != NO_MAC and q.dst_mac & GROUP_BIT != U(0)


@helper
def _one_of(source, destination):
    """The end for which alone something holds is the server."""
    if source == destination:
        return UNDECIDED
    return SERVER if source else CLIENT


@helper
def _by_ports(protocol, src_port, dst_port, services, services_only):
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
    if answer == UNDECIDED and not services_only:
        answer = _one_of(src_port < WELL_KNOWN, dst_port < WELL_KNOWN)
    if answer == UNDECIDED and not services_only:
        answer = _one_of(src_port < EPHEMERAL, dst_port < EPHEMERAL)
    return answer


@helper
def _by_handshake(q):
    """A SYN's sender is the client, a SYN+ACK's receiver; likewise for ICMP requests and answers."""
    if q.protocol == TCP and q.tcp_flags & SYN:
        return (SERVER, BY_SYNACK) if q.tcp_flags & ACK else (CLIENT, BY_SYN)
    if (q.protocol == ICMP or q.protocol == ICMPV6) and q.fragment != TAIL_FRAGMENT:
        row = 0 if q.protocol == ICMP else 1
        if ICMP_IS_REQUEST[row, q.icmp_type]:
            return CLIENT, BY_ICMP
        if ICMP_COUNTERPART[row, q.icmp_type] != NO_COUNTERPART and not _to_group(q):
            return SERVER, BY_ICMP
    return UNDECIDED, BY_FIRST


@helper
def source_is_client(q, services, services_only, previous):
    """(whether the source is the client, the rule that says so).

    `previous` is the answer of the predecessor on the same key, UNDECIDED without one.
    """
    answer, by = _by_handshake(q)
    if answer == UNDECIDED and previous != UNDECIDED:
        answer, by = previous, BY_PREVIOUS
    if answer == UNDECIDED:
        answer, by = CLIENT, BY_PORT
        if not _to_group(q):
            answer = _by_ports(q.protocol, q.src_port, q.dst_port, services, services_only)
    if answer == UNDECIDED:
        answer, by = CLIENT, BY_FIRST
    return answer == CLIENT, by
