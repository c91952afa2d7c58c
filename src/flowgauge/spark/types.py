"""How columns are in Spark, which has neither unsigned integers nor nanoseconds nor dictionaries."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NANOSECONDS = "_ns"
"""Behind the name of a time: the column with its nanoseconds since 1970."""

_PLAIN = (
    (pa.uint8(), pa.int16()),
    (pa.uint16(), pa.int32()),
    (pa.uint32(), pa.int64()),
    (pa.uint64(), pa.decimal128(20, 0)),
    (pa.large_string(), pa.string()),
    (pa.large_binary(), pa.binary()),
    (pa.float16(), pa.float32()),
)
"""Types that become others."""

_MICROSECONDS = pa.timestamp("us", "UTC")


def spark_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values in Spark, as an Arrow type."""
    if pa.types.is_dictionary(kind):
        return spark_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return _MICROSECONDS
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("element", spark_type(kind.value_type)))
    return next((to for of, to in _PLAIN if of == kind), kind)


def spark_schema(schema: pa.Schema) -> pa.Schema:
    """The columns in Spark: a time has two, itself to the microsecond, and its nanoseconds."""
    fields: list[pa.Field] = []
    for field in schema:
        fields.append(pa.field(field.name, spark_type(field.type)))
        if pa.types.is_timestamp(field.type):
            fields.append(pa.field(field.name + NANOSECONDS, pa.int64()))
    return pa.schema(fields)


def to_spark(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows with the columns of :func:`spark_schema`."""
    schema = spark_schema(batch.schema)
    columns: list[pa.Array] = []
    for field, values in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_timestamp(field.type):
            numbers = values.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
            columns += [pc.floor_temporal(values, unit="microsecond").cast(_MICROSECONDS), numbers]
        else:
            columns.append(values.cast(spark_type(field.type)))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def struct_of(schema: pa.Schema) -> Any:
    """The same columns as a type of PySpark."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)
