"""Agreement with the sessions of Arkime in the captures of its tests."""

from __future__ import annotations

import pytest

from corpus_folder import needs_corpus
from trust import arkime
from trust.agreement import CAUSES, OTHER

pytestmark = [pytest.mark.corpus, needs_corpus]

EQUAL = "packets", "bytes", "directions", "source", "first", "flags", "vlan"
"""Fields without a difference."""
SHARES = {"records": 0.94, "last": 0.996, "zero_windows": 0.99, "rtt": 0.96, "community_id": 0.91}


def test_sessions_are_those_of_arkime() -> None:
    """Nothing is missing on either side; what differs has a cause."""
    agreement = arkime.compare()
    assert list(agreement.unexplained()) == []
    assert OTHER not in agreement.causes
    assert agreement.causes.keys() <= CAUSES.keys()
    assert agreement.excluded_share <= 0.03
    assert agreement.compared >= 330
    for name in EQUAL:
        assert agreement.equal[name] == agreement.told[name] > 0, name
    for name, share in SHARES.items():
        assert agreement.share(name) >= share, name
    ids = agreement.told["community_id"] - agreement.equal["community_id"]
    assert ids == agreement.causes[arkime.IDS]
