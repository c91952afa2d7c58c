"""Hostile and broken captures: read to an orderly end."""

from __future__ import annotations

import pytest

from corpus_folder import corpus_files, needs_corpus
from flowgauge.errors import NotACapture
from flowgauge.sources.capture import Capture
from reading import Row, read_rows

pytestmark = [pytest.mark.corpus, needs_corpus]

FILES = [path for path in corpus_files("malformed") if path.name != "LICENSE"]


def test_every_malformed_file():
    """No malformed capture is refused, and none stops the reader at a bounds check."""
    damaged = 0
    for path in FILES:
        rows, capture = read_rows(path)
        assert "bounds check" not in str(capture.damage)
        assert rows or capture.damage or path.stat().st_size <= 28
        damaged += capture.damage is not None
    assert len(FILES) == 448
    assert 0 < damaged < 20


@pytest.mark.parametrize("buffer_bytes", [64, 65_536])
def test_pieces_do_not_matter(buffer_bytes):
    """A malformed capture gives the same packets and the same damage through any buffer."""
    for path in FILES:
        assert _result(read_rows(path, rows=16, buffer_bytes=buffer_bytes)) == _result(read_rows(path))


def _result(read: tuple[list[Row], Capture]) -> tuple[list[Row], str | None, dict[str, int]]:
    rows, capture = read
    return rows, capture.damage, capture.counters


def test_text_is_refused():
    """The licences beside the captures are not captures."""
    for path in corpus_files("malformed", "LICENSE"):
        with pytest.raises(NotACapture):
            read_rows(path)
