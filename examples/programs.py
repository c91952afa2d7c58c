"""The small programs that talk in the example captures: a web server, a video player, a chat, a call.

Each is one command::

    python programs.py web PORT [CERTIFICATE KEY]    HTTP/1.1 (HTTPS with a certificate), IPv4 and IPv6
    python programs.py play HOST SEGMENTS            fetches a video segment a second over one connection
    python programs.py chat-server PORT              answers every message after a while
    python programs.py chat HOST PORT MESSAGES       writes messages with pauses, reconnects once when cut off
    python programs.py answer ADDRESS PORT           answers calls (SIP-like signalling, RTP media)
    python programs.py call HOST PORT SECONDS        makes a call
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

TEXT = """
the train leaves at noon bring a coat it may rain we could meet near the old bridge and walk along the river
did you see the match last night what a goal let us cook something with rice and beans tomorrow
"""
WORDS = TEXT.split()
SEGMENT_BYTES = 48_000
RTP_INTERVAL = 0.02  # seconds of sound in a packet
RTP_SAMPLES = 160  # of 8 kHz, one byte each (G.711)


def sentence(chance: random.Random, most: int = 14) -> str:
    """A few words, the same ones for the same random state."""
    return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))


class WebHandler(BaseHTTPRequestHandler):
    """`/page/N` is N bytes of text, `/image/N` N random bytes, `/segment/N` a video segment in chunks."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Shop/1.0", ""

    def do_GET(self) -> None:
        kind, _, number = self.path.strip("/").partition("/")
        self.send_response(200)
        if kind == "segment":
            self._send_chunks(random.Random(number).randbytes(SEGMENT_BYTES))
        elif kind == "image":
            self._send(random.Random(number).randbytes(int(number)), "application/octet-stream")
        else:
            chance = random.Random(number)
            text = "".join(f"<p>{sentence(chance)}</p>\n" for _ in range(int(number) // 40))
            self._send(text.encode(), "text/html")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        if self.request_version == "HTTP/1.0":
            self.close_connection = True  # no length: the body ends where the server closes
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_chunks(self, body: bytes) -> None:
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(body), 8000):
            piece = body[start : start + 8000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.01)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(socketserver.ThreadingTCPServer):
    """Listens on IPv6 and, through mapped addresses, IPv4."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def web(port: str, certificate: str = "", key: str = "") -> None:
    with Server(("::", int(port)), WebHandler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()


def play(host: str, segments: str) -> None:
    connection = http.client.HTTPConnection(host, timeout=20)
    for number in range(int(segments)):
        begin = time.monotonic()
        connection.request("GET", f"/segment/{number}", headers={"User-Agent": "player/1.0"})
        connection.getresponse().read()
        time.sleep(max(0.0, begin + 1 - time.monotonic()))
    connection.close()


class ChatHandler(socketserver.StreamRequestHandler):
    """Confirms every message, thinks, and answers."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        chance = random.Random(2)
        for line in self.rfile:
            _say(self.connection, type="receipt", of=json.loads(line)["id"])
            time.sleep(chance.uniform(0.1, 0.5))
            _say(self.connection, type="message", sender="ben", text=sentence(chance))


def chat_server(port: str) -> None:
    with Server(("::", int(port)), ChatHandler) as server:
        server.serve_forever()


def chat(host: str, port: str, messages: str) -> None:
    chance = random.Random(1)
    connection = _join(host, port)
    for number in range(int(messages)):
        try:
            _say(connection, type="message", id=number, sender="ana", text=sentence(chance))
        except OSError:
            connection = _join(host, port)
        time.sleep(chance.uniform(0.2, 0.9))
    connection.close()


def _join(host: str, port: str) -> socket.socket:
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_listen, args=(connection,), daemon=True).start()
    return connection


def _listen(connection: socket.socket) -> None:
    try:
        while connection.recv(4096):
            pass
    except OSError:
        return


def _say(connection: socket.socket, **message: object) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def answer(address: str, port: str) -> None:
    """Ring for half a second, then talk until the caller hangs up."""
    signalling, media = _udp(address, int(port)), _udp(address, 16384)
    while True:
        request, caller = signalling.recvfrom(2048)
        verb = request.split()[0]
        if verb == b"INVITE":
            signalling.sendto(_sip("SIP/2.0 180 Ringing"), caller)
            time.sleep(0.5)
            signalling.sendto(_sip("SIP/2.0 200 OK", "m=audio 16384 RTP/AVP 0\r\n"), caller)
            hung_up = threading.Event()
            talk = threading.Thread(target=_talk, args=(media, (caller[0], 16400), hung_up))
            talk.start()
        elif verb == b"BYE":
            hung_up.set()
            talk.join()
            signalling.sendto(_sip("SIP/2.0 200 OK"), caller)


def call(host: str, port: str, seconds: str) -> None:
    signalling, media = _udp("", int(port)), _udp("", 16400)
    signalling.sendto(_sip(f"INVITE sip:ben@{host} SIP/2.0", "m=audio 16400 RTP/AVP 0\r\n"), (host, int(port)))
    while not signalling.recv(2048).startswith(b"SIP/2.0 200"):
        pass
    signalling.sendto(_sip(f"ACK sip:ben@{host} SIP/2.0"), (host, int(port)))
    hung_up = threading.Event()
    threading.Timer(float(seconds), hung_up.set).start()
    _talk(media, (host, 16384), hung_up)
    signalling.sendto(_sip(f"BYE sip:ben@{host} SIP/2.0"), (host, int(port)))
    signalling.recv(2048)


def _udp(address: str, port: int) -> socket.socket:
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind((address, port))
    return endpoint


def _sip(first_line: str, body: str = "") -> bytes:
    fields = f"From: <sip:ana@phone.example>\r\nTo: <sip:ben@pbx.example>\r\nContent-Length: {len(body)}\r\n"
    return f"{first_line}\r\n{fields}\r\n{body}".encode()


def _talk(media: socket.socket, peer: tuple[str, int], hung_up: threading.Event) -> None:
    """Send a packet of sound every 20 ms (RFC 3550 header, payload type 0)."""
    chance = random.Random(peer[1])
    begin, number = time.monotonic(), 0
    while not hung_up.is_set():
        header = struct.pack(">BBHII", 0x80, 0, number, number * RTP_SAMPLES, peer[1])
        media.sendto(header + chance.randbytes(RTP_SAMPLES), peer)
        number += 1
        time.sleep(max(0.0, begin + number * RTP_INTERVAL - time.monotonic()))


COMMANDS: dict[str, Callable[..., None]] = {
    "web": web,
    "play": play,
    "chat-server": chat_server,
    "chat": chat,
    "answer": answer,
    "call": call,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
