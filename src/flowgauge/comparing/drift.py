"""Whether a column has another distribution on the other side, whatever record is which.

Numbers are compared by the distance of Kolmogorov and Smirnov, categories by half the sum of what their shares differ.
A distance counts where it is large enough to matter and too large for chance, over all columns that are looked at.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowgauge.comparing.tables import filled, is_null, is_text

SMALLEST = 0.1
"""The smallest distance that is told, of at most 1."""

SAMPLE = 50_000
"""Rows of each side that are looked at, at most."""

_CHANCE = 1e-3  # that any column of equal distributions is told
_FEW = 5  # records that a category needs, to count by itself
_MOST_TEXTS = 1000


class Drift(NamedTuple):
    """A column whose distribution differs, by how much (0 to 1), and what is typical of each side: the median, or the
    category whose share differs most with its shares."""

    column: str
    distance: float
    a: Any
    b: Any


def sample(rows: int) -> NDArray[np.int64] | None:
    """Rows to look at, drawn by the same chance every time; None for all."""
    if rows <= SAMPLE:
        return None
    return np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))


def find_drift(column: str, a: pa.Array, b: pa.Array, columns: int) -> Drift | None:
    """The drift of one of so many columns; None where there is none, and for what is neither number nor category."""
    if not len(a) or not len(b):
        return None
    if is_text(a.type) and is_text(b.type):
        return _categories(column, a, b, _CHANCE / columns)
    if all(pa.types.is_integer(x.type) or pa.types.is_floating(x.type) or pa.types.is_boolean(x.type) for x in (a, b)):
        return _numbers(column, _values(a), _values(b), _CHANCE / columns)
    return None


def _values(array: pa.Array) -> NDArray[np.float64]:
    """Numbers in order; null is below all."""
    values = filled(array, False if pa.types.is_boolean(array.type) else 0).astype(np.float64)
    values[is_null(array) | np.isnan(values)] = -np.inf
    return np.sort(values)


def _numbers(column: str, a: NDArray[np.float64], b: NDArray[np.float64], chance: float) -> Drift | None:
    points = np.concatenate((a, b))
    shares = [np.searchsorted(values, points, side="right") / len(values) for values in (a, b)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    by_chance = math.sqrt(-math.log(chance / 2) / 2 * (1 / len(a) + 1 / len(b)))
    if distance <= max(SMALLEST, by_chance):
        return None
    return Drift(column, distance, _median(a), _median(b))


def _median(values: NDArray[np.float64]) -> float | None:
    middle = float(values[len(values) // 2])
    return None if middle == -math.inf else middle


def _categories(column: str, a: pa.Array, b: pa.Array, chance: float) -> Drift | None:
    counted = [{one["values"]: one["counts"] for one in pc.value_counts(array).to_pylist()} for array in (a, b)]
    names = sorted(counted[0].keys() | counted[1].keys(), key=str)
    if len(names) > _MOST_TEXTS:
        return None
    counts = np.array([[side.get(name, 0) for name in names] for side in counted], np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if distance <= SMALLEST or _is_chance(counts, chance):
        return None
    most = int(np.argmax(np.abs(shares[0] - shares[1])))
    name = "null" if names[most] is None else names[most]
    return Drift(column, distance, *(f"{name} {share:.0%}" for share in shares[:, most]))


def _is_chance(counts: NDArray[np.float64], chance: float) -> bool:
    """Whether the chi-square test of homogeneity takes the shares for equal; rare categories are one."""
    total = counts.sum(axis=0)
    rare = total < 2 * _FEW
    kept = np.concatenate((counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)), axis=1)
    kept = kept[:, kept.sum(axis=0) > 0]
    free = kept.shape[1] - 1
    if free < 1:
        return True
    expected = kept.sum(axis=1, keepdims=True) * kept.sum(axis=0) / kept.sum()
    statistic = float(((kept - expected) ** 2 / expected).sum())
    # Wilson and Hilferty 1931: the cube root of chi-square is nearly normal.
    normal = NormalDist().inv_cdf(1 - chance)
    limit: float = free * (1 - 2 / (9 * free) + normal * math.sqrt(2 / (9 * free))) ** 3
    return statistic <= limit
