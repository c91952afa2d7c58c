"""Compile every kernel of the main path by metering a few packets made here.

Where there are two processors, a second process compiles beside this one: both take pieces off a list, from its two
ends, and put what they compile into the cache.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flowgauge.config import DEFAULT_FEATURES, MeterConfig

_ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2])  # RFC 5737
_MAC_ADDRESSES = bytes(12)
_FORMATS = ("csv", "jsonl", "parquet", "arrow")
_LONG = ("names", "tcp", "distribution")  # groups that take longest


def compile_all(groups: Iterable[str] = DEFAULT_FEATURES) -> None:
    """Run packets through every source, stage and sink that has kernels, with these feature groups."""
    from flowgauge.kernels import lifetime
    from flowgauge.meter import Meter
    from flowgauge.run import extract
    from flowgauge.sources import libpcap

    features = tuple(groups)
    with _uncollected():
        _compile_beside(features)
        captures = (opened(content) for opened in (io.BytesIO, _file) for content in (_pcap(), _pcapng()))
        for capture, format in zip(captures, _FORMATS, strict=True):
            with capture as source:
                extract(source, io.BytesIO(), format=format, features=features, warm=False)
        options: dict[str, Any] = {"dedup": 1.0, "reorder": 1.0, "preset": "nfstream"}
        if libpcap.is_installed():
            options["filter"] = "ip"
        extract(io.BytesIO(_pcap()), io.BytesIO(), format=_FORMATS[0], warm=False, **options)
        lifetime.rebuild_index(Meter().table.arrays)
        compile_packets()
        if "process" in features:
            compile_labels()
        if "names" in features:
            from flowgauge.features.names import compile_rest

            compile_rest()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Compiling makes millions of objects, and looking for garbage among them takes a twentieth of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _compile_beside(features: tuple[str, ...]) -> None:
    """Compile the pieces in two processes, where there is a cache for what they make and a processor for each."""
    from flowgauge.kernels._cache import cache_folder
    from flowgauge.kernels._jit import JIT

    if not JIT or cache_folder() is None or _processors() < 2:
        return
    with tempfile.TemporaryDirectory() as claims:
        code = f"from flowgauge.warmup import compile_from_end; compile_from_end({features!r}, {claims!r})"
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            _compile(_pieces(features), claims)  # whatever the other one does not compile, this process does later


def compile_from_end(features: tuple[str, ...], claims: str) -> None:
    """Compile pieces from the last one on, until they meet what another process compiles from the first one on."""
    with _uncollected():
        _compile(reversed(_pieces(features)), claims)


def _pieces(features: tuple[str, ...]) -> list[tuple[str, Callable[[], None]]]:
    """What can be compiled by itself, with names for files; what takes long is near the ends."""
    long = [group for group in _LONG if group in features]
    groups = [*long, *(group for group in features if group not in (*_LONG, "core"))]
    pieces: list[tuple[str, Callable[[], None]]] = [("meter", compile_meter)]
    pieces += [(group, functools.partial(compile_group, group)) for group in groups]
    return [*pieces, ("packets", compile_packets), ("sinks", compile_sinks), ("sources", compile_sources)]


def _compile(pieces: Iterable[tuple[str, Callable[[], None]]], claims: str) -> None:
    for name, compile_piece in pieces:
        try:
            open(os.path.join(claims, name), "x").close()
        except FileExistsError:
            return
        compile_piece()


def _processors() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compile_sources() -> None:
    """Read and decode a capture of each container, of bytes and of a file."""
    from flowgauge.decode import Decoder
    from flowgauge.duplicates import Estimate
    from flowgauge.kernels.packet import make_batch
    from flowgauge.sources.capture import open_capture

    compile_recording()
    for content in (_pcap(), _pcapng()):
        for opened in (io.BytesIO, _file):
            batch, decoder = make_batch(), Decoder()
            with opened(content) as source, open_capture(source) as capture:
                rows = decoder.fill(capture, batch)
                Estimate().look(capture.buffer, batch, rows, decoder)


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[Any]:
    """An unbuffered file of this machine, which other kernels read than bytes."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(content)
        file.seek(0)
        yield file


def load_metering(**options: Any) -> None:
    """Load what a run with these options calls, a user's features among it, by extracting a few packets."""
    from flowgauge.run import extract
    from flowgauge.sample import sample_capture

    extract(io.BytesIO(sample_capture()), io.BytesIO(), warm=False, **options)


def compile_labels() -> None:
    """Label no frames: by what is around them and, where there is libpcap, by a rule."""
    import numpy as np

    from flowgauge.kernels.packet import make_batch
    from flowgauge.labels.process import RULE, ProcessLabel, ProcessLabels
    from flowgauge.labels.rules import LabelRule
    from flowgauge.sources import libpcap
    from flowgauge.sources.envelopes import FrameLabels
    from flowgauge.sources.rules import RuleLabels

    batch, data, labels = make_batch(1), np.zeros(64, np.uint8), ProcessLabels()
    FrameLabels(labels).compile(data, batch)
    if libpcap.is_installed():
        RuleLabels([LabelRule("", None, None, ProcessLabel(RULE, ""), "")], labels).compile(data, batch)


