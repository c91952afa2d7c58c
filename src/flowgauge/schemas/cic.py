"""Schemas `cic` and `cic2017`: the columns of CICFlowMeter 4 and of the CSV files of CIC-IDS2017, by their published
formulas and without the bugs of that program (docs/migration.md lists those).

Forward is from the client. Lengths are payload bytes, times µs. Averages and deviations of nothing are 0, as there; a
rate over no time is null.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from flowgauge.config import MeterConfig
from flowgauge.schema import ALL_GROUPS, EXTRA_COLUMNS, TCP_FLAGS, Column
from flowgauge.schemas._batch import numbers, of_native, similar, with_custom

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FEATURES = ("core", "size", "flags", "tcp", "activity", "bulk", "cic")
EXTRAS = tuple(name for name, column in EXTRA_COLUMNS.items() if column.group == "cic")
_MICROSECOND = 1000  # ns
_UNLABELLED = "NeedManualLabel"
_LABEL = "label"  # of CICFlowMeter's own tables
_NEVER_ZERO = ("packets", "subflows")


class _Made(NamedTuple):
    """How a column is made of a native batch: its values, its formula, and the native column that it is, if any."""

    values: Callable[[pa.RecordBatch], Any]
    formula: str
    native: str = ""


class _Row(NamedTuple):
    """A column: its names in both schemas, what it is, and how it is made."""

    name: str
    name_2017: str
    kind: str
    unit: str
    role: str
    text: str
    make: _Made


def _plain(native: str) -> _Made:
    column = of_native(native)
    return _Made(lambda batch: batch[native], column.formula, column.native)


def _number(native: str) -> _Made:
    """A number, 0 where it is null."""
    column = similar(native)
    return _Made(lambda batch: numbers(batch, native), column.formula, column.native)


def _micros(native: str) -> _Made:
    """A time of ns in µs."""
    column = similar(native)
    return _Made(lambda batch: numbers(batch, native) / _MICROSECOND, column.formula, column.native)


def _seconds(native: str) -> _Made:
    """A time of s in µs; what the activity gap is, is an option."""
    column = similar(native)
    formula = column.formula.replace(f"{ALL_GROUPS.activity_gap:g} s", "activity_gap")
    return _Made(lambda batch: (numbers(batch, native) * 1e6).round(3), formula, column.native)


def _by(native: str, other: str) -> _Made:
    """A quotient of two columns; null where the second is 0."""
    formula = f"{native} / {other}" + ("" if other in _NEVER_ZERO else f"; null where {other} = 0")
    return _Made(lambda batch: _ratio(numbers(batch, native), numbers(batch, other)), formula)


def _ratio(total: NDArray[Any], by: NDArray[Any]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    none = by == 0
    return pa.array(total / np.where(none, 1, by), pa.float64(), mask=none)


def _identity() -> Iterable[_Row]:
    made = _Made(_ids, "address-address-port-port-protocol, the end with the lower address first")
    yield _Row("Flow ID", "Flow ID", "string", "", "id", "name of the flow", made)
    for side, words, end in (("Src", "Source", "client"), ("Dst", "Destination", "server")):
        ip, port = f"{end}_ip", f"{end}_port"
        yield _Row(f"{side} IP", f"{words} IP", "string", "", "id", f"address of the {end}", _plain(ip))
        yield _Row(f"{side} Port", f"{words} Port", "uint16", "", "id", f"port of the {end}", _plain(port))
    yield _Row("Protocol", "Protocol", "uint8", "", "feature", "IP protocol number", _plain("protocol"))
    made = _Made(_timestamps, "start, UTC, dd/MM/yyyy hh:mm:ss AM or PM", similar("start").native)
    yield _Row("Timestamp", "Timestamp", "string", "", "id", "earliest packet time", made)
    name, text = "Flow Duration", "time from the earliest to the latest packet"
    made = _Made(_durations, "⌊end − start⌋, whole µs", similar("duration_s").native)
    yield _Row(name, name, "int64", "µs", "feature", text, made)


def _lengths() -> Iterable[_Row]:
    rows = (("Total Fwd Packet", "Total Fwd Packets", "up"), ("Total Bwd packets", "Total Backward Packets", "down"))
    for name, old, view in rows:
        text = f"packets {_WORDS[view]}"
        yield _Row(name, old, "int64", "packets", "feature", text, _plain(f"{view}_packets"))
    for way, view in _WAYS:
        text, make = f"payload bytes {_WORDS[view]}", _plain(f"{view}_payload_bytes")
        name = f"Total Length of {way} Packet"
        yield _Row(name, f"{name}s", "int64", "bytes", "feature", text, make)
    for way, view in _WAYS:
        for word in ("Max", "Min", "Mean", "Std"):
            name, text = f"{way} Packet Length {word}", f"{word.lower()} of payload lengths {_WORDS[view]}"
            make = _number(f"{view}_payload_len_{word.lower()}")
            yield _Row(name, name, _kind(word), "bytes", "feature", text, make)


def _kind(word: str) -> str:
    return "int64" if word in ("Max", "Min") else "float64"


def _gaps() -> Iterable[_Row]:
    for name, native, text in (
        ("Flow Bytes/s", "payload_bytes", "payload bytes per second"),
        ("Flow Packets/s", "packets", "packets per second"),
    ):
        yield _Row(name, name, "float64", "1/s", "feature", text, _by(native, "duration_s"))
    for way, view in (("Flow", ""), *_WAYS):
        for word, native in (("Total", "total"), ("Mean", "mean"), ("Std", "std"), ("Max", "max"), ("Min", "min")):
            if word == "Total" and way == "Flow":
                continue
            name = f"{way} IAT {word}"
            text = f"{native} of the times between packets {_WORDS[view]}"
            column = f"{view}_cic_gap_{native}" if view else f"cic_gap_{native}"
            yield _Row(name, name, "float64", "µs", "feature", text, _micros(column))


def _flags() -> Iterable[_Row]:
    for flag in ("PSH", "URG"):
        for way, view in _WAYS:
            make = _plain(f"{view}_{flag.lower()}_packets")
            name, text = f"{way} {flag} Flags", f"packets with {flag} set {_WORDS[view]}"
            yield _Row(name, name, "int64", "packets", "feature", text, make)
    for way, view in _WAYS:
        name, text = f"{way} Header Length", f"bytes of transport headers {_WORDS[view]}"
        yield _Row(name, name, "int64", "bytes", "feature", text, _plain(f"{view}_cic_header_bytes"))
    for way, view in _WAYS:
        name, text = f"{way} Packets/s", f"packets per second {_WORDS[view]}"
        yield _Row(name, name, "float64", "1/s", "feature", text, _by(f"{view}_packets", "duration_s"))


def _totals() -> Iterable[_Row]:
    for word in ("Min", "Max"):
        text, make = f"{word.lower()} of payload lengths", _number(f"payload_len_{word.lower()}")
        yield _Row(f"Packet Length {word}", f"{word} Packet Length", "int64", "bytes", "feature", text, make)
    for word in ("Mean", "Std"):
        name, text = f"Packet Length {word}", f"{word.lower()} of payload lengths"
        yield _Row(name, name, "float64", "bytes", "feature", text, _number(f"payload_len_{word.lower()}"))
    name, text = "Packet Length Variance", "sample variance of payload lengths"
    made = _Made(lambda batch: numbers(batch, "payload_len_std") ** 2, _variance(similar("payload_len_std").formula))
    yield _Row(name, name, "float64", "bytes²", "feature", text, made)
    for flag in ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "CWR", "ECE"):
        assert flag.lower() in TCP_FLAGS
        name, text = f"{flag} Flag Count", f"packets with {flag} set"
        old = "CWE Flag Count" if flag == "CWR" else name  # its misspelling
        yield _Row(name, old, "int64", "packets", "feature", text, _plain(f"{flag.lower()}_packets"))
    name, text = "Down/Up Ratio", "backward packets by forward ones"
    yield _Row(name, name, "float64", "", "feature", text, _by("down_packets", "up_packets"))
    name, text = "Average Packet Size", "mean payload length"
    yield _Row(name, name, "float64", "bytes", "feature", text, _by("payload_bytes", "packets"))
    for way, view in _WAYS:
        text, make = f"mean payload length {_WORDS[view]}", _number(f"{view}_payload_len_mean")
        yield _Row(f"{way} Segment Size Avg", f"Avg {way} Segment Size", "float64", "bytes", "feature", text, make)


def _bulks() -> Iterable[_Row]:
    for way, view in _WAYS:
        for name, old, unit, native, text in (
            ("Bytes/Bulk Avg", "Avg Bytes/Bulk", "bytes", "bulk_bytes_mean", "mean payload bytes of a bulk"),
            ("Packet/Bulk Avg", "Avg Packets/Bulk", "packets", "bulk_packets_mean", "mean packets of a bulk"),
            ("Bulk Rate Avg", "Avg Bulk Rate", "bytes/s", "bulk_rate", "payload rate of bulks"),
        ):
            definition, make = f"{text} {_WORDS[view]}", _number(f"{view}_{native}")
            yield _Row(f"{way} {name}", f"{way} {old}", "float64", unit, "feature", definition, make)
    for way, view in _WAYS:
        for name, native, text in (("Packets", "packets", "packets"), ("Bytes", "payload_bytes", "payload bytes")):
            full, make = f"Subflow {way} {name}", _by(f"{view}_{native}", "subflows")
            definition = f"{text} {_WORDS[view]} of a subflow (parts that gaps above 1 s separate)"
            yield _Row(full, full, "float64", name.lower(), "feature", definition, make)
    for name, old, view in (
        ("FWD Init Win Bytes", "Init_Win_bytes_forward", "up"),
        ("Bwd Init Win Bytes", "Init_Win_bytes_backward", "down"),
    ):
        text = f"initial window {_WORDS[view]}, unscaled"
        yield _Row(name, old, "int64", "bytes", "feature", text, _number(f"{view}_init_window"))
    text, make = "forward packets with payload", _plain("up_payload_packets")
    yield _Row("Fwd Act Data Pkts", "act_data_pkt_fwd", "int64", "packets", "feature", text, make)
    text, make = "least bytes of a forward transport header", _plain("up_cic_header_min")
    yield _Row("Fwd Seg Size Min", "min_seg_size_forward", "int64", "bytes", "feature", text, make)


def _activity() -> Iterable[_Row]:
    for series, text in (
        ("Active", "periods without a gap above the activity gap"),
        ("Idle", "gaps above the activity gap"),
    ):
        for word in ("Mean", "Std", "Max", "Min"):
            name, make = f"{series} {word}", _seconds(f"{series.lower()}_{word.lower()}_s")
            yield _Row(name, name, "float64", "µs", "feature", f"{word.lower()} of {text}", make)
    made = _Made(_labels, "label of a truth table; else app/action, or the one there is; NeedManualLabel without")
    yield _Row("Label", "Label", "string", "", "label", "label, or app and action", made)


def _variance(deviation: str) -> str:
    """The formula of a variance from that of the deviation, which is a root."""
    return deviation.replace("√(", "", 1).replace("); ", "; ", 1)


_WAYS = (("Fwd", "up"), ("Bwd", "down"))
_WORDS = {"up": "forward", "down": "backward", "": "of both directions"}


def _ids(batch: pa.RecordBatch) -> Any:
    import pyarrow.compute as pc

    texts = {text for side in ("client", "server") for text in pc.unique(batch[f"{side}_ip"]).to_pylist()}
    rank = {text: place for place, text in enumerate(sorted(texts, key=lambda text: ipaddress.ip_address(text).packed))}
    ends = zip(
        *(batch[name].to_pylist() for name in ("client_ip", "client_port", "server_ip", "server_port")), strict=True
    )
    found = []
    for (client, client_port, server, server_port), protocol in zip(ends, batch["protocol"].to_pylist(), strict=True):
        if rank[client] <= rank[server]:
            found.append(f"{client}-{server}-{client_port}-{server_port}-{protocol}")
        else:
            found.append(f"{server}-{client}-{server_port}-{client_port}-{protocol}")
    return found


def _timestamps(batch: pa.RecordBatch) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.strftime(batch["start"].cast(pa.timestamp("s", "UTC"), safe=False), "%d/%m/%Y %I:%M:%S %p")


def _durations(batch: pa.RecordBatch) -> Any:
    import pyarrow as pa

    start, end = (batch[name].cast(pa.int64()).to_numpy() for name in ("start", "end"))
    return (end - start) // _MICROSECOND


def _labels(batch: pa.RecordBatch) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    app, action = (batch[name].cast(pa.string()) for name in ("app", "action"))
    own = [batch[_LABEL].cast(pa.string())] if _LABEL in batch.schema.names else []
    return pc.fill_null(pc.coalesce(*own, pc.binary_join_element_wise(app, action, "/"), app, action), _UNLABELLED)


_ROWS: tuple[_Row, ...] = (
    *(*_identity(), *_lengths(), *_gaps(), *_flags()),
    *(*_totals(), *_bulks(), *_activity()),
)
_HEADER_AGAIN = "Fwd Header Length.1"  # CIC-IDS2017 has it twice; pandas calls the second one so


def _column(row: _Row, name: str, group: str) -> Column:
    return Column(name, row.kind, row.unit, group, row.role, row.text, row.make.formula, native=row.make.native)


def _rows_2017() -> Iterable[tuple[str, _Row]]:
    for row in _ROWS:
        if row.name == "Fwd Bytes/Bulk Avg":
            yield _HEADER_AGAIN, next(other for other in _ROWS if other.name == "Fwd Header Length")
        yield row.name_2017, row


_NAMED = {"cic": tuple((row.name, row) for row in _ROWS), "cic2017": tuple(_rows_2017())}
_COLUMNS = {name: tuple(_column(row, column, name) for column, row in rows) for name, rows in _NAMED.items()}


def columns(labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
    """The columns of CICFlowMeter, whatever the labels and features are."""
    return _COLUMNS["cic"]


def columns_2017(labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
    """The columns of CIC-IDS2017, whatever the labels and features are."""
    return _COLUMNS["cic2017"]


def convert(batch: pa.RecordBatch) -> pa.RecordBatch:
    """All records of a native batch that has the columns EXTRAS too."""
    return _convert(batch, "cic")


def convert_2017(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same with the columns of CIC-IDS2017."""
    return _convert(batch, "cic2017")


def _convert(batch: pa.RecordBatch, schema_name: str) -> pa.RecordBatch:
    import pyarrow as pa

    from flowgauge.schema import arrow_schema

    schema = arrow_schema(_COLUMNS[schema_name])
    made = {row.name: row.make.values(batch) for row in _ROWS}
    values = [made[row.name] for _, row in _NAMED[schema_name]]
    arrays = [v if isinstance(v, pa.Array) else pa.array(v, f.type) for v, f in zip(values, schema, strict=True)]
    return with_custom(pa.RecordBatch.from_arrays(arrays, schema=schema), batch)
