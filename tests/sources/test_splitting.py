"""Parts of a pcap file that can be read apart: where records begin in its middle."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from captures import write_pcap, write_pcapng
from flowgauge.sources.splitting import Piece, Range, border, layout_of, ranges
from packets import SECOND, START, Sent


def _frames(count: int, *, seed: int = 1, most: int = 400) -> list[Sent]:
    draw = random.Random(seed)
    sizes = [draw.randrange(0, most) for _ in range(count)]
    return [Sent(START + number * SECOND // 100, draw.randbytes(size), size + 4) for number, size in enumerate(sizes)]


def _offsets(frames: list[Sent], header: int) -> list[int]:
    found = [24]
    for frame in frames:
        found.append(found[-1] + header + len(frame.data))
    return found


def _all(path: Path, wanted: int) -> list[Range]:
    layout = layout_of(path)
    assert layout is not None
    count = -(-path.stat().st_size // wanted)
    found = [ranges(path, layout, wanted, number, count) for number in range(count)]
    return [part for part in found if part is not None]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("ns", "modified", "header"), [(True, False, 16), (False, False, 16), (False, True, 24)])
def test_parts_begin_with_records_and_make_up_the_file(
    tmp_path: Path, order: str, ns: bool, modified: bool, header: int
) -> None:
    """Whatever the variant of the file and the size of its parts, they begin where records do and leave no gap."""
    frames = _frames(600)
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(frames, order=order, ns=ns, modified=modified))
    offsets = set(_offsets(frames, header))
    for wanted in (5_000, 20_000, 60_000):
        parts = _all(path, wanted)
        assert len(parts) > 1
        assert {part.begin for part in parts} <= offsets
        assert [part.begin for part in parts[1:]] == [part.stop for part in parts[:-1]]
        assert (parts[0].begin, parts[-1].stop) == (24, path.stat().st_size)


def test_the_first_record_behind_a_byte_is_found(tmp_path: Path) -> None:
    """A border is the first record that begins at a byte or behind it; behind the last one there is none."""
    frames = _frames(100)
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(frames, ns=True))
    offsets, size = _offsets(frames, 16), path.stat().st_size
    layout = layout_of(path)
    assert layout is not None
    with Piece(path) as file:
        for at in (*offsets[:-1], *(offset + 1 for offset in offsets[:-2])):
            assert border(file, layout, at, size) == min(offset for offset in offsets if offset >= at)
        assert border(file, layout, offsets[-2] + 1, size) is None


def test_what_is_no_plain_pcap_has_no_parts(tmp_path: Path) -> None:
    """pcapng, compressed files and what is no capture are not split."""
    frames = _frames(10)
    contents = {"a.pcapng": write_pcapng(frames), "a.gz": gzip.compress(write_pcap(frames)), "a.txt": b"text" * 99}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert layout_of(tmp_path / name) is None
    assert layout_of(tmp_path / "absent.pcap") is None


def test_bytes_without_records_have_no_border(tmp_path: Path) -> None:
    """Where nothing makes sense, no record is made up."""
    path = tmp_path / "a.pcap"
    path.write_bytes(write_pcap(_frames(20)) + b"\xff" * 100_000)
    layout = layout_of(path)
    assert layout is not None
    with Piece(path) as file:
        assert border(file, layout, 50_000, path.stat().st_size) is None


def test_a_piece_ends_with_its_range(tmp_path: Path) -> None:
    """A piece gives the bytes of its range, then nothing."""
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)))
    with Piece(path) as piece:
        assert piece.read(3) == bytes(range(3))
        piece.limit(Range(10, 15))
        buffer = bytearray(100)
        assert piece.readinto(buffer) == 5
        assert buffer[:5] == bytes(range(10, 15))
        assert piece.readinto(buffer) == 0
