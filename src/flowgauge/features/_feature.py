"""The interface of a feature group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge.kernels._jit import helper, inline_helper, prefetch
from flowgauge.memory import Memory

Array = NDArray[Any]
# A finished column: values, and where they are null (None: nowhere); or a finished array of texts.
# Columns that are null in the same places share one mask object.
Values = tuple[Array, Array | None] | pa.Array

_AHEAD = 32  # packets


@inline_helper
def look_ahead(p, i, stop, state):  # type: ignore[no-untyped-def]
    """Ask for the state of a packet some way behind row i: memory is slower than counting."""
    if i + _AHEAD < stop:
        prefetch(state, p.packets[i + _AHEAD].slot)


@helper
def put_views(out, column, row, up, down):  # type: ignore[no-untyped-def]
    """A count of the flow (view 0) and of its directions (1 and 2) into `out`, which is (view, column, row)."""
    up, down = np.int64(up), np.int64(down)
    out[0, column, row], out[1, column, row], out[2, column, row] = up + down, up, down


class Feature(NamedTuple):
    """A feature group.

    `state` is the dtype of what one record keeps; it begins as zeros. `update(p, begin, stop, state)`
    is a kernel that counts rows begin..stop of a batch into it, where the row's slot is not negative.
    `finalize(state, flows, memory)` gets the state and FLOW rows of ended records, row by row parallel, and
    returns name -> (values, null mask) for every column of the group, made in `memory`.
    """

    name: str
    state: np.dtype[Any]
    update: Callable[..., None]
    finalize: Callable[[Array, Array, Memory], dict[str, Values]]
