"""What recording is made of: names, expressions, blocks, what a capture has inside, and what a phone says."""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowgauge as fg
from captures import block, enhanced, interface, options, section, write_pcap
from flowgauge.capture import android
from flowgauge.capture.names import TEMPLATE, Names
from flowgauge.capture.pcapng import Description, PcapngFile, head, hidden, statistics
from flowgauge.capture.record import expression
from flowgauge.errors import ConfigError
from flowgauge.kernels.blocks import write_blocks
from flowgauge.kernels.packet import make_batch
from flowgauge.labels import TemplateLabeller
from flowgauge.labels.background import COLUMNS, Background, Marks
from flowgauge.labels.inside import MOST_COMMENT, from_comments, label_of, to_comment
from flowgauge.sources import libpcap
from flowgauge.sources.capture import open_capture
from packets import eth, ip4, udp
from reading import packets, read_rows

TIME = 1_795_424_699_123_456_789
WHERE = Description("wlan0", 1, 65535, "tcp", "02:00:5e:00:53:01", "x86_64", "Linux", "flowgauge")
LABEL = {"app": "chat", "action": "login"}


def names(folder: Path = Path(), template: str = TEMPLATE, **label: str) -> Names:
    return Names(folder, template, label)


@given(
    app=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    action=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    take=st.integers(1, 1000),
)
def test_a_name_is_refused_or_read_back(app: str, action: str, take: int) -> None:
    """No name is made that the template would read as another label."""
    try:
        path = names(app=app, action=action).path(take)
    except ConfigError:
        return
    assert TemplateLabeller(TEMPLATE).match(path.name) == {"app": app, "action": action, "n": f"{take:02}"}
    assert path.parent == Path() and not path.name.startswith(".")


@pytest.mark.parametrize(
    ("template", "label", "said"),
    [
        (TEMPLATE, {"app": "my_app", "action": "login"}, "would be read as app 'my', action 'app', n 'login_01'"),
        (TEMPLATE, {"app": "a/b", "action": "login"}, "app 'a/b' cannot be part of a file's name"),
        (TEMPLATE, {"app": ".a", "action": "login"}, "app '.a' cannot be part"),
        (TEMPLATE, {"app": "a\nb", "action": "login"}, "cannot be printed"),
        (TEMPLATE, {"app": "a"}, "needs action: give it with --action"),
        (TEMPLATE, {"app": "a" * 195, "action": "b"}, "longer than 200 bytes"),
        (TEMPLATE, {**LABEL, "note": "a" * 201}, "note is longer than 200 characters"),
        (TEMPLATE, {**LABEL, **{f"f{i}": "a" for i in range(20)}}, "up to 20 fields, not 22"),
        ("{os}_{app}_{n}", {"app": "a"}, "needs os: give it with --set os=…"),
        ("{app}_{action}_*.pcap", LABEL, r"a name cannot be made of '\*'"),
        ("{app}_{action}.pcap", LABEL, "needs {n}"),
        ("{n}/{app}.pcap", LABEL, "needs {n}, the number of the take, in the name of the file"),
        (TEMPLATE, {**LABEL, "n": "3"}, "n is the number of the take"),
        (TEMPLATE, {**LABEL, "packets": "3"}, "--set has a field 'packets', which is a column already"),
        (TEMPLATE, {**LABEL, "background": "3"}, "--set has a field 'background', which is a column already"),
    ],
)
def test_what_cannot_be_a_name(template: str, label: dict[str, str], said: str) -> None:
    """A label or template that makes no name of which the label can be read is refused, and why."""
    with pytest.raises(ConfigError, match=said):
        names(template=template, **label)


def test_numbers_follow_the_highest(tmp_path: Path) -> None:
    """The number of a take is above all of its label, also of captures in pieces and those that are not complete."""
    made = names(tmp_path, **LABEL)
    assert made.next() == 1
    for name, then in (
        ("chat_login_03.pcapng", 4),
        ("chat_call_09.pcapng", 4),
        ("chat_login_x.pcapng", 4),
        ("chat_login_05-002.pcapng", 6),
        (".chat_login_07.pcapng.part", 8),
        ("chat_login_08.parquet", 8),
    ):
        (tmp_path / name).touch()
        assert made.next() == then, name


