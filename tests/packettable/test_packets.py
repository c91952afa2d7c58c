"""The packet table: its values are those of the headers, and nothing but the packets decides them."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import flowgauge as fg
from captures import write_pcapng
from docpages import ROOT
from flowgauge.kernels.packet import make_batch
from flowgauge.packettable.build import Numbers, PacketBuilder
from flowgauge.packettable.columns import ALWAYS, PACKET_COLUMNS, WIRESHARK, packet_columns, packet_schema
from flowgauge.packettable.packets import write_packets
from flowgauge.packettable.run import PacketRun
from flowgauge.run import Hooks
from packets import (
    A6,
    MAC_A,
    MAC_B,
    RAW_IP,
    START,
    A,
    B,
    Sent,
    capture,
    eth,
    fragment6,
    icmp,
    icmp6,
    ip4,
    ip6,
    other,
    sctp,
    sent,
    tcp,
    udp,
)

EXAMPLES = ROOT / "examples" / "captures"


def table(frames: list[Sent], **options: Any) -> pa.Table:
    found = fg.packets(io.BytesIO(capture(frames)), **options).read_all()
    found.validate(full=True)
    return found


def row(frame: bytes, **options: Any) -> dict[str, Any]:
    """The one row of a capture of this frame, without what is null."""
    (found,) = table([sent(0, frame)], **options).to_pylist()
    return {name: value for name, value in found.items() if value is not None}


def test_a_packet_has_the_values_of_its_headers() -> None:
    """Every field of a SYN with options under a VLAN tag, as it was built; columns of what it has not are null."""
    syn = tcp(40000, 443, "S", seq=7, ack=9, window=100, mss=1460, scale=7, sack=True)
    frame = eth(ip4(syn, ttl=9, tos=0xB8, identification=77), vlans=[5, 6])
    found = row(frame)
    assert found.pop("time").value == START
    assert found == {
        **{"source": "stream", "number": 1, "record_offset": 24, "link": 1, "reason": "metered"},
        **{"frame_len": len(frame), "captured_len": len(frame)},
        **{"src_mac": MAC_A.hex(":"), "dst_mac": MAC_B.hex(":"), "vlan": 6, "vlan_outer": 5},
        **{"ip_version": 4, "src_ip": A, "dst_ip": B, "protocol": 6, "ip_len": 20 + len(syn.data), "ip_header_len": 20},
        **{"ttl": 9, "tos": 0xB8, "ip_id": 77, "src_port": 40000, "dst_port": 443},
        **{"tcp_flags": 2, "tcp_seq": 7, "tcp_ack": 9, "tcp_window": 100},
        **{"tcp_mss": 1460, "tcp_window_scale": 7, "tcp_sack_permitted": True},
        **{"header_len": len(syn.data), "payload_offset": len(frame), "payload_len": 0},
    }


TRANSPORTS = {
    "udp": (udp(5, 6, b"abc"), {"src_port": 5, "dst_port": 6, "header_len": 8, "payload_len": 3}),
    "sctp": (sctp(5, 6, b"abc"), {"src_port": 5, "dst_port": 6, "header_len": 12, "payload_len": 3}),
    "icmp": (icmp(8, 1, b"abc"), {"icmp_type": 8, "icmp_code": 1, "header_len": 0, "payload_len": 7}),
    "other": (other(89, b"abc"), {"header_len": 0, "payload_len": 3}),
}
OF_TRANSPORT = {"src_port", "dst_port", "icmp_type", "icmp_code", "header_len", "payload_len"}


@pytest.mark.parametrize("name", TRANSPORTS)
def test_columns_of_other_protocols_are_null(name: str) -> None:
    """Ports are those of TCP, UDP and SCTP, type and code those of ICMP, and nothing of TCP is there without it."""
    content, wanted = TRANSPORTS[name]
    found = row(eth(ip4(content)))
    assert {column: found[column] for column in OF_TRANSPORT & found.keys()} == wanted
    assert not any(column.startswith("tcp_") for column in found)


def test_payload_offset_leads_to_the_payload() -> None:
    """The captured bytes from payload_offset on are the payload, whatever is in front of it."""
    for frame in (
        eth(ip4(udp(1, 2, b"payload"))),
        eth(ip4(tcp(1, 2, mss=5, payload=b"payload"), options=bytes(8)), vlans=[3]),
        eth(ip6(fragment6(udp(1, 2, b"payload")), A6), padding=9),
    ):
        found = row(frame)
        begin = found["payload_offset"]
        assert frame[begin : begin + found["payload_len"]] == b"payload"
        assert frame[begin - found["header_len"] - found["ip_header_len"]] >> 4 == found["ip_version"]


def test_fragments_say_which_they_are() -> None:
    """The first fragment has ports and the later ones have none; the identification joins them."""
    frames = [
        eth(ip4(udp(1, 2, bytes(24)), identification=5, more=True)),
        eth(ip4(other(17, bytes(8)), identification=5, offset=4)),
        eth(ip6(fragment6(udp(1, 2, bytes(24)), identification=9, more=True))),
        eth(ip6(icmp6(128))),
    ]
    found = table([sent(0, frame) for frame in frames])
    assert found["fragment"].to_pylist() == ["first", "later", "first", None]
    assert found["src_port"].to_pylist() == [1, None, 1, None]
    assert found["ip_id"].to_pylist() == [5, 5, 9, None]


def test_what_was_not_captured_is_null() -> None:
    """A TCP header that is cut off, or that the IP packet has no room for, has ports but no numbers; a frame that is no
    IP has its MAC addresses, one of raw IP has none."""
    whole = eth(ip4(tcp(1, 2, "A", seq=3)))
    short = eth(ip4(other(6, tcp(1, 2, "A", seq=3).data[:12])), padding=20)
    for frame in (sent(0, whole, captured=14 + 20 + 19), sent(0, short)):
        found = table([frame]).to_pylist()[0]
        assert (found["src_port"], found["tcp_flags"], found["tcp_seq"]) == (1, None, None)
        assert found["reason"] == "metered"
    arp = row(eth(other(0x0806, bytes(28))))
    assert arp.keys() - {"app", "action"} == ALWAYS | {"src_mac", "dst_mac"}
    assert arp["reason"] == "not_ip"
    raw = table([sent(0, ip4(udp(1, 2)).data, link=RAW_IP)]).to_pylist()[0]
    assert (raw["src_mac"], raw["src_ip"]) == (None, A)


def test_the_innermost_packet_has_the_columns() -> None:
    """Of IP in IP in GRE: addresses and lengths are of the innermost, or of the outermost packet on request."""
    inner = ip4(udp(1, 2, b"abc"), "10.9.9.1", "10.9.9.2")
    frame = eth(ip4(other(47, b"\0\0\x08\0" + ip4(other(4, inner.data)).data)))
    found = row(frame)
    assert (found["tunnel"], found["src_ip"], found["payload_len"]) == ("gre/ipip", "10.9.9.1", 3)
    found = row(frame, tunnels="outer")
    assert ("tunnel" in found, found["src_ip"], found["protocol"]) == (False, A, 47)


def test_tunnels_are_told_apart() -> None:
    """Stacks of encapsulations with different ids or depths are different values, equal ones the same."""
    labels = [b"\x00\x01\x01\x40", b"\x00\x02\x01\x40", b"\x00\x01\x00\x40\x00\x02\x01\x40", b"\x00\x01\x01\x40"]
    ip = ip4(udp(1, 2)).data
    found = table([sent(0, MAC_B + MAC_A + b"\x88\x47" + label + ip) for label in labels])
    assert found["tunnel"].to_pylist() == ["mpls:16", "mpls:32", "mpls:16/mpls:32", "mpls:16"]
    assert len(found["tunnel"].chunk(0).dictionary) == 3


def test_copies_and_filters() -> None:
    """A copy keeps its row and has the reason duplicate; what a filter leaves out has no row, but its number."""
    frame = eth(ip4(udp(1, 2, b"x")))
    frames = [sent(0, frame), sent(0.0001, frame), sent(1, eth(ip4(tcp(1, 2))))]
    assert table(frames, dedup="1ms")["reason"].to_pylist() == ["metered", "duplicate", "metered"]
    assert table(frames)["reason"].to_pylist() == ["metered"] * 3
    pytest.importorskip("ctypes")
    kept = table(frames, filter="tcp")
    assert (kept["number"].to_pylist(), kept["protocol"].to_pylist()) == ([3], [6])


def many(count: int) -> list[Sent]:
    """Packets of as many hosts, of all kinds."""
    kinds = (udp(1, 2, b"x"), tcp(3, 4, "S", mss=9), icmp(8), other(89))
    return [
        sent(i / 100, eth(ip4(kinds[i % 4], f"10.{i >> 8 & 255}.{i & 255}.1") if i % 7 else ip6(kinds[i % 4])))
        for i in range(count)
    ]


@pytest.mark.parametrize("rows", [1024, 3000])
def test_batches_and_containers_change_nothing(rows: int) -> None:
    """However many packets are decoded at a time, in pcap or pcapng, the rows and the batches are the same."""
    frames = many(2500)
    wanted = table(frames)
    run = PacketRun(io.BytesIO(write_pcapng(frames)), Hooks(), rows=rows)
    found = pa.Table.from_batches(run.batches(), run.schema)
    assert found.drop_columns(["record_offset"]).equals(wanted.drop_columns(["record_offset"]))


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_have_their_size(size: int) -> None:
    """Batches are full but for the last one, over the borders of captures, and hold just the values that they use."""
    columns = packet_columns()
    builder = PacketBuilder(columns, packet_schema(columns), rows=size)
    run = PacketRun([io.BytesIO(capture(many(75))), io.BytesIO(capture(many(75)))], Hooks())
    wanted = pa.Table.from_batches(run.batches(), run.schema)
    again = PacketRun([io.BytesIO(capture(many(75))), io.BytesIO(capture(many(75)))], Hooks())
    again._builder = builder
    batches = list(again.batches())
    assert [len(batch) for batch in batches] == [size] * (150 // size) + [150 % size] * (150 % size > 0)
    assert pa.Table.from_batches(batches).to_pylist() == wanted.to_pylist()
    for batch in batches:
        assert set(batch["src_ip"].dictionary.to_pylist()) == set(batch["src_ip"].to_pylist()) - {None}


def test_many_values_have_room() -> None:
    """A table of values grows before it is full, and numbers stay those of the first appearance."""
    numbers = Numbers(30_000)
    places = len(numbers.arrays.places)
    frames = [sent(0, eth(ip4(udp(1, 2), f"10.1.{i >> 8}.{i & 255}"))) for i in range(20_000)]
    found = table([*frames, *frames[:50]])
    assert places / 2 < 20_000
    assert found["src_ip"].to_pylist()[:300] == [f"10.1.{i >> 8}.{i & 255}" for i in range(300)]
    assert found["src_ip"].to_pylist()[-50:] == [f"10.1.0.{i}" for i in range(50)]
    assert len(set(found["src_ip"].to_pylist())) == 20_000


def test_epochs_wrap() -> None:
    """After 2^32 batches values of long ago are not taken for those of now."""
    numbers = Numbers(4)
    numbers.arrays.places.epoch[:] = 1
    numbers.arrays.state[0].epoch = 2**32 - 1
    numbers.restart()
    assert numbers.arrays.state[0].epoch == 1
    assert not numbers.arrays.places.epoch.any()


def test_labels_and_files(tmp_path: Path) -> None:
    """Rows have the file and the labels of its name; files of a folder follow each other."""
    for name in ("chat_login_1.pcap", "web_read_1.pcap", "other.pcap"):
        (tmp_path / name).write_bytes(capture([sent(0, eth(ip4(udp(1, 2))))]))
    with pytest.warns(UserWarning, match="no label in the name of .*other.pcap"):
        found = fg.packets(tmp_path, label="{app}_{action}_{take}.pcap").read_all()
    assert [Path(name).name for name in found["source"].to_pylist()] == [
        "chat_login_1.pcap",
        "other.pcap",
        "web_read_1.pcap",
    ]
    assert found["app"].to_pylist() == ["chat", None, "web"]
    assert found["take"].to_pylist() == ["1", None, "1"]


@pytest.mark.parametrize("extension", ["parquet", "csv", "arrow", "jsonl"])
def test_every_format_has_the_same_rows(tmp_path: Path, extension: str) -> None:
    """What is read back of a file are the values of the table."""
    frames = [*many(40), sent(1, eth(other(0x0806, bytes(28))))]
    path = tmp_path / f"packets.{extension}"
    stats = fg.packets(io.BytesIO(capture(frames)), path, columns="time,src_ip,src_port,tcp_sack_permitted,reason")
    assert (stats.rows, stats.packets, stats.reasons["not_ip"]) == (41, 41, 1)
    wanted = table(frames).select(["src_ip", "src_port", "reason"]).to_pylist()
    if extension == "parquet":
        found = pq.read_table(path)
    elif extension == "arrow":
        found = pa.ipc.open_file(path).read_all()
    else:
        module = pytest.importorskip("pyarrow.csv" if extension == "csv" else "pyarrow.json")
        found = module.read_csv(path) if extension == "csv" else module.read_json(path)
    rows = found.select(["src_ip", "src_port", "reason"]).to_pylist()
    assert [{name: value or None for name, value in row.items()} for row in rows] == wanted


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_parquet_is_read_by_others(tmp_path: Path, compression: str) -> None:
    """Both compressions give the same table to Arrow, DuckDB and polars, with its types and what it was made by."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    path, frames = tmp_path / "packets.parquet", many(300)
    fg.packets(io.BytesIO(capture(frames)), path, compression=compression)
    wanted = table(frames)
    found = pq.read_table(path)
    assert found.equals(wanted)
    assert found.schema.equals(wanted.schema, check_metadata=True)
    codec = pq.read_metadata(path).row_group(0).column(0).compression
    assert codec == {"zstd": "ZSTD", "lz4": "LZ4"}[compression]
    assert duckdb.sql(f"SELECT sum(frame_len), count(tcp_seq), max(src_ip) FROM '{path}'").fetchall()[0] == (
        pc.sum(wanted["frame_len"]).as_py(),
        len(wanted) - wanted["tcp_seq"].null_count,
        max(filter(None, wanted["src_ip"].to_pylist())),
    )
    frame = polars.read_parquet(path)
    assert frame["tcp_mss"].to_list() == wanted["tcp_mss"].to_pylist()
    assert frame["dst_ip"].to_list() == wanted["dst_ip"].to_pylist()


