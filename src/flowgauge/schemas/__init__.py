"""Schemas: the tables that native records can be written as.

Importing this package loads neither NumPy nor pyarrow; converting a batch does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flowgauge.errors import ConfigError
from flowgauge.schema import GROUPS, Column, native_columns
from flowgauge.schemas import basic, zeek

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMAS", "Schema", "columns", "described", "get_schema"]


class Columns(Protocol):
    """Columns of a table with these label fields, made from these feature groups."""

    def __call__(self, labels: Iterable[str] = (), features: Iterable[str] = GROUPS) -> tuple[Column, ...]:
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


def _native(labels: Iterable[str] = (), features: Iterable[str] = GROUPS) -> tuple[Column, ...]:
    return native_columns(features, labels)


def _unchanged(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


SCHEMAS: dict[str, Schema] = {
    schema.name: schema
    for schema in (
        Schema("native", (), _native, _unchanged),
        Schema("basic", basic.FEATURES, basic.columns, basic.convert),
        Schema("zeek", zeek.FEATURES, zeek.columns, zeek.convert, zeek.EXTRAS, omits_null=True),
    )
}
"""Every schema by its name."""


def get_schema(name: str) -> Schema:
    """The schema of that name. Raises ConfigError naming those that there are."""
    if name not in SCHEMAS:
        raise ConfigError(f"schema {name!r} is not one of {', '.join(SCHEMAS)}")
    return SCHEMAS[name]


def columns(
    schema: str = "native", *, labels: Iterable[str] = (), features: Iterable[str] = GROUPS
) -> tuple[Column, ...]:
    """Every column of a schema: name, type, unit, group, role, definition."""
    return get_schema(schema).columns(labels, features)


def described(schema: pa.Schema) -> pa.Schema:
    """The same fields, each with unit, group, role and definition of its column as metadata.

    The columns are those of the schema that has the most of these names. Fields that it does not have, and those
    that bring metadata of their own, stay as they are.
    """
    names = set(schema.names)
    tables = [{column.name: column for column in known.columns()} for known in SCHEMAS.values()]
    table = max(tables, key=lambda columns: len(names & columns.keys()))
    for position, field in enumerate(schema):
        if field.name in table and not field.metadata:
            schema = schema.set(position, field.with_metadata(_metadata(table[field.name])))
    return schema


def _metadata(column: Column) -> dict[str, str]:
    return {name: value for name, value in column._asdict().items() if name not in ("name", "type")}
