"""Walking the blocks of a packet ring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import packets
from flowgauge.kernels.packet import make_batch
from flowgauge.kernels.ring import CURSOR, NO_LINK, walk_ring
from rings import LOOPBACK, OUTGOING, TUNNEL, Frame, block

IP = packets.ip4(packets.udp(1, 2, b"abc"))
ETH = packets.eth(IP)


class Walk:
    """A block and the place of a walk through it."""

    def __init__(self, *frames: Frame, rows: int = 16) -> None:
        content, first, count = block(frames)
        self.data = np.frombuffer(bytearray(content), np.uint8)
        self.cursor: Any = np.zeros(1, CURSOR).view(np.recarray)
        self.cursor[0].at, self.cursor[0].left, self.cursor[0].origin = first, count, 24
        self.batch = make_batch(rows)

    def on(self, snaplen: int = 262_144) -> Any:
        """The rows of the next walk."""
        self.cursor[0].row = 0
        walk_ring(self.batch, self.data, self.data.view(np.uint32), self.cursor, np.uint64(snaplen))
        return self.batch.packets[: self.cursor[0].row]

    def bytes_of(self, row: Any) -> bytes:
        return self.data[int(row.offset) : int(row.offset) + int(row.caplen)].tobytes()


def test_frames_are_rows() -> None:
    """Each frame has its time, lengths, link type, number, and the place that it would have in a pcap file."""
    walk = Walk(Frame(ETH, 1_700_000_000_123_456_789), Frame(ETH[:40], 5, length=1500))
    rows = walk.on()
    assert rows.time.tolist() == [1_700_000_000_123_456_789, 5]
    assert (rows.caplen.tolist(), rows.frame_len.tolist()) == ([len(ETH), 40], [len(ETH), 1500])
    assert (rows.link.tolist(), rows.number.tolist()) == ([1, 1], [1, 2])
    assert rows.record_offset.tolist() == [24, 24 + 16 + len(ETH)]
    assert [walk.bytes_of(row) for row in rows] == [ETH, ETH[:40]]


@pytest.mark.parametrize(("given", "type_bytes"), [(None, b"\x81\x00"), (0x88A8, b"\x88\xa8")])
def test_a_vlan_tag_is_put_back(given: int | None, type_bytes: bytes) -> None:
    """The tag that the system took off is behind the addresses again, with its EtherType, and counts in the lengths."""
    walk = Walk(Frame(ETH, tag=0x2007, tag_type=given), Frame(ETH))
    tagged, plain = walk.on()
    assert walk.bytes_of(tagged) == ETH[:12] + type_bytes + b"\x20\x07" + ETH[12:]
    assert (int(tagged.frame_len), int(tagged.caplen)) == (len(ETH) + 4, len(ETH) + 4)
    assert walk.bytes_of(plain) == ETH


def test_a_tag_counts_for_the_snap_length() -> None:
    """A frame is cut behind the tag was put back, as tcpdump cuts it."""
    [row] = Walk(Frame(ETH, tag=7)).on(snaplen=len(ETH))
    assert (int(row.caplen), int(row.frame_len)) == (len(ETH), len(ETH) + 4)


def test_a_frame_without_addresses_has_no_tag() -> None:
    """Where there is no Ethernet header, or not all of it, nothing is moved."""
    walk = Walk(Frame(IP.data, hardware=TUNNEL, tag=7), Frame(ETH[:11], tag=7))
    assert [walk.bytes_of(row) for row in walk.on()] == [IP.data, ETH[:11]]


def test_loopback_is_taken_once_and_other_interfaces_in_both_directions() -> None:
    """Of what loopback delivers twice the sent copy is left out; what is sent elsewhere is not."""
    sent, received, elsewhere = (
        Frame(ETH, 1, hardware=LOOPBACK, kind=OUTGOING),
        Frame(ETH, 2, hardware=LOOPBACK),
        Frame(ETH, 3, kind=OUTGOING),
    )
    rows = Walk(sent, received, elsewhere, sent).on()
    assert rows.time.tolist() == [2, 3]
    assert rows.number.tolist() == [1, 2]


def test_link_types_are_those_of_the_hardware() -> None:
    """Ethernet and loopback are Ethernet, tunnels raw IP, and what is not known is no link type."""
    rows = Walk(*(Frame(ETH, hardware=kind) for kind in (1, LOOPBACK, TUNNEL, 801, 803, 12345))).on()
    assert rows.link.tolist() == [1, 1, 101, 105, 127, int(NO_LINK)]


def test_a_walk_goes_on_where_the_rows_ended() -> None:
    """A batch smaller than the block takes it in pieces, and no frame twice."""
    walk = Walk(*(Frame(ETH, time) for time in range(5)), rows=2)
    assert [walk.on().time.tolist() for _ in range(4)] == [[0, 1], [2, 3], [4], []]
    assert int(walk.cursor[0].origin) == 24 + 5 * (16 + len(ETH))
