"""Filters select what tcpdump selects, and say where an expression is wrong."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from captures import enhanced, interface, section, write_pcap, write_pcapng
from envelopes import llc, mpls, pppoe, radiotap, wireless
from flowgauge.errors import ConfigError, MissingDependency
from flowgauge.kernels._jit import JIT
from flowgauge.sources import libpcap
from flowgauge.sources.filters import Filter, Program, compile_filter
from flowgauge.sources.window import Buffers
from packets import (
    NULL,
    RAW_IP,
    SLL,
    SLL2,
    A,
    B,
    C,
    Layer,
    Sent,
    eth,
    icmp,
    icmp6,
    ip4,
    ip6,
    llc_ip,
    loopback,
    sctp,
    sent,
    sll,
    sll2,
    snap,
    tcp,
    udp,
)
from reading import Row, read_rows
from tcpdump import Packet, RefusedError, needs_libpcap, needs_tcpdump, select

pytestmark = needs_libpcap

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "captures"
WIRELESS = 127

EXPRESSIONS = (
    "",
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp port 53",
    "tcp port 443",
    "not tcp port 443",
    "port 53 or port 80",
    "portrange 50-500",
    "src portrange 1024-65535 and dst port 80",
    "host 10.0.0.1",
    "src host 10.0.0.1 and not dst host 10.0.0.2",
    "host 2001:db8::1",
    "net 10.0.0.0/24",
    "net 10.0.0.0/8 and udp",
    "dst net 224.0.0.0/4",
    "icmp",
    "icmp[icmptype] == icmp-echo",
    "icmp6 or ip6 proto 132",
    "ip proto 132",
    "sctp",
    "tcp[13] & 2 != 0",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src host 10.0.0.2",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "ip[6:2] & 0x1fff != 0",
    "ip[2:2] > 100",
    "len >= 200",
    "greater 100",
    "less 60",
    "ether host 02:00:00:00:00:01",
    "ether dst ff:ff:ff:ff:ff:ff",
    "ether multicast",
    "broadcast",
    "ip multicast",
    "ip broadcast",
    "ether proto 0x88cc",
    "ether[12:2] < 1500",
    "llc",
    "vlan",
    "vlan 5 and tcp",
    "vlan and vlan and udp port 53",
    "mpls 17",
    "mpls and host 10.0.0.1",
    "pppoes",
    "pppoes 7 and tcp port 80",
    "(tcp or udp) and (port 80 or port 53) and not ip6",
    "type mgt or subtype beacon",
    "inbound",
    "ip protochain 6",
)


def _contents() -> Iterator[Layer]:
    """IP packets of all kinds."""
    for source, destination, address, other in ((A, B, 40000, 443), (B, A, 443, 40000), (A, C, 2000, 80)):
        yield ip4(tcp(address, other, "S", seq=1), source, destination)
        yield ip4(tcp(address, other, "PA", seq=2, payload=b"GET / HTTP/1.1\r\n" * 20), source, destination, ttl=3)
        yield ip4(udp(address, 53, b"query"), source, destination)
        yield ip4(udp(100, 67), source, "255.255.255.255")
        yield ip4(udp(5353, 5353, bytes(90)), source, "224.0.0.251", options=bytes(8))
        yield ip4(icmp(8), source, destination)
        yield ip4(icmp(3, 1), source, destination)
        yield ip4(sctp(5000, other), source, destination)
        yield ip4(udp(53, 53, bytes(40)), source, destination, identification=9, more=True)
        yield ip4(Layer(17, bytes(40)), source, destination, identification=9, offset=6)
    yield ip6(tcp(40000, 443, "S"))
    yield ip6(tcp(443, 40000, "FA"), "2001:db8::2", "2001:db8::1")
    yield ip6(udp(53, 53, b"answer"))
    yield ip6(icmp6(135))
    yield ip6(sctp(5000, 80))


def _ethernet() -> list[bytes]:
    frames = []
    for content in _contents():
        frames += [eth(content), eth(content, vlans=[5]), eth(content, vlans=[(0x88A8, 7), 5], padding=9)]
        frames += [eth(mpls(content, 17)), eth(mpls(content, 16, 17)), eth(pppoe(content, 7)), snap(content)]
        frames.append(eth(content, destination=b"\xff" * 6))
    frames += [eth(Layer(0x0806, bytes(28)), destination=b"\xff" * 6), eth(Layer(0x88CC, bytes(40)))]
    frames += [llc_ip(ip4(udp(1, 2))), b"\1\x80\xc2\0\0\0" + bytes(6) + b"\0\x26\x42\x42\3" + bytes(35), b"", b"\2" * 9]
    return frames


def _timed(frames: list[bytes], link: int = 1) -> list[Sent]:
    """Each frame at its own time: whole, and cut at ever other places."""
    whole = [sent(number, data, link=link) for number, data in enumerate(frames)]
    cut = [
        sent(number, data, link=link, captured=13 + number * 7 % 60) for number, data in enumerate(frames, len(whole))
    ]
    return whole + cut


LINKS = {
    "ethernet": (1, _ethernet()),
    "raw": (RAW_IP, [content.data for content in _contents()]),
    "sll": (SLL, [sll(content) for content in _contents()]),
    "sll2": (SLL2, [sll2(content) for content in _contents()]),
    "802.11": (WIRELESS, [radiotap(wireless(llc(content))) for content in _contents()]),
}
CAPTURES = {
    **{name: write_pcap(_timed(frames, link), link=link, ns=True) for name, (link, frames) in LINKS.items()},
    "big-endian": write_pcap(_timed(_ethernet()), order=">"),
    "pcapng": write_pcapng(_timed(_ethernet())),
    **{
        f"loopback {order}": write_pcap(
            _timed([loopback(content, 2 if content.number == 0x0800 else 30, order) for content in _contents()], NULL),
            link=NULL,
            order=order,
        )
        for order in "<>"
    },
}


def _selected(capture: bytes, expression: str, **options: int) -> list[Row]:
    """Rows that pass; RefusedError where the expression has no meaning for the capture."""
    rows, capture_read = read_rows(capture, filter=Filter(expression), **options)
    if capture_read.refused:
        raise RefusedError(capture_read.refused)
    return rows


def _by_tcpdump(capture: bytes, expression: str) -> tuple[list[Packet], str | None]:
    """What tcpdump selects, or its message."""
    try:
        return select(capture, expression), None
    except RefusedError as error:
        return [], str(error)


@needs_tcpdump
@pytest.mark.slow
@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("name", CAPTURES)
def test_selects_what_tcpdump_selects(name: str, expression: str) -> None:
    """The same records pass as in tcpdump, with their numbers; what tcpdump refuses is refused in its words."""
    capture = CAPTURES[name]
    expected, message = _by_tcpdump(capture, expression)
    if message is not None:
        with pytest.raises((RefusedError, ConfigError)) as refused:
            _selected(capture, expression)
        assert message in str(refused.value)
        return
    found = _selected(capture, expression)
    assert [(row.time, row.data, row.frame_len) for row in found] == expected
    rows, _ = read_rows(capture)
    numbers = {row.number: row for row in rows}
    assert all(row[:6] == numbers[row.number][:6] for row in found)


@needs_tcpdump
def test_expressions_mean_something() -> None:
    """Every expression but the two for other links selects some frames of the Ethernet capture and not all."""
    everything = len(select(CAPTURES["ethernet"]))
    counts = {}
    for expression in EXPRESSIONS:
        try:
            counts[expression] = len(_selected(CAPTURES["ethernet"], expression))
        except RefusedError:
            continue
    assert len(counts) == len(EXPRESSIONS) - 2
    assert [expression for expression, count in counts.items() if not 0 < count < everything] == [""]


@needs_tcpdump
@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.pcap")), ids=lambda path: path.stem)
def test_selects_what_tcpdump_selects_of_real_traffic(path: Path) -> None:
    """The example captures, recorded from programs, give the same packets."""
    capture = path.read_bytes()
    for expression in EXPRESSIONS[:-3]:
        assert [row[:3] for row in map(_plain, _selected(capture, expression))] == select(capture, expression)


def _plain(row: Row) -> tuple[int, bytes, int]:
    return row.time, row.data, row.frame_len


@pytest.mark.parametrize("expression", ["tcp port 443", "udp port 53", "ip[6:2] & 0x1fff != 0"])
@pytest.mark.parametrize("name", ["ethernet", "pcapng", "big-endian"])
@pytest.mark.parametrize("rows", [17, 8192])
@pytest.mark.parametrize("buffer_bytes", [64, 1024])
def test_batches_and_buffers_change_nothing(name: str, expression: str, rows: int, buffer_bytes: int) -> None:
    """What passes is the same for every size of batch and buffer."""
    expected = _selected(CAPTURES[name], expression)
    assert len(expected) > 10
    assert _selected(CAPTURES[name], expression, rows=rows, buffer_bytes=buffer_bytes) == expected


@pytest.mark.parametrize("write", [write_pcap, write_pcapng])
def test_what_is_left_out_needs_no_memory(write) -> None:
    """Two packets far apart, the first of which waits for its look-ahead, do not keep the bytes in between."""
    wanted, other = eth(ip4(tcp(1, 443))), eth(ip4(udp(1, 2, bytes(1000))))
    frames = [sent(0, other)] * 2000
    frames[3], frames[1990] = sent(0, wanted), sent(1, wanted)
    rows, capture = read_rows(write(frames), filter=Filter("tcp port 443"), buffer_bytes=4096)
    assert [row.number for row in rows] == [4, 1991]
    assert [row.data for row in rows] == [wanted, wanted]
    assert len(capture.buffer) == 4096


def test_steps_end_where_nothing_passes() -> None:
    """Where nothing passes, a step ends with the buffer, so that a run can be stopped."""
    from flowgauge.kernels.packet import make_batch
    from flowgauge.sources.capture import open_capture

    source = io.BytesIO(write_pcap([sent(0, eth(ip4(udp(1, 2, bytes(1000)))))] * 100))
    steps = 0
    with open_capture(source, filter=Filter("tcp"), buffers=Buffers(8192)) as capture:
        while not capture.over:
            assert list(capture.steps(make_batch(64))) == []
            steps += 1
    assert 10 < steps < 30


def test_each_link_type_has_its_program() -> None:
    """A pcapng with interfaces of different link types, whose packets alternate, is judged packet by packet."""
    frames = [(eth, 1), (lambda content: content.data, RAW_IP), (sll, SLL)]
    packets = [
        sent(number, frames[number % 3][0](content), link=frames[number % 3][1])
        for number, content in enumerate([*_contents()] * 3)
    ]
    expected = [
        number
        for number, content in enumerate([*_contents()] * 3, 1)
        if content.data[9] == 6 and content.number == 0x0800
    ]
    found = _selected(write_pcapng(packets), "ip and tcp")
    assert [row.number for row in found] == expected
    assert {row.link for row in found} == {1, RAW_IP, SLL}


def test_a_link_type_that_cannot_be_filtered_ends_the_capture() -> None:
    """From the first packet on to whose link type the expression cannot be applied, nothing is read; it is named."""
    data = (
        section() + interface(1) + interface(189) + enhanced(1, eth(ip4(tcp(1, 443)))) + enhanced(2, bytes(64), index=1)
    )
    data += enhanced(3, eth(ip4(tcp(1, 443))))
    rows, capture = read_rows(data, filter=Filter("tcp port 443"))
    assert [row.number for row in rows] == [1]
    assert capture.refused == (
        "the filter 'tcp port 443' cannot be applied to USB (Linux): USB link-layer type filtering not implemented"
    )
    assert capture.damage is None


def test_damage_behind_filtered_packets_is_named() -> None:
    """A capture that breaks off among packets that do not pass is damaged all the same."""
    rows, capture = read_rows(CAPTURES["ethernet"][:-1], filter=Filter("tcp[13] = 255"))
    assert rows == []
    assert "is cut off" in (capture.damage or "")


@pytest.mark.parametrize(
    ("expression", "message", "marked"),
    [
        ("tcp prot 443", "syntax error", "prot"),
        ("tcp port 80 udp port 53", "syntax error", "udp"),
        ("tcp.port == 443", "syntax error", "tcp.port"),
        ("port 80 or or port 81", "syntax error", "or"),
        ("tcp port 80)", "syntax error", ")"),
        ("host 10.0.0.1 and (tcp or icmp[icmptype] = foo)", "syntax error", "foo"),
        ("tcp[(tcp[12] & 0xf0) >> 2:4] = GET", "syntax error", "GET"),
        ("tcp port 80,443", "syntax error", ","),
        ("tcp and é", "syntax error", "é"),
        ("tcp port 99999", "illegal port number 99999 > 65535", "99999"),
        ("ip and host 1.2.3.999", "1.2.3.999", "1.2.3.999"),
        ("udp and port sesame", "unknown port 'sesame'", "sesame"),
        ("vlan 5000 and tcp", "5000", "5000"),
        ("tcp and udp and arp", "expression rejects all packets", "udp"),
        ("ether[12:3] = 2", "data size must be 1, 2, or 4", "]"),
    ],
)
def test_a_bad_expression_is_marked(expression: str, message: str, marked: str) -> None:
    """The error has libpcap's message and, below the expression, a mark at the word where libpcap says it."""
    with pytest.raises(ConfigError) as raised:
        Filter(expression)
    said, shown, marks = str(raised.value).split("\n")
    assert message in said
    assert shown[2:] == expression
    begin = marks.index("^")
    assert marks == " " * begin + "^" * len(marked)
    assert shown[begin : begin + len(marked)] == marked


