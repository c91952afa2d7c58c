"""Label rules: packet filters and times that label packets, and what is wrong with a file of them."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import flowgauge as fg
from captures import write_pcap
from flowgauge.cli import app
from flowgauge.errors import ConfigError
from flowgauge.labels.rules import read_rules
from flowgauge.sources import libpcap
from packets import RAW_IP, START, A, B, C, Sent, capture, eth, ip4, sent, sll, tcp, udp
from processlabels import App, commented, comments, pcapdroid_pcap

pytestmark = pytest.mark.skipif(not libpcap.is_installed(), reason="libpcap is not there")

COLUMNS = ("app", "sample", "label_by", "label_conflicts")
SECONDS = START // 1_000_000_000


def rules(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def labels_of(content: bytes, path: Path, **options: Any) -> dict[int, tuple[Any, ...]]:
    rows = fg.read(io.BytesIO(content), rules=path, **options).to_pylist()
    return {row["client_port"]: tuple(row[name] for name in COLUMNS) for row in rows}


def datagram(seconds: float, port: int, to: str = B) -> Sent:
    return sent(seconds, eth(ip4(udp(port, 53, b"x"), A, to)))


def test_the_first_rule_that_holds_labels_a_packet(tmp_path: Path) -> None:
    """Rules are asked in their order; a hash key is the sample; what no rule selects has no label."""
    path = rules(
        tmp_path,
        "# which servers are whose",
        "",
        f"BPF:dst host {C},video,day-1",
        'BPF:udp,"dns, plain"',
        f"BPF:host {C} and tcp,never",
    )
    frames = [datagram(0, 1000), datagram(1, 2000, C), sent(2, eth(ip4(tcp(3000, 80, "S"))))]
    assert labels_of(capture(frames), path) == {
        1000: ("dns, plain", None, "rule", 0),
        2000: ("video", "day-1", "rule", 0),
        3000: (None, None, None, 0),
    }


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (f"BPF:udp|TS_START:{SECONDS + 1},x", [2000, 3000]),
        (f"BPF:udp|TS_END:{SECONDS + 1},x", [1000, 2000]),
        (f"BPF:udp|TS_START:{SECONDS + 1}|TS_END:{SECONDS + 1},x", [2000]),
        (f"BPF:udp|TS_END:{SECONDS + 1}|TS_START:{SECONDS + 1},x", [2000]),
        (f"BPF:udp | TS_START:{SECONDS}.5 | TS_END:{SECONDS + 1}.999999999,x", [2000]),
        (f"TS_START:{SECONDS + 2},x", [3000]),
        ("BPF:udp[0:2] & 0xff | 0x100 != 0 || tcp,x", [1000, 2000, 3000]),
    ],
)
def test_times_bound_a_rule(tmp_path: Path, rule: str, expected: list[int]) -> None:
    """Both bounds belong to the time; a rule may have times alone, and bars of a filter are the filter's."""
    frames = [datagram(number, port) for number, port in enumerate((1000, 2000, 3000))]
    found = labels_of(capture(frames), rules(tmp_path, rule))
    assert sorted(port for port, label in found.items() if label[0] == "x") == expected


def test_rules_win_over_what_packets_say(tmp_path: Path) -> None:
    """A flow has the label of a rule that labels any of its packets; packets that say otherwise are conflicts."""
    said = [comments("s=1,proc=a"), comments("s=1,proc=a"), [], comments("s=1,proc=a")]
    lengths = [1, 1, 9, 1]
    rows = [(n, ip4(udp(1000, 53, bytes(lengths[n]))), said[n]) for n in range(4)]
    rows.append((5, ip4(udp(2000, 53, b"x")), comments("s=2,proc=b")))
    found = labels_of(commented(rows), rules(tmp_path, "BPF:greater 37,long"))
    assert found[1000] == ("long", None, "rule", 3)
    assert found[2000] == ("b", "2", "pcapml", 0)


