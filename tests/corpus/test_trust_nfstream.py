"""Agreement with NFStream on all captures."""

from __future__ import annotations

import pytest

from corpus_folder import ALL_CAPTURES, needs_corpus, some
from trust import nfstream
from trust.agreement import CAUSES, OTHER

pytestmark = [pytest.mark.slow, pytest.mark.corpus, needs_corpus]


def test_rows_are_those_of_nfstream() -> None:
    """Every column of 99 % of the rows whose rules coincide is equal (of some captures: 97 %); the rest has a cause."""
    pytest.importorskip("nfstream")
    agreement = nfstream.compare(some(nfstream.captures()))
    assert list(agreement.unexplained()) == []
    assert OTHER not in agreement.causes
    assert agreement.causes.keys() <= CAUSES.keys()
    assert agreement.excluded.keys() <= {*nfstream.RULES, nfstream.UNREAD}
    assert agreement.excluded_share <= (0.08 if ALL_CAPTURES else 0.2)
    assert agreement.compared >= (8200 if ALL_CAPTURES else 500)
    assert agreement.whole / agreement.compared >= (0.99 if ALL_CAPTURES else 0.97)
