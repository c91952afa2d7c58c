"""Plain text for people: aligned rows, sizes, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB")
_MANY_FILES = 5


def aligned(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Rows of cells as lines whose cells begin in the same column; the last cell is free."""
    listed = [tuple(row) for row in rows]
    if not listed:
        return ""
    widths = [max(map(len, cells)) for cells in zip(*listed, strict=True)]
    widths[-1] = 0
    return "\n".join(
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in listed
    )


def counted(count: int, noun: str) -> str:
    """A number and its noun: `1 file`, `2,000 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: float) -> str:
    """Bytes in decimal units: `1.5 MB`."""
    for unit in _UNITS:
        if count < 999.95 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"


def shortened(items: Sequence[str], limit: int) -> list[str]:
    """The first items, and how many more there are."""
    rest = len(items) - limit
    return [*items[:limit], *([f"and {rest:,} more"] if rest > 0 else [])]


def failure_lines(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each file and what is wrong with it; most reasons name the file themselves."""
    return [reason if name in reason else f"{name}: {reason}" for name, reason in reasons]


def skipped_lines(names: Sequence[str]) -> list[str]:
    """One line for all files of folders that are no captures, or none."""
    return [f"skipped {counted(len(names), 'file')} without a capture: {few(names)}"] if names else []


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(shortened(names, _MANY_FILES))
