"""Types of the columns and the state of a user's feature."""

from __future__ import annotations

from typing import NamedTuple

from flowgauge.errors import ConfigError

MOST_VALUES = 4096


class ColumnType(NamedTuple):
    """A number type by its NumPy name; with a `length`, so many of them: `fg.u16[8]`."""

    name: str
    length: int = 0

    def __getitem__(self, length: int) -> ColumnType:  # type: ignore[override]
        if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= MOST_VALUES:
            raise ConfigError(f"an array of {self.name} has 1 to {MOST_VALUES} values, not {length!r}")
        return ColumnType(self.name, length)

    @property
    def is_float(self) -> bool:
        """Whether values may have a fraction."""
        return self.name.startswith("float")

    @property
    def column(self) -> str:
        """The type in a table's schema."""
        return f"list<{self.name}>" if self.length else self.name


u8, u16, u32, u64 = (ColumnType(f"uint{bits}") for bits in (8, 16, 32, 64))
i8, i16, i32, i64 = (ColumnType(f"int{bits}") for bits in (8, 16, 32, 64))
f32, f64 = ColumnType("float32"), ColumnType("float64")
boolean = ColumnType("bool")
