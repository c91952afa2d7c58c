"""CRC-32 of IEEE 802.3, eight bytes at a time (Kounavis and Berry 2008)."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import byte_helper
from flowgauge.kernels.bytes import le32

U, U32 = np.uint64, np.uint32
_POLYNOMIAL = 0xEDB88320
_WIDTH = 8


def _make_table() -> np.ndarray:
    """Row k: what a byte does that has k more behind it."""
    table = np.zeros((_WIDTH, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table[0, byte] = value
    for row in range(1, _WIDTH):
        table[row] = table[row - 1] >> np.uint32(8) ^ table[0][table[row - 1] & np.uint32(0xFF)]
    return table


CRC_TABLE = _make_table()


@byte_helper
def crc32(data, at, end, table):
    """The checksum of the bytes at..end; `table` is CRC_TABLE."""
    crc = U(0xFFFFFFFF)
    while at + U(8) <= end:
        low, high = le32(data, at) ^ crc, le32(data, at + U(4))
        crc = U(0)
        for byte in range(4):
            shift = U(8 * byte)
            crc ^= U(table[7 - byte, low >> shift & U(0xFF)]) ^ U(table[3 - byte, high >> shift & U(0xFF)])
        at += U(8)
    while at < end:
        crc = crc >> U(8) ^ U(table[0, (crc ^ U(data[at])) & U(0xFF)])
        at += U(1)
    return crc ^ U(0xFFFFFFFF)
