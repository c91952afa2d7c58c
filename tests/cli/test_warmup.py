"""`flowgauge warmup` says what it did."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

import flowgauge
from flowgauge.cli import app
from flowgauge.config import DEFAULT_FEATURES
from flowgauge.kernels import _jit


@pytest.mark.parametrize(
    ("compiled", "said"),
    [(True, r"kernels ready after \d+\.\d s, kept in .+"), (False, "NUMBA_DISABLE_JIT is set: nothing to compile")],
)
def test_warmup_compiles_once_and_says_how_long(monkeypatch: pytest.MonkeyPatch, compiled: bool, said: str) -> None:
    """Groups that are named are compiled too; seconds and folder are said where there is a compiler."""
    calls = []
    module = ModuleType("flowgauge.run")
    module.warmup = lambda groups: calls.append(tuple(groups))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flowgauge.run", module)
    monkeypatch.setattr(flowgauge, "run", module, raising=False)
    monkeypatch.setattr(_jit, "JIT", compiled)
    result = CliRunner().invoke(app, ["warmup", "--features", "splt"])
    assert (result.exit_code, calls) == (0, [(*DEFAULT_FEATURES, "splt")])
    assert re.fullmatch(said, result.stdout.strip())
