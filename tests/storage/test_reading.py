"""Pieces that are fetched ahead: every byte once and in order, whatever some of the attempts do."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from flowgauge import storage
from flowgauge.storage import reading, retries
from flowgauge.storage.systems import System

DATA = random.Random(3).randbytes(100_000)


class Flaky:
    """A file and its file system, whose reads fail as `faults` say: exceptions, or how many bytes come."""

    def __init__(self, faults: list[Exception | int], data: bytes = DATA) -> None:
        self.faults, self.data = faults, data
        self.asked: list[tuple[int, int]] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def open_input_file(self, path: str) -> Flaky:
        assert path == "bucket/x"
        return self

    def size(self) -> int:
        return len(DATA)

    def read_at(self, count: int, begin: int) -> bytes:
        with self._lock:
            self.asked.append((begin, count))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            fault = self.faults.pop(0) if self.faults else count
        try:
            if isinstance(fault, Exception):
                raise fault
            return self.data[begin : begin + min(count, fault)]
        finally:
            with self._lock:
                self.at_once -= 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a flaky file with small pieces and no pauses."""
    monkeypatch.setattr(retries, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(reading, "PIECE_BYTES", 1000)

    def open_it(file: Flaky, ahead: bool = True) -> storage.Input:
        monkeypatch.setattr(reading, "system_of", lambda _: System(file, "bucket/", True))
        return storage.open_input("s3://bucket/x", ahead=ahead)

    return open_it


@pytest.mark.parametrize("size", [7, 999, 1000, 1001, 99_999, 200_000])
def test_all_bytes_come_in_order(opened: Any, size: int) -> None:
    """However much is read at a time, the bytes are those of the file, each asked for once."""
    file = Flaky([])
    with opened(file) as stream:
        assert b"".join(iter(lambda: stream.read(size), b"")) == DATA
    assert sorted(file.asked) == [(begin, 1000) for begin in range(0, len(DATA), 1000)]


def test_pieces_ahead_are_bounded(opened: Any) -> None:
    """Beyond what was read, no more pieces are asked for than those that fit."""
    file = Flaky([])
    with opened(file) as stream:
        assert stream.read(10) == DATA[:10]
    assert len(file.asked) <= reading.AHEAD + 1


def test_a_look_asks_for_nothing_ahead(opened: Any) -> None:
    """A look at the begin is one question."""
    file = Flaky([])
    with opened(file, ahead=False) as stream:
        assert stream.read(10) == DATA[:10]
        assert file.asked == [(0, min(1 << 16, len(DATA)))]


def test_pieces_that_fail_or_come_short_are_asked_for_again(opened: Any) -> None:
    """What is missing of a piece is asked for again from the byte where it ended; each attempt after a fault counts."""
    faults = [OSError("curlCode: 56, connection reset"), 300, OSError("AWS Error NETWORK_CONNECTION"), 1]
    file = Flaky(list(faults))
    with opened(file) as stream:
        assert stream.readall() == DATA
        assert stream.retries == 2
    assert len(file.asked) == len(DATA) // 1000 + len(faults)


def test_attempts_are_bounded(opened: Any) -> None:
    """A piece that never comes is an error with the reason, after the bytes before it."""
    file = Flaky([OSError("AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 7, no route")] * 99)
    with opened(file) as stream, pytest.raises(OSError, match=r"no connection \(no route\)"):
        stream.read(10)
    assert len(file.asked) <= (1 + len(retries.PAUSES)) * reading.AHEAD


@pytest.mark.parametrize(
    "fault", ["AWS Error ACCESS_DENIED during GetObject", "AWS Error NO_SUCH_KEY during GetObject"]
)
def test_what_another_attempt_does_not_mend_is_not_tried_again(opened: Any, fault: str) -> None:
    """No permission and an object that is gone are said at once."""
    file = Flaky([OSError(fault)] * 99)
    with opened(file) as stream:
        with pytest.raises(OSError, match=r"no permission|nothing of this name"):
            stream.read(10)
        assert stream.retries == 0


def test_a_file_that_got_shorter_is_an_error(opened: Any) -> None:
    """Fewer bytes than there were at opening are said, not taken for the end."""
    file = Flaky([], DATA[:500])
    with opened(file) as stream, pytest.raises(OSError, match="it ends after byte 500, and had 100000"):
        stream.readall()
