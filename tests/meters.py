"""Both meters behind one function each: frames and options in, rows, reasons and counters out."""

from __future__ import annotations

import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, BinaryIO

from oracle import Options, Result, UnreadableError, meter, read_frames
from packets import Sent, capture

LIBRARY = not os.environ.get("NUMBA_DISABLE_JIT", "0").strip("0")
"""Whether the groups that are off by default are compared in every test: as plain Python they take most of the time."""

NOT_COMPARED = ("source", "app", "action", "process", "pid", "uid", "sample", "label_by", "label_conflicts")
"""Columns of the package that the oracle does not have: they come from the file's name, or from around its packets."""

OTHER_ORACLES = ("names", "where")
"""Groups that are compared elsewhere, with oracles of their own."""

SHAPES = ("_skewness", "_kurtosis")
"""Ends of the names of columns that are made of sums of floats, in which little is left where values hardly differ."""


def oracle(frames: Iterable[Sent], **options: Any) -> Result:
    """The slow one."""
    return by_oracle(capture(frames), **options)


def flowgauge(frames: Iterable[Sent], **options: Any) -> Result:
    """The package."""
    return by_package(capture(frames), **options)


METERS = (oracle, flowgauge)
Meter = Callable[..., Result]


def by_oracle(content: bytes, *, library: bool = LIBRARY, **options: Any) -> Result:
    """The oracle on a capture. Raises UnreadableError."""
    return meter(read_frames(content), Options(library=library, **options))


def by_package(
    content: bytes | BinaryIO | list[BinaryIO], *, rows: int | None = None, library: bool = LIBRARY, **options: Any
) -> Result:
    """The package on a capture; `rows` is the size of its packet batches. Raises UnreadableError."""
    from flowgauge.config import DEFAULT_FEATURES
    from flowgauge.run import Hooks, Run
    from flowgauge.schema import GROUPS

    size = {} if rows is None else {"rows": rows}
    compared = tuple(group for group in GROUPS if group not in OTHER_ORACLES)
    options = {"features": compared if library else DEFAULT_FEATURES, "threads": 1, **options}
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    run = Run(source, Hooks(), **size, **_spelled(options))
    records = [row for batch in run.batches() for row in _plain(batch)]
    if run.stats.failed and not run.stats.packets:
        raise UnreadableError(*run.stats.failed.values())
    return Result(records, Counter(run.stats.reasons), Counter(run.stats.counters))


def joined(captures: Iterable[bytes], **options: Any) -> Result:
    """The oracle on the captures of one trace."""
    frames = [
        replace(frame, offset=number << 40 | frame.offset)
        for number, content in enumerate(captures)
        for frame in read_frames(content)
    ]
    return meter(frames, Options(library=LIBRARY, **options))


def by_package_joined(captures: Iterable[bytes], *, rows: int | None = None, **options: Any) -> Result:
    """The package on the captures of one trace."""
    sources = [io.BytesIO(content) for content in captures]
    return by_package(sources, rows=rows, join=True, **options)


def _spelled(options: dict[str, Any]) -> dict[str, Any]:
    """None is "not given" to the functions that users call; a timeout that is off is spelled so."""
    return {name: "off" if value is None else value for name, value in options.items()}


def _plain(batch: Any) -> list[dict[str, Any]]:
    """Rows of a record batch with timestamps as integers."""
    import pyarrow as pa

    kept = batch.drop_columns([name for name in NOT_COMPARED if name in batch.schema.names])
    plain = [column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in kept.columns]
    return pa.RecordBatch.from_arrays(plain, kept.schema.names).to_pylist()


def differences(expected: Result, found: Result) -> list[str]:
    """What is not the same, in words; floats may differ by 1e-12 of their value (SHAPES by 1e-6). Empty when all is."""
    lines = [
        f"{kind} {name}: {before[name]} became {after[name]}"
        for kind, before, after in (
            ("reason", expected.reasons, found.reasons),
            ("counter", expected.counters, found.counters),
        )
        for name in sorted(before.keys() | after.keys())
        if before[name] != after[name]
    ]
    if len(expected.rows) != len(found.rows):
        lines.append(f"{len(expected.rows)} rows became {len(found.rows)}")
    for number, (row, other) in enumerate(zip(expected.rows, found.rows, strict=False)):
        names = [name for name in {**row, **other} if not _same(name, row.get(name, ...), other.get(name, ...))]
        lines += [f"row {number} {name}: {row.get(name, ...)} became {other.get(name, ...)}" for name in names]
    return lines


def _same(name: str, a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return all(_same(name, value, other) for value, other in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        tolerance = 1e-6 if name.endswith(SHAPES) else 0.0
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=tolerance) or math.isclose(a, b, rel_tol=tolerance)
    return type(a) is type(b) and a == b
