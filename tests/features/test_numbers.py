"""Numerical truth: many values, far from zero, and the promised accuracy of quantiles."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from flowgauge.config import make_config
from flowgauge.features import Feature, Left, make_features
from flowgauge.kernels._jit import JIT
from flowgauge.kernels.packet import make_batch, zeroed_records
from flowgauge.kernels.state import FLOW
from flowgauge.memory import Memory

ROWS = 8192
slow_uncompiled = pytest.mark.skipif(not JIT, reason="takes minutes as plain Python")


def _columns(group: str, batches: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns of a group for one record that these packets make, None where null: values by field of the packet."""
    feature = make_features(make_config(features=group))[1]
    flows, batch, states = zeroed_records(1, FLOW), make_batch(ROWS), _states(feature, 1)
    for fields in batches:
        rows = len(next(iter(fields.values())))
        for name, values in fields.items():
            batch.packets[name][:rows] = values
        packets = batch.packets[:rows]
        for direction in (0, 1):
            chosen = packets.direction == direction
            flows[0].packets[direction] += np.uint64(chosen.sum())
            flows[0].ip_bytes[direction] += np.uint64(packets.ip_len[chosen].sum())
        feature.update(batch, 0, rows, *states)
    found = feature.finalize(*_ended(feature, states), flows, Memory())
    return {name: None if null is not None and null[0] else value[0] for name, (value, null) in found.items()}


def _states(feature: Feature, rows: int) -> list[Any]:
    """The states of so many records; those that need not be clean are not."""
    states = []
    for layout in feature.states:
        width = layout.width or 1
        state = zeroed_records(rows * width, layout.dtype)
        if not layout.clean:
            state.view(np.uint8)[:] = 0xA5
        states.append(state if layout.width is None else state.reshape(rows, width))
    return states


def _ended(feature: Feature, states: list[Any]) -> list[Any]:
    """These of all records, as they are finalized."""
    slots = np.arange(len(states[0]), dtype=np.int32)
    return [state if layout.clean else Left(state, slots) for state, layout in zip(states, feature.states, strict=True)]


def _exact(values: list[int]) -> tuple[Fraction, float]:
    """Mean, and sample deviation, in exact arithmetic."""
    count, total = len(values), sum(values)
    squares = count * sum(value * value for value in values) - total * total
    return Fraction(total, count), math.sqrt(Fraction(squares, count * (count - 1)))


