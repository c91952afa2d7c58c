"""What tests of rules share."""

from __future__ import annotations

from typing import Any

import pytest

from meters import Meter, flowgauge, oracle


@pytest.fixture(
    params=[pytest.param(oracle, marks=pytest.mark.oracle), flowgauge], ids=lambda meter: getattr(meter, "__name__", "")
)
def meter(request: pytest.FixtureRequest) -> Any:
    """Each test runs once with either meter."""
    found: Meter = request.param
    return found
