"""The file system behind a URL: one of Arrow's, or one of fsspec that Arrow uses like its own."""

from __future__ import annotations

import functools
import os
import urllib.parse
from typing import Any, NamedTuple

from flowgauge.errors import ConfigError, MissingDependency
from flowgauge.storage.errors import explained
from flowgauge.storage.urls import WEB, Location

_S3_OPTIONS = frozenset({"region", "scheme", "endpoint_override", "anonymous"})
_CONNECT_SECONDS = 10
_SILENT_SECONDS = 60  # without a byte; a storage that is busy, or fetches from disk, may need more than Arrow's 3
_ARROW = {"s3": "S3", "gs": "Google Cloud Storage", "hdfs": "HDFS"}


class System(NamedTuple):
    """A file system, and the bucket or folder that paths of its URLs begin in.

    `atomic`: what is written appears when it is closed, and not before.
    """

    files: Any
    root: str
    atomic: bool

    def path(self, location: Location) -> str:
        """The path of a place, as the file system has it."""
        return self.root + location.path


def system_of(location: Location) -> System:
    """The file system of a URL, opened once. Raises OSError, ConfigError and MissingDependency."""
    if location.scheme in WEB:
        raise ConfigError(f"{location.shown} can only be read: write to a local path, s3://, gs:// or hdfs://")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    with explained(location._replace(path="")):
        return _system(location._replace(path=""), endpoint if location.scheme == "s3" else None)


@functools.lru_cache(maxsize=64)
def _system(place: Location, endpoint: str | None) -> System:
    if place.scheme == "s3":
        return System(_s3(place, endpoint), f"{place.host}/", atomic=True)
    if place.scheme in ("gs", "gcs"):
        return System(_by_arrow(place._replace(scheme="gs")), f"{place.host}/", atomic=True)
    if place.scheme in ("hdfs", "viewfs"):
        return System(_by_arrow(place), "/", atomic=False)
    return _by_fsspec(place)


def _s3(place: Location, endpoint: str | None) -> Any:
    """An S3 file system. The bucket's own region is asked for where none is given and no endpoint is."""
    try:
        from pyarrow.fs import S3FileSystem, resolve_s3_region
    except ImportError as error:
        raise _without(place) from error
    options = _options(place, _S3_OPTIONS)
    user, _, password = place.user.partition(":")
    scheme, _, address = options.get("endpoint_override", endpoint or "").rpartition("://")
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        access_key=urllib.parse.unquote(user) or None,
        secret_key=urllib.parse.unquote(password) or None,
        anonymous=options.get("anonymous", "").lower() in ("1", "true"),
        region=region or ("us-east-1" if address else resolve_s3_region(place.host)),
        scheme=options.get("scheme") or scheme or None,
        endpoint_override=address or None,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_SILENT_SECONDS,
    )


def _options(place: Location, known: frozenset[str]) -> dict[str, str]:
    options = dict(urllib.parse.parse_qsl(place.options, keep_blank_values=True))
    for name in options.keys() - known:
        raise ConfigError(f"{place.shown}: no option {name!r} in such a URL; there are {', '.join(sorted(known))}")
    return options


def _by_arrow(place: Location) -> Any:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

    try:
        return FileSystem.from_uri(place.at(""))[0]
    except pa.ArrowNotImplementedError as error:
        raise _without(place) from error
    except OSError as error:
        if "libjvm" in str(error) or "libhdfs" in str(error):
            raise MissingDependency(
                "hdfs:// needs Java and Hadoop's libhdfs: install them, and set JAVA_HOME, HADOOP_HOME and "
                "CLASSPATH (the output of `hadoop classpath --glob`)"
            ) from error
        raise


def _without(place: Location) -> MissingDependency:
    name = _ARROW.get(place.scheme, place.scheme)
    return MissingDependency(f"this pyarrow was built without {name}: pip install --force-reinstall pyarrow")


def _by_fsspec(place: Location) -> System:
    try:
        import fsspec
    except ImportError:
        raise MissingDependency(f"{place.scheme}:// needs fsspec: pip install 'flowgauge[url]'") from None
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        fsspec.get_filesystem_class(place.scheme)
    except ValueError:
        raise ConfigError(
            f"no storage is known by {place.scheme}://; there are s3, gs, hdfs, http, https, file, and those of fsspec"
        ) from None
    except ImportError as error:
        raise MissingDependency(f"{place.scheme}:// needs a package more: {error}") from error
    files, root = fsspec.core.url_to_fs(place.at(""))
    return System(PyFileSystem(FSSpecHandler(files)), root.rstrip("/") + "/", atomic=False)