@pytest.mark.parametrize(
    "expression", ["tcp port", "tcp and", "(tcp or udp", "tcp[13", "tcp[13] & 2", "not", "len >  "]
)
def test_an_unfinished_expression_is_marked_at_its_end(expression: str) -> None:
    """Where more should follow, the mark is behind the last word."""
    with pytest.raises(ConfigError) as raised:
        Filter(expression)
    _, _, marks = str(raised.value).split("\n")
    assert marks == "  " + " " * len(expression.rstrip()) + "^"


def test_an_expression_for_one_link_type_is_good() -> None:
    """What has a meaning for some link type is no bad expression."""
    assert Filter("type mgt").expression == "type mgt"


def test_what_cannot_be_shown_is_marked_all_the_same() -> None:
    """A tab or half a character is a space in what is shown; a NUL, where libpcap would stop reading, is named."""
    with pytest.raises(ConfigError) as raised:
        Filter("tcp\tand \ud800")
    assert str(raised.value).split("\n")[1:] == ["  tcp and  ", "          ^"]
    with pytest.raises(ConfigError, match="NUL"):
        Filter("tcp\0 and")


@pytest.mark.parametrize("found", [None, "libnothing.so.0"])
def test_without_libpcap_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    """A library that is missing or does not load is one line with the commands that install it."""
    monkeypatch.setattr("ctypes.util.find_library", lambda name: found)
    monkeypatch.setattr(libpcap, "_FILES", ())
    libpcap._library.cache_clear()
    try:
        with pytest.raises(MissingDependency) as raised:
            Filter("tcp")
        assert not libpcap.is_installed()
    finally:
        libpcap._library.cache_clear()
    assert "\n" not in str(raised.value)
    assert "apt-get install libpcap0.8" in str(raised.value) and "brew install libpcap" in str(raised.value)