@pytest.mark.skipif(not libpcap.is_installed(), reason="no libpcap (apt-get install libpcap0.8)")
def test_the_client_is_part_of_the_filter() -> None:
    """An IP or MAC address limits what the filter selects; anything else is refused, and a mistake is marked."""
    assert expression(None, None) is None
    assert expression(None, "tcp or udp") == "tcp or udp"
    assert expression("192.168.7.20", None) == "host 192.168.7.20"
    assert expression("2001:DB8::1", "tcp or udp") == "host 2001:db8::1 and (tcp or udp)"
    assert expression("02:00:5E:00:53:01", "udp") == "ether host 02:00:5E:00:53:01 and (udp)"
    for client in ("phone", "192.168.7.0/24", "1.2.3.4 or tcp", "02:00:5e:00:53"):
        with pytest.raises(ConfigError, match="neither an IP address nor a MAC address"):
            expression(client, None)
    with pytest.raises(ConfigError, match="too long for a capture to note"):
        expression(None, " or ".join(["tcp"] * 1000))
    with pytest.raises(ConfigError, match="cannot be compiled"):
        expression("192.168.7.20", "tcp port")


def batch_of(frames: list[bytes], room: int = 64) -> tuple[Any, np.ndarray]:
    """Rows for frames, one behind the other with 3 bytes between."""
    batch, at = make_batch(max(room, len(frames))), 3
    data = np.zeros(sum(map(len, frames)) + 3 * len(frames) + 3, np.uint8)
    for number, frame in enumerate(frames):
        row = batch.packets[number]
        row.offset, row.caplen, row.frame_len, row.time = at, len(frame), len(frame) + 7, TIME + number
        data[at : at + len(frame)] = np.frombuffer(frame, np.uint8)
        at += len(frame) + 3
    return batch, data


@settings(deadline=None)  # the first call compiles
@given(frames=st.lists(st.binary(max_size=90), max_size=20), room=st.integers(40, 3000))
def test_blocks_are_those_of_the_format(frames: list[bytes], room: int) -> None:
    """Blocks are byte for byte those that a plain writer makes, whatever the room for them at a time."""
    batch, data = batch_of(frames)
    order = "<" if sys.byteorder == "little" else ">"
    blocks, row, out = b"", 0, np.full(room + -room % 4 + 120, 0xEE, np.uint8)
    while row < len(frames):
        row, size = write_blocks(batch, row, len(frames), data, out, out.view(np.uint32))
        blocks += out[: int(size)].tobytes()
    wanted = (enhanced(TIME + i, f, original=len(f) + 7, order=order) for i, f in enumerate(frames))
    assert blocks == b"".join(wanted)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Packets of any length, more than the buffer's, come back; until the file is complete its name is hidden."""
    frames = [bytes([i]) * size for i, size in enumerate((0, 1, 2, 3, 4, 60, 1514, 70_000, 3_000_000, 5))]
    batch, data = batch_of(frames)
    file = PcapngFile(tmp_path / "new" / "a.pcapng")
    assert file.open()
    file.write(head(WHERE, to_comment(LABEL, {})))
    file.write_packets(batch, len(frames), data)
    file.write(statistics(TIME, TIME + 1, 12, 2))
    assert not file.path.exists() and not PcapngFile(file.path).open()
    file.complete()
    assert file.path.exists() and not hidden(file.path).exists() and not PcapngFile(file.path).open()
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.stat().st_size == file.written
    rows, capture = read_rows(file.path.read_bytes())
    assert packets(rows) == [(TIME + i, frame, len(frame) + 7) for i, frame in enumerate(frames)]
    assert capture.damage is None and capture.inside == {"label": LABEL, "session": {}}


def test_counts_are_in_the_statistics_block(tmp_path: Path) -> None:
    """Times in nanoseconds, high half first, and frames received and lost in 64 bits, as the draft lays them out."""
    order = "<" if sys.byteorder == "little" else ">"
    stamps = [struct.pack("=II", time >> 32, time & 0xFFFFFFFF) for time in (TIME, TIME + 10)]
    pairs = [(2, stamps[0]), (3, stamps[1]), (4, struct.pack("=Q", 12)), (5, struct.pack("=Q", 2))]
    body = struct.pack("=I", 0) + stamps[1] + options(pairs, order)
    assert statistics(TIME, TIME + 10, 12, 2) == block(5, body, order)


def capture_with(*comments: str, frames: int = 1) -> bytes:
    pairs = [(1, comment.encode()) for comment in comments]
    content = section(pairs=pairs) + interface(resolution=9)
    for number in range(frames):
        content += enhanced(TIME + number, eth(ip4(udp(1024 + number, 53))))
    return content


def comment_of(label: Any, **others: Any) -> str:
    return json.dumps({"flowgauge": {"label": label, **others}})


