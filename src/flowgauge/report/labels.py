"""Labels: how many flows each has, and which features tell them apart."""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.report.flows import NEEDED, NONE, Codes, Flows, distinct, is_text
from flowgauge.schema import native_columns

SAMPLE = 50_000
"""Flows at most by which features are judged, taken at equal steps."""
QUANTILE_BINS = 16
_LABELS = ("app", "action")
_BALANCE = pa.schema(
    [
        *((name, pa.string()) for name in _LABELS),
        *((name, pa.int64()) for name in ("flows", "packets", "bytes", "files")),
        ("share", pa.float64()),
    ]
)
_SEPARABILITY = pa.schema(
    [
        *((name, pa.string()) for name in ("feature", "group")),
        *((name, pa.float64()) for name in ("share", "bits")),
        ("flows", pa.int64()),
        ("definition", pa.string()),
    ]
)


def balance(flows: Flows) -> pa.Table:
    """Of each app and action: flows, packets, bytes of frames, files that they are from, and the share of the flows;
    most flows first. No row where no flow has a label."""
    columns = {name: _label(flows, name) for name in _LABELS}
    if not any((codes.codes >= 0).any() for codes in columns.values()):
        return _BALANCE.empty_table()
    rows = {name: codes.codes for name, codes in columns.items()}
    rows |= {name: flows.whole(column) for name, column in (("packets", "packets"), ("bytes", "frame_bytes"))}
    rows["file"] = flows.names("source").codes if flows.has("source") else np.zeros(len(flows), np.int64)
    wanted = [("packets", "count"), ("packets", "sum"), ("bytes", "sum"), ("file", "count_distinct")]
    sums = pa.table(rows).group_by(list(_LABELS)).aggregate(wanted)
    sums = sums.sort_by([("packets_count", "descending"), ("app", "ascending"), ("action", "ascending")])
    names = [_shown(codes, sums[name]) for name, codes in columns.items()]
    numbers = [sums[f"{name}_{how}"] for name, how in wanted]
    return pa.table([*names, *numbers, pc.divide(sums["packets_count"].cast(pa.float64()), len(flows))], _BALANCE)


def _label(flows: Flows, name: str) -> Codes:
    return flows.names(name) if flows.has(name) else Codes(np.full(len(flows), -1, np.int64), [])


def _shown(codes: Codes, column: pa.ChunkedArray) -> pa.Array:
    """Values of codes; NONE for null."""
    return pa.array([NONE, *codes.values], pa.string()).take(pc.add(column, 1))


def target(flows: Flows) -> str | None:
    """What features are judged by: the first of app and action that has two values or more, None without."""
    return next((name for name in _LABELS if len(_label(flows, name).values) > 1), None)


def separability(flows: Flows) -> pa.Table:
    """How much each feature tells of the label: `bits` of mutual information, and the `share` of the label's entropy
    that these are; most first. No row where the flows do not have two labels.

    Numbers are put into QUANTILE_BINS bins of about as many flows each, null into one of its own, and the bias of the
    estimate is subtracted (Miller and Madow, 1955). Only columns of role `feature` are judged, by SAMPLE flows.
    """
    name = target(flows)
    if name is None:
        return _SEPARABILITY.empty_table()
    labelled = np.flatnonzero(_label(flows, name).codes >= 0)
    step = -(-len(labelled) // SAMPLE)
    chosen = labelled[::step]
    features = _features(flows.table.schema)
    wanted = dict.fromkeys([*NEEDED, name, *(feature for feature, *_ in features)])
    sample = Flows(flows.table.select([*wanted]).take(pa.array(chosen)))
    label = sample.names(name)
    rows = [
        {"feature": feature, "group": group, "definition": definition, **_judged(sample, feature, label)}
        for feature, group, definition in features
    ]
    return pa.Table.from_pylist(rows, _SEPARABILITY).sort_by([("bits", "descending"), ("feature", "ascending")])


def _judged(sample: Flows, feature: str, label: Codes) -> dict[str, float | int]:
    binned = _binned(sample, feature)
    bits, entropy = information(binned, label.codes)
    present = int(sample.present(feature).sum())
    return {"bits": bits, "share": min(bits / entropy, 1.0) if entropy > 0 else 0.0, "flows": present}


def _binned(sample: Flows, feature: str) -> NDArray[np.int64]:
    """A feature as bin numbers from 0; 0 is null."""
    kind = sample.table.schema.field(feature).type
    if is_text(kind):
        return sample.names(feature).codes + 1
    values = sample.numbers(feature)
    known = ~np.isnan(values)
    bins = np.zeros(len(values), np.int64)
    if known.any():
        ranks = np.arange(1, QUANTILE_BINS) / QUANTILE_BINS
        edges = np.unique(np.quantile(values[known], ranks, method="inverted_cdf"))
        bins[known] = np.searchsorted(edges, values[known], side="left") + 1
    return bins


def information(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, float]:
    """Mutual information of two codes, less its bias and not below 0, and the entropy of the second; in bits."""
    height, width = (int(codes.max(initial=0)) + 1 for codes in (first, second))
    joint = distinct(first * width + second, height * width)[2]
    single = [distinct(codes, size)[2] for codes, size in ((first, height), (second, width))]
    bias = (len(joint) - len(single[0]) - len(single[1]) + 1) / (2 * max(len(first), 1) * np.log(2))
    entropy = _entropy(single[1])
    bits = _entropy(single[0]) + entropy - _entropy(joint) - bias
    return max(float(bits), 0.0), entropy


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts / max(counts.sum(), 1)
    return float(-(shares * np.log2(shares)).sum())


def _features(schema: pa.Schema) -> list[tuple[str, str, str]]:
    """Name, group and definition of the columns of role `feature` that hold one value; the table says so, or else the
    native schema."""
    found = []
    for field in schema:
        said = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        column = said if "role" in said else _native().get(field.name, {})
        if column.get("role") == "feature" and not pa.types.is_nested(field.type) and not _is_bytes(field.type):
            found.append((field.name, column.get("group", ""), column.get("definition", "")))
    return found


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_timestamp(kind))


@functools.cache
def _native() -> dict[str, dict[str, str]]:
    return {column.name: column._asdict() for column in native_columns()}
