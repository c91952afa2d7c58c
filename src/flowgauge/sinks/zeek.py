"""Zeek's log format: tab-separated values behind header lines that name and type them."""

from __future__ import annotations

import time

import pyarrow as pa

from flowgauge.errors import ConfigError
from flowgauge.schemas.zeek import ZEEK_TYPES
from flowgauge.sinks.lines import Notation
from flowgauge.sinks.output import Output
from flowgauge.sinks.text import TextWriter

_SPECIAL = frozenset("\t\n\r\\")


def _text(text: str) -> str:
    """A value with what would end it as \\x and its code, and what would be taken for none marked so."""
    if text in ("", "-"):
        return "(empty)" if not text else "\\x2d"
    return "".join(f"\\x{ord(c):02x}" if c in _SPECIAL else c for c in text) if _SPECIAL & set(text) else text


LOG = Notation(
    before=lambda number, name: "\t" if number else "",
    end="\n",
    null="-",
    quote="",
    escape=_text,
    not_finite=True,
)


class _LogWriter(TextWriter):
    """Writes seconds with six decimals and booleans as T and F. The log is opened at its first row's time and closed
    at its last one's, so that the same records are the same bytes."""

    def __init__(self, output: Output, schema: pa.Schema, written: pa.Schema, compression: str | None) -> None:
        super().__init__(output, written, LOG, compression=compression)
        self._names = schema.names
        self._times = 0.0, 0.0
        self._open = False

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            times = table["ts"][0].as_py(), table["ts"][-1].as_py()
            self._times = (self._times[0] if self._open else times[0]), times[1]
        self._begin()
        columns = [_as_text(column) for column in table.columns]
        super().write(pa.Table.from_arrays(columns, table.schema.names))

    def close(self) -> None:
        self._begin()
        self._stream.write(f"#close\t{_date(self._times[1])}\n".encode())
        super().close()

    def _begin(self) -> None:
        if self._open:
            return
        self._open = True
        header = [
            "#separator \\x09",
            "#set_separator\t,",
            "#empty_field\t(empty)",
            "#unset_field\t-",
            "#path\tconn",
            f"#open\t{_date(self._times[0])}",
            "\t".join(["#fields", *self._names]),
            "\t".join(["#types", *(ZEEK_TYPES[name] for name in self._names)]),
        ]
        self._stream.write(("\n".join(header) + "\n").encode())


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):
        return pa.chunked_array([[None if v is None else f"{v:.6f}" for v in column.to_pylist()]], pa.string())
    if pa.types.is_boolean(column.type):
        return pa.chunked_array([[None if v is None else "FT"[v] for v in column.to_pylist()]], pa.string())
    return column


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(seconds))


def _as_written(field: pa.Field) -> pa.Field:
    is_text = pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)
    return pa.field(field.name, pa.string()) if is_text else field


def zeek_writer(output: Output, schema: pa.Schema, compression: str | None = None) -> TextWriter:
    """A writer of conn.log. Raises ConfigError for columns that are not those of schema `zeek`."""
    if unknown := [name for name in schema.names if name not in ZEEK_TYPES]:
        raise ConfigError(f"format zeek is for schema zeek: {unknown[0]} is no column of that; give --schema zeek too")
    return _LogWriter(output, schema, pa.schema([_as_written(field) for field in schema]), compression)
