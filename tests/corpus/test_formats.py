"""Real containers: block counts and other readers' packet counts."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from captures import COMPRESSORS
from corpus_folder import CORPUS, corpus_files, needs_corpus
from reading import packets, read_rows

pytestmark = [pytest.mark.corpus, needs_corpus]

TESTGEN = corpus_files("formats/pcapng-testgen", "*.pcapng")
CAPTURE_MAGICS = {
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x0a\x0d\x0d\x0a",
}

# Packets that Wireshark reads otherwise, and why.
DIFFERENT = {
    # It decides for 24-byte record headers, although the first two records make sense with 16.
    "crash-exception-cast-constructed-record",
    # It swaps captured and original length in files of version 2.2.
    "clusterfuzz-testcase-minimized-FuzzTarget-6604968558198784",
    # Its limit is 256 KiB a record: it stops where the record is longer.
    "clusterfuzz-testcase-FuzzTarget-5188876846235648",
}


def test_the_captures_are_there():
    """The block counts are compared for every file of the generator."""
    assert len(TESTGEN) == 48


@pytest.mark.parametrize("path", TESTGEN, ids=lambda path: f"{path.parts[-3][-2:]}-{path.stem}")
def test_block_counts(path):
    """As many packets are read as the generator's text counts blocks that carry packets, and as many interfaces."""
    counts = dict(re.findall(r"^\t(\w+): (\d+)$", path.with_suffix(".txt").read_text(), re.MULTILINE))
    rows, capture = read_rows(path)
    assert len(rows) == sum(int(counts.get(kind, 0)) for kind in ("EPB", "SPB", "PB"))
    assert len(capture.interfaces) == int(counts.get("IDB", 0))
    assert capture.damage is None


def test_byte_orders_agree():
    """The little- and big-endian files of the generator hold the same packets."""
    little, big = ([p for p in TESTGEN if f"output_{order}" in str(p)] for order in ("le", "be"))
    for one, other in zip(little, big, strict=True):
        assert one.name == other.name
        assert packets(read_rows(one)[0]) == packets(read_rows(other)[0])


def _captures() -> list[str]:
    files = (path for path in corpus_files(".") if "malformed" not in path.parts or path.name not in DIFFERENT)
    return [str(path) for path in files if path.read_bytes()[:4] in CAPTURE_MAGICS]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("capinfos"), reason="capinfos of Wireshark is not installed")
def test_packet_counts_of_wireshark():
    """Every capture that Wireshark reads has as many packets for it as for us."""
    command = ["capinfos", "-T", "-m", "-Q", "-r", "-c", *_captures()]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout.splitlines()
    expected = {path: int(count) for path, count in (re.fullmatch(r'"(.*)","(\d+)"', line).groups() for line in lines)}
    assert len(expected) > 1000
    assert {path: len(read_rows(path, rows=8192)[0]) for path in expected} == expected


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_frame_numbers_of_wireshark():
    """Frames are numbered as Wireshark does, across blocks that it shows as frames without being packets."""
    with_others = [path for path in TESTGEN if path.stem in ("test018", "test102", "test202")]
    assert len(with_others) == 6
    for path in with_others:
        command = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.number", "-e", "frame.len"]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
        shown = {tuple(map(int, line.split("\t"))) for line in lines}
        assert {(row.number, row.frame_len) for row in read_rows(path)[0]} < shown


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_compressed_captures(compression):
    """A real capture gives the same packets in every compression."""
    path = CORPUS / "ndpi" / "pcap" / "bt-http.pcapng"
    assert read_rows(COMPRESSORS[compression](path.read_bytes()))[0] == read_rows(path)[0] != []
