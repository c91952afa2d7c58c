"""Times of a truth table, as ns since the epoch by the table's clock.

A time stands for its whole unit: `8:55` is a minute, `8:55:03` a second, `8:55:03.25` a hundredth of it; the finest of
a column is that of all its values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, NamedTuple

SECOND = 1_000_000_000
_MINUTE, _HOUR, _DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
_EPOCH = date(1970, 1, 1).toordinal()
# Whole numbers are seconds, or what they must be so that they are of this age: digits tell which.
_EPOCH_UNITS = ((10**11, SECOND), (10**14, 10**6), (10**17, 10**3), (10**20, 1))
_CLOCK = r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
_ZONE = r"\s*(?P<half>[AaPp])?\.?(?(half)[Mm]\.?)\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})[-/.](?P<one>\d{1,2})[-/.](?P<other>\d{1,2})" + _CLOCK + _ZONE)
_YEAR_LAST = re.compile(r"(?P<one>\d{1,2})[-/.](?P<other>\d{1,2})[-/.](?P<year>\d{4})" + _CLOCK + _ZONE)
_NUMBER = re.compile(r"(?P<sign>-?)(?P<whole>\d+)(?:\.(?P<fraction>\d*))?")
FORMS = "2017-07-03T08:55:00, 3/7/2017 8:55, or seconds, ms, µs or ns since 1970"


class Times(NamedTuple):
    """Values in ns, None where there is none, and the unit that they stand for, in ns."""

    values: list[int | None]
    unit: int


def read_times(values: Iterable[Any], half_day: bool, fail: Callable[[int, str], Exception]) -> Times:
    """The times of distinct values: texts, numbers, or None.

    With `half_day` hours of `3/7/2017 3:56` without AM and PM are those of a clock with twelve, from 8 in the
    morning on, unless one of them is above 12. `fail` makes the error of the value at a place.
    """
    listed = [value if value is None or isinstance(value, (str, int, float)) else str(value) for value in values]
    matches = [_YEAR_LAST.fullmatch(value.strip()) if isinstance(value, str) else None for value in listed]
    last = [match for match in matches if match]
    day_first = _is_day_first(last)
    twelve = half_day and not any(match["half"] or int(match["hour"] or 0) not in range(1, 13) for match in last)
    found: list[int | None] = []
    units = [_DAY]
    for place, (value, match) in enumerate(zip(listed, matches, strict=True)):
        try:
            time = None if value is None else _time(value, match, day_first, twelve)
        except ValueError as error:
            raise fail(place, f"{value!r} is no time ({error}); it takes {FORMS}") from None
        found.append(None if time is None else time[0])
        units += () if time is None else (time[1],)
    return Times(found, min(units))


def _is_day_first(matches: list[re.Match[str]]) -> bool:
    """Whether `3/7` is in July: unless a value can only be the other way round."""
    return not any(int(match["other"]) > 12 for match in matches)


def _time(value: Any, year_last: re.Match[str] | None, day_first: bool, twelve: bool) -> tuple[int, int]:
    """Time and its unit. Raises ValueError."""
    if isinstance(value, (int, float)):
        return _number(repr(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0"))
    text = value.strip()
    if year_last:
        day, month = (year_last["one"], year_last["other"])[:: 1 if day_first else -1]
        return _calendar(year_last, month, day, twelve)
    if match := _YEAR_FIRST.fullmatch(text):
        return _calendar(match, match["one"], match["other"], False)
    return _number(text)


def _number(text: str) -> tuple[int, int]:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError("of no known form")
    whole, fraction = int(match["whole"]), match["fraction"] or ""
    unit = next((unit for limit, unit in _EPOCH_UNITS if whole < limit), None)
    if unit is None:
        raise ValueError("too large")
    finest = max(1, unit // 10 ** len(fraction))
    time = whole * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    return (-time if match["sign"] else time), finest


def _calendar(match: re.Match[str], month: str, day: str, twelve: bool) -> tuple[int, int]:
    days = date(int(match["year"]), int(month), int(day)).toordinal() - _EPOCH
    if match["hour"] is None:
        return days * _DAY, _DAY
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    half = match["half"] or ("p" if hour < 8 else "a")
    if match["half"] or (twelve and hour < 13):
        if not 1 <= hour <= 12:
            raise ValueError("no hour of a clock with twelve")
        hour = hour % 12 + (12 if half in "pP" or (not match["half"] and hour == 12) else 0)
    if hour > 24 or minute > 59 or second > 60:
        raise ValueError("no time of day")
    digits = match["fraction"] or ""
    fraction = int(digits.ljust(9, "0")) if digits else 0
    unit = SECOND // 10 ** len(digits) if match["second"] else _MINUTE
    time = days * _DAY + hour * _HOUR + minute * _MINUTE + second * SECOND + fraction
    return time - _zone(match["zone"]), unit


def _zone(text: str | None) -> int:
    """How far a clock with this zone is ahead of UTC, in ns."""
    if text is None or text in ("Z", "UTC"):
        return 0
    digits = text[1:].replace(":", "")
    ahead = int(digits[:2]) * _HOUR + int(digits[2:]) * _MINUTE
    return -ahead if text[0] == "-" else ahead
