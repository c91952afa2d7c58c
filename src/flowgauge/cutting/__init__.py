"""Cut: from flow records back to the packets that they were made of.

``records`` reads what a table says of itself, ``where`` selects its rows, ``sources`` finds its captures, ``marks``
meters these again and marks the packets of the rows, and ``packets`` copies them.
"""

from __future__ import annotations

import os
from typing import IO, NamedTuple

import pyarrow as pa

from flowgauge.cutting.marks import mark
from flowgauge.cutting.packets import write_packets
from flowgauge.cutting.records import read_records
from flowgauge.cutting.sources import find_sources

__all__ = ["Cut", "cut"]


class Cut(NamedTuple):
    """What was cut: records, their packets, and the captures that these are of."""

    records: int
    packets: int
    captures: int


def cut(
    table: pa.Table | str | os.PathLike[str],
    output: str | os.PathLike[str] | IO[bytes],
    *,
    where: str | None = None,
    source_dir: str | os.PathLike[str] | None = None,
) -> Cut:
    """Write the packets of flow records as pcapng: of all rows of `table`, or of those that `where` selects.

    `output` is a file, or a folder (there already, or with a / behind its name) which gets one file for each capture.

    `table` is the path of a Parquet or Arrow file that flowgauge has written, or such a table, filtered at will;
    `where` is a condition of SQL over its columns, and needs DuckDB. The captures that the records name are looked for
    where they were, else in `source_dir`. They are metered again by the rules that the table was made by, so that
    exactly the packets which count in the records are written, as they were captured, in the order of their files.

    Raises ConfigError for a table that does not tell how it was made, or is anonymised, and for a condition that makes
    no sense; SourceError for a capture that is not there, or not as it was; SinkError.
    """
    records = read_records(table, where)
    captures = find_sources(records, source_dir)
    marks = mark(records, captures)
    packets = write_packets(marks, output)
    return Cut(len(records.rows), packets, len(marks))
