"""Labels that packets carry: each way to say which process a packet is of, read back to what was written."""

from __future__ import annotations

import io
import random
import struct
from collections import Counter
from typing import Any

import pytest

import flowgauge as fg
from captures import block, enhanced, interface, section, write_pcap
from flowgauge.capture.pcapng import Description, head
from flowgauge.labels.inside import to_comment
from flowgauge.labels.process import of_comments
from flowgauge.run import Hooks, Run
from packets import RAW_IP, A, B, Layer, eth, ip4, ip6, tcp, udp
from processlabels import (
    COMMENT,
    CUSTOM,
    DARWIN,
    PEN_PCAPDROID,
    PEN_WIRESHARK,
    THREAD,
    USER2,
    App,
    Process,
    Task,
    commented,
    comments,
    darwin_options,
    darwin_process,
    made_up_frame,
    nanoseconds,
    pcapdroid_pcap,
    pcapdroid_pcapng,
    pktap_header,
    pktap_pcap,
    process_information,
    ptcpdump,
    thread,
    ticks,
    user_map,
)

COLUMNS = ("app", "process", "pid", "uid", "sample", "label_by", "label_conflicts")
ORDERS = pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])


def packet(port: int, payload: bytes = b"x" * 5, v6: bool = False) -> Layer:
    """A datagram of the flow that this port tells."""
    return (ip6 if v6 else ip4)(udp(port, 53, payload))


