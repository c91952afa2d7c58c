"""Packet rings of the system itself: two that share an interface, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowgauge.capture.privilege import open_packet_socket
from flowgauge.sources.live import LiveCapture
from flowgauge.sources.ring import Ring
from livelab import THERE, THERE6, Wire, wire
from netlab import until

pytestmark = pytest.mark.netns

# Two rings of one group: what each sees of the traffic, as (ends in order, number of the datagram).
SHARE = """
import json, sys, time
from flowgauge.capture.privilege import open_packet_socket
from flowgauge.decode import Decoder
from flowgauge.kernels.packet import METERED, make_batch
from flowgauge.sources.clock import Clock
from flowgauge.sources.live import LiveCapture
from flowgauge.sources.ring import Ring

sources = [LiveCapture(Ring(open_packet_socket("w0"), "w0", size=8 << 20, fanout=7)) for _ in range(2)]
batch, decoder, seen = make_batch(), Decoder(), [[], []]
for source in sources:
    source.begin(Clock())
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for source, found in zip(sources, seen):
        for rows in source.steps(batch):
            decoder.decode(source.buffer, batch, 0, rows)
            for row in batch.packets[:rows]:
                ends = sorted(((int(row.src_lo), int(row.src_port)), (int(row.dst_lo), int(row.dst_port))))
                if row.reason == METERED and row.protocol == 17:
                    found.append((ends, int(row.src_port), int(row.frame_len), int(row.time)))
print(json.dumps([seen, [source.counters["lost"] for source in sources]]))
"""
ECHO = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", 7777))
    while True:
        data, sender = server.recvfrom(2000)
        server.sendto(data, sender)
"""
MANY = """
import socket, sys, time
for port in range(20000, 20060):
    for family, address in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.bind(("", port))
            client.settimeout(2)
            for size in range(10):
                client.sendto(bytes(100 + size), (address, 7777))
                client.recv(2000)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("rings")) as built:
        built.there.start(sys.executable, "-c", ECHO)
        until(lambda: built.there.sh("ss", "-Hlun", "sport = 7777").strip(), "echo")
        yield built


def test_rings_of_a_group_share_the_flows(net: Wire, tmp_path: Path) -> None:
    """Every packet is in exactly one of two rings, and both directions of a flow in the same one."""
    net.send(7777, 1)  # neighbours know each other
    script = tmp_path / "share.py"
    script.write_text(SHARE)
    output = tmp_path / "seen"
    with open(output, "wb") as file:
        process = subprocess.Popen(
            ["ip", "netns", "exec", net.here.name, sys.executable, str(script), "8"], stdout=file
        )
        until(lambda: b"ready" in output.read_bytes(), "rings", 120)
        net.here.sh(sys.executable, "-c", MANY, THERE, THERE6)
        assert process.wait(60) == 0
    seen, lost = json.loads(output.read_text().splitlines()[1])
    first, second = ({json.dumps(packet[0]) for packet in packets} for packets in seen)
    assert lost == [0, 0]
    assert len(seen[0]) + len(seen[1]) == 60 * 2 * 10 * 2
    assert len({json.dumps(packet) for packets in seen for packet in packets}) == 60 * 2 * 10 * 2
    assert not first & second
    assert len(first) + len(second) == 120
    assert min(len(first), len(second)) > 20


def test_a_ring_before_it_begins_has_counted_nothing(net: Wire) -> None:
    """What is closed before it was mapped says nothing wrong."""
    with LiveCapture(Ring(open_packet_socket("lo"), "lo", size=1)) as source:
        assert source.ring.blocks == 2
        assert source.counters["lost"] == 0
