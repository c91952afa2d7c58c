"""Flows as IPFIX biflows, field by field, and as a collector reads them back."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import flow_tables
from flow_tables import BEGIN, flows_of
from flowgauge.errors import ConfigError, DestinationDown, SinkError
from flowgauge.sinks import Terms, open_sink
from flowgauge.sinks.delivery import ipfix, open_delivery
from flowgauge.sinks.delivery.url import parse_url
from native_rows import SCHEMA, batch_of
from services_here import needs
from sinks.delivery.ipfix_messages import Message, cut, decode

FEATURES = ("core", "size", "iat", "flags", "tcp", "ip")


@pytest.fixture(autouse=True)
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGAUGE_SPOOL_DIR", str(tmp_path / "spool"))


def generated(rows: int) -> pa.Table:
    """Many flows, whose MAC addresses are none and so left out."""
    return flow_tables.generated(rows).drop_columns(["client_mac", "server_mac"])


@contextlib.contextmanager
def listening(kind: int = socket.SOCK_DGRAM) -> Iterator[tuple[socket.socket, int]]:
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.settimeout(10)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        listener.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        yield listener, listener.getsockname()[1]


def received(listener: socket.socket) -> list[bytes]:
    """All datagrams that have come so far."""
    listener.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(65_535))
    return found


def write(table: pa.Table, url: str, terms: Terms = Terms()) -> None:  # noqa: B008 (a tuple)
    with open_sink(url, schema=table.schema, terms=terms) as sink:
        for batch in table.to_batches():
            sink.write(batch)


def sent(table: pa.Table, options: str = "") -> list[Message]:
    """What arrives of a table over UDP."""
    with listening() as (listener, port):
        write(table, f"ipfix://127.0.0.1:{port}{options}")
        return decode(received(listener))


def records(messages: list[Message]) -> list[dict[str, Any]]:
    return [record for message in messages for record in message.records]


FLOWS: tuple[dict[str, object], ...] = (
    {
        **{"flow_id": 2**41 + 5, "start": BEGIN + 123_456_789, "end": BEGIN + 10**9 + 1, "protocol": 6},
        **{"client_ip": "10.1.2.3", "server_ip": "203.0.113.255", "client_port": 40_001, "server_port": 443},
        **{"up_ip_bytes": 2**40, "down_ip_bytes": 7, "up_packets": 2**33, "down_packets": 3, "end_reason": "rst"},
        **{"up_syn_packets": 1, "up_ack_packets": 9, "down_syn_packets": 1, "down_cwr_packets": 2, "client_by": "syn"},
        **{"vlan_outer": 9, "vlan": 4095, "client_mac": "00:11:22:33:44:ff", "server_mac": "aa:bb:cc:dd:ee:ff"},
        **{"up_dscp": 46, "down_dscp": 8, "up_ttl_min": 63, "up_ttl_max": 64, "down_ttl_min": 1, "down_ttl_max": 255},
    },
    {
        **{"flow_id": 1, "ip_version": 6, "protocol": 58, "client_ip": "fd00::1", "server_ip": "2001:db8:0:1::ffff"},
        **{"client_port": 0, "server_port": 0, "icmp_type": 128, "icmp_code": 1, "client_by": "first"},
        **{"up_ip_bytes": 100, "down_ip_bytes": 0, "down_packets": 0, "end_reason": "limit"},
    },
)


def test_every_field_of_an_ipv4_flow() -> None:
    """Addresses, ports, times to the nanosecond, counts, flags and reasons, both ways, as RFC 5103 has them."""
    [record] = records(sent(flows_of(FLOWS[0], features=FEATURES)))
    assert record == {
        **{"flow": 2**41 + 5, "start_ms": (BEGIN + 123_000_000) // 10**6, "end_ms": BEGIN // 10**6 + 1000},
        **{"start_ns": BEGIN + 123_456_789, "end_ns": BEGIN + 10**9 + 1, "version": 4, "protocol": 6},
        **{"source": "10.1.2.3", "destination": "203.0.113.255", "source_port": 40_001, "destination_port": 443},
        **{"octets": 2**40, "reverse_octets": 7, "packets": 2**33, "reverse_packets": 3},
        **{"flags": 0x12, "reverse_flags": 0x82, "end_reason": 3, "direction": 1, "icmp": 0},
        **{"vlan": 9, "inner_vlan": 4095, "source_mac": "00:11:22:33:44:ff", "destination_mac": "aa:bb:cc:dd:ee:ff"},
        **{"dscp": 46, "reverse_dscp": 8, "ttl_min": 63, "ttl_max": 64, "reverse_ttl_min": 1, "reverse_ttl_max": 255},
    }


def test_every_field_of_an_ipv6_flow() -> None:
    """With the elements of IPv6; what is null is 0."""
    [record] = records(sent(flows_of(FLOWS[1], features=FEATURES)))
    assert record == {
        **{"flow": 1, "start_ms": BEGIN // 10**6, "end_ms": BEGIN // 10**6 + 1000, "start_ns": BEGIN},
        **{"end_ns": BEGIN + 10**9, "version": 6, "protocol": 58, "source": "fd00::1"},
        **{"destination": "2001:db8:0:1::ffff", "source_port": 0, "destination_port": 0},
        **{"octets": 100, "reverse_octets": 0, "packets": 4, "reverse_packets": 0},
        **{"flags": 0, "reverse_flags": 0, "end_reason": 5, "direction": 0, "icmp": 128 << 8 | 1},
        **{"vlan": 0, "inner_vlan": 0, "source_mac": "00:00:00:00:00:00", "destination_mac": "00:00:00:00:00:00"},
        **{"dscp": 0, "reverse_dscp": 0, "ttl_min": 0, "ttl_max": 0, "reverse_ttl_min": 0, "reverse_ttl_max": 0},
    }


def test_elements_without_a_column_are_left_out() -> None:
    """Groups that were not computed leave no fields of zeros."""
    [record] = records(sent(flows_of(FLOWS[0], features=("core",))))
    assert {"flags", "reverse_flags", "dscp", "ttl_min"}.isdisjoint(record)
    assert record["reverse_octets"] == 7


@pytest.mark.parametrize(("mtu", "domain"), [(576, 0), (1500, 7), (9000, 2**32 - 1)])
def test_messages_over_udp(mtu: int, domain: int) -> None:
    """None is larger than a packet; sequence numbers count the records before; each delivery begins with templates."""
    table = generated(5000)
    messages = sent(table, f"?mtu={mtu}&domain={domain}")
    assert max(message.length for message in messages) <= mtu - 48
    assert {message.domain for message in messages} == {domain}
    assert all(abs(message.time - time.time()) < 60 for message in messages)
    count = 0
    for message in messages:
        assert message.sequence == count
        count += len(message.records)
    assert count == 5000
    assert [message.templates for message in messages if message.templates] == [[256, 257]] * 3
    found = sorted((record["flow"], record["octets"], record["reverse_octets"]) for record in records(messages))
    columns = (table[name].to_pylist() for name in ("flow_id", "up_ip_bytes", "down_ip_bytes"))
    assert found == sorted(zip(*columns, strict=True))


def test_times_of_every_nanosecond_come_back() -> None:
    """The fractions of NTP are fine enough for them."""
    steps = [0, 1, 2, 499_999_999, 500_000_000, 999_999_998, 999_999_999]
    found = records(sent(flows_of(*({"start": BEGIN + step, "end": BEGIN + step} for step in steps))))
    assert [record["start_ns"] - BEGIN for record in found] == steps


def test_over_tcp_all_is_one_stream() -> None:
    """Templates come once; everything is with the collector's system when the sink is closed."""
    with listening(socket.SOCK_STREAM) as (listener, port):
        streams: list[bytes] = []

        def collect() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                streams.append(stream.read())

        collector = threading.Thread(target=collect)
        collector.start()
        write(generated(9000), f"ipfix://localhost:{port}?transport=tcp")
        collector.join(10)
    messages = decode(cut(streams[0]))
    assert [message.templates for message in messages if message.templates] == [[256, 257]]
    assert len(records(messages)) == 9000


