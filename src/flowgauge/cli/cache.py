"""`flowgauge cache`: the compiled kernels on this machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import typer

from flowgauge.cli.text import counted, size
from flowgauge.errors import FlowgaugeError

_OURS = re.compile(r"kernels-[0-9a-f]{20}")

cache = typer.Typer(
    name="cache", help="Show where the compiled kernels are; `clear` removes them.", rich_markup_mode=None
)


@cache.callback(invoke_without_command=True)
def show(ctx: typer.Context) -> None:
    """Show where the compiled kernels are, of how many versions, and their size."""
    if ctx.invoked_subcommand is None:
        root, folders = _root(), list(_folders(_root()))
        print(f"{root}: {counted(len(folders), 'version')} of compiled kernels, {size(sum(map(_size, folders)))}")


@cache.command()
def clear() -> None:
    """Remove the compiled kernels of every version; the next run compiles again."""
    root = _root()
    folders = [(folder, _size(folder)) for folder in _folders(root)]
    for folder, _ in folders:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise FlowgaugeError(f"cannot remove {folder}: {error.strerror or error}") from None
    freed = size(sum(count for _, count in folders))
    print(f"{root}: removed {counted(len(folders), 'version')} of compiled kernels, {freed}")


def _root() -> Path:
    from flowgauge.kernels._cache import cache_root

    return cache_root()


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this cache; whatever else lies beside them is not ours."""
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        if _OURS.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