def rows_of(content: bytes, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fg.read(io.BytesIO(content), **options).to_pylist()
    return found


def labels_of(content: bytes, **options: Any) -> dict[int, tuple[Any, ...]]:
    """The label columns of each flow by the port of its client."""
    return {row["client_port"]: tuple(row[name] for name in COLUMNS) for row in rows_of(content, **options)}


def counters_of(content: bytes, **options: Any) -> Counter[str]:
    run = Run(io.BytesIO(content), Hooks(), **options)
    for _ in run.batches():
        pass
    return Counter(run.stats.counters)


# PCAPdroid

CHAT, MAIL = App(10123, "Chat", "org.example.chat"), App(10045, "Mail", "org.example.mail")


@ORDERS
def test_pcapdroid_trailers_label_their_packets(order: str) -> None:
    """The trailer's app and user id are the flow's, in pcap files of either byte order."""
    rows = [(0, packet(1000), CHAT), (1, packet(2000), MAIL), (2, packet(1000), CHAT), (3, packet(3000, v6=True), MAIL)]
    found = labels_of(pcapdroid_pcap(rows, order))
    assert found == {
        1000: ("Chat", None, None, 10123, None, "pcapdroid", 0),
        2000: ("Mail", None, None, 10045, None, "pcapdroid", 0),
        3000: ("Mail", None, None, 10045, None, "pcapdroid", 0),
    }


@pytest.mark.parametrize("payload", range(9))
@pytest.mark.parametrize("features", [None, "core,payload"])
def test_a_trailer_is_never_payload_nor_padding(payload: int, features: str | None) -> None:
    """Frames end where the IP packet ends, whatever padding there is before the trailer; its bytes are in no column."""
    data = bytes(range(65, 65 + payload))
    frame = made_up_frame(packet(1000, data), CHAT)
    content = write_pcap([(nanoseconds(0), frame)] * 2)
    (row,) = rows_of(content, features=features)
    assert (row["packets"], row["payload_bytes"]) == (2, 2 * payload)
    assert row["frame_bytes"] == 2 * (14 + 28 + payload)
    assert row["ip_bytes"] == 2 * (28 + payload)
    if features:
        assert (row["up_payload_head"] or b"") == data * 2


def test_a_trailer_is_cut_off_with_the_bytes_on_the_wire() -> None:
    """A packet whose IP length says less than what is there (a long length field of 0) loses the trailer alone."""
    frame = made_up_frame(ip4(udp(1000, 53, b"abcd"), length=0), CHAT)
    (row,) = rows_of(write_pcap([(nanoseconds(0), frame)]))
    assert row["frame_bytes"] == len(frame) - 32


def test_only_sound_trailers_count() -> None:
    """A trailer with a wrong checksum is bytes like others, its packet has no label."""
    good, bad = (made_up_frame(packet(port), CHAT, checksum=wrong) for port, wrong in ((1000, None), (2000, 7)))
    plain = made_up_frame(packet(3000), None)
    content = write_pcap([(nanoseconds(number), frame) for number, frame in enumerate((good, bad, plain))])
    found = {row["client_port"]: row for row in rows_of(content)}
    assert [found[port]["app"] for port in (1000, 2000, 3000)] == ["Chat", None, None]
    assert [found[port]["frame_bytes"] for port in (1000, 2000)] == [14 + 33, len(bad)]


def test_without_trailers_frames_stay_as_they_are() -> None:
    """In a capture whose first packets have none, what looks like a trailer later is a frame's own bytes."""
    plain = eth(packet(1000))
    later = made_up_frame(packet(2000), CHAT)
    content = write_pcap([(nanoseconds(0), plain), (nanoseconds(1), later)])
    found = {row["client_port"]: row for row in rows_of(content, features="process")}
    assert (found[2000]["frame_bytes"], found[2000]["app"]) == (len(later), None)


def test_the_filter_sees_a_trailer_as_tcpdump_does() -> None:
    """What the filter compares is the frame as it was recorded."""
    content = pcapdroid_pcap([(0, packet(1000), CHAT), (1, packet(2000, b"y" * 90), CHAT)])
    assert [row["client_port"] for row in rows_of(content, filter="greater 100")] == [2000]
    assert len(rows_of(content, filter=f"greater {14 + 34 + 32}")) == 2


def test_a_user_id_of_minus_one_is_none() -> None:
    """Traffic whose app is not known has no user id."""
    content = pcapdroid_pcap([(0, packet(1000), App(-1, "")), (1, packet(2000), App(-1, "Unknown"))])
    found = labels_of(content, features="process")
    assert found[1000] == (None,) * 6 + (0,)
    assert found[2000] == ("Unknown", None, None, None, None, "pcapdroid", 0)


@pytest.mark.parametrize("length", [*range(0, 20), 63, 1450])
def test_the_checksum_is_taken_of_any_number_of_bytes(length: int) -> None:
    """A trailer's CRC-32 is that of zlib, however many bytes there are before it; one more or less is wrong."""
    data = random.Random(length).randbytes(length)
    frame = made_up_frame(packet(1000, data), CHAT)
    wrong = frame[:8] + b"\1" + frame[9:]
    content = write_pcap([(nanoseconds(number), record) for number, record in enumerate((frame, wrong))])
    (row,) = rows_of(content)
    assert row["frame_bytes"] == 14 + 28 + length + len(frame)


@ORDERS
def test_pcapdroid_maps_name_the_user_ids_of_comments(order: str) -> None:
    """Package and app are those of the block, in sections of either byte order."""
    rows = [(0, packet(1000), CHAT), (1, packet(2000), MAIL), (2, packet(1000), CHAT)]
    assert labels_of(pcapdroid_pcapng(rows, order)) == {
        1000: ("Chat", "org.example.chat", None, 10123, None, "pcapdroid", 0),
        2000: ("Mail", "org.example.mail", None, 10045, None, "pcapdroid", 0),
    }


def test_a_user_without_a_map_has_its_id() -> None:
    """A comment alone gives the user id, and later maps hold from where they stand."""
    packets = [
        enhanced(ticks(0), packet(1000).data, pairs=comments("u-10123")),
        user_map(CHAT),
        enhanced(ticks(1), packet(2000).data, pairs=comments("u-10123")),
    ]
    found = labels_of(section() + interface(RAW_IP) + b"".join(packets))
    assert found[1000] == (None, None, None, 10123, None, "pcapdroid", 0)
    assert found[2000][:4] == ("Chat", "org.example.chat", None, 10123)


# ptcpdump


def test_ptcpdump_comments_tell_the_process() -> None:
    """PID, command and user id are taken from their lines; arguments, threads and parents are not."""
    said = ptcpdump(4711, "/usr/bin/curl", uid=1000, thread=4712)
    content = commented([(0, packet(1000), said), (1, packet(2000), ptcpdump(12, "/opt/my app/run"))])
    assert labels_of(content) == {
        1000: ("curl", "/usr/bin/curl", 4711, 1000, None, "ptcpdump", 0),
        2000: ("run", "/opt/my app/run", 12, None, None, "ptcpdump", 0),
    }


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Command: /bin/a\nPID: 5"], ("a", "/bin/a", 5, None)),
        (["PID: 0\nUserId: 0"], (None, None, None, 0)),
        (["PID: -3"], None),
        (["PID: 99999999999"], None),
        (["PID: ٣"], None),
        (["ParentPID: 5\nParentCmd: x"], None),
        (["Cmd: " + "a\x1b[31m"], ("a\ufffd[31m", "a\ufffd[31m", None, None)),
        (["looks fine"], None),
        (["pid: 4"], None),
        ([""], None),
        (["Cmd: /"], ("/", "/", None, None)),
    ],
)
def test_lines_that_are_not_of_ptcpdump_say_nothing(texts: list[str], expected: tuple[Any, ...] | None) -> None:
    """Ids are digits of 32 bits, names are shown without control characters, and other comments are no labels."""
    label = of_comments(texts)
    assert (label and (label.app, label.process, label.pid, label.uid)) == expected


