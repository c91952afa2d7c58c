"""The texts of a meter: the arrays that kernels fill, as large as they need to be, and what is shown of each."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.packet import zeroed_records
from flowgauge.kernels.texts import STATE, TEXT, Texts, drop_texts, index_texts
from flowgauge.snapshot import Snapshot, fill

FIRST_TEXTS = 1 << 12
FIRST_BYTES = 1 << 20


class TextTable:
    """Owns a table of texts; `shown` remembers, by function, what is made of the text of each number."""

    def __init__(self, texts: int = FIRST_TEXTS, size: int = FIRST_BYTES) -> None:
        self.arrays = _empty(texts, size)
        self.arrays.state[0].fresh, self.arrays.state[0].seed = 1, secrets.randbits(64)
        self._shown: dict[Callable[[bytes], Any], dict[int, Any]] = {}

    @property
    def rows(self) -> int:
        """Numbers that there are."""
        return len(self.arrays.rows)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    def show(self, make: Callable[[bytes], Any], number: int) -> Any:
        """What `make` makes of a text; it is asked once for each."""
        return self.show_all(make, (number,))[0]

    def show_all(self, make: Callable[[bytes], Any], numbers: Sequence[int]) -> list[Any]:
        """The same of several texts."""
        shown, rows, data = self._shown.setdefault(make, {}), self.arrays.rows.view(np.ndarray), self.arrays.data
        for number in numbers:
            if number not in shown:
                begin, length, _ = rows[number].item()  # a tenth of the time of attributes
                shown[number] = make(data[begin : begin + length].tobytes())
        return [shown[number] for number in numbers]

    def grow(self) -> None:
        """Twice the room for texts and their bytes."""
        state, rows, index, free, data = self.arrays
        larger = zeroed_records(2 * len(rows), TEXT)
        larger[: len(rows)] = rows
        numbers, octets = np.zeros(2 * len(free), np.int32), np.zeros(2 * len(data), np.uint8)
        numbers[: len(free)], octets[: len(data)] = free, data
        self.arrays = Texts(state, larger, np.zeros(2 * len(index), np.int32), numbers, octets)
        index_texts(self.arrays)

    def drop(self, used: NDArray[np.bool_]) -> None:
        """Forget the texts that are not `used`, by number; those that are keep theirs."""
        texts = self.arrays._replace(index=np.zeros_like(self.arrays.index))
        octets = np.zeros_like(texts.data)
        drop_texts(texts, used, octets)
        self.arrays = texts._replace(data=octets)
        index_texts(self.arrays)
        for make, shown in self._shown.items():
            self._shown[make] = {number: value for number, value in shown.items() if used[number]}

    def snapshot(self) -> Snapshot:
        """Of all texts."""
        a, s = self.arrays, self.arrays.state[0]
        used = {"rows": a.rows[: s.fresh], "free": a.free[: s.free], "data": a.data[: s.stop]}
        return {"capacity": [len(a.rows), len(a.data)], "state": a.state, **used}

    def restore(self, snapshot: Snapshot) -> None:
        """Have the texts of a snapshot, with their numbers."""
        self.arrays = _empty(*snapshot["capacity"])
        for name in ("state", "rows", "free", "data"):
            fill(getattr(self.arrays, name), snapshot, name)
        index_texts(self.arrays)
        self._shown.clear()

    def has_room(self, texts: int, size: int) -> bool:
        """Whether there is room for so many texts, and so many bytes of them."""
        s = self.arrays.state[0]
        return bool(s.free + self.rows - s.fresh >= texts and len(self.arrays.data) - s.stop >= size)

    def is_crowded(self) -> bool:
        """Whether more than half is in use."""
        s = self.arrays.state[0]
        return bool(2 * (s.fresh - s.free) > self.rows or 2 * s.stop > len(self.arrays.data))


def _empty(texts: int, size: int) -> Texts:
    return Texts(
        np.zeros(1, STATE).view(np.recarray),
        zeroed_records(texts, TEXT),
        np.zeros(2 * texts, np.int32),
        np.zeros(texts, np.int32),
        np.zeros(size, np.uint8),
    )
