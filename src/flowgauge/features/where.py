"""Where both ends are: local, multicast or broadcast addresses; autonomous system and country by databases of users.

Nothing is counted: addresses of ended records are looked at, before they are hidden.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa

from flowgauge.arrays import category_array, text_array
from flowgauge.config import MeterConfig
from flowgauge.features._feature import Array, Feature, Values
from flowgauge.memory import Memory
from flowgauge.places import Addresses, Databases, Networks, Place, are_multicast

_BROADCAST_MAC = np.uint64(0xFFFFFFFFFFFF)
_ENDS = ("client", "server")


def update(p: Array, begin: int, stop: int) -> None:
    """Nothing is kept of packets."""


def _finalize(networks: Networks, databases: Databases | None, flows: Array, memory: Memory) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for end in _ENDS:
        ends = Addresses(*(np.ascontiguousarray(flows[name]) for name in ("ip_version", f"{end}_hi", f"{end}_lo")))
        by_link = (flows[f"{end}_mac"] == _BROADCAST_MAC) & (ends.version == 4)
        found[f"{end}_local"] = networks.contain(ends), None
        found[f"{end}_multicast"] = are_multicast(ends), None
        found[f"{end}_broadcast"] = networks.are_broadcast(ends) | (by_link & ~are_multicast(ends)), None
        places, rows = ([Place()], np.zeros(len(flows), np.intp)) if databases is None else databases.find(ends)
        numbers = np.array([place.asn for place in places], np.uint32)[rows]
        found[f"{end}_asn"] = numbers, numbers == 0
        found[f"{end}_as_org"] = _texts([place.organization for place in places], rows)
        found[f"{end}_country"] = _texts([place.country for place in places], rows)
    return found


def _texts(values: list[str | None], rows: Any) -> pa.DictionaryArray:
    """A category column of values by their places."""
    codes: dict[str, int] = {}
    of_value = [-1 if value is None else codes.setdefault(value, len(codes)) for value in values]
    found = np.array(of_value, np.int32)[rows]
    return category_array(found, text_array(codes), found < 0)


def feature(config: MeterConfig) -> Feature:
    """The group `where`. Raises ConfigError for a database that cannot be opened."""
    databases = Databases(config.mmdb) if config.mmdb else None
    return Feature("where", (), update, functools.partial(_finalize, Networks(config.local_net), databases))
