"""Schema `zeek`: the columns of Zeek's conn.log, as of Zeek 8 (scripts/base/protocols/conn/main.zeek)."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowgauge.config import MeterConfig
from flowgauge.schema import ALL_GROUPS, Column
from flowgauge.schemas._batch import numbers as _numbers
from flowgauge.schemas._batch import of_native, similar, with_custom

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FEATURES = ("core", "tcp")
EXTRAS = ("opener", "up_stream_bytes", "down_stream_bytes", "closed_tail_s")

_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_ICMP_HEADER = 8
_NANO = 1e9

_SAME = {
    "id.orig_h": "client_ip",
    "id.resp_h": "server_ip",
    "orig_pkts": "up_packets",
    "orig_ip_bytes": "up_ip_bytes",
    "resp_pkts": "down_packets",
    "resp_ip_bytes": "down_ip_bytes",
    "ip_proto": "protocol",
}
"""Columns that are native ones under another name."""
_SIMILAR = {
    "ts": "start",
    "id.orig_p": "client_port",
    "id.resp_p": "server_port",
    "proto": "protocol",
    "duration": "duration_s",
    "orig_bytes": "up_payload_bytes",
    "resp_bytes": "down_payload_bytes",
    "conn_state": "tcp_state",
    "local_orig": "client_local",
    "local_resp": "server_local",
    "history": "tcp_history",
}
"""Columns that mean the same as native ones, in other words or with other details."""


_BYTES = (
    "TCP: highest sequence number sent or acknowledged − initial one, without SYN and FIN, in later parts "
    "Σ payload_len; UDP: Σ payload_len; ICMP: max(0, Σ payload_len − 8·n); else 0; null where duration is"
)
_HASH = "C and 17 digits to the base 62 of a 128-bit hash of flow_id, start and part"
_KIND = "TCP, UDP: {end}_port; ICMP: type of the record's first packet, {how}; else 0"
_ANSWER = "its counterpart or code where the {end} did not send that"
_ALL_BUT_TAIL = "end − start, TCP less the time after both ends had closed; null where that is 0"
_PRIVATE = (
    "whether {end}_ip is in a special-purpose block of IANA (RFC 6890), as Site::private_address_space has them; with "
    "group where in a net of local_net"
)
_ROWS: tuple[tuple[str, ...], ...] = (
    ("ts", "time", "float64", "s", "id", "time of the connection", "start, seconds since 1970-01-01 UTC"),
    ("uid", "string", "string", "", "id", "name of the connection, the same in every run", _HASH),
    ("id.orig_h", "addr", "string", "", "id", "address of the originator (client)"),
    (
        *("id.orig_p", "port", "uint16", "", "id", "port of the originator, or ICMP type"),
        _KIND.format(end="client", how=_ANSWER.format(end="client")),
    ),
    ("id.resp_h", "addr", "string", "", "id", "address of the responder (server)"),
    (
        *("id.resp_p", "port", "uint16", "", "id", "port of the responder, or the ICMP type's counterpart"),
        _KIND.format(end="server", how=_ANSWER.format(end="server")),
    ),
    (
        *("proto", "enum", "category", "", "feature", "transport protocol"),
        "tcp, udp, icmp (ICMPv6 too) or unknown_transport, of protocol",
    ),
    ("service", "string", "string", "", "feature", "application protocol", "always null: payload is not analysed"),
    ("duration", "interval", "float64", "s", "feature", "time until both ends had closed", _ALL_BUT_TAIL),
    ("orig_bytes", "count", "int64", "bytes", "feature", "payload of the originator", _BYTES),
    ("resp_bytes", "count", "int64", "bytes", "feature", "payload of the responder", _BYTES),
    (
        *("conn_state", "string", "category", "", "feature", "what the connection did"),
        "TCP: tcp_state; UDP: SF where both ends sent, S0 where the originator alone did, SHR the responder; else OTH",
    ),
    (
        *("local_orig", "bool", "bool", "", "feature", "whether the originator is local"),
        _PRIVATE.format(end="client"),
    ),
    (
        *("local_resp", "bool", "bool", "", "feature", "whether the responder is local"),
        _PRIVATE.format(end="server"),
    ),
    (
        *("missed_bytes", "count", "int64", "bytes", "feature", "payload that the capture lacks"),
        "up_gap_bytes + down_gap_bytes where the history has a g or G, else 0",
    ),
    (
        *("history", "string", "string", "", "feature", "letters of what was seen"),
        "TCP: tcp_history; UDP: D and d of the ends that sent, behind ^ where the responder was first; null without",
    ),
    ("orig_pkts", "count", "int64", "packets", "feature", "packets of the originator"),
    ("orig_ip_bytes", "count", "int64", "bytes", "feature", "IP bytes of the originator"),
    ("resp_pkts", "count", "int64", "packets", "feature", "packets of the responder"),
    ("resp_ip_bytes", "count", "int64", "bytes", "feature", "IP bytes of the responder"),
    (
        *("tunnel_parents", "set[string]", "string", "", "id", "flows around this one"),
        "always null: flows around tunnels are not metered with them",
    ),
    ("ip_proto", "count", "uint8", "", "feature", "protocol number"),
)
ZEEK_TYPES = {name: zeek for name, zeek, *_ in _ROWS}
"""Zeek's type of each column, for the header of its logs."""


