"""FrameLabels: labels of frames by what a capture has put around them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.crc import CRC_TABLE
from flowgauge.kernels.envelopes import label_frames
from flowgauge.kernels.packet import PacketBatch
from flowgauge.labels.envelopes import of_pktap, of_trailer
from flowgauge.labels.process import ProcessLabels
from flowgauge.sources.memo import LabelMemo


class Enveloped(Protocol):
    """Tells what is around the frames of a capture: PCAPdroid's trailers, or PKTAP headers of some interface."""

    @property
    def has_trailers(self) -> bool: ...

    @property
    def has_pktap(self) -> bool: ...


class FrameLabels:
    """Labels the frames of one capture, and cuts off their trailers, also where no `labels` are asked for."""

    def __init__(self, labels: ProcessLabels | None) -> None:
        self._labels = labels
        self._memo: LabelMemo | None = None

    def label(self, data: NDArray[np.uint8], batch: PacketBatch, begin: int, stop: int, around: Enveloped) -> None:
        """Look at rows begin..stop, whose bytes lie in `data`."""
        trailers = around.has_trailers
        if not trailers and (self._labels is None or not around.has_pktap):
            return
        memo = self._memo = self._memo or LabelMemo(self._labels is not None)
        while (begin := label_frames(data, batch, begin, stop, memo.arrays, trailers, CRC_TABLE)) < stop:
            self._look_up(memo, trailers)

    def compile(self, data: NDArray[np.uint8], batch: PacketBatch) -> None:
        """Call the kernel for no rows."""
        label_frames(data, batch, 0, 0, LabelMemo(False).arrays, False, CRC_TABLE)

    def _look_up(self, memo: LabelMemo, trailers: bool) -> None:
        assert self._labels is not None
        key = memo.key.astype("<u4").tobytes()
        label = of_trailer(key) if trailers else of_pktap(key)
        memo.add([(0, self._labels.number(label))])
