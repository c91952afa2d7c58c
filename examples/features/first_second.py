"""What a flow carried in its first second: early traffic is enough for many classifiers.

flowgauge extract examples/captures -o flows.csv --feature 'examples/features/first_second.py:first_second(seconds=0.5)'
"""

import flowgauge as fg

NANOSECONDS = 1_000_000_000


@fg.feature(columns={"early_bytes": fg.u64, "early_packets": fg.u32}, params={"seconds": 1.0}, per_direction=True)
def first_second(flow, pkt, core, params):
    """IP bytes and packets in the first `seconds` (1) of the record"""
    if pkt.time - core.start < params.seconds * NANOSECONDS:
        flow.early_bytes += pkt.ip_len
        flow.early_packets += 1