def test_labels_come_from_the_first_such_comment(tmp_path: Path) -> None:
    """Comments that are no such object are passed over; a template on the command line wins."""
    path = tmp_path / "a_b.pcapng"
    path.write_bytes(capture_with("by hand", "[1]", '{"flowgauge": 3}', comment_of(LABEL), comment_of({"app": "no"})))
    assert fg.read(path).select(["app", "action"]).to_pylist() == [LABEL]
    assert fg.info(path).labels == LABEL
    assert fg.read(path, label="{app}_{action}.pcap").select(["app", "action"]).to_pylist() == [
        {"app": "a", "action": "b"}
    ]


def test_fields_of_all_captures_become_columns(tmp_path: Path) -> None:
    """Every field that a capture of the inputs has inside is a column, null for captures without it."""
    (tmp_path / "1.pcapng").write_bytes(capture_with(comment_of({"os": "android", "app": "chat"})))
    (tmp_path / "2.pcapng").write_bytes(capture_with(comment_of({"version": 2.5, "baseline": True})))
    (tmp_path / "3.pcapng").write_bytes(capture_with())
    (tmp_path / "4.pcap").write_bytes(write_pcap([(TIME, eth(ip4(udp(1024, 53))))]))
    table = fg.read(tmp_path)
    fields = ["app", "action", "os", "version", "baseline"]
    assert [name for name in table.column_names if name in fields] == fields
    assert [list(row.values()) for row in table.select(fields).to_pylist()] == [
        ["chat", None, "android", None, None],
        [None, None, None, "2.5", "true"],
        [None] * 5,
        [None] * 5,
    ]


def test_names_that_cannot_be_columns_are_no_labels() -> None:
    """What a capture of others has inside cannot take the place of a column, nor make one of no name."""
    label = {"packets": "1", "background": "2", "": "3", "a b": "4", "fine": "5", "empty": "", "none": None}
    assert label_of(from_comments([comment_of(label)])) == {"fine": "5"}
    assert label_of(from_comments([comment_of([])])) is None and from_comments(["[" * 100_000]) == {}


def test_standard_input_has_app_and_action() -> None:
    """Of what can be read only once, the labels that are always columns are known."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    content = capture_with(comment_of({**LABEL, "os": "android"}))
    table = fg.read(Pipe(content))
    assert table.select(["app", "action"]).to_pylist() == [LABEL] and "os" not in table.column_names
    assert fg.read(io.BytesIO(content))["os"].to_pylist() == ["android"]


def test_a_capture_without_a_label_can_be_refused(tmp_path: Path) -> None:
    """With label_strict and no template, a capture without a label inside ends the run before it reads."""
    (tmp_path / "1.pcapng").write_bytes(capture_with(comment_of(LABEL)))
    assert fg.read(tmp_path, label_strict=True).num_rows == 1
    (tmp_path / "2.pcapng").write_bytes(capture_with())
    with pytest.raises(ConfigError, match=r"no label inside .*2\.pcapng"):
        fg.read(tmp_path, label_strict=True)


def records(*flows: tuple[int, str, int, str, int, str]) -> dict[str, list[Any]]:
    return dict(zip(COLUMNS, map(list, zip(*flows, strict=True)), strict=True))


def test_background_is_what_was_open_or_met() -> None:
    """A flow that began before and has not ended is open, in either direction; a server of the baseline is met by its
    address, port and protocol."""
    background = Background()
    background.look(
        records((6, "10.0.0.1", 5000, "10.0.0.9", 443, "stop"), (17, "10.0.0.1", 5001, "10.0.0.9", 53, "idle")), True
    )
    background.look(
        records((6, "10.0.0.1", 6000, "2001:db8::9", 443, "stop"), (6, "10.0.0.1", 6001, "10.0.0.8", 443, "stop")),
        False,
    )
    background.look(records((6, "10.0.0.1", 6001, "10.0.0.8", 443, "fin")), False)
    marks = Marks(json.loads(json.dumps(background.listed())))
    phone, server, other = (4, 0x0A000001, 0), (4, 0x0A000009, 443), (6, 0x20010DB8 << 96 | 9, 443)
    assert marks.of(6, (*phone[:2], 5000), server) == "open" == marks.of(6, server, (*phone[:2], 5000))
    assert marks.of(6, (*phone[:2], 6000), other) == "open"
    assert marks.of(6, (*phone[:2], 7000), server) == "baseline"
    assert marks.of(17, (*phone[:2], 7000), server) is None
    assert marks.of(6, (*phone[:2], 7000), other) is None
    assert marks.of(6, (*phone[:2], 6001), (4, 0x0A000008, 443)) is None


def test_long_lists_fit_into_the_comment() -> None:
    """Of too many flows and servers the latest are listed, and how many are not; the comment is not too long."""
    background = Background()
    flows = [(6, f"2001:db8:aaaa:bbbb:cccc:dddd::{i:x}", i, "2001:db8::1", i, "stop") for i in range(1, 3000)]
    background.look(records(*flows), True)
    listed = background.listed()
    assert len(to_comment(LABEL, {}, listed).encode()) < MOST_COMMENT
    assert listed["left_out"] == 2 * len(flows) - len(listed["open"]) - len(listed["baseline"]) > 0
    assert 2999 in listed["open"][0] and listed["baseline"][0] == [6, "2001:db8::1", 2999]


def test_marks_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    """Lists of others' captures do no harm, whatever they hold."""
    lists = {"open": [1, [], [6, "x", 1, "y", 2], "abc", None], "baseline": [[17, "10.0.0.2", "x"], {}, [17]]}
    path = tmp_path / "a.pcapng"
    for background in (lists, {"open": 3}, [], None, "open"):
        path.write_bytes(capture_with(comment_of(LABEL, background=background)))
        assert fg.read(path)["background"].to_pylist() == [None]


