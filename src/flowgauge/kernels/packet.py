"""PacketBatch: one row per captured packet, one array per field.

Sources fill the frame columns, the decoder the header columns, the meter the flow columns. The
arrays are allocated once and reused for every batch. A row whose ``reason`` is not
:data:`METERED` has undefined header columns.

Kernels read ``p.column[i]`` and never pass the whole batch to a helper: copying the references of
all its arrays costs more than decoding the packet.
"""

from __future__ import annotations

from typing import NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

BATCH_ROWS = 8192

# Link-layer address of a packet that has none (raw IP, loopback).
NO_MAC = np.uint64(1 << 48)
# tcp_wscale of a packet without the option.
NO_WSCALE = np.uint8(255)
# gap and gap_direction of a packet that has no predecessor.
NO_GAP = np.int64(-1)

# Values of the column `fragment`.
NOT_FRAGMENT, FIRST_FRAGMENT, TAIL_FRAGMENT = np.uint8(0), np.uint8(1), np.uint8(2)


class PacketBatch(NamedTuple):
    """Columns of a batch. Times are ns since the epoch, lengths bytes, addresses host integers."""

    # frame: filled by the source
    offset: U64  # of the first captured byte, in the source's buffer
    caplen: U32  # bytes captured
    frame_len: U32  # bytes on the wire
    time: I64  # as recorded (the clock's, where the record has none or it is not genuine)
    clock: I64  # the running clock of the trace
    epoch: I64  # number of the boundary interval that the record lies in
    record_offset: I64  # of the record, in the uncompressed input
    number: I64  # frame number in its file, from 1
    link: U16  # LINKTYPE_ value
    # header: filled by the decoder
    reason: U8
    ip_version: U8
    protocol: U8
    src_hi: U64  # IPv4: 0
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    src_port: U16  # ICMP: the Community ID pseudo-ports
    dst_port: U16
    src_mac: U64
    dst_mac: U64
    vlan: U16  # innermost tag's VID, 0 is none
    vlan_outer: U16  # first tag's VID
    ip_len: U32
    payload_len: U32
    payload_offset: U64  # in the source's buffer
    payload_caplen: U32  # payload bytes captured
    tcp_flags: U8
    tcp_seq: U32
    tcp_ack: U32
    tcp_window: U16
    tcp_wscale: U8
    icmp_type: U8
    icmp_code: U8
    fragment: U8
    fragment_id: U32
    # flow: filled by the meter
    hash: U32  # of the flow key
    swapped: U8  # 1 where the source is the key's second endpoint
    slot: I32  # of the flow record, -1 where the packet is not metered
    direction: U8  # 0 client to server, 1 server to client
    gap: I64  # ns since the latest time before in the flow, never below 0
    gap_direction: I64  # the same in flow and direction


def make_batch(rows: int = BATCH_ROWS) -> PacketBatch:
    """A batch of `rows` zeroed rows."""
    hints = get_type_hints(PacketBatch)
    dtypes = (np.dtype(hint.__args__[1].__args__[0]) for hint in hints.values())
    return PacketBatch(*(np.zeros(rows, dtype) for dtype in dtypes))


# Why a packet was metered or not: each packet ends in exactly one.
(
    METERED,
    NOT_IP,
    UNKNOWN_LINK,
    TRUNCATED_LINK,
    TRUNCATED_IP,
    BAD_IP_VERSION,
    BAD_IHL,
    BAD_IP_LENGTH,
    TRUNCATED_EXTENSION,
    TRUNCATED_TRANSPORT,
    DECODER_FAULT,
) = (np.uint8(value) for value in range(11))
# Not a reason: the row is metered later, when its first fragment has come.
WAITS = np.uint8(255)

REASONS: dict[str, str] = {
    "metered": "counted in a flow",
    "not_ip": "neither IPv4 nor IPv6 (ARP, LLDP, …)",
    "unknown_link": "link type that is not decoded",
    "truncated_link": "captured bytes end inside the link-layer header",
    "truncated_ip": "captured bytes end inside the IP header",
    "bad_ip_version": "IP version other than the one announced",
    "bad_ihl": "IPv4 header length below 20 bytes",
    "bad_ip_length": "IPv4 total length shorter than its own header",
    "truncated_extension": "captured bytes end inside an IPv6 extension header",
    "truncated_transport": "fewer than the bytes that ports or ICMP type need",
    "decoder_fault": "the decoder stopped at a bounds check; please report the packet",
}
"""Name and meaning of every reason, at the index of its value."""
