"""What tests of rules share."""

from __future__ import annotations

import pytest

from meters import METERS, Meter


@pytest.fixture(params=METERS, ids=lambda meter: meter.__name__)
def meter(request: pytest.FixtureRequest) -> Meter:
    """Each test runs once with either meter."""
    return request.param
