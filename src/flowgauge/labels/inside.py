"""Labels inside captures: a comment of a pcapng section that is one JSON object.

``{"flowgauge": {"label": {"app": "chat", "action": "login"}, "session": {…}}}``: the label's fields become columns,
the session says how the capture was recorded, and `background` which flows are not of the take.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flowgauge.labels.background import Marks
from flowgauge.labels.template import field_fault
from flowgauge.schema import BACKGROUND

MOST_COMMENT = 65_535  # bytes of an option
_KEY = "flowgauge"
_LISTS = "background"


def to_comment(
    label: Mapping[str, str], session: Mapping[str, Any], background: Mapping[str, Any] | None = None
) -> str:
    """The comment of a capture with this label."""
    inside: dict[str, Any] = {"label": dict(label), "session": dict(session)}
    if background is not None:
        inside[_LISTS] = dict(background)
    return json.dumps({_KEY: inside}, ensure_ascii=False)


def from_comments(comments: Iterable[str]) -> dict[str, Any]:
    """What the first of these that is such an object holds; {} without one."""
    for comment in comments:
        try:
            found = json.loads(comment)
        except (ValueError, RecursionError):
            continue
        inside = found.get(_KEY) if isinstance(found, dict) else None
        if isinstance(inside, dict):
            return inside
    return {}


def label_of(inside: Mapping[str, Any]) -> dict[str, str] | None:
    """The label: fields that can be columns, with their values as text; None where there is none."""
    label = inside.get("label")
    if not isinstance(label, dict):
        return None
    found = {name: _text(value) for name, value in label.items() if value is not None and field_fault(name) is None}
    return {name: value for name, value in found.items() if value} or None


def fields_of(inside: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that a capture needs for what it has inside."""
    return (*(label_of(inside) or ()), *((BACKGROUND,) if _LISTS in inside else ()))


def marks_of(inside: Mapping[str, Any]) -> Marks | None:
    """What tells its flows of the background; None where nothing does."""
    return Marks(inside[_LISTS]) if _LISTS in inside else None


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()
