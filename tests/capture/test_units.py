"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from flowgauge.capture.units import bytes_of, seconds_of
from flowgauge.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("300s", 300), ("5m", 300), ("1.5h", 5400), ("7d", 604_800), ("250ms", 0.25), (" 2 s ", 2)],
)
def test_times(text: str, seconds: float) -> None:
    """A number, with a unit or in seconds."""
    assert seconds_of("rotate", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("500000", 500_000), ("500k", 500_000), ("100M", 10**8), ("1.5G", 15 * 10**8)]
)
def test_sizes(text: str, size: int) -> None:
    """A number of bytes, with a decimal unit or without."""
    assert bytes_of("rotate-size", text) == size


@pytest.mark.parametrize("text", ["", "soon", "0", "-5m", "nan", "inf", "1e400", "5x", "m", "1h30m"])
def test_what_is_none(text: str) -> None:
    """Anything else names the option and what was given."""
    with pytest.raises(ConfigError, match="rotate is a time above 0") as caught:
        seconds_of("rotate", text)
    assert repr(text) in str(caught.value)
    with pytest.raises(ConfigError, match="ring is a size above 0"):
        bytes_of("ring", text)


def test_what_was_not_given() -> None:
    """None stays None."""
    assert (seconds_of("rotate", None), bytes_of("ring", None)) == (None, None)
