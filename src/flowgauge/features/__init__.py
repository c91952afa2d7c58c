"""Feature groups: what is computed of every flow.

A group is its columns (in schema.py) and a :class:`Feature`: the state it keeps per record,
a kernel that counts a batch of packets into that state, and a function that makes the columns of
ended records. State starts as zeros. Groups are listed here and nowhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from flowgauge.config import MeterConfig
from flowgauge.features._feature import Feature, Layout, Left, with_states

__all__ = ["FEATURES", "Feature", "Layout", "Left", "make_features", "with_states"]


def _maker(module: str, name: str = "feature") -> Callable[[MeterConfig], Feature]:
    """What makes a group by a function of its module, which is imported then: a run loads no groups but its own."""

    def make(config: MeterConfig) -> Feature:
        made: Feature = getattr(importlib.import_module(f"{__name__}.{module}"), name)(config)
        return made

    return make


FEATURES: dict[str, Callable[[MeterConfig], Feature]] = {
    "core": _maker("core"),
    "size": _maker("size"),
    "iat": _maker("iat"),
    "flags": _maker("flags"),
    "tcp": _maker("tcp"),
    "ip": _maker("ip"),
    "splt": _maker("splt"),
    "activity": _maker("activity"),
    "bulk": _maker("bulk"),
    "payload": _maker("payload"),
    "distribution": _maker("distribution"),
    "raw": _maker("raw"),
    "process": _maker("process"),
    "where": _maker("where"),
    "names": _maker("names"),
    "nfstream": _maker("peers", "nfstream"),
    "cic": _maker("peers", "cic"),
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
