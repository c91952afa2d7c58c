"""CSV and JSON Lines."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import math
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flowgauge.errors import ConfigError
from flowgauge.sinks import lines, open_sink
from flowgauge.sinks.flat import flat_schema
from native_rows import SCHEMA, native_batch

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from(',"\r\n\\\u2028\x1c\x00'), max_size=8)


def text_of(batches: list[pa.RecordBatch], format: str) -> str:
    """What a sink writes for these batches."""
    output = io.BytesIO()
    with open_sink(output, format=format, schema=batches[0].schema) as sink:
        for batch in batches:
            sink.write(batch)
    return output.getvalue().decode()


def csv_rows(**columns: Any) -> list[list[str]]:
    """The rows behind the header, as the standard library reads them."""
    batch = pa.RecordBatch.from_pydict(columns)
    return list(csv.reader(io.StringIO(text_of([batch], "csv"), newline="")))[1:]


def json_rows(**columns: Any) -> list[dict[str, Any]]:
    """The objects, as the standard library reads them."""
    return [json.loads(line) for line in text_of([pa.RecordBatch.from_pydict(columns)], "jsonl").split("\n")[:-1]]


def in_csv(value: Any) -> str:
    """The field that a native value is."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def comparable(array: pa.Array) -> list[Any]:
    """Values as they are written: times as text with nine decimals, bytes as hexadecimal digits."""
    if pa.types.is_binary(array.type):
        return [None if value is None else value.hex() for value in array.to_pylist()]
    if not pa.types.is_timestamp(array.type):
        return array.to_pylist()
    seconds = array.cast(pa.timestamp("s", "UTC"), safe=False).to_pylist()
    rest = array.cast(pa.int64()).to_numpy() % 10**9
    return [f"{second:%Y-%m-%dT%H:%M:%S}.{ns:09d}Z" for second, ns in zip(seconds, rest, strict=True)]


def test_csv_holds_every_value_of_a_native_batch() -> None:
    """A CSV reader gets every value of every column back, also from a slice of a batch; null is an empty field, a list
    a column for each of its places, empty where it is shorter."""
    batch = native_batch(60).slice(13, 40)
    rows = list(csv.reader(io.StringIO(text_of([batch], "csv"), newline="")))
    expected = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = comparable(column)
        if pa.types.is_list(column.type):
            for place in range(int(batch.schema.field(name).metadata[b"length"])):
                expected[f"{name}_{place + 1}"] = [
                    in_csv(value[place]) if place < len(value) else "" for value in values
                ]
        else:
            expected[name] = list(map(in_csv, values))
    assert rows[0] == list(expected)
    for name, found in zip(expected, zip(*rows[1:], strict=True), strict=True):
        assert list(found) == expected[name], name


def test_json_lines_hold_every_value_of_a_native_batch() -> None:
    """Each line is an object with every column, null where there is no value."""
    batch = native_batch(60).slice(13, 40)
    rows = [json.loads(line) for line in text_of([batch], "jsonl").split("\n")[:-1]]
    assert [list(row) for row in rows] == [batch.schema.names] * 40
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        assert [row[name] for row in rows] == comparable(column), name


def test_csv_quotes_only_where_needed() -> None:
    """RFC 4180: a comma, quote or line end is quoted, a quote doubled, and all else left as it is."""
    texts = ["a,b", 'say "x"', "two\nlines", "return\r", "=1+1", "-x", "@y", " z ", "back\\slash", "tab\t"]
    written = text_of([pa.RecordBatch.from_pydict({"text": texts})], "csv")
    quoted = ['"a,b"', '"say ""x"""', '"two\nlines"', '"return\r"']
    assert written == "\n".join(["text", *quoted, *texts[4:]]) + "\n"


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=6), st.booleans())
def test_any_text_is_read_back(texts: list[str | None], as_category: bool) -> None:
    """CSV and JSON give every text back, whether the column is a string or a dictionary."""
    assume(sys.version_info >= (3, 11) or not any("\0" in (text or "") for text in texts))  # as csv.reader can read
    column = pa.array(texts, pa.string())
    column = column.dictionary_encode() if as_category else column
    assert csv_rows(text=column, end=[1] * len(texts)) == [[text or "", "1"] for text in texts]
    assert [row["text"] for row in json_rows(text=column)] == texts


def test_a_header_is_written_for_no_rows() -> None:
    """Zero flows are a CSV header and an empty JSON Lines file."""
    nothing = native_batch(0)
    assert text_of([nothing], "csv") == ",".join(flat_schema(SCHEMA).names) + "\n"
    assert text_of([nothing], "jsonl") == ""


