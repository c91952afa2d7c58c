"""Thrift's compact protocol, as far as the footers of Parquet files use it: structures to trees, and back.

A structure is a dict of field number → (kind, value), in the order of the bytes; a list is (kind of its elements, their
values); text and floating-point numbers stay bytes. What is read and not changed is written as the same bytes, whatever
the fields mean. A structure may also be given as its bytes.

A row group has a structure for each column, and reading it holds the interpreter's lock: the numbers of one byte, which
most are, are read where they stand.

Source: github.com/apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _MAP, STRUCT = range(1, 13)

Struct = dict[int, tuple[int, Any]]

_STOP = 0
_SIZES = {TRUE: 0, FALSE: 0, BYTE: 1, DOUBLE: 8}
_LONG_LIST = 15  # where a list's header has no room for its length


def read_struct(data: bytes, at: int = 0) -> tuple[Struct, int]:
    """The structure that begins at a place, and the place behind it."""
    fields: Struct = {}
    number = 0
    while head := data[at]:
        kind = head & 15
        at += 1
        if head > 15:
            number += head >> 4
        else:
            number, at = _read_number(data, at)
        if I16 <= kind <= I64:
            value: Any = data[at]
            at += 1
            if value > 127:
                value, at = _read_rest(data, at, value)
            value = value >> 1 ^ -(value & 1)
        else:
            value, at = _read(data, at, kind)
        fields[number] = kind, value
    return fields, at + 1


def struct_bytes(fields: Struct) -> bytes:
    """The bytes of a structure."""
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


def _read(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == STRUCT:
        return read_struct(data, at)
    if kind == BINARY:
        size, at = _read_varint(data, at)
        return data[at : at + size], at + size
    if kind in (LIST, SET):
        return _read_list(data, at)
    if I16 <= kind <= I64:
        return _read_number(data, at)
    size = _SIZES[kind]
    return data[at : at + size], at + size


def _read_list(data: bytes, at: int) -> tuple[tuple[int, list[Any]], int]:
    size, kind = data[at] >> 4, data[at] & 15
    at += 1
    if size == _LONG_LIST:
        size, at = _read_varint(data, at)
    values = []
    for _ in range(size):
        value, at = _read(data, at, _in_list(kind))
        values.append(value)
    return (kind, values), at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    return (value, at + 1) if value < 128 else _read_rest(data, at + 1, value)


def _read_rest(data: bytes, at: int, first: int) -> tuple[int, int]:
    """The number of which the first byte was read."""
    value, shift = first & 127, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _read_varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _write_struct(out: bytearray, fields: Struct) -> None:
    before = 0
    for number, (kind, value) in fields.items():
        step = number - before
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _write_number(out, number)
        before = number
        _write(out, kind, value)
    out.append(_STOP)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind == STRUCT and isinstance(value, dict):
        _write_struct(out, value)
    elif kind in (LIST, SET):
        _write_list(out, *value)
    elif I16 <= kind <= I64:
        _write_number(out, value)
    else:
        if kind == BINARY:
            _write_varint(out, len(value))
        out += value


def _write_list(out: bytearray, kind: int, values: list[Any]) -> None:
    if len(values) < _LONG_LIST:
        out.append(len(values) << 4 | kind)
    else:
        out.append(_LONG_LIST << 4 | kind)
        _write_varint(out, len(values))
    for value in values:
        _write(out, _in_list(kind), value)


def _in_list(kind: int) -> int:
    """What an element is stored as: a truth is in the head of a field, but a byte in a list."""
    return BYTE if kind in (TRUE, FALSE) else kind


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_number(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else ~value << 1 | 1)