# pcapML


@ORDERS
def test_pcapml_comments_of_both_spellings(order: str) -> None:
    """Keyed comments give process and sample, positional ones label and sample; other keys are passed over."""
    rows = [
        (0.0, packet(1000), comments("s=7,proc=curl,dir=lan2wan,dst=example.com")),
        (0.1, packet(1000), comments("s=7,proc=curl,dir=wan2lan,dst=example.com")),
        (0.2, packet(2000), comments("18205618432581910911,windows-10")),
        (0.3, packet(3000), comments("12,video call,day=mon,n=2")),
        (0.4, packet(4000), comments("s=9,dir=lan2lan")),
    ]
    assert labels_of(commented(rows, order)) == {
        1000: ("curl", "curl", None, None, "7", "pcapml", 0),
        2000: ("windows-10", None, None, None, "18205618432581910911", "pcapml", 0),
        3000: ("video call", None, None, None, "12", "pcapml", 0),
        4000: (None, None, None, None, "9", "pcapml", 0),
    }


@pytest.mark.parametrize(
    "text", ["12", "12,", "a,b", "see 12,b", "12,a,b", "1,2=3", "start=1,proc=x", "s", "u-", "u-x"]
)
def test_other_comments_are_no_labels(text: str) -> None:
    """What users write about packets is left alone."""
    content = commented([(0, packet(1000), comments(text))])
    assert labels_of(content, features="process") == {1000: (None,) * 6 + (0,)}
    assert "process" not in fg.read(io.BytesIO(content)).column_names


def test_a_value_may_hold_commas() -> None:
    """A piece without a key belongs to the value before it."""
    label = of_comments(["s=1,cgroup=/a,b,c,proc=x,y"])
    assert label is not None and (label.sample, label.app) == ("1", "x,y")


# Apple

SAFARI, NETWORKING = Task(321, "Safari"), Task(322, "com.apple.WebKi")


