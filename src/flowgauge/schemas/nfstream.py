"""Schema `nfstream`: the columns of NFStream 6 with `statistical_analysis=True, n_dissections=0` (NFlow.__slots__).

Source is the sender of the record's first packet. What is undefined is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowgauge.config import MeterConfig
from flowgauge.schema import ALL_GROUPS, DIRECTIONS, Column
from flowgauge.schemas._batch import numbers, with_custom

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FEATURES = ("core", "flags", "nfstream")
_VIEWS = ("bidirectional_", "src2dst_", "dst2src_")
_OF_VIEW = {"bidirectional_": "both directions", "src2dst_": "from the source", "dst2src_": "to the source"}
_STATISTICS = ("min", "mean", "stddev", "max")
_FLAGS = ("syn", "cwr", "ece", "urg", "ack", "psh", "rst", "fin")
_NO_MAC = "00:00:00:00:00:00"
_OUI = len("00:00:00")

_TIMES = ("nfstream_first", "nfstream_last")
_SERIES = {
    f"nfstream_{series}_{native}": f"{statistic}_{name}"
    for series, name in (("frame", "ps"), ("gap", "piat_ms"))
    for native, statistic in (("min", "min"), ("mean", "mean"), ("std", "stddev"), ("max", "max"))
}
"""Native columns of a view, and how NFStream calls them behind the view's name."""
SPLT_EXTRAS = ("splt_frame_len", "splt_gap_ms")
EXTRAS = (
    *("opener", "record"),
    *(prefix + name for prefix in DIRECTIONS for name in (*_TIMES, *_SERIES)),
    *SPLT_EXTRAS,
)


def _column(name: str, kind: str, unit: str, role: str, text: str, length: int = 0) -> Column:
    return Column(name, kind, unit, "nfstream", role, text, length)


def _identity() -> list[Column]:
    return [
        _column("id", "int64", "", "id", "number of the record in the table, from 0"),
        _column("expiration_id", "int64", "", "feature", "1 where the active timeout cut the record, else 0"),
        *(
            _column(f"{side}_{name}", kind, "", "id", f"{text} of the {words}")
            for side, words in (("src", "source"), ("dst", "destination"))
            for name, kind, text in (
                ("ip", "string", "address"),
                ("mac", "string", "MAC address, zeros without one,"),
                ("oui", "string", "first three bytes of the MAC address"),
                ("port", "uint16", "port, 0 without one,"),
            )
        ),
        _column("protocol", "uint8", "", "feature", "IP protocol number"),
        _column("ip_version", "uint8", "", "feature", "4 or 6"),
        _column("vlan_id", "int64", "", "id", "VLAN id of the first packet, 0 without one"),
        _column("tunnel_id", "int64", "", "id", "0; 1 where the first packet was in a tunnel"),
    ]


def _counts() -> list[Column]:
    return [
        _column(view + name, "int64", unit, role, f"{text}, {_OF_VIEW[view]}")
        for view in _VIEWS
        for name, unit, role, text in (
            ("first_seen_ms", "ms", "id", "time of the first packet"),
            ("last_seen_ms", "ms", "id", "time of the last packet"),
            ("duration_ms", "ms", "feature", "last_seen_ms − first_seen_ms"),
            ("packets", "packets", "feature", "number of packets"),
            ("bytes", "bytes", "feature", "sum of frame lengths"),
        )
    ]


def _statistics() -> list[Column]:
    rows = []
    for series, unit, text in (("ps", "bytes", "frame length"), ("piat_ms", "ms", "time between packets")):
        for view in _VIEWS:
            for statistic in _STATISTICS:
                kind = "float64" if statistic in ("mean", "stddev") else "int64"
                definition = f"{statistic} of {text}, {_OF_VIEW[view]}; 0 where undefined"
                rows.append(_column(f"{view}{statistic}_{series}", kind, unit, "feature", definition))
    for view in _VIEWS:
        for flag in _FLAGS:
            text = f"TCP packets with {flag.upper()} set, {_OF_VIEW[view]}"
            rows.append(_column(f"{view}{flag}_packets", "int64", "packets", "feature", text))
    return rows


