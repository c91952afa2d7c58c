"""What went wrong with a storage, in one line: the reason and what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from flowgauge.errors import FlowgaugeError
from flowgauge.storage.urls import Location

_CREDENTIALS = {
    "s3": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; ?anonymous=true needs none",
    "gs": "check GOOGLE_APPLICATION_CREDENTIALS; gs://anonymous@bucket/… needs none",
    "hdfs": "check the user (hdfs://user@host/…) and its rights",
}
_KINDS = (
    (errno.ENOENT, r"NO_SUCH_BUCKET|bucket does not exist|Bucket '[^']*' not found"),
    (errno.EACCES, r"ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT"
     r"|EXPIRED_TOKEN|PERMISSION_DENIED|UNAUTHENTICATED|HTTP status 40[13]|Permission denied"),
    (errno.ENOENT, r"NO_SUCH_KEY|NOT_FOUND|HTTP status 404"),
    (errno.ECONNREFUSED, r"NETWORK_CONNECTION|curlCode|UNAVAILABLE|Connection refused|timed? ?out|resolve"),
)  # fmt: skip
PERMANENT = (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EPERM)
"""Numbers of errors that another attempt does not mend."""


@contextmanager
def explained(location: Location) -> Iterator[None]:
    """What Arrow and fsspec raise as an OSError whose `strerror` says reason and advice."""
    try:
        yield
    except (FlowgaugeError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise explain(error, location) from error


def explain(error: Exception, location: Location) -> OSError:
    """The OSError for an exception about a place."""
    text = _without_secrets(str(error), location)
    number = _number(error) or _kind(text)
    if number == errno.ENOENT:
        return OSError(number, _missing(text, location))
    if number == errno.EACCES:
        return OSError(number, f"no permission; {_CREDENTIALS.get(location.scheme, 'check the credentials')}")
    if number == errno.ECONNREFUSED:
        return OSError(number, f"no connection ({_cause(text)}); check the network and {_endpoint(location)}")
    return OSError(number, _cause(text))


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    kinds = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES, IsADirectoryError: errno.EISDIR}
    return next((number for kind, number in kinds.items() if isinstance(error, kind)), None)


def _kind(text: str) -> int:
    return next((number for number, pattern in _KINDS if re.search(pattern, text)), errno.EIO)


def _missing(text: str, location: Location) -> str:
    if re.search(_KINDS[0][1], text):
        return f"there is no bucket {location.host!r}; check its name and {_endpoint(location)}"
    return "there is nothing of this name; check all of it, upper and lower case too"


def _endpoint(location: Location) -> str:
    if location.scheme == "s3":
        return "the endpoint (AWS_ENDPOINT_URL, or ?endpoint_override= in the URL)"
    return "the endpoint" if location.scheme == "gs" else f"the host {location.host}"


def _cause(text: str) -> str:
    """The end of Arrow's message, which says what the storage said."""
    line = re.sub(r" \(Request ID: [^)]*\)", "", text.splitlines()[0] if text else "unknown reason")
    line = re.sub(r"\. Detail: .*", "", re.sub(r"^\[Errno \d+\] ", "", line))
    for begin in (r".*?curlCode: \d+, ", r".*?AWS Error (?=[A-Z_]+\b)", r".*last message of (PerformWork\(\) - )?"):
        line = re.sub(begin, "", line, count=1)
    return line.split("; Details: ")[-1].partition(" error_info=")[0].strip()


def _without_secrets(text: str, location: Location) -> str:
    for secret in filter(None, (location.user, location.user.partition(":")[2], location.options)):
        text = text.replace(secret, "…")
    return text
