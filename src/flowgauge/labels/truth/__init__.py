"""Truth from a table: rows that say which flows they are about, and what those are.

``fields`` knows the columns, ``times`` and ``values`` what is in them, ``reader`` makes rules of a file, ``index``
finds the first rule of each flow, ``offset`` the clock of the table, and ``truth`` puts labels onto records.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flowgauge.errors import ConfigError

if TYPE_CHECKING:
    from flowgauge.labels.truth.truth import Truth

FIND_OFFSET = "auto"


def make_truth(source: Any, offset: float | str | None = None) -> Truth | None:
    """The truth of a table, None without one. Raises ConfigError for a table or an offset that make no sense."""
    if source is None:
        if offset is not None:
            raise ConfigError("truth_offset is for the clock of a truth table: give truth too")
        return None
    from flowgauge.labels.truth.truth import Truth

    return Truth(source, 0.0 if offset in (None, FIND_OFFSET) else _seconds(offset))


def _seconds(offset: Any) -> float:
    try:
        seconds = float(offset)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(offset, bool) or not abs(seconds) < 2**31:
        raise ConfigError(f"truth_offset is seconds, such as 10800 or -3600, or '{FIND_OFFSET}', not {offset!r}")
    return seconds


def no_truth(stats: dict[str, Any]) -> str:
    """What to say where no record matches a row."""
    if stats["offset_found"]:
        return (
            f"no record matches a row of {stats['table']}, whatever its clock: compare its addresses, ports and files "
            "with those of the captures"
        )
    return (
        f"no record matches a row of {stats['table']}; is its clock another? --truth-offset {FIND_OFFSET} finds by how "
        "much, and --truth-offset 3600 is for one that is an hour behind"
    )
