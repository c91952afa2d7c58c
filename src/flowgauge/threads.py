"""Work in several threads whose results come as if there were one: captures side by side, and what is read ahead."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
MOST_THREADS = 256

_LOOK = 0.2  # s between looks whether the others still work


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Left(Exception):
    """Nobody takes results any more."""


class Channel(Generic[T]):
    """Results on their way from one thread to another, at most `most` of them; iterating gives them until the end, or
    raises what the other thread has raised."""

    def __init__(self, most: int) -> None:
        self._queue: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(most)
        self._left = threading.Event()

    def run(self, produce: Callable[[], Iterator[T]]) -> None:
        """Give all results of `produce`; the other thread gets its exception, too."""
        with contextlib.suppress(_Left):
            try:
                for result in produce():
                    self._put((False, result))
                self._put((True, None))
            except _Left:
                raise
            except BaseException as error:
                self._put((True, error))

    def _put(self, message: tuple[bool, T | BaseException | None]) -> None:
        while not self._left.is_set():
            try:
                self._queue.put(message, timeout=_LOOK)
                return
            except queue.Full:
                continue
        raise _Left

    def __iter__(self) -> Iterator[T]:
        while True:
            over, result = self._queue.get()
            if not over:
                yield result  # type: ignore[misc]
            elif result is None:
                return
            else:
                raise result  # type: ignore[misc]

    def leave(self) -> None:
        """Take no more results: the other thread ends at the next one."""
        self._left.set()


def ahead(results: Iterator[T], most: int) -> Generator[T, None, None]:
    """The same results, of which up to `most` are made before they are asked for, in a thread of their own."""
    channel: Channel[T] = Channel(most)
    thread = threading.Thread(target=channel.run, args=(lambda: results,), name="flowgauge-ahead", daemon=True)
    thread.start()
    try:
        yield from channel
    finally:
        channel.leave()
        thread.join()


def in_order(
    workers: Sequence[Callable[[int], Iterator[T]]], numbers: Sequence[int], most: int, goes_on: Callable[[], bool]
) -> Iterator[tuple[int, Iterator[T]]]:
    """The results of each number, one number after the other, made by several workers, a thread each.

    A worker takes the next number as long as it `goes_on`, and is at most `most` results ahead with each. Numbers that
    none has taken are left out then. The results of a number are to be taken before the next one is asked for.
    """
    channels: list[Channel[T]] = [Channel(most) for _ in numbers]
    taken = itertools.count()
    room = threading.Semaphore(2 * len(workers))
    begun = [threading.Event() for _ in numbers]
    left = threading.Event()
    lock = threading.Lock()

    def work(worker: Callable[[int], Iterator[T]]) -> None:
        while not left.is_set() and goes_on():
            if not room.acquire(timeout=_LOOK):
                continue
            with lock:
                place = next(taken)
                if place < len(numbers):
                    begun[place].set()
            if place >= len(numbers):
                return
            channels[place].run(lambda number=numbers[place]: worker(number))  # type: ignore[misc]

    threads = [threading.Thread(target=work, args=(worker,), name="flowgauge-lane", daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        for place, number in enumerate(numbers):
            while not begun[place].wait(_LOOK):
                if not any(thread.is_alive() for thread in threads) and not begun[place].is_set():
                    return
            yield number, iter(channels[place])
            room.release()
    finally:
        left.set()
        for channel in channels:
            channel.leave()
        for thread in threads:
            thread.join()
