"""Small packets: keep-alives, acknowledgements and keystrokes tell remote shells and chats from downloads.

flowgauge extract examples/captures -o flows.csv --feature examples/features/tiny_packets.py:tiny
"""

import flowgauge as fg


@fg.feature(columns={"tiny_packets": fg.u32}, params={"limit": 64}, per_direction=True)
def tiny(flow, pkt, params):
    """packets with less payload than the parameter `limit` (64 bytes)"""
    if pkt.payload_len < params.limit:
        flow.tiny_packets += 1
