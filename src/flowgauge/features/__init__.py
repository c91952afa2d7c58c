"""Feature groups: what is computed of every flow.

A group is its columns (in schema.py) and a :class:`Feature`: the state it keeps per record,
a kernel that counts a batch of packets into that state, and a function that makes the columns of
ended records. State starts as zeros. Groups are listed here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowgauge.config import MeterConfig
from flowgauge.features import (
    activity,
    bulk,
    core,
    distribution,
    flags,
    iat,
    ip,
    names,
    payload,
    peers,
    process,
    raw,
    size,
    splt,
    tcp,
    where,
)
from flowgauge.features._feature import Feature, Layout, Left, with_states

__all__ = ["FEATURES", "Feature", "Layout", "Left", "make_features", "with_states"]

FEATURES: dict[str, Callable[[MeterConfig], Feature]] = {
    "core": core.feature,
    "size": size.feature,
    "iat": iat.feature,
    "flags": flags.feature,
    "tcp": tcp.feature,
    "ip": ip.feature,
    "splt": splt.feature,
    "activity": activity.feature,
    "bulk": bulk.feature,
    "payload": payload.feature,
    "distribution": distribution.feature,
    "raw": raw.feature,
    "process": process.feature,
    "where": where.feature,
    "names": names.feature,
    "nfstream": peers.nfstream,
    "cic": peers.cic,
}
"""Every group, in output order; `core` is always on."""


def make_features(config: MeterConfig) -> tuple[Feature, ...]:
    """The groups that a meter of this configuration computes, in output order; those of users are one, the last."""
    groups = tuple(make(config) for name, make in FEATURES.items() if name in config.features)
    if not config.custom:
        return groups
    from flowgauge.custom.compile import counts_core, make_group

    if counts_core(config.custom):
        groups = tuple(group._replace(update=_counted_elsewhere) if group.name == "core" else group for group in groups)
    return (*groups, make_group(config.custom))


def _counted_elsewhere(*arrays: Any) -> None:
    """In place of an update that another group does, packet by packet with its own."""
