"""Group `raw`: bytes of packets, for models of bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import flowgauge as fg
from packets import A, B, Layer, capture, eth, icmp, ip4, ip6, sctp, sent, tcp, udp

SECRETS = [bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes.fromhex("20010db8"), (40001).to_bytes(2, "big")]


def _table(*packets: Layer, **options: Any) -> pa.Table:
    frames = [sent(second, eth(packet)) for second, packet in enumerate(packets)]
    return fg.read(io.BytesIO(capture(frames)), features="raw", **options)


def test_bytes_begin_with_the_ip_header() -> None:
    """Each packet's bytes begin with its IP header, end with the option's number of bytes, and are padded with 0."""
    request, answer = ip4(udp(40001, 53, b"?" * 30)), ip4(udp(53, 40001, b"!"), B, A)
    row = _table(request, answer, raw_packets=3, raw_bytes=32).to_pylist()[0]
    assert row["raw_len"] == [32, 29]
    assert row["raw_bytes"] == request.data[:32] + answer.data + bytes(3)


def test_padding_of_the_frame_is_no_byte_of_the_packet() -> None:
    """What the link puts behind the IP packet is left out."""
    packet = ip4(tcp(40001, 443, "S"))
    frame = eth(packet) + b"\xee" * 6
    row = fg.read(io.BytesIO(capture([sent(0, frame)])), features="raw").to_pylist()[0]
    assert row["raw_len"] == [40] and row["raw_bytes"] == packet.data + bytes(88)


@pytest.mark.parametrize(
    "packet",
    [
        ip4(tcp(40001, 443, "S")),
        ip4(udp(40001, 443, b"data")),
        ip4(icmp(3, 3, ip4(udp(40001, 53, b"")).data)),
        ip6(tcp(40001, 443, "S")),
        ip6(sctp(40001, 443, b"data")),
    ],
    ids=["tcp", "udp", "icmp error", "ipv6", "sctp"],
)
def test_masked_bytes_do_not_tell_the_ends(packet: Layer) -> None:
    """Neither an address nor a port is left, in the headers or in what an ICMP error quotes; lengths and flags are."""
    bare, masked = (_table(packet, raw_masked=value).to_pylist()[0] for value in (False, True))
    assert any(secret in bare["raw_bytes"] for secret in SECRETS)
    assert not any(secret in masked["raw_bytes"] for secret in SECRETS)
    assert masked["raw_len"] == bare["raw_len"]
    assert masked["raw_bytes"][:8] == bare["raw_bytes"][:8]


def test_masked_bytes_hide_checksums() -> None:
    """Checksums are sums over addresses and ports: two flows that differ in these alone have the same bytes."""

    def with_sums(packet: Layer, sums: bytes) -> Layer:
        return Layer(packet.number, packet.data[:10] + sums + packet.data[12:36] + sums + packet.data[38:])

    one = with_sums(ip4(tcp(40001, 443, "S", seq=7)), b"\x12\x34")
    two = with_sums(ip4(tcp(50000, 443, "S", seq=7), "192.0.2.7"), b"\x43\x21")
    rows = _table(one, two, raw_masked=True).to_pylist()
    assert len(rows) == 2
    assert rows[0]["raw_bytes"] == rows[1]["raw_bytes"]


def test_packet_bytes_are_a_dense_array() -> None:
    """Bytes are (flow, packet, byte), with a mask of those that are there; also of a table in pieces, or of no rows."""
    table = _table(ip4(udp(1, 2, b"ab")), ip4(udp(1, 2, b"c")), ip4(tcp(5, 6, "S")), raw_packets=3, raw_bytes=32)
    found = fg.packet_bytes(table)
    assert found.values.shape == found.mask.shape == (2, 3, 32) and found.values.dtype == np.uint8
    rows = {row["protocol"]: number for number, row in enumerate(table.to_pylist())}
    assert found.mask[rows[17]].sum(axis=1).tolist() == [30, 29, 0]
    assert found.mask[rows[6]].sum(axis=1).tolist() == [32, 0, 0]
    assert found.values[rows[17], 1, 28:].tolist() == [ord("c"), 0, 0, 0]
    pieces = pa.concat_tables([table.slice(1), table.slice(0, 1)])
    assert np.array_equal(fg.packet_bytes(pieces).values, found.values[::-1])
    assert fg.packet_bytes(table.slice(0, 0)).values.shape == (0, 3, 32)
    with pytest.raises(fg.ConfigError, match="there are no bytes of packets: meter with features='raw'"):
        fg.packet_bytes(table.drop_columns(["raw_bytes"]))
