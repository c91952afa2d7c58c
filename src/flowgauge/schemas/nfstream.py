"""Schema `nfstream`: the columns of NFStream 6 with `statistical_analysis=True, n_dissections=0` (NFlow.__slots__).

Source is the sender of the record's first packet. What is undefined is 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowgauge.config import MeterConfig
from flowgauge.schema import ALL_GROUPS, DIRECTIONS, Column
from flowgauge.schemas._batch import numbers, of_native, similar, with_custom

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

_TIMES = {"first_seen_ms": "nfstream_first", "last_seen_ms": "nfstream_last"}
_SERIES = {
    f"nfstream_{series}_{native}": f"{statistic}_{name}"
    for series, name in (("frame", "ps"), ("gap", "piat_ms"))
    for native, statistic in (("min", "min"), ("mean", "mean"), ("std", "stddev"), ("max", "max"))
}
"""Native columns of a view, and how NFStream calls them behind the view's name."""
SPLT_EXTRAS = ("splt_frame_len", "splt_gap_ms")
EXTRAS = (
    *("opener", "record"),
    *(prefix + name for prefix in DIRECTIONS for name in (*_TIMES.values(), *_SERIES)),
    *SPLT_EXTRAS,
)


_COUNTS = {"packets": "packets", "bytes": "frame_bytes", **{f"{flag}_packets": f"{flag}_packets" for flag in _FLAGS}}
"""Columns of a view that are native ones, and how those are called behind their direction."""
_SAME = {"protocol": "protocol", "ip_version": "ip_version"}
_SPLT = {"splt_direction": "splt_direction", "splt_ps": SPLT_EXTRAS[0], "splt_piat_ms": SPLT_EXTRAS[1]}


def _column(
    name: str, kind: str, unit: str, role: str, text: str, formula: str = "", native: str = "", length: int = 0
) -> Column:
    return Column(name, kind, unit, "nfstream", role, text, formula, length, native)


def _made_of(view: int, native: str) -> tuple[str, str]:
    """Formula and native column of a column of a view. Directions are those of the first sender, not of the client."""
    column = of_native(native) if view == 0 else similar(DIRECTIONS[view] + native)
    return column.formula, column.native


def _identity() -> list[Column]:
    return [
        _column("id", "int64", "", "id", "number of the record", of_native("record").formula),
        _column(
            *("expiration_id", "int64", "", "feature", "whether the active timeout cut the record"),
            "1 where end_reason is active, else 0",
        ),
        *(column for side in (("src", "source", "client"), ("dst", "destination", "server")) for column in _end(*side)),
        *(
            _column(name, "uint8", "", "feature", of_native(native).definition, of_native(native).formula, native)
            for name, native in _SAME.items()
        ),
        _column("vlan_id", "int64", "", "id", "innermost VLAN id", *_similar("vlan")),
        _column("tunnel_id", "int64", "", "id", "whether there was a tunnel", "0 where tunnel is null, else 1"),
    ]


def _similar(native: str) -> tuple[str, str]:
    return similar(native).formula, similar(native).native


def _end(side: str, words: str, end: str) -> Iterable[Column]:
    """What identifies the source or destination."""
    sender = f"of the end that {'sent' if side == 'src' else 'did not send'} the record's first packet"
    for name, kind, text, formula in (
        ("ip", "string", "address", "address"),
        ("mac", "string", "MAC address", f"MAC address, {_NO_MAC} without one,"),
        ("oui", "string", "vendor part of the MAC address", f"first three bytes of {side}_mac"),
        ("port", "uint16", "port", "port, 0 without one,"),
    ):
        native = similar(f"{end}_{name}").native if name != "oui" else ""
        made = formula if name == "oui" else f"{formula} {sender}"
        yield _column(f"{side}_{name}", kind, "", "id", f"{text} of the {words}", made, native)


def _counts() -> list[Column]:
    return [column for view, name in enumerate(_VIEWS) for column in _counts_of(view, name, _OF_VIEW[name])]


