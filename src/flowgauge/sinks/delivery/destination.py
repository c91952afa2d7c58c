"""Destination: the part that all systems share to which flow records are delivered."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from flowgauge.errors import DestinationDown

__all__ = ["Destination", "DestinationDown"]


class Destination(Protocol):
    """Another system that keeps flow records.

    Its methods raise DestinationDown for what may pass (nobody answers, a restart, a full queue): connect and deliver
    are then called again, with the same rows. What will not pass (a table with other columns, no permission) is
    SinkError, and the run ends.
    """

    rows: int
    """How many rows a delivery has at most: so many may be there twice after a failure."""
    name: str
    """As messages show it, without a password; the same text for the same place to deliver to."""

    def connect(self, schema: pa.Schema) -> None:
        """Begin, or begin again behind a failure; make the table or topic where that is usual."""

    def deliver(self, table: pa.Table) -> None:
        """Hand over rows; when it returns, all of them are kept by the other end."""

    def close(self) -> None:
        """Let go of the connection; may be called in any state, and again."""
