"""Agreement with Wireshark: the example captures, and segments in which each count of its TCP analysis is not 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from packets import Sent, capture
from test_tcp import SHAKE, segments
from trust import tshark
from trust.agreement import CAUSES, OTHER

pytestmark = pytest.mark.skipif(not tshark.available(), reason="tshark is not installed")

EQUAL = "packets", "bytes", "duration", "sent_again", "duplicate_acks", "zero_windows"
"""Fields without a difference in the example captures."""


def test_streams_are_those_of_wireshark() -> None:
    """The example captures, two of which lost frames."""
    agreement = tshark.compare()
    assert list(agreement.unexplained()) == []
    assert OTHER not in agreement.causes
    assert agreement.causes.keys() <= CAUSES.keys()
    assert agreement.compared >= 45
    assert not agreement.excluded
    for name in EQUAL:
        assert agreement.equal[name] == agreement.told[name] > 0, name
    for name, share in {"retransmitted": 0.88, "out_of_order": 0.88, "gap": 0.94}.items():
        assert agreement.share(name) >= share, name


SAME = {
    # behind a handshake; what both count, of the client and of the server
    "> A seq=1 ack=1 len=9, < A seq=1 ack=10 len=7, > FA seq=10 ack=8, < FA seq=8 ack=11, > A seq=11 ack=9": {},
    "> A seq=1 ack=1 len=9, > A seq=1 ack=1 len=9 at=0.1": {"retransmitted": [1, 0], "sent_again": [1, 0]},
    "> A seq=1 ack=1 len=9, < A seq=1 ack=10, > A seq=1 ack=1 len=9": {"retransmitted": [1, 0], "sent_again": [1, 0]},
    "< A seq=1 ack=1 len=9, < A seq=1 ack=1 len=9 at=0.1": {"retransmitted": [0, 1], "sent_again": [0, 1]},
    "> A seq=11 ack=1 len=10, > A seq=1 ack=1 len=10": {"out_of_order": [1, 0], "sent_again": [1, 0]},
    "> A seq=1 ack=1 len=10, < A seq=1 ack=31": {"gap": [1, 0]},
    "> A seq=1 ack=1 len=10, > A seq=21 ack=1 len=10, < A seq=1 ack=31": {"gap": [1, 0]},  # an acknowledged hole
    "> A seq=11 ack=1 len=10": {},  # a hole that is not acknowledged
    "> A seq=11 ack=1 len=10, > A seq=1 ack=1 len=10, < A seq=1 ack=21": {"out_of_order": [1, 0], "sent_again": [1, 0]},
    "> A seq=1 ack=1 len=10, > A seq=11 ack=1 len=10, < A seq=1 ack=11, < A seq=1 ack=11": {"duplicate_acks": [0, 1]},
    "> A seq=1 ack=1 len=10, > A seq=11 ack=1 len=10, < A seq=1 ack=11, < A seq=1 ack=11 win=900": {},
    "> A seq=1 ack=1 len=10, < A seq=1 ack=11 win=0, < A seq=1 ack=11 win=0": {"zero_windows": [0, 2]},
    "> A seq=1 ack=1 len=10, < A seq=1 ack=11, > A seq=10 ack=1, < A seq=1 ack=11": {},  # a keep-alive without payload
    "> A seq=1 ack=1 len=10, > A seq=11 ack=1 len=10, < A seq=1 ack=11, < A seq=1 ack=11, < A seq=1 ack=11, "
    "> A seq=11 ack=1 len=10": {"retransmitted": [1, 0], "sent_again": [1, 0], "duplicate_acks": [0, 2]},
}


@pytest.mark.parametrize("isn", [(1000, 5000), (2**32 - 6, 2**32 - 4)], ids=["plain", "wraps"])
def test_counts_are_those_of_wireshark(tmp_path: Path, isn: tuple[int, int]) -> None:
    """Where the definitions are the same, so are the numbers, wherever the sequence numbers wrap."""
    path = tmp_path / "segments.pcap"
    ports = range(40000, 40000 + len(SAME))
    frames = [frame for port, script in zip(ports, SAME, strict=True) for frame in _behind_shake(script, isn, port)]
    path.write_bytes(capture(sorted(frames, key=lambda frame: frame.time or 0)))
    for found in (tshark.streams(path), tshark.flows(path)):
        by_port = {max(port for _, port in ends): stream for (_, ends), stream in found}
        counts = [{name: by_port[port].of(name) for name in tshark.COUNTS} for port in ports]
        assert [{name: n for name, n in told.items() if any(n)} for told in counts] == list(SAME.values())
    assert tshark.compare([path]).whole == len(SAME)


def _behind_shake(script: str, isn: tuple[int, int], port: int) -> list[Sent]:
    return segments(f"{SHAKE}, {script}", isn, (port, 443))


DIFFERENT = {
    SHAKE + ", > A seq=11 ack=1 len=10, > A seq=1 ack=1 len=10 at=0.05": tshark.SENT_AGAIN,
    SHAKE + ", > A seq=1 ack=1 len=10, > A seq=6 ack=1 len=10": tshark.SENT_AGAIN,  # partly new
    SHAKE + ", > A seq=1 ack=1 len=10, < A seq=1 ack=11, > A seq=10 ack=1 len=1": tshark.SENT_AGAIN,  # a keep-alive
    SHAKE + ", > A seq=11 ack=1 len=9, > A seq=31 ack=1 len=9, > A seq=51 ack=1 len=9, > A seq=1 ack=1 len=10": (
        tshark.THIRD_HOLE
    ),
    SHAKE + ", > A seq=1 ack=1 len=10, < A seq=1 ack=11, < A seq=1 ack=11": tshark.EQUAL_ACKS,
    "> A seq=0 ack=1, < A seq=1 ack=1": tshark.FIRST_KEEP_ALIVE,
}


@pytest.mark.parametrize("script", DIFFERENT)
def test_differences_have_a_cause(tmp_path: Path, script: str) -> None:
    """The fewest segments that show each cause."""
    path = tmp_path / "segments.pcap"
    path.write_bytes(capture(segments(script)))
    agreement = tshark.compare([path])
    assert (agreement.compared, agreement.causes) == (1, {DIFFERENT[script]: 1})
