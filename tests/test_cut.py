"""Cutting packets out by records: exactly those that count in them, and metering them again gives the same rows."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowgauge as fg
import oracle
import strategies
from captures import COMPRESSORS, enhanced, interface, section, write_pcap
from flowgauge.cutting.packets import file_names
from flowgauge.labels.inside import to_comment
from meters import by_oracle
from packets import START, A, B, Sent, capture, eth, ip4, sent, tcp, udp
from reading import read_rows
from strategies import Frames, examples

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "captures"
OTHER_PLACE = ("flow_id", "first_packet", "source")
"""Columns that say where packets are, which is elsewhere once they are cut."""

Key = tuple[int, int]


def read(content: bytes, folder: Path, name: str = "a.pcapng", **options: Any) -> pa.Table:
    """The records of a capture that is put into a file."""
    (folder / name).write_bytes(content)
    return fg.read(folder / name, **{name: "off" if value is None else value for name, value in options.items()})


def packets_of(content: bytes) -> list[tuple[Any, ...]]:
    """Time, bytes, length on the wire and link of every packet, as it is stored."""
    rows, _ = read_rows(content, timed=False)
    return [(row.time, row.data, row.frame_len, row.link) for row in rows]


def cut_packets(table: pa.Table, **options: Any) -> list[tuple[Any, ...]]:
    """The packets of the records of a table."""
    output = io.BytesIO()
    fg.cut(table, output, **options)
    return packets_of(output.getvalue())


def frames_of_records(content: bytes, options: dict[str, Any]) -> dict[Key, set[int]]:
    """Of each record, by flow_id and part, the numbers of its frames: as the oracle has it."""
    found: dict[Key, set[int]] = defaultdict(set)
    count = oracle.FlowTable._count

    def noting(table: oracle.FlowTable, flow: oracle.Flow, packet: oracle.Packet) -> bool:
        counted = count(table, flow, packet)
        assert flow.record is not None
        found[flow.record.flow_id, flow.record.part].add(packet.number)
        return counted

    with mock.patch.object(oracle.FlowTable, "_count", noting):
        by_oracle(content, **options)
    return found


def assert_exact(frames: Frames, options: dict[str, Any], folder: Path, chance: random.Random) -> None:
    """Cut random rows, and all of the others: the oracle says what is in both."""
    content = capture(frames)
    expected = frames_of_records(content, options)
    table = read(content, folder, features="core", **options)
    assert set(zip(table["flow_id"].to_pylist(), table["part"].to_pylist(), strict=True)) == set(expected)
    stored = packets_of(content)
    chosen = [chance.random() < 0.5 for _ in range(len(table))]
    for mask in (chosen, [not yes for yes in chosen]):
        rows = table.filter(pa.array(mask, pa.bool_()))
        if len(rows):
            keys = zip(rows["flow_id"].to_pylist(), rows["part"].to_pylist(), strict=True)
            numbers = sorted(set().union(*(expected[key] for key in keys)))
            assert cut_packets(rows) == [stored[number - 1] for number in numbers]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cut")


CONVERSATIONS = (
    strategies.connections(),
    strategies.exchanges(),
    strategies.fragments(),
    strategies.clocks(),
    strategies.tunnelled_conversations(),
)


@examples(40)
@given(frames=st.one_of(CONVERSATIONS), options=strategies.options(), chance=st.randoms(use_true_random=False))
def test_what_is_cut_is_what_counts(
    folder: Path, frames: Frames, options: dict[str, Any], chance: random.Random
) -> None:
    """The packets of any rows are those that the oracle puts into these records, as they were captured."""
    assert_exact(frames, options, folder, chance)


@examples(15)
@given(frames=strategies.crowds(), options=strategies.options(limit=True), chance=st.randoms(use_true_random=False))
def test_evicted_flows_are_kept_apart(
    folder: Path, frames: Frames, options: dict[str, Any], chance: random.Random
) -> None:
    """The same holds where flows are evicted: which ones is found out by metering all packets again."""
    assert_exact(frames, options, folder, chance)


def plain(table: pa.Table, *left_out: str) -> list[str]:
    """The rows as texts, in order of these: without where their packets are."""
    kept = [name for name in table.column_names if name not in (*OTHER_PLACE, *left_out)]
    return sorted(json.dumps(row, default=str) for row in table.select(kept).to_pylist())


def ended_by_silence(table: pa.Table) -> pa.Table:
    """The rows with one word for the end of a flow that nothing follows: what other flows' packets say of the time that
    it was silent is not in the cut."""
    place = table.schema.get_field_index("end_reason")
    reasons = table["end_reason"].cast(pa.string())
    same = pc.if_else(pc.equal(reasons, "eof"), "idle", reasons)
    return table.set_column(place, "end_reason", same)


WITHOUT = ("dedup", "reorder")


@examples(25)
@given(
    frames=st.one_of(strategies.connections(), strategies.exchanges(), strategies.losses()),
    options=strategies.options(),
    chance=st.randoms(use_true_random=False),
)
def test_metering_again_gives_the_rows(
    folder: Path, frames: Frames, options: dict[str, Any], chance: random.Random
) -> None:
    """Metered by the same options, the packets of all rows of some pairs of hosts give these rows, in every column."""
    options = {name: value for name, value in options.items() if name not in WITHOUT}
    table = read(capture(sorted(frames, key=lambda frame: frame.time or 0)), folder, **options)
    pairs = [
        frozenset(ends) for ends in zip(table["client_ip"].to_pylist(), table["server_ip"].to_pylist(), strict=True)
    ]
    kept = {pair for pair in sorted(set(pairs), key=sorted) if chance.random() < 0.5}
    rows = table.filter(pa.array([pair in kept for pair in pairs], pa.bool_()))
    if len(rows):
        fg.cut(rows, folder / "again.pcapng")
        again = read((folder / "again.pcapng").read_bytes(), folder, **options)
        assert plain(ended_by_silence(again)) == plain(ended_by_silence(rows))


LABEL = "{app}_{action}_*.pcap"
ALL_GROUPS = "size,iat,flags,tcp,ip,splt,activity,bulk,payload,distribution,raw"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_example_captures_give_their_rows_again(tmp_path: Path, seed: int) -> None:
    """Random rows of the example captures, cut into a file for each, come out the same in every group, with labels."""
    table = fg.read(EXAMPLES, features=ALL_GROUPS, label=LABEL)
    chance = random.Random(seed)
    rows = table.filter(pa.array([chance.random() < 0.4 for _ in range(len(table))]))
    fg.cut(rows, f"{tmp_path}/")
    again = fg.read(tmp_path, features=ALL_GROUPS, label=LABEL)
    first = pc.equal(rows["part"], 0)
    assert pc.all(first).as_py()
    assert plain(again) == plain(rows)


@pytest.mark.slow
def test_all_rows_of_a_trace_are_all_its_packets(tmp_path: Path) -> None:
    """Without a condition all metered packets are cut, over the files of a joined trace, in their order."""
    files = sorted(EXAMPLES.glob("*.pcap"))[:3]
    table = fg.read(files, join=True)
    fg.write(table, tmp_path / "flows.parquet")
    found = fg.cut(tmp_path / "flows.parquet", tmp_path / "all.pcapng")
    run = [fg.info(path) for path in files]
    assert found == fg.Cut(len(table), sum(one.reasons["metered"] for one in run), 3)
    assert fg.info(tmp_path / "all.pcapng").packets == found.packets


def connection(begin: float, number: int) -> list[Sent]:
    """A connection of four packets, always between the same ends."""
    kinds = (("S", True), ("SA", False), ("FA", True), ("FA", False))
    found = []
    for step, (flags, up) in enumerate(kinds):
        ends, ports = ((A, B), (4000, 80)) if up else ((B, A), (80, 4000))
        acknowledged = number + (flags == "FA") if not up else number + 1
        segment = tcp(*ports, flags, number + (step > 1), acknowledged)
        found.append(sent(begin + step / 10, eth(ip4(segment, *ends))))
    return found


def test_a_reused_connection_is_cut_alone(tmp_path: Path) -> None:
    """Of two connections between the same ends and ports, the row of the second has the packets of the second."""
    frames = [*connection(0, 100), *connection(1, 10_000)]
    table = read(capture(frames), tmp_path)
    assert len(table) == 2
    second = table.filter(pc.greater(table["first_packet"], 1))
    assert [packet[0] for packet in cut_packets(second)] == [frame.time for frame in frames[4:]]


def test_a_connection_over_two_files(tmp_path: Path) -> None:
    """A record of a joined trace has its packets of every file, also where these are in another folder now."""
    frames = [*connection(0, 100), sent(5, FRAME)]
    for name, part in (("b.pcap", frames[:2]), ("a.pcap", frames[2:])):  # in order of time, not of names
        (tmp_path / name).write_bytes(capture(part))
    table = fg.read([tmp_path / "a.pcap", tmp_path / "b.pcap"], join=True)
    rows = table.filter(pc.equal(table["server_port"], 80))
    assert rows["packets"].to_pylist() == [4]
    assert [packet[0] for packet in cut_packets(rows)] == [frame.time for frame in frames[:4]]
    (tmp_path / "moved").mkdir()
    for name in ("a.pcap", "b.pcap"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert len(cut_packets(rows, source_dir=tmp_path / "moved")) == 4
    with pytest.raises(fg.ConfigError, match="extract it again"):
        cut_packets(rows.replace_schema_metadata({b"flowgauge_options": rows.schema.metadata[b"flowgauge_options"]}))


def test_early_records_have_all_their_packets(tmp_path: Path) -> None:
    """Packets behind those that count belong to the row too: it tells how many there are."""
    table = read(capture(connection(0, 100)), tmp_path, first_packets=2)
    assert table["packets"].to_pylist() == [2] and len(cut_packets(table)) == 4


def test_a_fragment_before_its_first_is_cut(tmp_path: Path) -> None:
    """Fragments go with the record that they were metered in, in whatever order they came."""
    whole = udp(4000, 53, bytes(64))
    head = ip4(whole._replace(data=whole.data[:24]), identification=7, more=True)
    tail = ip4(whole._replace(data=whole.data[24:]), identification=7, offset=24)
    frames = [sent(0, eth(tail)), sent(1, eth(ip4(udp(1, 2)))), sent(2, eth(head))]
    table = read(capture(frames), tmp_path)
    rows = table.filter(pc.equal(table["server_port"], 53))
    assert [packet[1] for packet in cut_packets(rows)] == [frames[0].data, frames[2].data]


FRAME = eth(ip4(udp(4000, 53)))


def test_pcapng_is_copied_as_it_is(tmp_path: Path) -> None:
    """Interfaces, comments of packets and the resolution of times stay those of the source; other packets go."""
    comment = [(1, b"by hand")]
    blocks = [
        section(">"),
        interface(order=">", name="wlan0", resolution=6),
        interface(order=">", name="eth0", resolution=9),
        enhanced(5, FRAME, order=">", index=1, pairs=comment),
        enhanced(7, eth(ip4(udp(4001, 53))), order=">", index=0),
    ]
    table = read(b"".join(blocks), tmp_path)
    output = io.BytesIO()
    fg.cut(table.filter(pc.equal(table["client_port"], 4000)), output)
    assert output.getvalue() == b"".join(blocks[:-1])


@pytest.mark.parametrize("order", "<>")
def test_times_of_pcap_keep_their_nanoseconds(tmp_path: Path, order: str) -> None:
    """Packets of a pcap file, of either byte order, keep times, lengths and bytes."""
    content = write_pcap([(START + 7, FRAME[:40], len(FRAME))], ns=True, order=order)
    assert cut_packets(read(content, tmp_path)) == [(START + 7, FRAME[:40], len(FRAME), 1)]


def test_labels_stay_only_where_they_are_true(tmp_path: Path) -> None:
    """The label inside a capture stays with its own packets, and goes where those of another are in the same file."""
    for name, port in (("chat", 4000), ("mail", 4001)):
        pairs = [(1, to_comment({"app": name}, {}).encode())]
        packet = enhanced(port, eth(ip4(udp(port, 53))))
        (tmp_path / f"{name}.pcapng").write_bytes(b"".join([section(pairs=pairs), interface(), packet]))
    table = fg.read([tmp_path / "chat.pcapng", tmp_path / "mail.pcapng"])
    fg.cut(table, tmp_path / "both.pcapng")
    assert fg.read(tmp_path / "both.pcapng")["app"].to_pylist() == [None, None]
    fg.cut(table.slice(0, 1), tmp_path / "one.pcapng")
    assert fg.read(tmp_path / "one.pcapng")["app"].to_pylist() == ["chat"]
    fg.cut(table, f"{tmp_path}/apart/")
    assert fg.read(tmp_path / "apart")["app"].to_pylist() == ["chat", "mail"]


def test_captures_that_tell_of_processes(tmp_path: Path) -> None:
    """Comments of packets that name their processes stay with them."""
    pairs = [(1, b"PID: 7\nCMD: /usr/bin/curl\nARGS: curl")]
    blocks = [section(), interface(), enhanced(1, FRAME, pairs=pairs), enhanced(2, eth(ip4(udp(4001, 53))))]
    table = read(b"".join(blocks), tmp_path)
    assert table["pid"].to_pylist() == [7, None]
    fg.cut(table.slice(0, 1), tmp_path / "one.pcapng")
    assert fg.read(tmp_path / "one.pcapng")["pid"].to_pylist() == [7]


def test_names_of_files() -> None:
    """Files in a folder are called like their captures, below the folder that they share, and all differently."""
    assert file_names(["x/a.pcap.gz", "x/y/b.pcapng"]) == ["a.pcapng", "y/b.pcapng"]
    assert file_names(["x/a.pcap", "x/a.pcapng"]) == ["a.pcap.pcapng", "a.pcapng.pcapng"]


def test_captures_are_never_written_over(tmp_path: Path) -> None:
    """An output that is one of the captures, by whatever name, is refused, alone and in a folder."""
    content = b"".join([section(), interface(), enhanced(5, FRAME)])
    table = read(content, tmp_path)
    (tmp_path / "link.pcapng").symlink_to(tmp_path / "a.pcapng")
    for output in (tmp_path / "a.pcapng", tmp_path / "link.pcapng", tmp_path):
        with pytest.raises(fg.SinkError, match="is one of the captures"):
            fg.cut(table, output)
    assert (tmp_path / "a.pcapng").read_bytes() == content


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    """Two records of a capture that is called a.pcap."""
    frames = [sent(0, FRAME), sent(1, eth(ip4(udp(4001, 53, bytes(100)))))]
    return read(capture(frames), tmp_path, "a.pcap", label="{app}.pcap")


@pytest.mark.parametrize("compression", sorted(COMPRESSORS))
def test_a_capture_may_be_compressed(tmp_path: Path, compression: str) -> None:
    """A compressed capture is read like any other."""
    content = COMPRESSORS[compression](capture([sent(0, FRAME)]))
    assert len(cut_packets(read(content, tmp_path, "a.pcap"))) == 1


def test_a_capture_may_have_been_compressed_or_moved(tmp_path: Path, table: pa.Table) -> None:
    """It is found with the extension of a compression, and by its name in another folder."""
    (tmp_path / "a.pcap.gz").write_bytes(gzip.compress((tmp_path / "a.pcap").read_bytes()))
    (tmp_path / "a.pcap").unlink()
    assert len(cut_packets(table)) == 2
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.pcap.gz").rename(tmp_path / "elsewhere" / "a.pcap.gz")
    with pytest.raises(fg.SourceError, match=r"a\.pcap is not there; --source-dir"):
        cut_packets(table)
    assert len(cut_packets(table, source_dir=tmp_path / "elsewhere")) == 2


def test_a_capture_that_has_changed_is_an_error(tmp_path: Path, table: pa.Table) -> None:
    """Other packets under the same name are never taken for those of the records, and nothing is written."""
    (tmp_path / "a.pcap").write_bytes(capture([sent(0, FRAME), sent(1, eth(ip4(udp(4002, 53, bytes(100)))))]))
    with pytest.raises(fg.SourceError, match=r"client_port was 4001 in the row of flow .* and is 4002"):
        fg.cut(table, tmp_path / "x.pcapng")
    (tmp_path / "a.pcap").write_bytes(capture([sent(0, FRAME)]))
    with pytest.raises(fg.SourceError, match=r"no record of the flow .* begins there now"):
        fg.cut(table, tmp_path / "x.pcapng")
    (tmp_path / "a.pcap").write_bytes(b"no capture at all")
    with pytest.raises(fg.SourceError, match="neither pcap nor pcapng"):
        fg.cut(table, tmp_path / "x.pcapng")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pcap"]


def test_packets_of_a_pipe_are_gone() -> None:
    """Records of a stream tell that nothing holds their packets."""
    table = fg.read(io.BytesIO(capture([sent(0, FRAME)])))
    with pytest.raises(fg.SourceError, match="came through a pipe"):
        cut_packets(table)


def test_tables_that_cannot_be_cut(tmp_path: Path, table: pa.Table) -> None:
    """Anonymised tables, other schemas, tables without their origin and selections of nothing are clear errors."""
    (tmp_path / "key").write_text("00" * 32)
    hidden = fg.read(tmp_path / "a.pcap", anonymize=tmp_path / "key")
    for refused, why in (
        (hidden, "is anonymised"),
        (fg.read(tmp_path / "a.pcap", schema="zeek"), "schema zeek"),
        (table.replace_schema_metadata(None), "does not say how"),
        (table.drop_columns(["part"]), "lacks the column 'part'"),
        (str(tmp_path / "a.csv"), "Parquet or Arrow"),
        (str(tmp_path / "none.parquet"), "no such file"),
        (7, "pyarrow.Table"),
    ):
        with pytest.raises(fg.ConfigError, match=why):
            fg.cut(refused, tmp_path / "x.pcapng")
    with pytest.raises(fg.FlowgaugeError, match="no row"):
        fg.cut(table.slice(0, 0), tmp_path / "x.pcapng")
    assert not (tmp_path / "x.pcapng").exists()


class TestWhere:
    """Rows by a condition of SQL."""

    @pytest.fixture(autouse=True)
    def _duckdb(self) -> None:
        pytest.importorskip("duckdb")

    @pytest.mark.parametrize(
        ("where", "ports"),
        [
            ("client_port = 4001", [4001]),
            ("bytes > 100 and app = 'a'", [4001]),
            ("bytes = (SELECT min(bytes) FROM flows) -- the smallest", [4000]),
            ("start >= '2020-01-01' AND vlan IS NULL", [4000, 4001]),
        ],
    )
    @pytest.mark.parametrize("form", ["parquet", "arrow", "table"])
    def test_rows_are_chosen(self, tmp_path: Path, table: pa.Table, where: str, ports: list[int], form: str) -> None:
        """A condition sees the columns, and `bytes` for those of frames, of a file or a table."""
        source: Any = table
        if form != "table":
            source = tmp_path / f"flows.{form}"
            fg.extract(tmp_path / "a.pcap", source, label="{app}.pcap")
        fg.cut(source, tmp_path / "x.pcapng", where=where)
        assert sorted(fg.read(tmp_path / "x.pcapng")["client_port"].to_pylist()) == ports

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ("byts > 3", r'"byts" not found[\s\S]*bytes[\s\S]*line 1: byts > 3\n        \^'),
            ("app = = 'a'", r"syntax error[\s\S]*line 1: app = = 'a'\n              \^"),
            ("", "empty"),
            ("true); ATTACH 'x.db' AS y; SELECT (true", "not 3 statements"),
            ("flow_id IN (SELECT 1 FROM read_csv('/etc/passwd'))", "disabled by configuration"),
            ("EXISTS (FROM '/etc/passwd')", "does not exist"),
            ("duration_s > 'long'", "'long'"),
        ],
    )
    def test_bad_conditions_are_errors(self, tmp_path: Path, table: pa.Table, where: str, message: str) -> None:
        """A mistake is shown at its place, and a condition reads no files and runs nothing else."""
        with pytest.raises(fg.ConfigError, match=message):
            fg.cut(table, tmp_path / "x.pcapng", where=where)

    def test_without_duckdb(self, tmp_path: Path, table: pa.Table) -> None:
        """Where DuckDB is missing, the error says how to install it; without a condition it is not needed."""
        with mock.patch.dict("sys.modules", {"duckdb": None}):
            with pytest.raises(fg.MissingDependency, match=r"pip install 'flowgauge\[sql\]'"):
                fg.cut(table, tmp_path / "x.pcapng", where="true")
            assert fg.cut(table, tmp_path / "x.pcapng").packets == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("capinfos") is None, reason="capinfos is not installed")
def test_wireshark_reads_what_was_cut(tmp_path: Path) -> None:
    """Wireshark's tools read a file of several sections, with every packet."""
    found = fg.cut(fg.read(EXAMPLES), tmp_path / "x.pcapng")
    command = ["capinfos", "-c", "-M", "-r", "-T", str(tmp_path / "x.pcapng")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[-1] == str(found.packets)
