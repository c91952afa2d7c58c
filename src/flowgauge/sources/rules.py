"""RuleLabels: labels packets by rules, whose filters libpcap compiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowgauge.captureinfo import link_name
from flowgauge.errors import ConfigError
from flowgauge.kernels import filters as k
from flowgauge.kernels._external import bind_packet_filter
from flowgauge.kernels.packet import PacketBatch
from flowgauge.kernels.records import LATEST, NO_TIME
from flowgauge.labels.process import ProcessLabels
from flowgauge.labels.rules import LabelRule
from flowgauge.sources import libpcap
from flowgauge.sources.filters import check_expression, compile_code
from flowgauge.sources.libpcap import CompileError


class RuleLabels:
    """Gives each packet the label of the first rule that holds for it.

    Rules are compiled for each link type when that is met. Raises ConfigError for a filter that has no meaning for
    any link type, with the place of its rule, and MissingDependency without libpcap.
    """

    def __init__(self, rules: Sequence[LabelRule], labels: ProcessLabels) -> None:
        for rule in rules:
            try:
                check_expression(rule.expression)
            except ConfigError as error:
                raise ConfigError(f"{rule.place}: {error}") from None
        bind_packet_filter(libpcap.interpreter())
        self._rules = rules
        self._code = np.zeros(0, np.uint64)
        self._sets = np.full((2, 1 << 16), k.NOT_COMPILED)  # by byte order of the capture
        self._starts = np.zeros((0, len(rules)), np.int32)
        self._labels = np.array([labels.number(rule.label) for rule in rules], np.uint32)
        self._begins, self._ends = np.array([_bounds(rule) for rule in rules], np.int64).T.copy()

    def label(self, data: NDArray[np.uint8], batch: PacketBatch, begin: int, stop: int, big_endian: bool) -> str | None:
        """Label rows begin..stop, whose bytes lie in `data`; the message where a rule cannot be applied to one."""
        while begin < stop:
            begin = k.label_rows(data, batch, begin, stop, self._compiled(big_endian))
            if begin < stop and (fault := self._meet(int(batch.packets[begin].link), big_endian)):
                return fault
        return None

    def compile(self, data: NDArray[np.uint8], batch: PacketBatch) -> None:
        """Call the kernel for no rows."""
        k.label_rows(data, batch, 0, 0, self._compiled(False))

    def _compiled(self, big_endian: bool) -> k.Rules:
        sets = self._sets[int(big_endian)]
        return k.Rules(self._code, sets, self._starts, self._labels, self._begins, self._ends)

    def _meet(self, link: int, big_endian: bool) -> str | None:
        """Compile all rules for a link type; the message where that cannot be."""
        starts, codes, length = [], [self._code], len(self._code)
        for rule in self._rules:
            try:
                codes.append(compile_code(rule.expression, link, big_endian))
            except CompileError as error:
                return f"{rule.place}: the rule cannot be applied to {link_name(link)}: {error}"
            starts.append(length)
            length += len(codes[-1])
        self._sets[int(big_endian), link] = len(self._starts)
        self._starts = np.vstack((self._starts, np.array([starts], np.int32)))
        self._code = np.concatenate(codes)
        return None


def _bounds(rule: LabelRule) -> tuple[int, int]:
    """From when to when it holds, in ns; packets without a time are in none that has a bound."""
    bounded = rule.begin is not None or rule.end is not None
    begin = rule.begin if rule.begin is not None else int(NO_TIME) + bounded
    return begin, int(LATEST) if rule.end is None else rule.end
