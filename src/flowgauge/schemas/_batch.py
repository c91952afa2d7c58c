"""What conversions to other schemas share. Importing it loads neither NumPy nor pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowgauge.schema import EXTRA_COLUMNS, GROUPS, HIDDEN_GROUPS, SIMILAR, Column, native_columns, zero_for_null

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_KNOWN = frozenset(name.encode() for name in (*GROUPS, *HIDDEN_GROUPS))
_NATIVE = {column.name: column for column in native_columns()}


def of_native(name: str) -> Column:
    """The native column of that name, or the extra one: what its copy in another table is."""
    return _NATIVE[name]._replace(native=name) if name in _NATIVE else EXTRA_COLUMNS[name]


def similar(name: str) -> Column:
    """The same for a column that is no copy: in another unit, with 0 in place of null, or not of the same packets."""
    column = of_native(name)
    native = column.native and SIMILAR + column.native.removeprefix(SIMILAR)
    return column._replace(native=native, formula=zero_for_null(column.formula))


def numbers(batch: pa.RecordBatch, name: str) -> NDArray[Any]:
    """A column as NumPy; null is 0."""
    import pyarrow.compute as pc

    values = batch[name]
    filled = pc.fill_null(values, 0) if values.null_count else values
    found: NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return found


def with_custom(made: pa.RecordBatch, native: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of another schema with the columns of users' features behind them; `native` has the same rows."""
    import pyarrow as pa

    own = [field for field in native.schema if (field.metadata or {}).get(b"group", b"core") not in _KNOWN]
    if not own:
        return made
    schema = pa.schema([*made.schema, *own], made.schema.metadata)
    return pa.RecordBatch.from_arrays([*made.columns, *(native[field.name] for field in own)], schema=schema)
