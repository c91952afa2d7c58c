"""RecordBuilder: from the state of ended records to an Arrow record batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowgauge.arrays import community_id_array, ip_array, mac_array
from flowgauge.config import MeterConfig
from flowgauge.features import Feature
from flowgauge.features._feature import Array, Values
from flowgauge.kernels.header import ICMP, ICMPV6
from flowgauge.kernels.state import CLIENT_BY, END_REASONS
from flowgauge.schema import arrow_schema, label_columns, native_columns


class _Dictionary:
    """A category column of captures: one value, or null, per capture."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._of_capture: list[int] = []

    def add(self, value: str | None) -> None:
        code = -1 if value is None else self._codes.setdefault(value, len(self._codes))
        self._of_capture.append(code)

    def array(self, captures: Array) -> pa.DictionaryArray:
        codes = np.array(self._of_capture, np.int32)[captures]
        return _category(codes, pa.array(list(self._codes), pa.string()), codes < 0)


def _category(codes: Array, values: pa.Array, null: Array | None = None) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=null), values)


class RecordBuilder:
    """Builds batches of native columns in schema order."""

    def __init__(self, config: MeterConfig, features: Sequence[Feature], labels: tuple[str, ...]) -> None:
        self._hosts = config.key == "hosts"
        self._features = features
        self._columns = native_columns(config.features, labels)
        self.schema = arrow_schema(self._columns)
        self._sources = _Dictionary()
        self._labels = {column.name: _Dictionary() for column in label_columns(labels)}
        self._client_by = pa.array(CLIENT_BY, pa.string())
        self._end_reasons = pa.array(END_REASONS, pa.string())
        self._rows: list[int] = []
        self._labels_of: list[Mapping[str, str]] = []

    def add_capture(self, source: str, labels: Mapping[str, str] | None) -> int:
        """Number of a new capture with this name and these labels."""
        self._sources.add(source)
        for name, dictionary in self._labels.items():
            dictionary.add((labels or {}).get(name))
        self._rows.append(0)
        self._labels_of.append(labels or {})
        return len(self._rows) - 1

    def rows_by_label(self) -> Iterator[tuple[Mapping[str, str], int]]:
        """Labels and number of records of each capture."""
        return zip(self._labels_of, self._rows, strict=True)

    def build(self, flows: Array, states: Sequence[Array]) -> pa.RecordBatch:
        """One batch of these records; `states` are those of the features behind `core`."""
        for capture, rows in enumerate(np.bincount(flows["capture"])):
            self._rows[capture] += int(rows)
        values: dict[str, Values] = {}
        for feature, state in zip(self._features, (flows, *states), strict=True):
            values.update(feature.finalize(state, flows))
        arrays = self._texts(flows)
        pack = _Packer(len(flows))
        fields = zip(self._columns, self.schema, strict=True)
        columns = [arrays.get(c.name) or pack(field.type, *values[c.name]) for c, field in fields]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _texts(self, flows: Array) -> dict[str, pa.Array]:
        version = np.ascontiguousarray(flows["ip_version"])
        captures = flows["capture"]
        columns = {
            "community_id": self._community_id(flows, version),
            "tunnel": pa.nulls(len(flows), pa.dictionary(pa.int32(), pa.string())),
            "client_by": _category(flows["client_by"], self._client_by),
            "end_reason": _category(flows["end_reason"], self._end_reasons),
            "source": self._sources.array(captures),
        }
        for side in ("client", "server"):
            high, low = (np.ascontiguousarray(flows[f"{side}_{half}"]) for half in ("hi", "lo"))
            columns[f"{side}_ip"] = ip_array(version, high, low)
            columns[f"{side}_mac"] = mac_array(np.ascontiguousarray(flows[f"{side}_mac"]))
        columns.update((name, dictionary.array(captures)) for name, dictionary in self._labels.items())
        return columns

    def _community_id(self, flows: Array, version: Array) -> pa.Array:
        """Of the sender and receiver of each record's first packet; ICMP by its type and code."""
        if self._hosts:
            return pa.nulls(len(flows), pa.string())
        by_client = flows["opener"] == 0
        icmp = (flows["protocol"] == ICMP) | (flows["protocol"] == ICMPV6)

        def ends(field: str) -> tuple[Array, Array]:
            client, server = flows[f"client_{field}"], flows[f"server_{field}"]
            return np.where(by_client, client, server), np.where(by_client, server, client)

        (src_hi, dst_hi), (src_lo, dst_lo), (src_port, dst_port) = ends("hi"), ends("lo"), ends("port")
        src_port = np.where(icmp, flows["icmp_type"], src_port).astype(np.uint16)
        dst_port = np.where(icmp, flows["icmp_code"], dst_port).astype(np.uint16)
        protocol = np.ascontiguousarray(flows["protocol"])
        ids = community_id_array(version, src_hi, src_lo, dst_hi, dst_lo, protocol, src_port, dst_port)
        unknown = icmp & (flows["has_icmp"] == 0)
        if not unknown.any():
            return ids
        return pc.if_else(pa.array(unknown), pa.scalar(None, pa.string()), ids)


class _Packer:
    """Wraps finished columns as Arrow arrays without copying; masks are packed once each."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._bitmaps: dict[int, tuple[Any, pa.Buffer]] = {}

    def __call__(self, kind: pa.DataType, values: Array, null: Array | None) -> pa.Array:
        data = np.ascontiguousarray(values, _numpy_dtype(kind))
        return pa.Array.from_buffers(kind, self._rows, [self._validity(null), pa.py_buffer(data)])

    def _validity(self, null: Array | None) -> pa.Buffer | None:
        if null is None:
            return None
        if id(null) not in self._bitmaps:  # the mask is kept, so that its id stays its own
            self._bitmaps[id(null)] = (null, pa.py_buffer(np.packbits(~null, bitorder="little")))
        return self._bitmaps[id(null)][1]


def _numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    return np.dtype(np.int64) if pa.types.is_timestamp(kind) else np.dtype(kind.to_pandas_dtype())
