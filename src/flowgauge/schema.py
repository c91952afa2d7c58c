"""Every native column: the single source for headers, types, the documentation and `columns`.

Importing this module loads neither NumPy nor pyarrow; :func:`arrow_schema` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

VERSION = 1
"""Version of the column set; a changed formula raises it, with a line in the changelog."""

GROUPS = ("core", "size", "iat", "flags", "tcp")
DIRECTIONS = ("", "up_", "down_")
TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
LABEL_COLUMNS = ("app", "action")

_VIEW = {"": "both directions", "up_": "client to server", "down_": "server to client"}


class Column(NamedTuple):
    """One column. `type` is one of the keys of the table in :func:`arrow_type`.

    `role`: "id" names the flow or its endpoints and must not be learnt from, "label" is what is
    to be learnt, "feature" the rest.
    """

    name: str
    type: str
    unit: str
    group: str
    role: str
    definition: str


def _core_before_counts() -> list[Column]:
    rows = [
        ("flow_id", "int64", "", "id", "capture number × 2^40 + byte offset of the record that opened the flow"),
        ("first_packet", "int64", "", "id", "frame number, from 1, of the packet that opened the flow"),
        (
            "part",
            "int32",
            "",
            "id",
            "number, from 0, of the record in its flow: the active timeout and late packets begin new ones",
        ),
        ("community_id", "string", "", "id", "Community ID version 1, seed 0; null with key=hosts"),
        ("start", "timestamp", "UTC", "id", "earliest packet time of the record"),
        ("end", "timestamp", "UTC", "id", "latest packet time of the record"),
        ("duration_s", "float64", "s", "feature", "end − start"),
        ("client_ip", "string", "", "id", "address of the client (RFC 5952 text for IPv6)"),
        ("client_port", "uint16", "", "id", "port of the client; 0 where the protocol has none"),
        ("server_ip", "string", "", "id", "address of the server"),
        ("server_port", "uint16", "", "id", "port of the server; 0 where the protocol has none"),
        ("protocol", "uint8", "", "feature", "IP protocol number (IANA)"),
        ("ip_version", "uint8", "", "feature", "4 or 6"),
        (
            "client_mac",
            "string",
            "",
            "id",
            "MAC address on the client's side in the first packet; null where the link has none",
        ),
        (
            "server_mac",
            "string",
            "",
            "id",
            "MAC address on the server's side in the first packet; null where the link has none",
        ),
        ("vlan", "uint16", "", "id", "innermost VLAN id of the first packet; null without one"),
        ("vlan_outer", "uint16", "", "id", "outermost VLAN id of the first packet; null without one"),
        ("tunnel", "category", "", "id", "encapsulations around the first packet, outermost first; null without any"),
        ("client_by", "category", "", "feature", "rule that made the client: syn, synack, icmp, previous, port, first"),
        ("end_reason", "category", "", "feature", "fin, rst, reuse, idle, active, late, eof, stop, limit"),
    ]
    return [Column(name, kind, unit, "core", role, text) for name, kind, unit, role, text in rows]


def _core_counts() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        view = _VIEW[prefix]
        for name, unit, text in (
            ("packets", "packets", "number of packets"),
            ("frame_bytes", "bytes", "sum of frame lengths on the wire"),
            ("ip_bytes", "bytes", "sum of IP lengths (header and data)"),
            ("payload_bytes", "bytes", "sum of payload lengths"),
        ):
            columns.append(Column(prefix + name, "int64", unit, "core", "feature", f"{text}, {view}"))
    return columns


def _core_after_counts() -> list[Column]:
    rows = [
        ("icmp_type", "uint8", "", "feature", "ICMP type of the record's first packet; null for other protocols"),
        ("icmp_code", "uint8", "", "feature", "ICMP code of the record's first packet; null for other protocols"),
        ("clock_back", "int64", "packets", "feature", "packets earlier than the latest time seen in the flow"),
        ("fragments", "int64", "packets", "feature", "packets that are IP fragments"),
        ("source", "category", "", "id", "file of the record's first packet"),
    ]
    return [Column(name, kind, unit, "core", role, text) for name, kind, unit, role, text in rows]


_STATISTICS = (
    ("min", "smallest"),
    ("mean", "mean"),
    ("std", "sample standard deviation (n − 1) of the"),
    ("max", "largest"),
)


def _size() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for series, text in (("ip_len", "IP length"), ("payload_len", "payload length")):
            for statistic, words in _STATISTICS:
                kind = "float64" if statistic in ("mean", "std") else "int64"
                definition = f"{words} {text}, {_VIEW[prefix]}"
                columns.append(Column(f"{prefix}{series}_{statistic}", kind, "bytes", "size", "feature", definition))
        definition = f"packets with payload, {_VIEW[prefix]}"
        columns.append(Column(f"{prefix}payload_packets", "int64", "packets", "size", "feature", definition))
    return columns


def _iat() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for statistic, words in _STATISTICS:
            definition = f"{words} inter-arrival time (since the latest packet), {_VIEW[prefix]}"
            columns.append(Column(f"{prefix}iat_{statistic}_s", "float64", "s", "iat", "feature", definition))
    return columns


def _flags() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for flag in TCP_FLAGS:
            definition = f"TCP packets with {flag.upper()} set, {_VIEW[prefix]}"
            columns.append(Column(f"{prefix}{flag}_packets", "int64", "packets", "flags", "feature", definition))
    return columns


def _tcp() -> list[Column]:
    rows = [
        ("tcp_state", "category", "", "what the connection did, as Zeek's conn_state; null without a TCP segment"),
        ("tcp_history", "string", "", "letters of what was seen, in order, as Zeek's history; 24 at most"),
        ("handshake_syn_rtt_s", "float64", "s", "from the client's latest SYN to the server's first SYN+ACK"),
        ("handshake_ack_rtt_s", "float64", "s", "from the latest SYN+ACK to the client's first acknowledgement of it"),
    ]
    columns = [Column(name, kind, unit, "tcp", "feature", text) for name, kind, unit, text in rows]
    counted = (
        ("retransmitted_packets", "int64", "packets", "segments whose payload was all seen before"),
        ("retransmitted_bytes", "int64", "bytes", "payload bytes that were seen before"),
        ("out_of_order_packets", "int64", "packets", "segments with payload that was passed over before"),
        ("gap_bytes", "int64", "bytes", "payload bytes that were acknowledged but not seen"),
        ("duplicate_acks", "int64", "packets", "duplicate acknowledgements (RFC 5681 §2)"),
        (
            "zero_windows",
            "int64",
            "packets",
            "segments with a window of 0, but for RSTs and behind the end of the peer",
        ),
        ("init_window", "uint16", "bytes", "window of the first segment, unscaled; null in later parts"),
        ("mss", "uint16", "bytes", "maximum segment size of the SYN; null without"),
        ("window_scale", "uint8", "", "shift of the SYN's window scale option, 14 at most; null without"),
        ("sack_permitted", "bool", "", "whether the SYN permits selective acknowledgements; null without a SYN"),
    )
    for prefix in DIRECTIONS[1:]:
        for name, kind, unit, text in counted:
            columns.append(Column(prefix + name, kind, unit, "tcp", "feature", f"{text}, {_VIEW[prefix]}"))
    return columns


_LABELS = {
    "app": Column("app", "category", "", "core", "label", "application, from the file's name"),
    "action": Column("action", "category", "", "core", "label", "what the application was doing, from the file's name"),
}


def label_column(name: str) -> Column:
    """The column of a label: `app`, `action` or any other field that a template names."""
    return _LABELS.get(name) or Column(name, "category", "", "core", "label", "field of the label template")


def label_columns(fields: Iterable[str] = ()) -> tuple[Column, ...]:
    """`app`, `action`, then the other fields in their order."""
    others = [name for name in fields if name not in LABEL_COLUMNS]
    return tuple(label_column(name) for name in (*LABEL_COLUMNS, *others))


COLUMNS: dict[str, tuple[Column, ...]] = {
    "core": (*_core_before_counts(), *_core_counts(), *_core_after_counts()),
    "size": tuple(_size()),
    "iat": tuple(_iat()),
    "flags": tuple(_flags()),
    "tcp": tuple(_tcp()),
}
"""Columns of each group, in output order; the labels follow those of `core`."""


EXTRA_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("opener", "uint8", "", "core", "id", "0 where the client sent the record's first packet, 1 the server"),
        Column("up_stream_bytes", "int64", "bytes", "tcp", "feature", "payload of the client by its sequence numbers"),
        Column("down_stream_bytes", "int64", "bytes", "tcp", "feature", "payload of the server by its numbers"),
        Column("closed_tail_s", "float64", "s", "tcp", "feature", "time of the record after both ends had closed"),
    )
}
"""What schemas of other tools need, and no native table shows."""


def native_columns(features: Iterable[str] = GROUPS, labels: Iterable[str] = ()) -> tuple[Column, ...]:
    """All columns of a native table with these groups and label fields, in order."""
    chosen = set(features)
    rest = [column for group in GROUPS[1:] if group in chosen for column in COLUMNS[group]]
    return (*COLUMNS["core"], *label_columns(labels), *rest)


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a column type; `category` is a dictionary of strings."""
    import pyarrow as pa

    types = {
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "uint8": pa.uint8(),
        "uint16": pa.uint16(),
        "float64": pa.float64(),
        "string": pa.string(),
        "category": pa.dictionary(pa.int32(), pa.string()),
        "timestamp": pa.timestamp("ns", "UTC"),
    }
    return types[kind]


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of these columns, without metadata."""
    import pyarrow as pa

    return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])
