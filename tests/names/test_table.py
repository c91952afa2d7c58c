"""The table of texts: each text once, room for more, and none that nothing has any more."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flowgauge.kernels._jit import kernel
from flowgauge.kernels.texts import rank_texts
from flowgauge.names.shown import ja4, plain
from flowgauge.names.table import TextTable
from strategies import examples


@functools.cache
def _intern() -> Any:
    from flowgauge.kernels.texts import intern

    def put(texts, data, length):  # type: ignore[no-untyped-def]
        return intern(texts, data, np.uint64(0), np.uint64(length))

    return kernel(put)


def numbered(table: TextTable, text: bytes) -> int:
    return int(_intern()(table.arrays, np.frombuffer(bytearray(text), np.uint8), len(text)))


@examples(60)
@given(
    rounds=st.lists(st.tuples(st.lists(st.binary(min_size=1, max_size=6), max_size=8), st.integers(0, 255)), max_size=5)
)
def test_a_text_keeps_its_number_for_as_long_as_it_is_used(rounds: list[tuple[list[bytes], int]]) -> None:
    """Through growing and dropping, equal texts have one number, different ones others, and numbers say their text."""
    table, kept = TextTable(16, 64), dict[bytes, int]()
    for texts, mask in rounds:
        for text in texts:
            while not table.has_room(1, 6):
                table.grow()
            number = numbered(table, text)
            assert kept.setdefault(text, number) == number
        assert len(set(kept.values())) == len(kept)
        assert {number: table.show(bytes, number) for number in kept.values()} == {n: t for t, n in kept.items()}
        kept = {text: number for place, (text, number) in enumerate(kept.items()) if mask >> place % 8 & 1}
        used = np.zeros(table.rows, np.bool_)
        used[list(kept.values())] = True
        table.drop(used)
        assert all(table.show(bytes, number) == text for text, number in kept.items())


def test_what_is_dropped_makes_room() -> None:
    """A table from which old texts go does not grow, however many come."""
    table, size = TextTable(16, 256), TextTable(16, 256).nbytes
    for number in range(500):
        if not table.has_room(1, 16):
            table.drop(np.zeros(table.rows, np.bool_))
        assert table.show(plain, numbered(table, b"text %d" % number)) == f"text {number}"
    assert table.nbytes == size


def test_codes_are_by_first_appearance() -> None:
    """Each number has the code of where it is first seen, and 0 has none."""
    places, codes, distinct = np.zeros(9, np.int32), np.empty(6, np.int32), np.empty(6, np.uint32)
    count = rank_texts(np.array([7, 0, 3, 7, 8, 3], np.uint32), places, codes, distinct)
    assert (codes.tolist(), distinct[:count].tolist()) == ([0, -1, 1, 0, 2, 1], [7, 3, 8])
    assert not places.any()


def test_texts_are_shown_without_what_changes_the_rest() -> None:
    """Control characters of both sets, separators, marks of direction and broken UTF-8 are numbers."""
    assert plain("a\tb\x1b\x7f\x9b\u2028\u202ec é".encode()) == "a\\x09b\\x1b\\x7f\\x9b\\u2028\\u202ec é"
    assert plain(b"\xc3(\xff") == "\\xc3(\\xff"


def test_ja4_hashes_both_lists() -> None:
    """The example of the specification; an empty list is twelve zeros."""
    ciphers = "002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9"
    extensions = "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01"
    signatures = "0403,0804,0401,0503,0805,0501,0806,0601"
    raw = f"t13d1516h2_{ciphers}_{extensions}_{signatures}"
    assert ja4(raw.encode()) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja4(b"t12i0000__") == "t12i0000_000000000000_000000000000"
