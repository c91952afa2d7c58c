"""Names of recordings: a label template, filled in so that the same template reads the label off the name again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from flowgauge.errors import ConfigError
from flowgauge.labels import TemplateLabeller
from flowgauge.labels.paths import parts
from flowgauge.labels.template import field_fault

TEMPLATE = "{app}_{action}_{n}.pcapng"
NUMBER = "n"
_MOST = 200  # bytes of a name, and characters of a value
_MOST_FIELDS = 20
_SUFFIX = re.compile(r"\.pcap(ng)?$", re.IGNORECASE)
_FIELD = re.compile(r"\{([^{}]*)\}")
_HIDDEN = re.compile(r"^\.|\.part$")


class Names:
    """Paths below a folder by a template: with `n`, the number of the take, and the fields of a label.

    Raises ConfigError where a name could not be read back as this label.
    """

    def __init__(self, folder: Path, template: str, label: Mapping[str, str]) -> None:
        self._template = _SUFFIX.sub("", template) + ".pcapng"
        self._labeller = TemplateLabeller(self._template)
        self._folder, self._label = folder, dict(label)
        _check_template(template, self._labeller.fields, label)
        if len(label) > _MOST_FIELDS:
            raise ConfigError(f"a label has up to {_MOST_FIELDS} fields, not {len(label)}")
        for name, value in label.items():
            _check_value(name, value)
        self._check_reading()

    def path(self, take: int, piece: int | None = None) -> Path:
        """Of a take, or of a piece of one."""
        number = f"{take:02}" if piece is None else f"{take:02}-{piece:03}"
        return self._folder / _FIELD.sub(lambda field: ({NUMBER: number} | self._label)[field[1]], self._template)

    def next(self) -> int:
        """The number after the highest that a take with this label has, complete or not."""
        folder = self.path(1).parent
        names = os.listdir(folder) if folder.is_dir() else []
        found = (
            self._number(folder / _HIDDEN.sub("", name) if name.startswith(".") else folder / name) for name in names
        )
        return max(found, default=0) + 1

    def _number(self, path: Path) -> int:
        """The take that a file holds, 0 where it has another label."""
        values = self._labeller.match(os.fspath(path))
        if values is None or any(values[name] != self._label[name] for name in values if name != NUMBER):
            return 0
        digits = values[NUMBER].partition("-")[0]
        return int(digits) if digits.isascii() and digits.isdigit() else 0

    def _check_reading(self) -> None:
        path = self.path(1)
        meant = {name: self._label.get(name, "01") for name in self._labeller.fields}
        found = self._labeller.match(os.fspath(path))
        if found != meant:
            read = ", ".join(f"{name} {value!r}" for name, value in (found or {}).items())
            raise ConfigError(
                f"{path.name} would be read as {read or 'no label'}: leave out of the values what the name "
                "has between them, or choose another template with --label"
            )
        if len(os.fsencode(path.name)) > _MOST:
            raise ConfigError(f"the name {path.name!r} is longer than {_MOST} bytes: shorten the label")


def _check_template(template: str, fields: tuple[str, ...], label: Mapping[str, str]) -> None:
    *folders, name = parts(template)
    if "*" in template:
        raise ConfigError(f"label {template!r}: a name cannot be made of '*'; name the field that it stands for")
    if f"{{{NUMBER}}}" not in name or any(f"{{{NUMBER}}}" in folder for folder in folders):
        raise ConfigError(f"label {template!r} needs {{n}}, the number of the take, in the name of the file")
    for field in fields:
        if field != NUMBER and field not in label:
            given = f"--{field}" if field in ("app", "action") else f"--set {field}=…"
            raise ConfigError(f"label {template!r} needs {field}: give it with {given}")


def _check_value(name: str, value: str) -> None:
    """A field's value is part of a name, on any file system that is common."""
    if name == NUMBER:
        raise ConfigError("n is the number of the take: it cannot be set")
    fault = field_fault(name)
    if fault is not None:
        raise ConfigError(f"--set has {fault}")
    if not value or value != value.strip() or value.startswith(".") or set(value) & set('/\\:*?"<>|{}'):
        raise ConfigError(f"{name} {value!r} cannot be part of a file's name: use letters, digits, '-' and '.'")
    if len(value) > _MOST:
        raise ConfigError(f"{name} is longer than {_MOST} characters: {value[:20]!r}…")
    if not value.isprintable():
        raise ConfigError(f"{name} {value!r} holds what cannot be printed")
