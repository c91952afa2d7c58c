"""`flowgauge warmup` says what it did."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

import flowgauge
from flowgauge.cli import app
from flowgauge.kernels import _jit


@pytest.mark.parametrize(
    ("compiled", "said"),
    [(True, r"kernels ready after \d+\.\d s, kept in .+"), (False, "NUMBA_DISABLE_JIT is set: nothing to compile")],
)
def test_warmup_compiles_once_and_says_how_long(monkeypatch: pytest.MonkeyPatch, compiled: bool, said: str) -> None:
    """The kernels are compiled by the API's function, and seconds and folder are said where there is a compiler."""
    calls = []
    module = ModuleType("flowgauge.run")
    module.warmup = lambda: calls.append("warmup")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flowgauge.run", module)
    monkeypatch.setattr(flowgauge, "run", module, raising=False)
    monkeypatch.setattr(_jit, "JIT", compiled)
    result = CliRunner().invoke(app, ["warmup"])
    assert (result.exit_code, calls) == (0, ["warmup"])
    assert re.fullmatch(said, result.stdout.strip())
