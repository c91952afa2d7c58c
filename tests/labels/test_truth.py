"""Labels from a table: which row a record takes, as a join by definition has it, and what tables may look like."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowgauge.errors import ConfigError
from flowgauge.labels.truth import make_truth
from flowgauge.labels.truth.truth import Truth
from truth_tables import SECOND, Record, as_flows, expected_rows, found_rows

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
NETWORKS = (
    *(None, "10.0.0.1", "10.0.0.2", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/31"),
    *("2001:db8::1", "2001:db8::/64", "2001:db8::/126", "::/0"),
)
PORTS = (None, "0", "53", "80", "50-80", "1-65535", "0-65535", "53-54", "1024-49151", "65535")
CAPTURES = ["a/one.pcap", "a/two.pcap", "three.pcap"]
FILES = (None, "one.pcap", "two.pcap", "t*.pcap", "*.pcap", "none.pcap")

records = st.builds(
    lambda pair, ports, protocol, time, capture: Record(*pair, *ports, protocol, time, capture),
    st.one_of(
        st.tuples(*2 * [st.sampled_from([a for a in ADDRESSES if (":" in a) is wide])]) for wide in (True, False)
    ),
    st.tuples(*2 * [st.sampled_from((0, 53, 54, 80, 1024, 50000, 65535))]),
    st.sampled_from((1, 6, 17)),
    st.integers(0, 40).map(lambda half: half * SECOND // 2),
    st.integers(0, 2),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Tables with any choice of columns; in either, whole seconds."""
    one, other = draw(st.sampled_from([("client", "server"), ("src", "dst")]))
    kinds = {
        one: st.sampled_from(NETWORKS),
        other: st.sampled_from(NETWORKS),
        f"{one}_port": st.sampled_from(PORTS),
        f"{other}_port": st.sampled_from(PORTS),
        "protocol": st.sampled_from((None, 1, 6, 17)),
        "file": st.sampled_from(FILES),
        "start": st.one_of(st.none(), st.integers(0, 15)),
        "end": st.one_of(st.none(), st.integers(0, 20)),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), unique=True, min_size=1))
    rows = draw(st.integers(1, 12))
    table = {name: draw(st.lists(kinds[name], min_size=rows, max_size=rows)) for name in chosen}
    if "start" in table and "end" in table:
        pairs = zip(table["start"], table["end"], strict=True)
        table["end"] = [None if end is None else max(end, start or 0) for start, end in pairs]
    return {**table, "app": [f"app {number}" for number in range(rows)]}


@settings(max_examples=120, deadline=None)
@given(tables(), st.lists(records, min_size=1, max_size=30), st.sampled_from((0, 3, -2)))
def test_a_record_takes_the_first_row_that_matches_it(
    table: dict[str, list[Any]], listed: list[Record], offset: float
) -> None:
    """The join gives what a search row by row gives, for every choice of columns."""
    assert found_rows(table, listed, CAPTURES, offset) == expected_rows(table, listed, CAPTURES, offset)


def test_many_rules_of_many_shapes_agree_with_a_search_row_by_row() -> None:
    """The same for a table that is larger than what is drawn above, in which rules overlap a lot."""
    rng = random.Random(7)
    names = {"src": NETWORKS, "dst": NETWORKS, "src_port": PORTS, "protocol": (None, 6, 17), "file": FILES}
    rows = 400
    table: dict[str, list[Any]] = {name: [rng.choice(values) for _ in range(rows)] for name, values in names.items()}
    table["start"] = [rng.randrange(0, 2000) for _ in range(rows)]
    table["end"] = [start + rng.randrange(0, 300) for start in table["start"]]
    table["app"] = [str(number) for number in range(rows)]
    listed = []
    for _ in range(1500):
        wide = rng.random() < 0.5
        ends = [rng.choice([a for a in ADDRESSES if (":" in a) is wide]) for _ in range(2)]
        ports = [rng.choice((0, 53, 80, 1024)) for _ in range(2)]
        time = rng.randrange(0, 2300 * SECOND)
        listed.append(Record(*ends, *ports, rng.choice((1, 6, 17)), time, rng.randrange(3)))
    found = found_rows(table, listed, CAPTURES)
    assert found == expected_rows(table, listed, CAPTURES)
    assert len(set(found)) > 100


