"""Records become more: what was there stays, what is new is zero, and whoever holds the array before keeps it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgauge import growing
from flowgauge.growing import MOVES, Growing

RECORD = np.dtype([("a", np.int64), ("b", np.uint32)], align=True)
SIZES = st.lists(st.integers(1, 70_000), min_size=1, max_size=4).map(sorted)


@pytest.fixture(params=[False, True], ids=["copied", "moved"], autouse=True)
def moves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With pages that move, and as on systems where they cannot."""
    if request.param and not MOVES:
        pytest.skip("pages cannot be moved here")
    monkeypatch.setattr(growing, "MOVES", request.param)
    return bool(request.param)


@given(SIZES, st.sampled_from([(), (3,), (2, 5)]), st.booleans())
def test_rows_stay_and_new_ones_are_zero(sizes: list[int], width: tuple[int, ...], held: bool) -> None:
    """Whatever the sizes, also beyond that of a huge page; and with or without somebody who holds the array."""
    room = Growing(sizes[0], np.int32, width)
    assert not room.array.any()
    expected = np.zeros((0, *width), np.int32)
    holding = []
    for size in sizes:
        array = room.array if size == sizes[0] else room.grow(size)
        assert array is room.array and array.shape == (size, *width)
        assert np.array_equal(array[: len(expected)], expected) and not array[len(expected) :].any()
        array[-1] = array[size // 2] = size
        expected = array.copy()
        if held:
            holding.append((array, expected))
        del array
    for array, was in holding:
        assert np.array_equal(array, was)


def test_what_is_held_is_not_shared() -> None:
    """The array before is its holder's own once the records have grown."""
    room = Growing(4, np.int32)
    before = room.array
    room.grow(8)[:] = 1
    assert not before.any()
    before[:] = 2
    assert (room.array == 1).all()


def test_records_are_records() -> None:
    """Fields are attributes, as kernels want them, and rows begin on a line of the cache."""
    room = Growing(5, RECORD)
    room.array[4].b = 7
    grown = room.grow(300_000)
    assert isinstance(grown, np.recarray) and grown.b[4] == 7 and grown.a.sum() == 0
    assert grown.ctypes.data % 64 == 0


def test_without_room_rows_are_copied(moves: bool) -> None:
    """Where the system refuses to move pages, nothing is lost."""
    if not moves:
        pytest.skip("nothing is moved")
    room = Growing(3, np.int64)
    room.array[:] = (1, 2, 3)
    view = memoryview(room._memory)  # what a holder does: the pages cannot be moved
    assert room.grow(6).tolist() == [1, 2, 3, 0, 0, 0]
    view.release()


def test_no_room_is_a_memory_error() -> None:
    """What is larger than any address space is refused as everywhere in Python."""
    with pytest.raises(MemoryError):
        Growing(1 << 44, RECORD)
    room = Growing(3, np.int64)
    with pytest.raises(MemoryError):
        room.grow(1 << 45)