def test_libpcap_is_found_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot say which libraries there are, the usual names are tried."""
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    libpcap._library.cache_clear()
    assert libpcap.is_installed()


@pytest.mark.parametrize(
    ("expression", "on_socket"),
    [
        ("tcp port 443", True),
        ("ip6 host 2001:db8::1 or icmp", True),
        ("vlan", False),
        ("not vlan 5", False),
        ("ether proto 0x8100", False),
        ("ip6 protochain 6", False),
    ],
)
def test_what_a_socket_can_run(expression: str, on_socket: bool) -> None:
    """What looks at VLAN tags or loops is not for sockets, and is not attached."""
    program = compile_filter(expression)
    assert program.on_socket is on_socket
    if not on_socket:
        with pytest.raises(ConfigError, match="cannot run on a socket"):
            program.attach(None)  # type: ignore[arg-type]


def test_a_socket_takes_4096_instructions() -> None:
    """A longer program is not for sockets."""
    code = compile_filter("tcp").code
    assert Program("", np.resize(code, 4096)).on_socket
    assert not Program("", np.resize(code, 4097)).on_socket


def test_a_program_cuts_to_the_snap_length() -> None:
    """What passes is cut to `snaplen` bytes: that is what the program returns."""
    (instruction,) = compile_filter("", snaplen=100).code.tolist()
    code, _, _, value = struct.unpack("=HBBI", struct.pack("=Q", instruction))
    assert (code, value) == (0x06, 100)


# Sends datagrams to two ports in a network of its own, and says which of them a filtered packet socket has got.
_ON_SOCKET = """
import ctypes, fcntl, os, socket, struct, sys
CLONE_NEWNET = 0x40000000
if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
    sys.exit(77)
