"""Memory of what leaves a meter, used again as soon as nobody holds it.

Pages that are fresh from the system cost more to fill than everything that is computed into them, in
virtual machines several times as much; NumPy gives large arrays back to the system at once, and
Arrow's pools keep more than they need.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from flowgauge.kernels.packet import CACHE_LINE

_KEPT_BYTES = 1 << 28


def _references(blocks: list[NDArray[np.uint8]]) -> list[int]:
    return [sys.getrefcount(block) for block in blocks]


# Of a block that only its list holds; how many count in the loop differs between versions of Python.
_UNUSED = _references([np.empty(1, np.uint8)])[0]


class Memory:
    """Makes arrays whose values are not set.

    Blocks are found again by their size, of which there are eight between a power of two and the next: batches of a
    live run have any number of rows, and blocks for each of those numbers would never be used again.
    """

    def __init__(self) -> None:
        self._blocks: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)
        self._kept = 0

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of that shape and type."""
        size = math.prod((shape,) if isinstance(shape, int) else shape) * np.dtype(dtype).itemsize
        return self._block(_rounded(size))[:size].view(dtype).reshape(shape)

    def columns(self, shape: tuple[int, ...], rows: int, dtype: DTypeLike) -> NDArray[Any]:
        """Columns to be filled row by row: of `shape` and one more axis, of at least `rows`.

        The distance between two columns is an odd number of cache lines: at a power of two, a row of all of them
        would have to share a few places of the cache.
        """
        per_line = CACHE_LINE // np.dtype(dtype).itemsize
        return self.empty((*shape, (-(-rows // per_line) | 1) * per_line), dtype)

    def _block(self, size: int) -> NDArray[np.uint8]:
        blocks = self._blocks[size]
        for block, references in zip(blocks, _references(blocks), strict=True):
            if references == _UNUSED:
                return block
        block = np.empty(size, np.uint8)
        if self._kept + size <= _KEPT_BYTES:
            self._kept += size
            blocks.append(block)
        return block


def _rounded(size: int) -> int:
    """The next size up of which blocks are kept."""
    shift = max(0, size.bit_length() - 4)
    return -(-size >> shift) << shift
