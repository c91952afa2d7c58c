"""The benchmark of the report measures the summary of generated flows."""

from __future__ import annotations

import re

import flow_report
import pytest


def test_benchmark_measures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints seconds, and the bytes of each part, which add up to the whole."""
    monkeypatch.setattr("sys.argv", ["flow_report.py", "2000"])
    flow_report.main()
    first, second, *parts = capsys.readouterr().out.splitlines()
    assert re.match(r"2,000 flows in \d\d cells: summary in [\d.]+ s, [\d.]+ s of processors$", first)
    whole = int(second.split()[0].replace(",", ""))
    assert len(parts) > 15 and whole == sum(int(line.split()[1].replace(",", "")) for line in parts)
