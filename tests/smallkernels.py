"""Kernels of each kind, as small as they can be."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_kernel, helper, kernel


@helper
def twice(value):
    return np.int64(2) * value


@kernel
def double(values, at):
    """Twice a value."""
    return twice(values[at])


@kernel
def quadruple(values, at):
    return twice(double(values, at))


@byte_kernel
def checked(values, at):
    return values[at]
