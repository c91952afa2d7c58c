"""Files of web servers, each read by one request; where the connection breaks, another one asks for the rest."""

from __future__ import annotations

import base64
import errno
import http.client
import io
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from typing import Any

from flowgauge.storage.retries import Retries
from flowgauge.storage.urls import Entry, Location

_SECONDS = 60  # without a byte
_LOOK_BYTES = 1 << 17  # asked for at once for a look at the begin
_SKIP_BYTES = 1 << 20
_PAGE_BYTES = 1 << 26  # of the longest page of links that is read
_PARTIAL, _NO_SUCH_RANGE = 206, 416
_BUSY = (429, 500, 502, 503, 504)
_REASONS = {
    401: (errno.EACCES, "the server wants a user and a password: https://user:password@host/…"),
    403: (errno.EACCES, "the server gives no permission"),
    404: (errno.ENOENT, "there is nothing of this name; check all of it, upper and lower case too"),
    410: (errno.ENOENT, "there is nothing of this name any more"),
}
_BROKEN = (http.client.HTTPException, OSError)


class WebInput(io.RawIOBase):
    """A file of a web server, as its bytes come; the system buffers some ahead. For a look at its begin the server is
    asked for a piece at a time, where it knows pieces."""

    def __init__(self, location: Location, ahead: bool = True) -> None:
        self._location = location
        self._piece = None if ahead else _LOOK_BYTES
        self._retries = Retries()
        self._position = 0
        self._response: Any = None
        self._response = self._open_first()
        self._stop = _stop(self._response)
        self.size = _size(self._response)
        self.name = location.shown
        self._version = _version(self._response)

    @property
    def retries(self) -> int:
        """How often the file was asked for again after its connection broke."""
        return self._retries.count

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, view: Any) -> int:
        """What the connection gives. Raises OSError where the file cannot be read further."""
        attempt = 0
        while True:
            try:
                count = self._some(view)
                self._position += count
                return count
            except _BROKEN as error:
                self._drop()
                self._retries.again(_explain(error, self._location), attempt)
                attempt += 1

    def _some(self, view: Any) -> int:
        if self._position == self._stop and self._stop != self.size:
            self._drop()  # the piece is read
        if self._response is None:
            self._resume()
        count = int(self._response.readinto(view))
        if not count and len(view) and self.size is not None and self._position < self.size:
            raise OSError(f"the connection was closed after byte {self._position} of {self.size}")
        return count

    def _open_first(self) -> Any:
        """The response from byte 0 on; only a server that is busy is asked again for it."""
        attempt = 0
        while True:
            try:
                return self._ask()
            except _BROKEN as error:
                code = getattr(error, "code", None)
                if code == _NO_SUCH_RANGE and self._piece:  # of an empty file
                    error.close()  # type: ignore[union-attr]
                    self._piece = None
                    continue
                explanation = _explain(error, self._location)
                if code not in _BUSY:
                    raise explanation from error
                self._retries.again(explanation, attempt)
                attempt += 1

    def _ask(self) -> Any:
        if not self._position and self._piece is None:
            return _request(self._location)
        stop = "" if self._piece is None else self._position + self._piece - 1
        return _request(self._location, f"bytes={self._position}-{stop}")

    def _resume(self) -> None:
        """Ask for the bytes from the position on; of a server that does not know pieces, those before are dropped."""
        response = self._ask()
        begin = _begin(response)
        if _version(response) != self._version or begin > self._position:
            response.close()
            raise OSError(errno.EPERM, "it was changed on the server while it was read: read it again")
        while begin < self._position:
            skipped = len(response.read(min(self._position - begin, _SKIP_BYTES)))
            if not skipped:
                raise OSError("the connection was closed again")
            begin += skipped
        self._response, self._stop = response, _stop(response)

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        """Let the connection go."""
        self._drop()
        super().close()


