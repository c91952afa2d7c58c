"""LabelMemo: owns the arrays of a memo and adds keys to it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.memo import CHOICE, ENTRY, STATE, Memo

MOST_ENTRIES = 1 << 16
MOST_KEPT = 1 << 20  # words of all keys
MOST_KEY = 1 << 14  # words of one
LEAST_KEY = 16  # for what is put into it though it is not looked up

Choices = Sequence[tuple[int, int]]
"""(from when on in ns, label number), the latest first; at least one."""


class LabelMemo:
    """A memo of one capture; without `on` it is empty and stays so.

    A memo that is full begins anew, so that its memory is bounded however many keys there are.
    """

    def __init__(self, on: bool) -> None:
        entries, kept, key = (MOST_ENTRIES, MOST_KEPT, MOST_KEY) if on else (1, 1, LEAST_KEY)
        self.arrays: Any = Memo(
            state=np.zeros(1, STATE).view(np.recarray),
            index=np.zeros(2 * entries, np.int32),
            entries=np.zeros(entries, ENTRY).view(np.recarray),
            choices=np.zeros(2 * entries, CHOICE).view(np.recarray),
            kept=np.zeros(kept, np.uint32),
            key=np.zeros(key, np.uint32),
        )
        self._state: Any = self.arrays.state[0]
        self._state.on, self._state.seed = on, secrets.randbits(64)
        self._entries = self._kept = self._choices = 0

    @property
    def unread(self) -> int:
        """Packets whose options break off or have no room."""
        return int(self._state.unread)

    @property
    def key(self) -> NDArray[np.uint32]:
        """The words of the key that was looked up last."""
        words: NDArray[np.uint32] = self.arrays.key[: self._state.words]
        return words

    def add(self, choices: Choices) -> None:
        """What was found of the key that was looked up last."""
        words, choices = int(self._state.words), choices[:MOST_ENTRIES]
        full = self._entries == len(self.arrays.entries) or self._kept + words > len(self.arrays.kept)
        if full or self._choices + len(choices) > len(self.arrays.choices):
            self.forget()
        self.arrays.kept[self._kept : self._kept + words] = self.arrays.key[:words]
        self.arrays.choices[self._choices : self._choices + len(choices)] = list(choices)
        entry = (self._state.hash, self._kept, words, self._choices, len(choices))
        self.arrays.entries[self._entries] = entry
        self._kept += words
        self._choices += len(choices)
        self._entries += 1
        self._insert(int(self._state.hash))

    def _insert(self, place: int) -> None:
        index = self.arrays.index
        place %= len(index)
        while index[place]:
            place = (place + 1) % len(index)
        index[place] = self._entries

    def forget(self) -> None:
        """What was found holds no longer."""
        if self._entries:
            self.arrays.index[:] = 0
            self._entries = self._kept = self._choices = 0