@slow_uncompiled
@pytest.mark.slow
def test_ten_million_gaps_far_from_zero() -> None:
    """Mean and deviation of 10^7 gaps around 10^9 ns are those of exact arithmetic to 1e-9."""
    rng = np.random.default_rng(1)
    pieces = [10**9 + rng.integers(0, 1000, ROWS) for _ in range(10**7 // ROWS + 1)]
    batches = [{"gap": piece, "gap_direction": piece, "slot": np.zeros(ROWS, int)} for piece in pieces]
    found = _columns("iat", batches)
    offsets = np.concatenate(pieces) - 10**9
    count, total, squares = len(offsets), int(offsets.sum()), int((offsets**2).sum())
    mean = 10**9 + Fraction(total, count)
    deviation = math.sqrt(Fraction(count * squares - total * total, count * (count - 1)))
    assert found["iat_mean_s"] * 1e9 == pytest.approx(float(mean), rel=1e-9)
    assert found["iat_std_s"] * 1e9 == pytest.approx(deviation, rel=1e-9)


@pytest.mark.parametrize("spread", [1, 60_000])
def test_lengths_are_exact(spread: int) -> None:
    """Mean and deviation of lengths are those of exact arithmetic to the last digits, however little they differ."""
    rng = np.random.default_rng(2)
    values = 5000 + rng.integers(0, spread + 1, 2000)
    zeros = np.zeros(2000, int)
    found = _columns("size", [{"ip_len": values, "payload_len": values, "direction": zeros, "slot": zeros}])
    mean, deviation = _exact(values.tolist())
    assert found["ip_len_mean"] == pytest.approx(float(mean), rel=1e-14)
    assert found["ip_len_std"] == pytest.approx(deviation, rel=1e-13)


def test_the_middle_of_a_bucket_is_near() -> None:
    """No number below 2^41 is 2 % away from the middle of its bucket, and middles are in order."""
    rng = np.random.default_rng(3)
    count = 20_000 if JIT else 200
    edges = [2**octave + step for octave in range(1, 41) for step in (-1, 0, 1)]
    random = np.exp(rng.uniform(0, math.log(2**41 - 1), count)).astype(np.int64)
    numbers = np.unique(np.array([*range(1, 4000 if JIT else 100), *edges, *random.tolist()]))
    middles = _middles(numbers)
    assert (np.abs(middles - numbers) <= 0.02 * numbers).all()
    assert (np.diff(middles) >= 0).all()


def _middles(numbers: Any) -> Any:
    """The median of each number, among a smaller and a larger one and copies of itself."""
    feature = make_features(make_config(features="distribution"))[1]
    states, flows = _states(feature, len(numbers)), zeroed_records(len(numbers), FLOW)
    batch = make_batch(len(numbers))
    packets = batch.packets
    packets.slot, packets.gap_direction = np.arange(len(numbers)), -1
    for gaps in (0, 2**41, *[numbers] * 18):
        packets.gap = gaps
        feature.update(batch, 0, len(numbers), *states)
    return np.asarray(feature.finalize(*_ended(feature, states), flows, Memory())["iat_p50_s"][0]) * 1e9


@pytest.mark.parametrize("count", [1, 16, 17, 33, 3000])
def test_quantiles_of_any_series(count: int) -> None:
    """Quantiles are within 2 % of the nearest rank, exact for few values; shapes are those of the exact moments."""
    rng = np.random.default_rng(count)
    lengths = rng.integers(20, 1501, count)
    gaps = np.exp(rng.uniform(0, 25, count)).astype(np.int64)
    found = _distribution(lengths, gaps)
    for name, values, unit in (("ip_len_p{}", lengths, 1), ("iat_p{}_s", gaps, 1e9)):
        for percent in (10, 25, 50, 75, 90):
            rank = sorted(values.tolist())[-(-count * percent // 100) - 1]
            close = pytest.approx(rank / unit, rel=0.02 if count > 16 else 1e-15)
            assert found[name.format(percent)] == close, (name, percent)
    if count > 1:
        centred = lengths - lengths.mean()
        second, third, fourth = (np.mean(centred**power) for power in (2, 3, 4))
        assert found["ip_len_skewness"] == pytest.approx(third / second**1.5, rel=1e-9, abs=1e-9)
        assert found["ip_len_kurtosis"] == pytest.approx(fourth / second**2 - 3, rel=1e-9, abs=1e-9)


def _distribution(lengths: Any, gaps: Any) -> dict[str, Any]:
    count = len(lengths)
    zeros = np.zeros(count, int)
    fields = {"ip_len": lengths, "gap": gaps, "gap_direction": gaps, "direction": zeros, "slot": zeros}
    pieces = range(0, count, ROWS)
    return _columns("distribution", [{k: v[at : at + ROWS] for k, v in fields.items()} for at in pieces])


@slow_uncompiled
def test_a_count_beyond_16_bits() -> None:
    """A bucket holds more than 65,535 values: the median of 70,000 short and 60,000 long gaps is a short one."""
    gaps = np.where(np.arange(130_000) < 70_000, 10**6, 10**9)
    lengths = np.full(130_000, 1500)
    found = _distribution(lengths, gaps)
    assert found["iat_p50_s"] == pytest.approx(1e-3, rel=0.02)
    assert found["iat_p75_s"] == pytest.approx(1.0, rel=0.02)
    assert found["ip_len_p50"] == 1500
    assert found["ip_len_skewness"] is None
    assert found["iat_skewness"] == pytest.approx((70 - 60) / math.sqrt(70 * 60), rel=1e-6)
