"""The HTTP interface of ClickHouse on loopback, as far as its driver needs it, with ClickHouse inside this process
(chdb) behind it: queries and inserts are run by ClickHouse's own code."""

from __future__ import annotations

import re
import tempfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from chdb import session

_INSERT = re.compile(rb"\s*INSERT INTO (\S+) \((.*?)\) FORMAT (\w+)\s", re.DOTALL)


class Server:
    """Answers while it runs, and keeps what was inserted beyond a stop.

    `fails` is the answer to inserts where it is not "", `loses` hangs up behind the next one.
    """

    def __init__(self) -> None:
        self._session = session.Session()
        self._http: HTTPServer | None = None
        self.port = 0
        self.fails = ""
        self.loses = False
        self.inserts = 0

    def start(self) -> None:
        self._http = HTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def close(self) -> None:
        self.stop()
        self._session.close()

    def query(self, sql: str, format: str = "JSONCompactEachRow") -> bytes:
        return bytes(self._session.query(sql, format).bytes())

    def insert(self, body: bytes) -> None:
        """Run an insert whose data stand behind it, in the format that it names."""
        match = _INSERT.match(body)
        assert match is not None, body[:200]
        table, columns, format = (part.decode() for part in match.groups())
        with tempfile.NamedTemporaryFile(suffix=".data") as file:
            file.write(body[match.end() :])
            file.flush()
            self.query(f"INSERT INTO {table} ({columns}) SELECT * FROM file('{file.name}', {format})")
        self.inserts += 1


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            options = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            statement = options["query"].encode() + b"\n" + body if "query" in options else body
            try:
                self._answer(200, self._run(statement, options.get("default_format", "TabSeparated")))
            except _HangUpError:
                self.close_connection = True
            except Exception as error:
                self._answer(500, str(error).encode())

        do_GET = do_POST  # noqa: N815 (a name of http.server)

        def _run(self, statement: bytes, format: str) -> bytes:
            if not _INSERT.match(statement):
                text = statement.decode().strip()
                found = re.search(r"\bFORMAT (\w+)\s*$", text, re.IGNORECASE)
                return server.query(text[: found.start()] if found else text, found[1] if found else format)
            if server.fails:
                raise RuntimeError(server.fails)
            server.insert(statement)
            if server.loses:
                server.loses = False
                raise _HangUpError
            return b""

        def _answer(self, code: int, text: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    return Handler


class _HangUpError(Exception):
    pass
