"""Truth: puts the labels of a table onto records."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.config import NANOSECONDS
from flowgauge.labels.paths import parts, plain_name, stem
from flowgauge.labels.truth.index import NOTHING, Flows, Index
from flowgauge.labels.truth.reader import read_table
from flowgauge.labels.truth.rules import FOREVER, make_rules
from flowgauge.schema import LABEL_BY, LABEL_COLUMNS

if TYPE_CHECKING:
    from flowgauge.labels.truth.offset import Sample

BY_TABLE = "table"
_CATEGORY = pa.dictionary(pa.int32(), pa.string())
_NO_PATTERN = -2  # -1 is any file
_GLOB = frozenset("*?[")
_NOT_LISTED = 10  # rows without a flow that are named

Array = NDArray[Any]


class Files:
    """Which patterns of a table the names of captures match, by the rules of label templates: the end of the path
    counts, and compression suffixes do not."""

    def __init__(self, patterns: list[str]) -> None:
        self._globs: list[tuple[int, list[str]]] = []
        self._names: dict[tuple[str, ...], list[int]] = {}
        self._depths: set[int] = set()
        for number, pattern in enumerate(patterns):
            texts = parts(pattern)
            texts[-1] = plain_name(texts[-1])
            if _GLOB & set(pattern):
                self._globs.append((number, texts))
            else:
                self._names.setdefault(tuple(texts), []).append(number)
                self._depths.add(len(texts))
        self._of_capture = np.full((1, 0), _NO_PATTERN, np.int64)  # (capture, pattern); the last ones are not there yet
        self._captures = 0

    def add(self, source: str, number: int | None = None) -> None:
        """The capture with this number, by default the next one, has this name."""
        number = self._captures if number is None else number
        *folders, name = parts(source)
        spellings = [[*folders, plain_name(name)], [*folders, stem(name)]]
        found = {n for texts in spellings for n in self._exact(texts)}
        found |= {n for n, glob in self._globs if any(_fits(glob, texts) for texts in spellings)}
        rows, width = self._of_capture.shape
        if number >= rows or len(found) > width:
            rows_now = rows if number < rows else max(number + 1, 2 * rows)
            larger = np.full((rows_now, max(width, len(found))), _NO_PATTERN, np.int64)
            larger[:rows, :width] = self._of_capture
            self._of_capture = larger
        self._of_capture[number, : len(found)] = sorted(found)
        self._captures = max(self._captures, number + 1)

    def _exact(self, texts: list[str]) -> list[int]:
        return [n for depth in self._depths for n in self._names.get(tuple(texts[-depth:]), ())]

    def of(self, captures: Array) -> Array:
        """The patterns that the capture of each flow matches, (flow, pattern); -2 where there are no more."""
        of_flow: Array = self._of_capture[captures]
        return of_flow


def _fits(glob: list[str], texts: list[str]) -> bool:
    """Whether each part of a pattern fits the last parts of a path."""
    last = texts[-len(glob) :]
    return len(last) == len(glob) and all(map(fnmatchcase, last, glob))


def flows_of(records: Array, files: Files) -> Flows:
    """What rules ask for, of records as the meter keeps them."""
    ends = ("client", "server")
    high, low, port = (
        tuple(np.ascontiguousarray(records[f"{end}_{field}"]) for end in ends) for field in ("hi", "lo", "port")
    )
    version, protocol, start, captures = (
        np.ascontiguousarray(records[name]) for name in ("ip_version", "protocol", "start", "capture")
    )
    return Flows(version, high, low, port, protocol, start, files.of(captures))  # type: ignore[arg-type]


class Matches:
    """What a table's rows have matched: which of its rows, of how many records how many, and records by label."""

    def __init__(self, rows: int) -> None:
        self.used = np.zeros(rows, bool)
        self.records = self.matched = 0
        self.labels: Counter[str] = Counter()

    def add(self, found: Mapping[str, Any]) -> None:
        """Take in what another one has :meth:`listed`."""
        self.used[np.array(found["rows"], np.int64)] = True
        self.records += found["records"]
        self.matched += found["matched"]
        self.labels.update(found["labels"])

    def listed(self) -> dict[str, Any]:
        """All of it, as JSON-ready values."""
        labels = dict(self.labels)
        rows = np.flatnonzero(self.used).tolist()
        return {"rows": rows, "records": self.records, "matched": self.matched, "labels": labels}


