"""Layout of the flow table: what is known of a key, of a flow record, and of the table itself.

A *key* (:data:`KEY`) lives as long as something is remembered of its endpoints; a *record*
(:data:`FLOW`, and one row of every feature group's state) is what will be one row of output. A
closed flow whose record has left is a key without a record. Fresh rows are zero in every field.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels.packet import I32, MAX_TUNNELS, U8, U64, in_lines

SECOND = np.int64(1_000_000_000)
CLOSE_WAIT = np.int64(5) * SECOND  # a closed record leaves after this
SYN_PATIENCE = np.int64(30) * SECOND  # unanswered SYNs older than this give way first
NEVER = np.int64(-1)  # a timeout that is off

# Timing wheel: a key hangs in the bucket of the time at which it may be gone. A bucket is 2^34 ns
# (17 s) wide; what lies beyond the last bucket is looked at again when that comes.
TICK_SHIFT = np.int64(34)
BUCKETS = 256

KEY = in_lines(
    np.dtype(
        [
            # what a packet is compared with
            ("a_hi", np.uint64),
            ("a_lo", np.uint64),
            ("b_hi", np.uint64),
            ("b_lo", np.uint64),
            ("ports", np.uint64),  # ports, VLAN, protocol and version packed into one word
            ("hash", np.uint32),
            ("slot", np.int32),  # of the open record, -1 without one
            ("bucket", np.int32),  # of the timing wheel, -1 in none
            ("later", np.int32),  # next key in the bucket
            ("realm", np.uint32),  # tunnel ids
            ("marks", np.uint32),
            # what every packet changes
            ("last", np.int64, (2,)),  # latest time per direction
            ("used", np.int64),  # ordinal of the latest packet
            ("used_clock", np.int64),
            ("part_start", np.int64),
            ("next", np.uint32, (2,)),  # TCP, per direction: highest number sent, plus one
            ("acked", np.uint32, (2,)),  # highest acknowledgement sent
            ("window", np.uint32, (2,)),  # latest window sent, shifted
            # the rest
            ("isn", np.uint32, (2,)),  # initial sequence number
            ("first", np.uint32, (2,)),  # of the first segment seen
            ("flow_id", np.int64),
            ("first_packet", np.int64),
            ("close_clock", np.int64),
            ("part", np.int32),
            ("sooner", np.int32),  # the key before in the bucket, -1 at the head
            ("wscale", np.uint8, (2,)),
            ("client_by", np.uint8),
            ("counted", np.uint32),  # packets of the record, where only its first ones count
            ("part_window", np.int64),  # number of the window that the record lies in, where there are windows
        ],
        align=True,
    )
)
"""Laid out so that most packets touch no more than its first two lines of the cache."""

FLOW = in_lines(
    np.dtype(
        [
            # what every packet changes
            ("packets", np.uint64, (2,)),
            ("frame_bytes", np.uint64, (2,)),
            ("ip_bytes", np.uint64, (2,)),
            ("payload_bytes", np.uint64, (2,)),
            ("start", np.int64),
            ("end", np.int64),
            ("fragments", np.uint32),
            ("clock_back", np.uint32),
            # the rest
            ("client_hi", np.uint64),
            ("client_lo", np.uint64),
            ("server_hi", np.uint64),
            ("server_lo", np.uint64),
            ("flow_id", np.int64),
            ("first_packet", np.int64),
            ("leave", np.int64),  # boundary interval at whose start the record leaves
            ("client_mac", np.uint64),
            ("server_mac", np.uint64),
            ("part", np.int32),
            ("capture", np.int32),
            ("tunnel", np.int32),  # row of the stacks, plus one; 0 without a tunnel, or NO_STACK_YET
            ("client_port", np.uint16),
            ("server_port", np.uint16),
            ("vlan", np.uint16),
            ("vlan_outer", np.uint16),
            ("protocol", np.uint8),
            ("ip_version", np.uint8),
            ("client_by", np.uint8),
            ("end_reason", np.uint8),
            ("icmp_type", np.uint8),
            ("icmp_code", np.uint8),
            ("opener", np.uint8),  # direction of the record's first packet
            ("has_icmp", np.uint8),  # that packet has an ICMP header
            ("rest_packets", np.uint32),  # packets behind those that count
        ],
        align=True,
    )
)

STACK = np.dtype([("id", np.uint32, (MAX_TUNNELS,)), ("kind", np.uint8, (MAX_TUNNELS,)), ("depth", np.uint32)])
"""Encapsulations of a record's first packet, outermost first. Most records have none: a table of their own."""
NO_STACK_YET = np.int32(-1)

