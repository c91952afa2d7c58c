"""Looking at the flows that a meter has open."""

from __future__ import annotations

import io

import captures
import packets
from flowgauge.capture.openflows import OpenFlow, Watch
from flowgauge.decode import Decoder
from flowgauge.kernels.packet import make_batch
from flowgauge.meter import Meter
from flowgauge.sources.capture import open_capture
from flowgauge.sources.clock import Clock
from packets import A6, B6, A, B


class Feed:
    """A meter that is fed frames now and then."""

    def __init__(self) -> None:
        self.meter, self._decoder, self._clock = Meter(), Decoder(), Clock()
        self.meter.begin_capture("wire")

    def send(self, second: float, *frames: bytes) -> None:
        content = captures.write_pcap([packets.sent(second, frame) for frame in frames])
        batch = make_batch(64)
        with open_capture(io.BytesIO(content), self._clock) as capture:
            rows = capture.read(batch)
            self._decoder.decode(capture.buffer, batch, 0, rows)
            self.meter.feed(batch, rows, capture.buffer)


def frame(port: int, size: int, *, back: bool = False) -> bytes:
    ends = (B, A) if back else (A, B)
    ports = (53, port) if back else (port, 53)
    return packets.eth(packets.ip4(packets.udp(*ports, bytes(size)), *ends))


def test_the_busiest_since_the_last_look_come_first() -> None:
    """Flows are in order of the bytes since then, not of all that they ever had; what is silent comes last."""
    feed = Feed()
    watch = Watch(feed.meter)
    assert watch.busiest(5) == []
    feed.send(0, frame(1000, 900), frame(2000, 100), frame(3000, 10))
    first = watch.busiest(2)  # the third is looked at, too, though it is not shown
    assert [(flow.client, flow.recent) for flow in first] == [(f"{A}:1000", 942), (f"{A}:2000", 142)]
    feed.send(2, frame(2000, 200, back=True), frame(3000, 50))
    second = watch.busiest(5)
    assert [(flow.client, flow.recent) for flow in second] == [
        (f"{A}:2000", 242),
        (f"{A}:3000", 92),
        (f"{A}:1000", 0),
    ]
    assert second[0] == OpenFlow(f"{A}:2000", f"{B}:53", "udp", 142 + 242, 2, 242, 2.0)
    assert [flow.recent for flow in watch.busiest(5)] == [0, 0, 0]


def test_a_flow_in_the_place_of_another_begins_at_nothing() -> None:
    """A new flow that gets the place of one that has left has only its own bytes."""
    feed = Feed()
    watch = Watch(feed.meter)
    syn = packets.eth(packets.ip4(packets.tcp(1000, 80, "S")))
    feed.send(0, syn)
    [flow] = watch.busiest(5)
    assert (flow.protocol, flow.recent) == ("tcp", len(syn))
    feed.send(300, frame(4000, 10))
    [flow] = watch.busiest(5)
    assert (flow.client, flow.recent, flow.bytes) == (f"{A}:4000", 52, 52)


def test_addresses_as_in_urls() -> None:
    """IPv6 addresses are in brackets where a port follows; protocols without a name are numbers."""
    feed = Feed()
    feed.send(
        0,
        packets.eth(packets.ip6(packets.udp(5, 6), A6, B6)),
        packets.eth(packets.ip4(packets.other(200, b"x"), A, B)),
    )
    found = {(flow.client, flow.server, flow.protocol) for flow in Watch(feed.meter).busiest(5)}
    assert found == {(f"[{A6}]:5", f"[{B6}]:6", "udp"), (A, B, "200")}
