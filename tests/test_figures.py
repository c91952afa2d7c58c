"""The figures of the documentation are drawn from what is in the repository, and its numbers from a benchmark."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path
from types import ModuleType

import pytest

from benchresults import RESULTS
from docpages import ROOT, script


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    return script("figures")


@pytest.mark.slow
def test_fingerprints_are_of_the_example_captures(figures: ModuleType) -> None:
    """The figure of the home page is what the example captures say now."""
    drawn = (ROOT / "docs" / "fingerprints.svg").read_text("utf-8")
    assert drawn == figures.fingerprints(), "run python docs/figures.py"
    assert drawn.count("<rect") == 4 * figures.PACKETS


def test_performance_is_quoted_from_results(figures: ModuleType, tmp_path: Path) -> None:
    """Tables and figure say what a benchmark has measured, and nothing around them changes."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n")
    figures.write_performance(RESULTS, tmp_path)
    text = page.read_text("utf-8")
    assert text.startswith(f"before\n{figures.BEGIN}\nOne core") and text.endswith(f"\n{figures.END}\nafter\n")
    assert "| `decode` | 51 | 11% |" in text and "| dpkt 1.9.8 | 98.7 | too short |" in text and "old" not in text
    drawing = xml.etree.ElementTree.fromstring((tmp_path / "performance.svg").read_text("utf-8"))
    shown = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert [name for name in shown if name and ("flowgauge" in name or "dpkt" in name)] == [
        "flowgauge to kernels",
        "dpkt 1.9.8",
    ]
    assert "7,654,000" in shown and "40,000" in shown


def test_performance_page_has_its_place(figures: ModuleType) -> None:
    """A page without the markers is refused; the one of the documentation has them."""
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert 0 < text.index(figures.BEGIN) < text.index(figures.END)


@pytest.mark.parametrize("name", ["gateway", "pipeline", "fingerprints", "performance"])
def test_drawings_are_for_both_themes(name: str) -> None:
    """Each drawing has its colours by name, for light and dark, and a title for those who cannot see it."""
    text = (ROOT / "docs" / f"{name}.svg").read_text("utf-8")
    drawing = xml.etree.ElementTree.fromstring(text)
    assert drawing.get("class") == "fg-figure" and drawing[0].tag.endswith("title") and drawing[0].text
    assert "prefers-color-scheme: dark" in text
    body = text[text.index("</style>") :]
    assert not re.search(r"(fill|stroke)(=\"|: )#", body)
