"""The arena of the heads of streams: blocks of four sizes, that grow and are used again."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flowgauge.kernels.heads import HEAD_BYTES, UNIT_BYTES, head_range, make_arena, release_block
from strategies import examples

FLOWS = 5
FLOW = np.dtype([("block", np.int32, (2,))])

places = st.integers(0, HEAD_BYTES - 1)
actions = st.lists(st.tuples(st.integers(0, FLOWS - 1), st.integers(0, 1), places, st.integers(0, 900)), max_size=60)


@functools.cache
def _kernels() -> Any:
    from flowgauge.kernels._jit import kernel
    from flowgauge.kernels.heads import have_room, put_segment

    def put(arena, flows, row, d, data, place):  # type: ignore[no-untyped-def]
        f, count = flows[row], np.int64(len(data))
        if not have_room(arena, f, d, place + count):
            return False
        put_segment(arena, f.block[d], data, np.uint64(0), place, count)
        return True

    def release(arena, flows, row, d):  # type: ignore[no-untyped-def]
        release_block(arena, flows[row], d)

    def span(arena, flows, row, d):  # type: ignore[no-untyped-def]
        return head_range(arena, flows[row].block[d], np.int64(-1))

    return kernel(put), kernel(release), kernel(span)


@examples(100)
@given(actions, st.sampled_from([24, 2 * FLOWS * HEAD_BYTES // UNIT_BYTES * 4]))
def test_heads_hold_what_was_put_in_them(actions: list[tuple[int, int, int, int]], units: int) -> None:
    """Whatever grows, is given back and is taken again: a head is what was put in it up to its first hole, no other
    head's bytes, and what there is no room for is refused and counted."""
    put, release, span = _kernels()
    arena, flows = make_arena(units, units), np.zeros(FLOWS, FLOW).view(np.recarray)
    expected: dict[tuple[int, int], dict[int, int]] = {}
    refused = 0
    for number, (row, d, place, count) in enumerate(actions, 1):
        count = min(count, HEAD_BYTES - place)
        if count == 0:
            release(arena, flows, row, d)
            expected.pop((row, d), None)
        elif put(arena, flows, row, d, np.full(count, number, np.uint8), np.int64(place)):
            expected.setdefault((row, d), {}).update(dict.fromkeys(range(place, place + count), number))
        else:
            refused += 1
        for (row, d), there in expected.items():
            begin, end = span(arena, flows, row, d)
            length = next(place for place in range(HEAD_BYTES + 1) if place not in there)
            assert list(arena.data[int(begin) : int(end)]) == [there[place] for place in range(length)]
    assert arena.pool[0].refused == refused
    assert units == 24 or not refused
