"""The package and the oracle agree on every real capture: each column, the order of rows, reasons and counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from corpus_folder import ALL_CAPTURES, CORPUS, corpus_files, needs_corpus, some
from meters import by_oracle, by_package, differences
from oracle import Result, UnreadableError

PACKETS = 121_811
"""Packets of the corpus, as the oracle reads them: fewer compared means that some are missing."""
LARGEST = 32 << 20
"""Bytes of the largest file that is not too large for the oracle."""
SKIPPED: dict[str, str] = {}
"""File of the corpus -> why it cannot be compared."""

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "short timeouts": {"idle_timeout": (5.0, 2.0, 1.0, 1.0), "active_timeout": 10.0},
    "outer": {"tunnels": "outer"},
    "hosts": {"key": "hosts", "vlan_in_key": True},
    "no endings": {"idle_timeout": (None,) * 4, "active_timeout": None, "no_tcp_end": True},
}

pytestmark = [pytest.mark.corpus, needs_corpus]


@dataclass
class Comparison:
    """Packets compared and skipped, and what differed by file."""

    compared: int = 0
    skipped: int = 0
    differing: dict[str, list[str]] = field(default_factory=dict)


def _reading(meter: Any, content: bytes, options: dict[str, Any]) -> Result | None:
    try:
        return meter(content, **options)
    except UnreadableError:
        return None


def compare(path: Path, options: dict[str, Any], comparison: Comparison) -> None:
    """Meter one file twice."""
    name, content = str(path.relative_to(CORPUS)), path.read_bytes()
    found = _reading(by_package, content, options)
    if name in SKIPPED or len(content) > LARGEST:
        comparison.skipped += sum(found.reasons.values()) if found else 0
        return
    expected = _reading(by_oracle, content, options)
    if expected is None or found is None:
        if expected is not found:
            comparison.differing[name] = [f"read by the {'package' if found else 'oracle'} alone"]
        return
    comparison.compared += sum(expected.reasons.values())
    if lines := differences(expected, found):
        comparison.differing[name] = lines[:5]


@pytest.mark.parametrize("name", OPTIONS)
def test_captures_are_metered_alike(name: str) -> None:
    """Of each file of the corpus both give the same rows, and at most 2 % of its packets are not compared."""
    comparison = Comparison()
    for path in some(corpus_files(""), list(OPTIONS).index(name)):
        compare(path, OPTIONS[name], comparison)
    assert comparison.differing == {}
    assert comparison.skipped <= 0.02 * (comparison.compared + comparison.skipped)
    assert comparison.compared >= (PACKETS - comparison.skipped if ALL_CAPTURES else 1000)