@pytest.mark.parametrize("link", [258, USER2])
@pytest.mark.parametrize("length", [108, 156])
def test_pktap_headers_tell_the_process(link: int, length: int) -> None:
    """The effective process, on whose behalf a packet was sent, wins over the one that sent it."""
    rows = [
        (0, packet(1000), (NETWORKING, SAFARI)),
        (1, packet(2000), (SAFARI,)),
        (2, packet(1000), (NETWORKING, SAFARI)),
    ]
    assert labels_of(pktap_pcap(rows, link, length)) == {
        1000: ("Safari", "Safari", 321, None, None, "pktap", 0),
        2000: ("Safari", "Safari", 321, None, None, "pktap", 0),
    }


def test_pktap_headers_in_pcapng() -> None:
    """An interface of a pcapng file may have them, beside one that has none."""
    frames = [
        enhanced(ticks(0), pktap_header(SAFARI) + packet(1000).data, index=1),
        enhanced(ticks(1), packet(2000).data, index=0),
    ]
    content = section() + interface(RAW_IP) + interface(258) + b"".join(frames)
    found = labels_of(content)
    assert found[1000] == ("Safari", "Safari", 321, None, None, "pktap", 0)
    assert found[2000] == (None,) * 6 + (0,)


def test_a_short_header_says_nothing() -> None:
    """Headers that end before the effective process are skipped as before."""
    frames = [(nanoseconds(0), pktap_header(SAFARI)[:52].replace(b"\x6c", b"\x34", 1) + packet(1000).data)]
    assert labels_of(write_pcap(frames, link=258), features="process") == {1000: (None,) * 6 + (0,)}


@ORDERS
def test_apples_blocks_are_named_by_their_number(order: str) -> None:
    """An index is that of the section; without an effective process the process is it; unknown ones say nothing."""
    rows = [(1000, (0,)), (2000, (1,)), (3000, (0, 1)), (4000, (7,))]
    packets = [
        enhanced(ticks(number), packet(port).data, order=order, pairs=darwin_options(order, *indices))
        for number, (port, indices) in enumerate(rows)
    ]
    blocks = [darwin_process(NETWORKING, order), darwin_process(SAFARI, order)]
    content = b"".join([section(order), interface(RAW_IP, order), *blocks, *packets])
    safari, networking = (("Safari", "Safari", 321), ("com.apple.WebKi", "com.apple.WebKi", 322))
    rest = (None, None, "process_block", 0)
    assert labels_of(content) == {
        1000: networking + rest,
        2000: safari + rest,
        3000: safari + rest,
        4000: (None,) * 6 + (0,),
    }


def test_blocks_count_in_their_section_alone() -> None:
    """A new section knows nothing of the one before: neither processes nor what options of the same bytes meant."""
    said = darwin_options("<", 0)
    parts = []
    for port, task in ((1000, SAFARI), (2000, NETWORKING), (3000, None)):
        blocks = [] if task is None else [darwin_process(task)]
        parts += [section(), interface(RAW_IP), *blocks, enhanced(ticks(0), packet(port).data, pairs=said)]
    found = labels_of(b"".join(parts))
    assert [found[port][2] for port in (1000, 2000, 3000)] == [321, 322, None]


# Process information


@ORDERS
def test_process_information_by_pid(order: str) -> None:
    """A packet's pid finds the block; the name wins over the path; a pid without a block is all that is known."""
    blocks = [
        process_information(Process(10, "curl", "/usr/bin/curl", 1000), order),
        process_information(Process(20, path="/opt/server"), order),
        process_information(Process(10, "no", "/no"), order, entry=1),
    ]
    packets = [
        enhanced(ticks(0), packet(port).data, order=order, pairs=thread(order, pid))
        for port, pid in ((1000, 10), (2000, 20), (3000, 30), (4000, 0))
    ]
    assert labels_of(b"".join([section(order), interface(RAW_IP, order), *blocks, *packets])) == {
        1000: ("curl", "curl", 10, 1000, None, "process_block", 0),
        2000: ("server", "/opt/server", 20, None, None, "process_block", 0),
        3000: (None, None, 30, None, None, "process_block", 0),
        4000: (None,) * 6 + (0,),
    }


