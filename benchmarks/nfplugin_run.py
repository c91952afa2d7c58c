"""NFStream with a plugin that counts small packets by direction, as a script: the feature of library.py.

``python benchmarks/nfplugin_run.py capture.pcap`` — it prints packets, flows and seconds as JSON. NFStream starts
processes, so this must be a module with a guarded main. It is here to be measured against.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from nfstream import NFPlugin, NFStreamer


class Tiny(NFPlugin):  # type: ignore[misc]
    """Packets with less than 64 bytes of payload."""

    def on_init(self, packet: Any, flow: Any) -> None:
        flow.udps.tiny = [0, 0]
        self.on_update(packet, flow)

    def on_update(self, packet: Any, flow: Any) -> None:
        if packet.payload_size < 64:
            flow.udps.tiny[packet.direction] += 1


def main(capture: str) -> None:
    begin = time.perf_counter()
    packets = flows = 0
    streamer = NFStreamer(source=capture, statistical_analysis=True, n_dissections=0, n_meters=1, udps=Tiny())
    for flow in streamer:
        packets, flows = packets + flow.bidirectional_packets, flows + 1
    print(json.dumps({"packets": packets, "flows": flows, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    main(*sys.argv[1:])
