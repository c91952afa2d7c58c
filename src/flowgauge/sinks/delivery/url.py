"""The URL of a destination: where flow records go, and how."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterable
from typing import NamedTuple

from flowgauge.errors import ConfigError

PASSWORD = "FLOWGAUGE_PASSWORD"
"""The environment variable that holds the password of a URL without one: a command line can be read by others."""


class Url(NamedTuple):
    """`scheme://user:password@hosts/path?option=value`, in parts that are no longer quoted."""

    scheme: str
    hosts: tuple[str, ...]
    user: str | None
    password: str | None
    path: str
    options: dict[str, str]

    @property
    def shown(self) -> str:
        """As messages have it: without user, password and options, any of which may be secret."""
        return f"{self.scheme}://{','.join(self.hosts)}{'/' * bool(self.path)}{self.path}"

    def check_options(self, allowed: Iterable[str]) -> None:
        """Raise ConfigError for an option that is none of these."""
        allowed = sorted({*allowed, *SHARED})
        for name in self.options:
            if name not in allowed:
                raise ConfigError(f"{self.shown}: there is no option {name!r}; there are {', '.join(allowed)}")

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        """The value of an option, the first of those allowed without; raises ConfigError for another one."""
        value = self.options.get(name, allowed[0])
        if value not in allowed:
            raise ConfigError(f"{self.shown}: {name} is {' or '.join(allowed)}, not {value!r}")
        return value

    def whole(self, name: str, otherwise: int, least: int, most: int) -> int:
        """The value of an option that is a whole number; raises ConfigError for what is none, or beyond its limits."""
        text = self.options.get(name, str(otherwise))
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ConfigError(f"{self.shown}: {name} is a whole number from {least:,} to {most:,}, not {text!r}")
        return int(text)

    def addresses(self, port: int) -> list[tuple[str, int]]:
        """Host and port of each of the hosts, with this port where none is given. Raises ConfigError."""
        return [self._address(host, port) for host in self.hosts]

    def _address(self, text: str, port: int) -> tuple[str, int]:
        host, colon, given = text.rpartition(":")
        if not colon or text.endswith("]"):  # of IPv6 without a port
            host, given = text, str(port)
        if not (given.isascii() and given.isdigit() and 0 < int(given) < 65_536):
            raise ConfigError(f"{self.shown}: {given!r} is no port; write {self.scheme}://{host}:{port}")
        host = host.removeprefix("[").removesuffix("]")
        if not host:
            raise ConfigError(f"{self.shown}: there is no host; write {self.scheme}://localhost:{port}")
        return host, int(given)


SHARED = ("spool", "spool_size", "wait")
"""Options that every destination has."""


def parse_url(text: str) -> Url:
    """The parts of a URL. Raises ConfigError, which does not show it."""
    try:
        parts = urllib.parse.urlsplit(text)
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigError(f"the output is no URL ({error}); write scheme://host:port/name?option=value") from None
    who, _, where = parts.netloc.rpartition("@")
    user, colon, password = who.partition(":")
    unquote = urllib.parse.unquote
    return Url(
        parts.scheme.lower(),
        tuple(unquote(host) for host in where.split(",") if host),
        unquote(user) if user else None,
        unquote(password) if colon else os.environ.get(PASSWORD) if user else None,
        unquote(parts.path).lstrip("/"),
        dict(pairs),
    )