@pytest.mark.parametrize("shuffled", range(4))
def test_a_pid_that_is_used_again_is_told_apart_by_time(shuffled: int) -> None:
    """The process that was the latest to start before the packet, before any had the earliest."""
    processes = [Process(10, name, start=start) for name, start in (("first", 10), ("second", 20), ("third", 30))]
    random.Random(shuffled).shuffle(processes)
    times = {1000: (5, "first"), 2000: (10, "first"), 3000: (19.9, "first"), 4000: (20, "second"), 5000: (99, "third")}
    packets = [
        enhanced(ticks(seconds), packet(port).data, pairs=thread("<", 10)) for port, (seconds, _) in times.items()
    ]
    content = section() + interface(RAW_IP) + b"".join(map(process_information, processes)) + b"".join(packets)
    assert {port: label[0] for port, label in labels_of(content).items()} == {
        port: name for port, (_, name) in times.items()
    }


def test_without_start_times_the_last_block_counts() -> None:
    """A pid that is described again is the process that was described last."""
    blocks = [process_information(Process(10, name)) for name in ("first", "second")]
    content = section() + interface(RAW_IP) + b"".join(blocks)
    content += enhanced(ticks(0), packet(1000).data, pairs=thread("<", 10))
    assert labels_of(content)[1000][0] == "second"


# Flows


def test_the_first_packet_with_a_label_decides_and_others_are_counted() -> None:
    """A flow has the label of the first packet that has one; packets that say something else are conflicts."""
    said = ["", "s=1,proc=a", "s=2,proc=b", "s=1,proc=a", "", "s=3,proc=c"]
    rows = [(number, packet(1000), comments(text) if text else []) for number, text in enumerate(said)]
    assert labels_of(commented(rows)) == {1000: ("a", "a", None, None, "1", "pcapml", 2)}


def test_the_label_goes_on_in_the_next_part() -> None:
    """The next record of a flow has the label too, and counts conflicts anew."""
    said = ["s=1,proc=a", "s=2,proc=b", "", "s=2,proc=b"]
    times = [0, 1, 100, 101]
    rows = [(seconds, packet(1000), comments(text) if text else []) for seconds, text in zip(times, said, strict=True)]
    found = rows_of(commented(rows), active_timeout=50, idle_timeout=200)
    assert [(row["part"], row["app"], row["label_conflicts"]) for row in found] == [(0, "a", 1), (1, "a", 1)]


def test_labels_follow_their_packets_through_reordering_and_fragments() -> None:
    """Packets that are put in order, that wait for their datagram or for the clock keep what is said of them."""
    tail = ip4(Layer(17, b"tail"), offset=1, identification=9)
    head = ip4(Layer(17, udp(1000, 53, length=12).data), more=True, identification=9)
    rows = [(0.002, packet(2000), comments("s=2,proc=b")), (0.001, packet(3000), comments("s=3,proc=c"))]
    rows += [(0.003, tail, comments("s=1,proc=a")), (0.004, head, [])]
    for options in ({}, {"reorder": "10ms"}):
        found = labels_of(commented(rows), **options)
        assert {port: label[0] for port, label in found.items()} == {1000: "a", 2000: "b", 3000: "c"}


@pytest.mark.parametrize("seed", range(3))
def test_flows_have_the_labels_of_a_slow_reading(seed: int) -> None:
    """Thousands of packets of mixed flows and labels: first labels and conflicts are those of a plain loop."""
    rng = random.Random(seed)
    rows, said = [], {}
    for number in range(3000):
        port = rng.randrange(1000, 1040)
        app = rng.choice(["", f"app{port % 7}", f"app{port % 7}", f"app{rng.randrange(9)}"])
        rows.append((number / 1000, packet(port), comments(f"s={app},proc={app}") if app else []))
        said.setdefault(port, []).append(app)
    expected = {}
    for port, apps in said.items():
        named = [app for app in apps if app]
        expected[port] = (named[0], sum(app != named[0] for app in named))
    found = labels_of(commented(rows))
    assert {port: (label[0], label[6]) for port, label in found.items()} == expected


