"""Memory of DNS answers: by what name a client was told an address.

The latest answers are remembered, as many as there are rows; the oldest goes when another comes. A row that was
answered anew is moved behind the others.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import helper
from flowgauge.kernels.packet import I32, zeroed_records

U32, U64, I64 = np.uint32, np.uint64, np.int64
_PRIMES = (U64(0x9E3779B97F4A7C15), U64(0xC2B2AE3D27D4EB4F))
_SHIFT = U64(31)
ROWS = 1 << 17

ANSWER = np.dtype(
    [
        ("client_hi", np.uint64),
        ("client_lo", np.uint64),
        ("hi", np.uint64),
        ("lo", np.uint64),
        ("time", np.int64),
        ("name", np.uint32),  # number of the text, 0 where the row holds nothing
        ("sooner", np.int32),  # row before it in its bucket plus one, 0 for the first
        ("later", np.int32),  # row behind it in its bucket plus one, 0 for the last
        ("bucket", np.int32),
    ],
    align=True,
)
STATE = np.dtype([("next", np.int64), ("seed", np.uint64)])


class Answers(NamedTuple):
    """The arrays of a memory; there are as many buckets as rows, a power of two."""

    state: np.recarray  # one STATE
    rows: np.recarray  # ANSWER, a ring
    buckets: I32  # first row of each plus one, 0 for none


def make_answers(rows: int = ROWS) -> Answers:
    """A memory of nothing, for so many answers: a power of two."""
    state = np.zeros(1, STATE).view(np.recarray)
    state[0].seed = secrets.randbits(64)
    return Answers(state, zeroed_records(rows, ANSWER), np.zeros(rows, np.int32))


@helper
def _bucket(answers, client_hi, client_lo, hi, lo):
    value = answers.state[0].seed
    for word in (client_hi, client_lo, hi, lo):
        value = (value ^ word) * _PRIMES[0]
        value = (value ^ (value >> _SHIFT)) * _PRIMES[1]
    return I64(value >> _SHIFT) & I64(len(answers.buckets) - 1)


@helper
def _find(answers, bucket, client_hi, client_lo, hi, lo):
    """Row of a pair plus one, 0 where there is none."""
    row = answers.buckets[bucket]
    while row != 0:
        r = answers.rows[row - 1]
        if r.lo == lo and r.client_lo == client_lo and r.hi == hi and r.client_hi == client_hi:
            return row
        row = r.later
    return row


@helper
def find_answer(answers, client_hi, client_lo, hi, lo):
    """Row of what a client was last told of an address plus one, 0 where it was told nothing."""
    return _find(answers, _bucket(answers, client_hi, client_lo, hi, lo), client_hi, client_lo, hi, lo)


@helper
def _forget(answers, row):
    r = answers.rows[row]
    if r.sooner:
        answers.rows[r.sooner - 1].later = r.later
    else:
        answers.buckets[r.bucket] = r.later
    if r.later:
        answers.rows[r.later - 1].sooner = r.sooner
    r.name = U32(0)


@helper
def remember_answer(answers, client_hi, client_lo, hi, lo, time, name):
    """A client is told that an address has this name."""
    bucket = _bucket(answers, client_hi, client_lo, hi, lo)
    before = _find(answers, bucket, client_hi, client_lo, hi, lo)
    if before:
        _forget(answers, before - 1)
    s = answers.state[0]
    row = s.next & I64(len(answers.rows) - 1)
    s.next += 1
    r = answers.rows[row]
    if r.name:
        _forget(answers, row)
    r.client_hi, r.client_lo, r.hi, r.lo, r.time, r.name = client_hi, client_lo, hi, lo, time, name
    r.sooner, r.later, r.bucket = 0, answers.buckets[bucket], bucket
    if r.later:
        answers.rows[r.later - 1].sooner = row + 1
    answers.buckets[bucket] = row + 1
