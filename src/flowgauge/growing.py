"""Growing: zeroed records that become more, without being copied where the system can move pages (Linux).

Most of what copying a large array takes is filling pages that are fresh from the system.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.packet import zeroed_records

MOVES = sys.platform == "linux"
"""Whether pages can be moved."""

_HUGE_BYTES = 1 << 21


class Growing:
    """`array` has so many zeroed rows, of shape (row, *width), and begins on a line of the cache; rows that are never
    touched cost no memory. Raises MemoryError where the system has no room for it."""

    def __init__(self, rows: int, dtype: Any, width: tuple[int, ...] = ()) -> None:
        self._dtype, self._width = np.dtype(dtype), width
        self._memory = _zeroed(self._size(rows))
        self.array = self._shown(rows)

    def grow(self, rows: int) -> Any:
        """Have more rows, and return `array`.

        The one before stays what it is for whoever else holds it: then, too, rows are copied.
        """
        before = len(self.array)
        self.array = None
        if not self._moved(self._size(rows)):
            old = self._shown(before)
            self._memory = _zeroed(self._size(rows))
            self._shown(rows)[:before] = old
        self.array = self._shown(rows)
        return self.array

    def _size(self, rows: int) -> int:
        return rows * math.prod(self._width) * int(self._dtype.itemsize)

    def _shown(self, rows: int) -> Any:
        array = np.frombuffer(self._memory, np.uint8, self._size(rows)).view(self._dtype).reshape(rows, *self._width)
        return array if self._dtype.names is None else array.view(np.recarray)

    def _moved(self, size: int) -> bool:
        """Make the memory larger as it is; false where that cannot be."""
        if not isinstance(self._memory, mmap.mmap):
            return False
        try:
            self._memory.resize(size)
        except (BufferError, OSError):  # an array is held, or there is no room
            return False
        _prefer_huge_pages(self._memory, size)
        return True


def _zeroed(size: int) -> mmap.mmap | NDArray[np.uint8]:
    if not MOVES:
        return np.asarray(zeroed_records(size, np.dtype(np.uint8)))
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no room for {size:,} bytes") from error
    _prefer_huge_pages(memory, size)
    return memory


def _prefer_huge_pages(memory: mmap.mmap, size: int) -> None:
    """As NumPy does for its large arrays."""
    if size >= _HUGE_BYTES:
        with contextlib.suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
