"""Files, objects and web pages by one name each: a local path, or a URL of a storage.

==================  ==========================================================================
``s3://``, ``gs://``, ``hdfs://``   by Arrow's own file systems; credentials as their owners' tools find them
``http://``, ``https://``           to be read, by the standard library
``file://``                         the local path that it names
any other                           by fsspec, where it is installed (``pip install 'flowgauge[url]'``)
==================  ==========================================================================

Every function takes local paths as well. What goes wrong is an OSError whose `strerror` says the reason and what to do,
without the name: the caller says which it was about, by :func:`shown`, and what was wanted of it. What does not exist
is FileNotFoundError. A missing package is MissingDependency, a URL that cannot be is ConfigError.

Importing this module loads neither NumPy nor pyarrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flowgauge.storage.urls import Entry, Input, Output, is_url, join, local_path, name_of, shown

__all__ = [
    "Entry",
    "Input",
    "Output",
    "delete",
    "each",
    "exists",
    "glob",
    "has_magic",
    "head",
    "is_url",
    "join",
    "listing",
    "local_path",
    "look",
    "make_folder",
    "name_of",
    "open_input",
    "open_output",
    "open_random",
    "put",
    "read",
    "shown",
]

_AT_ONCE = 16
T = TypeVar("T")
R = TypeVar("R")


def open_input(url: str, *, ahead: bool = True) -> Input:
    """Open to read front to back: a raw binary file with `readinto`, `size` (bytes, None where it is not known) and
    `retries` (how often a broken connection was gone on with).

    With `ahead` some megabytes are fetched before they are asked for; without, only what is read: for a look at the
    begin. A connection that breaks is opened again, a bounded number of times, at the byte where it broke.
    """
    from flowgauge.storage import reading

    return reading.open_input(url, ahead)


def open_random(url: str) -> Any:
    """Open to read anywhere, as a file of Arrow: for the footer of a Parquet file."""
    from flowgauge.storage import reading

    return reading.open_random(url)


def head(url: str, count: int) -> bytes:
    """The first `count` bytes, fewer where there are not so many."""
    with open_input(url, ahead=False) as file:
        found = b""
        while len(found) < count and (more := file.read(count - len(found))):
            found += more
    return found


def read(url: str) -> bytes:
    """All bytes of a small file."""
    with open_input(url, ahead=False) as file:
        return file.readall()


def open_output(url: str) -> Output:
    """Open to write: `write(data)`, and then `commit()`, which lets it appear under its name with all its bytes, or
    `abort()`, which leaves what was there before. A run that is killed leaves it, too.

    A file is written under a hidden name beside it and renamed. An object is uploaded in parts, of which its storage
    makes one only when they are complete; parts of an upload that was given up are not seen, and stay until
    the storage removes them (S3: a lifecycle rule for incomplete multipart uploads).
    """
    from flowgauge.storage import writing

    return writing.open_output(url)


def put(url: str, data: bytes) -> None:
    """Write, or replace, a small file at once: readers see the old bytes or the new ones."""
    output = open_output(url)
    try:
        output.write(data)
        output.commit()
    except BaseException:
        output.abort()
        raise


def look(url: str) -> Entry | None:
    """What is there under a name: a file with its size, or a folder (of an object storage: a begin of names, up to a
    slash); None where there is nothing."""
    from flowgauge.storage import listings

    return listings.look(url)


def exists(url: str) -> bool:
    """Whether a file or a folder is there."""
    return look(url) is not None


def listing(url: str, *, recursive: bool = True) -> list[Entry]:
    """What is in a folder, in the order of names, folders and files alike; of folders in it, with `recursive`,
    their files rather than themselves. Hidden ones (by a dot before their name) are left out. An object storage
    answers with a thousand names at a time.

    Raises FileNotFoundError where there is no such folder.
    """
    from flowgauge.storage import listings

    return listings.listing(url, recursive)


def glob(pattern: str) -> list[Entry]:
    """Files and folders that match a pattern, in the order of names.

    `*`, `?` and `[…]` stand for what they do in a shell within one name, and `**` for any number of
    folders. Hidden ones never match.
    """
    from flowgauge.storage import listings

    return listings.glob(pattern)


def has_magic(url: str) -> bool:
    """Whether a path or URL is a pattern for :func:`glob`."""
    from flowgauge.storage import listings

    return listings.has_magic(url)


def make_folder(url: str) -> None:
    """Make a folder and those above it, where the storage has folders; nothing happens where it is there."""
    from flowgauge.storage import writing

    writing.make_folder(url)


def delete(url: str) -> None:
    """Delete a file; nothing happens where it is not there."""
    from flowgauge.storage import writing

    writing.delete(url)


def each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `function` gives of each item, in their order, worked on side by side: for questions to a storage, each of
    which takes a round trip."""
    from concurrent.futures import ThreadPoolExecutor

    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items)), "flowgauge-storage") as pool:
        return list(pool.map(function, items))
