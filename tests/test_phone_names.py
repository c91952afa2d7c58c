"""A phone's traffic, made here: who is talking, where hellos are long, split, hidden or behind QUIC."""

from __future__ import annotations

import io

import flowgauge as fg
from hellos import browser_hello, ech, quic_datagrams, records, server_hello
from oracle_names import Segment
from packets import Sent, capture
from talks import CLIENT_PORT, asked, cut, datagram, segments_sent

PHONE = "192.168.7.20"
DATA = b"\x17\x03\x03\x04\x00" + bytes(1024)
# Site, address, and how the connection is made.
SITES = [
    ("video.example.com", "203.0.113.1", "tls"),
    ("chat.example.net", "203.0.113.2", "split"),
    ("mail.example.org", "203.0.113.3", "swapped"),
    ("shop.example.com", "203.0.113.4", "quic"),
    ("map.example.net", "203.0.113.5", "quic in two"),
    ("hidden.example.org", "203.0.113.6", "no name"),
    ("covered.example.com", "203.0.113.7", "cover"),
    ("honest.example.net", "203.0.113.8", "grease"),
]
BY = {"quic": "quic_sni", "quic in two": "quic_sni", "no name": "dns_answer", "cover": "dns_answer"}


def _tls(start: float, address: str, hello: bytes, places: tuple[int, ...], swapped: bool) -> list[Sent]:
    """A connection whose hello is cut into segments, maybe captured in the wrong order, and 20 kB of data."""
    stream = records(hello)
    up = cut(stream, places)
    down = records(server_hello(), version=0x0303) + DATA * 20
    segments = [Segment(0, 999, b"", syn=True), Segment(1, 4999, b"", syn=True), *(reversed(up) if swapped else up)]
    segments += cut(down, range(1400, len(down), 1400), end=1, seq=5000)
    return segments_sent(segments, start, ends=(PHONE, address))


def _quic(start: float, address: str, hello: bytes, parts: int) -> list[Sent]:
    frames = [datagram(start + i / 1000, d, PHONE, address) for i, d in enumerate(quic_datagrams(hello, parts))]
    answers = [
        datagram(start + 0.1 + i / 1000, b"\x41" + bytes(1200), address, PHONE, (443, CLIENT_PORT)) for i in range(17)
    ]
    return frames + answers


def _connection(start: float, name: str, address: str, how: str) -> list[Sent]:
    if how.startswith("quic"):
        return _quic(start, address, browser_hello(name), 2 if "two" in how else 1)
    shown = {"no name": None, "cover": "cloudflare-ech.com"}.get(how, name)
    hello = browser_hello(shown, more=[ech()] if how in ("no name", "cover", "grease") else [])
    return _tls(start, address, hello, () if how == "tls" else (700, 1400), how == "swapped")


def _phone() -> bytes:
    frames: list[Sent] = []
    for number, (name, address, how) in enumerate(SITES):
        frames += asked(number, name, [address], client=PHONE)
        frames += _connection(number + 0.5, name, address, how)
    return capture(frames)


def test_names_of_a_phones_traffic() -> None:
    """Every connection has the name that the phone meant, whatever its hello shows, and who says so is told."""
    rows = fg.read(io.BytesIO(_phone()), features="names").to_pylist()
    found = {row["server_ip"]: (row["server_name"], row["server_name_by"]) for row in rows if row["server_port"] == 443}
    assert found == {address: (name, BY.get(how, "sni")) for name, address, how in SITES}


def test_the_share_of_named_bytes_is_told() -> None:
    """The summary's figures are those of the table."""
    from flowgauge.cli.summary import summary

    content = _phone()
    table = fg.read(io.BytesIO(content), features="names").to_pylist()
    stats = fg.extract(io.BytesIO(content), io.BytesIO(), format="csv", features="names")
    size = sum(row["frame_bytes"] for row in table)
    named = {
        column: sum(row["frame_bytes"] for row in table if row[column] is not None)
        for column in ("server_name", "app_guess")
    }
    assert stats.named == {"all": size, **named}
    assert named["server_name"] >= 0.95 * size
    assert f"server_name {named['server_name'] / size:.1%}, app_guess 0.0% of the bytes" in summary(stats)
