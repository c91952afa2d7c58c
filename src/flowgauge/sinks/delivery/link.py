"""Link: deliveries to a destination that may be away for a while."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator

import pyarrow as pa

from flowgauge.errors import DestinationDown
from flowgauge.sinks.delivery.destination import Destination

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # s


def pauses() -> Iterator[float]:
    """Seconds between attempts: twice as long each time up to half a minute, and each of them up to a half shorter, so
    that not all who wait come back at once."""
    pause = _FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, _LONGEST_PAUSE)


class Link:
    """Connects where that is needed, delivers, and tells once when the destination is down and once when it is back.

    `waiting` says what becomes of the rows in the meantime, for the line that tells.
    """

    def __init__(self, destination: Destination, tell: Callable[[str], None], waiting: str) -> None:
        self.destination = destination
        self.rows = 0  # delivered
        self.reason: DestinationDown | None = None  # why it is down
        self._tell, self._waiting = tell, waiting
        self._schema: pa.Schema | None = None  # connected for

    def connect(self, schema: pa.Schema) -> bool:
        """Whether it is connected for these columns. Raises SinkError for what will not pass."""
        if self._schema is not None and self._schema.equals(schema):
            return True
        try:
            self.destination.connect(schema)
        except DestinationDown as error:
            self._is_down(error)
            return False
        self._schema = schema
        return True

    def deliver(self, table: pa.Table) -> bool:
        """Whether the other end has the rows now; they are at most as many as it takes. Raises SinkError."""
        if not self.connect(table.schema):
            return False
        try:
            self.destination.deliver(table.unify_dictionaries().combine_chunks())
        except DestinationDown as error:
            self._is_down(error)
            return False
        self.rows += table.num_rows
        if self.reason is not None:
            self.reason = None
            self._tell(f"{self.destination.name} is back; what has waited is delivered")
        return True

    def _is_down(self, error: DestinationDown) -> None:
        self.close()
        if self.reason is None:
            self._tell(f"{self.destination.name} is down ({error}); {self._waiting}")
        self.reason = error

    def close(self) -> None:
        """Let go of the connection; the next delivery makes another one."""
        self._schema = None
        with contextlib.suppress(DestinationDown):
            self.destination.close()
