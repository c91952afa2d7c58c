"""Parquet and Arrow IPC files, read back by pyarrow, polars and pandas."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgauge.schema import native_columns
from flowgauge.sinks import open_sink
from flowgauge.sinks.arrow import ArrowWriter
from flowgauge.sinks.parquet import ParquetWriter
from native_rows import SCHEMA, native_batch

ROWS = 450
BATCH = native_batch(ROWS)
FORMATS = ("parquet", "arrow")


def plain(table: pa.Table) -> pa.Table:
    """Categories as strings."""
    return pa.table(
        {
            name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(table.schema.names, table.columns, strict=True)
        }
    )


EXPECTED = plain(pa.Table.from_batches([BATCH]))


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 rows at a time."""
    monkeypatch.setattr(ParquetWriter, "rows", 200)
    monkeypatch.setattr(ArrowWriter, "rows", 200)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """One file of each format with all rows, written in batches of 70."""
    paths = {format: tmp_path / f"flows.{format}" for format in FORMATS}
    for path in paths.values():
        with open_sink(path, schema=SCHEMA, metadata={"made": "here"}) as sink:
            for begin in range(0, ROWS, 70):
                sink.write(BATCH.slice(begin, 70))
    return paths


def stored(format: str, path: Path) -> pa.Table:
    """What pyarrow reads."""
    return pq.read_table(path) if format == "parquet" else pa.ipc.open_file(path).read_all()


@pytest.mark.parametrize("format", FORMATS)
def test_every_value_is_read_back(files: dict[str, Path], format: str) -> None:
    """pyarrow and polars read every value of every column."""
    assert plain(stored(format, files[format])).equals(EXPECTED)
    read = polars.read_parquet if format == "parquet" else polars.read_ipc
    frame = read(files[format])
    for name, column in zip(EXPECTED.schema.names, EXPECTED.columns, strict=True):
        found = frame[name].cast(polars.String) if frame[name].dtype == polars.Categorical else frame[name]
        assert found.to_list() == polars.Series(column).to_list(), name


@pytest.mark.parametrize("format", FORMATS)
def test_pandas_reads_the_same(files: dict[str, Path], format: str) -> None:
    """A pandas frame has every row and the exact times."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(files[format]) if format == "parquet" else pandas.read_feather(files[format])
    assert frame["start"].astype("int64").tolist() == BATCH["start"].cast(pa.int64()).to_pylist()


@pytest.mark.parametrize("format", FORMATS)
def test_types_are_those_of_the_table(files: dict[str, Path], format: str) -> None:
    """Parquet keeps all types; Arrow IPC has plain strings for categories."""
    found = stored(format, files[format]).schema
    assert found.equals(SCHEMA if format == "parquet" else EXPECTED.schema)


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_is_that_given_and_the_definitions(files: dict[str, Path], format: str) -> None:
    """The schema carries the run's metadata, each field its unit, group, role, definition and formula."""
    found = stored(format, files[format]).schema
    assert found.metadata[b"made"] == b"here"
    for column in native_columns():
        metadata = {key.decode(): value.decode() for key, value in found.field(column.name).metadata.items()}
        wanted = {key: getattr(column, key) for key in ("unit", "group", "role", "definition", "formula")}
        assert {key: metadata[key] for key in wanted} == wanted


def test_row_groups_have_a_fixed_size(files: dict[str, Path]) -> None:
    """Rows are gathered into groups of one size, but for the last."""
    metadata = pq.read_metadata(files["parquet"])
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [200, 200, 50]
    reader = pa.ipc.open_file(files["arrow"])
    assert [reader.get_batch(number).num_rows for number in range(reader.num_record_batches)] == [200, 200, 50]


def test_only_texts_that_repeat_have_dictionaries(files: dict[str, Path]) -> None:
    """Parquet stores dictionaries of categories and addresses, not of numbers or Community IDs; all in zstd."""
    group = pq.read_metadata(files["parquet"]).row_group(0)
    for number, field in enumerate(SCHEMA):
        column = group.column(number)
        is_text = pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)
        assert column.has_dictionary_page == (is_text and field.name != "community_id"), field.name
        assert column.compression == "ZSTD"


def test_times_and_categories_have_their_range(files: dict[str, Path]) -> None:
    """Readers can leave out row groups by times and categories; other columns take no time for that."""
    group = pq.read_metadata(files["parquet"]).row_group(0)
    for number, field in enumerate(SCHEMA):
        tells = pa.types.is_timestamp(field.type) or pa.types.is_dictionary(field.type)
        assert group.column(number).is_stats_set == tells, field.name
    start = group.column(SCHEMA.get_field_index("start")).statistics
    rows = pq.ParquetFile(files["parquet"]).read_row_group(0, ["start"])["start"].cast(pa.int64())
    assert (start.min.value, start.max.value) == (min(rows.to_pylist()), max(rows.to_pylist()))


class Counted(io.BytesIO):
    """Counts how often it is written to."""

    writes = 0

    def write(self, data: Any) -> int:
        self.writes += 1
        return super().write(data)


@pytest.mark.parametrize("format", FORMATS)
def test_a_row_group_is_written_at_once(format: str) -> None:
    """The hundreds of pieces of a row group come to the output as a few large ones, before the next group."""
    output = Counted()
    with open_sink(output, format=format, schema=SCHEMA) as sink:
        for groups in (1, 2, 3):
            sink.write(native_batch(200))
            written = len(output.getvalue())
            assert output.writes == groups
            assert written == sink.written > 200 * groups * 20
    assert output.writes == 4


@pytest.mark.parametrize("format", FORMATS)
def test_no_rows_are_a_file_with_columns(tmp_path: Path, format: str) -> None:
    """Zero flows are a readable file that has all columns."""
    path = tmp_path / f"none.{format}"
    with open_sink(path, schema=SCHEMA):
        pass
    table = stored(format, path)
    assert (table.num_rows, table.schema.names) == (0, SCHEMA.names)


@pytest.mark.parametrize("format", FORMATS)
def test_dictionaries_may_grow(tmp_path: Path, format: str) -> None:
    """Sources and labels that come up later are written right, within a group and across groups."""
    schema = pa.schema([("source", pa.dictionary(pa.int32(), pa.string()))])
    names = [f"capture {number}" for number in range(60)]
    path = tmp_path / f"flows.{format}"
    with open_sink(path, schema=schema) as sink:
        for count in range(1, 61):
            codes = pa.array([count - 1, 0, None, count // 2] * 3, pa.int32())
            array = pa.DictionaryArray.from_arrays(codes, pa.array(names[:count]))
            sink.write(pa.RecordBatch.from_arrays([array], schema=schema))
    expected = [
        names[code] if code is not None else None for n in range(1, 61) for code in [n - 1, 0, None, n // 2] * 3
    ]
    assert plain(stored(format, path))["source"].to_pylist() == expected


def test_chunks_do_not_change_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet's pages are cut in the same places, however the rows came."""
    monkeypatch.setattr(ParquetWriter, "rows", 32_768)
    texts = [f"{number:060}" for number in range(40_000)]  # a page is full before a row group is
    table = pa.table({"packets": np.arange(40_000) % 1000, "community_id": texts})
    written = set()
    for step in (8192, 5000, 30_001, len(table)):
        output = io.BytesIO()
        with open_sink(output, format="parquet", schema=table.schema) as sink:
            for begin in range(0, len(table), step):
                (batch,) = table.slice(begin, step).to_batches()
                sink.write(batch)
        written.add(output.getvalue())
    assert len(written) == 1
