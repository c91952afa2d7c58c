"""The view of a live run: counts, rates, and the flows with the most bytes since the last look."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flowgauge.cli.text import size

if TYPE_CHECKING:
    from flowgauge.capture.live import Live

_REFRESH = 1.0  # s
_LINES = 20  # flows shown where the terminal's height does not say


class TopView:
    """Drawn in place on standard error, once a second, while entered."""

    def __init__(self, run: Live) -> None:
        self._run = run
        self._before = (time.monotonic(), 0)
        self._watch: Any = None
        self._screen: Any = None

    def __enter__(self) -> TopView:
        from rich.console import Console
        from rich.live import Live as Screen

        from flowgauge.capture.openflows import Watch

        self._watch = Watch(self._run.meter)
        self._screen = Screen(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.stop()

    def update(self) -> None:
        """Draw, where it is time."""
        now = time.monotonic()
        since, packets = self._before
        if now - since < _REFRESH:
            return
        counts = self._run.counts()
        seconds = now - since
        self._before = now, counts.packets
        rate = (counts.packets - packets) / seconds
        head = (
            f"{self._run.capture.name}: {rate:,.0f} packets/s, {counts.packets:,} packets, {counts.lost:,} lost, "
            f"{counts.open_flows:,} flows open, {counts.rows:,} rows, {counts.seconds:,.0f} s"
        )
        self._screen.update(self._table(head, seconds), refresh=True)

    def _table(self, head: str, seconds: float) -> Any:
        from rich.table import Table

        table = Table(title=head, title_justify="left", expand=True, box=None)
        for name, justify in (("client", "left"), ("server", "left"), ("protocol", "right"), ("rate", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column("bytes", justify="right")
        table.add_column("packets", justify="right")
        table.add_column("age", justify="right")
        lines = max(3, (self._screen.console.height or _LINES) - 4)
        for flow in self._watch.busiest(lines):
            rate = size(flow.recent / seconds) + "/s"
            age = f"{flow.seconds:,.0f} s"
            table.add_row(flow.client, flow.server, flow.protocol, rate, size(flow.bytes), f"{flow.packets:,}", age)
        return table