def test_more_keys_than_the_memo_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memo that is full begins anew, and nothing is read wrongly."""
    from flowgauge.sources import memo

    monkeypatch.setattr(memo, "MOST_ENTRIES", 8)
    monkeypatch.setattr(memo, "MOST_KEPT", 64)
    rows = [(number / 10, packet(1000 + number % 50), comments(f"s={number % 50},proc=p")) for number in range(300)]
    found = labels_of(commented(rows))
    assert {port: label[4] for port, label in found.items()} == {1000 + n: str(n) for n in range(50)}
    assert all(label[6] == 0 for label in found.values())


def test_labels_beyond_their_memory_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels take bounded memory: flows whose label has no room have none, and that is told."""
    from flowgauge.labels import process

    monkeypatch.setattr(process, "MOST_BYTES", 3000)
    content = commented([(number / 10, packet(1000 + number), comments(f"s={number},proc=p")) for number in range(30)])
    found = labels_of(content)
    labelled = [port for port, label in found.items() if label[0]]
    assert labelled == list(range(1000, 1000 + len(labelled)))
    assert 3 < len(labelled) < 10
    assert counters_of(content)["labels_unread"] == 30 - len(labelled)


def test_files_of_one_trace_share_their_labels() -> None:
    """With join, a flow that goes on in the next file keeps its label, and the same words are no conflict."""
    parts = [commented([(second, packet(1000), comments("s=1,proc=a"))]) for second in (0, 1)]
    (row,) = fg.read([io.BytesIO(part) for part in parts], join=True).to_pylist()
    assert (row["packets"], row["app"], row["label_conflicts"]) == (2, "a", 0)


# Whole captures


def test_labels_of_packets_win_over_those_of_the_file(tmp_path: Any) -> None:
    """A flow without a label of its packets has the file's app; who says so is told."""
    path = tmp_path / "shop_buy.pcapng"
    path.write_bytes(commented([(0, packet(1000), comments("s=1,proc=curl")), (1, packet(2000), [])]))
    rows = {row["client_port"]: row for row in fg.read(path, label="{app}_{action}.pcap").to_pylist()}
    assert [rows[1000][name] for name in ("app", "action", "label_by")] == ["curl", "buy", "pcapml"]
    assert [rows[2000][name] for name in ("app", "action", "label_by")] == ["shop", "buy", "name"]


def test_a_table_wins_over_packets_and_those_over_the_file(tmp_path: Any) -> None:
    """Each flow has one app, and one column says by whom: the table's row, else its packets, else the file's name."""
    path, truth = tmp_path / "shop_buy.pcapng", tmp_path / "truth.csv"
    rows = [(0, packet(1000), comments("s=1,proc=a")), (1, packet(2000), comments("s=2,proc=b")), (2, packet(3000), [])]
    path.write_bytes(commented(rows))
    truth.write_text("src_port,app\n1000,table-app\n")
    table = fg.read(path, label="{app}_{action}.pcap", truth=str(truth))
    assert table.column_names.count("label_by") == 1
    found = {row["client_port"]: (row["app"], row["label_by"], row["process"]) for row in table.to_pylist()}
    assert found == {
        1000: ("table-app", "table", "a"),
        2000: ("b", "pcapml", "b"),
        3000: ("shop", "name", None),
    }


