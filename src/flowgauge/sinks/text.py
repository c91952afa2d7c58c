"""Formats that are lines of text: CSV and JSON Lines."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pyarrow as pa

from flowgauge.sinks.flat import check_lists, flat_batch, flat_schema
from flowgauge.sinks.lines import LineFormatter, Notation
from flowgauge.sinks.output import Output

_SPECIAL = frozenset(',"\r\n')
_GZIP_LEVEL = 4


def _csv_text(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _SPECIAL & set(text) else text


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


# RFC 4180, but lines end in a line feed alone; a null is an empty field, a list a column for each of its places.
CSV = Notation(
    before=lambda number, name: "," if number else "",
    end="\n",
    null="",
    quote="",
    escape=_csv_text,
    not_finite=True,
)
# One object a line; a null, and what is no finite number, is null.
JSON = Notation(
    before=lambda number, name: ("," if number else "{") + json.dumps(name, ensure_ascii=False) + ":",
    end="}\n",
    null="null",
    quote='"',
    escape=_json_text,
    not_finite=False,
    lists=True,
)


class TextWriter:
    """Writes rows as lines behind a header, and may compress them (`compression`: gzip or zstd)."""

    rows = 8192

    def __init__(
        self, output: Output, schema: pa.Schema, notation: Notation, *, header: str = "", compression: str | None = None
    ) -> None:
        check_lists(schema)
        self._flat = None if notation.lists else flat_schema(schema)
        self._formatter = LineFormatter(self._flat or schema, notation)
        self._stream = _compressed(output, compression)
        self._stream.write(header.encode())

    def write(self, table: pa.Table) -> None:
        """Write the rows of a table."""
        for batch in table.to_batches():
            for piece in self._formatter.format(batch if self._flat is None else flat_batch(batch, self._flat)):
                self._stream.write(piece)

    def close(self) -> None:
        """Write the end of a compressed stream."""
        self._stream.close()


def _compressed(output: Output, compression: str | None) -> Any:
    if compression == "gzip":  # pyarrow has only level 9 of it, four times slower and 6 % smaller
        return gzip.GzipFile("", "wb", _GZIP_LEVEL, output, mtime=0)  # type: ignore[arg-type]
    if compression == "zstd":
        return pa.CompressedOutputStream(pa.PythonFile(output, "w"), "zstd")
    return output


def csv_writer(output: Output, schema: pa.Schema, compression: str | None = None) -> TextWriter:
    """A CSV writer; the header is there even without any row."""
    header = ",".join(map(_csv_text, flat_schema(schema).names)) + "\n"
    return TextWriter(output, schema, CSV, header=header, compression=compression)


def jsonl_writer(
    output: Output, schema: pa.Schema, compression: str | None = None, omit_null: bool = False
) -> TextWriter:
    """A JSON Lines writer. With `omit_null` a null is left out, but for the first column."""
    notation = JSON._replace(omits_null=omit_null)
    return TextWriter(output, schema, notation, compression=compression)
