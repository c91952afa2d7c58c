"""Processes of a pcapng section: the blocks that describe them, and what options of packets refer to."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from flowgauge.kernels.pcapng import (
    COMMENT,
    CUSTOM,
    CUSTOM_NO_COPY,
    DARWIN_EFFECTIVE,
    DARWIN_INDEX,
    DARWIN_PROCESS,
    PCAPDROID,
    PROCESS_THREAD,
    WIRESHARK,
)
from flowgauge.kernels.records import LATEST
from flowgauge.labels import process as of
from flowgauge.labels.process import ProcessLabel, clean

Pairs = Iterable[tuple[int, bytes]]

_UID_MAP = "HBxiBB"  # version, type, user id, lengths of package and app name
_UID_MAP_VERSION = _UID_MAP_TYPE = 1
_PROCESS_ENTRY = 3
# Options of Apple's block, and of a process information block.
_DARWIN_NAME = 2
_NAME, _PATH, _UID, _START = 2, 3, 6, 9
_MOST_KEPT = 1 << 16  # descriptions in a section
_MOST_OF_PID = 64

KINDS = frozenset(map(int, (DARWIN_PROCESS, CUSTOM, CUSTOM_NO_COPY)))
"""Types of the blocks that may describe processes."""


class Described(NamedTuple):
    """A process of a block; `start` is the time in ns at which it began, None where that is not said."""

    label: ProcessLabel
    start: int | None


class Processes:
    """What the blocks of one section have described so far. `unread` counts those that make no sense."""

    def __init__(self) -> None:
        self.unread = 0
        self.seen = 0  # blocks that made sense
        self._darwin: list[ProcessLabel] = []
        self._by_pid: dict[int, list[Described]] = {}
        self._by_uid: dict[int, ProcessLabel] = {}

    def describe(self, kind: int, body: bytes, order: str) -> bool:
        """Take in a block of one of KINDS, whose `body` stands between its lengths; whether it describes anything."""
        try:
            if self.seen >= _MOST_KEPT:
                raise ValueError("too many descriptions")
            described = self._take(kind, body, order)
        except (struct.error, ValueError):
            self.unread += 1
            return False
        self.seen += described
        return described

    def _take(self, kind: int, body: bytes, order: str) -> bool:
        if kind == int(DARWIN_PROCESS):
            return self._take_darwin(body, order)
        enterprise = struct.unpack_from(order + "I", body)[0]
        if enterprise == int(PCAPDROID):
            return self._take_user(body[4:], order)
        return enterprise == int(WIRESHARK) and self._take_process(body[4:], order)

    def _take_darwin(self, body: bytes, order: str) -> bool:
        """Apple's legacy block; what packets name is its number in the section."""
        self._darwin.append(ProcessLabel(of.PROCESS_BLOCK))  # counts also where it makes no sense
        pid = struct.unpack_from(order + "I", body)[0]
        name = clean(dict(options(body, 4, order)).get(_DARWIN_NAME))
        self._darwin[-1] = ProcessLabel(of.PROCESS_BLOCK, name, name, pid or None)
        return True

    def _take_user(self, body: bytes, order: str) -> bool:
        """PCAPdroid's map from a user id to its package and app."""
        layout = struct.Struct(order + _UID_MAP)
        version, kind, uid, package_bytes, app_bytes = layout.unpack_from(body)
        names = body[layout.size : layout.size + package_bytes + app_bytes]
        if (version, kind) != (_UID_MAP_VERSION, _UID_MAP_TYPE) or len(names) < package_bytes + app_bytes:
            raise ValueError("no map of user ids")
        package, app = clean(names[:package_bytes]), clean(names[package_bytes:])
        if uid >= 0:
            self._by_uid[uid] = ProcessLabel(of.PCAPDROID, app or package, package, uid=uid)
        return True

    def _take_process(self, body: bytes, order: str) -> bool:
        """Wireshark's process information block; its entry is little-endian in every section."""
        for entry_order in ("<", order):
            kind, length = struct.unpack_from(entry_order + "II", body)
            if kind == _PROCESS_ENTRY:
                break
        else:
            return False  # an entry of another kind
        entry = body[8 : 8 + length]
        pid = struct.unpack_from("<I", entry)[0]
        if len(entry) < length or not pid:
            raise ValueError("no process")
        found = dict(options(entry, 4, "<"))
        process = clean(found.get(_NAME)) or clean(found.get(_PATH))
        uid = struct.unpack("<I", found[_UID])[0] if _UID in found else None
        start = min(struct.unpack("<Q", found[_START])[0], int(LATEST)) if _START in found else None
        label = ProcessLabel(of.PROCESS_BLOCK, of.base_name(process), process, pid, uid)
        described = self._by_pid.setdefault(pid, [])
        described.append(Described(label, start))
        del described[:-_MOST_OF_PID]
        return True

    def said(self, pairs: Pairs, order: str) -> list[tuple[int, ProcessLabel | None]]:
        """What a packet's options say: labels and the times in ns from which they hold, the latest first.

        Of several ways to say it the first wins: comments, Apple's indices (the effective process before the other),
        a process id.
        """
        values: dict[int, list[bytes]] = {}
        for code, value in pairs:
            values.setdefault(code, []).append(value)
        comments = [value.decode("utf-8", "replace") for value in values.get(int(COMMENT), ())]
        label = of.of_comments(comments) or self._of_user(comments)
        for index in map(int, (DARWIN_EFFECTIVE, DARWIN_INDEX)):
            if label is None and index in values:
                label = self._of_index(values[index][0], order)
        if label is None and int(PROCESS_THREAD) in values:
            return self._of_thread(values[int(PROCESS_THREAD)][0], order)
        return [(0, label)]

    def _of_user(self, comments: Iterable[str]) -> ProcessLabel | None:
        uid = of.pcapdroid_user(comments)
        return None if uid is None else self._by_uid.get(uid) or ProcessLabel(of.PCAPDROID, uid=uid)

    def _of_index(self, value: bytes, order: str) -> ProcessLabel | None:
        index = struct.unpack(order + "I", value)[0] if len(value) == 4 else len(self._darwin)
        return self._darwin[index] if index < len(self._darwin) else None

    def _of_thread(self, value: bytes, order: str) -> list[tuple[int, ProcessLabel | None]]:
        """The process that was the latest to begin; the first before any had; without times the one described last."""
        pid = struct.unpack_from(order + "I", value)[0] if len(value) == 8 else 0
        described = self._by_pid.get(pid, [])
        begun = [(process.start, process.label) for process in described if process.start is not None]
        if begun:
            return sorted(begun, key=lambda pair: -pair[0])  # type: ignore[return-value]
        if described:
            return [(0, described[-1].label)]
        return [(0, ProcessLabel(of.PROCESS_BLOCK, pid=pid) if pid else None)]


def options(data: bytes, at: int, order: str) -> Iterable[tuple[int, bytes]]:
    """(code, value) of the options from byte `at` to the end, up to the first that does not fit."""
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        at += 4
        if code == 0 or at + length > len(data):
            return
        yield code, data[at : at + length]
        at += length + -length % 4
