"""Rows of every type that a flow record can have, for databases."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa

CATEGORY = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("source", CATEGORY),
        ("flow_id", pa.int64()),
        ("part", pa.int32()),
        ("start", pa.timestamp("ns", "UTC")),
        ("end", pa.timestamp("ns", "UTC")),
        ("client_ip", pa.string()),
        ("client_port", pa.uint16()),
        ("protocol", pa.uint8()),
        ("init_window", pa.uint32()),
        ("large", pa.uint64()),
        ("duration_s", pa.float64()),
        ("share", pa.float32()),
        ("sack", pa.bool_()),
        ("small", pa.int8()),
        ("head", pa.binary()),
        ("splt", pa.list_(pa.uint32())),
        ("app", CATEGORY),
    ]
)
START = 1_700_000_000_123_456_789


def table(numbers: range, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Rows of these numbers; every third has nothing but what names it."""
    return pa.Table.from_pylist([_row(number) for number in numbers], SCHEMA).select(schema.names)


def _row(number: int) -> dict[str, Any]:
    key = {"source": "a'b.pcap", "flow_id": number, "part": number % 2, "start": START + number * 1000}
    if number % 3 == 2:
        return key
    return key | {
        "end": START + 2_000_000_000,
        "client_ip": f"10.0.0.{number % 256}",
        "client_port": 65_535,
        "protocol": 255,
        "init_window": 2**32 - 1,
        "large": 2**64 - 1,
        "duration_s": 0.1 + number,
        "share": 0.25,
        "sack": number % 2 == 0,
        "small": -128,
        "head": b"\0\xff",
        "splt": [1, 2**32 - 1],
        "app": "chät",
    }


def time_of(number: int) -> datetime.datetime:
    """The start of a row in microseconds."""
    micro = (START + number * 1000) // 1000
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=micro)
