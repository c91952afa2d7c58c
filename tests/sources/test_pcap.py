"""Classic pcap files, in every variant."""

from __future__ import annotations

import io
import struct

import pytest

from captures import pcap_header, pcap_record, write_pcap
from flowgauge.errors import TruncatedCapture
from flowgauge.sources.capture import open_capture
from reading import packets, read_rows

START = 1_600_000_000_123_456_000
FRAMES = [(START + i * 7_000, bytes([i]) * (20 + i * 3), 1500 if i % 3 else None) for i in range(40)]
EXPECTED = [(time, data, length or len(data)) for time, data, length in FRAMES]

VARIANTS = {
    "microseconds": {},
    "nanoseconds": {"ns": True},
    "modified": {"modified": True},
    "24-byte records after the standard magic number": {"header": 24},
    "24-byte records after the nanosecond magic number": {"header": 24, "ns": True},
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_variants(variant, order):
    """Every variant of pcap, in both byte orders, gives the same times, bytes and lengths."""
    rows, capture = read_rows(write_pcap(FRAMES, order=order, **variant))
    assert packets(rows) == EXPECTED
    assert (capture.container, capture.damage) == ("pcap", None)


def test_nanoseconds_are_kept():
    """The nanosecond magic number keeps times to the nanosecond."""
    rows, capture = read_rows(write_pcap([(START + 789, b"x")], ns=True))
    assert rows[0].time == START + 789
    assert capture.interfaces[0].resolution == "10^-9 s"


def test_record_offset_and_number():
    """A row names its record's byte in the file and its number from 1."""
    rows, _ = read_rows(write_pcap(FRAMES, modified=True))
    at = 24
    for number, (row, (_, data, _)) in enumerate(zip(rows, FRAMES, strict=True), 1):
        assert (row.record_offset, row.number) == (at, number)
        at += 24 + len(data)


def test_upper_half_of_the_link_word():
    """Bits in the upper half of the link word (frame check sequence length) do not change the link type."""
    rows, capture = read_rows(write_pcap(FRAMES[:3], link=0xF4000000 | 113))
    assert {row.link for row in rows} == {113}
    assert capture.interfaces[0].link == 113


def test_more_captured_than_the_snap_length():
    """A record longer than the file's snap length is delivered whole."""
    data = write_pcap([(START, bytes(500)), (START, b"y")], snaplen=96)
    assert [len(row.data) for row in read_rows(data)[0]] == [500, 1]


def test_no_records():
    """A file header without records is a capture of no packets."""
    rows, capture = read_rows(pcap_header())
    assert (rows, capture.damage) == ([], None)


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 35])
def test_cut_off_record(cut):
    """A file that ends inside a record delivers those before it and names the record's byte."""
    whole = write_pcap(FRAMES[:2])
    rows, capture = read_rows(whole + pcap_record(FRAMES[2])[:cut])
    if cut == 16 + len(FRAMES[2][1]):
        pytest.fail("that is a whole record")
    assert packets(rows) == EXPECTED[:2]
    assert capture.damage == f"the record at byte {len(whole)} is cut off"


@pytest.mark.parametrize("length", [4, 23])
def test_cut_off_file_header(length):
    """A file that ends inside its own header says so."""
    with pytest.raises(TruncatedCapture, match=f"byte {length}"):
        open_capture(io.BytesIO(pcap_header()[:length]))


def test_impossible_record():
    """A record of more than 128 MiB ends the capture at its byte; the packets before are delivered."""
    whole = write_pcap(FRAMES[:2])
    rows, capture = read_rows(whole + struct.pack("<4I", 0, 0, (128 << 20) + 1, 60) + bytes(100))
    assert packets(rows) == EXPECTED[:2]
    assert capture.damage == f"at byte {len(whole)} a record claims more than 128 MiB"


def test_long_records_are_not_taken_for_long_headers():
    """Records above the usual limits, with 16-byte headers, are read as they are."""
    frames = [(START, bytes(300_000)), (START, bytes(100))]
    assert [len(row.data) for row in read_rows(write_pcap(frames))[0]] == [300_000, 100]


def test_two_records_with_long_headers():
    """Two records are enough to recognise undeclared 24-byte headers; one of garbage is not taken for any."""
    assert packets(read_rows(write_pcap(FRAMES[5:7], header=24))[0]) == EXPECTED[5:7]
    rows, _ = read_rows(write_pcap(FRAMES[5:6]) + b"\xff" * 40)
    assert packets(rows) == EXPECTED[5:6]