def _counts_of(view: int, prefix: str, words: str) -> Iterable[Column]:
    for name, text in (("first_seen_ms", "time of the first packet"), ("last_seen_ms", "time of the last packet")):
        yield _column(prefix + name, "int64", "ms", "id", f"{text}, {words}", *_made_of(view, _TIMES[name]))
    formula = f"{prefix}last_seen_ms − {prefix}first_seen_ms"
    native = similar("duration_s").native if view == 0 else ""
    name, text = f"{prefix}duration_ms", f"time from the first to the last packet, {words}"
    yield _column(name, "int64", "ms", "feature", text, formula, native)
    for name, unit, text in (("packets", "packets", "number of packets"), ("bytes", "bytes", "bytes of frames")):
        made = _made_of(view, _COUNTS[name])
        yield _column(prefix + name, "int64", unit, "feature", f"{text}, {words}", *made)


def _statistics() -> list[Column]:
    rows = []
    for series, unit in (("ps", "bytes"), ("piat_ms", "ms")):
        names = {name: native for native, name in _SERIES.items() if name.endswith(f"_{series}")}
        for view, prefix in enumerate(_VIEWS):
            for name, native in names.items():
                text = of_native(native).definition.partition(",")[0]
                row = of_native(native).type, unit, "feature", f"{text}, {_OF_VIEW[prefix]}", *_made_of(view, native)
                rows.append(_column(prefix + name, *row))
    for view, prefix in enumerate(_VIEWS):
        for flag in _FLAGS:
            name, text = f"{flag}_packets", f"TCP packets with {flag.upper()} set, {_OF_VIEW[prefix]}"
            row = "int64", "packets", "feature", text, *_made_of(view, _COUNTS[name])
            rows.append(_column(prefix + name, *row))
    return rows


def _splt(length: int) -> list[Column]:
    rows = []
    for name, unit, text, formula in (
        ("splt_direction", "", "direction", "0 from the source, 1 to the source"),
        ("splt_ps", "bytes", "frame length", of_native(_SPLT["splt_ps"]).formula),
        ("splt_piat_ms", "ms", "time between packets", of_native(_SPLT["splt_piat_ms"]).formula),
    ):
        definition = f"{text} of the first {length} packets"
        made = f"{formula}; −1 behind the last packet", similar(_SPLT[name]).native
        rows.append(_column(name, "list<int64>", unit, "feature", definition, *made, length))
    return rows


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
        **{name: batch[native] for name, native in _SAME.items()},
        "vlan_id": numbers(batch, "vlan"),
        "tunnel_id": batch["tunnel"].is_valid().cast(pa.int64()),
    }
    for side, ends in (("src", ("client", "server")), ("dst", ("server", "client"))):
        for name in ("ip", "mac", "port"):
            arrays[f"{side}_{name}"] = pc.if_else(swapped, batch[f"{ends[1]}_{name}"], batch[f"{ends[0]}_{name}"])
        arrays[f"{side}_mac"] = pc.fill_null(arrays[f"{side}_mac"], _NO_MAC)
        arrays[f"{side}_oui"] = pc.utf8_slice_codeunits(arrays[f"{side}_mac"], 0, _OUI)
    for view, name in enumerate(_VIEWS):
        first, last = (_of_view(batch, view, column, swapped) for column in _TIMES.values())
        arrays |= {f"{name}first_seen_ms": first, f"{name}last_seen_ms": last, f"{name}duration_ms": last - first}
        for column, native in (*_COUNTS.items(), *((column, native) for native, column in _SERIES.items())):
            arrays[name + column] = _of_view(batch, view, native, swapped)
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
    for name, native in _SPLT.items():
        lists = batch[native]
        rows, places = list_places(lists)
        dense = np.full((len(lists), length), -1, np.int64)
        taken = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        dense[rows, places] = taken ^ swapped[rows] if name == "splt_direction" else taken
        ends = np.arange(0, dense.size + 1, length, dtype=np.int32)
        arrays[name] = pa.ListArray.from_arrays(pa.array(ends), pa.array(dense.reshape(-1)), type=pa.list_(pa.int64()))
    return length
