"""Community ID version 1: "1:" and the base64 of a SHA-1 of the flow's endpoints.

https://github.com/corelight/community-id-spec; SHA-1 is RFC 3174. The message is at most 40 bytes,
so one block always holds it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper, kernel
from flowgauge.kernels.header import ICMP, ICMP_COUNTERPART, ICMPV6, NO_COUNTERPART, SCTP, TCP, UDP
from flowgauge.kernels.packet import U8, U16, U64

U = np.uint64
W = np.uint32
ID_BYTES = 30  # "1:" and 28 characters
LANES = U(16)  # flows whose SHA-1 is computed side by side, in the lanes of vector registers
WORDS = 80 * int(LANES)  # of their message schedules
STATE_WORDS = 5 * int(LANES)

_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8).copy()
_START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
_CHOOSE, _PARITY, _MAJORITY = range(3)
_ONE, _COLON, _PAD = (np.uint8(ord(character)) for character in "1:=")


@helper
def _rotate(word, left):
    return W((word << left) | (word >> W(W(32) - left)))


@helper
def _put_halves(words, at, lane, value, halves):
    """Append the last 16-bit halves of a uint64 to the big-endian words of the lane's message, `at` in halves."""
    for place in range(halves):
        half = W((value >> (halves - U(1) - U(place)) * U(16)) & U(0xFFFF))
        words[(at >> U(1)) * LANES + lane] |= W(half << W(U(16) - (at & U(1)) * U(16)))
        at += U(1)
    return at


@inline_helper
def _put_address(words, at, lane, version, hi, lo):
    if version == np.uint8(4):
        return _put_halves(words, at, lane, lo, U(2))
    return _put_halves(words, _put_halves(words, at, lane, hi, U(4)), lane, lo, U(4))


@helper
def _mix(kind, b, c, d):
    """The function of a step: choose, parity or majority."""
    if kind == _CHOOSE:
        return W((b & c) | (~b & d))
    if kind == _PARITY:
        return W(b ^ c ^ d)
    return W((b & c) | (b & d) | (c & d))


@helper
def _schedule(words, lanes):
    """Words 16 to 79 of the message schedules."""
    for t in range(U(16), U(80)):
        for lane in range(lanes):
            at = t * LANES + lane
            word = W(words[at - U(3) * LANES] ^ words[at - U(8) * LANES])
            word = W(word ^ words[at - U(14) * LANES] ^ words[at - U(16) * LANES])
            words[at] = _rotate(word, W(1))


@helper
def _rounds(state, words, lanes, begin, kind, constant):
    """Twenty steps, from word `begin` on."""
    for t in range(begin, begin + U(20)):
        for lane in range(lanes):
            a, b, c = state[lane], state[LANES + lane], state[U(2) * LANES + lane]
            d, e = state[U(3) * LANES + lane], state[U(4) * LANES + lane]
            total = W(W(_rotate(a, W(5)) + _mix(kind, b, c, d)) + W(e + constant))
            state[lane] = W(total + words[t * LANES + lane])
            state[LANES + lane], state[U(2) * LANES + lane] = a, _rotate(b, W(30))
            state[U(3) * LANES + lane], state[U(4) * LANES + lane] = c, d


@helper
def _sha1(words, lanes, state):
    """Digests, in `state`, of the one block that each lane of `words` begins with."""
    _schedule(words, lanes)
    for number in range(U(0), U(5)):
        for lane in range(lanes):
            state[number * LANES + lane] = _START[number]
    _rounds(state, words, lanes, U(0), _CHOOSE, W(0x5A827999))
    _rounds(state, words, lanes, U(20), _PARITY, W(0x6ED9EBA1))
    _rounds(state, words, lanes, U(40), _MAJORITY, W(0x8F1BBCDC))
    _rounds(state, words, lanes, U(60), _PARITY, W(0xCA62C1D6))
    for number in range(U(0), U(5)):
        for lane in range(lanes):
            state[number * LANES + lane] = W(state[number * LANES + lane] + _START[number])


