"""Write captures as pcapng (draft-ietf-opsawg-pcapng): one section, one interface, times in nanoseconds."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowgauge.errors import SinkError
from flowgauge.kernels.blocks import AROUND, write_blocks
from flowgauge.kernels.packet import PacketBatch

_SECTION, _INTERFACE, _STATISTICS = 0x0A0D0D0A, 1, 5
_MAGIC, _MAJOR, _MINOR, _UNKNOWN_LENGTH = 0x1A2B3C4D, 1, 0, -1
_COMMENT = 1
_HARDWARE, _OS, _APPLICATION = 2, 3, 4  # of sections
_NAME, _DESCRIPTION, _MAC, _RESOLUTION, _FILTER, _IF_OS = 2, 3, 6, 9, 11, 12  # of interfaces
_STARTED, _ENDED, _RECEIVED, _DROPPED = 2, 3, 4, 5  # of statistics
_NANOSECONDS = bytes([9])
_FILTER_TEXT = b"\0"  # the filter is an expression, not its code
_BUFFER_BYTES = 1 << 21
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Description(NamedTuple):
    """What a capture says of where it is from: `link` is the LINKTYPE_ value, `mac` the interface's address or ""."""

    interface: str
    link: int
    snaplen: int
    filter: str | None
    mac: str
    hardware: str
    system: str
    application: str


def head(of: Description, comment: str) -> bytes:
    """The section and the interface."""
    texts = ((_COMMENT, comment), (_HARDWARE, of.hardware), (_OS, of.system), (_APPLICATION, of.application))
    section = struct.pack("=IHHq", _MAGIC, _MAJOR, _MINOR, _UNKNOWN_LENGTH) + _options(
        (code, text.encode()) for code, text in texts if text
    )
    pairs = [(_NAME, of.interface.encode()), (_RESOLUTION, _NANOSECONDS)]
    if of.mac:
        pairs.append((_MAC, bytes.fromhex(of.mac.replace(":", ""))))
    if of.filter:
        pairs.append((_FILTER, _FILTER_TEXT + of.filter.encode()))
    if of.system:
        pairs.append((_IF_OS, of.system.encode()))
    interface = struct.pack("=HHI", of.link, 0, of.snaplen) + _options(pairs)
    return _block(_SECTION, section) + _block(_INTERFACE, interface)


def statistics(started: int, ended: int, received: int, dropped: int) -> bytes:
    """The counts of the interface between two times, in ns."""
    times = [
        (code, struct.pack("=II", ns >> 32, ns & 0xFFFFFFFF)) for code, ns in ((_STARTED, started), (_ENDED, ended))
    ]
    counts = [(_RECEIVED, struct.pack("=Q", received)), (_DROPPED, struct.pack("=Q", dropped))]
    stamp = struct.pack("=III", 0, ended >> 32, ended & 0xFFFFFFFF)
    return _block(_STATISTICS, stamp + _options([*times, *counts]))


def _options(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    encoded = (struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in pairs)
    return b"".join(encoded) + bytes(4)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


class PcapngFile:
    """A capture that grows under a hidden name, beside its own, which it gets when it is complete.

    Only its owner may read it. A run that is killed leaves the hidden file, which can be read up to its last packet;
    a disk that is full completes the file with the packets before. Raises SinkError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.failed = False
        self._part = hidden(path)
        self._out = np.zeros(_BUFFER_BYTES, np.uint8)
        self._words = self._out.view(np.uint32)
        self._file = -1

    def open(self) -> bool:
        """Begin the file; False where its name is taken, also by a capture that is not complete yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._part, flags, 0o600)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._error(error) from error
        if os.path.lexists(self.path):  # completed by another run since somebody looked
            self._abandon()
            return False
        return True

    def write(self, data: bytes | memoryview) -> None:
        """Write blocks."""
        rest, before = memoryview(data), self.written
        try:
            while len(rest):
                count = os.write(self._file, rest)
                rest = rest[count:]
                self.written += count
        except OSError as error:
            self._complete_before(before)
            raise self._error(error) from error

    def write_packets(self, batch: PacketBatch, rows: int, data: Any) -> None:
        """Write the first rows of a batch, whose bytes lie in `data`."""
        row = 0
        while row < rows:
            before = row
            row, size = write_blocks(batch, row, rows, data, self._out, self._words)
            if row == before:
                self._grow(int(batch.packets[row].caplen))
            else:
                self.write(self._out.data[: int(size)])

    def _grow(self, caplen: int) -> None:
        self._out = np.zeros(max(2 * len(self._out), int(AROUND) + caplen + 3 & ~3), np.uint8)
        self._words = self._out.view(np.uint32)

    def complete(self) -> None:
        """Give it its name."""
        try:
            os.close(self._file)
            os.rename(self._part, self.path)
        except OSError as error:
            raise self._error(error) from error

    def _complete_before(self, size: int) -> None:
        """What is written as a file that ends behind a block."""
        self.failed = True
        if not size:
            self._abandon()
            return
        with contextlib.suppress(OSError, SinkError):
            os.ftruncate(self._file, size)
            self.complete()

    def _abandon(self) -> None:
        os.close(self._file)
        with contextlib.suppress(OSError):
            os.unlink(self._part)

    def _error(self, error: OSError) -> SinkError:
        full = error.errno in _FULL
        advice = "what was recorded before is complete" if full else "choose a folder that you may write to"
        return SinkError(f"cannot write {self.path}: {error.strerror or error}; {advice}")


def hidden(path: Path) -> Path:
    """The name of a file until it is complete."""
    return path.with_name(f".{path.name}.part")
