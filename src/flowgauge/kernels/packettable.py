"""Packets apart into the columns of the packet table (flowgauge.packettable.columns says what these are)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels._jit import helper, inline_helper, kernel
from flowgauge.kernels.codes import code_of, small_code_of
from flowgauge.kernels.header import ICMP, ICMPV6, SCTP, SYN, TCP, UDP
from flowgauge.kernels.packet import (
    DUPLICATE,
    MAX_TUNNELS,
    METERED,
    NO_IP_HEADER,
    NO_MAC,
    NO_WSCALE,
    NOT_FRAGMENT,
    TAIL_FRAGMENT,
)
from flowgauge.kernels.transport import TCP_HEADER

U = np.uint64

# Columns by the type of their values, and the place of each among them. Where a packet has no value it is 0.
TIMES = ("time", "number", "record_offset")
TIME, NUMBER, RECORD_OFFSET = range(len(TIMES))
LONGS = (*("frame_len", "captured_len", "ip_len", "ip_id", "tcp_seq", "tcp_ack", "payload_offset", "payload_len"),)
FRAME_LEN, CAPTURED_LEN, IP_LEN, IP_ID, TCP_SEQ, TCP_ACK, PAYLOAD_OFFSET, PAYLOAD_LEN = range(len(LONGS))
SHORTS = ("link", "vlan", "vlan_outer", "ip_header_len", "src_port", "dst_port", "tcp_window", "tcp_mss")
LINK, VLAN, VLAN_OUTER, IP_HEADER_LEN, SRC_PORT, DST_PORT, TCP_WINDOW, TCP_MSS = range(len(SHORTS))
OCTETS = (
    *("ip_version", "protocol", "ttl", "tos", "header_len", "icmp_type", "icmp_code"),
    *("tcp_flags", "tcp_window_scale", "tcp_sack_permitted"),
)
IP_VERSION, PROTOCOL, TTL, TOS, HEADER_LEN, ICMP_TYPE, ICMP_CODE, TCP_FLAGS, TCP_SCALE, TCP_SACK = range(len(OCTETS))
CODES = ("src_mac", "dst_mac", "src_ip", "dst_ip", "tunnel", "reason", "fragment")
SRC_MAC, DST_MAC, SRC_IP, DST_IP, TUNNEL, REASON, FRAGMENT = range(len(CODES))
SMALL = CODES[REASON:]
"""Those whose values are bytes."""

# What a packet has or has not, and with it columns.
PARTS = (
    *("src_mac", "dst_mac", "vlan", "vlan_outer", "ip", "ip_id", "ip_header", "fragment", "tunnel", "ports", "icmp"),
    *("tcp", "syn", "mss", "scale"),
)
HAS_SRC_MAC, HAS_DST_MAC, HAS_VLAN, HAS_VLAN_OUTER = range(4)
HAS_IP, HAS_ID, HAS_HEADER, HAS_FRAGMENT, HAS_TUNNEL = range(4, 9)
HAS_PORTS, HAS_ICMP, HAS_TCP, HAS_SYN, HAS_MSS, HAS_SCALE = range(9, len(PARTS))

STACK = np.dtype(
    [("id", np.uint32, (MAX_TUNNELS,)), ("kind", np.uint8, (MAX_TUNNELS,)), ("depth", np.int64)], align=True
)
"""Encapsulations around a packet."""


class Columns(NamedTuple):
    """What rows are written to, each (column, row); `has` is 1 where a packet has a part."""

    times: NDArray[np.int64]
    longs: NDArray[np.uint32]
    shorts: NDArray[np.uint16]
    octets: NDArray[np.uint8]
    codes: NDArray[np.int32]
    has: NDArray[np.uint8]


class Values(NamedTuple):
    """The values of columns of CODES, by their numbers; `stacks` are those of tunnels."""

    src_macs: Any  # Codes
    dst_macs: Any
    src_ips: Any
    dst_ips: Any
    tunnels: Any
    stacks: Any  # record array of STACK
    small: Any  # SmallCodes


@inline_helper
def _put_record(q, c, values, row):
    c.times[TIME, row], c.times[NUMBER, row], c.times[RECORD_OFFSET, row] = q.time, q.number, q.record_offset
    c.longs[FRAME_LEN, row], c.longs[CAPTURED_LEN, row] = q.frame_len, q.caplen
    c.shorts[LINK, row] = q.link
    c.codes[REASON, row] = small_code_of(values.small, 0, q.reason)


@inline_helper
def _put_mac(codes, mac, c, column, part, row):
    if mac == NO_MAC:
        c.codes[column, row], c.has[part, row] = 0, 0
    else:
        c.codes[column, row], c.has[part, row] = code_of(codes, U(0), mac, np.uint8(0)), 1


@inline_helper
def _put_link(q, c, values, row):
    _put_mac(values.src_macs, q.src_mac, c, SRC_MAC, HAS_SRC_MAC, row)
    _put_mac(values.dst_macs, q.dst_mac, c, DST_MAC, HAS_DST_MAC, row)
    c.shorts[VLAN, row], c.has[HAS_VLAN, row] = q.vlan, q.vlan != 0
    c.shorts[VLAN_OUTER, row], c.has[HAS_VLAN_OUTER, row] = q.vlan_outer, q.vlan_outer != 0


@helper
def _tunnel_code(q, values):
    """The number of the encapsulations around a packet; where there are several, their hash tells them."""
    depth = min(np.int64(q.tunnel_depth), MAX_TUNNELS)
    outer, inner = U(q.tunnel_kind[0]) << U(32) | U(q.tunnel_id[0]), U(0)
    for level in range(1, depth):
        word = U(q.tunnel_kind[level]) << U(32) | U(q.tunnel_id[level])
        inner = (inner ^ word) * U(0x9E3779B97F4A7C15)
        inner ^= inner >> U(29)
    code = code_of(values.tunnels, inner, outer, np.uint8(depth))
    stack = values.stacks[code]
    stack.depth = depth
    for level in range(depth):
        stack.id[level], stack.kind[level] = q.tunnel_id[level], q.tunnel_kind[level]
    return code


@inline_helper
def _put_ip(q, c, values, row):
    c.octets[IP_VERSION, row], c.octets[PROTOCOL, row] = q.ip_version, q.protocol
    c.octets[TTL, row], c.octets[TOS, row] = q.ttl, q.tos
    c.longs[IP_LEN, row], c.longs[IP_ID, row] = q.ip_len, q.ip_id
    c.codes[SRC_IP, row] = code_of(values.src_ips, q.src_hi, q.src_lo, q.ip_version)
    c.codes[DST_IP, row] = code_of(values.dst_ips, q.dst_hi, q.dst_lo, q.ip_version)
    known = q.ip_header != NO_IP_HEADER
    c.shorts[IP_HEADER_LEN, row] = np.uint16(q.ip_header) * np.uint16(4) if known else np.uint16(0)
    tunnelled, fragment = q.tunnel_depth != 0, q.fragment != NOT_FRAGMENT
    c.codes[TUNNEL, row] = _tunnel_code(q, values) if tunnelled else np.int32(0)
    c.codes[FRAGMENT, row] = small_code_of(values.small, 1, q.fragment) if fragment else np.int32(0)
    c.has[HAS_IP, row], c.has[HAS_HEADER, row], c.has[HAS_TUNNEL, row] = 1, known, tunnelled
    c.has[HAS_FRAGMENT, row], c.has[HAS_ID, row] = fragment, q.ip_version == 4 or fragment


@inline_helper
def _clear_ip(c, row):
    c.octets[IP_VERSION, row] = c.octets[PROTOCOL, row] = c.octets[TTL, row] = c.octets[TOS, row] = 0
    c.longs[IP_LEN, row] = c.longs[IP_ID, row] = 0
    c.codes[SRC_IP, row] = c.codes[DST_IP, row] = c.codes[TUNNEL, row] = c.codes[FRAGMENT, row] = 0
    c.shorts[IP_HEADER_LEN, row] = 0
    for part in range(HAS_IP, HAS_PORTS):
        c.has[part, row] = 0


@inline_helper
def _has_tcp(q):
    """Whether the header without its options was captured and lies within the IP packet."""
    if q.protocol != TCP or q.fragment == TAIL_FRAGMENT:
        return False
    begin = U(q.payload_offset) - U(q.header_len)
    captured = begin + TCP_HEADER <= U(q.offset) + U(q.caplen)
    return captured and (q.ip_header == NO_IP_HEADER or U(q.ip_header) * U(4) + TCP_HEADER <= U(q.ip_len))


@inline_helper
def _put_tcp(q, c, row):
    syn, scaled = q.tcp_flags & SYN != 0, q.tcp_wscale != NO_WSCALE
    c.longs[TCP_SEQ, row], c.longs[TCP_ACK, row], c.shorts[TCP_WINDOW, row] = q.tcp_seq, q.tcp_ack, q.tcp_window
    c.octets[TCP_FLAGS, row] = q.tcp_flags
    c.shorts[TCP_MSS, row] = q.tcp_mss if syn else np.uint16(0)
    c.octets[TCP_SACK, row] = q.tcp_sack if syn else np.uint8(0)
    c.octets[TCP_SCALE, row] = q.tcp_wscale if scaled else np.uint8(0)
    c.has[HAS_TCP, row], c.has[HAS_SYN, row], c.has[HAS_SCALE, row] = 1, syn, scaled
    c.has[HAS_MSS, row] = syn and q.tcp_mss != 0


@inline_helper
def _clear_tcp(c, row):
    c.longs[TCP_SEQ, row] = c.longs[TCP_ACK, row] = 0
    c.shorts[TCP_WINDOW, row] = c.shorts[TCP_MSS, row] = 0
    c.octets[TCP_FLAGS, row] = c.octets[TCP_SCALE, row] = c.octets[TCP_SACK, row] = 0
    c.has[HAS_TCP, row] = c.has[HAS_SYN, row] = c.has[HAS_MSS, row] = c.has[HAS_SCALE, row] = 0


@inline_helper
def _put_transport(q, c, row):
    whole = q.fragment != TAIL_FRAGMENT
    ports = whole and (q.protocol == TCP or q.protocol == UDP or q.protocol == SCTP)
    icmp = whole and (q.protocol == ICMP or q.protocol == ICMPV6)
    c.shorts[SRC_PORT, row] = q.src_port if ports else np.uint16(0)
    c.shorts[DST_PORT, row] = q.dst_port if ports else np.uint16(0)
    c.octets[ICMP_TYPE, row] = q.icmp_type if icmp else np.uint8(0)
    c.octets[ICMP_CODE, row] = q.icmp_code if icmp else np.uint8(0)
    c.has[HAS_PORTS, row], c.has[HAS_ICMP, row] = ports, icmp
    c.octets[HEADER_LEN, row] = q.header_len
    c.longs[PAYLOAD_OFFSET, row], c.longs[PAYLOAD_LEN, row] = q.payload_offset - q.offset, q.payload_len
    if _has_tcp(q):
        _put_tcp(q, c, row)
    else:
        _clear_tcp(c, row)


@inline_helper
def _clear_transport(c, row):
    c.shorts[SRC_PORT, row] = c.shorts[DST_PORT, row] = 0
    c.octets[ICMP_TYPE, row] = c.octets[ICMP_CODE, row] = c.octets[HEADER_LEN, row] = 0
    c.longs[PAYLOAD_OFFSET, row] = c.longs[PAYLOAD_LEN, row] = 0
    c.has[HAS_PORTS, row] = c.has[HAS_ICMP, row] = 0
    _clear_tcp(c, row)


@kernel
def split_packets(p, begin, stop, columns, row, values):
    """Write packets begin..stop of `p` to `columns`, from `row` on; the tables of `values` have room for them.

    What is from the IP header on is there of packets that were metered, and of copies of these.
    """
    at = U(row)
    for i in range(begin, stop):
        q = p.packets[i]
        _put_record(q, columns, values, at)
        _put_link(q, columns, values, at)
        if q.reason == METERED or q.reason == DUPLICATE:
            _put_ip(q, columns, values, at)
            _put_transport(q, columns, at)
        else:
            _clear_ip(columns, at)
            _clear_transport(columns, at)
        at += U(1)
