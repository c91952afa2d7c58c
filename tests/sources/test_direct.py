"""Files read and decoded in one call of a kernel: the same packets as step by step."""

from __future__ import annotations

import gzip
import io
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from captures import write_pcap, write_pcapng
from flowgauge.decode import Decoder
from flowgauge.errors import SourceError
from flowgauge.kernels import intake
from flowgauge.kernels._jit import JIT
from flowgauge.kernels.packet import METERED, make_batch
from flowgauge.labels.process import ProcessLabels
from flowgauge.sources import pcap
from flowgauge.sources.capture import MIN_ROWS, Capture, open_capture
from flowgauge.sources.filters import Filter
from flowgauge.sources.window import Buffers
from inputs import BLOCKS, CONTAINERS, FRAMES, SEEDS, mutated

_FRAME_FIELDS = ["time", "clock", "epoch", "frame_len", "caplen", "record_offset", "number", "link", "label", "reason"]
_FIELDS = [name for name in make_batch(0).packets.dtype.names if name != "offset"]
UNCOMPRESSED = {f"seed-{i}": seed for i, seed in enumerate(SEEDS) if seed[:2] in (b"\xd4\xc3", b"\xa1\xb2", b"\n\r")}


def filled(source: Any, rows: int, buffer_bytes: int, wanted: bool) -> tuple[list[Any], Decoder, Capture]:
    """(fields, bytes) of each packet, as a decoder fills batches."""
    batch, decoder, found = make_batch(rows), Decoder(), []
    with open_capture(source, buffers=Buffers(buffer_bytes, 2)) as capture:
        assert capture.is_direct == wanted
        while True:
            batch.packets.view(np.ndarray)[:] = 0
            count = decoder.fill(capture, batch)
            for q in batch.packets.view(np.ndarray)[:count]:
                names = _FIELDS if q["reason"] == METERED else _FRAME_FIELDS
                begin = int(q["offset"])
                data = capture.buffer[begin : begin + int(q["caplen"])].tobytes()
                found.append((*(q[name].tolist() for name in names), data))
            if not count and capture.over:
                return found, decoder, capture


def both(path: Any, data: bytes, rows: int = 64, buffer_bytes: int = 1024) -> list[Any]:
    """The packets of a file, which are those of its bytes, and so is all else that is told of them."""
    path.write_bytes(data)
    try:
        expected, slow, steps = filled(io.BytesIO(data), rows, buffer_bytes, False)
    except SourceError as error:
        with pytest.raises(type(error)):
            open_capture(path)
        return []
    found, quick, capture = filled(path, rows, buffer_bytes, True)
    assert found == expected
    assert (capture.damage, capture.counters) == (steps.damage, steps.counters)
    assert [i._asdict() for i in capture.interfaces] == [i._asdict() for i in steps.interfaces]
    assert capture.position == steps.position
    assert (quick.counts(), quick.wire_bytes, quick.length_lies) == (slow.counts(), slow.wire_bytes, slow.length_lies)
    return found


@pytest.mark.parametrize("data", [*CONTAINERS.values(), *UNCOMPRESSED.values()], ids=[*CONTAINERS, *UNCOMPRESSED])
@pytest.mark.parametrize("rows", [16, 17, 64, 8192])
@pytest.mark.parametrize("buffer_bytes", [64, 1024, 1 << 21])
def test_same_as_step_by_step(tmp_path, data, rows, buffer_bytes):
    """Packets, counts and damage are those of the same bytes read step by step, for all sizes of batch and buffer."""
    found = both(tmp_path / "a", data, rows, buffer_bytes)
    assert len(found) > 4


@pytest.mark.parametrize("data", [CONTAINERS["pcap"], BLOCKS], ids=["pcap", "blocks"])
def test_cut_anywhere(tmp_path, data):
    """The same of a file that ends anywhere."""
    for length in range(1, min(len(data), 700)):
        both(tmp_path / "a", data[:length], 16, 256)


@settings(max_examples=300 if JIT else 60, deadline=None)
@given(data=mutated())
def test_mutated(tmp_path_factory, data):
    """The same of a file with any bytes changed."""
    if data[:2] in (b"\xd4\xc3", b"\xa1\xb2", b"\n\r"):
        both(tmp_path_factory.getbasetemp() / "mutated", data, 16, 256)


