"""Packet filters over the frames of a batch: keep those that one selects, or label those that rules select."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._external import run_packet_filter
from flowgauge.kernels._jit import byte_kernel
from flowgauge.kernels.packet import I32, I64, U32, U64

U = np.uint64

NOT_COMPILED = np.int32(-1)
PACKETS, WIRE_BYTES = 0, 1


class Programs(NamedTuple):
    """A filter, compiled for the link types that were met."""

    code: U64  # struct bpf_insn of all programs, one behind the other
    starts: I32  # by LINKTYPE_ value: where its program begins, or NOT_COMPILED
    left_out: I64  # PACKETS and WIRE_BYTES


@byte_kernel
def keep_rows(data, p, kept, begin, stop, programs):
    """Move those of the rows begin..stop that pass to `kept` and behind; `data` holds the bytes.

    Returns (where the next one goes, first row that was not looked at, whose link type has no program yet).
    """
    for row in range(begin, stop):
        q = p.packets[row]
        start = programs.starts[q.link]
        if start == NOT_COMPILED:
            return kept, row
        if run_packet_filter(programs.code, start, data, U(q.offset), q.frame_len, q.caplen) == 0:
            programs.left_out[PACKETS] += 1
            programs.left_out[WIRE_BYTES] += q.frame_len
            continue
        if kept != row:
            to = p.packets[kept]
            to.time, to.record_offset, to.number = q.time, q.record_offset, q.number
            to.offset, to.caplen, to.frame_len, to.link = q.offset, q.caplen, q.frame_len, q.link
            to.label = q.label
        kept += 1
    return kept, stop


class Rules(NamedTuple):
    """Label rules, compiled for the link types that were met; the arrays behind `starts` have one value a rule."""

    code: U64  # struct bpf_insn of all programs, one behind the other
    sets: I32  # by LINKTYPE_ value: row of `starts`, or NOT_COMPILED
    starts: I32  # (set, rule): where the program begins
    labels: U32
    begins: I64  # ns: first and last moment at which the rule holds
    ends: I64


@byte_kernel
def label_rows(data, p, begin, stop, rules):
    """Give those of the rows begin..stop for which a rule holds the label of the first one; `data` holds the bytes.

    Returns the first row that was not looked at, whose link type has no programs yet.
    """
    for row in range(begin, stop):
        q = p.packets[row]
        programs = rules.sets[q.link]
        if programs == NOT_COMPILED:
            return row
        for rule in range(len(rules.labels)):
            if q.time < rules.begins[rule] or q.time > rules.ends[rule]:
                continue
            start = rules.starts[programs, rule]
            if run_packet_filter(rules.code, start, data, U(q.offset), q.frame_len, q.caplen) != 0:
                q.label = rules.labels[rule]
                break
    return stop
