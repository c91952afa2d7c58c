"""Where the real captures are, for tests that use them; they do not ship with the package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "corpus"
CORPUS = Path(os.environ.get("FLOWGAUGE_CORPUS", _BESIDE))

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no real captures at {CORPUS} (set FLOWGAUGE_CORPUS)")


def corpus_files(folder: str, pattern: str = "*") -> list[Path]:
    """All files below a folder of the corpus, sorted; none where the corpus is absent."""
    return sorted(path for path in (CORPUS / folder).rglob(pattern) if path.is_file())


ALL_CAPTURES = bool(os.environ.get("FLOWGAUGE_ALL_CAPTURES"))
"""Whether the slowest comparisons look at every capture (`make lane-thorough`) or at one in eight."""


def some(paths: list[Path], first: int = 0) -> list[Path]:
    """One path in eight, from number `first` on; all of them in the lane for that."""
    return paths if ALL_CAPTURES else paths[first::8]
