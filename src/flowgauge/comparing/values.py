"""Where two columns differ, value by value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.comparing.tables import filled, is_null, is_text, one_array
from flowgauge.learning import list_places
from flowgauge.sinks.flat import hex_array, is_list

Bool = NDArray[np.bool_]


class Rule(NamedTuple):
    """When values are equal: floats within `relative` of the larger or `absolute`; times within `time` ns, those of b
    being `offset` ns ahead. `loose`: 0 may stand for null; `text`: an empty text may, and bytes are digits."""

    relative: float
    absolute: float = 0.0
    time: int = 0
    offset: int = 0
    loose: bool = False
    text: bool = False


class Difference(NamedTuple):
    """Where values differ, and by how much: inf where only one is null, 0 of what is no number."""

    differ: Bool
    size: NDArray[np.float64]


def differences(a: pa.Array, b: pa.Array, rule: Rule) -> Difference:
    """Compare two columns row by row."""
    if a.equals(b) and not pa.types.is_timestamp(a.type):
        return Difference(np.zeros(len(a), np.bool_), np.zeros(len(a)))
    if rule.text:
        a, b = _as_text(a), _as_text(b)
    if is_list(a.type) and is_list(b.type):
        return _lists(a, b, rule)
    if _is_time(a.type) and _is_time(b.type):
        return _times(a, b, rule)
    if _is_number(a.type) and _is_number(b.type):
        return _numbers(a, b, rule)
    return _texts(a, b, rule)


def _as_text(array: pa.Array) -> pa.Array:
    return hex_array(array) if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type) else array


def _is_number(kind: pa.DataType) -> bool:
    found = (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    )
    return bool(found)


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind))


def _numbers(a: pa.Array, b: pa.Array, rule: Rule) -> Difference:
    null_a, null_b = is_null(a), is_null(b)
    left, right = _filled(a), _filled(b)
    if rule.loose:
        null_a, null_b = null_a & (right != 0), null_b & (left != 0)
    both = ~(null_a | null_b)
    if np.issubdtype(left.dtype, np.integer) and np.issubdtype(right.dtype, np.integer):
        differ = left != right
        size = np.abs(left.astype(np.float64) - right.astype(np.float64))
    else:
        left, right = left.astype(np.float64), right.astype(np.float64)
        with np.errstate(invalid="ignore"):
            size = np.abs(left - right)
            largest = np.maximum(np.abs(left), np.abs(right))
            differ = ~(size <= np.maximum(rule.relative * largest, rule.absolute)) & (left != right)
        nan = np.isnan(left), np.isnan(right)
        differ &= ~(nan[0] & nan[1])
        size = np.where(nan[0] ^ nan[1], np.inf, size)
    differ = np.where(both, differ, null_a != null_b)
    return Difference(differ, np.where(both, size, np.inf))


def _filled(array: pa.Array) -> Any:
    """Numbers as NumPy has them, 0 for null; integers as 64 bits that can be compared."""
    if pa.types.is_null(array.type):
        return np.zeros(len(array), np.int64)
    values = filled(array, False if pa.types.is_boolean(array.type) else 0)
    return values if np.issubdtype(values.dtype, np.floating) or values.dtype == np.uint64 else values.astype(np.int64)


def _times(a: pa.Array, b: pa.Array, rule: Rule) -> Difference:
    left, right = (array.cast(pa.timestamp("ns", array.type.tz)).cast(pa.int64()) for array in (a, b))
    null_a, null_b = is_null(left), is_null(right)
    size = np.abs(filled(left, 0) - (filled(right, 0) - rule.offset))
    both = ~(null_a | null_b)
    return Difference(np.where(both, size > rule.time, null_a != null_b), np.where(both, size, np.inf))


def _texts(a: pa.Array, b: pa.Array, rule: Rule) -> Difference:
    if not (a.type == b.type and not rule.text):
        a, b = _spelled(a), _spelled(b)
    if rule.text or rule.loose:
        a, b = (pc.fill_null(array, "") if is_text(array.type) else array for array in (a, b))
    null = is_null(a) != is_null(b)
    differ = np.asarray(filled(pc.not_equal(a, b), False), np.bool_) | null
    return Difference(differ, np.where(null, np.inf, 0.0))


def _spelled(array: pa.Array) -> pa.Array:
    if is_list(array.type):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    return _as_text(one_array(array)).cast(pa.string())


def _lists(a: pa.Array, b: pa.Array, rule: Rule) -> Difference:
    lengths = [filled(pc.list_value_length(array), 0) for array in (a, b)]
    uneven = lengths[0] != lengths[1]
    differ = uneven | (is_null(a) != is_null(b)) & (lengths[0] + lengths[1] > 0)
    kept = pa.array(np.flatnonzero(~uneven))
    left, right = a.take(kept), b.take(kept)
    rows, _ = list_places(left)
    inside = differences(one_array(pc.list_flatten(left)), one_array(pc.list_flatten(right)), rule)
    numbers = np.flatnonzero(~uneven)[rows]
    differ[numbers[inside.differ]] = True
    size = np.where(uneven, np.inf, 0.0)
    np.maximum.at(size, numbers[inside.differ], inside.size[inside.differ])
    return Difference(differ, size)
