"""Big-endian reads at an unsigned offset; the callers have checked that the bytes are there."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_kernel

U = np.uint64


@byte_kernel
def be16(data, at):
    return (U(data[at]) << U(8)) | U(data[at + U(1)])


@byte_kernel
def be32(data, at):
    return (be16(data, at) << U(16)) | be16(data, at + U(2))


@byte_kernel
def be32_reversed(data, at):
    """The same bytes, least significant first."""
    return U(data[at]) | U(data[at + U(1)]) << U(8) | U(data[at + U(2)]) << U(16) | U(data[at + U(3)]) << U(24)


@byte_kernel
def be48(data, at):
    return (be16(data, at) << U(32)) | be32(data, at + U(2))


@byte_kernel
def be64(data, at):
    return (be32(data, at) << U(32)) | be32(data, at + U(4))