def test_header_names_are_quoted_like_values() -> None:
    """A column name with a comma or a quote reads back from both formats."""
    batch = pa.RecordBatch.from_pydict({'a,"b"': [1]})
    assert text_of([batch], "csv") == '"a,""b"""\n1\n'
    assert json.loads(text_of([batch], "jsonl")) == {'a,"b"': 1}


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
@example([9_223_286_400_000_000_000, -9_223_371_273_709_551_617])  # their difference is more than 64 bits
@example([-(2**63), 9_223_371_273_709_551_616])
def test_times_are_utc_with_nine_decimals(times: list[int]) -> None:
    """Every int64 of nanoseconds, also before 1970, is its ISO 8601 text in UTC."""
    epoch = datetime.datetime(1970, 1, 1)
    whole = [epoch + datetime.timedelta(seconds=time // 10**9) for time in times]
    expected = [f"{moment:%Y-%m-%dT%H:%M:%S}.{time % 10**9:09d}Z" for moment, time in zip(whole, times, strict=True)]
    column = pa.array(times, pa.timestamp("ns", "UTC"))
    assert csv_rows(time=column) == [[text] for text in expected]
    assert [row["time"] for row in json_rows(time=column)] == expected


def test_numbers_that_are_not_finite() -> None:
    """CSV writes nan, inf and -inf; JSON, which has none of them, null."""
    values = [math.nan, math.inf, -math.inf, 1.5, None]
    assert csv_rows(value=values) == [["nan"], ["inf"], ["-inf"], ["1.5"], []]
    assert [row["value"] for row in json_rows(value=values)] == [None, None, None, 1.5, None]


def test_types_beyond_the_native_ones() -> None:
    """Other simple types are written as pyarrow names them, numbers and booleans bare in JSON."""
    columns = {
        "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
        "single": pa.array([0.5, None], pa.float32()),
        "truth": [True, None],
        "day": [datetime.date(2026, 11, 23), None],
        "amount": [decimal.Decimal("1.50"), None],
        "seconds": pa.array([5, None], pa.timestamp("s")),
        "long": pa.array(["x,y", None], pa.large_string()),
        "nothing": pa.nulls(2),
    }
    expected = [str(2**64 - 1), "0.5", "true", "2026-11-23", "1.50", "1970-01-01T00:00:05.000000000Z", "x,y", ""]
    assert csv_rows(**columns) == [expected, [""] * 8]
    first, second = json_rows(**columns)
    assert list(first.values()) == [2**64 - 1, 0.5, True, *expected[3:7], None]
    assert set(second.values()) == {None}


def test_a_null_in_a_dictionary_is_null() -> None:
    """A dictionary whose value, not its index, is null is written as null."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["a,b", None]))
    assert csv_rows(text=column, end=[1, 1, 1]) == [["a,b", "1"], ["", "1"], ["", "1"]]
    assert [row["text"] for row in json_rows(text=column)] == ["a,b", None, None]


def test_texts_longer_than_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than all that is formatted at a time is written whole."""
    monkeypatch.setattr(lines, "_SLOT_BYTES", 1000)
    texts = ["a" * 5000, "b", "c" * 3000, *"short lines"]
    assert text_of([pa.RecordBatch.from_pydict({"text": texts})], "csv") == "\n".join(["text", *texts]) + "\n"


def test_escaped_dictionaries_may_change() -> None:
    """A dictionary that grows, or is another one in the next batch, is escaped anew."""
    schema = pa.schema([("text", pa.dictionary(pa.int32(), pa.string()))])
    lists = (["a,b"], ["a,b", 'c"d'], ["e,f", "a,b"], ["plain"])
    batches = [pa.RecordBatch.from_arrays([pa.array(texts).dictionary_encode()], schema=schema) for texts in lists]
    assert text_of(batches, "csv").splitlines()[1:] == ['"a,b"', '"a,b"', '"c""d"', '"e,f"', '"a,b"', "plain"]


def test_pyarrow_reads_the_types_back() -> None:
    """Columns of whole doubles read back as doubles, times as times."""
    batch = pa.RecordBatch.from_pydict(
        {"mean": [1.0, 40.0], "start": pa.array([1, 2], pa.timestamp("ns", "UTC")), "count": [1, 2]}
    )
    table = pyarrow.csv.read_csv(io.BytesIO(text_of([batch], "csv").encode()))
    assert table.schema.types == [pa.float64(), pa.timestamp("ns", "UTC"), pa.int64()]
    assert table.to_batches()[0].columns == batch.columns


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_nested_columns_are_refused(format: str) -> None:
    """What is no list of so many values is no text: one line says which column and which formats take it."""
    batch = pa.RecordBatch.from_pydict({"splt": [[[1, 2]]]})
    with pytest.raises(ConfigError, match=r"'splt' holds list.*Parquet or Arrow"):
        text_of([batch], format)


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
def test_compression_by_extension(tmp_path: Any, extension: str) -> None:
    """.gz and .zst behind .csv and .jsonl compress the very same text."""
    batch = native_batch(50)
    plain = text_of([batch], extension).encode()
    for suffix in ("gz", "zst"):
        path = tmp_path / f"flows.{extension}.{suffix}"
        with open_sink(path, schema=SCHEMA) as sink:
            sink.write(batch)
        stored = path.read_bytes()
        assert len(stored) < len(plain)
        found = gzip.decompress(stored) if suffix == "gz" else pa.CompressedInputStream(str(path), "zstd").read()
        assert found == plain


def test_rows_without_nulls_after_rows_with_nulls() -> None:
    """Validity belongs to each batch: bits of one do not leak into the next."""
    schema = pa.schema([("n", pa.int64())])
    batches = [
        pa.RecordBatch.from_arrays([pa.array(values)], schema=schema) for values in ([1, None], [2, 3], [None, 4])
    ]
    assert text_of(batches, "csv") == "n\n1\n\n2\n3\n\n4\n"
    assert np.array_equal([json.loads(line)["n"] for line in text_of(batches, "jsonl").split("\n")[:-1]][2:4], [2, 3])
