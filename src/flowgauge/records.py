"""RecordBuilder: from the state of ended records to an Arrow record batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from flowgauge.arrays import category_array, community_id_array, ip_array, mac_array, plain_array, text_array, validity
from flowgauge.config import MeterConfig
from flowgauge.features import Feature
from flowgauge.features._feature import Array, Values, with_states
from flowgauge.kernels.kinds import stack_text
from flowgauge.kernels.packet import MAX_TUNNELS
from flowgauge.kernels.rows import CODES, WORDS, split_ends
from flowgauge.kernels.state import CLIENT_BY, END_REASONS
from flowgauge.labels.background import Marks
from flowgauge.labels.order import APP, Decided, decide
from flowgauge.labels.process import NAME, ProcessLabels
from flowgauge.memory import Memory
from flowgauge.privacy import Anonymizer, read_key
from flowgauge.schema import BACKGROUND, EXTRA_COLUMNS, LABEL_BY, arrow_schema, label_columns, native_columns
from flowgauge.snapshot import Snapshot


class _Dictionary:
    """A category column of captures: one value, or null, per capture."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._of_capture: list[int] = []

    def add(self, value: str | None) -> None:
        code = -1 if value is None else self._codes.setdefault(value, len(self._codes))
        self._of_capture.append(code)

    def array(self, captures: Array) -> pa.DictionaryArray:
        if not self._codes:
            return pa.nulls(len(captures), _CATEGORY)
        codes = np.array(self._of_capture, np.int32)[captures]
        return category_array(codes, text_array(self._codes), codes < 0)


def _anonymize(flows: Array, anonymizer: Anonymizer) -> None:
    """Replace the addresses of records by those that hide them: all columns are made of these."""
    for side in ("client", "server"):
        high, low, mac = f"{side}_hi", f"{side}_lo", f"{side}_mac"
        flows[high], flows[low] = anonymizer.addresses(flows["ip_version"], flows[high], flows[low])
        flows[mac] = anonymizer.macs(flows[mac])


_CATEGORY = pa.dictionary(pa.int32(), pa.string())


def _tunnels(present: Array, stacks: Array) -> pa.DictionaryArray:
    """The column `tunnel`: a value for each kind of stack, null without one."""
    if not len(stacks):
        return pa.nulls(len(present), _CATEGORY)
    beyond = np.arange(MAX_TUNNELS) >= stacks["depth"][:, None]  # left from an earlier owner
    stacks["kind"][beyond] = stacks["id"][beyond] = 0
    kinds, codes = np.unique(stacks.view(f"V{stacks.itemsize}"), return_inverse=True)
    texts = [stack_text(kind[:depth], ids[:depth]) for ids, kind, depth in kinds.view(stacks.dtype).tolist()]
    all_codes = np.zeros(len(present), np.int32)
    all_codes[present] = codes
    return category_array(all_codes, text_array(texts), ~present)


