"""Label rules, as pcapML has them: CSV lines `BPF:<filter>[|TS_START:<s>][|TS_END:<s>],<label>[,<hash key>]`."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from flowgauge.errors import ConfigError
from flowgauge.labels.process import RULE, ProcessLabel, clean

_FORM = "BPF:<filter>[|TS_START:<epoch s>][|TS_END:<epoch s>],<label>[,<hash key>]"
_TIME = re.compile(r"\|?\s*(TS_START|TS_END):\s*(\d{1,10}(?:\.\d+)?)\s*$")
_NANOSECONDS = 1_000_000_000


class LabelRule(NamedTuple):
    """Packets that `expression` selects, from `begin` to `end` (ns since the epoch, None: no bound), have the label.

    `place` is the file and line of the rule, for messages.
    """

    expression: str
    begin: int | None
    end: int | None
    label: ProcessLabel
    place: str


def read_rules(path: str | os.PathLike[str]) -> list[LabelRule]:
    """The rules of a file, in order; empty lines and those that begin with # are passed over.

    Raises ConfigError with file and line for what is no rule, and for a file without any or that cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rules = list(_rules(file, name))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the label rules {name}: {getattr(error, 'strerror', None) or error}") from error
    if not rules:
        raise ConfigError(f"{name} has no label rules: a rule is a line {_FORM}")
    return rules


def _rules(lines: Iterator[str], name: str) -> Iterator[LabelRule]:
    rows = csv.reader(lines)
    while True:
        place = f"{name}, line {rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ConfigError(f"{place}: {error}") from error
        if row is None:
            return
        if row and row[0].strip() and not row[0].startswith("#"):
            yield _rule(row, place)


def _rule(row: list[str], place: str) -> LabelRule:
    match, label, sample = [field.strip() for field in (*row, "", "")][:3]
    if not clean(label) or len(row) > 3:
        raise ConfigError(f"{place}: a label rule is {_FORM}; put a filter with commas into quotes")
    times: dict[str, int] = {}
    while found := _TIME.search(match):
        times[found[1]] = int(Decimal(found[2]) * _NANOSECONDS)
        match = match[: found.start()].rstrip()
    if match.startswith("BPF:"):
        match = match[len("BPF:") :].strip()
    elif match or not times:
        raise ConfigError(f"{place}: {row[0]!r} has no filter and no time; a label rule is {_FORM}")
    begin, end = times.get("TS_START"), times.get("TS_END")
    if begin is not None and end is not None and begin > end:
        raise ConfigError(f"{place}: TS_START lies behind TS_END")
    return LabelRule(match, begin, end, ProcessLabel(RULE, clean(label), sample=clean(sample)), place)
