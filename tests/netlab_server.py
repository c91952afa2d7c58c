"""The laboratory's web server: tells a client the address that it sees of it. Arguments: port, certificate, key."""

from __future__ import annotations

import http.server
import socket
import ssl
import sys


class Server(http.server.ThreadingHTTPServer):
    """Both IP versions at one port."""

    address_family = socket.AF_INET6


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers anything with the client's address."""

    def do_GET(self) -> None:
        """The address, without the prefix that IPv4 has in an IPv6 socket."""
        body = self.client_address[0].removeprefix("::ffff:").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = Server(("::", int(sys.argv[1])), Handler)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
