"""How often, and after which pauses, a connection that broke is tried again."""

from __future__ import annotations

import threading

from flowgauge.storage.errors import PERMANENT

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each attempt in a row; bytes that come begin them anew."""
MOST = 100
"""Attempts in all for one file."""


class Retries:
    """Counts the attempts for one file; `again` is called by the threads that read it."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def again(self, error: OSError, attempt: int) -> None:
        """Wait before the attempt after this one in a row; raises the error where there is none."""
        with self._lock:
            if error.errno in PERMANENT or attempt >= len(PAUSES) or self.count >= MOST or self._closed.is_set():
                raise error
            self.count += 1
        self._closed.wait(PAUSES[attempt])

    def stop(self) -> None:
        """No more attempts: nobody waits for the bytes."""
        self._closed.set()
