"""The batch: one record per captured packet, filled stage by stage.

Sources fill the frame fields, the decoder the header fields, the meter the flow fields. A batch is
allocated once and reused; the header fields of a packet whose ``reason`` is not :data:`METERED` are
undefined. A packet is a record and not a row of separate arrays: it is written and read field by
field by every stage, each stage works on it through one pointer, and what feature groups count lies
on one line of the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

BATCH_ROWS = 8192
CACHE_LINE = 64  # bytes
MAX_TUNNELS = 8  # encapsulations of a packet that are walked

# Link-layer address of a packet that has none (raw IP, loopback).
NO_MAC = np.uint64(1 << 48)
# tcp_wscale of a packet without the option.
NO_WSCALE = np.uint8(255)
# ip_header of a packet whose headers are longer, or whose bytes are not there any more.
NO_IP_HEADER = np.uint8(255)
# gap and gap_direction of a packet that has no predecessor.
NO_GAP = np.int64(-1)

# Numbers of labels from here on are those of rules, which win over what packets say.
FIRST_RULE = np.uint32(1 << 30)

# Values of the field `fragment`.
NOT_FRAGMENT, FIRST_FRAGMENT, TAIL_FRAGMENT = np.uint8(0), np.uint8(1), np.uint8(2)


def in_lines(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same record in whole lines of the cache, so that what is near in it is never on one line more."""
    return in_units(dtype, CACHE_LINE)


