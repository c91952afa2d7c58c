"""Services of real captures: what nDPI says of the same flows, and that every service is found in one at least."""

from __future__ import annotations

import pytest

from corpus_folder import ALL_CAPTURES, needs_corpus
from trust.services import CAUSES, FOLDERS, Comparison, compare, service_names

pytestmark = [needs_corpus, pytest.mark.corpus, pytest.mark.slow]

MOST_FALSE = 0.001


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(FOLDERS if ALL_CAPTURES else ())


def test_no_difference_is_unexplained(comparison: Comparison) -> None:
    """Each flow of which nDPI says something else has a cause."""
    assert comparison.unexplained() == []
    assert {pair.cause for pair in comparison.pairs} <= {"", *CAUSES}
    assert len(comparison.pairs) > 2400


def test_few_are_false(comparison: Comparison) -> None:
    """Of the flows that are another service, one in a thousand at most is taken for one."""
    for service in service_names():
        assert comparison.false(service) <= MOST_FALSE * comparison.others(service), service


def test_most_agree(comparison: Comparison) -> None:
    """Where nDPI tells a service by its bytes, so does flowgauge, in 19 of 20 flows."""
    sure = [pair for pair in comparison.pairs if pair.cause not in ("by_port", "unknown", "application")]
    assert sum(not pair.cause for pair in sure) >= 0.95 * len(sure)


def test_every_service_is_in_a_capture(comparison: Comparison) -> None:
    """Each service is found in a real capture; LLMNR in those beside nDPI's only."""
    missing = {service for service in service_names() if not comparison.captures[service]}
    assert missing <= (set() if ALL_CAPTURES else {"llmnr"})
