"""Background: flows of a capture that are not of what was done in it.

A recording with a baseline has two lists inside: flows that were open before it began, and servers that the idle client
talked to. The column `background` says of each flow which of them it is in, `open` before `baseline`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

COLUMNS = ("protocol", "client_ip", "client_port", "server_ip", "server_port", "end_reason")
OPEN, BASELINE = "open", "baseline"
_CLOSED = ("fin", "rst")
_MOST = 1000  # flows and servers in a capture
_MOST_BYTES = 24_000  # of either list: both are in one option of at most 65,535 bytes
_REMEMBERED = 100_000

Endpoint = tuple[int, int, int]
"""IP version, address and port."""

Flow = tuple[int, Endpoint, Endpoint]
"""Protocol and both endpoints, the lower one first."""

Server = tuple[int, Endpoint]


def _flow(protocol: int, one: Endpoint, other: Endpoint) -> Flow:
    return (protocol, one, other) if one <= other else (protocol, other, one)


class Background:
    """Collects flows while nothing is done, and before each take."""

    def __init__(self) -> None:
        self._open: dict[Flow, None] = {}
        self._servers: dict[Server, None] = {}

    def look(self, records: Mapping[str, list[Any]], idle: bool) -> None:
        """Values of COLUMNS of native records; `idle` are those of the baseline."""
        for protocol, client_ip, client_port, server_ip, server_port, ended in zip(
            *(records[name] for name in COLUMNS), strict=True
        ):
            client, server = _endpoint(client_ip, client_port), _endpoint(server_ip, server_port)
            flow = _flow(protocol, client, server)
            self._open.pop(flow, None)
            if ended not in _CLOSED:
                self._open[flow] = None
            if idle:
                self._servers[protocol, server] = None
        _forget(self._open)
        _forget(self._servers)

    def listed(self) -> dict[str, Any]:
        """Both lists, as they are written into a capture; the latest where there are too many, and how many are not."""
        flows = [[protocol, *_texts(one), *_texts(other)] for protocol, one, other in reversed(self._open)]
        servers = [[protocol, *_texts(server)] for protocol, server in reversed(self._servers)]
        kept = {OPEN: list(_some(flows)), BASELINE: list(_some(servers))}
        left_out = len(flows) + len(servers) - sum(map(len, kept.values()))
        return kept | ({"left_out": left_out} if left_out else {})


def _forget(known: dict[Any, None]) -> None:
    """Leave the latest that are remembered."""
    for entry in list(islice(known, max(0, len(known) - _REMEMBERED))):
        del known[entry]


def _some(entries: Iterable[Any]) -> Iterator[Any]:
    """The first of them that have room."""
    room = _MOST_BYTES
    for number, entry in enumerate(entries):
        room -= len(json.dumps(entry)) + 2
        if number == _MOST or room < 0:
            return
        yield entry


def _endpoint(address: str, port: int | None) -> Endpoint:
    found = ipaddress.ip_address(address)
    return found.version, int(found), port or 0


def _texts(endpoint: Endpoint) -> tuple[str, int]:
    version, address, port = endpoint
    return str(ipaddress.IPv4Address(address) if version == 4 else ipaddress.IPv6Address(address)), port


class Marks:
    """The `lists` of a capture, to look flows up in; what in them makes no sense is passed over."""

    def __init__(self, background: Any) -> None:
        self.lists = lists = background if isinstance(background, dict) else {}
        self._open = {flow for entry in _entries(lists, OPEN) if (flow := _read_flow(entry))}
        self._servers = {server for entry in _entries(lists, BASELINE) if (server := _read_server(entry))}

    def of(self, protocol: int, client: Endpoint, server: Endpoint) -> str | None:
        """`open`, `baseline` or None."""
        if _flow(protocol, client, server) in self._open:
            return OPEN
        return BASELINE if (protocol, server) in self._servers else None


def _entries(lists: Mapping[str, Any], name: str) -> list[Any]:
    found = lists.get(name)
    return found if isinstance(found, list) else []


def _read_flow(entry: Any) -> Flow | None:
    try:
        protocol, one, one_port, other, other_port = entry
        return _flow(int(protocol), _endpoint(one, int(one_port)), _endpoint(other, int(other_port)))
    except (TypeError, ValueError):
        return None


def _read_server(entry: Any) -> Server | None:
    try:
        protocol, address, port = entry
        return int(protocol), _endpoint(address, int(port))
    except (TypeError, ValueError):
        return None
