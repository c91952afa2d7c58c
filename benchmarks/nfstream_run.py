"""NFStream with its statistics and without packet inspection, as a script.

``python benchmarks/nfstream_run.py METERS capture.pcap flows.csv`` — METERS is the number of meter
processes (0: NFStream's own choice). NFStream starts processes, so this must be a module with a
guarded main. It is here to be measured against.
"""

from __future__ import annotations

import sys

from nfstream import NFStreamer


def main(meters: str, capture: str, output: str) -> None:
    streamer = NFStreamer(source=capture, statistical_analysis=True, n_dissections=0, n_meters=int(meters))
    print(f"{streamer.to_csv(output)} flows")


if __name__ == "__main__":
    main(*sys.argv[1:])
