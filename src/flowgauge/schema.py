"""Every native column: the single source for headers, types, the documentation and `columns`.

Importing this module loads neither NumPy nor pyarrow; :func:`arrow_schema` does.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from flowgauge.config import MeterConfig
from flowgauge.names.columns import LEFT_OUT, MOST_TLS_RECORDS, NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from flowgauge.custom.declare import UserFeature

VERSION = 1
"""Version of the column set; a changed formula raises it, with a line in the changelog."""

GROUPS = (
    *("core", "size", "iat", "flags", "tcp", "ip", "splt", "activity", "bulk", "payload", "distribution", "raw"),
    *("process", "where", "names"),
)
HIDDEN_GROUPS = ("nfstream", "cic")
"""Groups that schemas of other tools are made of; their columns are among EXTRA_COLUMNS."""
DIRECTIONS = ("", "up_", "down_")
QUANTILES = (10, 25, 50, 75, 90)  # percent
TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
LABEL_COLUMNS = ("app", "action")
BACKGROUND = "background"
"""The label of flows that are not of what was done; see flowgauge.labels.background."""
LABEL_BY = "label_by"
"""Who says what the label of a flow is; there where more than one can."""

_VIEW = {"": "both directions", "up_": "client to server", "down_": "server to client"}


class Column(NamedTuple):
    """One column. `type` is one of the keys of the table in :func:`arrow_type`.

    `role`: "id" names the flow or its endpoints and must not be learnt from, "label" is what is
    to be learnt, "feature" the rest. `definition` says what it is, `formula` how it is computed of the packets of the
    record (of the direction, with `up_` and `down_`) and when it is null; docs/columns.md explains the terms.
    """

    name: str
    type: str
    unit: str
    group: str
    role: str
    definition: str
    formula: str
    length: int = 0  # of a list: the most values that it has; of bytes: how many belong together
    native: str = ""  # of a table that is not native: the native column that it is, behind SIMILAR where details differ


SIMILAR = "≈"
"""In front of a column that means the same in another unit, or differs in a detail such as 0 in place of null."""


def _core_before_counts() -> list[Column]:
    opened = "the packet that opened the flow"
    rows = [
        (
            *("flow_id", "int64", "", "id", "name of the flow in its run"),
            f"capture number × 2^40 + byte offset, in the uncompressed file, of the record of {opened}",
        ),
        ("first_packet", "int64", "", "id", "where the flow begins", f"frame number, from 1, of {opened}"),
        (
            *("part", "int32", "", "id", "number of the record in its flow"),
            "0, and 1 more for each record of the flow before: active timeout, window and late packets begin new ones",
        ),
        (
            *("community_id", "string", "", "id", "Community ID, as other tools compute it"),
            "Community ID version 1 with seed 0 of addresses, ports (ICMP: type and code) and protocol; "
            "null with key=hosts",
        ),
        ("start", "timestamp", "UTC", "id", "earliest packet time of the record", "min time"),
        ("end", "timestamp", "UTC", "id", "latest packet time of the record", "max time"),
        ("duration_s", "float64", "s", "feature", "time from the earliest to the latest packet", "end − start"),
        *(row for end in ("client", "server") for row in _endpoint(end)),
        (
            *("protocol", "uint8", "", "feature", "IP protocol number (IANA)"),
            "protocol of the IPv4 header, of IPv6 the next header behind the extension headers",
        ),
        ("ip_version", "uint8", "", "feature", "version of IP", "4 or 6, of the IP header"),
        *(
            (
                *(f"{end}_mac", "string", "", "id", f"MAC address on the {end}'s side"),
                f"of the record's first packet: source address if the {end} sent it, else destination address; "
                "null where the link has none",
            )
            for end in ("client", "server")
        ),
        (
            *("vlan", "uint16", "", "id", "innermost VLAN id"),
            "id of the last VLAN tag of the record's first packet; null where there is none or the id is 0",
        ),
        (
            *("vlan_outer", "uint16", "", "id", "outermost VLAN id"),
            "id of the first VLAN tag of the record's first packet; null where there is none or the id is 0",
        ),
        (
            *("tunnel", "category", "", "id", "encapsulations around the packets"),
            "names and ids of those of the record's first packet, outermost first, 8 at most; null without any",
        ),
        (
            *("client_by", "category", "", "feature", "rule that made the client"),
            "of the packet that opened the flow, the first that decides: syn or synack, icmp, previous, port, first",
        ),
        (
            *("end_reason", "category", "", "feature", "why the record ended"),
            "fin, rst, late, idle, reuse, active, window, eof, stop or limit: the first whose rule holds",
        ),
    ]
    return [Column(name, kind, unit, "core", role, text, formula) for name, kind, unit, role, text, formula in rows]


def _endpoint(end: str) -> Iterable[tuple[str, ...]]:
    address = f"address of the end that client_by makes the {end}, IPv6 as RFC 5952 writes it"
    yield f"{end}_ip", "string", "", "id", f"address of the {end}", address
    port = (
        f"port of the end that client_by makes the {end}; 0 for other protocols than TCP, UDP and SCTP; with key=hosts "
        "that of the record's first packet"
    )
    yield f"{end}_port", "uint16", "", "id", f"port of the {end}", port


def _core_counts() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        view = _VIEW[prefix]
        for name, unit, text, formula in (
            ("packets", "packets", "number of packets", "n, the number of packets"),
            ("frame_bytes", "bytes", "bytes of frames on the wire", "Σ frame_len"),
            ("ip_bytes", "bytes", "bytes of IP packets, headers and data", "Σ ip_len"),
            ("payload_bytes", "bytes", "bytes above the transport header", "Σ payload_len"),
        ):
            columns.append(Column(prefix + name, "int64", unit, "core", "feature", f"{text}, {view}", formula))
    return columns


def _core_after_counts(config: MeterConfig) -> list[Column]:
    rows = [
        *(
            (
                *(f"icmp_{name}", "uint8", "", "feature", f"ICMP or ICMPv6 {name}"),
                f"{name} of the record's first packet; null where that has no ICMP header",
            )
            for name in ("type", "code")
        ),
        (
            *("clock_back", "int64", "packets", "feature", "packets whose time goes back"),
            "number of packets with time < latest time before in the flow",
        ),
        (
            *("fragments", "int64", "packets", "feature", "packets that are IP fragments"),
            "number of packets with a fragment offset above 0 or more fragments to come",
        ),
        ("source", "category", "", "id", "file", "file of the record's first packet"),
    ]
    if config.first_packets is not None or config.first_seconds is not None:
        text = "packets behind those that count", "number of packets that no other column knows of"
        rows.insert(-1, ("rest_packets", "int64", "packets", "id", *text))
    return [Column(name, kind, unit, "core", role, text, formula) for name, kind, unit, role, text, formula in rows]


class _Statistic(NamedTuple):
    """A statistic of a series: words in front of the series, and its formula of values `x`, of which there are `n`."""

    name: str
    words: str
    formula: str
    least: int  # values that it needs

    def of(self, x: str, n: str, where: str = "") -> str:
        """The formula, null where there are too few values; `where` tells the values."""
        few = f"{n} = 0" if self.least == 1 else f"{n} < {self.least}"
        return f"{self.formula.format(x=x, n=n)}{where}; null where {few}"


_STATISTICS = (
    _Statistic("min", "smallest", "min {x}", 1),
    _Statistic("mean", "mean", "Σ {x} / {n}", 1),
    _Statistic("std", "sample standard deviation of the", "√(Σ({x} − mean)² / ({n} − 1))", 2),
    _Statistic("max", "largest", "max {x}", 1),
)


def _size() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for series, text in (("ip_len", "IP length"), ("payload_len", "payload length")):
            for statistic in _STATISTICS:
                name = statistic.name
                kind = "float64" if name in ("mean", "std") else "int64"
                definition = f"{statistic.words} {text}, {_VIEW[prefix]}"
                formula = statistic.of(series, "n")
                row = kind, "bytes", "size", "feature", definition, formula
                columns.append(Column(f"{prefix}{series}_{name}", *row))
        definition, formula = f"packets with payload, {_VIEW[prefix]}", "number of packets with payload_len > 0"
        columns.append(Column(f"{prefix}payload_packets", "int64", "packets", "size", "feature", definition, formula))
    return columns


def _iat() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for statistic in _STATISTICS:
            definition = f"{statistic.words} inter-arrival time, {_VIEW[prefix]}"
            row = "float64", "s", "iat", "feature", definition, statistic.of("gap", "m")
            columns.append(Column(f"{prefix}iat_{statistic.name}_s", *row))
    return columns


def _flags() -> list[Column]:
    columns = []
    for prefix in DIRECTIONS:
        for bit, flag in enumerate(TCP_FLAGS):
            definition = f"TCP packets with {flag.upper()} set, {_VIEW[prefix]}"
            row = (
                "int64",
                "packets",
                "flags",
                "feature",
                definition,
                f"number of packets with tcp_flags & {1 << bit} ≠ 0",
            )
            columns.append(Column(f"{prefix}{flag}_packets", *row))
    return columns


_NO_SEGMENT = "; null without a TCP segment"


def _tcp() -> list[Column]:
    rows = [
        (
            *("tcp_state", "category", "", "what the connection did, as Zeek's conn_state"),
            "S0, S1, SF, REJ, S2, S3, RSTO, RSTR, RSTOS0, RSTRH, SH, SHR or OTH: the first rule of “TCP connections” "
            f"that holds for the states of both ends{_NO_SEGMENT}",
        ),
        (
            *("tcp_history", "string", "", "what was seen, as Zeek's history"),
            "the first 24 letters of “History”, one for each event in order, the client's as capitals; null without a "
            "TCP segment",
        ),
        (
            *("handshake_syn_rtt_s", "float64", "s", "time that the server took to answer the SYN"),
            "max(0, time of the server's first SYN+ACK behind a SYN − time of the client's latest SYN before it); "
            "null without both",
        ),
        (
            *("handshake_ack_rtt_s", "float64", "s", "time that the client took to answer the SYN+ACK"),
            "max(0, time of the client's first segment that acknowledges it − time of the server's latest SYN+ACK "
            "before it); null without both",
        ),
    ]
    columns = [Column(name, kind, unit, "tcp", "feature", text, formula) for name, kind, unit, text, formula in rows]
    for prefix in DIRECTIONS[1:]:
        for name, kind, unit, text, formula in _TCP_ENDS:
            row = kind, unit, "tcp", "feature", f"{text}, {_VIEW[prefix]}", formula
            columns.append(Column(prefix + name, *row))
    return columns


_TCP_ENDS = (
    (
        *("retransmitted_packets", "int64", "packets", "segments sent again"),
        "number of segments with payload that do not advance the highest number and hold no byte out of order"
        + _NO_SEGMENT,
    ),
    (
        *("retransmitted_bytes", "int64", "bytes", "payload sent again"),
        f"Σ payload bytes below the highest number that fill no hole and are not below the first number{_NO_SEGMENT}",
    ),
    (
        *("out_of_order_packets", "int64", "packets", "segments that come late"),
        "number of segments that do not advance the highest number and hold a byte that fills a hole or is below the "
        f"first number{_NO_SEGMENT}",
    ),
    (
        *("gap_bytes", "int64", "bytes", "payload that the capture lacks"),
        f"Σ bytes that the peer acknowledged and no packet holds, and of holes given up for a third{_NO_SEGMENT}",
    ),
    (
        *("duplicate_acks", "int64", "packets", "duplicate acknowledgements (RFC 5681 §2)"),
        "number of segments with no payload, SYN, FIN or RST that repeat highest acknowledgement (above the initial "
        f"number) and latest window, while the peer has sent more{_NO_SEGMENT}",
    ),
    (
        *("zero_windows", "int64", "packets", "segments that stop the peer"),
        f"number of segments with window 0 but RSTs, with the sender not reset and the peer not closed{_NO_SEGMENT}",
    ),
    (
        *("init_window", "uint16", "bytes", "initial window, unscaled"),
        "window field of the first segment; null where there is none, and in later parts",
    ),
    ("mss", "uint16", "bytes", "maximum segment size", "option of the record's first SYN; null without, or 0"),
    (
        *("window_scale", "uint8", "", "shift of the window"),
        "min(14, option of the record's first SYN); null without",
    ),
    (
        *("sack_permitted", "bool", "", "whether selective acknowledgements are permitted"),
        "whether the record's first SYN has that option; null without a SYN",
    ),
)


def _ip(config: MeterConfig) -> list[Column]:
    columns = []
    for prefix in DIRECTIONS[1:]:
        for name, kind, text, formula in (
            ("ttl_min", "uint8", "smallest time to live or hop limit", "min ttl; null where n = 0"),
            ("ttl_max", "uint8", "largest time to live or hop limit", "max ttl; null where n = 0"),
            (
                *("dscp", "uint8", "differentiated services code point (RFC 2474)"),
                "tos >> 2 of the first packet; null where n = 0",
            ),
            (
                *("ip_id", "category", "how IPv4 identifications go on"),
                "zero or constant where all ip_id are the same, incremental where every step to the next, modulo 2^16, "
                "is ≤ 1,000, else random; null below two IPv4 packets",
            ),
        ):
            columns.append(Column(prefix + name, kind, "", "ip", "feature", f"{text}, {_VIEW[prefix]}", formula))
    return columns


def _splt(config: MeterConfig) -> list[Column]:
    packets = f"the first {config.splt} packets" + (" with payload" if config.splt_data else "")
    rows = (
        ("splt_direction", "list<uint8>", "", "direction", "0 client to server, 1 server to client"),
        ("splt_ip_len", "list<uint32>", "bytes", "IP length", "ip_len"),
        ("splt_payload_len", "list<uint32>", "bytes", "payload length", "payload_len"),
        (
            *("splt_iat_s", "list<float64>", "s", "inter-arrival time"),
            "max(0, time − latest time before in the list); 0 for the first",
        ),
        (
            *("splt_flags", "list<uint8>", "", "TCP flags"),
            "tcp_flags: FIN 1 + SYN 2 + RST 4 + PSH 8 + ACK 16 + URG 32 + ECE 64 + CWR 128",
        ),
    )
    return [
        Column(
            name, kind, unit, "splt", "feature", f"{text} of {packets}", f"of each, in order: {formula}", config.splt
        )
        for name, kind, unit, text, formula in rows
    ]


def _activity(config: MeterConfig) -> list[Column]:
    gap = f"{config.activity_gap:g} s"
    periods = f", of the k = active_periods periods, period = Σ of its gaps, each ≤ {gap}"
    silences = f", of the k = active_periods − 1 gaps > {gap} within the record"
    columns = []
    for series, text, x, where in (
        ("active", f"period without a gap above {gap}", "period", periods),
        ("idle", f"gap above {gap}", "gap", silences),
    ):
        for statistic in _STATISTICS:
            definition, formula = f"{statistic.words} {text}, both directions", statistic.of(x, "k", where)
            if series == "active":  # there always is a period
                formula = formula.removesuffix("; null where k = 0")
            row = "float64", "s", "activity", "feature", definition, formula
            columns.append(Column(f"{series}_{statistic.name}_s", *row))
    definition = f"number of periods without a gap above {gap}"
    formula = f"1 + number of gaps > {gap} within the record"
    return [*columns, Column("active_periods", "int64", "", "activity", "feature", definition, formula)]


_BULK = (
    "4 or more packets with payload, none > 1 s behind the latest one before, none with payload of the other direction "
    "between"
)


def _bulk(config: MeterConfig) -> list[Column]:
    columns = []
    for prefix in DIRECTIONS[1:]:
        for name, kind, unit, text, formula in (
            ("bulk_count", "int64", "", "number of bulks", f"number of bulks: {_BULK}"),
            (
                *("bulk_packets_mean", "float64", "packets", "mean packets of a bulk"),
                "Σ packets with payload of bulks / bulk_count; null where bulk_count = 0",
            ),
            (
                *("bulk_bytes_mean", "float64", "bytes", "mean payload bytes of a bulk"),
                "Σ payload_len of bulks / bulk_count; null where bulk_count = 0",
            ),
            (
                *("bulk_rate", "float64", "bytes/s", "payload rate of bulks"),
                "Σ payload_len of bulks / Σ gap between their packets; null where that is 0",
            ),
        ):
            row = kind, unit, "bulk", "feature", f"{text}, {_VIEW[prefix]}", formula
            columns.append(Column(prefix + name, *row))
    definition = "parts of the record that gaps above 1 s separate, both directions"
    formula = "1 + number of gaps > 1 s within the record"
    return [*columns, Column("subflows", "int64", "", "bulk", "feature", definition, formula)]


def _payload(config: MeterConfig) -> list[Column]:
    columns = []
    head = "the first 512 bytes of the stream up to a missing one"
    for prefix in DIRECTIONS[1:]:
        for name, unit, text, formula in (
            (
                *("payload_entropy", "bits/byte", "entropy of the first payload"),
                f"−Σ p·log2(p), p the share of each byte value in {head}; null where none",
            ),
            (
                *("payload_printable", "", "share of printable ASCII and white space in the first payload"),
                f"share of the bytes 9–13 and 32–126 in {head}; null where none",
            ),
        ):
            row = "float64", unit, "payload", "feature", f"{text}, {_VIEW[prefix]}", formula
            columns.append(Column(prefix + name, *row))
        if config.payload_head and config.anonymize is None:
            most = config.payload_head
            name, definition = f"{prefix}payload_head", f"first payload, {_VIEW[prefix]}"
            formula = f"the first {most} bytes of the stream up to a missing one; null where none"
            columns.append(Column(name, "binary", "", "payload", "id", definition, formula))
    return columns


def _distribution(config: MeterConfig) -> list[Column]:
    return [column for prefix in DIRECTIONS for series in _SERIES for column in _shape(prefix, *series)]


_SERIES = (("ip_len", "ip_len", "n", "bytes", "IP length"), ("iat", "gap", "m", "s", "inter-arrival time"))


def _shape(prefix: str, series: str, x: str, n: str, unit: str, text: str) -> Iterable[Column]:
    """Quantiles and shape of a series `x` of `n` values in a view."""
    suffix, view = "_s" if unit == "s" else "", _VIEW[prefix]
    for percent in QUANTILES:
        rank = f"⌈{n}·{percent}/100⌉-th smallest {x}"
        formula = f"{rank}; within 2 % of it in records of more than 16 packets; null where {n} = 0"
        definition = f"{percent} % quantile of the {text}, {view}"
        name = f"{prefix}{series}_p{percent}{suffix}"
        yield Column(name, "float64", unit, "distribution", "feature", definition, formula)
    for name, words, formula in (
        ("skewness", "skewness", "m₃ / m₂^1.5"),
        ("kurtosis", "excess kurtosis", "m₄ / m₂² − 3"),
    ):
        moments = f"{formula}, mₖ = Σ({x} − mean)ᵏ / {n}; null where {n} = 0 or m₂ = 0"
        row = "distribution", "feature", f"{words} of the {text}, {view}", moments
        yield Column(f"{prefix}{series}_{name}", "float64", "", *row)


def _raw(config: MeterConfig) -> list[Column]:
    most, size = config.raw_packets, config.raw_bytes
    formula = f"min({size}, ip_len, captured bytes) of each of the first {most} packets"
    definition = "bytes kept of the first packets"
    columns = [Column("raw_len", "list<uint16>", "bytes", "raw", "feature", definition, formula, most)]
    if config.anonymize is None:
        masked = ", without what tells its ends" if config.raw_masked else ""
        definition = f"first bytes of the first packets, from the IP header{masked}"
        formula = f"{size} bytes of each packet of raw_len, 0 behind those there are"
        formula += "; addresses, ports, checksums, IP options are 0" if config.raw_masked else ""
        role = "feature" if config.raw_masked else "id"
        columns.append(Column("raw_bytes", "binary", "", "raw", role, definition, formula, size))
    return columns


def _process(config: MeterConfig) -> list[Column]:
    label = "of the record's label"
    null = "null where it has none, or none that says so"
    rows = (
        ("process", "category", "", "command or package that sent the packets", f"{label}; {null}"),
        ("pid", "uint32", "", "process id", f"{label}; {null}"),
        ("uid", "uint32", "", "user id", f"{label}; {null}"),
        ("sample", "category", "", "sample id of pcapML, hash key of a rule", f"{label}; {null}"),
        ("label_by", "category", "", _LABELS[LABEL_BY].definition, _LABELS[LABEL_BY].formula),
        (
            *("label_conflicts", "int64", "packets", "packets that say something else"),
            "number of packets with another label than the record's, which is that of the part before, else of the "
            "first packet with one; the first of a rule takes the place of one that is no rule's",
        ),
    )
    return [Column(name, kind, unit, "process", "label", text, formula) for name, kind, unit, text, formula in rows]


def _where() -> Iterable[Column]:
    link = "or of a packet to ff:ff:ff:ff:ff:ff by {end}_mac"
    for end in ("client", "server"):
        address = f"{end}_ip is"
        rows = (
            (
                "local",
                "bool",
                "feature",
                f"whether the {end} is in a local network",
                f"{address} in a net of local_net",
            ),
            (
                *("multicast", "bool", "feature", f"whether the {end}'s address is one of a group"),
                f"{address} in 224.0.0.0/4 or ff00::/8",
            ),
            (
                *("broadcast", "bool", "feature", f"whether the {end}'s address is everybody's"),
                f"{address} 255.255.255.255, the last address of an IPv4 net of local_net up to /30, "
                f"{link.format(end=end)}",
            ),
            (
                *("asn", "uint32", "id", f"autonomous system of the {end}"),
                f"its number, by the databases of mmdb, for {end}_ip; null where none knows",
            ),
            (
                *("as_org", "category", "id", f"organisation of the {end}'s autonomous system"),
                f"its name, by the databases of mmdb, for {end}_ip; null where none knows",
            ),
            (
                *("country", "category", "id", f"country of the {end}"),
                f"ISO 3166 code, by the databases of mmdb, for {end}_ip; null where none knows",
            ),
        )
        for name, kind, role, definition, formula in rows:
            yield Column(f"{end}_{name}", kind, "", "where", role, definition, formula)


def _names(config: MeterConfig) -> list[Column]:
    return [
        Column(name, kind, unit, "names", role, text, formula, MOST_TLS_RECORDS if kind.startswith("list") else 0)
        for name, kind, unit, role, text, formula in NAMES
        if config.anonymize is None or name not in LEFT_OUT
    ]


_FIELD = "field {name} of the label template, null where the path does not match it; without one, of the label inside"
_LABELS = {
    name: Column(name, "category", "", "core", "label", text, before + _FIELD.format(name=name))
    for name, text, before in (
        ("app", "application", "with group process what packets or rules say; else "),
        ("action", "what the application was doing", ""),
    )
} | {
    BACKGROUND: Column(
        BACKGROUND,
        "category",
        "",
        "core",
        "label",
        "why the flow may not be of the action",
        "open: the flow was there before the take; baseline: its server was met by the idle client; both as the "
        "capture lists them, else null",
    ),
    LABEL_BY: Column(
        LABEL_BY,
        "category",
        "",
        "core",
        "label",
        "who says what the flow is",
        "table, rule, pcapdroid, ptcpdump, pktap, process_block, pcapml, inside (the capture) or name (of the file): "
        "who gave app, else who gave the rest; null without any",
    ),
}


def label_column(name: str) -> Column:
    """The column of a label: `app`, `action` or any other field that a template names."""
    formula = _FIELD.format(name=name)
    return _LABELS.get(name) or Column(name, "category", "", "core", "label", "a label of its own", formula)


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
    "process": _process,
    "where": lambda config: _where(),
    "names": _names,
}


def zero_for_null(formula: str) -> str:
    """The formula of a column that has 0 where the one with this formula has null."""
    return formula.replace("null where", "0 where")


def _of_peers(group: str, unit: str, time: str) -> Iterable[Column]:
    """What the schemas of another tool are made of: times in its unit, gaps within the record, frame and header
    lengths."""
    for prefix in DIRECTIONS:
        first = f"{time} of the first packet; 0 where n = 0", "" if prefix else f"{SIMILAR}start"
        last = f"max {time}; 0 where n = 0", "" if prefix else f"{SIMILAR}end"
        rows = [("first", unit, "time of the first packet", *first), ("last", unit, "time of the last packet", *last)]
        where = f", gaps of {time} within the record"
        for statistic in _STATISTICS:
            name, words = statistic.name, statistic.words
            gap = statistic.of("gap", "m", where), f"{SIMILAR}{prefix}iat_{name}_s"
            rows.append((f"gap_{name}", unit, f"{words} gap between packets", *gap))
            rows.append((f"frame_{name}", "bytes", f"{words} frame length", statistic.of("frame_len", "n"), ""))
        rows.append(("gap_total", unit, "sum of the gaps between packets", f"Σ gap{where}; 0 where m = 0", ""))
        if prefix:
            rows.append(("header_bytes", "bytes", "bytes of transport headers", "Σ header_len", ""))
            header = "smallest transport header", "min header_len; 0 where n = 0", ""
            rows.append(("header_min", "bytes", *header))
        for name, measure, text, formula, native in rows:
            kind = "float64" if name.endswith(("mean", "std")) else "int64"
            row = kind, measure, group, "feature", f"{text}, {_VIEW[prefix]}", zero_for_null(formula)
            yield Column(f"{prefix}{group}_{name}", *row, native=native)


_STREAM = "highest sequence number sent or acknowledged − initial one, without SYN and FIN; null without a TCP segment"
_NUMBER = "number of the record in the table, from 0"
_OPENER = "0 where the client sent the record's first packet, 1 the server"
_TAIL = "Σ gap of the segments after both ends had closed their streams, in whole 4 ns; null without a TCP segment"
EXTRA_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("record", "int64", "", "core", "id", "number of the record", _NUMBER),
        Column("opener", "uint8", "", "core", "id", "end that sent the record's first packet", _OPENER),
        *(
            Column(
                f"{prefix}stream_bytes",
                *("int64", "bytes", "tcp", "feature", f"payload by sequence numbers, {_VIEW[prefix]}", _STREAM),
            )
            for prefix in DIRECTIONS[1:]
        ),
        Column("closed_tail_s", "float64", "s", "tcp", "feature", "time after both ends had closed", _TAIL),
        Column(
            "splt_frame_len",
            *("list<uint32>", "bytes", "splt", "feature", "frame length of the first packets"),
            "of each, in order: frame_len",
        ),
        Column(
            "splt_gap_ms",
            *("list<int64>", "ms", "splt", "feature", "inter-arrival time of the first packets"),
            "of each, in order: max(0, ⌊time⌋ − ⌊latest time before in the list⌋), ⌊⌋ whole ms; 0 for the first",
            native=f"{SIMILAR}splt_iat_s",
        ),
        *_of_peers("nfstream", "ms", "⌊clock⌋ (whole ms)"),
        *_of_peers("cic", "ns", "time"),
    )
}
"""What schemas of other tools need, and no native table shows."""


ALL_GROUPS = MeterConfig(features=GROUPS)
"""Every group with its default options."""


def native_columns(config: MeterConfig = ALL_GROUPS, labels: Iterable[str] = ()) -> tuple[Column, ...]:
    """All columns, in order, of a native table with the groups of `config` and these label fields."""
    labelled = label_columns(labels)
    names = {column.name for column in labelled}  # label_by is also in group `process`
    chosen = (column for group in GROUPS[1:] if group in config.features for column in _COLUMNS[group](config))
    rest = (column for column in chosen if column.name not in names)
    hidden = config.anonymize is not None
    custom = (column for feature in config.custom for column in custom_columns(feature, hidden))
    return (*_COLUMNS["core"](config), *labelled, *rest, *custom)


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
            f"computed by the function {feature.name}",
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
    """The Arrow schema of these columns; each field has unit, group, role, definition and formula of its column as
    metadata."""
    return _arrow_schema(tuple(columns))


@functools.lru_cache(maxsize=64)
def _arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(column.name, arrow_type(column.type), metadata=_metadata(column)) for column in columns])


def _metadata(column: Column) -> dict[str, str]:
    fields = ("unit", "group", "role", "definition", "formula")
    values = {name: str(getattr(column, name)) for name in fields}
    return (
        values
        | ({"length": str(column.length)} if column.length else {})
        | ({"native": column.native} if column.native else {})
    )