def one(table: dict[str, list[Any]], record: Record, captures: tuple[str, ...] = ("a.pcap",)) -> int:
    return found_rows(table, [record], list(captures))[0]


RECORD = Record("10.0.0.1", "192.0.2.1", 40000, 443, 6, 100 * SECOND)


def test_client_and_server_match_those_ends_only_and_src_and_dst_match_both_ways_round() -> None:
    """A table that says client and server has a direction; source and destination have none."""
    assert one({"client": ["192.0.2.1"], "app": ["x"]}, RECORD) == -1
    assert one({"client": ["10.0.0.1"], "app": ["x"]}, RECORD) == 0
    assert one({"src": ["192.0.2.1"], "dst": ["10.0.0.1"], "app": ["x"]}, RECORD) == 0
    assert one({"host": ["192.0.2.1"], "port": ["443"], "app": ["x"]}, RECORD) == 0
    assert one({"host": ["192.0.2.1"], "port": ["40000"], "app": ["x"]}, RECORD) == -1


def test_without_an_end_a_row_holds_until_the_next_one_begins() -> None:
    """Of the rows that have begun the latest counts, wherever it is in the table."""
    table = {"start": [50, 90, 10], "app": ["a", "b", "c"]}
    times = [5, 10, 49, 50, 89, 90, 10**6]
    listed = [RECORD._replace(start=time * SECOND) for time in times]
    assert found_rows(table, listed, ["a.pcap"]) == [-1, 2, 2, 0, 0, 1, 1]


def test_a_time_stands_for_its_whole_unit() -> None:
    """A row of one minute holds for that minute, and one of a second for that second."""
    table = {"start": ["1970-01-01 00:01"], "end": ["1970-01-01 00:01"], "app": ["x"]}
    listed = [RECORD._replace(start=time) for time in (60 * SECOND - 1, 60 * SECOND, 120 * SECOND - 1, 120 * SECOND)]
    assert found_rows(table, listed, ["a.pcap"]) == [-1, 0, 0, -1]
    table = {"start": ["1970-01-01 00:01:40"], "duration": ["0.5"], "app": ["x"]}
    listed = [
        RECORD._replace(start=time) for time in (100 * SECOND, 101 * SECOND + 499_999_999, 101 * SECOND + 500_000_000)
    ]
    assert found_rows(table, listed, ["a.pcap"]) == [0, 0, -1]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a.pcap", "folder/a.pcap", True),
        ("a.pcap", "folder/a.pcapng.gz", True),
        ("a", "folder/a.pcap.zst", True),
        ("folder/a.pcap", "x/folder/a.pcap", True),
        ("other/a.pcap", "x/folder/a.pcap", False),
        ("*/a*.pcap", "x/folder/abc.pcap", True),
        ("[ab].pcap", "b.pcap", True),
        ("a.pcap", "ba.pcap", False),
    ],
)
def test_files_are_compared_as_label_templates_are(pattern: str, name: str, matches: bool) -> None:
    """The end of the path counts, compression suffixes do not."""
    assert (one({"file": [pattern], "app": ["x"]}, RECORD, (name,)) == 0) is matches


def test_rows_that_no_flow_can_match_match_none() -> None:
    """Ends of two versions of IP, and protocols that are not of IP; the clock is then not to be found."""
    table = {"src": ["10.0.0.1", "10.0.0.1"], "dst": ["2001:db8::1", None], "proto": [None, "arp"], "app": ["x", "y"]}
    assert one(table, RECORD) == -1
    truth = Truth(pa.table({**table, "start": [100, 100]}))
    sample = truth.sample()
    sample.add_capture("a.pcap")
    sample.find(as_flows([RECORD]))
    assert sample.search() == (0.0, 0.0)


def test_ports_of_protocols_without_ports_do_not_count() -> None:
    """Tables give the type of ICMP in the place of a port."""
    ping = Record("10.0.0.1", "192.0.2.1", 0, 0, 1, 0)
    assert one({"protocol": ["icmp"], "src_port": ["0x0008"], "dst_port": ["0x4d2a"], "app": ["x"]}, ping) == 0


