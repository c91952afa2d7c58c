"""The capture as a whole: batches, buffers, memory, look-ahead across reads."""

from __future__ import annotations

import gzip
import io
import os

import pytest

from captures import pcap_header, pcap_record, section, simple, write_pcap
from flowgauge.errors import NotACapture, SourceError
from flowgauge.kernels._jit import BOUNDSCHECK, JIT
from flowgauge.kernels.clock import run_clock
from flowgauge.kernels.packet import make_batch
from flowgauge.kernels.pcap import walk_pcap
from flowgauge.kernels.pcapng import walk_pcapng
from flowgauge.sources import pcap
from flowgauge.sources.capture import MIN_ROWS, first_time, open_capture
from flowgauge.sources.window import BUFFER_BYTES, Buffers
from inputs import CONTAINERS, FRAMES, SECOND, START
from reading import packets, read_rows

containers = pytest.mark.parametrize("data", CONTAINERS.values(), ids=CONTAINERS)


class Dribble(io.RawIOBase):
    """A file object that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self):
        return True

    def readinto(self, view):
        return self._data.readinto(memoryview(view)[: self._step])


@containers
@pytest.mark.parametrize("rows", [MIN_ROWS, 17, 64, 8192])
@pytest.mark.parametrize("buffer_bytes", [64, 1024, BUFFER_BYTES])
def test_batches_and_buffers_change_nothing(data, rows, buffer_bytes):
    """Rows are the same for every size of batch and buffer."""
    expected, whole = read_rows(data)
    found, capture = read_rows(data, rows=rows, buffer_bytes=buffer_bytes)
    assert found == expected
    assert capture.counters == whole.counters == {"clock_jump": 6, "no_time": 0}


@pytest.mark.parametrize("count", [1, 3])
def test_buffers_are_used_by_one_capture_after_the_other(count):
    """What a capture has left in shared buffers, and how far it made them grow, changes no row of the next."""
    shared = Buffers(64, count)
    for data in (*CONTAINERS.values(), *CONTAINERS.values()):
        with open_capture(io.BytesIO(data), buffers=shared) as capture:
            batch, found = make_batch(16), []
            while rows := capture.read(batch):
                found += [bytes(capture.buffer[p.offset : p.offset + p.caplen]) for p in batch.packets[:rows]]
        assert found == [data for _, data, _ in FRAMES]
    assert len(shared.current) > 64


@containers
@pytest.mark.parametrize("step", [5, 333])
def test_chunks_change_nothing(data, step):
    """Rows are the same however many bytes one read of the input gives."""
    assert read_rows(Dribble(data, step))[0] == read_rows(data)[0]


def test_containers_agree():
    """The same packets give the same times, clocks and epochs from either container."""
    rows = [read_rows(data)[0] for data in CONTAINERS.values()]
    assert [(*row[:3], row.clock, row.epoch) for row in rows[0]] == [
        (*row[:3], row.clock, row.epoch) for row in rows[1]
    ]


def test_small_batch():
    """A batch that cannot hold the look-ahead is refused."""
    with (
        open_capture(io.BytesIO(CONTAINERS["pcap"])) as capture,
        pytest.raises(ValueError, match=f"{MIN_ROWS} are needed"),
    ):
        capture.read(make_batch(MIN_ROWS - 1))


def test_buffer_grows_for_one_record(tmp_path):
    """The buffer grows only for a record that does not fit, and the record is whole."""
    long = os.urandom(300_000)
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap([(START, b"a"), (START, long), (START, b"b")]))
    rows, capture = read_rows(path, buffer_bytes=4096)
    assert [row.data for row in rows] == [b"a", long, b"b"]
    assert 300_000 < len(capture.buffer) < 700_000
    _, capture = read_rows(CONTAINERS["pcap"], buffer_bytes=4096)
    assert len(capture.buffer) == 4096


@pytest.mark.slow
def test_memory_does_not_depend_on_the_file():
    """A gigabyte of packets goes through the one buffer."""
    record = pcap_record((START, bytes(50_000)))
    members = gzip.compress(pcap_header()) + gzip.compress(record * 200, 1) * 100
    batch, count = make_batch(), 0
    with open_capture(io.BytesIO(members)) as capture:
        while rows := capture.read(batch):
            count += rows
            assert capture.buffer.nbytes == BUFFER_BYTES
    assert count == 20_000


def test_position_grows_to_size(tmp_path):
    """The position counts stored bytes, up to the size of the file."""
    path = tmp_path / "a.pcap"
    path.write_bytes(CONTAINERS["pcap"])
    batch = make_batch(MIN_ROWS)
    seen = []
    with open_capture(path, buffers=Buffers(4096)) as capture:
        while capture.read(batch):
            seen.append(capture.position)
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] == capture.size


def test_reader_at_fault(monkeypatch):
    """Should a walk ever fail its bounds check, the packets before are delivered and the byte is named."""

    def fail_late(batch, data, cursor, layout):
        verdict = walk_pcap(batch, data, cursor, layout)
        raise IndexError(verdict)

    monkeypatch.setattr(pcap, "walk_pcap", fail_late)
    rows, capture = read_rows(write_pcap(FRAMES[10:20]))
    assert len(rows) == 10
    assert "bounds check" in str(capture.damage)


def test_first_time(tmp_path):
    """The first packet's time is read without using the input up; None where there is none to read."""
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(FRAMES[10:]))
    assert first_time(path) == first_time(str(path)) == FRAMES[10][0]
    data = io.BytesIO(CONTAINERS["pcapng"])
    assert first_time(data) == START + SECOND  # the first record is hours off
    assert packets(read_rows(data)[0]) == packets(read_rows(CONTAINERS["pcapng"])[0])
    assert first_time(io.BytesIO(pcap_header())) is None


def test_first_time_of_what_cannot_be_read_twice(tmp_path):
    """Standard input, pipes and objects that cannot seek are left alone."""
    assert first_time("-") is None
    assert first_time(Dribble(CONTAINERS["pcap"], 10)) is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert first_time(tmp_path / "pipe") is None


def test_first_time_errors(tmp_path):
    """What is no capture has no first time, and says so."""
    with pytest.raises(SourceError, match="cannot read"):
        first_time(tmp_path / "none.pcap")
    with pytest.raises(NotACapture):
        first_time(io.BytesIO(b"text that is no capture"))


def test_simple_packets_only():
    """A capture without any time has time 0 throughout."""
    rows, capture = read_rows(section() + simple(b"a") * 30)
    assert {(row.time, row.clock, row.epoch) for row in rows} == {(0, 0, 0)}
    assert capture.counters == {"clock_jump": 0, "no_time": 30}


@pytest.mark.skipif(not (JIT and BOUNDSCHECK), reason="only the checked lane dispatches every call")
def test_one_signature():
    """Each kernel of the sources is compiled for one signature only."""
    for data in CONTAINERS.values():
        read_rows(data, buffer_bytes=64)
        read_rows(io.BufferedReader(Dribble(data, 100)))
    assert [len(kernel.signatures) for kernel in (walk_pcap, walk_pcapng, run_clock)] == [1, 1, 1]
