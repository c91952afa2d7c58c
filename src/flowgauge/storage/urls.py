"""URLs taken apart, and shown without what is secret in them."""

from __future__ import annotations

import os
import re
import urllib.parse
from typing import Any, NamedTuple, Protocol

from flowgauge.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_OPTIONS = re.compile(r"\?(?=[a-z_]+=)")  # else a question mark is part of a pattern
WEB = ("http", "https")


class Entry(NamedTuple):
    """One name in a storage: what opens it, its bytes (None: not known), and whether it is a folder."""

    url: str
    size: int | None
    is_folder: bool


class Input(Protocol):
    """An open file, read front to back."""

    @property
    def size(self) -> int | None: ...
    @property
    def retries(self) -> int: ...
    def readinto(self, view: Any, /) -> int: ...
    def read(self, count: int = -1, /) -> bytes: ...
    def readall(self) -> bytes: ...
    def close(self) -> None: ...
    def __enter__(self) -> Input: ...
    def __exit__(self, *error: Any) -> None: ...


class Output(Protocol):
    """A file that appears when it is complete."""

    def write(self, data: Any, /) -> int | None: ...
    def flush(self) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class Location(NamedTuple):
    """`scheme://user@host/path?options`: `host` is the bucket of an object, `path` has no slash before it and is taken
    as it is written, `user` may hold a password."""

    scheme: str
    user: str
    host: str
    path: str
    options: str

    @property
    def shown(self) -> str:
        """The URL without user, password and options."""
        return f"{self.scheme}://{self.host}/{self.path}" if self.path else f"{self.scheme}://{self.host}"

    def at(self, path: str) -> str:
        """The URL of another path in the same place, with all that is needed to open it."""
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.host}/{path}" + (f"?{self.options}" if self.options else "")


def is_url(name: object) -> bool:
    """Whether this is a URL rather than a local path."""
    return isinstance(name, str) and _SCHEME.match(name) is not None


def local_path(url: str) -> str | None:
    """The path on this machine that a path or a file URL names; None for all other URLs."""
    if not is_url(url):
        return url
    if not url.lower().startswith("file://"):
        return None
    host, slash, path = url[len("file://") :].partition("/")
    if host not in ("", "localhost"):
        raise ConfigError(f"{url} names a file of the machine {host}: a file on this one is file:///path")
    return urllib.parse.unquote(slash + path)


def split(url: str) -> Location:
    """The parts of a URL of a storage."""
    found = _SCHEME.match(url)
    if found is None:
        raise ConfigError(f"{url!r} is no URL")
    rest = url[found.end() :]
    scheme = found[1].lower()
    options = ""
    mark = re.search(r"\?", rest) if scheme in WEB else _OPTIONS.search(rest)
    if mark:
        rest, options = rest[: mark.start()], rest[mark.end() :]
    authority, _, path = rest.partition("/")
    user, _, host = authority.rpartition("@")
    if not host:
        raise ConfigError(f"{scheme}://{host}/{path} names no {'host' if scheme in WEB else 'bucket or host'}")
    return Location(scheme, user, host, path, options)


def shown(url: str) -> str:
    """How a path or URL is called in output and messages: without user, password, options and query."""
    if not is_url(url) or local_path_or_none(url) is not None:
        return url
    return split(url).shown


def local_path_or_none(url: str) -> str | None:
    """As :func:`local_path`, where a file of another machine is none."""
    try:
        return local_path(url)
    except ConfigError:
        return None


def name_of(url: str) -> str:
    """The last part of a path or URL, where its extension is."""
    path = local_path(url)
    return os.path.basename(path) if path is not None else split(url).path.rpartition("/")[2]


def join(folder: str, *names: str) -> str:
    """The path or URL of something in a folder."""
    path = local_path(folder)
    if path is not None:
        return os.path.join(path, *names)
    location = split(folder)
    return location.at("/".join(part.strip("/") for part in (location.path, *names) if part.strip("/")))
