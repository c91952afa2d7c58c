"""The formulas of docs/columns.md, taken at their word: what they give is what the columns hold."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowgauge as fg
from flowgauge.config import make_config
from flowgauge.schema import Column, native_columns

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "captures"
GROUPS = ("core", "size", "iat", "flags", "distribution", "splt")
MOST = 300  # packets of a record that are looked at
EXACT = 16  # packets up to which quantiles are exact
UNKNOWN = re.compile(r"\btime\b|\bframe_len\b")  # what a sequence does not tell
Series = dict[str, list[float]]


def _moment(values: list[float], power: int) -> float:
    centre = statistics.fmean(values)
    return sum((value - centre) ** power for value in values) / len(values)


def _smallest(count: int, percent: int, values: list[float]) -> float:
    return sorted(values)[math.ceil(count * percent / 100) - 1]


# Formulas and what they mean, with the series by name and the numbers n and m.
RULES: dict[str, Callable[[Any, Series], float]] = {
    r"n, the number of packets": lambda match, by: len(by["n"]),
    r"Σ (\w+)": lambda match, by: sum(by[match[1]]),
    r"(min|max) (\w+)": lambda match, by: {"min": min, "max": max}[match[1]](by[match[2]]),
    r"Σ (\w+) / ([nm])": lambda match, by: sum(by[match[1]]) / len(by[match[2]]),
    r"√\(Σ\((\w+) − mean\)² / \(([nm]) − 1\)\)": lambda match, by: math.sqrt(
        _moment(by[match[1]], 2) * len(by[match[2]]) / (len(by[match[2]]) - 1)
    ),
    r"number of packets with (\w+) > 0": lambda match, by: sum(value > 0 for value in by[match[1]]),
    r"number of packets with (\w+) & (\d+) ≠ 0": lambda match, by: sum(
        int(value) & int(match[2]) != 0 for value in by[match[1]]
    ),
    r"⌈([nm])·(\d+)/100⌉-th smallest (\w+)": lambda match, by: _smallest(
        len(by[match[1]]), int(match[2]), by[match[3]]
    ),
    r"m₃ / m₂\^1.5, mₖ = Σ\((\w+) − mean\)ᵏ / [nm]": lambda match, by: (
        _moment(by[match[1]], 3) / _moment(by[match[1]], 2) ** 1.5
    ),
    r"m₄ / m₂² − 3, mₖ = Σ\((\w+) − mean\)ᵏ / [nm]": lambda match, by: (
        _moment(by[match[1]], 4) / _moment(by[match[1]], 2) ** 2 - 3
    ),
}


def _rule(column: Column) -> tuple[Any, Callable[[Any, Series], float]] | None:
    """The match of a column's formula, and what it means, where that is one of RULES."""
    for pattern, rule in RULES.items():
        if match := re.fullmatch(pattern, column.formula.split(";")[0]):
            return match, rule
    return None


def _is_null(column: Column, by: Series) -> bool:
    """Whether the formula says that the column is null: the condition behind it, with n, m and m₂."""
    said = re.search(r"null where (.*)", column.formula)
    if said is None:
        return False
    n, m = len(by["n"]), len(by["m"])
    values = by["gap" if "gap" in column.formula else "ip_len"]
    second = _moment(values, 2) if values else 0.0
    condition = said[1].replace("m₂", "second").replace(" = ", " == ")
    return bool(eval(condition, {"n": n, "m": m, "second": second}))


def _series(row: dict[str, Any], prefix: str) -> Series:
    """The packets of a view of a record, from its sequence: of a direction those that go that way."""
    times, time = [], 0
    for gap in row["splt_iat_s"]:
        time += round(gap * 1e9)  # whole ns
        times.append(time)
    directions = row["splt_direction"]
    chosen = [place for place, way in enumerate(directions) if prefix != ("up_", "down_")[1 - way]]
    fields = {"ip_len": "splt_ip_len", "payload_len": "splt_payload_len", "tcp_flags": "splt_flags"}
    by: Series = {name: [row[column][place] for place in chosen] for name, column in fields.items()}
    by["gap"] = [(times[after] - times[before]) / 1e9 for before, after in itertools.pairwise(chosen)]
    return by | {"n": by["ip_len"], "m": by["gap"]}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Records of the example captures whose packets are all in their sequence, in order of time."""
    found: list[dict[str, Any]] = fg.read(EXAMPLES, features=GROUPS, splt=MOST).to_pylist()
    return [row for row in found if row["packets"] <= MOST and not row["clock_back"] and row["part"] == 0]


def test_formulas_give_the_values(rows: list[dict[str, Any]]) -> None:
    """Lengths, gaps, flags, quantiles and shapes are what their formulas say of the packets, null too."""
    listed = native_columns(make_config(features=GROUPS))
    meant = [(column, rule) for column in listed if not UNKNOWN.search(column.formula) and (rule := _rule(column))]
    assert len(meant) == 3 * (3 + 9 + 4 + 8 + 14)
    assert len(rows) > 20
    for row in rows:
        views = {prefix: _series(row, prefix) for prefix in ("", "up_", "down_")}
        for column, (match, rule) in meant:
            prefix = re.match("(up_|down_)?", column.name)[0]  # type: ignore[index]
            by = views[prefix]
            if _is_null(column, by):
                assert row[column.name] is None, column.name
                continue
            close = 0.02 if "within 2 %" in column.formula and row["packets"] > EXACT else 1e-9
            assert row[column.name] == pytest.approx(rule(match, by), rel=close, abs=1e-9), column.name


def test_a_flow_of_one_packet_has_its_nulls(rows: list[dict[str, Any]]) -> None:
    """Among the records are those with one packet in a direction, for which deviations and gaps are null."""
    single = [row for row in rows if row["up_packets"] == 1]
    assert single
    assert all(row["up_ip_len_std"] is row["up_iat_mean_s"] is None for row in single)
