"""Kernels come back from the cache as they were, and without what compiling needs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flowgauge.kernels._jit import JIT

pytestmark = [pytest.mark.compiled, pytest.mark.skipif(not JIT, reason="not compiled")]

BEGIN = """
import sys
import numpy as np
from smallkernels import checked, double, quadruple

VALUES = np.array([1, 5])

def hits(kernel):
    return sum(kernel.dispatcher.stats.cache_hits.values())

def ready_to_compile():
    return "numba.np.arrayobj" in sys.modules
"""


def run(folder: Path, code: str) -> None:
    """In a process of its own, with a cache in this folder."""
    variables = os.environ | {"FLOWGAUGE_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-c", BEGIN + textwrap.dedent(code)]
    done = subprocess.run(program, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_kernels_come_back(tmp_path: Path) -> None:
    """What was compiled is not compiled again; what was loaded can be part of a kernel that is compiled later."""
    run(
        tmp_path,
        """
        assert double(VALUES, 1) == 10 and checked(VALUES, np.uint64(1)) == 5
        assert hits(double) == hits(checked) == 0
        """,
    )
    run(
        tmp_path,
        """
        assert double(VALUES, 1) == 10 and hits(double) == 1
        assert not ready_to_compile()
        assert quadruple(VALUES, 0) == 4 and hits(quadruple) == 0
        assert ready_to_compile() and double(VALUES, 0) == 2
        """,
    )
    run(tmp_path, "assert quadruple(VALUES, 1) == 20 and hits(quadruple) == 1 and not ready_to_compile()")


def test_a_loaded_kernel_checks_bounds(tmp_path: Path) -> None:
    """An index beyond the end is an IndexError, at the first call of a loaded kernel and at every later one."""
    for _ in range(2):
        run(
            tmp_path,
            """
            for _ in range(2):
                try:
                    checked(VALUES, np.uint64(2))
                except IndexError:
                    pass
                else:
                    raise AssertionError("no error")
                assert checked(VALUES, np.uint64(0)) == 1
            """,
        )


def test_other_types_are_compiled_for(tmp_path: Path) -> None:
    """A kernel in the cache for other types of arguments is not the one that is wanted."""
    run(tmp_path, "assert double(VALUES, 1) == 10")
    run(tmp_path, "assert double(VALUES.astype(np.uint8), 1) == 10 and hits(double) == 0")
    run(tmp_path, "assert double(VALUES.astype(np.uint8), 1) == 10 and hits(double) == 1")
