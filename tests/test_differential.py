"""The package and the oracle agree on captures that Hypothesis makes up: every column, order, reasons and counters.

FLOWGAUGE_EXAMPLES multiplies the number of captures tried (default 1, some 20 s in all).
"""

from __future__ import annotations

import contextlib
import io
from typing import Any
from unittest import mock

import pytest
from hypothesis import given

import oracle
import strategies
from flowgauge.kernels.packet import make_batch
from meters import by_oracle, by_package, differences
from packets import capture
from strategies import Frames, examples


def assert_agreement(frames: Frames, options: dict[str, Any]) -> None:
    content = capture(frames)
    assert differences(by_oracle(content, **options), by_package(content, **options)) == []


@examples(300)
@given(frames=strategies.single_frames())
def test_both_decode_alike(frames: Frames) -> None:
    """Of any frame, whole, cut or damaged, both see the same reason, key, lengths and flags."""
    assert_agreement(frames, {})


@examples(300)
@given(frames=strategies.connections(), options=strategies.options())
def test_both_follow_segments_in_any_order_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Segments with any flags and numbers open, close, reuse and cut the same flows."""
    assert_agreement(frames, options)


@examples(200)
@given(frames=strategies.exchanges(), options=strategies.options())
def test_both_follow_orderly_connections_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Connections whose numbers follow each other end for the same reasons."""
    assert_agreement(frames, options)


@examples(300)
@given(frames=strategies.losses(), options=strategies.options())
def test_both_follow_lossy_connections_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Segments that are lost, repeated, late and acknowledged unseen are counted alike."""
    assert_agreement(frames, options)


@examples(200)
@given(frames=strategies.streams(), options=strategies.library_options())
def test_both_see_headers_times_and_contents_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Of long conversations both compute the same columns of every group, by any of their options."""
    assert_agreement(frames, options | {"library": True})


@examples(200)
@given(frames=strategies.fragments(), options=strategies.options())
def test_both_order_fragments_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Fragments in any order reach the same flows at the same times."""
    assert_agreement(frames, options)


@examples(200)
@given(frames=strategies.clocks(), options=strategies.options())
def test_both_run_the_clock_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Times that jump, stray and are missing give the same clock, boundaries and order of rows."""
    assert_agreement(frames, options)


@examples(150)
@given(frames=strategies.crowds(), options=strategies.options(limit=True))
def test_both_evict_alike(frames: Frames, options: dict[str, Any]) -> None:
    """More keys than max_flows evict the same flows."""
    assert_agreement(frames, options)


@examples(300)
@given(frames=strategies.tunnelled_frames(), options=strategies.options())
def test_both_decode_tunnels_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Of any packet in packets, on any link, whole, cut or damaged, both see the same."""
    assert_agreement(frames, options)


@examples(200)
@given(frames=strategies.tunnelled_conversations(), options=strategies.options())
def test_both_follow_flows_in_tunnels_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Flows and fragments, in tunnels of few ids and outside of them, are the same."""
    assert_agreement(frames, options)


@examples(200)
@given(frames=strategies.anything(), options=strategies.options())
def test_both_meter_anything_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Everything at once: layers, damage, fragments, odd times and any options."""
    assert_agreement(frames, options)


@examples(200)
@given(frames=strategies.disturbed(strategies.anything()), options=strategies.options(), dedup=strategies.DEDUP)
def test_both_tell_copies_alike(frames: Frames, options: dict[str, Any], dedup: float) -> None:
    """Of packets that come again, near in time or not, changed or not, both leave out the same."""
    assert_agreement(frames, options | {"dedup": dedup})


@examples(200)
@given(frames=strategies.disturbed(strategies.clocks()), options=strategies.options(), reorder=strategies.REORDER)
def test_both_reorder_alike(frames: Frames, options: dict[str, Any], reorder: float) -> None:
    """Packets at times that are late, jump, stray and are missing are metered in the same order."""
    assert_agreement(frames, options | {"reorder": reorder})


@examples(200)
@given(frames=strategies.disturbed(strategies.clocks()), options=strategies.options())
def test_both_forget_alike(frames: Frames, options: dict[str, Any]) -> None:
    """Where more packets wait or are remembered than there is room for, the same ones give way."""
    with mock.patch.multiple(oracle, WAITING_PACKETS=3, WAITING_BYTES=200, REMEMBERED_PACKETS=4), small_bounds():
        assert_agreement(frames, options)


def small_bounds() -> contextlib.AbstractContextManager[Any]:
    """The package with the bounds of the test above, and with buffers that are soon full."""
    stack = contextlib.ExitStack()
    bounds: dict[str, Any] = {"MOST_PACKETS": 3, "MOST_BYTES": 200, "_FIRST_ENTRIES": 8, "_FIRST_BYTES": 64}
    bounds["make_batch"] = lambda: make_batch(16)
    stack.enter_context(mock.patch.multiple("flowgauge.sources.reorder", **bounds))
    stack.enter_context(mock.patch("flowgauge.duplicates.PLACES", 4))
    return stack


class Trickle(io.RawIOBase):
    """A stream that gives at most `size` bytes at a time and cannot seek."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = io.BytesIO(content), size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._size]
        return self._content.readinto(view)


@examples(60)
@given(frames=strategies.anything() | strategies.disturbed(strategies.clocks()), options=strategies.options())
@pytest.mark.parametrize("rows", [16, 33])
def test_batch_size_changes_nothing(rows: int, frames: Frames, options: dict[str, Any]) -> None:
    """Packet batches of any size give the same rows."""
    content = capture(frames * 3)
    assert differences(by_package(content, **options), by_package(content, rows=rows, **options)) == []


@examples(60)
@given(frames=strategies.clocks() | strategies.fragments(), options=strategies.options())
@pytest.mark.parametrize("size", [1, 1000])
def test_chunking_changes_nothing(size: int, frames: Frames, options: dict[str, Any]) -> None:
    """A stream that comes in small pieces gives the same rows as one that comes at once."""
    content = capture(frames)
    found = by_package(Trickle(content, size), **options)
    assert differences(by_package(content, **options), found) == []
