"""Feature groups: what is computed of every flow.

A group is five things, gathered in a :class:`Feature`: its columns, the state it keeps per record,
a kernel that counts a batch of packets into that state, and a function that makes the columns of
ended records. State starts as zeros. Groups are listed here and nowhere else.
"""

from __future__ import annotations

from flowgauge.features import core, flags, iat, size, tcp
from flowgauge.features._feature import Feature

__all__ = ["FEATURES", "Feature", "chosen_features"]

FEATURES: tuple[Feature, ...] = (core.FEATURE, size.FEATURE, iat.FEATURE, flags.FEATURE, tcp.FEATURE)
"""Every group in output order; `core` is always on."""


def chosen_features(names: tuple[str, ...]) -> tuple[Feature, ...]:
    """The groups with these names, in output order."""
    return tuple(feature for feature in FEATURES if feature.name in names)
