"""QUIC as its unprotected bytes show it: long headers (RFC 8999 §5.1) of a known version, and gQUIC's."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import be32

U = np.uint64

QUIC_V1, QUIC_V2, QUIC_V2_DRAFT = U(0x00000001), U(0x6B3343CF), U(0x709A50C4)  # RFC 9000, RFC 9369
_MAX_CONNECTION_ID = U(20)
_GQUIC_VERSION, _GQUIC_ID, _LONG, _FIXED = 0x01, 0x08, 0x80, 0x40  # bits of the first byte


@byte_helper
def is_digit(byte):
    return 0x30 <= byte <= 0x39


@byte_helper
def is_gquic_version(data, at):
    """Whether the four bytes here are a version of gQUIC: Q or T and three digits."""
    letter = data[at]
    return (
        (letter == 0x51 or letter == 0x54)
        and is_digit(data[at + U(1)])
        and is_digit(data[at + U(2)])
        and is_digit(data[at + U(3)])
    )


@byte_helper
def is_quic_version(data, at):
    """Whether the four bytes here are a version of QUIC that is in use: of the IETF, its drafts, mvfst, Google."""
    version = be32(data, at)
    family = version >> U(8)
    return (
        version == QUIC_V1
        or version == QUIC_V2
        or version == QUIC_V2_DRAFT
        or (family == U(0xFF0000) and version & U(0xFF) >= U(11) and version & U(0xFF) <= U(34))
        or family == U(0xFACEB0)  # mvfst
        or version & U(0x0F0F0F0F) == U(0x0A0A0A0A)  # reserved, RFC 9000 §15
        or is_gquic_version(data, at)
    )


@byte_helper
def _has_sane_ids(data, begin, end):
    """Two connection ids, each behind its length, and something behind them."""
    at = begin + U(5)
    for _ in range(2):
        if at >= end or U(data[at]) > _MAX_CONNECTION_ID:
            return False
        at += U(1) + U(data[at])
    return at < end


@byte_helper
def _is_public_header(data, begin, end):
    """gQUIC up to Q043: flags, connection id of eight bytes, version."""
    flags = data[begin]
    return (
        flags & _GQUIC_VERSION != 0
        and flags & _GQUIC_ID != 0
        and flags & _LONG == 0
        and end >= begin + U(14)
        and data[begin + U(9)] == 0x51
        and is_gquic_version(data, begin + U(9))
    )


@byte_helper
def _is_q046(data, begin, end):
    """Q046: a long header whose connection ids have their lengths in one byte."""
    return (
        end >= begin + U(14)
        and is_gquic_version(data, begin + U(1))
        and data[begin + U(2)] == 0x30
        and data[begin + U(3)] == 0x34
        and (data[begin + U(5)] == 0x50 or data[begin + U(5)] == 0x05)
    )


@byte_helper
def looks_like_quic(data, begin, end):
    """Whether a datagram begins with a QUIC packet that says its version."""
    if end < begin + U(9):
        return False
    first = data[begin]
    if first & _LONG == 0:
        return _is_public_header(data, begin, end)
    if be32(data, begin + U(1)) == U(0):  # version negotiation, RFC 8999 §6
        return _has_sane_ids(data, begin, end) and (end - begin) >= U(11)
    if first & _FIXED == 0:
        return False
    if is_quic_version(data, begin + U(1)):
        return _has_sane_ids(data, begin, end) or _is_q046(data, begin, end)
    return False
