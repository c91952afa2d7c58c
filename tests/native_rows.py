"""Native record batches with values of every kind, for tests of schemas and sinks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flowgauge.schema import EXTRA_COLUMNS, arrow_schema, native_columns
from flowgauge.schemas import get_schema

SCHEMA = arrow_schema(native_columns())
_TEXTS = ["plain", "with space", 'a "quoted", one', "back\\slash", "line\nfeed", "ünïcode ☃", "=1+1", "tab\there"]


def native_batch(rows: int, seed: int = 0, extras: tuple[str, ...] = ()) -> pa.RecordBatch:
    """A batch of native columns: nulls everywhere, protocols 6, 17 and 1, texts that need escaping."""
    rng = np.random.default_rng(seed)
    schema = arrow_schema((*native_columns(), *(EXTRA_COLUMNS[name] for name in extras)))
    arrays = [_column(field, rows, rng) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def batch_of(schema: str, rows: int) -> pa.RecordBatch:
    """A batch of another schema, made from native columns and the extras that it asks for."""
    found = get_schema(schema)
    return found.convert(native_batch(rows, extras=found.extras))


def _column(field: pa.Field, rows: int, rng: np.random.Generator) -> pa.Array:
    kind = field.type
    null = rng.random(rows) < (0.0 if field.name in ("start", "end", "protocol", "packets", "frame_bytes") else 0.2)
    if field.name.endswith("_ip"):
        return pa.array([f"10.{number}.0.1" for number in rng.integers(0, 99, rows)], kind)
    if pa.types.is_list(kind):
        lists = [
            rng.integers(0, 200, rng.integers(0, int(field.metadata.get(b"length", b"20")) + 1)) for _ in range(rows)
        ]
        return pa.array([values.tolist() for values in lists], kind)
    if pa.types.is_binary(kind):
        return pa.array([rng.bytes(rng.integers(0, 9)) for _ in range(rows)], kind, mask=null)
    if pa.types.is_boolean(kind):
        return pa.array(rng.integers(0, 2, rows) > 0, kind, mask=null)
    if field.name == "protocol":
        return pa.array(rng.choice([6, 17, 1], rows), kind)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(
            pa.array(rng.integers(0, len(_TEXTS), rows), pa.int32(), mask=null), _TEXTS
        )
    if pa.types.is_string(kind):
        return pa.array([f"{field.name} {number}" for number in rng.integers(0, 99, rows)], kind, mask=null)
    if pa.types.is_timestamp(kind):
        seconds = 1_600_000_000 + rng.integers(0, 60) + (field.name == "end") * 3
        return pa.array(seconds * 10**9 + rng.integers(0, 10**12, rows), kind)
    if pa.types.is_floating(kind):
        return pa.array(rng.integers(0, 10**6, rows) / rng.integers(1, 1000, rows), kind, mask=null)
    limit = 200 if kind == pa.uint8() else 60_000
    return pa.array(rng.integers(1, limit, rows), kind, mask=null)
