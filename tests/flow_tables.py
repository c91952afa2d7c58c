"""Generated native flow tables of any length, quickly: for tests of the report and its benchmark."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from flowgauge.config import DEFAULT_FEATURES, make_config
from flowgauge.schema import arrow_schema, native_columns

BEGIN = 1_700_000_000 * 10**9
APPS, ACTIONS, FILES = 24, 3, 60
_SERVICES = ["https", "quic", "dns", "http", "ssh", "rtp"]
_STATES = ["SF", "S0", "RSTO", "S1", "OTH", "REJ"]
_FEW = ["one", "two", "three", None]


def generated(
    rows: int, seed: int = 0, features: Iterable[str] = DEFAULT_FEATURES, labelled: bool = True, hours: float = 2
) -> pa.Table:
    """Flows of a day of several apps, with the columns of these groups; heavy tails, nulls, dictionaries."""
    rng = np.random.default_rng(seed)
    schema = arrow_schema(native_columns(make_config(features=[*features])))
    made = _core(rows, rng, labelled, hours)
    made |= _tcp(rows, rng, made["protocol"] == 6)
    if "splt_direction" in schema.names:
        made |= _splt(rows, rng, made["packets"], made["_app"])
    arrays = [_array(made.get(field.name), field, rows, rng) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _core(rows: int, rng: np.random.Generator, labelled: bool, hours: float) -> dict[str, object]:
    app = np.minimum(rng.zipf(1.4, rows) - 1, APPS - 1)
    action = rng.integers(0, ACTIONS, rows)
    protocol = rng.choice(np.array([6, 17, 1], np.uint8), rows, p=[0.7, 0.28, 0.02])
    packets = np.maximum(rng.pareto(1.1, rows) * (2 + app), 1).astype(np.int64) % 1_000_000 + 1
    up = rng.binomial(packets, 0.4)
    size = packets * rng.integers(60, 1400, rows)
    up_size = (size * (up / packets)).astype(np.int64)
    payload = np.maximum(size - 54 * packets, 0)
    start = BEGIN + (rng.random(rows) * hours * 3600e9).astype(np.int64)
    lasts = np.where(packets > 1, rng.lognormal(15 + 0.3 * app, 2.5, rows), 0).astype(np.int64) % (30 * 60 * 10**9)
    names = pa.array([f"host{number}.example" for number in range(5000)])
    service = np.where(rng.random(rows) < 0.1, -1, (app + (protocol == 17)) % len(_SERVICES))
    label = np.where(rng.random(rows) < 0.02, -1, app) if labelled else np.full(rows, -1)
    return {
        "_app": app,
        "flow_id": np.arange(rows) << 10,
        "part": (rng.random(rows) < 0.01).astype(np.int32),
        "start": start,
        "end": start + lasts,
        "duration_s": lasts / 1e9,
        "client_ip": _texts([f"10.0.{number // 250}.{number % 250}" for number in range(200)], rng, rows),
        "server_ip": _texts([f"203.0.{number // 250}.{number % 250}" for number in range(20_000)], rng, rows),
        "client_port": rng.integers(1024, 65536, rows),
        "server_port": np.where(protocol == 1, 0, np.array([443, 53, 80, 22, 8080])[app % 5]),
        "protocol": protocol,
        "ip_version": np.full(rows, 4),
        "packets": packets,
        "up_packets": up,
        "down_packets": packets - up,
        **dict.fromkeys(("frame_bytes", "ip_bytes"), size),
        **dict.fromkeys(("up_frame_bytes", "up_ip_bytes"), up_size),
        **dict.fromkeys(("down_frame_bytes", "down_ip_bytes"), size - up_size),
        "payload_bytes": payload,
        "clock_back": (rng.random(rows) < 0.001).astype(np.int64),
        "client_by": _category(rng.choice([0, 0, 0, 1, 2], rows), ["syn", "port", "first"]),
        "end_reason": _category(rng.integers(0, 4, rows), ["fin", "rst", "idle", "eof"]),
        "source": _category(rng.integers(0, FILES, rows), [f"capture_{number:02}.pcap" for number in range(FILES)]),
        "app": _category(label, [f"app{number:02}" for number in range(APPS)]),
        "action": _category(np.where(label < 0, -1, action), [f"act{number}" for number in range(ACTIONS)]),
        "service": _category(service, _SERVICES),
        "server_name": _category(np.minimum(rng.zipf(1.2, rows), 5000) - 1, names),
        "ip_len_mean": size / packets,
        "iat_mean_s": np.where(packets > 1, lasts / 1e9 / np.maximum(packets - 1, 1), np.nan),
    }


def _tcp(rows: int, rng: np.random.Generator, tcp: np.ndarray) -> dict[str, object]:
    shown = tcp & (rng.random(rows) < 0.9)
    states = _category(np.where(tcp, rng.integers(0, len(_STATES), rows), -1), _STATES)
    columns: dict[str, object] = {"tcp_state": states}
    for name in ("handshake_syn_rtt_s", "handshake_ack_rtt_s"):
        columns[name] = np.where(shown, rng.lognormal(-4, 1, rows), np.nan)
    for name in ("retransmitted_packets", "retransmitted_bytes", "out_of_order_packets", "gap_bytes"):
        for direction in ("up", "down"):
            columns[f"{direction}_{name}"] = pa.array(rng.poisson(0.05, rows), pa.int64(), mask=~tcp)
    return columns


def _splt(rows: int, rng: np.random.Generator, packets: np.ndarray, app: np.ndarray) -> dict[str, object]:
    counts = np.minimum(packets, 20)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    which = np.repeat(app, counts)
    direction = ((places + which) % 3 > 0).astype(np.uint8)
    length = (40 + (places * 97 + which * 211) % 1400 + rng.integers(0, 20, len(places))).astype(np.uint32)
    columns = {"splt_direction": direction, "splt_ip_len": length, "splt_payload_len": length - 40}
    return {name: pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)) for name, values in columns.items()}


def _texts(values: list[str], rng: np.random.Generator, rows: int) -> pa.Array:
    return pa.array(values).take(pa.array(np.minimum(rng.zipf(1.3, rows), len(values)) - 1))


def _category(codes: np.ndarray, values: Iterable[str]) -> pa.DictionaryArray:
    indices = pa.array(np.asarray(codes, np.int32), mask=np.asarray(codes) < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))


def _array(values: object, field: pa.Field, rows: int, rng: np.random.Generator) -> pa.Array:
    """The values that were made, or some of the field's type, with nulls among them."""
    kind = field.type
    if isinstance(values, pa.Array):
        return values if values.type == kind else values.cast(kind)
    if values is not None:
        return pa.array(values, kind, from_pandas=True)
    null = rng.random(rows) < 0.1
    if pa.types.is_list(kind):
        return pa.array([None] * rows, kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 3, rows), pa.int32(), mask=null), _FEW[:3])
    if pa.types.is_string(kind):
        return pa.array(_FEW, pa.string()).take(pa.array(rng.integers(0, 4, rows)))
    if pa.types.is_boolean(kind):
        return pa.array(null, kind)
    if pa.types.is_timestamp(kind):
        return pa.array(np.full(rows, BEGIN), kind)
    values = rng.random(rows) if pa.types.is_floating(kind) else rng.integers(0, 200, rows)
    return pa.array(values, pa.float64() if pa.types.is_floating(kind) else pa.int64(), mask=null).cast(kind)


