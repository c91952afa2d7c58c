"""What conversions to other schemas share. Importing it loads neither NumPy nor pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowgauge.schema import GROUPS, HIDDEN_GROUPS

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_KNOWN = frozenset(name.encode() for name in (*GROUPS, *HIDDEN_GROUPS))


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
