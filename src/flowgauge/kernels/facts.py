"""What dissectors find in the first bytes of a flow: numbers, and texts written one behind another.

A dissector is given a FACT and `out`, an array of bytes; texts that are hashed later (JA3, JA4, HASSH) are written as
what is hashed. Where a text has no room left it is cut off, and `cut` says so.
"""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import helper
from flowgauge.kernels.bytes import copy_run

U32, U64 = np.uint32, np.uint64

# In this order in a FACT. What comes from the client is named first, by the field's own names.
TEXTS = (
    "server_name",  # TLS or QUIC SNI, HTTP host, or a name that the protocol itself gives
    "tls_alpn",  # first protocol that the client offers
    "ja3",  # the string that is hashed
    "ja3s",
    "ja4",  # a_b_c as in JA4_r: lists sorted and not hashed
    "certificate",  # DER of the server's first one
    "http_method",
    "http_path",
    "http_user_agent",
    "http_content_type",
    "dns_query",
    "dns_answers",  # addresses and names, separated by commas
    "ssh_client",  # identification strings, RFC 4253 §4.2
    "ssh_server",
    "hassh",
    "hassh_server",
    "device_name",  # what a host calls itself: DHCP, NetBIOS, mDNS
)
(
    SERVER_NAME,
    TLS_ALPN,
    JA3,
    JA3S,
    JA4,
    CERTIFICATE,
    HTTP_METHOD,
    HTTP_PATH,
    HTTP_USER_AGENT,
    HTTP_CONTENT_TYPE,
    DNS_QUERY,
    DNS_ANSWERS,
    SSH_CLIENT,
    SSH_SERVER,
    HASSH,
    HASSH_SERVER,
    DEVICE_NAME,
) = range(len(TEXTS))

FACT = np.dtype(
    [
        ("service", np.uint8),  # index of SERVICES, 0 where none is known
        ("confidence", np.uint8),  # percent
        ("tls_ech", np.uint8),  # 1 where the client's hello has the extension
        ("cut", np.uint8),  # 1 where a text had no room
        ("tls_version", np.uint16),  # that was negotiated, else the highest that was offered
        ("tls_cipher", np.uint16),  # that the server chose, 0 where none was seen
        ("http_status", np.uint16),
        ("dns_type", np.uint16),
        ("dns_rcode", np.int16),  # -1 without an answer
        ("stop", np.uint32),  # where the next text begins in `out`
        ("begin", np.uint32, (len(TEXTS),)),
        ("length", np.uint32, (len(TEXTS),)),  # 0: there is none
    ],
    align=True,
)


@helper
def clear_fact(fact):
    """Nothing is found yet."""
    fact.service = fact.confidence = fact.tls_ech = fact.cut = 0
    fact.tls_version = fact.tls_cipher = fact.http_status = fact.dns_type = 0
    fact.dns_rcode = -1
    fact.stop = U32(0)
    for which in range(len(TEXTS)):
        fact.length[which] = U32(0)


@helper
def begin_text(fact, which):
    """The bytes that are put from here on are this text."""
    fact.begin[which], fact.length[which] = fact.stop, U32(0)


@helper
def put_byte(fact, which, out, byte):
    """One more byte of the text that was begun last."""
    if fact.stop >= len(out):
        fact.cut = 1
        return
    out[fact.stop] = byte
    fact.stop += U32(1)
    fact.length[which] += U32(1)


@helper
def put_bytes(fact, which, data, begin, end, out):
    """Bytes begin..end, unsigned, of `data`, which holds them."""
    if begin >= end:
        return
    stop = U64(fact.stop)
    count = min(end - begin, U64(len(out)) - min(stop, U64(len(out))))
    if count < end - begin:
        fact.cut = 1
    copy_run(out, stop, data, begin, count)
    fact.stop += U32(count)
    fact.length[which] += U32(count)


@helper
def put_number(fact, which, out, value):
    """An unsigned number in decimal digits."""
    divisor = U64(1)
    while value // divisor >= U64(10):
        divisor *= U64(10)
    while divisor > U64(0):
        put_byte(fact, which, out, np.uint8(48) + np.uint8(value // divisor % U64(10)))
        divisor //= U64(10)


@helper
def put_hex(fact, which, out, value, digits):
    """The lowest `digits` hexadecimal digits of an unsigned number, in small letters."""
    for place in range(digits):
        nibble = np.uint8(value >> U64(4 * (digits - 1 - place)) & U64(15))
        put_byte(fact, which, out, nibble + (np.uint8(48) if nibble < 10 else np.uint8(87)))
