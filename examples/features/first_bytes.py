"""The first bytes of the client's first payload: TLS begins with 22 3, HTTP with a letter, SSH with "SSH".

flowgauge extract examples/captures -o flows.csv --feature examples/features/first_bytes.py:first_bytes
"""

import flowgauge as fg

COUNT = 4


@fg.feature(columns={"first_bytes": fg.u8[COUNT], "is_tls": fg.boolean}, state={"seen": fg.boolean})
def first_bytes(flow, pkt, payload):
    """first four payload bytes of the client, and whether they begin a TLS handshake (RFC 8446)"""
    if flow.seen or pkt.direction != 0 or len(payload) == 0:
        return
    flow.seen = True
    for place in range(min(COUNT, len(payload))):
        flow.first_bytes[place] = payload[place]
    flow.is_tls = len(payload) > 2 and payload[0] == 22 and payload[1] == 3