def _request(location: Location, bytes_wanted: str = "") -> Any:
    """The response to a request for all bytes or a range. A password is not sent to where the server leads us."""
    query = f"?{location.options}" if location.options else ""
    path = urllib.parse.quote(location.path, safe="/%:@!$&'()*+,;=~-._")
    request = urllib.request.Request(f"{location.scheme}://{location.host}/{path}{query}")
    request.add_header("User-Agent", "flowgauge")
    request.add_header("Accept-Encoding", "identity")
    if location.user:
        secret = base64.b64encode(urllib.parse.unquote(location.user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    if bytes_wanted:
        request.add_header("Range", bytes_wanted)
    return urllib.request.urlopen(request, timeout=_SECONDS)


def _range(response: Any) -> re.Match[str] | None:
    """First byte, last byte and size that a response with a part says."""
    return re.match(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))


def _begin(response: Any) -> int:
    found = _range(response) if response.status == _PARTIAL else None
    return int(found[1]) if found else 0


def _stop(response: Any) -> int | None:
    """The byte behind the last one that comes, None where that is not said."""
    found = _range(response) if response.status == _PARTIAL else None
    return int(found[2]) + 1 if found else _size(response)


def _size(response: Any) -> int | None:
    """The bytes of the whole file, None where that is not said."""
    found = _range(response) if response.status == _PARTIAL else None
    text = found[3] if found else response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _version(response: Any) -> tuple[str | None, str | None]:
    """What tells one state of a file from another."""
    return response.headers.get("ETag"), response.headers.get("Last-Modified")


def _explain(error: Exception, location: Location) -> OSError:
    """The reason in one line, with what to do."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        number, text = _REASONS.get(error.code, (errno.EIO, f"the server answers {error.code} {error.reason}"))
        return OSError(number, text)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLError):
        return OSError(
            errno.EPERM, f"no secure connection ({cause.reason or cause}); check the host and its certificate"
        )
    if isinstance(cause, (ConnectionError, TimeoutError, socket.gaierror)):
        reason = cause.strerror or str(cause)
        return OSError(errno.ECONNREFUSED, f"no connection ({reason}); check the network and the host {location.host}")
    if isinstance(cause, OSError) and cause.errno:
        return cause
    return OSError(errno.EIO, str(cause) or type(cause).__name__)


def look(location: Location) -> Entry | None:
    """A file, or a folder where the path ends with a slash; None where the server knows nothing of it."""
    try:
        with WebInput(location, ahead=False) as file:
            return Entry(location.at(location.path), file.size, _is_folder(location))
    except FileNotFoundError:
        return None


def _is_folder(location: Location) -> bool:
    return not location.path or location.path.endswith("/")


class _Links(HTMLParser):
    """Where the links of a page lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a link."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def listing(location: Location, recursive: bool) -> list[Entry]:
    """What the page of a folder has links to, as servers list their folders: names directly in it."""
    path = location.path if _is_folder(location) else location.path + "/"
    with WebInput(location._replace(path=path)) as file:
        page = file.readall()[:_PAGE_BYTES].decode("utf-8", "replace")
    entries = []
    for name in sorted({name for link in _Links(page).found if (name := _inside(link, location, path))}):
        entry = Entry(location.at(path + name), None, name.endswith("/"))
        if entry.is_folder and recursive:
            entries += listing(location._replace(path=path + name), recursive)
        else:
            entries.append(entry)
    return entries


def _inside(link: str, location: Location, path: str) -> str | None:
    """The name that a link stands for, with a slash behind a folder's; None of what is not directly in the folder."""
    whole = urllib.parse.urlsplit(urllib.parse.urljoin(f"{location.scheme}://{location.host}/{path}", link))
    if whole.netloc != location.host or whole.query or not whole.path.startswith(f"/{path}"):
        return None
    name = whole.path[len(path) + 1 :]
    plain = name.rstrip("/")
    return name if plain and "/" not in plain and not plain.startswith(".") else None


def open_pages(location: Location) -> Any:
    """The whole of a file in memory: a web server is asked front to back."""
    import pyarrow as pa

    with WebInput(location) as file:
        return pa.BufferReader(file.readall())
