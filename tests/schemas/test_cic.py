"""Schemas cic and cic2017: the published formulas, on the packet sequences that show CICFlowMeter's bugs.

Letters are those of docs/migration.md.
"""

from __future__ import annotations

import io
from typing import Any

import pytest

import flowgauge as fg
from packets import A, B, Sent, capture, eth, icmp, ip4, ip6, sent, tcp, udp

Row = dict[str, Any]


def read(*frames: Sent, schema: str = "cic", **options: Any) -> list[Row]:
    rows: list[Row] = fg.read(io.BytesIO(capture(frames)), schema=schema, preset="cic", **options).to_pylist()
    return rows


def up(seconds: float, flags: str = "A", payload: int = 0, seq: int = 1, window: int = 100) -> Sent:
    return sent(seconds, eth(ip4(tcp(1024, 80, flags, seq, 1, bytes(payload), window=window), A, B)))


def down(seconds: float, flags: str = "A", payload: int = 0, seq: int = 1, window: int = 200) -> Sent:
    return sent(seconds, eth(ip4(tcp(80, 1024, flags, seq, 1, bytes(payload), window=window), B, A)))


def test_a_flow_ends_with_both_fins() -> None:
    """(a, b) The first FIN of the server ends no flow, what follows opens none, and each FIN counts."""
    frames = [
        up(0, "S", seq=0),
        down(0.1, "SA", seq=0),
        up(0.2),
        down(0.3, "FA"),
        up(0.4),
        up(0.5, "FA"),
        up(0.6, "FA"),
    ]
    (row,) = read(*frames, down(0.7, seq=2))
    assert (row["Total Fwd Packet"], row["Total Bwd packets"], row["FIN Flag Count"]) == (5, 3, 3)


def test_direction_outlives_the_timeout() -> None:
    """(c) After the active timeout a packet of the server is still a backward one."""
    first, second = read(up(0, "S"), down(1, "SA"), down(130, "A", 10, seq=2))
    assert (first["Src IP"], second["Src IP"]) == (A, A)
    assert (second["Total Fwd Packet"], second["Total Bwd packets"]) == (0, 1)


def test_every_length_counts_once() -> None:
    """(d, o) Statistics of both directions count the first packet once, and no padding of the frame."""
    frame = Sent(up(0).time, up(0, "A", 0).data + bytes(6), 60)
    (row,) = read(frame, up(1, "A", 30), down(2, "A", 60))
    assert (row["Packet Length Mean"], row["Packet Length Std"]) == (30.0, 30.0)
    assert (row["Packet Length Variance"], row["Average Packet Size"]) == (900.0, 30.0)
    assert (row["Packet Length Min"], row["Packet Length Max"]) == (0, 60)


def test_bulks_are_found_in_both_directions() -> None:
    """(e, f) A forward bulk is a forward one, and averages have fractions."""
    ups = [up(0.1 * n, "A", 10 + n, seq=1 + 20 * n) for n in range(5)]
    downs = [down(1 + 0.1 * n, "A", 100, seq=1 + 100 * n) for n in range(4)]
    (row,) = read(*ups, *downs)
    assert (row["Fwd Packet/Bulk Avg"], row["Fwd Bytes/Bulk Avg"]) == (5.0, 60.0)
    assert row["Fwd Bulk Rate Avg"] == pytest.approx(150.0)
    assert (row["Bwd Packet/Bulk Avg"], row["Bwd Bytes/Bulk Avg"]) == (4.0, 400.0)
    assert row["Down/Up Ratio"] == 0.8


def test_one_subflow_without_a_gap() -> None:
    """(g) A flow without a gap above 1 s is one subflow, with one gap two."""
    (row,) = read(up(0, payload=10), down(0.5, payload=4))
    assert (row["Subflow Fwd Packets"], row["Subflow Fwd Bytes"], row["Subflow Bwd Bytes"]) == (1.0, 10.0, 4.0)
    (row,) = read(up(0, payload=10), down(2, payload=5))
    assert (row["Subflow Fwd Packets"], row["Subflow Bwd Bytes"]) == (0.5, 2.5)


def test_the_initial_window_is_the_first() -> None:
    """(h) Later windows do not replace that of the first segment."""
    (row,) = read(up(0, "S", window=1000), down(1, "SA", window=2000), down(2, "A", window=3), up(3, window=4))
    assert (row["FWD Init Win Bytes"], row["Bwd Init Win Bytes"]) == (1000, 2000)


