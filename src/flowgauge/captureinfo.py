"""What is in a capture: container, links, packets, time span, sizes, and what became of each packet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO

import numpy as np

from flowgauge.decode import Decoder
from flowgauge.errors import UnsupportedLinkType
from flowgauge.kernels.link import LINK_NAMES
from flowgauge.kernels.packet import PacketBatch, make_batch
from flowgauge.labels import Labeller
from flowgauge.labels.inside import label_of
from flowgauge.sources.capture import Capture, open_capture
from flowgauge.sources.discover import display_name

# Link types that are met in the wild and not decoded, so that their name explains `unknown_link`.
_OTHER_LINK_NAMES = {
    147: "private use 0",
    189: "USB (Linux)",
    195: "802.15.4",
    220: "USB (Linux, padded)",
    249: "USB (USBPcap)",
    0xFFFF: "undefined interface",
}


@dataclass
class CaptureInfo:
    """One capture, read to its end. Times are ns since the epoch, sizes bytes; None: not known.

    `links` holds the packets of each link type, `interfaces` one line for each interface of the
    capture, `labels` what the label template reads off its name (None: it does not match), or without one the label
    inside (None: there is none).
    """

    name: str
    container: str = ""
    compression: str = ""
    interfaces: list[str] = field(default_factory=list)
    links: dict[str, int] = field(default_factory=dict)
    packets: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    stored_bytes: int | None = None
    captured_bytes: int = 0
    wire_bytes: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    damage: str | None = None
    labels: dict[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON-ready values."""
        return asdict(self)


def info(source: str | os.PathLike[str] | BinaryIO, labeller: Labeller | None = None) -> CaptureInfo:
    """Read a capture to its end and say what is in it; raises SourceError where it cannot be read."""
    with open_capture(source) as capture:
        found = CaptureInfo(display_name(source), capture.container, capture.compression, stored_bytes=capture.size)
        decoder = Decoder()
        batch = make_batch()
        while rows := capture.read(batch):
            decoder.decode(capture.buffer, batch, 0, rows)
            _add(found, batch, rows)
        found.wire_bytes = decoder.wire_bytes
        found.reasons = {name: count for name, count in decoder.counts().items() if count}
        counters = {**capture.counters, "ip_length_lies": decoder.length_lies}
        found.counters = {name: count for name, count in counters.items() if count}
        found.interfaces = _interfaces(capture)
        found.damage = capture.damage
        found.labels = label_of(capture.inside) if labeller is None else labeller.match(found.name)
    return found


def link_name(link: int) -> str:
    """The name of a LINKTYPE_ number."""
    return LINK_NAMES.get(link) or _OTHER_LINK_NAMES.get(link) or f"link type {link}"


def undecodable(name: str, links: Iterable[int]) -> UnsupportedLinkType:
    """What is wrong with a capture that has only link types that are not decoded."""
    names = ", ".join(map(link_name, sorted(set(links))))
    return UnsupportedLinkType(f"{name}: {names} is not decoded; its packets are counted as unknown_link")


def utc(time_ns: int) -> str:
    """A time as ISO 8601 in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def _add(found: CaptureInfo, batch: PacketBatch, rows: int) -> None:
    packets = batch.packets[:rows]
    first, last = int(packets["time"].min()), int(packets["time"].max())
    found.first_ns = first if found.first_ns is None else min(first, found.first_ns)
    found.last_ns = last if found.last_ns is None else max(last, found.last_ns)
    found.packets += rows
    found.captured_bytes += int(packets["caplen"].sum(dtype=np.uint64))
    for link, count in zip(*np.unique(packets["link"], return_counts=True), strict=True):
        name = link_name(int(link))
        found.links[name] = found.links.get(name, 0) + int(count)


def _interfaces(capture: Capture) -> list[str]:
    lines = []
    for interface in capture.interfaces:
        limit = f"at most {interface.snaplen} bytes a packet" if interface.snaplen else "packets of any length"
        pieces = (interface.name, link_name(interface.link), limit, interface.resolution)
        lines.append(", ".join(piece for piece in pieces if piece))
    return lines
