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

KERNELS = """
import sys
import numpy as np
from flowgauge.kernels._jit import byte_kernel, helper, kernel

@helper
def plus_one(value):
    return value + np.int64(1)

@kernel
def inner(values, at):
    return plus_one(values[at])

@kernel
def outer(values, at):
    return np.int64(10) * inner(values, at)

@byte_kernel
def checked(values, at):
    return values[at]

VALUES = np.array([1, 5])

def hits(kernel):
    return sum(kernel.dispatcher.stats.cache_hits.values())

def ready_to_compile():
    return "numba.np.arrayobj" in sys.modules
"""


def run(folder: Path, code: str) -> None:
    """In a process of its own, with these kernels and this folder's cache."""
    (folder / "some_kernels.py").write_text(KERNELS)
    program = "from some_kernels import *\n" + textwrap.dedent(code)
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = os.environ | {"FLOWGAUGE_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_kernels_come_back(tmp_path: Path) -> None:
    """What was compiled is not compiled again; what was loaded can be part of a kernel that is compiled later."""
    run(
        tmp_path,
        """
        assert inner(VALUES, 1) == 6 and checked(VALUES, np.uint64(1)) == 5
        assert hits(inner) == hits(checked) == 0
        """,
    )
    run(
        tmp_path,
        """
        assert inner(VALUES, 1) == 6 and hits(inner) == 1
        assert not ready_to_compile()
        assert outer(VALUES, 0) == 20 and hits(outer) == 0
        assert ready_to_compile() and inner(VALUES, 0) == 2
        """,
    )
    run(tmp_path, "assert outer(VALUES, 1) == 60 and hits(outer) == 1 and not ready_to_compile()")


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
    run(tmp_path, "assert inner(VALUES, 1) == 6")
    run(tmp_path, "assert inner(VALUES.astype(np.uint8), 1) == 6 and hits(inner) == 0")
    run(tmp_path, "assert inner(VALUES.astype(np.uint8), 1) == 6 and hits(inner) == 1")
