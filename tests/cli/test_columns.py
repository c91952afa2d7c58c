"""`flowgauge columns` shows what schema.py says, and what other tools call it."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from flowgauge.cli import app
from flowgauge.config import make_config
from flowgauge.peers import peers
from flowgauge.schema import Column, native_columns
from flowgauge.schemas import SCHEMAS


def columns(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["columns", *arguments])


def objects(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(columns("--json", *arguments).stdout)
    return found


def listed(*arguments: str) -> list[Column]:
    return [Column(**{key: row[key] for key in Column._fields}) for row in objects(*arguments)]


def lines(*arguments: str) -> dict[str, str]:
    """The last cell of each column's line."""
    header, *rows = columns(*arguments).stdout.splitlines()
    place = header.index("formula")
    return {row[: header.index("  type")].rstrip(): row[place:] for row in rows}


def test_every_column_is_shown_with_its_formula() -> None:
    """The text has a header and one aligned line for each native column, in the order of the table."""
    assert columns().stdout.split()[:6] == ["name", "type", "unit", "group", "role", "formula"]
    shown = lines()
    assert list(shown) == [column.name for column in native_columns()]
    assert all(shown[column.name].startswith(column.formula) for column in native_columns())


def test_names_in_other_tools_stand_behind_the_formula() -> None:
    """A line ends with the names in brackets, or with the formula where no tool has the column."""
    shown = lines()
    assert shown["down_ip_bytes"] == "Σ ip_len [Zeek resp_ip_bytes; IPFIX reverseOctetDeltaCount]"
    assert shown["payload_packets"] == "number of packets with payload_len > 0"


def test_columns_of_other_schemas_name_the_native_one() -> None:
    """A column of another schema ends with the native column that it is, marked where a detail differs."""
    shown = lines("--schema", "cic")
    assert shown["Total Fwd Packet"] == "n, the number of packets [up_packets]"
    assert shown["Fwd Packet Length Mean"] == "Σ payload_len / n; 0 where n = 0 [≈up_payload_len_mean]"
    assert shown["Flow Packets/s"] == "packets / duration_s; null where duration_s = 0"


def test_json_holds_all_that_is_known() -> None:
    """With --json the columns are an array of objects: all that the schema says, and the names in other tools."""
    assert listed() == list(native_columns())
    found = {row["name"]: {tool: tuple(names) for tool, names in row["peers"].items()} for row in objects()}
    assert found == {column.name: peers(column.name) for column in native_columns()}


def test_groups_are_chosen_as_in_extract() -> None:
    """--features keeps the groups named and core."""
    assert listed("--features", "iat") == list(native_columns(make_config(features="core,iat")))


def test_every_schema_has_its_columns() -> None:
    """Each schema lists its own columns."""
    for name, schema in SCHEMAS.items():
        assert listed("--schema", name) == list(schema.columns())


def test_unknown_names_are_wrong_usage() -> None:
    """An unknown schema or group exits with 2 and says what there is."""
    unknown = columns("--schema", "netflow")
    assert unknown.exit_code == 2
    assert all(name in unknown.stderr for name in SCHEMAS)
    assert columns("--features", "nonsense").exit_code == 2