@pytest.mark.parametrize(
    "line",
    [
        "    mResumedActivity: ActivityRecord{8f1c2 u0 com.example.chat/.MainActivity t77}",
        "    topResumedActivity=ActivityRecord{8f1c2 u0 com.example.chat/com.example.Main t77}",
        "  ResumedActivity: ActivityRecord{8f1c2 u10 com.example.chat/.Main t7}",
    ],
)
def test_the_app_in_front(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Each form that Android's systems write is read; a version that is not said is None."""
    answers = {"activity": f"  mLastPausedActivity: ActivityRecord{{1 u0 com.other/.A t1}}\n{line}\n", "package": ""}
    monkeypatch.setattr(android, "_adb", lambda *command: answers[command[1]])
    assert android.foreground() == ("com.example.chat", None)
    answers["package"] = "  versionCode=7\n    versionName=4.1.2-beta minSdk=1\n    versionName=3.0\n"
    assert android.foreground() == ("com.example.chat", "4.1.2-beta")


def test_a_phone_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without adb, or an app in front, the error says what is missing."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(android.AdbError, match="adb is not installed"):
        android.foreground()
    monkeypatch.setattr(android, "_adb", lambda *command: "")
    with pytest.raises(android.AdbError, match="is its screen unlocked"):
        android.foreground()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--app", "my_app", "--action", "b"), "would be read as"),
        (("--action", "b"), "say what is recorded: --app NAME, or --adb"),
        (("--app", "a", "--action", "b", "--repeat", "2"), "--repeat needs --duration"),
        (("--app", "a", "--action", "b", "--files", "2"), "--files needs --file-size or --file-time"),
        (("--app", "a", "--action", "b", "--set", "os"), "--set 'os' is not FIELD=VALUE"),
        (("--app", "a", "--action", "b", "--set", "app=c"), "the label 'app' is given twice"),
        (("--app", "a", "--action", "b", "--duration", "soon"), "duration is a time above 0"),
        (("--app", "a", "--action", "b", "-i", "any"), "a recording is of one interface"),
    ],
)
def test_wrong_use_is_said_before_anything_is_opened(arguments: tuple[str, ...], said: str) -> None:
    """Each mistake is one line and exit code 2, also without privileges."""
    from typer.testing import CliRunner

    from flowgauge.cli import app

    done = CliRunner().invoke(app, ["record", "-i", "no-such-interface", "-o", "captures", *arguments])
    assert done.exit_code == 2 and said in done.stderr, done.stderr


def test_the_longest_comment_has_room(tmp_path: Path) -> None:
    """Whatever is allowed in label, filter and lists fits into one option of a section."""
    background = Background()
    background.look(
        records(*((6, f"2001:db8:aaaa:bbbb:cccc:dddd::{i:x}", i, "2001:db8::1", i, "stop") for i in range(1, 3000))),
        True,
    )
    label = {f"f{i}": "ä" * 200 for i in range(20)}
    comment = to_comment(label, {"filter": "\\" * 4000, "client": "x" * 40}, background.listed())
    assert len(comment.encode()) <= MOST_COMMENT
    (tmp_path / "a.pcapng").write_bytes(head(WHERE, comment))
    with open_capture(tmp_path / "a.pcapng") as capture:
        assert label_of(capture.inside) == label