# Bits of KEY.marks. Those named _UP have a twin for the other direction, one bit higher.
ACTIVE = np.uint32(1 << 0)  # the key is in the table
IN_CLOSING = np.uint32(1 << 1)  # the key is in the list of closed flows; survives the key
CLIENT_IS_B = np.uint32(1 << 2)
PROGRESSED = np.uint32(1 << 3)  # anything but SYNs without ACK was seen
LATE = np.uint32(1 << 4)
CLOSED_FIN = np.uint32(1 << 5)
CLOSED_RST = np.uint32(1 << 6)
RST_BY_SERVER = np.uint32(1 << 7)
RST_SIDE_ALIVE = np.uint32(1 << 8)  # its sender went on without RST
SEEN_UP = np.uint32(1 << 10)
FIN_UP = np.uint32(1 << 12)
ISN_UP = np.uint32(1 << 14)
SEQ_UP = np.uint32(1 << 16)
ACK_UP = np.uint32(1 << 18)
SYN_UP = np.uint32(1 << 20)
PAIRED_UP = SEEN_UP | FIN_UP | ISN_UP | SEQ_UP | ACK_UP | SYN_UP
CLOSED = CLOSED_FIN | CLOSED_RST

CLIENT_BY = ("first", "port", "previous", "icmp", "synack", "syn")
BY_FIRST, BY_PORT, BY_PREVIOUS, BY_ICMP, BY_SYNACK, BY_SYN = (np.uint8(code) for code in range(6))

END_REASONS = ("eof", "stop", "limit", "active", "idle", "reuse", "fin", "rst", "late", "window")
(
    END_EOF,
    END_STOP,
    END_LIMIT,
    END_ACTIVE,
    END_IDLE,
    END_REUSE,
    END_FIN,
    END_RST,
    END_LATE,
    END_WINDOW,
) = (np.uint8(code) for code in range(10))

# Why `assign` stopped before the end of the batch.
DONE, FULL, REBUILD = np.int64(0), np.int64(1), np.int64(2)

STATE = np.dtype(
    [
        ("status", np.int64),
        ("keys", np.int64),  # active keys
        ("fresh_key", np.int64),  # keys from here on were never used
        ("fresh_slot", np.int64),
        ("free_keys", np.int64),  # length of the free list
        ("free_slots", np.int64),
        ("fresh_stack", np.int64),
        ("free_stacks", np.int64),
        ("without_stack", np.int64),  # records that were opened by a packet in a tunnel whose stack is not kept yet
        ("ended", np.int64),  # records that wait to leave
        ("closing", np.int64),
        ("epoch", np.int64),  # the boundary interval at work, counted by the table
        ("source_epoch", np.int64),  # the same as the source counts it
        ("clock", np.int64),
        ("tick", np.int64),  # of the timing wheel
        ("ordinal", np.int64),  # of the packet at work
        ("flow_base", np.int64),  # capture number << 40
        ("rst_ignored", np.int64),
        ("limited", np.int64),  # records that left by `limit`
        # queues of the least recently used keys, as of packet `snapshot`
        ("snapshot", np.int64),
        ("snapshot_clock", np.int64),
        ("oldest", np.int64),
        ("oldest_stop", np.int64),
        ("unanswered", np.int64),
        ("unanswered_stop", np.int64),
    ],
    align=True,
)

CONFIG = np.dtype(
    [
        ("seed", np.uint64, (11,)),
        ("idle", np.int64, (4,)),  # by TIMEOUT_CLASSES, NEVER is off
        ("active", np.int64),
        ("attempt", np.int64),
        ("max_keys", np.int64),
        ("first_packets", np.int64),  # of a record that count, NEVER is all
        ("first_time", np.int64),  # ns of a record that count, NEVER is all
        ("window", np.int64),  # ns of a window, NEVER is off
        ("hosts", np.uint8),
        ("vlan_in_key", np.uint8),
        ("tcp_end", np.uint8),
        ("forget", np.uint8),
        ("first_is_client", np.uint8),
        ("services_only", np.uint8),
        ("limits", np.uint8),  # whether only the first packets of a record count
    ],
    align=True,
)


class Table(NamedTuple):
    """The arrays of a flow table. `index` maps a hash to a key: hash << 32 | key + 1, 0 is empty."""

    state: np.recarray  # one STATE
    config: np.recarray  # one CONFIG
    index: U64
    keys: np.recarray
    flows: np.recarray
    stacks: np.recarray
    buckets: I32  # first key of each bucket, -1 without one
    free_keys: I32
    free_slots: I32
    free_stacks: I32
    closing: I32  # closed keys whose record has not left
    ended: I32  # slots of records that wait to leave
    oldest: I32
    unanswered: I32
    services: U8  # by port: bit 0 TCP, 1 UDP, 2 SCTP
