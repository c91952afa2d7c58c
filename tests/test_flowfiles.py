"""Flow tables are read back as they were written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

import flowgauge as fg
from flowgauge.errors import SourceError
from flowgauge.flowfiles import is_flow_file, read_flows

CAPTURE = Path(__file__).parent.parent / "examples" / "captures" / "dns_lookup_01.pcap"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return fg.read(CAPTURE, label="{app}_{action}_*.pcap", features="size,tcp,splt")


def plain(table: pa.Table) -> pa.Table:
    """The table with texts for categories, and without metadata of fields."""
    kinds = [f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in table.schema]
    return table.cast(pa.schema([pa.field(f.name, kind) for f, kind in zip(table.schema, kinds, strict=True)]))


@pytest.mark.parametrize("extension", ["parquet", "arrow", "csv", "csv.gz", "csv.zst"])
def test_what_was_written_is_read(table: pa.Table, tmp_path: Path, extension: str) -> None:
    """Every format gives the values and types back, lists among them; CSV has lists behind the other columns."""
    path = tmp_path / f"flows.{extension}"
    fg.write(table, path)
    assert is_flow_file(path)
    found = read_flows([path])
    assert sorted(found.column_names) == sorted(table.column_names)
    assert plain(found.select(table.column_names)).equals(plain(table))


def test_several_are_one_table(table: pa.Table, tmp_path: Path) -> None:
    """Tables of different formats are one behind the other; a column that one lacks is null there."""
    fg.write(table.slice(0, 4), tmp_path / "a.parquet")
    fg.write(table.slice(4).drop_columns(["tcp_state"]), tmp_path / "b.csv")
    found = read_flows([tmp_path / "a.parquet", tmp_path / "b.csv"])
    assert found["flow_id"].to_pylist() == table["flow_id"].to_pylist()
    assert found["tcp_state"].slice(4).null_count == table.num_rows - 4
    assert b"flowgauge_version" in found.schema.metadata


def test_columns_can_be_left_out(table: pa.Table, tmp_path: Path) -> None:
    """Of Parquet, only the columns that are wanted are read."""
    fg.write(table, tmp_path / "a.parquet")
    found = read_flows([tmp_path / "a.parquet"], lambda field: field.name == "packets")
    assert found.column_names == ["packets"] and found["packets"].equals(table["packets"])


def test_first_bytes_decide(table: pa.Table, tmp_path: Path) -> None:
    """Parquet is Parquet whatever its name; a capture is no flow table."""
    fg.write(table, tmp_path / "a.parquet")
    (tmp_path / "a.parquet").rename(tmp_path / "flows")
    assert is_flow_file(tmp_path / "flows") and read_flows([tmp_path / "flows"]).num_rows == table.num_rows
    assert not is_flow_file(CAPTURE)


def test_tables_that_do_not_go_together(tmp_path: Path) -> None:
    """The error says so where a column is a number in one table and a list in another."""
    for name, values in (("a", [1]), ("b", [[1]])):
        pyarrow.parquet.write_table(pa.table({"x": values}), tmp_path / f"{name}.parquet")
    with pytest.raises(SourceError, match="do not go together"):
        read_flows([tmp_path / "a.parquet", tmp_path / "b.parquet"])
