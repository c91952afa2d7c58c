"""Inputs: files, pipes, file objects, compressions."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
import zlib

import pytest

from captures import COMPRESSORS, write_pcap, write_pcapng
from flowgauge.errors import NotACapture, SourceError, TruncatedCapture
from flowgauge.kernels.packet import make_batch
from flowgauge.sources.capture import open_capture
from reading import packets, read_rows

START = 1_600_000_000_000_000_000
FRAMES = [(START + i * 1_000, os.urandom(60 + i % 900)) for i in range(1000)]
EXPECTED = [(time, data, len(data)) for time, data in FRAMES]
PCAP = write_pcap(FRAMES)

compressions = pytest.mark.parametrize("compression", COMPRESSORS)


@compressions
@pytest.mark.parametrize("data", [PCAP, write_pcapng(FRAMES)], ids=["pcap", "pcapng"])
def test_compressions(compression, data, tmp_path):
    """Every compression of every container is recognised by its bytes, under any name."""
    path = tmp_path / "capture.txt"
    path.write_bytes(COMPRESSORS[compression](data))
    rows, capture = read_rows(path)
    assert packets(rows) == EXPECTED
    assert (capture.compression, capture.damage) == (compression, None)
    assert capture.position == capture.size == path.stat().st_size


@compressions
def test_several_members(compression):
    """Compressed members that follow one another are one input."""
    parts = [COMPRESSORS[compression](PCAP[begin : begin + 100_000]) for begin in range(0, len(PCAP), 100_000)]
    assert len(parts) > 3
    rows, capture = read_rows(b"".join(parts))
    assert packets(rows) == EXPECTED
    assert capture.damage is None


@compressions
def test_cut_off_compression(compression):
    """Of compressed data that is cut off, the packets before the cut are delivered and the damage is said."""
    members = [COMPRESSORS[compression](PCAP[:300_000]), COMPRESSORS[compression](PCAP[300_000:])]
    rows, capture = read_rows(members[0] + members[1][:-20])
    assert packets(rows) == EXPECTED[: len(rows)]
    assert sum(len(row.data) + 16 for row in rows) > 290_000
    assert capture.damage is not None
    assert capture.damage.startswith("after byte ")
    assert f"its {compression} data is broken or cut off" in capture.damage


@compressions
def test_broken_from_the_start(compression):
    """Compressed data that gives nothing at all is an error that names the compression."""
    with pytest.raises(TruncatedCapture, match=f"{compression} data is broken"):
        open_capture(io.BytesIO(COMPRESSORS[compression](PCAP)[:12]))


def test_corrupt_gzip():
    """A wrong checksum is damage, said after all packets."""
    data = bytearray(COMPRESSORS["gzip"](PCAP))
    data[-6] ^= 1
    rows, capture = read_rows(bytes(data))
    assert packets(rows) == EXPECTED
    assert "gzip data is broken" in str(capture.damage)


def test_corrupt_deflate():
    """Compressed data that breaks in the middle is damage, not an exception."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = deflate.compress(PCAP) + deflate.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100
    rows, capture = read_rows(data)
    assert packets(rows) == EXPECTED[: len(rows)]
    assert "gzip data is broken" in str(capture.damage)


@compressions
def test_compressed_something_else(compression):
    """What is in a compressed file must be a capture, too."""
    with pytest.raises(NotACapture, match="neither pcap nor pcapng"):
        open_capture(io.BytesIO(COMPRESSORS[compression](b"hello, world")))


@pytest.mark.parametrize("data", [b"x", b"\xd4\xc3\xb2", b"hello world, this is text", bytes(100)])
def test_not_a_capture(data):
    """Anything else is not a capture, whatever its length."""
    with pytest.raises(NotACapture, match="neither pcap nor pcapng"):
        open_capture(io.BytesIO(data))


def test_empty(tmp_path):
    """An empty file is not a capture, and the message says that it is empty."""
    (tmp_path / "a.pcap").touch()
    with pytest.raises(NotACapture, match=r"a\.pcap is empty"):
        open_capture(tmp_path / "a.pcap")


def test_unreadable(tmp_path):
    """What cannot be opened is one clear line."""
    with pytest.raises(SourceError, match=rf"cannot read .*none\.pcap: {os.strerror(errno.ENOENT)}"):
        open_capture(tmp_path / "none.pcap")
    with pytest.raises(SourceError, match=os.strerror(errno.EISDIR)):
        open_capture(tmp_path)


def test_text_file_object(tmp_path):
    """A file object opened as text is refused with the mode to use."""
    (tmp_path / "a.pcap").write_bytes(PCAP)
    with open(tmp_path / "a.pcap") as file, pytest.raises(SourceError, match="mode 'rb'"):
        open_capture(file)


class FailingFile(io.RawIOBase):
    """A file whose disk fails after some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, view):
        count = self._data.readinto(view)
        if not count:
            raise OSError(errno.EIO, "disk failed")
        return count


def test_read_error():
    """An error while reading is damage that names the byte; the packets before are delivered."""
    rows, capture = read_rows(FailingFile(PCAP))
    assert packets(rows) == EXPECTED
    assert capture.damage == f"after byte {len(PCAP)} it cannot be read further: disk failed"
    with pytest.raises(SourceError, match="disk failed"):
        open_capture(FailingFile(b""))


class PlainReader:
    """The least of a file object: read(n)."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def test_object_with_read_only():
    """An object that has nothing but read(n) will do."""
    rows, capture = read_rows(PlainReader(PCAP))
    assert packets(rows) == EXPECTED
    assert (capture.name, capture.size) == ("PlainReader", None)


def test_would_block():
    """An input that is set not to block and has nothing is damage, not an endless loop."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", buffering=0) as file:
        os.write(writer, PCAP[:10_000])
        rows, capture = read_rows(file)
        os.close(writer)
    assert packets(rows) == EXPECTED[: len(rows)]
    assert len(rows) > 5
    assert "not to block" in str(capture.damage)


def test_buffered_file_is_regular(tmp_path):
    """A file object of a plain file has a size and stays open when the capture is closed."""
    path = tmp_path / "a.pcap"
    path.write_bytes(PCAP)
    with open(path, "rb") as file:
        rows, capture = read_rows(file)
        assert not file.closed
    assert packets(rows) == EXPECTED
    assert (capture.name, capture.size) == (str(path), len(PCAP))


def test_stdin(monkeypatch):
    """The name - is standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PCAP)))
    rows, capture = read_rows("-")
    assert packets(rows) == EXPECTED
    assert (capture.name, capture.size) == ("stdin", None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_named_pipe(tmp_path):
    """A named pipe is read without seeking."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(PCAP,))
    writer.start()
    rows, capture = read_rows(path)
    writer.join()
    assert packets(rows) == EXPECTED
    assert capture.position == len(PCAP)


@pytest.mark.parametrize("data", [PCAP, write_pcapng(FRAMES), COMPRESSORS["gzip"](PCAP[:200_000])])
def test_a_pause_in_a_pipe_holds_nothing_back(data):
    """Packets that a pipe has given are delivered although the pipe stays open."""
    reader, writer = os.pipe()
    os.write(writer, data[:8_000])
    batch = make_batch()
    with open(reader, "rb", buffering=0) as file, open_capture(file) as capture:
        assert capture.read(batch) > 5
        os.close(writer)
