"""Labels from file names (a template with named fields, or positions of a separated name) and from inside captures.

Importing this package loads neither NumPy nor pyarrow.
"""

from __future__ import annotations

from typing import Protocol

from flowgauge.errors import ConfigError
from flowgauge.labels.split import SplitLabeller
from flowgauge.labels.template import TemplateLabeller

__all__ = ["Labeller", "SplitLabeller", "TemplateLabeller", "make_labeller"]


class Labeller(Protocol):
    """Reads labels off the path of a capture."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in the order of the template: each becomes a column."""

    def match(self, path: str) -> dict[str, str] | None:
        """The value of every field (never empty), or None where the path does not match."""


def make_labeller(label: str | None = None, label_split: str | None = None) -> Labeller | None:
    """The labeller of `--label` or `--label-split`, or None where neither is given.

    Raises ConfigError naming what is wrong with the template.
    """
    if label is not None and label_split is not None:
        raise ConfigError("label and label_split exclude each other: give one")
    if label is not None:
        return TemplateLabeller(label)
    if label_split is not None:
        return SplitLabeller(label_split)
    return None
