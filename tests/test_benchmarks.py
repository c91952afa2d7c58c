"""The generator of the benchmarks' captures, read back by dpkt."""

from __future__ import annotations

import importlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dpkt
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
PACKETS, FLOWS = 20_000, 1_000


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("generate")


@pytest.fixture(scope="module")
def mix(generator: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "mix.pcap"
    generator.generate(path, "mix", PACKETS, FLOWS, seed=7, precision="ns")
    return path


def read(path: Path) -> list[tuple[float, bytes]]:
    with path.open("rb") as capture:
        return list(dpkt.pcap.Reader(capture))


def ip_packets(path: Path) -> list[Any]:
    return [dpkt.ethernet.Ethernet(frame).data for _, frame in read(path)]


def key(ip: Any) -> tuple[Any, ...]:
    """The flow key of a packet: unordered endpoints and the protocol."""
    ends = sorted([(ip.src, getattr(ip.data, "sport", 0)), (ip.dst, getattr(ip.data, "dport", 0))])
    return (*ends, ip.p)


def test_same_seed_same_bytes(generator: ModuleType, mix: Path, tmp_path: Path) -> None:
    """The same seed gives the same bytes, another seed others."""
    again, other = tmp_path / "again.pcap", tmp_path / "other.pcap"
    generator.generate(again, "mix", PACKETS, FLOWS, seed=7, precision="ns")
    generator.generate(other, "mix", PACKETS, FLOWS, seed=8, precision="ns")
    assert again.read_bytes() == mix.read_bytes()
    assert other.read_bytes() != mix.read_bytes()


@pytest.mark.parametrize(
    ("kind", "packets", "flows"), [("mix", PACKETS, FLOWS), ("small", 9000, 64), ("open", 9001, 1800), ("one", 1, 1)]
)
def test_counts(generator: ModuleType, tmp_path: Path, kind: str, packets: int, flows: int) -> None:
    """Every kind of capture has exactly the packets and flows asked for, in time order."""
    path = tmp_path / "trace.pcap"
    generator.generate(path, kind, packets, flows)
    assert len({key(ip) for ip in ip_packets(path)}) == flows
    times = [time for time, _ in read(path)]
    assert len(times) == packets
    assert times == sorted(times)


def test_mix_looks_real(mix: Path) -> None:
    """The mix has the shares of protocols and the two humps of sizes that it promises."""
    frames = [frame for _, frame in read(mix)]
    ips = ip_packets(mix)
    protocols = Counter(ip.p for ip in ips)
    flow_sizes = Counter(key(ip) for ip in ips).values()
    assert 600 <= sum(map(len, frames)) / PACKETS <= 720
    assert sum(len(frame) <= 110 for frame in frames) / PACKETS > 0.3
    assert sum(len(frame) >= 1350 for frame in frames) / PACKETS > 0.3
    assert protocols[dpkt.ip.IP_PROTO_TCP] / PACKETS == pytest.approx(0.8, abs=0.02)
    assert len({key(ip) for ip in ips if isinstance(ip, dpkt.ip6.IP6)}) / FLOWS == pytest.approx(0.15, abs=0.04)
    assert sum(size <= 10 for size in flow_sizes) > FLOWS / 2
    assert max(flow_sizes) > PACKETS / 100


def checksummed(ip: Any) -> bytes:
    """What the checksum above IP covers (RFC 1071): the pseudo-header, but for ICMP, and the packet."""
    above = bytes(ip.data)
    if ip.p == dpkt.ip.IP_PROTO_ICMP:
        return above
    return bytes(ip.src + ip.dst + len(above).to_bytes(4, "big") + ip.p.to_bytes(4, "big") + above)


def test_headers_are_right(mix: Path) -> None:
    """Lengths and checksums of every packet are what its bytes say."""
    for _, frame in read(mix):
        ethernet = dpkt.ethernet.Ethernet(frame)
        ip = ethernet.data
        header = 14 + 4 * (ethernet.type == dpkt.ethernet.ETH_TYPE_8021Q or hasattr(ethernet, "vlan_tags"))
        length = 40 + ip.plen if isinstance(ip, dpkt.ip6.IP6) else ip.len
        assert header + length == len(frame)
        assert dpkt.in_cksum(checksummed(ip)) == 0
        if isinstance(ip, dpkt.ip.IP):
            assert dpkt.in_cksum(ip.pack_hdr()) == 0


def test_connections_are_whole(mix: Path) -> None:
    """Each TCP segment starts where its sender's last one ended, and acknowledges all that the peer has sent."""
    following: dict[tuple[Any, ...], dict[bytes, int]] = defaultdict(dict)
    segments = 0
    for ip in ip_packets(mix):
        if ip.p != dpkt.ip.IP_PROTO_TCP:
            continue
        tcp, sides = ip.data, following[key(ip)]
        assert sides.get(ip.src, tcp.seq) == tcp.seq
        if tcp.flags & dpkt.tcp.TH_ACK:
            assert sides[ip.dst] == tcp.ack
        used = len(tcp.data) + bool(tcp.flags & dpkt.tcp.TH_SYN) + bool(tcp.flags & dpkt.tcp.TH_FIN)
        sides[ip.src] = (tcp.seq + used) % 2**32
        segments += 1
    assert segments > PACKETS / 2


def test_all_open(generator: ModuleType, tmp_path: Path) -> None:
    """In an `open` capture all flows have begun before the first one ends."""
    path = tmp_path / "open.pcap"
    generator.generate(path, "open", 5000, 1000)
    first, last = {}, {}
    for (time, _), ip in zip(read(path), ip_packets(path), strict=True):
        first.setdefault(key(ip), time)
        last[key(ip)] = time
    assert max(first.values()) < min(last.values())


def test_small_frames(generator: ModuleType, tmp_path: Path) -> None:
    """Every frame of a `small` capture has 64 bytes."""
    path = tmp_path / "small.pcap"
    generator.generate(path, "small", 1000, 10)
    assert {len(frame) for _, frame in read(path)} == {64}


def test_too_few_packets(generator: ModuleType, tmp_path: Path) -> None:
    """More flows than packets can fill are refused, and no file is left."""
    with pytest.raises(ValueError, match="flows"):
        generator.generate(tmp_path / "trace.pcap", "mix", 100, 90)
    assert list(tmp_path.iterdir()) == []


def test_tiles_are_one_trace_of_flows_between_other_hosts(generator: ModuleType, tmp_path: Path) -> None:
    """Each piece comes later than the one before, cut to the same first bytes, and no flow is in two of them."""
    tiles = importlib.import_module("tiles")
    path, out = tmp_path / "mix.pcap", tmp_path / "long.pcap"
    generator.generate(path, "mix", 3000, 150, seed=7)
    tile = tiles.make_tile(path, 3000, 96)
    with out.open("wb") as output:
        tiles.write_tiles(tile, 9000, output)
    frames = read(out)
    assert len(frames) == 9000
    assert max(len(data) for _, data in frames) == 96
    times = [time for time, _ in frames]
    spans = [(min(piece), max(piece)) for piece in (times[:3000], times[3000:6000], times[6000:])]
    assert spans[0][1] < spans[1][0] < spans[1][1] < spans[2][0]
    import flowgauge as fg

    whole = fg.read(out, features="core", idle_timeout="off", active_timeout="off", no_tcp_end=True)
    assert whole.num_rows == 3 * fg.read(path, features="core", no_tcp_end=True).num_rows
    assert whole["packets"].to_numpy().sum() == 9000


def test_the_page_of_scale_is_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/scale.md is what `python benchmarks/scale.py --page` writes."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    page = importlib.import_module("scale_page")
    results = json.loads((BENCHMARKS / "scale.json").read_text("utf-8"))
    assert page.PAGE.read_text("utf-8") == page.page(results)
