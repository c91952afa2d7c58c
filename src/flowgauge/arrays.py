"""Arrow arrays: of finished columns, and the texts of addresses, link-layer addresses and Community IDs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, DTypeLike, NDArray

from flowgauge.kernels.addresses import MAC_BYTES, MAX_ADDRESS, put_addresses, put_macs
from flowgauge.kernels.community import ID_BYTES, STATE_WORDS, WORDS, Endpoints, put_ids
from flowgauge.kernels.connection import LETTER_BYTES, MAX_HISTORY, put_histories
from flowgauge.kernels.packet import NO_MAC
from flowgauge.memory import Memory


def ip_array(version: ArrayLike, hi: ArrayLike, lo: ArrayLike, memory: Memory) -> pa.Array:
    """Text of IP addresses: dotted for version 4, RFC 5952 for version 6.

    `hi` and `lo` are the halves of the address as host integers; an IPv4 address is in `lo`.
    """
    columns = (_column(version, np.uint8), _column(hi, np.uint64), _column(lo, np.uint64))
    return _strings(
        (len(columns[0]), MAX_ADDRESS), memory, lambda offsets, data: put_addresses(*columns, offsets, data)
    )


def mac_array(mac: ArrayLike, memory: Memory) -> pa.Array:
    """Text aa:bb:cc:dd:ee:ff of 48-bit host integers; null where there is none (NO_MAC)."""
    column = _column(mac, np.uint64)
    null = column == NO_MAC
    return _strings((len(column), MAC_BYTES), memory, lambda offsets, data: put_macs(column, offsets, data), null)


def community_id_array(
    ip_version: ArrayLike,
    src_hi: ArrayLike,
    src_lo: ArrayLike,
    dst_hi: ArrayLike,
    dst_lo: ArrayLike,
    protocol: ArrayLike,
    src_port: ArrayLike,
    dst_port: ArrayLike,
    memory: Memory,
    null: NDArray[np.bool_] | None = None,
) -> pa.Array:
    """Community ID version 1 with seed 0, of the sender and receiver of each flow's first packet.

    For ICMP and ICMPv6 `src_port` is the type and `dst_port` the code; for protocols other than
    these, TCP, UDP and SCTP the ports do not count. Addresses as in :func:`ip_array`. Where `null` is true there is
    no id.
    """
    columns = (ip_version, src_hi, src_lo, dst_hi, dst_lo, protocol, src_port, dst_port)
    dtypes = (np.uint8, np.uint64, np.uint64, np.uint64, np.uint64, np.uint8, np.uint16, np.uint16)
    ends = Endpoints(*(_column(values, dtype) for values, dtype in zip(columns, dtypes, strict=True)))
    scratch = np.zeros(WORDS, np.uint32), np.zeros(STATE_WORDS, np.uint32)
    rows = len(ends.version)
    return _strings((rows, ID_BYTES), memory, lambda offsets, data: put_ids(ends, *scratch, offsets, data), null)


def text_array(texts: Iterable[str]) -> pa.Array:
    """An Arrow string array; `pa.array` would import pandas where that is installed."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def category_array(codes: ArrayLike, texts: pa.Array, null: NDArray[np.bool_] | None = None) -> pa.DictionaryArray:
    """A dictionary array: of `texts` the one of each code; null where `null` is true."""
    return pa.DictionaryArray.from_arrays(plain_array(pa.int32(), _column(codes, np.int32), validity(null)), texts)


def history_array(words: NDArray[np.uint64], memory: Memory, null: NDArray[np.bool_] | None = None) -> pa.Array:
    """The letters of packed TCP histories, (row, word); null where `null` is true."""
    packed = _column(words, np.uint64)
    shape = len(packed), MAX_HISTORY
    return _strings(shape, memory, lambda offsets, data: put_histories(packed, LETTER_BYTES, offsets, data), null)


def list_array(kind: pa.DataType, offsets: NDArray[np.int32], values: NDArray[Any]) -> pa.Array:
    """Lists of numbers, one behind the other in `values`; `offsets` says where each begins, and the last one's end."""
    child = plain_array(kind, values)
    buffers = [None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.list_(kind), len(offsets) - 1, buffers, children=[child])


def bytes_array(offsets: NDArray[np.int32], data: NDArray[np.uint8], null: NDArray[np.bool_] | None = None) -> pa.Array:
    """Byte strings, one behind the other in `data`, as in :func:`list_array`; null where `null` is true."""
    buffers = [validity(null), pa.py_buffer(offsets), pa.py_buffer(data[: offsets[-1]])]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def validity(null: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """The validity bits of an array that is null where `null` is true."""
    if null is None or not null.any():
        return None
    return pa.py_buffer(np.packbits(~null, bitorder="little"))


def plain_array(kind: pa.DataType, values: NDArray[Any], bits: pa.Buffer | None = None) -> pa.Array:
    """Values of the type's own width as an Arrow array, without copying; null where `bits` say so."""
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(values)])


def _column(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """The values as the one kind of array that a kernel is compiled for."""
    return np.require(values, dtype, ("C", "W"))


def _strings(
    shape: tuple[int, int],
    memory: Memory,
    fill: Callable[[NDArray[Any], NDArray[Any]], int],
    null: NDArray[np.bool_] | None = None,
) -> pa.Array:
    """An Arrow string array of `shape`: so many texts of at most so many bytes, which `fill` writes; see `validity`."""
    rows, width = shape
    offsets, data = memory.empty(rows + 1, np.int32), memory.empty(rows * width, np.uint8)
    offsets[0] = 0
    used = fill(offsets, data)
    return pa.Array.from_buffers(pa.string(), rows, [validity(null), pa.py_buffer(offsets), pa.py_buffer(data[:used])])
