"""Record batches as lines of text, one value after another, formatted by kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import DTypeLike, NDArray

from flowgauge.kernels.digits import MAX_INTEGER
from flowgauge.kernels.floats import MAX_FLOAT
from flowgauge.kernels.lines import (
    SLACK,
    TIME_BYTES,
    Field,
    Lines,
    Strings,
    Text,
    is_plain,
    join_lines,
    put_floats,
    put_integers,
    put_strings,
    put_times,
    start_lines,
)
from flowgauge.sinks.flat import hex_array, is_list

_LINES = 1024  # at a time: their slots stay in the second-level cache
_SLOT_BYTES = 1 << 22  # of all slots together, where texts are long
_TIME = pa.timestamp("ns", "UTC")


class Notation(NamedTuple):
    """What a format writes around values, and how it writes those that are not plain."""

    before: Callable[[int, str], str]  # a value, by number and name of its column
    end: str  # of a line
    null: str
    quote: str  # on both sides of every string
    escape: Callable[[str], str]
    not_finite: bool  # whether nan and inf can be written
    omits_null: bool = False  # whether a null leaves nothing, but in the first column
    lists: bool = False  # whether it has lists, written as JSON does


class _Column(NamedTuple):
    """One column of a batch, ready to be appended by `put`; no text of it is longer than `width`."""

    put: Callable[..., int]
    values: tuple[Any, ...]
    field: Field
    width: int


class _Around(NamedTuple):
    """Texts around the values of a column, and the bytes of its longest value."""

    before: str
    quote: str
    width: int


class LineFormatter:
    """Formats record batches of one schema."""

    def __init__(self, schema: pa.Schema, notation: Notation) -> None:
        self._notation = notation
        self._before = [notation.before(number, name) for number, name in enumerate(schema.names)]
        self._tail = _text(notation.end)
        self._lines = Lines(np.empty(0, np.uint8), np.empty(_LINES, np.uint64))
        self._joined = np.empty(0, np.uint8)
        self._dictionaries: dict[str, tuple[pa.Array, pa.Array]] = {}

    def format(self, batch: pa.RecordBatch) -> Iterator[memoryview]:
        """The text of all rows, in pieces that are valid until the next one is asked for."""
        columns = [self._prepare(array, before) for array, before in zip(batch.columns, self._before, strict=True)]
        width = sum(column.width for column in columns) + SLACK
        step = max(1, min(_LINES, _SLOT_BYTES // max(width, 1)))
        self._reserve(step, width)
        for begin in range(0, len(batch), step):
            stop = min(begin + step, len(batch))
            start_lines(self._lines, stop - begin, width)
            for column in columns:
                column.put(*column.values, column.field, self._lines, begin, stop)
            size = int(join_lines(self._lines, stop - begin, width, self._tail, self._joined))
            yield self._joined[:size].data

    def _reserve(self, rows: int, width: int) -> None:
        if len(self._lines.text) < rows * width:
            self._lines = self._lines._replace(text=np.empty(rows * width, np.uint8))
        if len(self._joined) < rows * (width + self._tail.size) + SLACK:
            self._joined = np.empty(rows * (width + self._tail.size) + SLACK, np.uint8)

    def _prepare(self, array: pa.Array, before: str) -> _Column:
        kind = array.type
        if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
            return self._strings(array, before, self._notation.quote)
        if pa.types.is_binary(kind):
            return self._strings(hex_array(array), before, self._notation.quote)
        if is_list(kind):
            return self._strings(self._joined_lists(array), before, "")
        if pa.types.is_floating(kind):
            return self._floats(array, before)
        if pa.types.is_integer(kind) and kind != pa.uint64():
            return self._numbers(_as(array, pa.int64()), before, put_integers, MAX_INTEGER)
        if pa.types.is_timestamp(kind):
            return self._numbers(_as(array, _TIME), before, put_times, TIME_BYTES)
        quote = "" if pa.types.is_boolean(kind) or pa.types.is_integer(kind) else self._notation.quote
        return self._strings(array.cast(pa.string()), before, quote)

    def _numbers(self, array: pa.Array, before: str, put: Callable[..., int], width: int) -> _Column:
        quote = self._notation.quote if put is put_times else ""
        return self._column(put, (_values(array, np.int64),), array, _Around(before, quote, width))

    def _floats(self, array: pa.Array, before: str) -> _Column:
        array = _as(array, pa.float64())
        if not self._notation.not_finite:
            array = pc.if_else(pc.is_finite(array), array, pa.scalar(None, pa.float64()))
        values = _values(array, np.float64)
        return self._column(put_floats, (values, values.view(np.uint64)), array, _Around(before, "", MAX_FLOAT))

    def _strings(self, array: pa.Array, before: str, quote: str) -> _Column:
        if not pa.types.is_dictionary(array.type):
            array = _as(array, pa.string())
            array = array if _plain(array) else array.dictionary_encode()
        elif array.dictionary.null_count:
            array = array.cast(pa.string()).dictionary_encode()
        if pa.types.is_dictionary(array.type):
            texts = self._escaped(_as(array.dictionary, pa.string()), before)
            codes = _values(_as(array.indices, pa.int32()), np.int32)
        else:
            texts, codes = array, _readonly(np.arange(len(array), dtype=np.int32))
        offsets = _values(texts, np.int32, len(texts) + 1)
        width = int(np.diff(offsets).max(initial=0))
        return self._column(put_strings, (Strings(codes, offsets, _data(texts)),), array, _Around(before, quote, width))

    def _escaped(self, texts: pa.Array, before: str) -> pa.Array:
        """The values of a dictionary, escaped; the last ones of each column are kept."""
        if _plain(texts):
            return texts
        last = self._dictionaries.get(before)
        if last is None or not last[0].equals(texts):
            escaped = pa.array(map(self._notation.escape, texts.to_pylist()), pa.string())
            last = self._dictionaries[before] = (texts, escaped)
        return last[1]

    def _joined_lists(self, array: pa.Array) -> pa.Array:
        """The text of lists of numbers."""
        if isinstance(array, pa.FixedSizeListArray):
            array = array.cast(pa.list_(array.type.value_type))
        words = pc.coalesce(array.values.cast(pa.string()), self._notation.null)
        null = array.is_null() if array.null_count else None
        lists = pa.ListArray.from_arrays(array.offsets, words, mask=null)
        return pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")

    def _column(self, put: Callable[..., int], values: tuple[Any, ...], array: pa.Array, around: _Around) -> _Column:
        before, after = around.before + around.quote, around.quote
        omitted = self._notation.omits_null and around.before != self._before[0]
        null = "" if omitted else around.before + self._notation.null
        valid, first_bit = _validity(array)
        field = Field(_text(before), _text(after), _text(null), valid, first_bit)
        width = max(field.before.size + around.width + field.after.size, field.null.size)
        return _Column(put, values, field, width)


def _as(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The array as that type; a cast that changes nothing takes long."""
    return array if array.type == kind else array.cast(kind)


