"""A trace of any length, made on the fly: ``python benchmarks/tiles.py --packets 100000000 | flowgauge extract - …``.

A trace of `generate.py` is cut to the first bytes of its frames, kept in memory, and written again and again, each time
later and between other hosts: so flows of one piece are none of another, and as many are open at a time as in one.
"""

from __future__ import annotations

import argparse
import contextlib
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from generate import DATA, generate
from numpy.typing import NDArray

SNAPLEN = 96
PIECE = 1_000_000  # packets
_HEADER = 16  # bytes of a record's header
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux, which fcntl has from Python 3.10 on only


class Tile(NamedTuple):
    """Records of a pcap file, and where in them lie the times and a byte of each address."""

    header: bytes
    records: NDArray[np.uint8]
    times: NDArray[np.int64]  # of the seconds, in bytes
    addresses: NDArray[np.int64]  # of a byte that tells hosts apart, of both addresses of each packet
    seconds: int  # between the begins of two pieces


def trace_file(kind: str, packets: int, flows: int | None = None) -> Path:
    """A trace of `generate.py` in benchmarks/data, made where it is missing."""
    path = DATA / f"{kind}-{packets}{'' if flows is None else f'-{flows}'}.pcap"
    if not path.exists():
        generate(path, kind, packets, flows)
    return path


def make_tile(path: Path, packets: int, snaplen: int = SNAPLEN) -> Tile:
    """The first packets of a pcap file that `generate.py` made."""
    content = path.read_bytes()
    out = bytearray()
    places: list[int] = []
    at = 24
    while at < len(content) and len(places) < packets:
        seconds, fraction, captured, length = struct.unpack_from("<IIII", content, at)
        kept = min(captured, snaplen)
        places.append(len(out))
        out += struct.pack("<IIII", seconds, fraction, kept, length)
        out += content[at + _HEADER : at + _HEADER + kept]
        at += _HEADER + captured
    records = np.frombuffer(out, np.uint8).copy()
    begins = np.array(places, np.int64)
    times = _words(records, begins)
    header = content[:16] + struct.pack("<I", snaplen) + content[20:24]
    return Tile(header, records, begins, _address_bytes(records, begins), int(times.max() - times.min()) + 1)


def _words(records: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.int64]:
    parts = [records[places + byte].astype(np.int64) << 8 * byte for byte in range(4)]
    return sum(parts[1:], parts[0])


def _address_bytes(records: NDArray[np.uint8], begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the second byte of each IPv4 address lies, and the sixth of each IPv6 address."""
    kind = begins + _HEADER + 12
    tagged = (records[kind] == 0x81) & (records[kind + 1] == 0)
    network = kind + 2 + np.where(tagged, 4, 0)
    is_6 = records[network] >> 4 == 6
    source = network + np.where(is_6, 8 + 5, 12 + 1)
    return np.concatenate((source, source + np.where(is_6, 16, 4)))


def write_tiles(tile: Tile, packets: int, output: IO[bytes]) -> None:
    """Write so many packets, a multiple of those of a tile, as one trace, and close it.

    Each piece is made while the one before is written, and behind the last one more: no reader waits for a piece, and
    what making costs a reader beside it is the same for each packet, however many there are.
    """
    first, hosts = _words(tile.records, tile.times), tile.records[tile.addresses].copy()
    places = [tile.records, tile.records.copy()]

    def made(number: int) -> NDArray[np.uint8]:
        records, later = places[number % 2], first + number * tile.seconds
        for byte in range(4):
            records[tile.times + byte] = later >> 8 * byte & 0xFF
        records[tile.addresses] = hosts + np.uint8(number % 256)
        return records

    with ThreadPoolExecutor(1) as maker:
        piece = maker.submit(made, 0)
        with output:
            output.write(tile.header)
            for number in range(packets // len(tile.times)):
                records = piece.result()
                piece = maker.submit(made, number + 1)
                output.write(records.data)


def larger_pipe(output: Any) -> None:
    """Let a pipe hold more, where the system can."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.fcntl(output, _SET_PIPE_SIZE, _PIPE_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packets", type=int, default=10 * PIECE)
    parser.add_argument("--kind", default="mix")
    parser.add_argument("--flows", type=int, help="flows of each million packets")
    parser.add_argument("--snaplen", type=int, default=SNAPLEN)
    given = parser.parse_args()
    piece = min(PIECE, given.packets)
    if given.packets % piece:
        parser.error(f"--packets is a multiple of {PIECE}")
    tile = make_tile(trace_file(given.kind, piece, given.flows), piece, given.snaplen)
    larger_pipe(sys.stdout)
    with contextlib.suppress(BrokenPipeError):
        write_tiles(tile, given.packets, sys.stdout.buffer)


if __name__ == "__main__":
    main()