from flowgauge.sources.filters import compile_filter
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as up:
    fcntl.ioctl(up, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
ring = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # receives nothing until it is bound
compile_filter(sys.argv[1], snaplen=200).attach(ring)
ring.bind(("lo", 3))
ring.settimeout(0.2)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in (5000, 6000, 5000):
    sender.sendto(bytes(300), ("127.0.0.1", port))
found = []
try:
    for _ in range(20):
        frame, address = ring.recvfrom(65536)
        if address[2] != socket.PACKET_OUTGOING:
            found.append((int.from_bytes(frame[36:38], "big"), len(frame)))
except TimeoutError:
    pass
print(found)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="packet sockets are Linux's")
@pytest.mark.parametrize(
    ("expression", "expected"),
    [("udp port 5000", [(5000, 200)] * 2), ("udp", [(5000, 200), (6000, 200), (5000, 200)]), ("tcp", [])],
)
def test_attached_to_a_socket(expression: str, expected: list[tuple[int, int]]) -> None:
    """The system delivers to a packet socket only what passes, cut to the snap length."""
    done = subprocess.run([sys.executable, "-c", _ON_SOCKET, expression], capture_output=True, text=True, timeout=60)
    if done.returncode == 77:
        pytest.skip("a network namespace needs root")
    assert (done.stderr, done.stdout) == ("", f"{expected}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_FILTER is Linux's")
