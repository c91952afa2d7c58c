"""Schemas: the tables that native records can be written as.

Importing this package loads neither NumPy nor pyarrow; converting a batch does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flowgauge.config import MeterConfig, make_config
from flowgauge.errors import ConfigError
from flowgauge.schema import ALL_GROUPS, GROUPS, Column, custom_columns, native_columns
from flowgauge.schemas import basic, cic, nfstream, zeek

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMAS", "Schema", "columns", "get_schema"]


class Columns(Protocol):
    """Columns of a table with these label fields, made by a meter of this configuration."""

    def __call__(self, labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
        """The columns, in order."""


class Schema(NamedTuple):
    """One table.

    `features` are the groups that it is made of; where empty, it shows those that are on. `extras` are columns that
    it needs beside the native ones, `omits_null` whether JSON leaves out what is null.
    """

    name: str
    features: tuple[str, ...]
    columns: Columns
    convert: Callable[[pa.RecordBatch], pa.RecordBatch]
    extras: tuple[str, ...] = ()
    omits_null: bool = False

    def listed(self, labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
        """All columns of the table: its own, and those of users' features behind them."""
        own = self.columns(labels, config)
        if self.convert is _unchanged:  # native columns hold them
            return own
        hidden = config.anonymize is not None
        return (*own, *(column for feature in config.custom for column in custom_columns(feature, hidden)))


def _native(labels: Iterable[str] = (), config: MeterConfig = ALL_GROUPS) -> tuple[Column, ...]:
    return native_columns(config, labels)


def _unchanged(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


SCHEMAS: dict[str, Schema] = {
    schema.name: schema
    for schema in (
        Schema("native", (), _native, _unchanged),
        Schema("basic", basic.FEATURES, basic.columns, basic.convert),
        Schema("zeek", zeek.FEATURES, zeek.columns, zeek.convert, zeek.EXTRAS, omits_null=True),
        Schema("nfstream", nfstream.FEATURES, nfstream.columns, nfstream.convert, nfstream.EXTRAS),
        Schema("cic", cic.FEATURES, cic.columns, cic.convert, cic.EXTRAS),
        Schema("cic2017", cic.FEATURES, cic.columns_2017, cic.convert_2017, cic.EXTRAS),
    )
}
"""Every schema by its name."""


def get_schema(name: str) -> Schema:
    """The schema of that name. Raises ConfigError naming those that there are."""
    if name not in SCHEMAS:
        raise ConfigError(f"schema {name!r} is not one of {', '.join(SCHEMAS)}")
    return SCHEMAS[name]


def columns(schema: str = "native", *, labels: Iterable[str] = (), **options: Any) -> tuple[Column, ...]:
    """Every column of a schema: name, type, unit, group, role, definition, formula.

    `options` are those of `flowgauge extract` that change columns, such as `features`; by default all groups are there.
    """
    config = make_config(**{"features": GROUPS, **options})
    return get_schema(schema).listed(labels, config)
