"""The flow table grows, and growing changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from flowgauge import table
from meters import by_package, differences
from packets import Sent, capture, eth, ip4, udp

START = 1_700_000_000_000_000_000


def _crowd(flows: int) -> bytes:
    """Two packets of each of many flows: all are open at once, and a few go idle in between."""
    frames = []
    for turn in range(2):
        for number in range(flows):
            data = eth(ip4(udp(1024 + number, 53)))
            frames.append(Sent(START + (turn * flows + number) * 400_000_000, data, len(data)))
    return capture(frames)


@pytest.mark.parametrize("options", [{}, {"idle_timeout": 20}, {"max_flows": 37}], ids=["open", "idle", "limit"])
@pytest.mark.parametrize("capacity", [1, 7])
def test_growing_changes_nothing(monkeypatch: pytest.MonkeyPatch, capacity: int, options: dict[str, Any]) -> None:
    """A table that begins with a few rows and grows gives the same records as one with room for all."""
    content = _crowd(100)
    roomy = by_package(content, **options)
    monkeypatch.setattr(table, "FIRST_CAPACITY", capacity)
    assert differences(roomy, by_package(content, **options)) == []
    assert sum(row["packets"] for row in roomy.rows) == 200