def test_a_label_inside_is_told_too() -> None:
    """The app of the recorder's label stands where packets name none: `inside` says so."""
    inside = [(COMMENT, b'{"flowgauge": {"label": {"app": "chat", "action": "call"}}}')]
    head = section(pairs=inside) + interface(RAW_IP)
    content = head + enhanced(ticks(0), packet(1000).data) + enhanced(ticks(1), packet(2000).data, pairs=thread("<", 5))
    rows = {row["client_port"]: row for row in rows_of(content)}
    assert [rows[1000][name] for name in ("app", "action", "pid", "label_by")] == ["chat", "call", None, "inside"]
    assert [rows[2000][name] for name in ("app", "action", "pid", "label_by")] == ["chat", "call", 5, "inside"]


def test_a_capture_of_the_recorder_says_that_its_label_is_inside(tmp_path: Any) -> None:
    """What `flowgauge record` writes has the label of the take, and no packet says anything else."""
    of = Description("eth0", 1, 65535, None, "", "", "", "flowgauge")
    frame = eth(packet(1000))
    path = tmp_path / "take.pcapng"
    comment = to_comment({"app": "chat", "action": "call"}, {"take": 1})
    path.write_bytes(head(of, comment) + enhanced(ticks(0) * 1000, frame))
    assert "label_by" not in fg.read(path).column_names
    (row,) = fg.read(path, features="process").to_pylist()
    assert [row[name] for name in ("app", "action", "label_by", "label_conflicts")] == ["chat", "call", "inside", 0]


def test_the_group_is_on_where_a_capture_says_so() -> None:
    """Captures without such labels have no columns for them, unless they are asked for."""
    plain = commented([(0, packet(1000), [])])
    assert "label_by" not in fg.read(io.BytesIO(plain)).column_names
    assert "label_by" in fg.read(io.BytesIO(plain), features="process").column_names
    labelled = commented([(0, packet(1000), comments("s=1,proc=a"))])
    assert "label_by" in fg.read([io.BytesIO(plain), io.BytesIO(labelled)], features="core").column_names


def test_the_classic_columns_have_the_app_too() -> None:
    """The schema `basic` is written with the apps that packets name."""
    content = pcapdroid_pcap([(0, packet(1000), CHAT)])
    assert [row["AppName"] for row in rows_of(content, schema="basic")] == ["Chat"]


def test_the_summary_counts_records_by_the_app_of_packets() -> None:
    """Labels of packets are in the counts of records by label."""
    rows = [(0, packet(1000), CHAT), (1, packet(2000), MAIL), (2, packet(3000), MAIL)]
    run = Run(io.BytesIO(pcapdroid_pcap(rows)), Hooks())
    for _ in run.batches():
        pass
    assert run.stats.labels == {"Chat": 1, "Mail": 2}


# What makes no sense

BAD_BLOCKS = {
    "no pid": block(DARWIN, b""),
    "no enterprise": block(CUSTOM, b""),
    "a map that is cut off": block(CUSTOM, struct.pack("<IHH", PEN_PCAPDROID, 1, 1)),
    "names beyond the map": block(CUSTOM, struct.pack("<IHBBiBB", PEN_PCAPDROID, 1, 1, 0, 5, 255, 255)),
    "a map of another version": user_map(CHAT, version=2),
    "an entry beyond the block": block(CUSTOM, struct.pack("<III", PEN_WIRESHARK, 3, 4000)),
    "an entry without a pid": block(CUSTOM, struct.pack("<IIII", PEN_WIRESHARK, 3, 4, 0)),
    "a short user id": block(CUSTOM, struct.pack("<IIIIHH4x", PEN_WIRESHARK, 3, 12, 5, 6, 2)),
}


@pytest.mark.parametrize("bad", BAD_BLOCKS.values(), ids=BAD_BLOCKS)
def test_blocks_that_make_no_sense_are_passed_over(bad: bytes) -> None:
    """Packets around them are metered and labelled; they are counted where they would be descriptions."""
    said = comments("s=1,proc=a")
    content = section() + interface(RAW_IP) + enhanced(ticks(0), packet(1000).data, pairs=said) + bad
    content += enhanced(ticks(1), packet(1000).data, pairs=said)
    (row,) = rows_of(content)
    assert (row["packets"], row["app"]) == (2, "a")
    assert counters_of(content)["labels_unread"] == (bad != BAD_BLOCKS["no enterprise"])


