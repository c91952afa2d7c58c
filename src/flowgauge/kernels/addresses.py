"""Addresses as text, into the two buffers of an Arrow string array."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.digits import put_unsigned
from flowgauge.kernels.packet import NO_MAC

U = np.uint64
MAX_ADDRESS = 39  # bytes of eight groups of four; the mixed notation is shorter
MAC_BYTES = 17

_COLON = np.uint8(ord(":"))
_DOT = np.uint8(ord("."))
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8).copy()
_V4_MAPPED = U(0xFFFF)


@helper
def _group(hi, lo, index):
    """The 16-bit group `index` of an IPv6 address, 0 is the first."""
    half = hi if index < U(4) else lo
    return (half >> (U(3) - (index & U(3))) * U(16)) & U(0xFFFF)


@helper
def _longest_zeros(hi, lo):
    """First group and length of the longest run of two or more zero groups; length 0 for none."""
    start, length, run = 0, 1, 0
    for index in range(8):
        run = run + 1 if _group(hi, lo, U(index)) == U(0) else 0
        if run > length:
            start, length = index + 1 - run, run
    return start, length if length > 1 else 0


@helper
def put_v4(out, at, address):
    """Dotted; where it ends."""
    for shift in (24, 16, 8, 0):
        at = put_unsigned(out, at, (address >> U(shift)) & U(0xFF))
        if shift:
            out[at] = _DOT
            at += U(1)
    return at


@helper
def _put_hex(out, at, value, digits):
    """The last `digits` hexadecimal digits of a uint64."""
    for place in range(digits):
        out[at + U(place)] = _HEX[(value >> (digits - U(1) - U(place)) * U(4)) & U(15)]
    return at + digits


@helper
def _put_group(out, at, value):
    digits = U(1) + U(value > U(0xF)) + U(value > U(0xFF)) + U(value > U(0xFFF))
    return _put_hex(out, at, value, digits)


@helper
def put_v6(out, at, hi, lo):
    """RFC 5952 section 4, and the mixed notation of section 5 for IPv4-mapped addresses; where it ends."""
    mapped = hi == U(0) and lo >> U(32) == _V4_MAPPED
    start, length = _longest_zeros(hi, lo)
    index, groups = 0, 6 if mapped else 8
    while index < groups:
        if length and index == start:
            out[at], out[at + U(1)] = _COLON, _COLON
            at, index = at + U(2), index + length
            continue
        at = _put_group(out, at, _group(hi, lo, U(index)))
        index += 1
        if mapped or (index < groups and index != start):
            out[at] = _COLON
            at += U(1)
    return put_v4(out, at, lo & U(0xFFFFFFFF)) if mapped else at


@kernel
def put_addresses(version, hi, lo, offsets, data):
    """Text of each address; `offsets` has one entry more than there are rows, `data` MAX_ADDRESS bytes a row."""
    at = U(0)
    for i in range(len(version)):
        if version[i] == np.uint8(4):
            at = put_v4(data, at, lo[i])
        else:
            at = put_v6(data, at, hi[i], lo[i])
        offsets[i + 1] = at
    return at


@kernel
def put_macs(mac, offsets, data):
    """aa:bb:cc:dd:ee:ff of each address, nothing for NO_MAC; `data` has MAC_BYTES a row."""
    at = U(0)
    for i in range(len(mac)):
        if mac[i] != NO_MAC:
            for octet in range(6):
                at = _put_hex(data, at, mac[i] >> U(8 * (5 - octet)), U(2))
                if octet < 5:
                    data[at] = _COLON
                    at += U(1)
        offsets[i + 1] = at
    return at
