"""Move records out of their table, whatever their layout (tables are seen as 64-bit words), and apart into columns."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import kernel, prefetch
from flowgauge.kernels.header import ICMP, ICMPV6
from flowgauge.kernels.packet import CACHE_LINE

AHEAD = 8  # rows: memory is slower than copying
_WORDS_OF_LINE = CACHE_LINE // 8


@kernel
def take_rows(table, width, slots, out):
    """Copy the records `slots` of `table`, `width` words each, to `out`, and zero them behind."""
    for i in range(len(slots)):
        if i + AHEAD < len(slots):
            for word in range(0, width, _WORDS_OF_LINE):
                prefetch(table, slots[i + AHEAD] * width + word)
        begin = np.int64(slots[i]) * width
        for word in range(width):
            out[i * width + word] = table[begin + word]
            table[begin + word] = np.uint64(0)


WORDS = (
    "client_hi",
    "client_lo",
    "server_hi",
    "server_lo",
    "src_hi",  # sender and receiver of the record's first packet
    "src_lo",
    "dst_hi",
    "dst_lo",
    "client_mac",
    "server_mac",
)
CODES = ("capture", "client_by", "end_reason")


@kernel
def split_ends(flows, words, ports, codes, octets):
    """What texts are made of: `words` is (WORDS, row), `codes` (CODES, row); `ports` holds those of sender and
    receiver, for ICMP its type and code; `octets` IP version, protocol, and whether there is no such header."""
    for row in range(len(flows)):
        f = flows[row]
        words[0, row], words[1, row], words[2, row], words[3, row] = f.client_hi, f.client_lo, f.server_hi, f.server_lo
        source, destination = (0, 2) if f.opener == 0 else (2, 0)
        words[4, row], words[5, row] = words[source, row], words[source + 1, row]
        words[6, row], words[7, row] = words[destination, row], words[destination + 1, row]
        words[8, row], words[9, row] = f.client_mac, f.server_mac
        codes[0, row], codes[1, row], codes[2, row] = f.capture, f.client_by, f.end_reason
        octets[0, row], octets[1, row], octets[2, row] = f.ip_version, f.protocol, 0
        if f.protocol == ICMP or f.protocol == ICMPV6:
            ports[0, row], ports[1, row], octets[2, row] = f.icmp_type, f.icmp_code, f.has_icmp == 0
        elif f.opener == 0:
            ports[0, row], ports[1, row] = f.client_port, f.server_port
        else:
            ports[0, row], ports[1, row] = f.server_port, f.client_port
