"""Who wins where several say what a flow is: the one place that decides it.

From the first to the last: rules, what packets say, the label of the whole capture. Between the first two, the number
of a record has chosen already: see flowgauge.features.process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flowgauge.labels.process import ProcessLabel

APP = "app"


class Decided(NamedTuple):
    """Values of the columns of group `process`, and of `app`."""

    app: str | None = None
    process: str | None = None
    pid: int | None = None
    uid: int | None = None
    sample: str | None = None
    label_by: str | None = None


def decide(packets: ProcessLabel | None, capture: Mapping[str, str], capture_by: str) -> Decided:
    """What holds for the flows of a capture with these labels, said by `capture_by`, whose packets say `packets`.

    `label_by` is who gave the app; where nobody did, who gave the rest.
    """
    of_capture = capture.get(APP)
    if packets is None:
        return Decided(of_capture, label_by=capture_by if capture else None)
    by = capture_by if packets.app is None and of_capture is not None else packets.by
    app = of_capture if packets.app is None else packets.app
    return Decided(app, packets.process, packets.pid, packets.uid, packets.sample, by)