def read(tmp_path: Any, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Truth:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    found = make_truth(path)
    assert found is not None
    found.add_capture("a.pcap")
    return found


def labelled(truth: Truth, *listed: Record) -> dict[str, list[Any]]:
    rows = truth.find(as_flows(list(listed)))
    empty = pa.nulls(len(rows), pa.dictionary(pa.int32(), pa.string()))
    arrays = dict.fromkeys(("app", "action", *truth.fields), empty)
    return {name: array.to_pylist() for name, array in (arrays | truth.relabel(rows, arrays)).items()}


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2017-07-03T11:55:03Z", 1_499_082_903 * SECOND),
        ("2017-07-03 08:55:03-03:00", 1_499_082_903 * SECOND),
        ("2017/07/03 11:55:03.25", 1_499_082_903 * SECOND + SECOND // 4),
        ("3/7/2017 11:55:03", 1_499_082_903 * SECOND),
        ("03.07.2017 11:55:03 AM", 1_499_082_903 * SECOND),
        ("3/7/2017 11:55:03 pm", (1_499_082_903 + 43_200) * SECOND),
        ("3/7/2017 12:00:00 AM", 1_499_040_000 * SECOND),
        ("1499082903", 1_499_082_903 * SECOND),
        ("1499082903.5", 1_499_082_903 * SECOND + SECOND // 2),
        ("1499082903500", 1_499_082_903 * SECOND + SECOND // 2),
        ("1499082903500000", 1_499_082_903 * SECOND + SECOND // 2),
        ("1499082903500000001", 1_499_082_903 * SECOND + SECOND // 2 + 1),
        ("2017-07-03", 1_499_040_000 * SECOND),
    ],
)
def test_times_are_read_as_they_are_written_in_many_ways(tmp_path: Any, text: str, ns: int) -> None:
    """A row begins at its time, whatever way that is written."""
    truth = read(tmp_path, f"start,app\n{text},x\n")
    listed = [RECORD._replace(start=ns + step) for step in (-1, 0)]
    assert labelled(truth, *listed)["app"] == [None, "x"]


def test_days_come_first_unless_a_value_can_only_be_the_other_way_round(tmp_path: Any) -> None:
    """3/7 is in July, and in March where the same column has 3/13."""
    july, march = 1_499_040_000 * SECOND, 1_488_499_200 * SECOND
    first = read(tmp_path, "start,end,app\n3/7/2017 0:00,4/7/2017 0:00,x\n")
    assert labelled(first, RECORD._replace(start=july))["app"] == ["x"]
    second = read(tmp_path, "start,app\n3/3/2017 0:00,x\n3/13/2017 0:00,y\n")
    assert labelled(second, RECORD._replace(start=march - 1), RECORD._replace(start=march))["app"] == [None, "x"]


@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns"])
def test_columns_of_parquet_have_their_own_types(tmp_path: Any, kind: str) -> None:
    """Timestamps, whole numbers and dictionaries are read as what they are."""
    start = pa.array([100, None], pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp(kind, "UTC"))
    table = pa.table(
        {
            "start": start,
            "end": pa.array([101, None], pa.int64()).cast(pa.timestamp("s")),
            "server_port": pa.array([443, 53], pa.int32()),
            "app": pa.array(["x", "y"]).dictionary_encode(),
            "score": [0.5, None],
        }
    )
    pq.write_table(table, tmp_path / "labels.parquet")
    truth = Truth(tmp_path / "labels.parquet")
    truth.add_capture("a.pcap")
    listed = RECORD, RECORD._replace(start=101 * SECOND), RECORD._replace(server_port=53)
    found = labelled(truth, *listed)
    assert (found["app"], found["score"]) == (["x", None, "y"], ["0.5", None, None])
    assert found["label_by"] == ["table", None, "table"]


CIC = (
    "Flow ID, Source IP, Source Port, Destination IP, Destination Port, Protocol, Timestamp, Flow Duration,"
    " Total Fwd Packets, Fwd Header Length, Fwd Header Length, Label\n"
    "192.168.10.5-104.16.207.165-54865-443-6,104.16.207.165,443,192.168.10.5,54865,6,7/7/2017 3:30,3,2,40,40,BENIGN\n"
    "x,172.16.0.1,41000,192.168.10.50,80,6,5/7/2017 9:15,61000000,2,40,40,Web Attack – XSS\n"
    ",,,,,,,,,,,\n"
    ",,,,,,,,,,,\n"
)


def utc(*parts: int) -> int:
    return int(np.datetime64("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts), "s").astype(np.int64)) * SECOND


def test_label_files_of_cic_ids2017_are_read_as_they_are(tmp_path: Any) -> None:
    """Column names with spaces, one of them twice; minutes on a clock with twelve hours; µs; dashes of Windows; rows
    of commas. Halifax is three hours behind UTC."""
    path = tmp_path / "Friday.pcap_ISCX.csv"
    path.write_bytes(CIC.encode("cp1252"))
    truth = Truth(path, 3 * 3600)
    truth.add_capture("Friday-WorkingHours.pcap")
    benign = Record("192.168.10.5", "104.16.207.165", 54865, 443, 6, utc(2017, 7, 7, 18, 30, 59))
    attack = Record("172.16.0.1", "192.168.10.50", 41000, 80, 6, utc(2017, 7, 5, 12, 17, 0))
    after = attack._replace(start=utc(2017, 7, 5, 12, 17, 2))
    assert truth.fields == ("label", "label_by")
    assert labelled(truth, benign, attack, after)["label"] == ["BENIGN", "Web Attack – XSS", None]
    assert truth.stats()["rows"] == 2


def test_a_clock_of_24_hours_in_such_a_file_is_left_as_it_is(tmp_path: Any) -> None:
    """One hour above twelve says that 3:30 is in the night."""
    rows = "1.1.1.1,1,2.2.2.2,2,6,7/7/2017 {},3,BENIGN\n"
    text = "Source IP,Source Port,Destination IP,Destination Port,Protocol,Timestamp,Flow Duration,Label\n"
    truth = read(tmp_path, text + rows.format("3:30") + rows.format("13:00"))
    night = Record("1.1.1.1", "2.2.2.2", 1, 2, 6, utc(2017, 7, 7, 3, 30, 0))
    assert labelled(truth, night, night._replace(start=utc(2017, 7, 7, 15, 30, 0)))["label"] == ["BENIGN", None]


def test_label_files_of_ctu_13_are_read_as_they_are(tmp_path: Any) -> None:
    """Seconds with a fraction, durations, hexadecimal ports of ICMP, protocols that are not of IP, endings of their
    own."""
    text = (
        "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,Label\n"
        "2011/08/10 09:46:53.047277,3550.182373,udp,212.50.71.179,39678,  <->,147.32.84.229,13363,CON,0,0,12,875,413,"
        "flow=Background-UDP-Established\n"
        "2011/08/10 09:46:59.607825,0.000000,icmp,147.32.84.165,0x0008,   ->,147.32.96.69,0x4d2a,ECO,0,,1,1066,1066,"
        "flow=From-Botnet-V42-ICMP\n"
        "2011/08/10 09:47:00.000000,0.000000,arp,147.32.84.1,,   who,147.32.84.2,,CON,,,2,120,60,flow=Background\n"
    )
    truth = read(tmp_path, text, "capture20110810.binetflow")
    udp = Record("212.50.71.179", "147.32.84.229", 39678, 13363, 17, utc(2011, 8, 10, 9, 46, 53) + 47_277_000)
    ping = Record("147.32.96.69", "147.32.84.165", 0, 0, 1, utc(2011, 8, 10, 9, 46, 59) + 607_825_000)
    found = labelled(truth, udp, ping, ping._replace(start=ping.start + 1000))
    assert found["label"] == ["flow=Background-UDP-Established", "flow=From-Botnet-V42-ICMP", None]
    assert truth.stats()["unmatched_rows"] == [3]


def test_a_cell_that_is_empty_leaves_the_label_of_the_file(tmp_path: Any) -> None:
    """A row wins over other labels in what it says, and only there."""
    truth = read(tmp_path, "server_port,app,action\n443,,login\n")
    rows = truth.find(as_flows([RECORD, RECORD._replace(server_port=80)]))
    given_ = pa.array(["chat", "chat"]).dictionary_encode()
    empty = pa.nulls(2, given_.type)
    made = truth.relabel(rows, {"app": given_, "action": empty, "label_by": empty})
    assert {name: array.to_pylist() for name, array in made.items()} == {
        "app": ["chat", "chat"],
        "action": ["login", None],
        "label_by": ["table", None],
    }
    assert truth.labels == {"chat/login": 1, "chat": 1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_separated_as_the_header_separates_them(tmp_path: Any, delimiter: str) -> None:
    """Commas, semicolons or tabs; texts may be quoted."""
    text = 'server port,"app","the user"\n443,"a, ""b""; c",7\n'.replace(",", delimiter).replace(f"a{delimiter}", "a,")
    found = labelled(read(tmp_path, "\ufeff" + text), RECORD)
    assert (found["app"], found["the_user"]) == (['a, "b"; c'], ["7"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no columns"),
        ("app,start\n", "labels.csv has no rows"),
        ("app,action\nx,y\n", "no column says which flows a row is about"),
        ("server,server_port\n10.0.0.1,1\n", "no column is a label"),
        ("server,dst,app\n10.0.0.1,10.0.0.1,x\n", "client or server and of src or dst exclude each other"),
        ("src,Source IP,app\n10.0.0.1,10.0.0.1,x\n", "the columns 'src' and 'Source IP' are both src"),
        ("end,duration,app\n1,1,x\n", "an end and of a duration exclude each other"),
        ("duration,app\n1,x\n", "a duration needs a column of the start"),
        ("start,end,app\n5,6,x\n5,3,x\n", "row 2 ends before it begins"),
        ("server,app\n10.0.0.1,x\n10.0.0.300,x\n", "row 2, column of server: '10.0.0.300' is no address"),
        ("server,app\n10.0.0.0/33,x\n", "'10.0.0.0/33' is no address"),
        ("port,app\n80,x\nhttp,x\n", "row 2, column of src_port: 'http' is no port"),
        ("port,app\n90-80,x\n", "the first port is above the last"),
        ("port,app\n65536,x\n", "not from 0 to 65535"),
        ("protocol,app\ntcpp,x\n", "'tcpp' is no protocol (neither a number nor a known name)"),
        ("protocol,app\n300,x\n", "not from 0 to 255"),
        ("start,app\n5,x\nyesterday,x\n", "row 2, column of start: 'yesterday' is no time"),
        ("start,app\n31/2/2017 8:00,x\n", "'31/2/2017 8:00' is no time (day is out of range"),
        ("start,app\n2017-01-01 25:00,x\n", "no time of day"),
        ("start,duration,app\n5,long,x\n", "'long' is no duration"),
        ("server,app\n10.0.0.1,x,y\n", "Expected 2 columns, got 3"),
        ("server,packets\n10.0.0.1,3\n", "'packets', which is a column already; rename it"),
        ("server,label_by\n10.0.0.1,3\n", "'label_by', which is a column already; rename it"),
        ("server,a b,a-b\n10.0.0.1,3,4\n", "two columns are called 'a_b'"),
        ("Destination Port, Flow Duration, Label\n80,3,BENIGN\n", "TrafficLabelling"),
    ],
)
def test_a_mistake_is_told_with_the_table_and_its_place(tmp_path: Any, text: str, problem: str) -> None:
    """An error says which table, row and column it is about, and what is wrong."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "labels.csv") in str(caught.value)
    assert problem in str(caught.value)


def test_what_is_no_table_is_an_error(tmp_path: Any) -> None:
    """A path that does not exist, a broken file, an object of another kind."""
    with pytest.raises(ConfigError, match=r"cannot read the table .*none\.csv: No such file"):
        Truth(tmp_path / "none.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ConfigError, match="cannot read the table"):
        Truth(tmp_path / "broken.parquet")
    with pytest.raises(ConfigError, match="truth is the path of a table"):
        Truth(42)
    with pytest.raises(ConfigError, match="truth_offset is for the clock of a truth table"):
        make_truth(None, 5)
    for wrong in ("soon", float("nan"), True):
        with pytest.raises(ConfigError, match="truth_offset is seconds"):
            make_truth(tmp_path / "x.csv", wrong)


def test_columns_of_arrow_may_be_of_any_single_type() -> None:
    """Decimals, large texts and columns of nothing are read; lists are refused."""
    table = pa.table(
        {
            "start": pa.array([Decimal("100.5"), None]),
            "server": pa.array(["192.0.2.1", None], pa.large_string()),
            "dst_port": pa.nulls(2),
            "app": pa.array([True, False]),
        }
    ).rename_columns(["start", "server", "server_port", "app"])
    assert found_rows(table, [RECORD, RECORD._replace(start=101 * SECOND)], ["a.pcap"]) == [1, 0]
    with pytest.raises(ConfigError, match=r"the column 'app' holds list<.*: no text, number or time"):
        Truth(pa.table({"server": ["192.0.2.1"], "app": [["x"]]}))


def test_thousands_of_captures_have_their_own_rows() -> None:
    """What a file matches is kept for each, however many come."""
    names = [f"{number}.pcap" for number in range(3000)]
    truth = Truth(pa.table({"file": ["2999.pcap", "*7.pcap", "17.pcap"], "app": ["x", "y", "z"]}))
    for name in names:
        truth.add_capture(name)
    listed = [RECORD._replace(capture=number) for number in (0, 7, 17, 2999)]
    assert truth.find(as_flows(listed)).tolist() == [-1, 1, 1, 0]


def test_rows_without_a_record_are_named(tmp_path: Any) -> None:
    """The stats say how many rows and records match, and which rows do not."""
    truth = read(tmp_path, "server_port,app\n443,x\n80,y\n443,hidden by the first\n")
    truth.find(as_flows([RECORD, RECORD._replace(server_port=25)]))
    stats = truth.stats()
    assert (stats["rows"], stats["rows_matched"], stats["unmatched_rows"]) == (3, 1, [2, 3])
    assert (stats["records"], stats["records_matched"]) == (2, 1)


@st.composite
def shifted(draw: st.DrawFn) -> tuple[int, int, int]:
    """Offset in s, rows, and how long a row is."""
    zone = draw(st.integers(-24, 24)) * 1800
    return zone + draw(st.sampled_from((0, 0, 17, -611))), draw(st.integers(40, 200)), draw(st.sampled_from((0, 2, 40)))


@settings(max_examples=15, deadline=None)
@given(shifted(), st.randoms(use_true_random=False))
def test_the_offset_of_the_tables_clock_is_found(case: tuple[int, int, int], rng: random.Random) -> None:
    """Zones, and clocks that are wrong by some seconds, for rows of flows and for rows of actions."""
    offset, rows, length = case
    begin = 1_500_000_000
    starts = [begin + rng.randrange(0, 30_000) for _ in range(rows)]
    servers = [f"10.0.0.{rng.randrange(1, 250)}" for _ in range(rows)]
    ends = [start + length for start in starts]
    table = {"start": starts, "end": ends, "dst": servers, "app": ["x"] * rows}
    truth = Truth(pa.table(table))
    sample = truth.sample()
    sample.add_capture("a.pcap")
    times = [(start + offset) * SECOND + rng.randrange(0, max(1, length) * SECOND) for start in starts]
    listed = [RECORD._replace(server=s, start=t) for s, t in zip(servers, times, strict=True)]
    sample.find(as_flows(listed))
    found = sample.search()
    assert abs(found.seconds - offset) <= max(1, length)
    assert found.share > 0.9


def test_a_table_without_times_has_no_clock() -> None:
    """There is nothing to compare, and that is said."""
    sample = Truth(pa.table({"src": ["10.0.0.1"], "app": ["x"]})).sample()
    with pytest.raises(ConfigError, match="has no times"):
        sample.search()
    sample = Truth(pa.table({"start": [5], "app": ["x"]})).sample()
    with pytest.raises(ConfigError, match="no flows"):
        sample.search()


def test_a_sample_of_many_records_keeps_some_of_all_of_them() -> None:
    """Memory is bounded, and the offset is still that of all."""
    starts = list(range(1_500_000_000, 1_500_090_000, 3))
    truth = Truth(pa.table({"start": starts, "end": starts, "app": ["x"] * len(starts)}))
    sample = truth.sample()
    sample.add_capture("a.pcap")
    flows = as_flows([RECORD] * 10_000)
    for begin in range(0, len(starts), 10_000):
        flows["start"] = (np.array(starts[begin : begin + 10_000]) + 7200) * SECOND
        for _ in range(4):
            sample.find(flows)
    assert sum(len(part.start) for part in sample._parts) < 50_000
    assert sample.search().seconds == 7200
