"""The marked packets of captures as pcapng: one file with a section for each capture, or a file for each.

What is pcapng is copied block by block: packets, with their options, and all that describes them. Packets of pcap files
get a section of their own, and times in nanoseconds.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from flowgauge import storage
from flowgauge.capture import pcapng
from flowgauge.cutting.marks import Bits, Marked
from flowgauge.cutting.sources import COMPRESSED
from flowgauge.errors import SinkError, SourceError
from flowgauge.kernels.blocks import AROUND, write_blocks
from flowgauge.kernels.cutting import copy_blocks
from flowgauge.kernels.packet import make_batch
from flowgauge.kernels.pcapng import COMMENT
from flowgauge.kernels.records import BAD_BLOCK, DESCRIPTION, FULL
from flowgauge.labels.inside import from_comments
from flowgauge.sinks.output import Output
from flowgauge.sources.capture import Capture, open_capture
from flowgauge.sources.pcapng import BYTE_ORDERS, SECTION_OPTIONS
from flowgauge.sources.processes import options
from flowgauge.sources.streams import open_stream
from flowgauge.sources.window import Buffers, Window

_BUFFER_BYTES = 1 << 21
_CAPTURES = (".pcap", ".pcapng", ".cap", ".dmp")
_UNKNOWN_LENGTH = struct.pack("=q", -1)


def write_packets(captures: list[Marked], to: str | os.PathLike[str] | IO[bytes]) -> int:
    """Write the marked packets to a file, or to a folder (there already, or with a / behind its name) with one file for
    each capture; how many packets there are. Files appear when they are complete.

    Labels that captures have inside stay where all packets of a file have the same: readers take that of the first
    section for the whole file. Raises SourceError, SinkError.
    """
    if not (isinstance(to, (str, os.PathLike)) and is_folder(os.fspath(to))):
        _check_other(captures, [to])
        return _write_file(captures, to)
    if storage.is_url(os.fspath(to)):
        raise SinkError(f"{storage.shown(os.fspath(to))} is no folder of this machine: name one file in it")
    names = file_names([capture.path for capture in captures])
    paths = [os.path.join(to, name) for name in names]
    _check_other(captures, paths)
    return sum(_write_file([capture], _with_folder(path)) for capture, path in zip(captures, paths, strict=True))


def _check_other(captures: list[Marked], outputs: list[Any]) -> None:
    """Raise SinkError where an output would take the place of a capture."""
    sources = {os.path.realpath(capture.path) for capture in captures}
    for output in outputs:
        if isinstance(output, (str, os.PathLike)) and os.path.realpath(output) in sources:
            raise SinkError(f"{os.fspath(output)} is one of the captures: choose another name or folder")


def is_folder(output: str) -> bool:
    """Whether this is the name of a folder."""
    return output.endswith(("/", os.sep)) or os.path.isdir(output)


def file_names(paths: list[str]) -> list[str]:
    """A name for what is cut out of each of these captures: its path below the folder that they share."""
    absolute = [os.path.abspath(path) for path in paths]
    shared = os.path.commonpath([os.path.dirname(path) for path in absolute])
    names = [os.path.relpath(path, shared) for path in absolute]
    stems = [_stem(name) for name in names]
    counts = Counter(stems)
    return [f"{stem if counts[stem] == 1 else name}.pcapng" for name, stem in zip(names, stems, strict=True)]


def _stem(name: str) -> str:
    """A name without what says of captures how they are stored."""
    for known in (COMPRESSED, _CAPTURES):
        stem, extension = os.path.splitext(name)
        if extension in known:
            name = stem
    return name


def _with_folder(path: str) -> str:
    """The path, whose folder is there from now on."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {os.path.dirname(path)}: {error.strerror or error}") from error
    return path


def _write_file(captures: list[Marked], to: str | os.PathLike[str] | IO[bytes]) -> int:
    output = Output(to)
    output.open()
    try:
        keeps_label = _have_same_label(captures)
        packets = sum(_write(capture, output, keeps_label) for capture in captures)
        output.commit()
    except BaseException:
        output.abort()
        raise
    return packets


def _have_same_label(captures: list[Marked]) -> bool:
    inside = []
    for marked in captures:
        with open_capture(marked.path, timed=False, buffers=Buffers(1 << 16)) as capture:
            inside.append(capture.inside)
    return all(said == inside[0] for said in inside)


def _write(marked: Marked, output: Output, keeps_label: bool) -> int:
    last = _last(marked.bits)
    with open_capture(marked.path, timed=False) as capture:
        if capture.container == "pcap":
            return _write_pcap(capture, marked.bits, last, output)
    return _Blocks(marked, output, keeps_label).copy(last)


