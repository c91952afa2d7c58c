"""Agreement with NFStream on all captures."""

from __future__ import annotations

import pytest

from corpus_folder import needs_corpus
from trust import nfstream
from trust.agreement import CAUSES, OTHER

pytestmark = [pytest.mark.slow, pytest.mark.corpus, needs_corpus]


def test_rows_are_those_of_nfstream() -> None:
    """Every column of 99 % of the rows whose rules coincide is equal; what differs has a cause."""
    pytest.importorskip("nfstream")
    agreement = nfstream.compare()
    assert list(agreement.unexplained()) == []
    assert OTHER not in agreement.causes
    assert agreement.causes.keys() <= CAUSES.keys()
    assert agreement.excluded.keys() <= {*nfstream.RULES, nfstream.UNREAD}
    assert agreement.excluded_share <= 0.08
    assert agreement.compared >= 8200
    assert agreement.whole / agreement.compared >= 0.99
