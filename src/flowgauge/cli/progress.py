"""The progress bar: on a terminal only, and gone when the run is done."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowgauge.cli.group import say
from flowgauge.cli.text import size

if TYPE_CHECKING:
    from flowgauge.run import Progress


class ProgressBar:
    """Shows bytes of input, packets/s and flows on standard error while entered.

    The bar appears with the first progress, so that a short run does not pay for loading it.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._start = (0.0, 0)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, now: Progress) -> None:
        """Show where the run is."""
        if self._bar is None:
            self._open(now)
        begin, packets = self._start
        rate = (now.packets - packets) / max(time.monotonic() - begin, 0.1)
        total = "" if now.bytes_total is None else f" of {size(now.bytes_total)}"
        self._bar.update(
            self._task,
            completed=now.bytes_done,
            total=now.bytes_total,
            text=f"{size(now.bytes_done)}{total}, {rate:,.0f} packets/s, {now.flows:,} flows",
            file=now.file,
        )

    def say(self, line: str) -> None:
        """One line above the bar."""
        if self._bar is None:
            say(line)
        else:
            self._bar.console.print(f"flowgauge: {line}", markup=False, highlight=False)

    def _open(self, now: Progress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[file]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, text="", file="")
        self._start = (time.monotonic(), now.packets)
        self._bar.start()