def test_flows_wait_for_a_collector_that_goes_away() -> None:
    """Over TCP a connection that ends is noticed: the delivery goes to the next one, whole."""
    said: list[str] = []
    with listening(socket.SOCK_STREAM) as (listener, port):
        streams: list[bytes] = []

        def collect() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                streams.append(stream.read())

        collector = threading.Thread(target=collect)
        collector.start()
        write(generated(9000), f"ipfix://127.0.0.1:{port}?transport=tcp", Terms(said.append))
        collector.join(10)
    flows = [record["flow"] for record in records(decode(cut(streams[0])))]
    assert {*flows} == {number << 10 for number in range(9000)}
    assert len(flows) <= 9000 + ipfix.Ipfix.rows
    assert [line.split(" (")[0] for line in said] == [
        f"ipfix://127.0.0.1:{port} is down",
        f"ipfix://127.0.0.1:{port} is back; what has waited is delivered",
    ]


def test_a_connection_that_has_ended_in_silence_is_noticed() -> None:
    """By the next delivery, however small, at once."""
    table = flows_of(FLOWS[0])
    with listening(socket.SOCK_STREAM) as (listener, port):
        destination = ipfix.Ipfix(parse_url(f"ipfix://127.0.0.1:{port}?transport=tcp"))
        destination.connect(table.schema)
        connection, _ = listener.accept()
        connection.recv(65_536)
        connection.close()
        begin = time.monotonic()
        with pytest.raises(DestinationDown):
            destination.deliver(table)
        destination.close()
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_collector_that_does_not_listen_is_down(transport: str) -> None:
    """Over UDP, too: the other machine says that nobody is there."""
    with listening() as (_, port):
        pass
    url = f"ipfix://127.0.0.1:{port}?transport={transport}&wait=1"
    with pytest.raises(SinkError, match=r"is down \(Connection refused\); nothing was read"):
        write(flows_of(FLOWS[0]), url)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("ipfix://", r"name one collector: ipfix://collector:4739"),
        ("ipfix://a,b", "name one collector"),
        ("ipfix://host/flows", "name one collector"),
        ("ipfix://host?transport=sctp", "transport is udp or tcp, not 'sctp'"),
        ("ipfix://host?mtu=100", "mtu is a whole number from 576 to 65,535, not '100'"),
        ("ipfix://host?domain=-1", "domain is a whole number from 0"),
        ("ipfix://host?format=json", "no option 'format'; there are domain, mtu, spool, spool_size, transport, wait"),
    ],
)
def test_urls_that_cannot_be(url: str, match: str) -> None:
    """The message says what is allowed, before anything is opened."""
    with pytest.raises(ConfigError, match=match):
        open_delivery(url, SCHEMA, Terms())


