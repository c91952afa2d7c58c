"""Durations and sizes as people write them."""

from __future__ import annotations

import math

from flowgauge.errors import ConfigError

_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def seconds_of(name: str, text: str | None) -> float | None:
    """`300`, `300s`, `5m`, `1.5h`, `7d` in seconds. Raises ConfigError naming the option."""
    return _number(name, text, _SECONDS, "a time above 0 such as 30s, 5m or 1h")


def bytes_of(name: str, text: str | None) -> int | None:
    """`500000`, `100M`, `2G` in bytes, of decimal units. Raises ConfigError naming the option."""
    number = _number(name, text, _BYTES, "a size above 0 such as 500k, 100M or 2G")
    return None if number is None else round(number)


def _number(name: str, text: str | None, units: dict[str, float], takes: str) -> float | None:
    if text is None:
        return None
    unit = next((unit for unit in units if text.strip().endswith(unit)), "")
    try:
        number = float(text.strip().removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{name} is {takes}, not {text!r}")
    return number