def compile_ring() -> None:
    """Walk a packet ring that holds nothing."""
    import numpy as np

    from flowgauge.kernels.packet import make_batch
    from flowgauge.kernels.ring import CURSOR, walk_ring

    data, cursor = np.zeros(64, np.uint8), np.zeros(1, CURSOR).view(np.recarray)
    walk_ring(make_batch(1), data, data.view(np.uint32), cursor, np.uint64(0))


def compile_recording() -> None:
    """Take frames from a ring that holds nothing, and write none of them."""
    import numpy as np

    from flowgauge.kernels.blocks import write_blocks
    from flowgauge.kernels.clock import COUNTERS, run_clock
    from flowgauge.kernels.packet import make_batch
    from flowgauge.sources.clock import Clock

    compile_ring()
    batch, data = make_batch(1), np.zeros(64, np.uint8)
    run_clock(batch, 0, 0, True, Clock().state, np.zeros(len(COUNTERS), np.int64))
    write_blocks(batch, 0, 0, data, data, data.view(np.uint32))


def compile_meter() -> None:
    """Meter packets that were not decoded."""
    import numpy as np

    from flowgauge.kernels.packet import FIRST_FRAGMENT, TAIL_FRAGMENT, make_batch
    from flowgauge.kernels.shipping import take_bytes
    from flowgauge.meter import Meter
    from flowgauge.shards import ShardedMeter

    batch = make_batch()
    rows = batch.packets[:4]
    rows.ip_version, rows.protocol, rows.src_lo, rows.dst_lo = 4, 17, 1, (2, 2, 2, 3)
    rows.fragment[1], rows.fragment[2] = TAIL_FRAGMENT, FIRST_FRAGMENT
    rows.tunnel_depth[3] = 1
    take_bytes(batch, 0, len(rows), np.zeros(64, np.uint8), 0, np.zeros(64, np.uint8), 0)
    config = MeterConfig(features=("core",))
    for meter in (Meter(config), ShardedMeter(1, config)):
        meter.begin_capture("")
        meter.feed(batch, len(rows), np.zeros(64, np.uint8))
        meter.end_capture()
        list(meter.flush())
        meter.close()


def compile_packets() -> None:
    """Make a packet table of packets that were not decoded, and let a table of values grow."""
    from flowgauge.kernels.codes import put_again
    from flowgauge.kernels.packet import make_batch
    from flowgauge.packettable.build import Numbers, PacketBuilder
    from flowgauge.packettable.columns import packet_columns, packet_schema

    columns = packet_columns()
    builder = PacketBuilder(columns, packet_schema(columns), rows=1)
    builder.begin_capture("", None)
    list(builder.feed(make_batch(1), 1))
    put_again(Numbers(1).arrays)


def compile_group(name: str) -> None:
    """Update a feature group by a packet of no flow, and finish an empty record."""
    import numpy as np

    from flowgauge.features import make_features, with_states
    from flowgauge.kernels.packet import make_batch
    from flowgauge.memory import Memory
    from flowgauge.table import FlowTable

    config = MeterConfig(features=(name,))
    features, memory = make_features(config), Memory()
    table = FlowTable(config, [layout for feature in features for layout in feature.states])
    batch = make_batch(1)
    batch.packets.slot = -1
    shared = {"flows": table.flows, "data": np.zeros(64, np.uint8)}
    for feature, own in with_states(features, table.states):
        feature.update(batch, 0, 1, *own, *map(shared.get, feature.takes))
    flows, states, _ = table.take(np.zeros(1, np.int32), memory)
    for feature, own in with_states(features, states):
        feature.finalize(*own, flows, memory)


def compile_sinks() -> None:
    """Write a record of nothing in every format."""
    import pyarrow as pa

    from flowgauge.schema import arrow_schema, native_columns
    from flowgauge.sinks import open_sink

    schema = arrow_schema(native_columns(MeterConfig()))
    batch = pa.RecordBatch.from_pylist([{}], schema)
    for format in _FORMATS:
        with open_sink(io.BytesIO(), format=format, schema=schema) as sink:
            sink.write(batch)


def _frames() -> list[bytes]:
    """A UDP packet, one in two fragments of which the tail comes first, and one behind a label."""
    datagram = struct.pack(">HHHH", 1024, 53, 32, 0) + bytes(24)
    whole = _ipv4(datagram, 0)
    head, tail = _ipv4(datagram[:16], 0x2000), _ipv4(datagram[16:], 2)
    plain = [_MAC_ADDRESSES + b"\x08\x00" + packet for packet in (whole, tail, head)]
    # Between other addresses, so that it opens a flow.
    return [*plain, _MAC_ADDRESSES + b"\x88\x47\x00\x01\x01\x40" + whole[:12] + _ADDRESSES[::-1] + datagram]


def _ipv4(data: bytes, fragment: int) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 1, fragment, 64, 17, 0)
    return header + _ADDRESSES + data


def _pcap() -> bytes:
    records = (struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in _frames())
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


def _pcapng() -> bytes:
    section = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = _block(1, struct.pack("<HHI", 1, 0, 65535))
    packets = (_block(6, struct.pack("<IIIII", 0, 0, 1, len(frame), len(frame)) + frame) for frame in _frames())
    return section + interface + b"".join(packets)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
