"""Agreement with other tools on captures that neither side made; `python docs/trust.py` writes it down."""

from __future__ import annotations

import pytest

from corpus_folder import needs_corpus
from trust import ndpi, zeek
from trust.agreement import CAUSES, OTHER, Agreement

pytestmark = [pytest.mark.corpus, needs_corpus]


def assert_explained(agreement: Agreement) -> None:
    """Every row that differs has a named cause, and hardly any is left out."""
    assert list(agreement.unexplained()) == []
    assert OTHER not in agreement.causes
    assert agreement.causes.keys() <= CAUSES.keys()
    assert agreement.excluded_share <= 0.03


def test_connections_are_those_of_zeek() -> None:
    """conn.log row by row: what was agreed on, and with whom."""
    agreement = zeek.compare()
    assert_explained(agreement)
    assert agreement.compared >= 380
    for name in ("endpoints", "conn_state", "packets", "ip_bytes"):
        assert agreement.share(name) >= 0.95, name
    for name in ("history", "payload_bytes", "duration", "missed_bytes"):
        assert agreement.share(name) >= 0.97, name


def test_flows_are_those_of_ndpi() -> None:
    """Endpoints, packets and frame bytes of every flow."""
    agreement = ndpi.compare()
    assert_explained(agreement)
    assert agreement.compared >= 2500
    assert agreement.whole / agreement.compared >= 0.995
