"""Reads at an unsigned offset, big-endian (be) or little-endian (le), as uint64; each is checked against the end."""

from __future__ import annotations

import numpy as np

from flowgauge.kernels._jit import big_endian_reader, byte_helper, copy_word, helper

U = np.uint64

be16 = big_endian_reader(2)
be32 = big_endian_reader(4)
be64 = big_endian_reader(8)


@byte_helper
def be48(data, at):
    return (be16(data, at) << U(32)) | be32(data, at + U(2))


@byte_helper
def swap32(value):
    """The four bytes of a 32-bit number in the other order."""
    low, high = value & U(0xFF00FF), value >> U(8) & U(0xFF00FF)
    value = low << U(8) | high
    return (value << U(16) | value >> U(16)) & U(0xFFFFFFFF)


@byte_helper
def le16(data, at):
    value = be16(data, at)
    return value >> U(8) | (value & U(0xFF)) << U(8)


@byte_helper
def le32(data, at):
    return swap32(be32(data, at))


@helper
def copy_run(out, at, data, begin, count):
    """Copy bytes of which it is known that both arrays hold them, a word at a time; all numbers are unsigned."""
    done = U(0)
    while done + U(8) <= count:
        copy_word(out, at + done, data, begin + done)
        done += U(8)
    while done < count:
        out[at + done] = data[begin + done]
        done += U(1)