def test_flags_and_data_of_every_packet() -> None:
    """(i, j) PSH, URG and packets with data are counted in every packet, the first one too."""
    (row,) = read(
        up(0, "PA", 5), up(1, "PA", 5, seq=6), up(2, "UA", 0, seq=11), down(3, "PA", 7), down(4, "PA", 7, seq=8)
    )
    assert (row["Fwd PSH Flags"], row["Bwd PSH Flags"], row["Fwd URG Flags"]) == (2, 2, 1)
    assert row["Fwd Act Data Pkts"] == 2


def test_flows_of_one_packet_are_there() -> None:
    """(k) A single packet is a row; rates over no time are null, not infinite."""
    (row,) = read(up(0, "S"))
    assert (row["Total Fwd Packet"], row["Flow Duration"]) == (1, 0)
    assert (row["Flow Bytes/s"], row["Flow Packets/s"], row["Fwd Packets/s"]) == (None, None, None)
    assert (row["Flow IAT Mean"], row["Fwd IAT Total"], row["Packet Length Std"]) == (0.0, 0.0, 0.0)


def test_other_protocols_and_ip_versions() -> None:
    """(l, m) ICMP is protocol 1 and a flow of its own; IPv6 has times, flags and windows like IPv4."""
    frames = [
        sent(0, eth(ip4(icmp(8, payload=bytes(8))))),
        sent(0.5, eth(ip6(tcp(1024, 80, "S", window=77)))),
        sent(0.502, eth(ip6(tcp(1024, 80, "PA", 1, 1, b"abc")))),
    ]
    echo, page = read(*frames)
    assert (echo["Protocol"], echo["Src Port"]) == (1, 0)
    assert (page["Flow Duration"], page["SYN Flag Count"], page["FWD Init Win Bytes"]) == (2000, 1, 77)


def test_every_period_is_flushed() -> None:
    """(n) Active and Idle are durations, and the last period counts."""
    (row,) = read(up(0), up(1, seq=2), up(8, seq=3), up(10, seq=4))
    assert (row["Active Mean"], row["Active Max"], row["Active Min"]) == (1_500_000.0, 2_000_000.0, 1_000_000.0)
    assert (row["Idle Mean"], row["Idle Std"]) == (7_000_000.0, 0.0)


def test_no_gap_is_negative() -> None:
    """(q) A packet with an earlier time has a gap of 0."""
    (row,) = read(up(1), up(0, seq=2), up(3, seq=3))
    assert (row["Flow IAT Min"], row["Flow IAT Max"], row["Fwd IAT Total"]) == (0.0, 2_000_000.0, 2_000_000.0)
    assert row["Flow Duration"] == 3_000_000


def test_headers_are_those_of_the_transport() -> None:
    """Header lengths are of TCP and UDP headers with their options."""
    frames = [sent(0, eth(ip4(tcp(1024, 80, "S", mss=1400, sack=True)))), up(1), down(2)]
    (row,) = read(*frames)
    assert (row["Fwd Header Length"], row["Bwd Header Length"], row["Fwd Seg Size Min"]) == (28 + 20, 20, 20)
    (row,) = read(sent(0, eth(ip4(udp(1024, 53, b"x")))))
    assert (row["Fwd Header Length"], row["Fwd Seg Size Min"]) == (8, 8)


def test_identity_time_and_label() -> None:
    """The id has the lower address first; the time is UTC; the label comes from the file's name."""
    (row,) = read(down(0.25), no_tcp_end=True)
    assert row["Flow ID"] == f"{A}-{B}-1024-80-6"
    assert row["Timestamp"] == "14/11/2023 10:13:20 PM"
    assert row["Label"] == "NeedManualLabel"


def test_both_spellings_have_the_same_values() -> None:
    """cic2017 is cic under the names of CIC-IDS2017, which repeat the forward header length."""
    frames = [up(0, "PA", 5), down(1, "PA", 7), up(2, seq=6)]
    (row,), (old,) = read(*frames), read(*frames, schema="cic2017")
    assert old.pop("Fwd Header Length.1") == row["Fwd Header Length"]
    assert list(old.values()) == list(row.values())
    assert (len(row), list(old)[8:10]) == (84, ["Total Fwd Packets", "Total Backward Packets"])
    assert {"Init_Win_bytes_forward", "act_data_pkt_fwd", "min_seg_size_forward", "CWE Flag Count"} <= old.keys()