def test_chosen_columns() -> None:
    """Only the columns that are asked for, in that order."""
    assert table(many(3), columns=["ttl", "number"]).column_names == ["ttl", "number"]
    with pytest.raises(fg.ConfigError, match="no column 'tls'; there are source, number"):
        table(many(3), columns="ttl, tls")


def test_wrong_options_are_said() -> None:
    """An option that flows have and packets do not, and a compression of a format that is compressed otherwise."""
    with pytest.raises(fg.ConfigError, match="packets take no option 'idle_timeout'"):
        fg.packets(io.BytesIO(capture([])), idle_timeout=3)
    with pytest.raises(fg.ConfigError, match="compression is of Parquet"):
        write_packets(io.BytesIO(capture([])), io.BytesIO(), format="csv", compression="lz4")
    with pytest.raises(fg.ConfigError, match="'snappy' is not one of zstd, lz4"):
        write_packets(io.BytesIO(capture([])), io.BytesIO(), format="parquet", compression="snappy")


def test_an_empty_capture_is_an_empty_table(tmp_path: Path) -> None:
    """No packet, no row, all columns."""
    fg.packets(io.BytesIO(capture([])), tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    assert table([]).column_names == [column.name for column in packet_columns()]


def test_a_sink_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """What goes wrong while rows are written is raised, and nothing is left behind."""

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(fg.SinkError, match="No space left"):
        write_packets(io.BytesIO(capture(many(10))), Full(), format="csv")


def test_damaged_and_missing_captures(tmp_path: Path) -> None:
    """The packets before the damage are rows; the reader warns, or with `strict` raises."""
    data = capture(many(10))[:-5]
    with pytest.warns(UserWarning, match="cut off.*the packets before were read"):
        assert fg.packets(io.BytesIO(data)).read_all().num_rows == 9
    with pytest.raises(fg.TruncatedCapture):
        fg.packets(io.BytesIO(data), strict=True).read_all()
    (tmp_path / "no.pcap").write_bytes(b"none at all")
    with pytest.raises(fg.SourceError, match=r"no\.pcap is neither pcap nor pcapng"):
        fg.packets(tmp_path / "no.pcap").read_all()
    stats = fg.packets([tmp_path / "no.pcap", io.BytesIO(data)], tmp_path / "x.csv")
    assert (stats.rows, list(stats.failed), list(stats.damaged)) == (9, [str(tmp_path / "no.pcap")], ["stream"])


KEY = ("source", "protocol", "vlan")


def _ends(row: dict[str, Any], one: tuple[str, str], other: tuple[str, str]) -> tuple[Any, ...]:
    ends = sorted(((row[one[0]], row[one[1]] or 0), (row[other[0]], row[other[1]] or 0)))
    return (*(row[name] for name in KEY), *ends)


def _sums(rows: list[dict[str, Any]], ends: Any, values: dict[str, str]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for row in rows:
        sums = found.setdefault(_ends(row, *ends), [0] * len(values))
        for place, name in enumerate(values.values()):
            sums[place] += row[name] if name else 1
    return found


def _with_ports(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Later fragments get the ports of their first one."""
    firsts = {}
    for row in rows:
        datagram = tuple(row[name] for name in ("source", "src_ip", "dst_ip", "protocol", "ip_id"))
        if row["fragment"] == "first":
            firsts[datagram] = {name: row[name] for name in ("src_port", "dst_port")}
        elif row["fragment"] == "later":
            row.update(firsts[datagram])
    return rows


def test_packets_add_up_to_flows() -> None:
    """Packets and bytes of the rows between two ends are those of the flows between them, in every example capture."""
    values = {"packets": "", "frame_bytes": "frame_len", "ip_bytes": "ip_len", "payload_bytes": "payload_len"}
    of_flows = ("client_ip", "client_port"), ("server_ip", "server_port")
    flows = _sums(fg.read(EXAMPLES).to_pylist(), of_flows, {name: name for name in values})
    rows = [row for row in fg.packets(EXAMPLES).read_all().to_pylist() if row["reason"] == "metered"]
    assert any(row["fragment"] == "later" for row in rows)
    assert _sums(_with_ports(rows), (("src_ip", "src_port"), ("dst_ip", "dst_port")), values) == flows
    assert len(flows) > 70


def _tshark(path: Path, fields: list[str]) -> list[list[str]]:
    options = [f"-e{field}" for field in fields]
    preferences = [f"-o{name}:FALSE" for name in ("ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams")]
    command = ["tshark", "-n", "-r", str(path), *preferences, "-Tfields", "-Eoccurrence=f", *options]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [line.split("\t") for line in text.splitlines()]


def _shown(column: str, value: Any) -> Any:
    """A value as Wireshark shows it, as far as that can be compared."""
    if column == "time":
        return value.value
    return {True: 1, False: ""}.get(value, value) if column == "tcp_sack_permitted" else value


def _read(column: str, text: str) -> Any:
    if column == "time":
        seconds, _, fraction = text.partition(".")
        return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
    if column in ("src_mac", "dst_mac", "src_ip", "dst_ip"):
        return text
    return 1 if column == "tcp_sack_permitted" else int(text, 0)


OF_TCP_OR_IPV4 = ("header_len", "payload_len", "ip_len", "ip_header_len", "protocol")  # fields of Wireshark
SLOW_TSHARK = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@SLOW_TSHARK
@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_values_are_those_of_wireshark(path: Path) -> None:
    """Every column with a name in Wireshark has Wireshark's value, in every packet of the example captures that has IP;
    what Wireshark shows of the packet that an ICMP error quotes is left out."""
    rows = fg.packets(path).read_all().to_pylist()
    fields = [field for names in WIRESHARK.values() for field in names]
    lines = _tshark(path, fields)
    assert len(lines) == len(rows) > 0
    compared = 0
    for row, line in zip(rows, lines, strict=True):
        told = dict(zip(fields, line, strict=True))
        for column, names in WIRESHARK.items():
            text = next((told[name] for name in names if told[name] and not _is_quoted(row, name)), "")
            value = _shown(column, row[column])
            if not text or value is None:
                assert not text or row["reason"] == "not_ip", (row["number"], column, text)
                assert value in (None, "") or column in (
                    "header_len",
                    "payload_len",
                    "ip_len",
                    "ip_header_len",
                    "protocol",
                )
                continue
            compared += 1
            assert value == _read(column, text), (row["number"], column)
    assert compared > 10 * len(rows)


def _is_quoted(row: dict[str, Any], name: str) -> bool:
    return row["icmp_type"] is not None and name.startswith(("tcp.", "udp.", "sctp."))


def test_columns_are_described() -> None:
    """Every column has a definition, and every name in Wireshark a column."""
    assert all(column.definition and column.formula for column in PACKET_COLUMNS)
    assert WIRESHARK.keys() <= {column.name for column in PACKET_COLUMNS}
    assert packet_schema(packet_columns()).field("time").nullable is False


def test_rows_below_the_clock_are_refused() -> None:
    """A batch that is too small for the clock is an error of the caller."""
    with pytest.raises(ValueError, match="too small"):
        list(PacketRun(io.BytesIO(capture(many(1))), Hooks(), rows=len(make_batch(1).packets)).batches())
