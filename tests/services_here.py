"""Programs and packages that a test needs: skipped visibly without one, failed where all of them have to be there."""

from __future__ import annotations

import glob
import importlib.util
import os
import shutil

import pytest

REQUIRED = "FLOWGAUGE_REQUIRE_SERVICES"
"""Set where every service has to be there, as in CI: a missing one then fails."""

_FOLDERS = ("/usr/sbin", "/usr/local/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True))


def program(name: str) -> str | None:
    """The path of a program, also in folders that are not on the path of users; None without it."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))


def here(name: str) -> bool:
    """Whether there is such a program, or such a module."""
    if program(name) is not None:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a parent package that is not there, or has no spec
        return False


def needs(*names: str) -> pytest.MarkDecorator:
    """A mark for tests that need these programs or modules: `pytestmark = [pytest.mark.slow, needs("postgres")]`."""
    missing = [name for name in names if not here(name)]
    if missing and os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but there is no {', '.join(missing)}", pytrace=False)
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
