"""Web servers on loopback for tests: with and without ranges, and such as break off. Imports nothing of the package."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What a server has and how it behaves; `asked` are the path and range of each request."""

    files: dict[str, bytes]
    ranges: bool = True
    sizes: bool = True
    breaks: list[int] = field(default_factory=list)  # bytes after which the next responses break off
    codes: list[int] = field(default_factory=list)  # answers of the next requests
    password: str = ""
    moved_to: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, path = self.site, self.path.partition("?")[0]
        wanted = self.headers.get("Range", "")
        site.asked.append((self.path, wanted))
        site.authorizations.append(self.headers.get("Authorization", ""))
        if site.codes:
            return self._say(site.codes.pop(0))
        if site.moved_to:
            return self._say(302, {"Location": site.moved_to + path})
        if site.password and self.headers.get("Authorization") != _basic(site.password):
            return self._say(401)
        data = _page(site.files, path) if path.endswith("/") else site.files.get(path)
        if data is None:
            return self._say(404)
        return self._give(data, wanted)

    def _give(self, data: bytes, wanted: str) -> None:
        site, headers, begin, stop = self.site, {"ETag": f'"{hash(data)}"'}, 0, len(data)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted) if site.ranges else None
        if found:
            begin, stop = int(found[1]), min(int(found[2] or len(data)) + 1, len(data))
            if begin >= len(data):
                self._say(416)
                return
            headers["Content-Range"] = f"bytes {begin}-{stop - 1}/{len(data)}"
        if site.sizes:
            headers["Content-Length"] = str(stop - begin)
        self._say(206 if found else 200, headers)
        if site.breaks:
            stop = min(stop, begin + site.breaks.pop(0))
        self.wfile.write(data[begin:stop])

    def _say(self, code: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": "0"} if headers is None else headers).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(password.encode()).decode()


def _page(files: dict[str, bytes], folder: str) -> bytes | None:
    """A page of links to what is in a folder, as servers make them."""
    below = [path[len(folder) :] for path in files if path.startswith(folder)]
    names = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below}, reverse=True)
    links = "".join(f'<li><a href="{name}">{name}</a></li>' for name in ["../", "?C=M;O=A", "//other/x.pcap", *names])
    return f"<html><ul>{links}</ul></html>".encode() if names else None


@contextmanager
def web_server(files: dict[str, bytes], **behaviour: object) -> Iterator[Site]:
    """A running server of these files (path -> bytes)."""
    site = Site(files, **behaviour)  # type: ignore[arg-type]
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients leave when they have seen enough
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
