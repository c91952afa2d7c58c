"""The interface of a feature group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels._jit import inline_helper, prefetch

Array = NDArray[Any]
# A finished column: values, and where they are null (None: nowhere). Columns that are null in the
# same places share one mask object.
Values = tuple[Array, Array | None]

_AHEAD = 16  # packets


@inline_helper
def look_ahead(p, i, stop, state):  # type: ignore[no-untyped-def]
    """Ask for the state of a packet some way behind row i: memory is slower than counting."""
    if i + _AHEAD < stop:
        prefetch(state, p.packets[i + _AHEAD].slot)


class Feature(NamedTuple):
    """A feature group.

    `state` is the dtype of what one record keeps; it begins as zeros. `update(p, begin, stop, state)`
    is a kernel that counts rows begin..stop of a batch into it, where the row's slot is not negative.
    `finalize(state, flows)` gets the state and FLOW rows of ended records, row by row parallel, and
    returns name -> (values, null mask) for every column of the group.
    """

    name: str
    state: np.dtype[Any]
    update: Callable[..., None]
    finalize: Callable[[Array, Array], dict[str, Values]]
