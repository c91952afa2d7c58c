"""Label templates: `{app}/{action}_*.pcap` read off the end of a path.

- `{field}` takes at least one character, `*` any number; neither crosses a `/`.
- A field takes as few characters as it can, from left to right; the last field or `*` of a part
  takes what is left before the text behind it. The answer is therefore always the same one.
- All else is literal, upper and lower case differ (but not in `.pcap` and compression suffixes).
- The parts of the template match the last parts of the path; folders before them do not matter.
- Names are compared without `.gz`, `.zst`, `.lz4`, `.bz2` and `.xz`, and `.pcapng` as `.pcap`. A
  template without a dot in its last part is compared with names without their extension.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from flowgauge.errors import ConfigError
from flowgauge.labels.paths import parts, plain_name, stem
from flowgauge.schema import BACKGROUND, LABEL_BY, LABEL_COLUMNS, native_columns

_WILDCARD = re.compile(r"\{([^{}]*)\}|(\*)")


class _Part(NamedTuple):
    """One folder or name of a template: literals[0] wild[0] literals[1] … wild[-1] literals[-1].

    `wild` holds field names, None for `*`.
    """

    literals: tuple[str, ...]
    wild: tuple[str | None, ...]


class TemplateLabeller:
    """Matches paths against one template; see the module for its rules."""

    def __init__(self, template: str) -> None:
        texts = parts(template)
        if not all(texts):
            raise _error(template, "has an empty part: it matches the end of a path, without a '/' at either end")
        texts[-1] = plain_name(texts[-1])
        self._with_extension = "." in texts[-1]
        self._parts = tuple(_parse(template, text) for text in texts)
        self.fields: tuple[str, ...] = tuple(name for part in self._parts for name in part.wild if name is not None)
        _check_fields(template, self.fields)

    def match(self, path: str) -> dict[str, str] | None:
        """The value of every field, or None where the path does not match."""
        texts = parts(path)[-len(self._parts) :]
        if len(texts) < len(self._parts):
            return None
        texts[-1] = plain_name(texts[-1]) if self._with_extension else stem(texts[-1])
        found: dict[str, str] = {}
        for part, text in zip(self._parts, texts, strict=True):
            values = _match(part, text)
            if values is None:
                return None
            found.update((name, value) for name, value in zip(part.wild, values, strict=True) if name is not None)
        return found


def _error(template: str, problem: str) -> ConfigError:
    return ConfigError(f"label template {template!r} {problem}")


def _parse(template: str, text: str) -> _Part:
    """A part of the template, taken apart; ConfigError where it cannot be."""
    literals: list[str] = []
    wild: list[str | None] = []
    begin = 0
    for found in _WILDCARD.finditer(text):
        literals.append(text[begin : found.start()])
        wild.append(found[1])
        begin = found.end()
    literals.append(text[begin:])
    if any(set(literal) & set("{}") for literal in literals):
        raise _error(template, "has a brace without its partner")
    if not all(literals[1:-1]):
        raise _error(template, "needs text between two fields (or a field and '*') to know where one ends")
    return _Part(tuple(literals), tuple(wild))


def _check_fields(template: str, fields: tuple[str, ...]) -> None:
    if not fields:
        raise _error(template, "names no field, e.g. '{app}_{action}_*.pcap'")
    for name in fields:
        fault = field_fault(name)
        if fault is not None:
            raise _error(template, f"has {fault}")
        if fields.count(name) > 1:
            raise _error(template, f"has the field {name!r} twice")


def field_fault(name: str) -> str | None:
    """Why a field cannot have this name, or None: it becomes a column, so its name must be fit for one and be free."""
    if not name:
        return "a field without a name: '{}'; '*' matches what is no label"
    if not name.isidentifier():
        return f"a field {name!r}: a name is letters, digits and '_', not a digit first"
    if name in _taken():
        return f"a field {name!r}, which is a column already"
    return None


@functools.cache
def _taken() -> frozenset[str]:
    return frozenset((BACKGROUND, LABEL_BY, *(column.name for column in native_columns()))) - frozenset(LABEL_COLUMNS)


def _match(part: _Part, text: str) -> list[str] | None:
    """What the wildcards of a part stand for, or None.

    The first place of each literal is taken: wildcards take any text, so a later place never
    matches where the first does not, and no name makes this slow.
    """
    first, *between = part.literals
    if not between:
        return [] if text == first else None
    if not text.startswith(first):
        return None
    values = []
    begin = len(first)
    for name, literal in zip(part.wild[:-1], between[:-1], strict=True):
        end = text.find(literal, begin + (name is not None))
        if end < 0:
            return None
        values.append(text[begin:end])
        begin = end + len(literal)
    end = len(text) - len(between[-1])
    if end < begin + (part.wild[-1] is not None) or not text.endswith(between[-1]):
        return None
    return [*values, text[begin:end]]
