"""What a comparison has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from flowgauge.comparing.drift import Drift


class Records(NamedTuple):
    """How many records, and the first of them in words."""

    number: int = 0
    examples: tuple[str, ...] = ()


class Example(NamedTuple):
    """A pair of records and its values of a column."""

    record: str
    a: Any
    b: Any


class ColumnDifference(NamedTuple):
    """A column of which so many of the compared pairs differ; examples are the largest differences."""

    column: str
    differ: int
    compared: int
    examples: tuple[Example, ...]


class LabelChange(NamedTuple):
    """Pairs that have another label."""

    column: str
    a: str | None
    b: str | None
    pairs: int


class TypeChange(NamedTuple):
    """A column that holds something else."""

    column: str
    a: str
    b: str


_NONE = Records()


@dataclass(frozen=True)
class Comparison:
    """What differs between two sets of flow records.

    `rows` are those of a and b, `matched` the pairs of one record each. `splits` are records of a that are several in
    b, `merges` the other way round: these are in no pair. `swapped` pairs have client and server exchanged, and are
    compared so. `offset_s` is how far the clock of b is ahead. `columns` and `labels` are differences of pairs,
    `only_in_a` and `only_in_b` columns that one side lacks, `types` columns of another type, `drift` columns of another
    distribution over all records. `reordered` and `options` (by name, those that made a and b) are told and count as no
    difference.
    """

    a: str
    b: str
    rows: tuple[int, int]
    matched: int = 0
    only_a: Records = _NONE
    only_b: Records = _NONE
    splits: Records = _NONE
    merges: Records = _NONE
    swapped: Records = _NONE
    offset_s: float = 0.0
    columns: tuple[ColumnDifference, ...] = ()
    labels: tuple[LabelChange, ...] = ()
    only_in_a: tuple[str, ...] = ()
    only_in_b: tuple[str, ...] = ()
    types: tuple[TypeChange, ...] = ()
    drift: tuple[Drift, ...] = ()
    reordered: bool = False
    compared: int = 0  # columns of pairs
    options: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        found = (self.only_a, self.only_b, self.splits, self.merges, self.swapped)
        listed = (self.columns, self.labels, self.only_in_a, self.only_in_b, self.types, self.drift)
        return not (any(records.number for records in found) or self.offset_s or any(listed))

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON-ready values."""
        found: dict[str, Any] = plain({"same": self.same, **asdict(self)})
        return found


def plain(value: Any) -> Any:
    """Named tuples as objects, and what JSON does not have as text."""
    if hasattr(value, "_asdict"):
        return {name: plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else shown(value)


def shown(value: Any) -> str:
    """A value in words: times with their nanoseconds, bytes as digits."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:.9g}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    return "null" if value is None else str(value)