@helper
def _put_base64(out, at, bits, characters):
    """The top 6 × `characters` bits of a uint64."""
    for place in range(characters):
        out[at + U(place)] = _BASE64[(bits >> (U(58) - U(6) * U(place))) & U(63)]
    return at + characters


@inline_helper
def _put_id(out, at, digest, lane):
    """1: and the base64 of five 32-bit words: 48 + 48 + 48 + 16 bits."""
    a, b, c = U(digest[lane]), U(digest[LANES + lane]), U(digest[U(2) * LANES + lane])
    d, e = U(digest[U(3) * LANES + lane]), U(digest[U(4) * LANES + lane])
    out[at], out[at + U(1)] = _ONE, _COLON
    at = _put_base64(out, at + U(2), (a << U(32)) | b, U(8))
    at = _put_base64(out, at, (b << U(48)) | (c << U(16)), U(8))
    at = _put_base64(out, at, (d << U(32)) | e, U(8))
    at = _put_base64(out, at, e << U(48), U(3))
    out[at] = _PAD
    return at + U(1)


@helper
def _ports(protocol, source, destination):
    """(source, destination, keeps its order) of the message; for ICMP they come as type and code."""
    if protocol in (ICMP, ICMPV6):
        counterpart = ICMP_COUNTERPART[np.int64(protocol == ICMPV6), source & np.uint16(0xFF)]
        if counterpart != NO_COUNTERPART:
            return U(source), U(counterpart), False
    return U(source), U(destination), protocol in (ICMP, ICMPV6)


@helper
def _has_ports(protocol):
    return protocol in (TCP, UDP, SCTP, ICMP, ICMPV6)


class Endpoints(NamedTuple):
    """Sender and receiver of the first packet of each flow; the ports of ICMP are its type and code."""

    version: U8
    src_hi: U64  # IPv4: 0
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    protocol: U8
    src_port: U16
    dst_port: U16


@inline_helper
def _message(ends, i, words, lane):
    """The padded SHA-1 block of flow `i`: seed 0, addresses, protocol, a zero and, if any, ports."""
    version, protocol = ends.version[i], ends.protocol[i]
    hi, lo, port = ends.src_hi[i], ends.src_lo[i], U(0)
    other_hi, other_lo, other_port = ends.dst_hi[i], ends.dst_lo[i], U(0)
    keep = False
    if _has_ports(protocol):
        port, other_port, keep = _ports(protocol, ends.src_port[i], ends.dst_port[i])
    if not keep and (hi, lo, port) > (other_hi, other_lo, other_port):
        hi, lo, port, other_hi, other_lo, other_port = other_hi, other_lo, other_port, hi, lo, port
    for t in range(U(0), U(16)):
        words[t * LANES + lane] = W(0)
    at = _put_address(words, U(1), lane, version, hi, lo)
    at = _put_address(words, at, lane, version, other_hi, other_lo)
    at = _put_halves(words, at, lane, U(protocol) << U(8), U(1))
    if _has_ports(protocol):
        at = _put_halves(words, at, lane, (port << U(16)) | other_port, U(2))
    _put_halves(words, at, lane, U(0x8000), U(1))
    words[U(15) * LANES + lane] = W(at * U(16))


@kernel
def put_ids(ends, words, state, offsets, data):
    """Community ID of each flow; `words` (WORDS) and `state` (STATE_WORDS) are scratch, `data` has ID_BYTES a row."""
    at, rows = U(0), U(len(ends.version))
    for begin in range(U(0), rows, LANES):
        lanes = min(LANES, rows - begin)
        for lane in range(lanes):
            _message(ends, begin + lane, words, lane)
        _sha1(words, lanes, state)
        for lane in range(lanes):
            at = _put_id(data, at, state, lane)
            offsets[begin + lane + U(1)] = at
    return at
