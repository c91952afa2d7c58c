"""Community ID version 1: "1:" and the base64 of a SHA-1 of the flow's endpoints.

https://github.com/corelight/community-id-spec; SHA-1 is RFC 3174. The message is at most 40 bytes,
so one block always holds it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, kernel
from flowgauge.kernels.header import ICMP, ICMP_COUNTERPART, ICMPV6, NO_COUNTERPART, SCTP, TCP, UDP
from flowgauge.kernels.packet import U8, U16, U64

U = np.uint64
W = np.uint32
ID_BYTES = 30  # "1:" and 28 characters
WORDS = 80  # of the SHA-1 message schedule

_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8).copy()
_ONE, _COLON, _PAD = (np.uint8(ord(character)) for character in "1:=")


@helper
def _rotate(word, left):
    return W((word << left) | (word >> W(W(32) - left)))


@helper
def _put_bytes(words, at, value, size):
    """Append the last `size` bytes of a uint64 to the big-endian words of the message."""
    for place in range(size):
        byte = W((value >> (size - U(1) - U(place)) * U(8)) & U(0xFF))
        words[at >> U(2)] |= W(byte << W(U(24) - (at & U(3)) * U(8)))
        at += U(1)
    return at


@helper
def _put_address(words, at, version, hi, lo):
    if version == np.uint8(4):
        return _put_bytes(words, at, lo, U(4))
    return _put_bytes(words, _put_bytes(words, at, hi, U(8)), lo, U(8))


@helper
def _choose(b, c, d):
    return W((b & c) | (~b & d))


@helper
def _parity(b, c, d):
    return W(b ^ c ^ d)


@helper
def _majority(b, c, d):
    return W((b & c) | (b & d) | (c & d))


@helper
def _next(state, mixed, word):
    """The state after one step, whose function and constant are summed in `mixed`."""
    a, b, c, d, e = state
    return W(W(_rotate(a, W(5)) + mixed) + W(e + word)), a, _rotate(b, W(30)), c, d


@helper
def _sha1(words):
    """Digest of the one block in words[:16]; the rest of `words` is scratch."""
    for step in range(16, 80):
        t = U(step)
        words[t] = _rotate(W(words[t - U(3)] ^ words[t - U(8)] ^ words[t - U(14)] ^ words[t - U(16)]), W(1))
    start = W(0x67452301), W(0xEFCDAB89), W(0x98BADCFE), W(0x10325476), W(0xC3D2E1F0)
    state = start
    for t in range(U(0), U(20)):
        state = _next(state, W(_choose(state[1], state[2], state[3]) + W(0x5A827999)), words[t])
    for t in range(U(20), U(40)):
        state = _next(state, W(_parity(state[1], state[2], state[3]) + W(0x6ED9EBA1)), words[t])
    for t in range(U(40), U(60)):
        state = _next(state, W(_majority(state[1], state[2], state[3]) + W(0x8F1BBCDC)), words[t])
    for t in range(U(60), U(80)):
        state = _next(state, W(_parity(state[1], state[2], state[3]) + W(0xCA62C1D6)), words[t])
    a, b, c, d, e = state
    return W(a + start[0]), W(b + start[1]), W(c + start[2]), W(d + start[3]), W(e + start[4])


@helper
def _put_base64(out, at, bits, characters):
    """The top 6 × `characters` bits of a uint64."""
    for place in range(characters):
        out[at + U(place)] = _BASE64[(bits >> (U(58) - U(6) * U(place))) & U(63)]
    return at + characters


@helper
def _put_id(out, at, digest):
    """1: and the base64 of five 32-bit words: 48 + 48 + 48 + 16 bits."""
    a, b, c, d, e = U(digest[0]), U(digest[1]), U(digest[2]), U(digest[3]), U(digest[4])
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


@helper
def _message(ends, i, words):
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
        words[t] = W(0)
    at = _put_address(words, U(2), version, hi, lo)
    at = _put_address(words, at, version, other_hi, other_lo)
    at = _put_bytes(words, at, U(protocol) << U(8), U(2))
    if _has_ports(protocol):
        at = _put_bytes(words, at, (port << U(16)) | other_port, U(4))
    _put_bytes(words, at, U(0x80), U(1))
    words[15] = W(at * U(8))


@kernel
def put_ids(ends, words, offsets, data):
    """Community ID of each flow; `words` is scratch of WORDS, `data` has ID_BYTES a row."""
    at = U(0)
    for i in range(len(ends.version)):
        _message(ends, i, words)
        at = _put_id(data, at, _sha1(words))
        offsets[i + 1] = at
    return at
