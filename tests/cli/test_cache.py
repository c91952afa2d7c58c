"""`flowgauge cache` shows and removes compiled kernels and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flowgauge.cli import app

OURS = ("kernels-" + "0" * 20, "kernels-" + "ab" * 10)
NOT_OURS = ("kernels-backup", "kernels-" + "0" * 19, "notes")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two versions of 1,500 bytes each, beside folders, a file and a link that are not ours."""
    root = tmp_path / "cache"
    for name in (*OURS, *NOT_OURS):
        (root / name / "deep").mkdir(parents=True)
        (root / name / "deep" / "kernel.nbc").write_bytes(bytes(1500))
    (root / ("kernels-" + "1" * 20)).write_text("a file")
    (root / ("kernels-" + "2" * 20)).symlink_to(root / "notes")
    monkeypatch.setenv("FLOWGAUGE_CACHE_DIR", str(root))
    return root


def cache(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cache", *arguments])


def test_cache_says_where_and_how_big(root: Path) -> None:
    """Without a command, the folder, the number of versions and their size are shown, and nothing is removed."""
    assert cache().stdout == f"{root}: 2 versions of compiled kernels, 3.0 kB\n"
    assert all((root / name).exists() for name in OURS)


def test_clear_removes_what_flowgauge_made(root: Path) -> None:
    """Clearing removes the folders of compiled kernels, says so, and leaves everything else."""
    assert cache("clear").stdout == f"{root}: removed 2 versions of compiled kernels, 3.0 kB\n"
    left = {path.name for path in root.iterdir()}
    assert left == {*NOT_OURS, "kernels-" + "1" * 20, "kernels-" + "2" * 20}
    assert (root / "notes" / "deep" / "kernel.nbc").exists()


def test_clearing_nothing_is_no_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that does not exist is shown and cleared as an empty one."""
    monkeypatch.setenv("FLOWGAUGE_CACHE_DIR", str(root / "nowhere"))
    assert cache().stdout.endswith("0 versions of compiled kernels, 0 B\n")
    assert cache("clear").exit_code == 0


def test_what_cannot_be_removed_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be removed is named with the reason, and the exit code is 1."""

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", denied)
    result = cache("clear")
    assert result.exit_code == 1
    assert result.stderr == f"flowgauge: cannot remove {root / min(OURS)}: Permission denied\n"


def test_the_pattern_is_that_of_the_real_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the kernels are really kept in is one that clear removes."""
    from flowgauge.cli.cache import _OURS
    from flowgauge.kernels import _cache

    monkeypatch.setenv("FLOWGAUGE_CACHE_DIR", str(tmp_path))
    folder = _cache.cache_folder.__wrapped__()
    assert folder is not None
    assert _OURS.fullmatch(folder.name)