SOUND: dict[str, object] = {
    **{"flow_id": 0, "part": 0, "start": BEGIN, "end": BEGIN + 10**9, "duration_s": 1.0, "client_ip": "10.0.0.1"},
    **{"server_ip": "203.0.113.1", "client_port": 40_000, "server_port": 443, "protocol": 6, "ip_version": 4},
    **{"packets": 10, "up_packets": 4, "down_packets": 6, "frame_bytes": 5000, "up_frame_bytes": 1000},
    **{"down_frame_bytes": 4000, "ip_bytes": 4860, "payload_bytes": 4400, "up_payload_bytes": 800},
    **{"down_payload_bytes": 3600, "clock_back": 0, "fragments": 0, "client_by": "syn", "end_reason": "fin"},
    **{"source": "one.pcap", "app": "mail", "action": "read", "tcp_state": "SF", "up_gap_bytes": 0},
    **{"down_gap_bytes": 0, "up_retransmitted_packets": 0, "down_retransmitted_packets": 0},
    **{"ip_len_mean": 486.0, "iat_mean_s": 0.1, "handshake_syn_rtt_s": 0.02, "handshake_ack_rtt_s": 0.001},
    **{"splt_direction": [0, 1, 0, 1], "splt_ip_len": [60, 60, 517, 1500]},
}
"""A flow that nothing is wrong with."""


def flows_of(*changes: dict[str, object], features: Iterable[str] = (*DEFAULT_FEATURES, "splt")) -> pa.Table:
    """One sound flow for each of the changes, with these; columns that are not named are null."""
    schema = arrow_schema(native_columns(make_config(features=[*features])))
    rows = [{**SOUND, **change} for change in changes]
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
