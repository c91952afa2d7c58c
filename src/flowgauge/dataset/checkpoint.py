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

from flowgauge import __version__, storage
from flowgauge.dataset.asked import FORM
from flowgauge.errors import ConfigError
from flowgauge.privacy import Seal
from flowgauge.snapshot import Snapshot, SnapshotMismatch, Stored, kind_of
from flowgauge.threads import processors

if TYPE_CHECKING:
    from flowgauge.run import Run

_FIRST_LINE = b"flowgauge checkpoint\n"
_DIGEST = 32  # bytes
_LENGTH = 8
_OTHERS_WRITE = 0o002
_ARRAY = "array"  # key of what stands for an array in the header


class CheckpointError(Exception):
    """Bytes that are no checkpoint to go on from."""


def pack(snapshot: Snapshot, seal: Seal | None) -> bytes:
    """A snapshot as bytes."""
    arrays: list[np.ndarray] = []
    values = _without_arrays(snapshot, arrays)
    with ThreadPoolExecutor(min(4, processors()), "flowgauge-checkpoint") as pool:
        pieces = list(pool.map(_compressed, arrays))
    listed = [
        {"kind": kind_of(array.dtype), "shape": array.shape, "bytes": array.nbytes, "stored": len(piece)}
        for array, piece in zip(arrays, pieces, strict=True)
    ]
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


def _compressed(array: np.ndarray) -> Any:
    return pa.Codec("zstd", compression_level=1).compress(np.ascontiguousarray(array).view(np.uint8).reshape(-1))


def _without_arrays(value: Any, arrays: list[np.ndarray]) -> Any:
    """The same value with numbers in place of arrays, which are appended to the list."""
    if isinstance(value, np.ndarray):
        arrays.append(value.view(np.ndarray))
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
        piece = data[at : at + each["stored"]]
        at += each["stored"]
        yield Stored(each["kind"], tuple(each["shape"]), codec.decompress(piece, each["bytes"]))


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