def test_attached_to_a_datagram_socket() -> None:
    """A filter can be attached to any socket, without being root."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as plain:
        compile_filter("tcp port 443").attach(plain)


def test_a_refused_filter_is_an_error() -> None:
    """What the system does not take is an error with its reason."""
    from flowgauge.errors import SourceError

    plain = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    plain.close()
    with pytest.raises(SourceError, match="refuses the filter 'tcp'"):
        compile_filter("tcp").attach(plain)


# Filters a row of a batch, and says how often the kernel came from the cache.
_CACHED = """
import numpy as np
from flowgauge.kernels.filters import keep_rows
from flowgauge.kernels.packet import make_batch
from flowgauge.sources.filters import Filter
batch = make_batch(1)
batch.packets.link = 1
assert Filter("len == 0").keep(np.zeros(64, np.uint8), batch, 0, 1, False) == (1, None)
print(sum(keep_rows.dispatcher.stats.cache_hits.values()))
"""


@pytest.mark.compiled
@pytest.mark.skipif(not JIT, reason="not compiled")
def test_the_kernel_comes_from_the_cache(tmp_path: Path) -> None:
    """A kernel that calls libpcap is compiled once on a machine, wherever the library lies in memory."""
    variables = {**os.environ, "FLOWGAUGE_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _CACHED]
    found = [subprocess.run(command, capture_output=True, text=True, env=variables, timeout=100) for _ in range(2)]
    assert [(done.stderr, done.stdout) for done in found] == [("", "0\n"), ("", "1\n")]
