"""Every column of the packet table: the single source for headers, types, the documentation and `columns --packets`.

Importing this module loads neither NumPy nor pyarrow; :func:`packet_schema` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowgauge.errors import ConfigError
from flowgauge.schema import Column, arrow_schema, label_columns

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Version of the column set; a changed definition raises it, with a line in the changelog."""

_IP = "null without IP"
_TCP = "null without a TCP header"
_ROWS = (
    # name, type, unit, role, definition, formula
    ("source", "category", "", "id", "file", "name of the input"),
    (
        "number",
        "int64",
        "",
        "id",
        "number of the frame",
        "from 1 in each file; a filter leaves gaps",
    ),
    ("record_offset", "int64", "bytes", "id", "place of the record", "in the uncompressed file"),
    (
        *("time", "timestamp", "UTC", "id", "time of the packet"),
        "as recorded; the running clock where the record has none, or one that steps by more than an hour and back",
    ),
    ("link", "uint16", "", "id", "link type", "LINKTYPE_ number of the frame's interface: 1 is Ethernet"),
    ("frame_len", "uint32", "bytes", "feature", "bytes of the frame on the wire", "as recorded"),
    ("captured_len", "uint32", "bytes", "feature", "bytes of the frame that were captured", "as recorded"),
    (
        *("reason", "category", "", "id", "what becomes of the packet in flow records"),
        "metered, duplicate (with dedup), or why it is in none: the reasons of the summary",
    ),
    ("src_mac", "category", "", "id", "source MAC address", "null where the link has none"),
    ("dst_mac", "category", "", "id", "destination MAC address", "null where the link has none"),
    ("vlan", "uint16", "", "id", "innermost VLAN id", "of the last VLAN tag; null without one, or 0"),
    ("vlan_outer", "uint16", "", "id", "outermost VLAN id", "of the first VLAN tag; null without one, or 0"),
    (
        *("tunnel", "category", "", "id", "encapsulations around the IP packet"),
        "names and ids, outermost first, 8 at most; null without any",
    ),
    ("ip_version", "uint8", "", "feature", "version of IP", f"4 or 6; {_IP}"),
    ("src_ip", "category", "", "id", "source address", f"dotted, or as RFC 5952 writes it; {_IP}"),
    ("dst_ip", "category", "", "id", "destination address", f"dotted, or as RFC 5952 writes it; {_IP}"),
    (
        *("protocol", "uint8", "", "feature", "IP protocol number (IANA)"),
        f"of the IPv4 header, of IPv6 the next header behind the extension headers; {_IP}",
    ),
    (
        *("ip_len", "uint32", "bytes", "feature", "bytes of the IP packet, header and data"),
        f"total length, of IPv6 40 + payload length, at most what the wire held; {_IP}",
    ),
    (
        *("ip_header_len", "uint16", "bytes", "feature", "bytes of the IP header"),
        "with options, of IPv6 with extension headers; null without IP, and above 1,016",
    ),
    ("ttl", "uint8", "", "feature", "time to live or hop limit", _IP),
    ("tos", "uint8", "", "feature", "type of service or traffic class", f"DSCP << 2 | ECN; {_IP}"),
    ("ip_id", "uint32", "", "feature", "identification", "of IPv4, and of fragments of IPv6; else null"),
    (
        *("fragment", "category", "", "feature", "which fragment of a datagram"),
        "first, or later: it has no transport header; null where it is none",
    ),
    ("src_port", "uint16", "", "id", "source port", "of TCP, UDP and SCTP; null for others and for later fragments"),
    ("dst_port", "uint16", "", "id", "destination port", "as src_port"),
    ("icmp_type", "uint8", "", "feature", "ICMP or ICMPv6 type", "null without that header"),
    ("icmp_code", "uint8", "", "feature", "ICMP or ICMPv6 code", "null without that header"),
    (
        *("tcp_flags", "uint8", "", "feature", "TCP flags as a number"),
        f"FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128; {_TCP}",
    ),
    ("tcp_seq", "uint32", "", "feature", "sequence number", f"as sent; {_TCP}"),
    ("tcp_ack", "uint32", "", "feature", "acknowledgement number", f"as sent, also without the flag ACK; {_TCP}"),
    ("tcp_window", "uint16", "", "feature", "window, unscaled", _TCP),
    ("tcp_mss", "uint16", "bytes", "feature", "maximum segment size", "option of a SYN; null without, or 0"),
    ("tcp_window_scale", "uint8", "", "feature", "shift of the window", "min(14, option of a SYN); null without"),
    (
        *("tcp_sack_permitted", "bool", "", "feature", "whether selective acknowledgements are permitted"),
        "whether a SYN has that option; null for other packets",
    ),
    (
        *("header_len", "uint8", "bytes", "feature", "bytes of the transport header"),
        f"TCP with options, UDP 8, SCTP 12, others and later fragments 0; {_IP}",
    ),
    (
        *("payload_offset", "uint32", "bytes", "id", "where the payload begins in the captured bytes"),
        f"behind all headers; it may be beyond captured_len; {_IP}",
    ),
    (
        *("payload_len", "uint32", "bytes", "feature", "bytes above the transport header"),
        f"max(0, end of the IP packet − payload_offset), without what is behind the end that UDP says; {_IP}",
    ),
)
PACKET_COLUMNS = tuple(
    Column(name, kind, unit, "packets", role, definition, formula)
    for name, kind, unit, role, definition, formula in _ROWS
)
ALWAYS = frozenset({"source", "number", "record_offset", "time", "link", "frame_len", "captured_len", "reason"})
"""Columns that are never null."""