def _broken(length: int, value: bytes) -> bytes:
    """A packet whose comment claims so many bytes."""
    head = struct.pack("<5I", 0, 0, 0, len(packet(1000).data), len(packet(1000).data))
    body = packet(1000).data + bytes(-len(packet(1000).data) % 4)
    return block(6, head + body + struct.pack("<HH", COMMENT, length) + value)


@pytest.mark.parametrize(("length", "value"), [(65535, b"s=1,proc=a"), (20, b"abcd"), (5, b"abcd")])
def test_options_that_break_off_are_counted(length: int, value: bytes) -> None:
    """A comment longer than its packet's block says nothing; the packet counts, and so does what could not be read."""
    content = section() + interface(RAW_IP) + _broken(length, value) * 3
    (row,) = rows_of(content, features="process")
    assert (row["packets"], row["app"]) == (3, None)
    assert counters_of(content, features="process")["labels_unread"] == 3


def test_more_comments_than_there_is_room_for_are_counted() -> None:
    """Comments behind the first 64 KiB of a packet's are not read."""
    said = [*comments("s=1,proc=a"), *[(COMMENT, b"x" * 60000)] * 3]
    content = commented([(0, packet(1000), said)] * 2)
    assert labels_of(content, features="process")[1000][0] == "a"
    assert counters_of(content, features="process")["labels_unread"] == 2


def test_a_thread_option_of_another_length_says_nothing() -> None:
    """Values that do not have the length of their kind are passed over."""
    for said in ([(THREAD, b"\1\0\0\0")], [(0x8001, b"\0")], [(0x8001, b"\xff\xff\xff\xff")]):
        content = section() + interface(RAW_IP) + enhanced(ticks(0), packet(1000).data, pairs=said)
        assert labels_of(content, features="process") == {1000: (None,) * 6 + (0,)}


@pytest.mark.parametrize("seed", range(30))
def test_damaged_captures_are_read_without_an_exception(seed: int) -> None:
    """Whatever bytes are changed: each packet that is read is accounted for, as without labels."""
    rng = random.Random(seed)
    blocks = [darwin_process(SAFARI), user_map(CHAT), process_information(Process(10, "x", start=1))]
    said = [ptcpdump(5, "/bin/x"), comments("u-10123"), thread("<", 10), darwin_options("<", 0), comments("1,b")]
    packets = [enhanced(ticks(n), packet(1000 + n).data, pairs=said[n % 5]) for n in range(40)]
    mixed = [*blocks * 3, *packets]
    rng.shuffle(mixed)
    pcapng = bytearray(section() + interface(RAW_IP) + b"".join(mixed))
    pcap = bytearray(pcapdroid_pcap([(n, packet(1000 + n), CHAT) for n in range(40)]))
    taps = bytearray(pktap_pcap([(n, packet(1000 + n), (SAFARI,)) for n in range(40)]))
    for content in (pcapng, pcap, taps):
        for _ in range(rng.randrange(1, 30)):
            content[rng.randrange(28, len(content))] = rng.randrange(256)
        stats = []
        for features in ("process", "core"):
            run = Run(io.BytesIO(bytes(content)), Hooks(), features=features)
            for _ in run.batches():
                pass
            stats.append(run.stats.packets)
        assert stats[0] == stats[1]


def test_tcp_flows_are_labelled_too() -> None:
    """A connection has the label of its segments, in whichever direction they go."""
    syn, answer = ip4(tcp(1000, 443, "S")), ip4(tcp(443, 1000, "SA", 0, 1), B, A)
    found = labels_of(commented([(0, syn, []), (0.1, answer, ptcpdump(9, "/bin/x"))]))
    assert found == {1000: ("x", "/bin/x", 9, None, None, "ptcpdump", 0)}
