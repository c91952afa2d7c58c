"""Schema `basic`: the eleven classic columns of labelled flows, and the protocol. TCP and UDP only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowgauge.config import MeterConfig
from flowgauge.schema import ALL_GROUPS, Column
from flowgauge.schemas._batch import of_native, similar, with_custom

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES = ("core",)
_PROTOCOLS = {6: "TCP", 17: "UDP"}
_NANOSECONDS = 1_000_000_000

_SAME = {
    "ClientIP": "client_ip",
    "ClientPort": "client_port",
    "ServerIP": "server_ip",
    "ServerPort": "server_port",
    "AppName": "app",
    "AppAction": "action",
    "FlowPackets": "packets",
    "FlowBytes": "frame_bytes",
}
"""Columns that are native ones under another name."""

_MADE = {
    "StartTime": ("⌊start⌋, whole seconds since 1970-01-01 UTC", similar("start").native),
    "DurationTime": ("⌊end − start⌋, whole seconds", similar("duration_s").native),
    "PacketsBytesAvg": ("FlowBytes / FlowPackets", ""),
    "Protocol": ("TCP where protocol is 6, UDP where it is 17; other records are left out", similar("protocol").native),
}
"""Formulas of the others, and the native columns that they are."""


def _column(name: str, kind: str, unit: str, role: str, definition: str) -> Column:
    if name in _SAME:
        same = of_native(_SAME[name])
        formula, native = same.formula, same.native
    else:
        formula, native = _MADE[name]
    return Column(name, kind, unit, "basic", role, definition, formula, native=native)


_COLUMNS = tuple(
    _column(*row)
    for row in (
        ("StartTime", "int64", "s", "id", "earliest packet time"),
        ("DurationTime", "int64", "s", "feature", "time from the earliest to the latest packet"),
        ("ClientIP", "string", "", "id", "address of the client"),
        ("ClientPort", "uint16", "", "id", "port of the client"),
        ("ServerIP", "string", "", "id", "address of the server"),
        ("ServerPort", "uint16", "", "id", "port of the server"),
        ("AppName", "category", "", "label", "application, from the file's path"),
        ("AppAction", "category", "", "label", "what the application was doing, from the file's path"),
        ("FlowPackets", "int64", "packets", "feature", "number of packets, both directions"),
        ("FlowBytes", "int64", "bytes", "feature", "bytes of frames on the wire, both directions"),
        ("PacketsBytesAvg", "float64", "bytes", "feature", "mean frame length"),
        ("Protocol", "category", "", "feature", "transport protocol"),
    )
)


def columns(labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
    """The twelve columns, whatever the labels and features are."""
    return _COLUMNS


def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The TCP and UDP records of a native batch."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from flowgauge.schema import arrow_schema

    schema = arrow_schema(_COLUMNS)
    kept = batch.filter(pc.is_in(batch["protocol"], value_set=pa.array(list(_PROTOCOLS), batch["protocol"].type)))
    start, end = (kept[name].cast(pa.int64()).to_numpy(zero_copy_only=False) for name in ("start", "end"))
    arrays = {name: kept[native] for name, native in _SAME.items()}
    arrays["StartTime"] = pa.array(start // _NANOSECONDS, pa.int64())
    arrays["DurationTime"] = pa.array((end - start) // _NANOSECONDS, pa.int64())
    arrays["PacketsBytesAvg"] = pc.divide(arrays["FlowBytes"].cast(pa.float64()), arrays["FlowPackets"])
    is_udp = pc.equal(kept["protocol"], 17).cast(pa.int32())
    arrays["Protocol"] = pa.DictionaryArray.from_arrays(is_udp, pa.array(_PROTOCOLS.values(), pa.string()))
    made = pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)
    return with_custom(made, kept)
