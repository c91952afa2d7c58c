"""`flowgauge columns` shows what schema.py says."""

from __future__ import annotations

import json

from typer.testing import CliRunner, Result

from flowgauge.cli import app
from flowgauge.config import make_config
from flowgauge.schema import Column, native_columns
from flowgauge.schemas import SCHEMAS


def columns(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["columns", *arguments])


def listed(*arguments: str) -> list[Column]:
    return [Column(**row) for row in json.loads(columns("--json", *arguments).stdout)]


def test_every_column_is_shown_with_its_meaning() -> None:
    """The text has a header and one aligned line for each native column, in the order of the table."""
    header, *lines = columns().stdout.splitlines()
    assert header.split() == ["name", "type", "unit", "group", "role", "definition"]
    place = header.index("definition")
    assert [(line.split()[0], line[place:]) for line in lines] == [
        (column.name, column.definition) for column in native_columns()
    ]


def test_json_holds_the_same_columns() -> None:
    """With --json the columns are an array of objects that says all that the schema does."""
    assert listed() == list(native_columns())


def test_groups_are_chosen_as_in_extract() -> None:
    """--features keeps the groups named and core."""
    assert listed("--features", "iat") == list(native_columns(make_config(features="core,iat")))


def test_every_schema_has_its_columns() -> None:
    """Each schema lists its own columns."""
    for name, schema in SCHEMAS.items():
        assert [column.name for column in listed("--schema", name)] == [column.name for column in schema.columns()]


def test_unknown_names_are_wrong_usage() -> None:
    """An unknown schema or group exits with 2 and says what there is."""
    unknown = columns("--schema", "netflow")
    assert unknown.exit_code == 2
    assert all(name in unknown.stderr for name in SCHEMAS)
    assert columns("--features", "nonsense").exit_code == 2