def test_what_is_read_step_by_step(tmp_path):
    """What is compressed, buffered, has a reader of its own, is filtered, labelled or not timed takes the other way."""
    data = write_pcap(FRAMES)
    path, packed = tmp_path / "a.pcap", tmp_path / "a.pcap.gz"
    path.write_bytes(data)
    packed.write_bytes(gzip.compress(data))

    class Own(io.FileIO):
        def readinto(self, view: Any) -> int | None:
            return super().readinto(view)

    with open(path, "rb") as buffered, Own(str(path)) as own, open(path, "rb", buffering=0) as plain:
        for source, options in (
            *((source, {}) for source in (packed, buffered, own, io.BytesIO(data))),
            (path, {"filter": Filter("ip")}),
            (path, {"timed": False}),
            (path, {"labels": ProcessLabels()}),
        ):
            with open_capture(source, **options) as capture:
                assert not capture.is_direct
        for source in (path, plain):
            with open_capture(source) as capture:
                assert capture.is_direct


def test_small_batch(tmp_path):
    """A batch that cannot hold the look-ahead is refused, as it is step by step."""
    path = tmp_path / "a.pcap"
    path.write_bytes(CONTAINERS["pcap"])
    with open_capture(path) as capture, pytest.raises(ValueError, match=f"{MIN_ROWS} are needed"):
        Decoder().fill(capture, make_batch(MIN_ROWS - 1))


def test_read_error(tmp_path):
    """Where the system cannot read on, the packets before are there, and the damage says why."""
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(FRAMES))
    batch, decoder = make_batch(16), Decoder()
    with open(path, "rb", buffering=0) as file, open_capture(file, buffers=Buffers(256)) as capture:
        count = decoder.fill(capture, batch)
        assert count and capture.damage is None
        closed = os.open(tmp_path / "b", os.O_WRONLY | os.O_CREAT)
        os.dup2(closed, file.fileno())
        os.close(closed)
        while rows := decoder.fill(capture, batch):
            count += rows
    assert 0 < count < len(FRAMES)
    assert "cannot be read further: Bad file descriptor" in str(capture.damage)


def test_times(tmp_path):
    """The time for reading is the capture's, that for decoding the decoder's."""
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcapng(FRAMES * 20))
    _, decoder, capture = filled(path, 64, 1024, True)
    assert 0 < capture.seconds < 60
    assert 0 < decoder.seconds < 60


@pytest.mark.skipif(JIT, reason="only uncompiled code can be made to fail")
@pytest.mark.parametrize("data", CONTAINERS.values(), ids=CONTAINERS)
def test_decoder_at_fault(tmp_path, monkeypatch, data):
    """A packet at which a bounds check of the decoder fails is counted, and the others are as they were."""
    path = tmp_path / "a"
    path.write_bytes(data)
    expected, _, _ = filled(path, 64, 1024, True)
    decode = intake._decode

    def fail_at_7(args: Any) -> None:
        data, p, begin, stop, walk, *rest = args
        for row in range(begin, stop):
            walk[0].row = row
            if p.packets[row].number == 7:
                raise IndexError
            decode((data, p, row, row + 1, walk, *rest))

    monkeypatch.setattr(intake, "_decode", fail_at_7)
    found, decoder, _ = filled(path, 64, 1024, True)
    assert decoder.counts()["decoder_fault"] == 1
    assert [row[-1] for row in found] == [row[-1] for row in expected]
    assert sum(a != b for a, b in zip(found, expected, strict=True)) == 1


@pytest.mark.skipif(JIT, reason="only uncompiled code can be made to fail")
def test_walk_at_fault(tmp_path, monkeypatch):
    """Where a walk fails a bounds check, the packets before are delivered and the byte is named."""
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(FRAMES[10:20]))
    walk = intake._walk_pcap

    def fail_late(args: Any) -> None:
        raise IndexError(walk(args))

    monkeypatch.setattr(intake, "_walk_pcap", fail_late)
    monkeypatch.setattr(pcap, "walk_pcap", lambda *args: fail_late(args))
    found, _, capture = filled(path, 64, 1 << 16, True)
    assert [row[-1] for row in found] == [data for _, data, _ in FRAMES[10:20]]
    assert "bounds check" in str(capture.damage)
