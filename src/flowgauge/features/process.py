"""Group `process`: which process a flow belongs to, by what its packets say of themselves or rules say of them.

The first packet that says so decides, but rules win over what packets say. The label goes on in the next part of a
flow. Its number becomes columns in the record builder, which knows the labels.
"""

from __future__ import annotations

import numpy as np

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Layout, Values, look_ahead, state_dtype
from flowgauge.kernels._jit import kernel
from flowgauge.kernels.packet import CONTINUES, FIRST_RULE
from flowgauge.memory import Memory

STATE = state_dtype(
    [
        ("labelled", np.int64),  # packets with a label
        ("agreeing", np.int64),  # those with the record's
        ("label", np.uint32),  # its number, 0 without one
    ]
)


@kernel
def update(p, begin, stop, state):
    for i in range(begin, stop):
        look_ahead(p, i, stop, state)
        q = p.packets[i]
        if q.slot < 0:
            continue
        f = state[q.slot]
        if q.begins & CONTINUES:
            f.label = state[q.previous].label
        if q.label == 0:
            continue
        f.labelled += 1
        if f.label == 0 or f.label < FIRST_RULE <= q.label:
            f.label = q.label
            f.agreeing = 0
        f.agreeing += f.label == q.label


def finalize(state: Array, flows: Array, memory: Memory) -> dict[str, Values]:
    """`process_label` holds the numbers of the labels: no column of the table."""
    return {
        "process_label": (state["label"], None),
        "label_conflicts": (state["labelled"] - state["agreeing"], None),
    }


def feature(config: MeterConfig) -> Feature:
    """The group; it has no options."""
    return Feature("process", (Layout(STATE),), update, finalize)