def _values(array: pa.Array, dtype: DTypeLike, count: int | None = None) -> NDArray[Any]:
    """The second buffer of an array: its values, or the offsets of its texts."""
    count = len(array) if count is None else count
    buffer = array.buffers()[1]
    if buffer is None or not buffer.size:
        return _readonly(np.zeros(count, dtype))
    return _readonly(np.frombuffer(buffer, dtype, count, array.offset * np.dtype(dtype).itemsize))


def _data(texts: pa.Array) -> NDArray[np.uint8]:
    """The bytes of all texts, at the places that their offsets say."""
    buffer = texts.buffers()[2]
    return _readonly(np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8))


def _plain(texts: pa.Array) -> bool:
    offsets = _values(texts, np.int32, len(texts) + 1)
    return bool(is_plain(_data(texts), int(offsets[0]), int(offsets[-1])))


def _validity(array: pa.Array) -> tuple[NDArray[np.uint8], int]:
    """The validity bits of an array and which of them is that of the first row."""
    buffer = array.buffers()[0]
    if buffer is None:
        return _readonly(np.full(len(array) // 8 + 1, 0xFF, np.uint8)), 0
    return _readonly(np.frombuffer(buffer, np.uint8)), array.offset


@functools.cache
def _text(text: str) -> Text:
    data = text.encode()
    return Text(_readonly(np.frombuffer(data + bytes(-len(data) % 8), np.uint8)), len(data))


def _readonly(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, read-only: Arrow's buffers are, and a kernel is compiled for one kind of array."""
    array.setflags(write=False)
    return array