class Truth:
    """A table of labels for one run. `fields` are its labels.

    `source` is the path of a CSV or Parquet file, or an Arrow table. `offset` are seconds that its clock is behind that
    of the captures: 10:00 in the table with an offset of 3600 is 11:00 in a capture. Raises ConfigError naming what of
    the table makes no sense.
    """

    def __init__(self, source: Any, offset: float = 0.0) -> None:
        table = read_table(source)
        self.name = table.name
        self.is_timed = table.header.is_timed
        self.either = table.header.either
        self.offset = round(offset * NANOSECONDS)
        self._found: float | None = None  # the share of flows by which the offset was found
        self.rules = make_rules(table)
        self._rows = table.rows
        self._index: Index | None = None
        self._files = Files(self.rules.patterns)
        self._labels = {name: table.columns[number].cast(pa.string()) for name, number in table.header.labels.items()}
        self._row_of_rank = np.zeros(table.rows, np.int64)
        self._row_of_rank[self.rules.rank] = self.rules.row
        self._matches = Matches(table.rows)
        self._lock = threading.Lock()  # meters of several threads share one table

    def sample(self) -> Sample:
        """What to meter in the place of this, to find the offset."""
        from flowgauge.labels.truth.offset import Sample

        return Sample(self)

    def set_offset(self, seconds: float, share: float) -> None:
        """The offset that was found, and the share of flows that match by it."""
        self.offset, self._found = round(seconds * NANOSECONDS), share

    @property
    def fields(self) -> tuple[str, ...]:
        return (*self._labels, LABEL_BY)

    def __getstate__(self) -> dict[str, Any]:
        """The table and no counts, for another process; what is made of it is made anew there."""
        state = dict(vars(self))
        del state["_lock"]
        return state | {"_index": None, "_matches": Matches(self._rows)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    @property
    def matched(self) -> dict[str, Any]:
        """What has matched so far (:meth:`Matches.listed`)."""
        return self._matches.listed()

    def add_capture(self, source: str, number: int | None = None) -> None:
        """The capture with this number, by default the next one, has this name."""
        with self._lock:
            self._files.add(source, number)

    def find(self, records: Array) -> Array:
        """The row of each record (as the meter keeps them), -1 for none."""
        return self.find_for(self._matches, records)

    def find_for(self, matches: Matches, records: Array) -> Array:
        """The same, counted elsewhere."""
        with self._lock:
            return self._find(matches, records)

    def _find(self, matches: Matches, records: Array) -> Array:
        if self._index is None:
            self._index = Index(self.rules, self.either)
        flows = flows_of(records, self._files)
        ranks = self._index.find(flows, np.clip(flows.start - self.offset, -FOREVER, FOREVER - 1))
        known = ranks != NOTHING
        rows = np.where(known, self._row_of_rank[np.where(known, ranks, 0)], -1)
        matches.used[rows[known]] = True
        matches.records += len(rows)
        matches.matched += int(known.sum())
        return rows

    def relabel(self, rows: Array, arrays: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The columns of labels of records that match these rows: `arrays`, where rows say nothing."""
        return self.relabel_for(self._matches, rows, arrays)

    def relabel_for(self, matches: Matches, rows: Array, arrays: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The same, counted elsewhere."""
        places = pa.array(rows, pa.int64(), mask=rows < 0)
        found = {name: labels.take(places) for name, labels in self._labels.items()}
        found[LABEL_BY] = pc.if_else(places.is_valid(), BY_TABLE, pa.scalar(None, pa.string()))
        made = {name: _category(pc.coalesce(own, arrays[name].cast(pa.string()))) for name, own in found.items()}
        with self._lock:
            self._count(matches, {**arrays, **made}, len(rows))
        return made

    def _count(self, matches: Matches, arrays: Mapping[str, pa.Array], rows: int) -> None:
        fields = [name for name in LABEL_COLUMNS if arrays[name].null_count < rows] or list(self._labels)[:1]
        texts = [arrays[name].cast(pa.string()) for name in fields]
        joined = pc.binary_join_element_wise(*texts, "/", null_handling="skip")
        matches.labels.update({text: count for text, count in _counts(joined) if text})

    @property
    def labels(self) -> dict[str, int]:
        """Records of each app and action, or else of the first label of the table."""
        return dict(self._matches.labels)

    def add(self, found: Mapping[str, Any]) -> None:
        """Count what was matched elsewhere (:meth:`Matches.listed`)."""
        with self._lock:
            self._matches.add(found)

    def recount(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Let only this have been matched."""
        self._matches = Matches(self._rows)
        for each in found:
            self._matches.add(each)

    def apart(self) -> Apart:
        """The same table for one lane of the run, which counts for itself."""
        return Apart(self, Matches(self._rows))

    def stats(self) -> dict[str, Any]:
        """What matched: rows and records, and the rows that no record matches, from 1, the first of them."""
        found = self._matches
        without = np.flatnonzero(~found.used)
        return {
            "table": self.name,
            "offset_s": self.offset / NANOSECONDS,
            "offset_found": self._found is not None,
            "rows": self._rows,
            "rows_matched": int(found.used.sum()),
            "records": found.records,
            "records_matched": found.matched,
            "unmatched_rows": (without[:_NOT_LISTED] + 1).tolist(),
        }


class Apart:
    """A Truth whose matches are counted by themselves, until they are :meth:`taken`."""

    def __init__(self, truth: Truth, matches: Matches) -> None:
        self._truth, self._matches = truth, matches

    def add_capture(self, source: str, number: int | None = None) -> None:
        """As :meth:`Truth.add_capture`."""
        self._truth.add_capture(source, number)

    def find(self, records: Array) -> Array:
        """As :meth:`Truth.find`."""
        return self._truth.find_for(self._matches, records)

    def relabel(self, rows: Array, arrays: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """As :meth:`Truth.relabel`."""
        return self._truth.relabel_for(self._matches, rows, arrays)

    def taken(self) -> dict[str, Any]:
        """What has matched since this was last asked for (:meth:`Matches.listed`); the table counts it, too."""
        found = self._matches.listed()
        vars(self._matches).update(vars(Matches(len(self._matches.used))))
        self._truth.add(found)
        return found


def _category(texts: pa.Array) -> pa.DictionaryArray:
    return pa.nulls(len(texts), _CATEGORY) if texts.null_count == len(texts) else texts.dictionary_encode()


def _counts(texts: pa.Array) -> list[tuple[str, int]]:
    return [(entry["values"], entry["counts"]) for entry in pc.value_counts(texts).to_pylist()]
