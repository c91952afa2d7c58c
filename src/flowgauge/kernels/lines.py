"""Lines of text from columns: one kernel per kind of column, which appends one value to each line.

Every line has a slot of the same size, SLACK wider than its longest text: texts are copied in words. When all columns
are written, :func:`join_lines` moves the lines together. Formats differ only in the texts around a value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper, inline_helper, kernel
from flowgauge.kernels.digits import put_bytes, put_padded, put_signed
from flowgauge.kernels.floats import put_float
from flowgauge.kernels.packet import I32, U8, U64

U = np.uint64
SLACK = 8  # bytes
TIME_BYTES = 30  # of "2026-11-23T08:28:00.123456789Z"

_DAY = np.int64(86_400_000_000_000)
_CENTURIES = np.int64(146_097)  # days of 400 years
_TO_0000_03_01 = np.int64(719_468)  # days from there to 1970-01-01
_DASH, _COLON, _DOT, _T, _Z = (np.uint8(ord(character)) for character in "-:.TZ")
_SPACE, _QUOTE, _COMMA, _BACKSLASH = (np.uint8(ord(character)) for character in ' ",\\')


class Lines(NamedTuple):
    """Slots of lines being written: `end[k]` is where the text of line `k` goes on."""

    text: U8
    end: U64


class Text(NamedTuple):
    """The first `size` bytes of `data`, whose length is a multiple of 8."""

    data: U8
    size: int


class Field(NamedTuple):
    """What surrounds the values of one column, and which of its rows have one.

    Row `i` has a value where bit `first_bit + i` of `valid` is set; where not, `null` stands for
    `before`, value and `after`.
    """

    before: Text
    after: Text
    null: Text
    valid: U8
    first_bit: int


class Strings(NamedTuple):
    """Row `i` is text `codes[i]` of those in `data`, which begin and end at `offsets`."""

    codes: I32
    offsets: I32
    data: U8


@inline_helper
def _put_all(out, at, text):
    return put_bytes(out, at, text.data, U(0), U(text.size))


@inline_helper
def _enter(text, at, before, null, valid, bit):
    """Append what comes before a value, or all there is of a null; (position, whether a value follows)."""
    if (valid[bit >> U(3)] >> np.uint8(bit & U(7))) & np.uint8(1):
        return _put_all(text, at, before), True
    return _put_all(text, at, null), False


@kernel
def start_lines(lines, rows, width):
    """Begin `rows` empty lines in slots of `width` bytes."""
    for line in range(rows):
        lines.end[line] = U(line * width)
    return rows


@kernel
def put_integers(values, field, lines, begin, stop):
    """Append rows `begin` to `stop` of an int64 column."""
    text, end = lines.text, lines.end
    before, after, null, valid = field.before, field.after, field.null, field.valid
    for i in range(begin, stop):
        at, present = _enter(text, end[i - begin], before, null, valid, U(field.first_bit + i))
        if present:
            at = put_signed(text, at, values[i])
            at = _put_all(text, at, after)
        end[i - begin] = at
    return stop


@kernel
def put_floats(values, bits, field, lines, begin, stop):
    """Append rows of a float64 column, given also as its bits."""
    text, end = lines.text, lines.end
    before, after, null, valid = field.before, field.after, field.null, field.valid
    for i in range(begin, stop):
        at, present = _enter(text, end[i - begin], before, null, valid, U(field.first_bit + i))
        if present:
            at = put_float(text, at, values[i], bits[i])
            at = _put_all(text, at, after)
        end[i - begin] = at
    return stop


@kernel
def put_strings(strings, field, lines, begin, stop):
    """Append rows of texts that need no escaping any more."""
    text, end = lines.text, lines.end
    before, after, null, valid = field.before, field.after, field.null, field.valid
    codes, offsets, data = strings.codes, strings.offsets, strings.data
    for i in range(begin, stop):
        at, present = _enter(text, end[i - begin], before, null, valid, U(field.first_bit + i))
        if present:
            at = put_bytes(text, at, data, U(offsets[codes[i]]), U(offsets[codes[i] + 1]))
            at = _put_all(text, at, after)
        end[i - begin] = at
    return stop


@helper
def _civil(day):
    """(year, month, day) of a day since 1970-01-01, in years that begin in March."""
    day += _TO_0000_03_01
    era = day // _CENTURIES
    day -= era * _CENTURIES
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    year += era * 400 + (month >= 10)
    return year, month + 3 - 12 * (month >= 10), day


@inline_helper
def _put_date(out, at, date):
    at = put_padded(out, at, U(date[0]), U(4))
    out[at] = _DASH
    at = put_padded(out, at + U(1), U(date[1]), U(2))
    out[at] = _DASH
    return put_padded(out, at + U(1), U(date[2]), U(2))


@inline_helper
def _put_clock(out, at, time):
    """Thh:mm:ss.nnnnnnnnnZ of a time of the day in ns."""
    second, minute = time // U(1_000_000_000), time // U(60_000_000_000)
    out[at] = _T
    at = put_padded(out, at + U(1), minute // U(60), U(2))
    out[at] = _COLON
    at = put_padded(out, at + U(1), minute % U(60), U(2))
    out[at] = _COLON
    at = put_padded(out, at + U(1), second % U(60), U(2))
    out[at] = _DOT
    at = put_padded(out, at + U(1), time - second * U(1_000_000_000), U(9))
    out[at] = _Z
    return at + U(1)


@kernel
def put_times(values, field, lines, begin, stop):
    """Append rows of times, int64 ns since the epoch: ISO 8601 in UTC, always with nine decimals."""
    text, end = lines.text, lines.end
    before, after, null, valid = field.before, field.after, field.null, field.valid
    day, date = np.int64(0), _civil(np.int64(0))
    for i in range(begin, stop):
        at, present = _enter(text, end[i - begin], before, null, valid, U(field.first_bit + i))
        if present:
            today = values[i] // _DAY
            if today != day:  # rare: the records of a batch are close in time
                day, date = today, _civil(today)
            at = _put_clock(text, _put_date(text, at, date), U(values[i]) - U(day * _DAY))
            at = _put_all(text, at, after)
        end[i - begin] = at
    return stop


@kernel
def join_lines(lines, rows, width, tail, out):
    """Copy the lines behind one another into `out`, each followed by `tail`; returns the bytes written."""
    at = U(0)
    for line in range(rows):
        begin = U(line * width)
        size = lines.end[line] - begin
        for place in range(size):
            out[at + U(place)] = lines.text[begin + U(place)]
        at = _put_all(out, at + size, tail)
    return at


@kernel
def is_plain(data, begin, stop):
    """Whether no byte of `data` can need quoting or escaping: no control character, quote, comma or backslash."""
    special = False
    for here in range(begin, stop):
        byte = data[U(here)]
        special |= (byte < _SPACE) | (byte == _QUOTE) | (byte == _COMMA) | (byte == _BACKSLASH)
    return not special