WIRESHARK = {
    "number": ("frame.number",),
    "time": ("frame.time_epoch",),
    "frame_len": ("frame.len",),
    "captured_len": ("frame.cap_len",),
    "src_mac": ("eth.src",),
    "dst_mac": ("eth.dst",),
    "vlan": ("vlan.id",),
    "ip_version": ("ip.version", "ipv6.version"),
    "src_ip": ("ip.src", "ipv6.src"),
    "dst_ip": ("ip.dst", "ipv6.dst"),
    "protocol": ("ip.proto",),
    "ip_len": ("ip.len",),
    "ip_header_len": ("ip.hdr_len",),
    "ttl": ("ip.ttl", "ipv6.hlim"),
    "tos": ("ip.dsfield", "ipv6.tclass"),
    "ip_id": ("ip.id", "ipv6.fraghdr.ident"),
    "src_port": ("tcp.srcport", "udp.srcport", "sctp.srcport"),
    "dst_port": ("tcp.dstport", "udp.dstport", "sctp.dstport"),
    "icmp_type": ("icmp.type", "icmpv6.type"),
    "icmp_code": ("icmp.code", "icmpv6.code"),
    "tcp_flags": ("tcp.flags",),
    "tcp_seq": ("tcp.seq_raw",),
    "tcp_ack": ("tcp.ack_raw",),
    "tcp_window": ("tcp.window_size_value",),
    "tcp_mss": ("tcp.options.mss_val",),
    "tcp_window_scale": ("tcp.options.wscale.shift",),
    "tcp_sack_permitted": ("tcp.options.sack_perm",),
    "header_len": ("tcp.hdr_len",),
    "payload_len": ("tcp.len",),
}
"""What Wireshark calls a column. Of several IP headers in a packet it shows all, and this table the innermost."""


def packet_columns(labels: Iterable[str] = (), chosen: Iterable[str] | str | None = None) -> tuple[Column, ...]:
    """All columns, in order, of a packet table with these label fields; or those of them that are `chosen`.

    `chosen` are names, or names separated by commas. Raises ConfigError for one that there is not.
    """
    columns = (*PACKET_COLUMNS, *label_columns(labels))
    if chosen is None:
        return columns
    names = [name.strip() for name in chosen.split(",")] if isinstance(chosen, str) else list(chosen)
    known = {column.name: column for column in columns}
    for name in names:
        if name not in known:
            raise ConfigError(f"packets have no column {name!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def packet_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of these columns, with their definitions as metadata."""
    import pyarrow as pa

    return pa.schema([field.with_nullable(field.name not in ALWAYS) for field in arrow_schema(columns)])
