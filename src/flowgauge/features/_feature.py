"""The interface of a feature group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
AHEAD = 16
"""Packets ahead of the one at work for whose state an update asks: memory is slower than counting."""
# A finished column: values, and where they are null (None: nowhere). Columns that are null in the
# same places share one mask object.
Values = tuple[Array, Array | None]


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