def _last(bits: Bits) -> int:
    """The highest number with a bit."""
    byte = int(np.flatnonzero(bits)[-1])
    return 8 * byte + int(bits[byte]).bit_length() - 1


def _write_pcap(capture: Capture, bits: Bits, last: int, output: Output) -> int:
    from flowgauge import __version__

    interface = capture.interfaces[0]
    of = (
        os.path.basename(capture.name),
        interface.link,
        interface.snaplen,
        None,
        "",
        "",
        "",
        f"flowgauge {__version__}",
    )
    output.write(pcapng.head(pcapng.Description(*of), ""))
    batch, blocks, written, number = make_batch(), _Enhanced(), 0, 0
    while number < last:
        rows = capture.read(batch)
        if not rows:
            raise SourceError(f"{capture.name} has become shorter while it was read")
        numbers = batch.packets.number[:rows]
        number = int(numbers[-1])
        kept = np.flatnonzero(_marked(bits, numbers))
        batch.packets[: len(kept)] = batch.packets[kept]
        for piece in blocks.of(batch, len(kept), capture.buffer):
            output.write(piece)
        written += len(kept)
    return written


def _marked(bits: Bits, numbers: Any) -> Any:
    places = np.minimum(numbers >> 3, len(bits) - 1)
    return (numbers >> 3 < len(bits)) & (bits[places] >> (numbers & 7).astype(np.uint8) & 1 != 0)


class _Enhanced:
    """Packets as enhanced packet blocks."""

    def __init__(self) -> None:
        self._out = np.zeros(_BUFFER_BYTES, np.uint8)

    def of(self, batch: Any, rows: int, data: Any) -> Iterator[memoryview]:
        """The blocks of the first rows, in pieces that are valid until the next one is asked for."""
        row = 0
        while row < rows:
            before = row
            row, size = write_blocks(batch, row, rows, data, self._out, self._out.view(np.uint32))
            if row == before:
                room = int(AROUND) + int(batch.packets[row].caplen) + 3 & ~3
                self._out = np.zeros(max(2 * len(self._out), room), np.uint8)
            else:
                yield self._out.data[: int(size)]


class _Blocks:
    """Copies the blocks of one pcapng file."""

    def __init__(self, marked: Marked, output: Output, keeps_label: bool) -> None:
        self._marked = marked
        self._output = output
        self._keeps_label = keeps_label
        self._out = np.zeros(_BUFFER_BYTES, np.uint8)
        self._big = np.uint64(0)

    def copy(self, last: int) -> int:
        """Copy up to the frame `last`; how many packets were copied."""
        packets = 0
        stream = open_stream(self._marked.path)
        try:
            window = Window(stream)
            while int(window.cursor[0].number) < last:
                packets += self._step(window, last)
        finally:
            stream.close()
        return packets

    def _step(self, window: Window, last: int) -> int:
        """Copy what is there of the next blocks, and go on to what follows."""
        verdict, size, packets = copy_blocks(window.data, window.cursor, self._big, self._marked.bits, self._out)
        self._output.write(self._out.data[: int(size)])
        if verdict == DESCRIPTION:
            self._section(window)
        elif verdict == FULL:
            if not size:
                self._out = np.zeros(2 * len(self._out), np.uint8)
        elif int(window.cursor[0].number) < last and (verdict == BAD_BLOCK or not window.need(window.available + 1)):
            raise SourceError(f"{window.name} has changed while it was read")
        return int(packets)

    def _section(self, window: Window) -> None:
        order = BYTE_ORDERS.get(window.peek(12)[8:]) if window.need(12) else None
        length = struct.unpack(f"{order}I", window.peek(8)[4:])[0] if order else 0
        if not length or not window.need(length):
            raise SourceError(f"{window.name} has changed while it was read")
        self._big = np.uint64(order == ">")
        self._output.write(self._header(window.peek(length), order or "<"))
        window.skip(length)

    def _header(self, block: bytes, order: str) -> bytes:
        """The header of a section of another length, and without the label where that is not to stay."""
        pairs = options(block[:-4], SECTION_OPTIONS, order)
        if not self._keeps_label:
            pairs = [pair for pair in pairs if pair[0] != int(COMMENT) or not _is_label(pair[1])]
        said = b"".join(
            struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in pairs
        )
        body = block[8:16] + _UNKNOWN_LENGTH + said + (bytes(4) if said else b"")
        length = struct.pack(order + "I", len(body) + 12)
        return block[:4] + length + body + length


def _is_label(comment: bytes) -> bool:
    return bool(from_comments([comment.decode("utf-8", "replace")]))
