"""The flows that a meter has open now, busiest first: for those who watch it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowgauge.kernels.state import ACTIVE

if TYPE_CHECKING:
    from flowgauge.meter import Meter

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp6", 132: "sctp"}


class OpenFlow(NamedTuple):
    """A record that goes on: `recent` are its bytes on the wire since the last look."""

    client: str
    server: str
    protocol: str
    bytes: int
    packets: int
    recent: int
    seconds: float


class Watch:
    """Looks at the open flows of a meter, again and again."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)  # by slot: what was there at the last look
        self._bytes: NDArray[np.int64] = np.zeros(0, np.int64)

    def busiest(self, count: int) -> list[OpenFlow]:
        """Those with the most bytes since the last look, up to `count`; without any, those with the most in all."""
        slots = self._slots()
        flows = self._meter.table.flows.view(np.ndarray)
        ids, total = flows["flow_id"][slots], flows["frame_bytes"][slots].sum(axis=1).astype(np.int64)
        self._grow(len(flows))
        recent = total - np.where(self._ids[slots] == ids, self._bytes[slots], 0)
        self._ids[slots], self._bytes[slots] = ids, total
        order = np.lexsort((total, recent))[::-1][:count]
        return [_described(flows[slots[place]], int(recent[place])) for place in order]

    def _slots(self) -> NDArray[np.int32]:
        """Of the records that go on."""
        table = self._meter.table
        keys = table.arrays.keys.view(np.ndarray)[: table.count("fresh_key")]
        active = keys["marks"] & ACTIVE != 0
        slots: NDArray[np.int32] = keys["slot"][active]
        return slots[slots >= 0]

    def _grow(self, rows: int) -> None:
        if len(self._ids) < rows:
            more = rows - len(self._ids)
            self._ids = np.concatenate((self._ids, np.full(more, -1, np.int64)))
            self._bytes = np.concatenate((self._bytes, np.zeros(more, np.int64)))


def _described(flow: Any, recent: int) -> OpenFlow:
    client, server = (
        _endpoint(flow["ip_version"], flow[f"{end}_hi"], flow[f"{end}_lo"], flow[f"{end}_port"])
        for end in ("client", "server")
    )
    protocol = int(flow["protocol"])
    return OpenFlow(
        client,
        server,
        _PROTOCOLS.get(protocol, str(protocol)),
        int(flow["frame_bytes"].sum()),
        int(flow["packets"].sum()),
        recent,
        int(flow["end"] - flow["start"]) / 1e9,
    )


def _endpoint(version: int, high: int, low: int, port: int) -> str:
    """Address and port, as in a URL."""
    number = int(high) << 64 | int(low)
    address = str(ipaddress.IPv4Address(int(low)) if version == 4 else ipaddress.IPv6Address(number))
    if not port:
        return address
    return f"{address}:{port}" if version == 4 else f"[{address}]:{port}"