def _splt(length: int) -> list[Column]:
    rows = (
        ("splt_direction", "", "0 from the source, 1 to the source"),
        ("splt_ps", "bytes", "frame length"),
        ("splt_piat_ms", "ms", "time between packets, 0 for the first"),
    )
    return [
        _column(
            name, "list<int64>", unit, "feature", f"{text}, of the first {length} packets; −1 behind the last", length
        )
        for name, unit, text in rows
    ]


def columns(labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
    """The columns in NFStream's order; those of SPLT where the group `splt` is on."""
    return (*_identity(), *_counts(), *_statistics(), *(_splt(config.splt) if "splt" in config.features else ()))


def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
    """All records of a native batch that has the columns EXTRAS too."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from flowgauge.schema import arrow_schema

    swapped = numbers(batch, "opener") == 1  # the server sent first: it is the source
    arrays: dict[str, Any] = {
        "id": numbers(batch, "record"),
        "expiration_id": pc.equal(batch["end_reason"].cast(pa.string()), "active").cast(pa.int64()),
        "protocol": batch["protocol"],
        "ip_version": batch["ip_version"],
        "vlan_id": numbers(batch, "vlan"),
        "tunnel_id": batch["tunnel"].is_valid().cast(pa.int64()),
    }
    for side, ends in (("src", ("client", "server")), ("dst", ("server", "client"))):
        for name in ("ip", "mac", "port"):
            arrays[f"{side}_{name}"] = pc.if_else(swapped, batch[f"{ends[1]}_{name}"], batch[f"{ends[0]}_{name}"])
        arrays[f"{side}_mac"] = pc.fill_null(arrays[f"{side}_mac"], _NO_MAC)
        arrays[f"{side}_oui"] = pc.utf8_slice_codeunits(arrays[f"{side}_mac"], 0, _OUI)
    for view, name in enumerate(_VIEWS):
        first, last = (_of_view(batch, view, column, swapped) for column in _TIMES)
        arrays |= {f"{name}first_seen_ms": first, f"{name}last_seen_ms": last, f"{name}duration_ms": last - first}
        arrays[f"{name}packets"] = _of_view(batch, view, "packets", swapped)
        arrays[f"{name}bytes"] = _of_view(batch, view, "frame_bytes", swapped)
        for native, column in _SERIES.items():
            arrays[name + column] = _of_view(batch, view, native, swapped)
        for flag in _FLAGS:
            arrays[f"{name}{flag}_packets"] = _of_view(batch, view, f"{flag}_packets", swapped)
    length = _add_splt(batch, arrays, swapped)
    columns_made = (*_identity(), *_counts(), *_statistics(), *(_splt(length) if length else ()))
    schema = arrow_schema(columns_made)
    made = [
        values if isinstance(values := arrays[f.name], pa.Array) else pa.array(np.asarray(values), f.type)
        for f in schema
    ]
    return with_custom(pa.RecordBatch.from_arrays(made, schema=schema), batch)


def _of_view(batch: pa.RecordBatch, view: int, name: str, swapped: NDArray[Any]) -> NDArray[Any]:
    """A column of a view: 0 both directions, 1 from the source, 2 to the source."""
    import numpy as np

    if view == 0:
        return numbers(batch, name)
    own, other = (numbers(batch, prefix + name) for prefix in (DIRECTIONS[view], DIRECTIONS[3 - view]))
    chosen: NDArray[Any] = np.where(swapped, other, own)
    return chosen


def _add_splt(batch: pa.RecordBatch, arrays: dict[str, Any], swapped: NDArray[Any]) -> int:
    """The columns of SPLT, where the batch has them; their length, or 0."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from flowgauge.learning import list_places

    if SPLT_EXTRAS[0] not in batch.schema.names:
        return 0
    length = int(batch.schema.field("splt_direction").metadata[b"length"])
    for name, native in zip(
        ("splt_direction", "splt_ps", "splt_piat_ms"), ("splt_direction", *SPLT_EXTRAS), strict=True
    ):
        lists = batch[native]
        rows, places = list_places(lists)
        dense = np.full((len(lists), length), -1, np.int64)
        taken = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        dense[rows, places] = taken ^ swapped[rows] if name == "splt_direction" else taken
        ends = np.arange(0, dense.size + 1, length, dtype=np.int32)
        arrays[name] = pa.ListArray.from_arrays(pa.array(ends), pa.array(dense.reshape(-1)), type=pa.list_(pa.int64()))
    return length
