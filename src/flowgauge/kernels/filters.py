"""Keep the frames that a packet filter selects, before anything else looks at them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flowgauge.kernels._jit import byte_kernel, run_packet_filter
from flowgauge.kernels.packet import I32, I64, U64

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