class Labels(Protocol):
    """Labels that records have by themselves, whatever those of their capture are."""

    def add_capture(self, source: str, number: int) -> None:
        """The capture with this number has this name."""

    def find(self, records: Array) -> Array | None:
        """Where the labels of each record are, or None where nothing is to be labelled."""

    def relabel(self, rows: Array, arrays: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """Columns of labels in place of those in `arrays`."""


_ENDS = tuple(tuple(f"{end}_{field}" for field in ("hi", "lo", "port")) for end in ("client", "server"))


def _background(flows: Array, marks: Sequence[Marks | None]) -> pa.DictionaryArray:
    """The column `background`: few captures have marks, and these few flows."""
    found: list[str | None] = [None] * len(flows)
    marked = np.array([mark is not None for mark in marks], bool)[flows["capture"]]
    for row in np.flatnonzero(marked):
        flow = flows[row]
        version = int(flow["ip_version"])
        client, server = (
            (version, int(flow[high]) << 64 | int(flow[low]), int(flow[port])) for high, low, port in _ENDS
        )
        mark = marks[flow["capture"]]
        found[row] = mark and mark.of(int(flow["protocol"]), client, server)  # type: ignore[assignment]
    return pa.array(found, pa.string()).cast(_CATEGORY)


_NUMBER = np.int64(32)  # bits of a label's number, where one integer has a capture and a label


def _categories(values: Iterable[str | None], codes: Array) -> pa.DictionaryArray:
    """A category column of few values, of which each row has the one that its code says."""
    texts: dict[str, int] = {}
    own = np.array([-1 if value is None else texts.setdefault(value, len(texts)) for value in values], np.int32)
    found = own[codes]
    return category_array(found, text_array(texts), found < 0) if texts else pa.nulls(len(codes), _CATEGORY)


def _numbers(values: Iterable[int | None], codes: Array) -> Values:
    listed = list(values)
    null = np.array([value is None for value in listed], bool)[codes]
    return np.array([value or 0 for value in listed], np.uint32)[codes], null


class RecordBuilder:
    """Builds batches of native columns in schema order, and behind them of `extras` (of EXTRA_COLUMNS).

    `processes` are the labels whose numbers packets have.
    """

    def __init__(
        self,
        config: MeterConfig,
        features: Sequence[Feature],
        labels: tuple[str, ...],
        extras: tuple[str, ...] = (),
        processes: ProcessLabels | None = None,
        truth: Labels | None = None,
    ) -> None:
        self.memory = Memory()
        self._hosts = config.key == "hosts"
        self._anonymizer = None if config.anonymize is None else Anonymizer(read_key(config.anonymize))
        self._features = features
        added = (column for name in extras if (column := EXTRA_COLUMNS[name]).group in config.features)
        self.schema = arrow_schema((*native_columns(config, labels), *added))
        self._fields = [(field.name, field.type, _numpy_dtype(field.type)) for field in self.schema]
        self._sources = _Dictionary()
        self._labels = {column.name: _Dictionary() for column in label_columns(labels)}
        self._client_by = text_array(CLIENT_BY)
        self._end_reasons = text_array(END_REASONS)
        self._marks: list[Marks | None] | None = [] if BACKGROUND in labels else None
        self._processes = processes or ProcessLabels()
        self._apps: Counter[tuple[int, str | None]] = Counter()  # records by capture and app
        self._by: list[str] = []
        self._truth = truth
        self._rows: list[int] = []
        self._built = 0
        self._labels_of: list[Mapping[str, str]] = []
        self._names: list[str | None] = []  # of captures, as they were given

    def add_capture(
        self,
        source: str,
        labels: Mapping[str, str] | None,
        marks: Marks | None = None,
        by: str = NAME,
        number: int | None = None,
    ) -> int:
        """A new capture with this name and these labels, which are said `by` INSIDE or NAME; `marks` tell its flows of
        the background. Its number, by default the next one; captures between are others' and have no records here."""
        number = len(self._rows) if number is None else number
        for _ in range(len(self._rows), number):
            self._add(None, {}, None, by)
            self._names.append(None)
        self._names.append(source)
        if self._truth is not None:
            self._truth.add_capture(source, number)
        self._add(source if self._anonymizer is None else self._anonymizer.name(source), labels or {}, marks, by)
        return number

    def _add(self, source: str | None, labels: Mapping[str, str], marks: Marks | None, by: str) -> None:
        self._sources.add(source)
        found = {**labels, LABEL_BY: by} if labels else {}
        for name, dictionary in self._labels.items():
            dictionary.add(found.get(name))
        if self._marks is not None:
            self._marks.append(marks)
        self._rows.append(0)
        self._labels_of.append(labels)
        self._by.append(by)

    def snapshot(self) -> Snapshot:
        """Of the captures: name, labels, lists of the background, and who says so."""
        marks = self._marks if self._marks is not None else [None] * len(self._names)
        given = zip(self._names, self._labels_of, marks, self._by, strict=True)
        return {"captures": [[name, labels, mark and mark.lists, by] for name, labels, mark, by in given]}

    def restore(self, snapshot: Snapshot) -> None:
        """Know the captures of a snapshot; records are counted from here on."""
        for number, (name, labels, lists, by) in enumerate(snapshot["captures"]):
            if name is not None:
                self.add_capture(name, labels, None if lists is None else Marks(lists), by, number)

    def rows_by_label(self) -> Iterator[tuple[Mapping[str, str], int]]:
        """Labels and number of records: of each capture, and of each app in it where packets say which."""
        rest = list(self._rows)
        for (capture, app), rows in self._apps.items():
            rest[capture] -= rows
            labels = self._labels_of[capture]
            yield labels if app is None else {**labels, APP: app}, rows
        yield from zip(self._labels_of, rest, strict=True)

    def build(self, flows: Array, states: Sequence[Array], stacks: Array) -> pa.RecordBatch:
        """One batch of these records; `states` are those of the features, in order, `stacks` those of the
        records with a tunnel."""
        counts = np.bincount(flows["capture"])
        background = None if self._marks is None else _background(flows, self._marks)
        found = None if self._truth is None else self._truth.find(flows)
        for capture in np.flatnonzero(counts):
            self._rows[capture] += int(counts[capture])
        values: dict[str, Values] = {}
        for feature, own in with_states(self._features, states):
            values |= feature.finalize(*own, flows, self.memory)
        if self._anonymizer is not None:  # behind what looks at addresses, and before any of them is written
            _anonymize(flows, self._anonymizer)
        values["record"] = (np.arange(self._built, self._built + len(flows)), None)
        self._built += len(flows)
        said = values.pop("process_label", None)
        apps: dict[str, pa.Array] = {}
        if said is not None:
            apps = self._decided(flows["capture"], said[0], values)  # type: ignore[index]
        arrays = self._texts(flows) | {"tunnel": _tunnels(flows["tunnel"] != 0, stacks)}
        arrays |= apps
        if background is not None:
            arrays[BACKGROUND] = background
        if self._truth is not None and found is not None:
            arrays |= self._truth.relabel(found, arrays)
        pack = _Packer()
        arrays |= {name: value for name, value in values.items() if isinstance(value, pa.Array)}
        columns = [arrays.get(name) or pack(kind, dtype, *values[name]) for name, kind, dtype in self._fields]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _decided(self, captures: Array, numbers: Array, values: dict[str, Values]) -> dict[str, pa.Array]:
        """Columns of group `process`, and `app`: decided once for each label in a capture."""
        pairs, codes = np.unique(captures.astype(np.int64) << _NUMBER | numbers, return_inverse=True)
        kinds = [self._decide(pair >> int(_NUMBER), pair & 0xFFFFFFFF) for pair in pairs.tolist()]
        for pair, kind, rows in zip(pairs.tolist(), kinds, np.bincount(codes).tolist(), strict=True):
            self._apps[pair >> int(_NUMBER), kind.app] += rows
        for name in ("pid", "uid"):
            values[name] = _numbers((getattr(kind, name) for kind in kinds), codes)
        texts = (APP, "process", "sample", "label_by")
        return {name: _categories((getattr(kind, name) for kind in kinds), codes) for name in texts}

    def _decide(self, capture: int, number: int) -> Decided:
        return decide(self._processes.of(number), self._labels_of[capture], self._by[capture])

    def _texts(self, flows: Array) -> dict[str, pa.Array]:
        rows, memory = len(flows), self.memory
        wide, ports = memory.columns((len(WORDS),), rows, np.uint64), memory.columns((2,), rows, np.uint16)
        codes, octets = memory.columns((len(CODES),), rows, np.int32), memory.columns((3,), rows, np.uint8)
        split_ends(flows, wide, ports, codes, octets)
        words = dict(zip(WORDS, wide[:, :rows], strict=True))
        version, protocol, unknown = octets[:, :rows]
        captures, client_by, end_reason = codes[:, :rows]
        found = {
            "community_id": pa.nulls(rows, pa.string()),
            "client_by": category_array(client_by, self._client_by),
            "end_reason": category_array(end_reason, self._end_reasons),
            "source": self._sources.array(captures),
        }
        if not self._hosts:
            source, destination = (words["src_hi"], words["src_lo"]), (words["dst_hi"], words["dst_lo"])
            src_port, dst_port = ports[:, :rows]
            found["community_id"] = community_id_array(
                version, *source, *destination, protocol, src_port, dst_port, memory, unknown != 0
            )
        for side in ("client", "server"):
            found[f"{side}_ip"] = ip_array(version, words[f"{side}_hi"], words[f"{side}_lo"], memory)
            found[f"{side}_mac"] = mac_array(words[f"{side}_mac"], memory)
        found.update((name, dictionary.array(captures)) for name, dictionary in self._labels.items())
        return found


class _Packer:
    """Wraps finished columns as Arrow arrays without copying; masks are packed once each."""

    def __init__(self) -> None:
        self._bitmaps: dict[int, tuple[Any, pa.Buffer]] = {}

    def __call__(self, kind: pa.DataType, dtype: np.dtype[Any] | None, values: Array, null: Array | None) -> pa.Array:
        if dtype == np.bool_:
            bits = np.packbits(values != 0, bitorder="little")  # as Arrow holds them
            return pa.Array.from_buffers(kind, len(values), [self._validity(null), pa.py_buffer(bits)])
        return plain_array(kind, np.ascontiguousarray(values, dtype), self._validity(null))

    def _validity(self, null: Array | None) -> pa.Buffer | None:
        if null is None:
            return None
        if id(null) not in self._bitmaps:  # the mask is kept, so that its id stays its own
            self._bitmaps[id(null)] = (null, validity(null))
        return self._bitmaps[id(null)][1]


def _numpy_dtype(kind: pa.DataType) -> np.dtype[Any] | None:
    """The type of a numeric column's values; None for texts."""
    if pa.types.is_timestamp(kind):
        return np.dtype(np.int64)
    return np.dtype(kind.to_pandas_dtype()) if pa.types.is_primitive(kind) else None