def test_rules_win_over_trailers_which_are_cut_off_all_the_same(tmp_path: Path) -> None:
    """A packet that a rule has labelled loses its trailer too."""
    rows = [(0, ip4(udp(1000, 53, b"abc")), App(5, "Chat"))]
    (row,) = fg.read(io.BytesIO(pcapdroid_pcap(rows)), rules=rules(tmp_path, "BPF:udp,mine")).to_pylist()
    assert (row["app"], row["label_by"], row["frame_bytes"], row["payload_bytes"]) == ("mine", "rule", 45, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_rules_are_compiled_for_each_link_type(tmp_path: Path, order: str) -> None:
    """Captures with several link types, of either byte order."""
    from captures import write_pcapng

    frames = [
        datagram(0, 1000),
        sent(1, ip4(udp(2000, 53)).data, link=RAW_IP),
        sent(2, sll(ip4(udp(3000, 9))), link=113),
    ]
    rows = [(frame.time, frame.data, frame.length, frame.link) for frame in frames]
    content = write_pcapng(rows, order=order)
    found = labels_of(content, rules(tmp_path, "BPF:dst port 53,dns", "BPF:udp,other"))
    assert {port: label[0] for port, label in found.items()} == {1000: "dns", 2000: "dns", 3000: "other"}


def test_a_rule_that_cannot_be_applied_ends_the_capture_with_its_place(tmp_path: Path) -> None:
    """What has no meaning for a link type is an error that names file and line, not silence."""
    path = rules(tmp_path, "BPF:udp,a", "BPF:ether host 02:00:00:00:00:01,b")
    content = write_pcap([(START, ip4(udp(1000, 53)).data)], link=RAW_IP)
    with pytest.raises(fg.FlowgaugeError, match=r"labels\.csv, line 2: the rule cannot be applied to raw IP: .*"):
        fg.read(io.BytesIO(content), rules=path)


@pytest.mark.parametrize("seed", range(2))
def test_rules_label_as_a_plain_loop_does(tmp_path: Path, seed: int) -> None:
    """Many packets and rules: the first packet with a label decides, as plain Python has it."""
    rng = random.Random(seed)
    table = [(rng.randrange(0, 300), rng.randrange(1000, 1010), f"app{n}") for n in range(30)]
    path = rules(tmp_path, *(f"BPF:src port {port}|TS_START:{SECONDS + at},{name}" for at, port, name in table))
    frames = [datagram(number, rng.randrange(1000, 1012)) for number in range(400)]
    expected: dict[int, list[str]] = {}
    for number, frame in enumerate(frames):
        port = int.from_bytes(frame.data[34:36], "big")
        holding = [name for at, of, name in table if of == port and number >= at]
        expected.setdefault(port, []).extend(holding[:1])
    found = labels_of(capture(frames), path, idle_timeout="off", active_timeout="off")
    assert {port: (label[0], label[3]) for port, label in found.items()} == {
        port: (names[0] if names else None, sum(name != names[0] for name in names)) for port, names in expected.items()
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("BPF:udp", "line 2: a label rule is BPF:"),
        ("BPF:udp,", "line 2: a label rule is BPF:"),
        ("BPF:udp,a,b,c", "line 2: a label rule is BPF:"),
        ("udp,a", "line 2: 'udp' has no filter and no time"),
        ("BPF:udp|TS_START:soon,a", "line 2: the filter cannot be compiled"),
        ("BPF:udp|TS_START:5|TS_END:4,a", "line 2: TS_START lies behind TS_END"),
        ("BPF:udp prot 5,a", "line 2: the filter cannot be compiled"),
    ],
)
def test_a_line_that_is_no_rule_is_named(tmp_path: Path, line: str, message: str) -> None:
    """An error names file and line before anything is read."""
    path = rules(tmp_path, "BPF:tcp,fine", line)
    with pytest.raises(ConfigError) as caught:
        fg.read(io.BytesIO(capture([datagram(0, 1000)])), rules=path)
    assert f"labels.csv, {message}" in str(caught.value)


def test_a_mistake_in_a_filter_is_marked(tmp_path: Path) -> None:
    """The message is libpcap's, with a mark below the place."""
    path = rules(tmp_path, "BPF:udp prot 53,a")
    result = CliRunner().invoke(app, ["extract", "x.pcap", "-o", str(tmp_path / "x.csv"), "--rules", str(path)])
    assert result.exit_code == 1 or result.exit_code == 2  # the capture is not there either
    (tmp_path / "x.pcap").write_bytes(capture([datagram(0, 1000)]))
    result = CliRunner().invoke(
        app, ["extract", str(tmp_path / "x.pcap"), "-o", str(tmp_path / "x.csv"), "--rules", str(path)]
    )
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert "labels.csv, line 1: the filter cannot be compiled:" in lines[0]
    assert lines[1].strip() == "udp prot 53"
    assert lines[2].index("^") == lines[1].index("prot")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "has no label rules"), (b"# none\n\n", "has no label rules"), (b"\xff\xfe", "cannot read the label rules")],
)
def test_a_file_without_rules_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    """Nothing to label with is a mistake, as is a file that is no text or is not there."""
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_rules(tmp_path / "labels.csv")
    with pytest.raises(ConfigError, match="cannot read the label rules"):
        read_rules(tmp_path / "nowhere.csv")


def test_the_command_labels_by_rules(tmp_path: Path) -> None:
    """--rules on the command line, into CSV."""
    (tmp_path / "a.pcap").write_bytes(capture([datagram(0, 1000), datagram(1, 2000, C)]))
    path = rules(tmp_path, f"BPF:host {C},video")
    output = tmp_path / "flows.csv"
    arguments = ["extract", str(tmp_path / "a.pcap"), "-o", str(output), "--rules", str(path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    header, *lines = (line.split(",") for line in output.read_text().splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [(row["server_ip"], row["app"], row["label_by"]) for row in rows] == [(B, "", ""), (C, "video", "rule")]
    assert "video" in result.output
