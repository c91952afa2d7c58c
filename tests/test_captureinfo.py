"""What `info` says of a capture, against what was written into it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import captures
import packets
from flowgauge.captureinfo import info, link_name, utc
from flowgauge.errors import NotACapture
from flowgauge.labels import make_labeller

FRAMES = [
    packets.sent(0, packets.eth(packets.ip4(packets.udp(1000, 53, b"q")))),
    packets.sent(1.5, packets.eth(packets.ip4(packets.udp(53, 1000, bytes(500)))), captured=60),
    packets.sent(0.5, packets.eth(packets.other(0x88CC, bytes(46)))),
]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "dns_lookup_1.pcap"
    path.write_bytes(captures.write_pcap(FRAMES, ns=True, snaplen=60))
    return path


def test_info_counts_what_was_written(capture: Path) -> None:
    """Packets, sizes, times and reasons are those of the frames in the file."""
    found = info(capture)
    assert (found.container, found.compression, found.damage) == ("pcap", "", None)
    assert found.packets == 3
    assert found.captured_bytes == sum(len(frame[1]) for frame in FRAMES)
    assert found.wire_bytes == sum(frame[2] for frame in FRAMES)
    assert found.stored_bytes == capture.stat().st_size
    assert (found.first_ns, found.last_ns) == (FRAMES[0][0], FRAMES[1][0])
    assert found.reasons == {"metered": 2, "not_ip": 1}
    assert found.links == {"Ethernet": 3}
    assert len(found.interfaces) == 1
    assert "at most 60 bytes a packet" in found.interfaces[0]


def test_info_knows_every_interface(tmp_path: Path) -> None:
    """Each interface of a pcapng file is one line, and packets are counted by link type."""
    data = packets.ip4(packets.udp(1, 2)).data
    blocks = (
        captures.section(),
        captures.interface(1, name="eth0"),
        captures.interface(101, name="tun0", snaplen=96),
        captures.interface(105),
        captures.enhanced(1_000_000, data, index=1),
        captures.enhanced(2_000_000, data, index=2),
    )
    found = info(io.BytesIO(b"".join(blocks)))
    assert found.name == "stream"
    assert found.stored_bytes is None
    assert [line.split(", ")[:2] for line in found.interfaces] == [
        ["eth0", "Ethernet"],
        ["tun0", "raw IP"],
        ["802.11", "packets of any length"],
    ]
    assert found.links == {"raw IP": 1, "802.11": 1}
    assert found.reasons == {"metered": 1, "not_ip": 1}


def test_info_of_no_packets_has_no_times() -> None:
    """A capture without packets has no time span and no reasons."""
    found = info(io.BytesIO(captures.write_pcap([])))
    assert (found.packets, found.first_ns, found.last_ns, found.reasons) == (0, None, None, {})


def test_info_reads_up_to_the_damage(capture: Path) -> None:
    """A cut-off capture tells of its packets before the cut and where it is."""
    capture.write_bytes(capture.read_bytes()[:-1])
    found = info(capture)
    assert found.packets == 2
    assert found.damage


def test_info_applies_the_template(capture: Path) -> None:
    """The labels are those that the template reads off the name, None where it does not match."""
    assert info(capture, make_labeller("{app}_{action}_*.pcap")).labels == {"app": "dns", "action": "lookup"}
    assert info(capture, make_labeller("{app}-{action}.pcap")).labels is None


def test_info_of_another_file_is_an_error() -> None:
    """What is no capture is NotACapture, as everywhere."""
    with pytest.raises(NotACapture):
        info(io.BytesIO(b"meeting notes"))


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
    ],
)
def test_times_are_utc_with_nanoseconds(time_ns: int, text: str) -> None:
    """Every time that 64 bits of nanoseconds hold is ISO 8601 in UTC, exactly."""
    assert utc(time_ns) == text


def test_links_without_a_name_have_their_number() -> None:
    """A link type is called by its name where it has one, else by its number."""
    assert (link_name(1), link_name(127), link_name(4711)) == (
        "Ethernet",
        "802.11 with radiotap header",
        "link type 4711",
    )
