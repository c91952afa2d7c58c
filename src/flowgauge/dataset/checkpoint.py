"""Checkpoints: a snapshot of a run as bytes that can be checked, and back.

A line, the digest or seal of the rest, a header of JSON, and the arrays, compressed one by one. Nothing of it is code
or becomes any, but what it says is taken at its word by compiled loops: a checkpoint is to be read from a folder that
only those can write to who may run programs in one's name. Of a run that hides names it is encrypted with the same key,
since it has the addresses of all open flows in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowgauge import __version__, storage
from flowgauge.dataset.asked import FORM
from flowgauge.errors import ConfigError
from flowgauge.privacy import Seal
from flowgauge.snapshot import Rows, Snapshot, SnapshotMismatch, Stored, kind_of
from flowgauge.threads import processors

if TYPE_CHECKING:
    from flowgauge.run import Run

_FIRST_LINE = b"flowgauge checkpoint\n"
_DIGEST = 32  # bytes
_LENGTH = 8
_OTHERS_WRITE = 0o002
_PIECE = 1 << 22  # bytes that are compressed at once
_ARRAY = "array"  # key of what stands for an array in the header


class CheckpointError(Exception):
    """Bytes that are no checkpoint to go on from."""


def pack(snapshot: Snapshot, seal: Seal | None) -> bytes:
    """A snapshot as bytes."""
    arrays: list[Rows] = []
    values = _without_arrays(snapshot, arrays)
    with ThreadPoolExecutor(min(4, processors()), "flowgauge-checkpoint") as pool:
        stored = list(pool.map(_compressed, arrays))
    listed = [
        {
            "kind": kind_of(array.table.dtype),
            "shape": (len(array.rows), *array.table.shape[1:]),
            "pieces": [[size, len(piece)] for size, piece in pieces],
        }
        for array, pieces in zip(arrays, stored, strict=True)
    ]
    pieces = [piece for each in stored for _, piece in each]
    header = {"form": FORM, "flowgauge": __version__, "arrays": listed, "values": values}
    head = json.dumps(header).encode()
    body = b"".join((len(head).to_bytes(_LENGTH, "little"), head, *pieces))
    if seal is not None:
        return _FIRST_LINE + seal.close(body)
    return _FIRST_LINE + hashlib.sha256(body).digest() + body


def unpack(data: bytes, seal: Seal | None) -> Snapshot:
    """The snapshot in bytes. Raises CheckpointError where they are damaged, or written by another version."""
    body = _body(data, seal)
    if body is None:
        raise CheckpointError("the checkpoint is damaged")
    length = int.from_bytes(body[:_LENGTH], "little")
    header = json.loads(bytes(body[_LENGTH : _LENGTH + length]))
    if (header["form"], header["flowgauge"]) != (FORM, __version__):
        raise CheckpointError(
            f"the checkpoint was written by flowgauge {header['flowgauge']}, and this is {__version__}"
        )
    snapshot: Snapshot = _with_arrays(header["values"], list(_arrays(header["arrays"], body[_LENGTH + length :])))
    return snapshot


def _body(data: bytes, seal: Seal | None) -> memoryview | None:
    """What is behind the digest; None where that is another one."""
    if not data.startswith(_FIRST_LINE):
        return None
    rest = memoryview(data)[len(_FIRST_LINE) :]
    if seal is not None:
        opened = seal.open(rest)
        return None if opened is None else memoryview(opened)
    return rest[_DIGEST:] if hashlib.sha256(rest[_DIGEST:]).digest() == rest[:_DIGEST] else None


def check_owner(url: str) -> None:
    """Raise ConfigError where somebody else can have written a file on this machine."""
    path = storage.local_path(url)
    if path is None or not hasattr(os, "geteuid"):
        return
    status = os.stat(path)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & _OTHERS_WRITE:
        raise ConfigError(
            f"the checkpoint {path} belongs to another user, or others can write to it: what it says is taken at its "
            "word, so make sure that nobody has changed it, and take it over (chown, chmod o-w)"
        )


def _compressed(array: Rows) -> list[tuple[int, bytes]]:
    """An array in pieces: the bytes of each, and what they are compressed."""
    codec = pa.Codec("zstd", compression_level=1)
    return [(piece.nbytes, codec.compress(_octets(piece), asbytes=True)) for piece in array.pieces(_PIECE)]


def _octets(piece: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(piece).reshape(-1).view(np.uint8)


def _without_arrays(value: Any, arrays: list[Rows]) -> Any:
    """The same value with numbers in place of arrays, which are appended to the list."""
    if isinstance(value, np.ndarray):
        value = Rows(value.view(np.ndarray), np.arange(len(value)))
    if isinstance(value, Rows):
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, dict):
        return {name: _without_arrays(inner, arrays) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_arrays(inner, arrays) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def _arrays(listed: list[dict[str, Any]], data: memoryview) -> Iterator[Stored]:
    """The arrays of a header."""
    codec, at = pa.Codec("zstd"), 0
    for each in listed:
        whole = np.empty(sum(size for size, _ in each["pieces"]), np.uint8)
        done = 0
        for size, stored in each["pieces"]:
            piece = codec.decompress(data[at : at + stored], size)
            whole[done : done + size] = np.frombuffer(piece, np.uint8)
            at, done = at + stored, done + size
        yield Stored(each["kind"], tuple(each["shape"]), whole.data)


def _with_arrays(value: Any, arrays: list[Stored]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {name: _with_arrays(inner, arrays) for name, inner in value.items()}
    return [_with_arrays(inner, arrays) for inner in value] if isinstance(value, list) else value


def restore(run: Run, snapshot: Snapshot) -> None:
    """Let a run go on behind a snapshot. Raises CheckpointError where that is not one of such a run."""
    try:
        run.restore(snapshot)
    except (SnapshotMismatch, KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"the checkpoint is not one of this run ({error})") from error
