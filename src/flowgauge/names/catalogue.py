"""The catalogue: which app and category a server name speaks for, by its domain.

A catalogue file is YAML: category → app → domains. A domain stands for itself and for all names below it; of several
that fit, the longest counts. The file that ships is catalogue.yaml; files of users have the same form and win over it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

from flowgauge.errors import ConfigError

CATEGORIES = {
    "ads": "advertising and its measurement",
    "adult": "adult content",
    "ai": "assistants and models",
    "analytics": "usage statistics, crash reports, consent banners",
    "cdn": "delivery for others: tells no app",
    "cloud": "hosting for others: tells no app",
    "conferencing": "calls and meetings",
    "developer": "source code, packages, tools of developers",
    "education": "learning and reference",
    "file sharing": "storage, backup and transfer of files",
    "finance": "banks, payment, trading",
    "food": "restaurants and delivery",
    "games": "games and their platforms",
    "health": "health and sports",
    "mail": "mail",
    "maps": "maps and navigation",
    "messaging": "messages",
    "music": "music, radio, podcasts",
    "news": "news and magazines",
    "other": "anything else",
    "productivity": "office, design, business",
    "search": "search engines and portals",
    "shopping": "shops and marketplaces",
    "smart home": "devices at home",
    "social": "social networks, communities, dating",
    "system": "operating systems, updates, app stores, certificates, name and time services",
    "travel": "travel and transport",
    "video": "video and television",
    "vpn": "VPNs, relays, remote access",
    "weather": "weather",
}
"""Every category that an entry can have, and what is in it."""

WITHOUT_APP = ("cdn", "cloud")
"""Categories of names that serve many apps, and so tell none."""

Entry = tuple[str | None, str]
"""App, None where the name tells none, and category."""

_FORM = "category: {app: [domain, ...]}"
_DOMAIN = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class Catalogue:
    """Looks names up in the files of `paths`, the first first, and then in the one that ships.

    Raises ConfigError with file and line for a file that cannot be read or has another form.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._own = [read_catalogue(os.fspath(path)) for path in paths]

    def of(self, name: str) -> Entry | None:
        """App and category of a server name, by its longest domain in the first file that has one; None where none has.

        The app is None for what serves many (WITHOUT_APP). Case and a dot at the end do not matter.
        """
        labels = _wire_form(name.rstrip(".").lower()).split(".")
        domains = [".".join(labels[at:]) for at in range(len(labels))]
        for entries in (*self._own, shipped()):
            for domain in domains:
                if domain in entries:
                    app, category = entries[domain]
                    return (None if category in WITHOUT_APP else app), category
        return None


@functools.cache
def shipped() -> Mapping[str, tuple[str, str]]:
    """The catalogue in the package: domain → app and category."""
    name = "catalogue.yaml"
    return _read(name, resources.files("flowgauge.names").joinpath(name).read_text("utf-8"))


def read_catalogue(path: str) -> Mapping[str, tuple[str, str]]:
    """The entries of a file: domain → app and category. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the catalogue {path}: {reason}") from None
    return _read(path, text)


def _read(path: str, text: str) -> Mapping[str, tuple[str, str]]:
    entries: dict[str, tuple[str, str]] = {}
    lines: dict[str, int] = {}
    for category, app, node in _nodes(path, _parse(path, text)):
        domain = _domain(path, node)
        if domain in lines:
            raise _error(path, node, f"{domain} is in line {lines[domain]} already")
        entries[domain], lines[domain] = (app, category), _line(node)
    return entries


def _parse(path: str, text: str) -> Any:
    """The root of the YAML document as a node: nodes know their lines, and repeated keys are all there."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"catalogue {path}: {line}{error.problem or error.context} (it is YAML: {_FORM})") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"catalogue {path} is not YAML ({_FORM}): {error}") from None


def _nodes(path: str, root: Any) -> Iterator[tuple[str, str, Any]]:
    """Category, app and the node of each domain, in their order."""
    if root is None:  # an empty file
        return
    for key, apps in _pairs(path, root, "the file"):
        category = _text(path, key, "a category")
        if category not in CATEGORIES:
            raise _error(path, key, f"category {category!r} is not one of {', '.join(CATEGORIES)}")
        for name, domains in _pairs(path, apps, f"category {category!r}"):
            app = _text(path, name, "an app")
            listed = domains.value if domains.id == "sequence" else [domains]
            if not listed:
                raise _error(path, domains, f"app {app!r} has no domains")
            yield from ((category, app, node) for node in listed)


def _pairs(path: str, node: Any, what: str) -> list[tuple[Any, Any]]:
    if node.id != "mapping":
        raise _error(path, node, f"{what} is not of the form {_FORM}")
    pairs: list[tuple[Any, Any]] = node.value
    lines: dict[str, int] = {}
    for key, _ in pairs:
        name = str(key.value)
        if name in lines:
            raise _error(path, key, f"{name!r} is in line {lines[name]} already")
        lines[name] = _line(key)
    return pairs


def _text(path: str, node: Any, what: str) -> str:
    if node.id != "scalar" or not node.value.strip():
        raise _error(path, node, f"{what} is a name; the form is {_FORM}")
    return str(node.value)


def _domain(path: str, node: Any) -> str:
    text = _text(path, node, "a domain").lower().rstrip(".")
    wire = _wire_form(text)
    if not _DOMAIN.fullmatch(wire):
        hint = ": it stands for all names below it, without '*.'" if text.startswith(("*", ".")) else ""
        raise _error(path, node, f"{node.value!r} is no domain such as example.com{hint}")
    return wire


def _wire_form(name: str) -> str:
    """A name as packets have it; what has no such form stays as it is."""
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _error(path: str, node: Any, problem: str) -> ConfigError:
    return ConfigError(f"catalogue {path}: line {_line(node)}: {problem}")