def _column(name: str, _zeek: str, kind: str, unit: str, role: str, definition: str, formula: str = "") -> Column:
    if name in _SAME:
        same = of_native(_SAME[name])
        formula, native = same.formula, same.native
    else:
        native = similar(_SIMILAR[name]).native if name in _SIMILAR else ""
    return Column(name, kind, unit, "zeek", role, definition, formula, native=native)


_COLUMNS = tuple(_column(*row) for row in _ROWS)
# The special-purpose registries of IANA (RFC 6890), as Zeek's Site::private_address_space has them.
_LOCAL = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/24", "239.0.0.0/8", "240.0.0.0/4", "255.255.255.255/32"),
    *("::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:2::/48", "2001:db8::/32"),
    *("fc00::/7", "fe80::/10", "fec0::/10"),
)


def columns(labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
    """The columns of conn.log, whatever the labels and features are."""
    return _COLUMNS


def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
    """All records of a native batch that has the columns EXTRAS too."""
    import numpy as np
    import pyarrow as pa

    from flowgauge.schema import arrow_schema

    protocol = _numbers(batch, "protocol")
    tcp, udp, icmp = protocol == _TCP, protocol == _UDP, (protocol == _ICMP) | (protocol == _ICMPV6)
    seconds = _numbers(batch, "duration_s") - np.where(tcp, _numbers(batch, "closed_tail_s"), 0.0)
    instant = seconds <= 0
    counts = [_numbers(batch, name) for name in ("up_packets", "down_packets")]
    ports = _ports(batch, icmp, protocol)
    arrays: dict[str, Any] = {
        **{name: batch[native] for name, native in _SAME.items()},
        "ts": _start(batch) / _NANO,
        "uid": _uids(batch),
        "id.orig_p": ports[0].astype(np.uint16),
        "id.resp_p": ports[1].astype(np.uint16),
        "proto": _category(np.select([tcp, udp, icmp], [0, 1, 2], 3), ("tcp", "udp", "icmp", "unknown_transport")),
        "service": pa.nulls(len(batch), pa.string()),
        "duration": pa.array(seconds, pa.float64(), mask=instant),
        "conn_state": _states(batch, udp, counts),
        "local_orig": _local(batch, "client"),
        "local_resp": _local(batch, "server"),
        "missed_bytes": _missed(batch),
        "history": _histories(batch, udp, counts),
        "tunnel_parents": pa.nulls(len(batch), pa.string()),
    }
    for side, view, packets in (("orig", "up", counts[0]), ("resp", "down", counts[1])):
        payload = _numbers(batch, f"{view}_payload_bytes")
        by_numbers = tcp & (_numbers(batch, "part") == 0)
        sizes = np.select(
            [by_numbers, tcp | udp, icmp],
            [_numbers(batch, f"{view}_stream_bytes"), payload, np.maximum(payload - _ICMP_HEADER * packets, 0)],
            0,
        )
        arrays[f"{side}_bytes"] = pa.array(sizes.astype(np.int64), mask=instant)
    schema = arrow_schema(_COLUMNS)
    made = [_array(arrays[field.name], field.type) for field in schema]
    return with_custom(pa.RecordBatch.from_arrays(made, schema=schema), batch)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _start(batch: pa.RecordBatch) -> NDArray[np.int64]:
    import pyarrow as pa

    found: NDArray[np.int64] = batch["start"].cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _category(codes: NDArray[Any], texts: tuple[str, ...], null: NDArray[np.bool_] | None = None) -> pa.Array:
    from flowgauge.arrays import category_array, text_array

    return category_array(codes, text_array(texts), null)


def _ports(batch: pa.RecordBatch, icmp: NDArray[np.bool_], protocol: NDArray[Any]) -> list[NDArray[Any]]:
    """Ports of client and server; for ICMP type and counterpart (or code), those of the sender first."""
    import numpy as np

    from flowgauge.kernels.header import ICMP_COUNTERPART, NO_COUNTERPART

    kind = _numbers(batch, "icmp_type").astype(np.int64)
    counterpart = ICMP_COUNTERPART[(protocol == _ICMPV6).astype(np.int64), kind]
    answer = np.where(counterpart == NO_COUNTERPART, _numbers(batch, "icmp_code"), counterpart)
    server_first = _numbers(batch, "opener") == 1
    pair = np.where(server_first, answer, kind), np.where(server_first, kind, answer)
    known = (protocol == _TCP) | (protocol == _UDP)
    return [
        np.select([icmp, known], [own, _numbers(batch, f"{end}_port")], 0) for own, end in zip(pair, _ENDS, strict=True)
    ]


_ENDS = ("client", "server")


def _states(batch: pa.RecordBatch, udp: NDArray[np.bool_], counts: list[NDArray[Any]]) -> pa.Array:
    """TCP as it is; UDP by which ends have sent; else OTH."""
    import numpy as np
    import pyarrow.compute as pc

    from flowgauge.kernels.connection import OTH, S0, SF, SHR, TCP_STATES

    given = batch["tcp_state"]
    places = pc.fill_null(pc.index_in(given.dictionary, value_set=_strings(TCP_STATES)), OTH)
    of_tcp = np.append(places.to_numpy(zero_copy_only=False), OTH)
    codes = of_tcp[pc.fill_null(given.indices, 0).to_numpy(zero_copy_only=False)]
    sent = counts[0] > 0, counts[1] > 0
    of_udp = np.where(sent[0], np.where(sent[1], SF, S0), SHR)
    known = given.is_valid().to_numpy(zero_copy_only=False)
    return _category(np.select([udp, known], [of_udp, codes], OTH), TCP_STATES)


def _strings(texts: tuple[str, ...]) -> pa.Array:
    from flowgauge.arrays import text_array

    return text_array(texts)


def _histories(batch: pa.RecordBatch, udp: NDArray[np.bool_], counts: list[NDArray[Any]]) -> pa.Array:
    """TCP as it is; UDP has D and d, in the order of their senders."""
    import numpy as np
    import pyarrow.compute as pc

    server_first = _numbers(batch, "opener") == 1
    place = np.where(server_first, 2, 0) + ((counts[0] > 0) & (counts[1] > 0))
    of_udp = _category(place, ("D", "Dd", "^d", "^dD"), ~udp).cast(batch["tcp_history"].type)
    given = batch["tcp_history"]
    return pc.if_else(udp, of_udp, pc.if_else(pc.equal(given, ""), None, given))


def _missed(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Gaps count where they are letters: in established connections."""
    import numpy as np
    import pyarrow.compute as pc

    gaps = _numbers(batch, "up_gap_bytes") + _numbers(batch, "down_gap_bytes")
    shown = pc.fill_null(pc.match_substring(batch["tcp_history"], "g", ignore_case=True), False)
    return np.where(shown.to_numpy(zero_copy_only=False), gaps, 0).astype(np.int64)


def _local(batch: pa.RecordBatch, end: str) -> pa.Array:
    """As group `where` has it where that is on."""
    known = f"{end}_local"
    return batch[known] if known in batch.schema.names else _is_local(batch[f"{end}_ip"])


def _is_local(addresses: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = addresses.dictionary_encode()
    local = pa.array([_in_local(ipaddress.ip_address(text)) for text in encoded.dictionary.to_pylist()], pa.bool_())
    return pc.take(local, encoded.indices)


@functools.cache
def _local_networks() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, _LOCAL))


def _in_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(address in network for network in _local_networks() if network.version == address.version)


_DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _uids(batch: pa.RecordBatch) -> pa.Array:
    """C and 17 digits to the base 62 of a 128-bit hash of what makes a record its own: the same in every run."""
    import numpy as np
    import pyarrow as pa

    with np.errstate(over="ignore"):
        flow = _numbers(batch, "flow_id").astype(np.uint64)
        start = _start(batch).astype(np.uint64)
        part = _numbers(batch, "part").astype(np.uint64)
        first = _mixed(_mixed(flow) ^ start)
        words = first, _mixed(first ^ part + np.uint64(1))
    text = np.full((len(batch), 18), ord("C"), np.uint8)
    digits = np.frombuffer(_DIGITS, np.uint8)
    for place in range(17):
        word = words[place % 2]
        text[:, 1 + place] = digits[word % np.uint64(62)]
        words = (word // np.uint64(62), words[1]) if place % 2 == 0 else (words[0], word // np.uint64(62))
    offsets = np.arange(0, 18 * len(batch) + 1, 18, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(batch), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    import numpy as np

    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed
