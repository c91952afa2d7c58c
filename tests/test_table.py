"""The flow table grows, and growing changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envelopes import mpls
from flowgauge import meter, table
from flowgauge.features import distribution
from flowgauge.growing import MOVES, Growing
from flowgauge.table import FlowTable, order_of
from meters import by_oracle, by_package, differences
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


@pytest.mark.skipif(not MOVES, reason="pages are moved on Linux alone")
def test_nobody_holds_what_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of a table can be moved whenever it grows: its rows, and those of features, are never copied."""
    moved: list[bool] = []
    move = Growing._moved

    def noted(self: Growing, size: int) -> bool:
        moved.append(move(self, size))
        return moved[-1]

    monkeypatch.setattr(Growing, "_moved", noted)
    monkeypatch.setattr(table, "FIRST_CAPACITY", 7)
    monkeypatch.setattr(distribution, "FIRST_BLOCKS", 1)
    monkeypatch.setattr(meter, "BATCH_ROWS", 8)
    by_package(_crowd(100), rows=16, features=("size", "splt", "distribution"))
    assert len(moved) > 20 and all(moved)


@pytest.mark.parametrize("options", [{}, {"idle_timeout": (20.0,) * 4, "active_timeout": 10.0}, {"max_flows": 5}])
def test_stacks_are_as_many_as_open_records_with_a_tunnel(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """The table of stacks grows like the others, and its rows are used again when records have left."""
    frames = []
    for number in range(600):
        packet = ip4(udp(1024 + number % 100, 53))
        data = eth(mpls(packet, number, 7) if number % 3 else packet)
        frames.append(Sent(START + number * 1_000_000_000, data, len(data)))
    content = capture(frames)
    roomy = by_package(content, **options)
    monkeypatch.setattr(table, "FIRST_STACKS", 1)
    monkeypatch.setattr(meter, "BATCH_ROWS", 8)  # records leave the table as they end
    sizes: list[int] = []
    rows_of = FlowTable._grow

    def noted(self: FlowTable, names: Sequence[str], rows: int) -> None:
        rows_of(self, names, rows)
        if "stacks" in names:
            sizes.append(len(self.arrays.stacks))

    monkeypatch.setattr(FlowTable, "_grow", noted)
    assert differences(roomy, by_package(content, rows=64, **options)) == []
    assert differences(by_oracle(content, **options), roomy) == []
    assert len(sizes) > 1 and sizes[-1] <= 128
    assert {row["tunnel"] for row in roomy.rows} > {None, "mpls:1/mpls:7", "mpls:2/mpls:7"}


_FEW, _ANY = st.integers(0, 3), st.integers(-(2**61), 2**61)


@given(st.lists(st.tuples(_FEW, st.one_of(_FEW, _ANY), _FEW, _FEW)), st.lists(st.tuples(_FEW, _FEW, _FEW, _FEW)))
def test_records_leave_in_order(wide: list[tuple[int, ...]], narrow: list[tuple[int, ...]]) -> None:
    """Records are sorted by when they leave, their end, flow_id and part, however far their ends are apart."""
    for rows in (wide, narrow):
        leave, end, flow_id, part = np.array(rows, np.int64).reshape(-1, 4).T
        order = order_of(leave, end, flow_id, part)
        assert [rows[row] for row in order] == sorted(rows)
