"""Memo: what was found once about some bytes of packets, looked up again without Python.

A packet's key (its options, a header of its capture, a trailer) is put into `key`. Known keys are found
by a hash with a secret seed and compared as a whole; what was found are label numbers, each from some time on. Keys
are added by flowgauge.sources.memo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import inline_helper
from flowgauge.kernels.packet import I32

U, U32 = np.uint64, np.uint32

UNKNOWN = U32(0xFFFFFFFF)
"""In place of a label: the key is not known yet."""

_MIXER = U(0x9E3779B97F4A7C15)

STATE = np.dtype(
    [
        ("seed", np.uint64),
        ("hash", np.uint64),  # of the key that was looked up last
        ("words", np.int64),  # of the key
        ("unread", np.int64),  # packets whose options break off or have no room
        ("on", np.uint8),  # 1 where labels are looked for
    ],
    align=True,
)

ENTRY = np.dtype(
    [
        ("hash", np.uint64),
        ("begin", np.int64),  # of its words among those kept
        ("words", np.int64),
        ("first", np.int64),  # of its choices
        ("choices", np.int64),  # at least one
    ],
    align=True,
)

CHOICE = np.dtype([("start", np.int64), ("label", np.uint32)], align=True)
"""A label, and the time in ns from which it holds. Those of an entry are in order, the latest first."""


class Memo(NamedTuple):
    """The arrays of a memo."""

    state: np.recarray  # one STATE
    index: I32  # hash -> entry + 1; 0 is empty; at most half full
    entries: np.recarray
    choices: np.recarray
    kept: np.ndarray  # uint32: the words of all entries
    key: np.ndarray  # uint32: those of the key at hand


@inline_helper
def _is_kept(memo, entry):
    word = np.int64(0)
    while word < entry.words and memo.kept[entry.begin + word] == memo.key[word]:
        word += 1
    return word == entry.words


@inline_helper
def _find(memo):
    """The entry of the key, -1 without one."""
    s = memo.state[0]
    found, words = s.seed, s.words
    for word in range(words):
        found = (found ^ U(memo.key[word])) * _MIXER
        found ^= found >> U(29)
    s.hash = found
    mask = U(len(memo.index) - 1)
    place = found & mask
    while memo.index[place] != 0:
        number = memo.index[place] - 1
        entry = memo.entries[number]
        if entry.hash == found and entry.words == words and _is_kept(memo, entry):
            return np.int64(number)
        place = (place + U(1)) & mask
    return np.int64(-1)


@inline_helper
def look_up(memo, time):
    """The label of the key at a time, in ns: that which holds then, before all of them the earliest; or UNKNOWN."""
    number = _find(memo)
    if number < 0:
        return UNKNOWN
    entry = memo.entries[number]
    last = entry.first + entry.choices - 1
    for place in range(entry.first, last):
        if memo.choices[place].start <= time:
            return U32(memo.choices[place].label)
    return U32(memo.choices[last].label)
