"""The policy of compiling."""

from __future__ import annotations

import numpy as np
import pytest

from flowgauge.kernels._jit import BOUNDSCHECK, JIT
from smallkernels import checked, double, quadruple

pytestmark = [pytest.mark.compiled, pytest.mark.skipif(not JIT, reason="not compiled")]


def test_a_kernel_calls_a_kernel():
    """What Python calls, kernels can call too."""
    values = np.array([1, 5])
    assert [quadruple(values, 1), double(values, 1)] == [20, 10]
    assert double.__doc__ == "Twice a value."


@pytest.mark.skipif(BOUNDSCHECK, reason="every call is dispatched")
def test_later_calls_are_not_dispatched(monkeypatch):
    """Only the first call looks at the types of the arguments."""
    values = np.array([1, 5])
    assert double(values, 0) == 2
    monkeypatch.setattr(double, "dispatcher", None)
    assert double(values, 1) == 10


def test_bounds_of_byte_kernels():
    """A packet kernel checks every index, at the first call and at every later one."""
    values = np.arange(3, dtype=np.uint8)
    assert checked(values, np.uint64(2)) == 2
    for _ in range(2):
        with pytest.raises(IndexError):
            checked(values, np.uint64(3))
