"""The constants of the protocols."""

from __future__ import annotations

import numpy as np

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = np.uint64(0x0800), np.uint64(0x86DD)
ETHERTYPE_NONE = np.uint64(0xFFFF)  # reserved by IANA: no network protocol

# What is carried under the EtherType of a frame of its own (RFC 1701, RFC 3518), and kinds of contents that have none.
ETHERTYPE_BRIDGED, ETHERTYPE_PPP = np.uint64(0x6558), np.uint64(0x880B)
NEXT_LLC, NEXT_NLPID, NEXT_IP = np.uint64(0x10000), np.uint64(0x10001), np.uint64(0x10002)
NEXT_WIRELESS, NEXT_WIRELESS_SWAPPED = np.uint64(0x10003), np.uint64(0x10004)

ICMP, TCP, UDP, ICMPV6, SCTP = np.uint8(1), np.uint8(6), np.uint8(17), np.uint8(58), np.uint8(132)

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (np.uint8(1 << bit) for bit in range(8))

# Pairs of (request, answer) types, as in the Community ID specification.
_ICMP_PAIRS = ((8, 0), (10, 9), (13, 14), (15, 16), (17, 18))
_ICMPV6_PAIRS = ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))

NO_COUNTERPART = np.uint16(256)


def _counterparts(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    table = np.full(256, NO_COUNTERPART, np.uint16)
    for request, answer in pairs:
        table[request], table[answer] = answer, request
    return table


def _requests(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[[request for request, _ in pairs]] = 1
    return table


# Row 0: ICMP, row 1: ICMPv6.
ICMP_COUNTERPART = np.stack([_counterparts(_ICMP_PAIRS), _counterparts(_ICMPV6_PAIRS)])
ICMP_IS_REQUEST = np.stack([_requests(_ICMP_PAIRS), _requests(_ICMPV6_PAIRS)])
