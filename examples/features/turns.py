"""How often the talk goes back and forth: a request and its answer are two turns, whatever their packets.

flowgauge extract examples/captures -o flows.csv --feature examples/features/turns.py:turns
"""

import flowgauge as fg

NOBODY = 2


@fg.feature(columns={"turns": fg.u32, "longest_turn": fg.u64}, state={"speaker": fg.u8, "turn": fg.u64})
def turns(flow, pkt):
    """runs of packets with payload in one direction: their number, and the payload bytes of the longest"""
    if pkt.payload_len == 0:
        return
    if pkt.direction != flow.speaker:
        flow.speaker = pkt.direction
        flow.turns += 1
        flow.turn = 0
    flow.turn += pkt.payload_len
    flow.longest_turn = max(flow.longest_turn, flow.turn)


@turns.init
def _(flow):
    flow.speaker = NOBODY
