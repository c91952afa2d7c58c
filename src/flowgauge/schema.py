"""Every native column: the single source for headers, types, the documentation and `columns`.

Importing this module loads neither NumPy nor pyarrow; :func:`arrow_schema` does.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from flowgauge.config import MeterConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from flowgauge.custom.declare import UserFeature

VERSION = 1
"""Version of the column set; a changed formula raises it, with a line in the changelog."""

GROUPS = ("core", "size", "iat", "flags", "tcp", "ip", "splt", "activity", "bulk", "payload", "distribution", "raw")
HIDDEN_GROUPS = ("nfstream", "cic")
"""Groups that schemas of other tools are made of; their columns are among EXTRA_COLUMNS."""
DIRECTIONS = ("", "up_", "down_")
QUANTILES = (10, 25, 50, 75, 90)  # percent
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
    length: int = 0  # of a list: the most values that it has; of bytes: how many belong together


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
        ("end_reason", "category", "", "feature", "fin, rst, reuse, idle, active, window, late, eof, stop, limit"),
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


def _core_after_counts(config: MeterConfig) -> list[Column]:
    rows = [
        ("icmp_type", "uint8", "", "feature", "ICMP type of the record's first packet; null for other protocols"),
        ("icmp_code", "uint8", "", "feature", "ICMP code of the record's first packet; null for other protocols"),
        ("clock_back", "int64", "packets", "feature", "packets earlier than the latest time seen in the flow"),
        ("fragments", "int64", "packets", "feature", "packets that are IP fragments"),
        ("source", "category", "", "id", "file of the record's first packet"),
    ]
    if config.first_packets is not None or config.first_seconds is not None:
        text = "packets behind those that count: no other column knows of them"
        rows.insert(-1, ("rest_packets", "int64", "packets", "id", text))
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


def _ip(config: MeterConfig) -> list[Column]:
    columns = []
    for prefix in DIRECTIONS[1:]:
        for name, kind, text in (
            ("ttl_min", "uint8", "smallest time to live or hop limit"),
            ("ttl_max", "uint8", "largest time to live or hop limit"),
            ("dscp", "uint8", "differentiated services code point (RFC 2474) of the first packet"),
            (
                "ip_id",
                "category",
                "IPv4 identifications: zero, constant, incremental (no step above 1,000, modulo 2^16) or random; null "
                "for fewer than two packets",
            ),
        ):
            columns.append(Column(prefix + name, kind, "", "ip", "feature", f"{text}, {_VIEW[prefix]}"))
    return columns


def _splt(config: MeterConfig) -> list[Column]:
    packets = f"of the first {config.splt} packets" + (" with payload" if config.splt_data else "")
    rows = (
        ("splt_direction", "list<uint8>", "", "0 client to server, 1 server to client"),
        ("splt_ip_len", "list<uint32>", "bytes", "IP length"),
        ("splt_payload_len", "list<uint32>", "bytes", "payload length"),
        ("splt_iat_s", "list<float64>", "s", "time since the latest of those before; 0 for the first"),
        ("splt_flags", "list<uint8>", "", "TCP flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128"),
    )
    return [
        Column(name, kind, unit, "splt", "feature", f"{text}, {packets}", config.splt)
        for name, kind, unit, text in rows
    ]


def _activity(config: MeterConfig) -> list[Column]:
    gap = f"{config.activity_gap:g} s"
    columns = []
    for series, text in (("active", f"period without a gap above {gap}"), ("idle", f"gap above {gap}")):
        for statistic, words in _STATISTICS:
            definition = f"{words} {text}, both directions"
            columns.append(Column(f"{series}_{statistic}_s", "float64", "s", "activity", "feature", definition))
    definition = f"number of periods without a gap above {gap}"
    return [*columns, Column("active_periods", "int64", "", "activity", "feature", definition)]


def _bulk(config: MeterConfig) -> list[Column]:
    columns = []
    for prefix in DIRECTIONS[1:]:
        for name, kind, unit, text in (
            (
                "bulk_count",
                "int64",
                "",
                "number of bulks: 4 or more packets with payload, gaps up to 1 s, none with payload of the other "
                "direction between",
            ),
            ("bulk_packets_mean", "float64", "packets", "mean packets of a bulk; null without one"),
            ("bulk_bytes_mean", "float64", "bytes", "mean payload bytes of a bulk; null without one"),
            ("bulk_rate", "float64", "bytes/s", "payload bytes of all bulks / their duration; null where that is 0"),
        ):
            columns.append(Column(prefix + name, kind, unit, "bulk", "feature", f"{text}, {_VIEW[prefix]}"))
    definition = "parts of the record that gaps above 1 s separate, both directions"
    return [*columns, Column("subflows", "int64", "", "bulk", "feature", definition)]


def _payload(config: MeterConfig) -> list[Column]:
    columns = []
    for prefix in DIRECTIONS[1:]:
        for name, unit, text in (
            ("payload_entropy", "bits/byte", "−Σ p·log2(p) over the values of the first 512 bytes of the stream"),
            ("payload_printable", "", "share of printable ASCII and white space in these bytes"),
        ):
            definition = f"{text}, {_VIEW[prefix]}; null without any"
            columns.append(Column(prefix + name, "float64", unit, "payload", "feature", definition))
        if config.payload_head and config.anonymize is None:
            definition = f"first {config.payload_head} bytes of the stream, {_VIEW[prefix]}; null without any"
            columns.append(Column(prefix + "payload_head", "binary", "", "payload", "id", definition))
    return columns


def _distribution(config: MeterConfig) -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for series, unit, text in (("ip_len", "bytes", "IP length"), ("iat", "s", "inter-arrival time")):
            suffix = "_s" if unit == "s" else ""
            for percent in QUANTILES:
                definition = f"{percent} % quantile (nearest rank) of {text}, within 2 %, {_VIEW[prefix]}"
                name = f"{prefix}{series}_p{percent}{suffix}"
                columns.append(Column(name, "float64", unit, "distribution", "feature", definition))
            for name, words in (("skewness", "skewness m3 / m2^1.5"), ("kurtosis", "excess kurtosis m4 / m2² − 3")):
                definition = f"{words} of {text}, {_VIEW[prefix]}; null where all are the same"
                columns.append(Column(f"{prefix}{series}_{name}", "float64", "", "distribution", "feature", definition))
    return columns


def _raw(config: MeterConfig) -> list[Column]:
    most, size = config.raw_packets, config.raw_bytes
    definition = f"bytes there are of each of the first {most} packets: min({size}, IP length, captured bytes)"
    columns = [Column("raw_len", "list<uint16>", "bytes", "raw", "feature", definition, most)]
    if config.anonymize is None:
        hidden = ", with addresses, ports and checksums 0" if config.raw_masked else ""
        definition = f"the first {size} bytes of each from its IP header, 0 where there are fewer{hidden}"
        role = "feature" if config.raw_masked else "id"
        columns.append(Column("raw_bytes", "binary", "", "raw", role, definition, size))
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


_COLUMNS: dict[str, Callable[[MeterConfig], Iterable[Column]]] = {
    "core": lambda config: (*_core_before_counts(), *_core_counts(), *_core_after_counts(config)),
    "size": lambda config: _size(),
    "iat": lambda config: _iat(),
    "flags": lambda config: _flags(),
    "tcp": lambda config: _tcp(),
    "ip": _ip,
    "splt": _splt,
    "activity": _activity,
    "bulk": _bulk,
    "payload": _payload,
    "distribution": _distribution,
    "raw": _raw,
}


def _of_peers(group: str, unit: str) -> list[Column]:
    """What the schemas of another tool are made of: times in its unit, frame and header lengths."""
    columns = []
    for prefix in DIRECTIONS:
        for name, measure, text in (
            ("first", unit, "time of the first packet"),
            ("last", unit, "time of the last packet"),
            *((f"gap_{word}", unit, f"{word} of the gaps") for word in ("min", "max", "total", "mean", "std")),
            *((f"frame_{word}", "bytes", f"{word} of frame lengths") for word in ("min", "max", "mean", "std")),
            *(
                (f"header_{word}", "bytes", f"{text} of transport headers")
                for word, text in (("bytes", "bytes"), ("min", "least bytes"))
                if prefix
            ),
        ):
            kind = "float64" if name.endswith(("mean", "std")) else "int64"
            definition = f"{text}, {_VIEW[prefix]}"
            columns.append(Column(f"{prefix}{group}_{name}", kind, measure, group, "feature", definition))
    return columns


EXTRA_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("record", "int64", "", "core", "id", "number of the record in the table, from 0"),
        Column("opener", "uint8", "", "core", "id", "0 where the client sent the record's first packet, 1 the server"),
        Column("up_stream_bytes", "int64", "bytes", "tcp", "feature", "payload of the client by its sequence numbers"),
        Column("down_stream_bytes", "int64", "bytes", "tcp", "feature", "payload of the server by its numbers"),
        Column("closed_tail_s", "float64", "s", "tcp", "feature", "time of the record after both ends had closed"),
        Column("splt_frame_len", "list<uint32>", "bytes", "splt", "feature", "frame lengths of the first packets"),
        Column("splt_gap_ms", "list<int64>", "ms", "splt", "feature", "differences of their times in whole ms"),
        *_of_peers("nfstream", "ms"),
        *_of_peers("cic", "ns"),
    )
}
"""What schemas of other tools need, and no native table shows."""


ALL_GROUPS = MeterConfig(features=GROUPS)
"""Every group with its default options."""


def native_columns(config: MeterConfig = ALL_GROUPS, labels: Iterable[str] = ()) -> tuple[Column, ...]:
    """All columns, in order, of a native table with the groups of `config` and these label fields."""
    rest = (column for group in GROUPS[1:] if group in config.features for column in _COLUMNS[group](config))
    hidden = config.anonymize is not None
    custom = (column for feature in config.custom for column in custom_columns(feature, hidden))
    return (*_COLUMNS["core"](config), *label_columns(labels), *rest, *custom)


def custom_columns(feature: UserFeature, hidden: bool = False) -> tuple[Column, ...]:
    """The columns of a feature that a user wrote; without arrays of bytes where names are `hidden`."""
    prefixes = DIRECTIONS[1:] if feature.per_direction else ("",)
    return tuple(
        Column(
            prefix + name,
            kind.column,
            "",
            feature.name,
            "feature",
            f"{feature.definition or name}{f', {_VIEW[prefix]}' if prefix else ''}",
            kind.length,
        )
        for prefix in prefixes
        for name, kind in feature.columns.items()
        if not (hidden and kind.name == "uint8" and kind.length)
    )


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a column type; `category` is a dictionary of strings."""
    import pyarrow as pa

    if kind.startswith("list<"):
        return pa.list_(arrow_type(kind[len("list<") : -1]))
    types = {
        "binary": pa.binary(),
        "bool": pa.bool_(),
        **{f"int{bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
        **{f"uint{bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
        "float32": pa.float32(),
        "float64": pa.float64(),
        "string": pa.string(),
        "category": pa.dictionary(pa.int32(), pa.string()),
        "timestamp": pa.timestamp("ns", "UTC"),
    }
    return types[kind]


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of these columns; each field has unit, group, role and definition of its column as metadata."""
    return _arrow_schema(tuple(columns))


@functools.lru_cache(maxsize=64)
def _arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(column.name, arrow_type(column.type), metadata=_metadata(column)) for column in columns])


def _metadata(column: Column) -> dict[str, str]:
    values = {"unit": column.unit, "group": column.group, "role": column.role, "definition": column.definition}
    return values | ({"length": str(column.length)} if column.length else {})
