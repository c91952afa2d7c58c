"""pcapng files: sections, interfaces, time resolutions and every block that carries a packet."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import block, enhanced, interface, obsolete, section, simple, write_pcapng
from flowgauge.errors import NotACapture
from flowgauge.sources.capture import open_capture
from flowgauge.sources.window import Interface
from reading import packets, read_rows

START = 1_600_000_000_123_456_789
FRAMES = [(START + i * 7_000, bytes([i]) * (20 + i), 1500 if i % 3 else None) for i in range(40)]
EXPECTED = [(time, data, length or len(data)) for time, data, length in FRAMES]
LATEST = 2**62 - 1

orders = pytest.mark.parametrize("order", "<>")


@orders
def test_enhanced_packets(order):
    """Enhanced packet blocks give times, bytes and lengths in both byte orders."""
    rows, capture = read_rows(write_pcapng(FRAMES, order=order))
    assert packets(rows) == EXPECTED
    assert (capture.container, capture.damage) == ("pcapng", None)
    assert [row.number for row in rows] == list(range(1, 41))


@orders
def test_obsolete_packets(order):
    """The obsolete packet block is read like an enhanced one; its interface has 16 bits."""
    data = section(order) + interface(1, order) + interface(113, order)
    data += obsolete(5_000_000, b"four", order=order, original=90, index=1)
    rows, _ = read_rows(data)
    assert [(row.time, row.data, row.frame_len, row.link) for row in rows] == [(5_000_000_000, b"four", 90, 113)]


@orders
def test_simple_packets(order):
    """A simple packet has interface 0, no time, and the captured length that snap length and block allow."""
    data = section(order) + interface(101, order, snaplen=8) + interface(1, order)
    data += simple(b"abcde", order=order) + simple(b"abcdefgh", order=order, original=700)
    data += simple(b"abcd", order=order, original=6)
    rows, capture = read_rows(data)
    assert [(row.data, row.frame_len, row.link) for row in rows] == [
        (b"abcde", 5, 101),
        (b"abcdefgh", 700, 101),
        (b"abcd", 6, 101),
    ]
    assert capture.counters["no_time"] == 3


def test_interfaces_of_different_links():
    """Each packet has the link type and the clock resolution of its own interface."""
    data = section() + interface(1, resolution=6) + interface(113, resolution=9, name="wifi", snaplen=64)
    data += enhanced(1_000, b"a", index=1) + enhanced(1_000, b"b", index=0)
    rows, capture = read_rows(data)
    assert [(row.link, row.time) for row in rows] == [(113, 1_000), (1, 1_000_000)]
    assert capture.interfaces == [Interface(1, "", 0, "10^-6 s"), Interface(113, "wifi", 64, "10^-9 s")]


def test_interfaces_described_late():
    """An interface may be described between the packets of another, any number of them."""
    data, expected = section(), []
    for index in range(50):
        data += interface(index) + enhanced(index, bytes(4), index=index // 2)
        expected.append(index // 2)
    assert [row.link for row in read_rows(data)[0]] == expected


def test_undefined_interface():
    """A packet of an interface that no block describes has link type 0xFFFF and microseconds."""
    data = section() + interface(1, resolution=9) + enhanced(7, b"ab", index=1) + section() + simple(b"c")
    rows, capture = read_rows(data)
    assert [(row.link, row.data) for row in rows] == [(0xFFFF, b"ab"), (0xFFFF, b"c")]
    assert rows[0].time == 7_000
    assert capture.damage is None


def test_sections_of_other_byte_order():
    """A section brings its own byte order and its own interfaces."""
    data = section("<") + interface(1, "<") + enhanced(1, b"a")
    data += section(">") + interface(113, ">") + enhanced(2, b"b", order=">")
    data += section("<") + enhanced(3, b"c")
    rows, capture = read_rows(data)
    assert [(row.time, row.link, row.number) for row in rows] == [(1_000, 1, 1), (2_000, 113, 2), (3_000, 0xFFFF, 3)]
    assert [i.link for i in capture.interfaces] == [1, 113]


def test_unknown_blocks():
    """Unknown blocks are walked over; custom blocks and journal entries take a frame number, as in Wireshark."""
    data = section() + interface() + block(5, bytes(40)) + block(0xBAD, bytes(8)) + enhanced(1, b"a")
    data += block(0x40000BAD, bytes(8)) + block(9, bytes(20)) + block(0x7777, b"") + enhanced(2, b"b")
    assert [(row.number, row.data) for row in read_rows(data)[0]] == [(2, b"a"), (5, b"b")]


def test_record_offset():
    """A row names the byte of its block."""
    head = section() + interface()
    rows, _ = read_rows(head + enhanced(1, b"abc", pairs=[(1, b"comment")]) + enhanced(2, b"d"))
    assert [row.record_offset for row in rows] == [
        len(head),
        len(head) + len(enhanced(1, b"abc", pairs=[(1, b"comment")])),
    ]
    assert rows[0].data == b"abc"


@given(
    ticks=st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2**40)),
    resolution=st.integers(0, 255),
    offset=st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1), st.integers(-(10**6), 10**6)),
    order=st.sampled_from("<>"),
)
def test_time_resolutions(ticks, resolution, offset, order):
    """Times are exact to the nanosecond, rounded down, for every resolution and offset, and kept within ± 2^62."""
    unit = 2 ** (resolution & 127) if resolution & 128 else 10**resolution
    expected = min(ticks * 10**9 // unit, LATEST) + max(-LATEST, min(LATEST, offset * 10**9))
    data = section(order) + interface(1, order, resolution=resolution, offset=offset)
    rows, _ = read_rows(data + enhanced(ticks, b"x", order=order))
    assert rows[0].time == max(-LATEST, min(LATEST, expected))


@pytest.mark.parametrize(
    "broken",
    [
        b"\x06\0\0\0\x08\0\0\0" + bytes(40),
        struct.pack("<II", 6, 0x7FFFFFFC) + bytes(40),
        struct.pack("<II", 0x77, 18) + bytes(40),
        block(0x77, bytes(8))[:-4] + struct.pack("<I", 24),
        block(1, b"\x01\0"),
        section()[:-4] + struct.pack("<I", 32),
        b"\x0a\x0d\x0d\x0a" + struct.pack("<I", 16) + section()[8:],
    ],
    ids=["too short", "too long", "not a multiple of 4", "lengths differ", "interface", "section", "short section"],
)
def test_bad_block_lengths(broken):
    """An impossible block length ends the capture at that byte; the packets before are delivered."""
    whole = section() + interface() + enhanced(1, b"a")
    rows, capture = read_rows(whole + broken)
    assert len(rows) == 1
    assert capture.damage == f"at byte {len(whole)} a block's two lengths are impossible or differ"


@pytest.mark.parametrize("kind", [2, 3, 6])
def test_packet_longer_than_its_block(kind):
    """A packet block that is too small for what it says ends the capture at its byte."""
    whole = section() + interface() + enhanced(1, b"a")
    body = b"" if kind == 3 else struct.pack("<5I", 0, 0, 0, 5, 5) + b"four"
    rows, capture = read_rows(whole + block(kind, body) + enhanced(2, b"b"))
    assert len(rows) == 1
    assert capture.damage == f"at byte {len(whole)} a packet claims more bytes than its block has"


def test_section_of_another_version():
    """A section of an unknown version cannot be read on."""
    whole = section() + interface() + enhanced(1, b"a")
    rows, capture = read_rows(whole + section(major=2) + enhanced(2, b"b"))
    assert len(rows) == 1
    assert capture.damage == f"at byte {len(whole)} a section has pcapng version 2; 1 is known"


def test_section_of_unknown_byte_order():
    """A section whose byte-order magic is unknown ends the capture."""
    whole = section() + interface() + enhanced(1, b"a")
    rows, capture = read_rows(whole + section().replace(b"\x4d\x3c\x2b\x1a", b"\0\0\0\0"))
    assert len(rows) == 1
    assert capture.damage == f"at byte {len(whole)} a section header has an unknown byte order"


@pytest.mark.parametrize("cut", [8, 12, 20, 27])
@pytest.mark.parametrize("last", [section(), interface(name="eth0"), enhanced(2, b"b")], ids=["SHB", "IDB", "EPB"])
def test_cut_off_block(last, cut):
    """A file that ends inside a block delivers the packets before it and names the block's byte."""
    whole = section() + interface() + enhanced(1, b"a")
    rows, capture = read_rows(whole + last[:cut])
    assert len(rows) == 1
    assert capture.damage == f"the record at byte {len(whole)} is cut off"


@pytest.mark.parametrize("data", [section()[:9], section()[:8] + b"nope" + section()[12:]])
def test_magic_number_alone(data):
    """The first four bytes of pcapng without a byte-order magic are no capture."""
    with pytest.raises(NotACapture, match="no section header"):
        open_capture(io.BytesIO(data))


def test_broken_options():
    """Options that do not fit into their block are ignored, with those that follow."""
    body = (
        struct.pack("<HHI", 113, 0, 0) + struct.pack("<HH", 2, 4) + b"eth0" + struct.pack("<HH", 9, 400) + b"\x09\0\0\0"
    )
    rows, capture = read_rows(section() + block(1, body) + enhanced(3, b"x"))
    assert capture.interfaces == [Interface(113, "eth0", 0, "10^-6 s")]
    assert rows[0].time == 3_000
