"""What is in a storage: folders, and names that match a pattern."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from flowgauge.storage.errors import explain, explained
from flowgauge.storage.systems import System, system_of
from flowgauge.storage.urls import WEB, Entry, Location, local_path, name_of, split

_MAGIC = re.compile(r"[*?[]")


def look(url: str) -> Entry | None:
    """See :func:`flowgauge.storage.look`."""
    path = local_path(url)
    if path is not None:
        return _look_here(path)
    location = split(url)
    if location.scheme in WEB:
        from flowgauge.storage import web

        return web.look(location)
    system = system_of(location)
    with explained(location):
        info = system.files.get_file_info(system.path(location).rstrip("/"))
    return _entry(system, location, info) if info.type.name != "NotFound" else None


def _look_here(path: str) -> Entry | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Entry(path, None, False) if os.path.lexists(path) else None
    return Entry(path, status.st_size, stat.S_ISDIR(status.st_mode))


def listing(url: str, recursive: bool) -> list[Entry]:
    """See :func:`flowgauge.storage.listing`."""
    path = local_path(url)
    if path is not None:
        return list(_walk_here(path, recursive))
    location = split(url)
    if location.scheme in WEB:
        from flowgauge.storage import web

        return web.listing(location, recursive)
    return _listing(location, recursive)


def _walk_here(folder: str, recursive: bool) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and recursive:
            yield from _walk_here(entry.path, recursive)
        else:
            yield Entry(entry.path, None if is_folder else entry.stat(follow_symlinks=False).st_size, is_folder)


def _listing(location: Location, recursive: bool) -> list[Entry]:
    from pyarrow.fs import FileSelector

    system = system_of(location)
    root = system.path(location).rstrip("/")
    try:
        infos = system.files.get_file_info(FileSelector(root or "/", recursive=recursive))
    except Exception as error:
        explanation = explain(error, location)
        if explanation.errno != errno.ENOENT or location.path or "bucket" in str(explanation):
            raise explanation from error
        infos = []  # a bucket without objects
    found = [(info.path[len(root) :].strip("/").split("/"), info) for info in infos]
    kept = [
        (parts, info)
        for parts, info in found
        if parts != [""]
        and not any(part.startswith(".") for part in parts)
        and not (recursive and info.type.name == "Directory")
    ]
    return [_entry(system, location, info) for _, info in sorted(kept, key=lambda pair: pair[0])]


def _entry(system: System, location: Location, info: Any) -> Entry:
    is_folder = info.type.name == "Directory"
    path = info.path[len(system.root) :] if info.path.startswith(system.root) else info.path.strip("/")
    return Entry(
        location.at("" if info.path + "/" == system.root else path), None if is_folder else info.size, is_folder
    )


def glob(pattern: str) -> list[Entry]:
    """See :func:`flowgauge.storage.glob`."""
    base, parts = _cut(pattern)
    if base:
        return _below_base(base, parts)
    return [entry._replace(url=entry.url.removeprefix("./")) for entry in _below_base(".", parts)]


def _below_base(base: str, parts: list[str]) -> list[Entry]:
    """What matches the parts of a pattern, one after another, in a folder."""
    folders = [base]
    for place, part in enumerate(parts):
        if part == "**":
            rest = parts[place:]
            return [entry for folder in folders for entry in _below(folder, rest)]
        entries = [entry for folder in folders for entry in _there(folder, recursive=False)]
        entries = [entry for entry in entries if fnmatch.fnmatchcase(_name(entry), part)]
        if place == len(parts) - 1:
            return entries
        folders = [entry.url for entry in entries if entry.is_folder]
    return []


def has_magic(url: str) -> bool:
    """Whether a path or URL is a pattern."""
    path = local_path(url)
    return _MAGIC.search(split(url).path if path is None else path) is not None


def _cut(pattern: str) -> tuple[str, list[str]]:
    """The folder before the first part that is a pattern, and the parts from there on."""
    path = local_path(pattern)
    parts = (split(pattern).path if path is None else path).split("/")
    first = next((place for place, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    base = "/".join(parts[:first])
    if path is not None:
        return base + "/" if path.startswith("/") and not base else base, parts[first:]
    return split(pattern).at(base), parts[first:]


def _there(folder: str, recursive: bool) -> list[Entry]:
    """The listing of a folder, empty where there is none."""
    try:
        return listing(folder, recursive)
    except FileNotFoundError:
        return []


def _below(folder: str, parts: list[str]) -> list[Entry]:
    """The files below a folder whose names match, or are in a folder that does."""
    base = _parts(folder)
    found = []
    for entry in _there(folder, recursive=True):
        names = _parts(entry.url)[len(base) :]
        if any(_matches(names[:count], parts) for count in range(1, len(names) + 1)):
            found.append(entry)
    return found


def _matches(names: list[str], parts: list[str]) -> bool:
    """Whether names, from folder to file, match a pattern's parts; `**` is any number of folders, or all at the end."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return len(parts) == 1 or any(_matches(names[count:], parts[1:]) for count in range(len(names)))
    return fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _parts(url: str) -> list[str]:
    path = local_path(url)
    whole = split(url).path if path is None else os.path.normpath(path)
    return [part for part in whole.split("/") if part not in ("", ".")]


def _name(entry: Entry) -> str:
    return name_of(entry.url.rstrip("/"))