def in_units(dtype: np.dtype[Any], unit: int) -> np.dtype[Any]:
    """The same record with a size that is a multiple of `unit` bytes."""
    size = -(-dtype.itemsize // unit) * unit
    return _record({name: dtype.fields[name][:2] for name in dtype.names}, size)  # type: ignore[union-attr,index,misc]


def sharing(dtype: np.dtype[Any], **shared: str) -> np.dtype[Any]:
    """The same record with more fields, each of which is another name for the place of one that is written later."""
    fields = {name: dtype.fields[name][:2] for name in dtype.names}  # type: ignore[union-attr,index]
    return _record(fields | {name: fields[place] for name, place in shared.items()}, dtype.itemsize)  # type: ignore[misc]


def _record(fields: dict[str, tuple[np.dtype[Any], int]], size: int) -> np.dtype[Any]:
    """The record of these fields, each a type and an offset."""
    layout: Any = {
        "names": list(fields),
        "formats": [kind for kind, _ in fields.values()],
        "offsets": [offset for _, offset in fields.values()],
        "itemsize": size,
        "aligned": True,
    }
    return np.dtype(layout)


# Values of the field `connection`: the segment is followed, and may end the connection or open another.
FOLLOWED, ENDS = np.uint8(1), np.uint8(2)
# Bits of the field `begins`, 0 where the packet opens no record: a new flow; a flow in its next part, maybe with the
# roles of its ends swapped; a flow that was closed and has left.
OPENS, CONTINUES, SWAPPED_ROLES = np.uint8(1), np.uint8(2), np.uint8(4)
LATE_BY_FIN, LATE_BY_RST, LATE_BY_SERVER_RST = np.uint8(8), np.uint8(16), np.uint8(32)

# Times are ns since the epoch, lengths bytes, addresses and ports host integers.
_PACKET = in_lines(
    np.dtype(
        [
            # what feature groups count: one line of the cache
            ("time", np.int64),  # as recorded (the clock's, where the record has none or it is not genuine)
            ("gap", np.int64),  # ns since the latest time so far in the flow, never below 0
            ("gap_direction", np.int64),  # the same in flow and direction
            ("clock", np.int64),  # the running clock of the trace
            ("frame_len", np.uint32),  # bytes on the wire
            ("ip_len", np.uint32),
            ("payload_len", np.uint32),
            ("slot", np.int32),  # of the flow record, -1 where the packet is not metered
            ("epoch", np.int32),  # number of the boundary interval that the record lies in
            ("direction", np.uint8),  # 0 client to server, 1 server to client
            ("tcp_flags", np.uint8),
            ("fragment", np.uint8),
            ("protocol", np.uint8),
            ("reason", np.uint8),
            ("swapped", np.uint8),  # 1 where the source is the key's second endpoint
            ("connection", np.uint8),  # FOLLOWED or ENDS for a segment of a TCP connection
            ("ip_version", np.uint8),
            ("tunnel_depth", np.uint8),  # encapsulations around the IP packet that is metered
            ("begins", np.uint8),  # what record it opens
            ("tcp_sack", np.uint8),  # of a SYN: 1 where SACK is permitted
            # what a packet's flow is found by, and followed by
            ("src_hi", np.uint64),  # IPv4: 0
            ("src_lo", np.uint64),
            ("dst_hi", np.uint64),
            ("dst_lo", np.uint64),
            ("key_word", np.uint64),  # ports, VLAN, protocol and version of the flow key
            ("key_hash", np.uint32),
            ("tcp_seq", np.uint32),
            ("tcp_ack", np.uint32),
            ("tcp_window", np.uint16),
            ("src_port", np.uint16),  # ICMP: the Community ID pseudo-ports
            ("dst_port", np.uint16),
            ("tcp_wscale", np.uint8),
            ("icmp_type", np.uint8),
            ("icmp_code", np.uint8),
            ("length_lies", np.uint8),  # 1 where the IP length is more than the wire held
            ("vlan", np.uint16),  # innermost tag's VID, 0 is none
            # where it was captured, and the rest of its headers
            ("record_offset", np.int64),  # of the record, in the uncompressed input
            ("number", np.int64),  # frame number in its file, from 1
            ("src_mac", np.uint64),
            ("dst_mac", np.uint64),
            ("offset", np.uint32),  # of the first captured byte, in the source's buffer
            ("caplen", np.uint32),  # bytes captured
            ("label", np.uint32),  # number of what the capture, or a rule, says of its process; 0 is nothing
            ("payload_offset", np.uint32),  # in the source's buffer
            ("payload_caplen", np.uint32),  # bytes of the payload that were captured
            ("ip_id", np.uint32),  # identification; IPv6: of a fragment, else 0
            ("link", np.uint16),  # LINKTYPE_ value
            ("vlan_outer", np.uint16),  # first tag's VID
            ("ttl", np.uint8),  # or hop limit
            ("tos", np.uint8),  # or traffic class: DSCP << 2 | ECN
            ("header_len", np.uint8),  # bytes of the transport header; 0 but for TCP, UDP and SCTP
            ("ip_header", np.uint8),  # IP header and extension headers in 32-bit words, or NO_IP_HEADER
            # what few packets have: neither set nor read for the others
            ("tunnel_id", np.uint32, (MAX_TUNNELS,)),  # outermost first, of the first tunnel_depth
            ("tunnel_kind", np.uint8, (MAX_TUNNELS,)),
            ("outer_datagram", np.uint64),  # name of the datagram around it, where outer_fragment is 1
            ("outer_src_port", np.uint16),
            ("outer_dst_port", np.uint16),
            ("outer_protocol", np.uint8),
            ("outer_fragment", np.uint8),  # 1 where the packet around it was the first fragment of one
            ("tcp_mss", np.uint16),  # of a SYN, 0 without the option
            ("realm", np.uint32),  # tunnel ids that belong to the flow key, where tunnel_depth is not 0
            ("previous", np.int32),  # slot of the record that goes on, where it CONTINUES
        ],
        align=True,
    )
)
# Where the outermost IP packet begins in the captured bytes; gone when keys are made.
EARLY_FIELDS = {"ip_begin": "key_hash"}
PACKET = sharing(_PACKET, **EARLY_FIELDS)


class PacketBatch(NamedTuple):
    """A batch, as kernels take it: a tuple of record arrays is recognised in half the time of a bare one."""

    packets: Any  # record array of PACKET


def zeroed_records(rows: int, dtype: np.dtype[Any]) -> Any:
    """A zeroed record array that begins on a line of the cache."""
    memory = np.zeros(rows * dtype.itemsize + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    return memory[begin : begin + rows * dtype.itemsize].view(dtype).view(np.recarray)


def make_batch(rows: int = BATCH_ROWS) -> PacketBatch:
    """A batch of `rows` zeroed packets."""
    return PacketBatch(zeroed_records(rows, PACKET))


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
    DUPLICATE,
    FILTERED,
) = (np.uint8(value) for value in range(13))
# Not a reason: the row is metered later, when its first fragment has come.
WAITS = np.uint8(255)
# Not a reason either: the row is metered elsewhere, and is here for what it tells of hosts and of the clock.
OVERHEARD = np.uint8(254)

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
    "duplicate": "a copy of a packet seen within the time that dedup gives",
    "filtered": "not selected by the filter",
}
"""Name and meaning of every reason, at the index of its value."""
