"""How bursty a flow is: video arrives in bursts, calls come evenly.

flowgauge extract examples/captures -o flows.csv --feature examples/features/burstiness.py:burstiness
"""

import math

import flowgauge as fg


def deviation(count, total, squares):
    """Standard deviation from sums."""
    return math.sqrt(max(0.0, squares / count - (total / count) ** 2))


@fg.feature(
    columns={"burstiness": fg.f64},
    state={"gaps": fg.u32, "total": fg.f64, "squares": fg.f64},
)
def burstiness(flow, pkt):
    """(σ − μ) / (σ + μ) of inter-arrival times: −1 for a clock, 0 for chance, 1 for bursts (Goh and Barabási 2008)"""
    if pkt.gap >= 0:
        seconds = pkt.gap / 1e9
        flow.gaps += 1
        flow.total += seconds
        flow.squares += seconds * seconds


@burstiness.expire
def _(flow):
    if flow.total > 0.0:
        mean = flow.total / flow.gaps
        spread = deviation(flow.gaps, flow.total, flow.squares)
        flow.burstiness = (spread - mean) / (spread + mean)