def test_flows_of_other_schemas_are_refused() -> None:
    """Their columns are not those that the elements are made of."""
    with pytest.raises(ConfigError, match="takes flows of schema native"):
        write(pa.Table.from_batches([batch_of("zeek", 3)]), "ipfix://127.0.0.1:9")


@pytest.mark.parametrize(
    ("column", "text", "match"),
    [
        ("client_ip", "10.0.0.256", "a value of client_ip is no sourceIPv4Address"),
        ("server_mac", "no:mac", "a value of server_mac is no destinationMacAddress"),
    ],
)
def test_a_value_that_does_not_fit_its_element_is_named(column: str, text: str, match: str) -> None:
    """A table that somebody has edited; it is not taken for a collector that is down."""
    with pytest.raises(SinkError, match=match), listening() as (_, port):
        write(flows_of({column: text}), f"ipfix://127.0.0.1:{port}")


@pytest.fixture
def nfcapd(tmp_path: Path) -> Iterator[tuple[int, Any]]:
    """A collector, and a function that ends it and gives what it has written."""
    with listening() as (_, port):
        pass
    folder = tmp_path / "nfcapd"
    folder.mkdir()
    log = open(tmp_path / "nfcapd.log", "wb")  # noqa: SIM115 (closed below)
    command = ["nfcapd", "-b", "127.0.0.1", "-p", str(port), "-w", str(folder), "-t", "3600", "-B", "4000000"]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    end = time.monotonic() + 10
    while "Startup" not in (tmp_path / "nfcapd.log").read_text():
        assert time.monotonic() < end and process.poll() is None, (tmp_path / "nfcapd.log").read_text()
        time.sleep(0.05)

    def read() -> list[dict[str, Any]]:
        time.sleep(0.5)
        process.terminate()
        process.wait(10)
        command = ["nfdump", "-r", str(next(folder.glob("nfcapd.2*"))), "-o", "json"]
        found: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return found

    yield port, read
    process.kill()
    process.wait()
    log.close()


@pytest.mark.slow
@needs("nfcapd", "nfdump")
def test_a_collector_reads_the_same_flows_back(nfcapd: tuple[int, Any]) -> None:
    """nfcapd takes each biflow as one record: addresses, ports, protocol, times, and both directions' counts."""
    port, read = nfcapd
    table = flows_of(*FLOWS, *({"flow_id": number, "client_port": number} for number in range(2, 900)))
    write(table, f"ipfix://127.0.0.1:{port}")
    found = {}
    for row in read():
        version = "6" if "src6_addr" in row else "4"
        ports = (row.get("src_port", 0), row.get("dst_port", 0))
        counts = tuple(row[name] for name in ("in_bytes", "in_packets", "out_bytes", "out_packets"))
        ends = row[f"src{version}_addr"], row[f"dst{version}_addr"]
        found[(*ends, *ports)] = (row["proto"], row["first"], row["last"], *counts)
    assert len(found) == len(table) == 900
    for row in table.to_pylist():
        expected = [row["protocol"], *(row[name].isoformat(timespec="milliseconds")[:23] for name in ("start", "end"))]
        counts = [row[name] or 0 for name in ("up_ip_bytes", "up_packets", "down_ip_bytes", "down_packets")]
        ends = (row["client_ip"], row["server_ip"], row["client_port"], row["server_port"])
        assert found[ends] == (*expected, *counts)
