"""Process labels in headers and trailers of a capture: Apple's PKTAP, PCAPdroid's trailer."""

from __future__ import annotations

import struct

from flowgauge.labels.process import PCAPDROID, PKTAP, ProcessLabel, clean

PKTAP_KEY = struct.Struct("<I20sI20s")
"""What is looked at of a PKTAP header: pid and command, then those of the effective process."""

TRAILER_KEY = struct.Struct(">i20s")
"""What is looked at of a trailer: user id and app name."""


def of_pktap(key: bytes) -> ProcessLabel | None:
    """The process on whose behalf the packet was sent, else the one that sent it."""
    pid, name, effective_pid, effective_name = PKTAP_KEY.unpack(key)
    for number, text in ((effective_pid, clean(effective_name)), (pid, clean(name))):
        if text is not None or 0 < number < 1 << 31:
            return ProcessLabel(PKTAP, text, text, number if 0 < number < 1 << 31 else None)
    return None


def of_trailer(key: bytes) -> ProcessLabel | None:
    """The app that PCAPdroid names; user id -1 is none."""
    uid, name = TRAILER_KEY.unpack(key)
    label = ProcessLabel(PCAPDROID, app=clean(name), uid=uid if uid >= 0 else None)
    return None if label.says_nothing else label
