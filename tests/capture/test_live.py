"""`flowgauge live` with real parts: two hosts on a wire, tcpdump beside it, and all that can happen to a run."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import captures
import flowgauge as fg
import packets
from livelab import HERE, HERE6, SEND, THERE, THERE6, Wire, events, records, wire
from netlab import REQUIRED, Host, until

pytestmark = pytest.mark.netns

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "captures"
REPLAYED = ("browser_http-fetch_01.pcap", "dns_lookup_01.pcap", "ssh_session_01.pcap", "voip_call_01.pcap")
GROUPS = "core,size,iat,flags,tcp,ip,splt,activity,bulk,payload,distribution,raw"
# Which capture, where in it, and why it ended there: those differ between a file and a wire.
NOT_COMPARED = ("source", "flow_id", "first_packet", "end_reason")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("wire")) as built:
        built.there.start(sys.executable, "-m", "http.server", "80")
        until(lambda: built.there.listens(80), "web server")
        yield built


@contextlib.contextmanager
def tcpdump(host: Host, path: Path, *arguments: str, interface: str = "w0") -> Iterator[None]:
    """Frames of an interface of the host to a file, while inside."""
    command = ["tcpdump", "-i", interface, "-w", str(path), "--time-stamp-precision=nano", "-U", "-j", "host"]
    full = ["ip", "netns", "exec", host.name, *command, "--immediate-mode", "-Z", "root", *arguments]
    process = subprocess.Popen(full, stderr=subprocess.PIPE)
    try:
        until(lambda: path.exists() and path.stat().st_size >= 24, "tcpdump")
        yield
    finally:
        time.sleep(0.3)
        process.terminate()
        process.communicate(timeout=10)


def conversations(net: Wire) -> None:
    """What applications said; TCP that answers and that is refused, UDP both ways, IPv6, ping, fragments."""
    for name in REPLAYED:
        net.replay(EXAMPLES / name)
    host = net.here
    for url in (f"http://{THERE}/", f"http://[{THERE6}]/", f"http://{THERE}/missing"):
        host.run("curl", "-s", "-g", "-o", "/dev/null", url)
    host.run("curl", "-s", f"http://{THERE}:81/")
    net.ping(THERE)
    net.ping(THERE, 1, 4000)
    net.ping(THERE6, 1, 4000)
    net.send(7000, 20)
    net.send(7000, 3, address=THERE6)
    net.send(7001, 3, address=HERE, host=net.there)


def compared(table: pa.Table, timed: bool) -> list[dict[str, Any]]:
    """Rows but for the chatter of IPv6's neighbours, in order."""
    table = table.drop_columns([name for name in NOT_COMPARED if name in table.column_names])
    rows = [row for row in table.to_pylist() if not row["server_ip"].startswith(("ff02", "fe80"))]
    rows = [row for row in rows if not row["client_ip"].startswith("fe80")]
    rows.sort(
        key=lambda row: (row["client_ip"], row["client_port"], row["server_ip"], row["server_port"], row["start"])
    )
    # TCP that comes from another namespace has a time to be sent, and so no time of arrival that all would see.
    return [
        row if timed and not (row["protocol"] == 6 and row["client_ip"] in (HERE, HERE6)) else untimed(row)
        for row in rows
    ]


@pytest.mark.parametrize(
    ("live", "beside", "expression"),
    [
        ((), (), None),
        (("--snaplen", "90"), ("-s", "90"), None),
        ((), (), "tcp port 80 or icmp"),
        (("--via", "tcpdump"), (), None),
        (("--via", "tcpdump", "--snaplen", "90"), ("-s", "90"), "udp"),
    ],
)
def test_live_flows_are_those_of_a_capture_of_the_same_traffic(
    net: Wire, tmp_path: Path, live: tuple[str, ...], beside: tuple[str, ...], expression: str | None
) -> None:
    """Row for row and column for column, times to the nanosecond, as from a file that tcpdump wrote beside it."""
    chosen = () if expression is None else ("--filter", expression)
    with tcpdump(net.here, tmp_path / "beside.pcap", *beside, *([expression] if expression else [])):
        run = net.live("-o", str(tmp_path / "out"), "--features", GROUPS, *live, *chosen)
        conversations(net)
        time.sleep(0.5)
        assert run.end() == 0, run.said
    [event] = [event for event in events(tmp_path / "out") if event["event"] == "file"]
    timed = "--via" not in live  # without a ring nobody asks for the time of arrival: each socket takes its own
    found = compared(pq.read_table(tmp_path / "out" / event["file"]), timed)
    expected = compared(fg.read(str(tmp_path / "beside.pcap"), features=GROUPS), timed)
    assert len(expected) >= (3 if expression else 11)
    assert len(found) == len(expected)
    assert [difference(*rows) for rows in zip(found, expected, strict=True)] == [{}] * len(expected)


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Columns in which two rows differ, with both values; not a number is like itself."""
    return {name: (one[name], other[name]) for name in other if repr(one[name]) != repr(other[name])}


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row does not depend on how long anything took."""
    return {name: value for name, value in row.items() if name in ("client_ip", "client_port", "server_port")} | {
        name: value for name, value in row.items() if name.endswith(("packets", "bytes", "flags")) or "payload" in name
    }


def test_every_direction_of_all_interfaces(net: Wire, tmp_path: Path) -> None:
    """`any` has what is sent and what is received, as tcpdump has it, and what passes loopback once."""
    with tcpdump(net.here, tmp_path / "beside.pcap", interface="any"):
        run = net.live("-o", str(tmp_path / "out"), interface="any")
        net.ping(THERE)
        net.send(7002, 4, address="127.0.0.1")
        net.send(7003, 5)
        assert run.end() == 0, run.said
    found, expected = (
        {(row["server_ip"], row["server_port"], row["up_packets"], row["down_packets"]) for row in rows}
        for rows in (records(tmp_path / "out"), fg.read(str(tmp_path / "beside.pcap")).to_pylist())
    )
    assert {(THERE, 0, 2, 2), ("127.0.0.1", 7002, 4, 0), (THERE, 7003, 5, 0)} <= {
        (ip, port if port in (7002, 7003) else 0, up, down) for ip, port, up, down in found
    }
    # Of loopback, tcpdump may have let go of the last packet when it was stopped.
    assert {row for row in found if row[0] == THERE} == {row for row in expected if row[0] == THERE}


def test_loopback_is_metered_once(net: Wire, tmp_path: Path) -> None:
    """Of the two copies that loopback delivers one is left."""
    run = net.live("-o", str(tmp_path), "-f", "udp", interface="lo")
    net.send(7004, 6, address="127.0.0.1")
    assert run.end() == 0, run.said
    assert [(row["server_port"], row["up_packets"]) for row in records(tmp_path)] == [(7004, 6)]


def test_vlan_tags_are_there_and_can_be_filtered_by(net: Wire, tmp_path: Path) -> None:
    """A filter that looks for tags sees those that the system has taken off, and the column has them."""
    run = net.live("-o", str(tmp_path / "out"), "-f", "vlan 7 and udp")
    frames = [
        packets.eth(packets.ip4(packets.udp(4000, port, b"x" * 30)), vlans=[number])
        for number, port in ((7, 7005), (8, 7006), (7, 7005))
    ]
    (tmp_path / "tagged.pcap").write_bytes(captures.write_pcap([packets.sent(0, frame) for frame in frames]))
    net.replay(tmp_path / "tagged.pcap")
    net.send(7006, 3)
    assert run.end() == 0, run.said
    rows = records(tmp_path / "out")
    assert [(row["server_port"], row["vlan"], row["up_packets"]) for row in rows] == [(7005, 7, 2)]


def test_nothing_is_metered_that_the_filter_leaves_out(net: Wire, tmp_path: Path) -> None:
    """While others flood the interface from before the start on, no packet of theirs comes through."""
    flood = net.here.start(sys.executable, "-c", SEND, THERE, "7008", "10000000", "0")
    run = net.live("-o", str(tmp_path), "-f", "udp port 7009")
    net.send(7009, 3)
    code = run.end()
    net.here.stop(flood)
    assert code == 0, run.said
    assert [(row["server_port"], row["up_packets"]) for row in records(tmp_path)] == [(7009, 3)]
    assert events(tmp_path)[-1]["packets"] == 3


def test_files_rotate_by_time(net: Wire, tmp_path: Path) -> None:
    """Each file is complete and in the manifest, times without records leave none, and no record is lost between."""
    run = net.live("-o", str(tmp_path), "--rotate", "1s", "--format", "jsonl", "--idle-timeout", "5", "-f", "udp")
    for port in (7010, 7110, 7210):
        net.send(port, 1)
    # Records leave at boundaries, at multiples of 30 s.
    until(lambda: len(events(tmp_path)) > 1, "a file while the run goes on", 40)
    net.send(7310, 1)
    assert run.end(signal.SIGINT) == 0, run.said
    files = [event for event in events(tmp_path) if event["event"] == "file"]
    assert [(event["number"], event["rows"]) for event in files] == [(1, 3), (2, 1)]
    assert sorted(os.listdir(tmp_path)) == sorted([*(event["file"] for event in files), "manifest.jsonl"])
    assert [row["server_port"] for row in records(tmp_path)] == [7010, 7110, 7210, 7310]


def test_a_signal_begins_another_file(net: Wire, tmp_path: Path) -> None:
    """SIGHUP closes the file of the time and opens the next, and the run goes on."""
    run = net.live("-o", str(tmp_path), "-f", "udp")
    before = os.listdir(tmp_path)
    run.send(signal.SIGHUP)
    until(lambda: len(os.listdir(tmp_path)) == 2 and os.listdir(tmp_path) != before, "another file", 3)
    net.send(7410, 1)
    assert run.end() == 0
    assert [row["server_port"] for row in records(tmp_path)] == [7410]


def test_a_stop_under_traffic_that_never_pauses(net: Wire, tmp_path: Path) -> None:
    """SIGTERM ends the run soon though packets come all the time; with a ring those before the signal are all there."""
    for via in ("ring", "tcpdump"):
        flood = net.here.start(sys.executable, "-c", SEND, THERE, "7510", "10000000", "0.001")
        run = net.live("-o", str(tmp_path / via), "-f", "udp port 7510", "--via", via)
        begin = time.monotonic()
        code = run.end()
        assert time.monotonic() - begin < 4
        net.here.stop(flood)
        assert code == 0, run.said
        assert sum(row["up_packets"] for row in records(tmp_path / via)) == events(tmp_path / via)[-1]["packets"] > 100


def test_a_killed_run_leaves_no_half_file_and_the_next_says_from_when(net: Wire, tmp_path: Path) -> None:
    """After kill -9 there is no file under a final name but complete ones; the next start cleans up, goes on with
    the numbers, and says since when records are missing."""
    first = net.live("-o", str(tmp_path), "-f", "udp")
    net.send(7011, 2)
    first.end()
    second = net.live("-o", str(tmp_path), "-f", "udp")
    net.send(7012, 2)
    time.sleep(0.5)
    second.end(signal.SIGKILL)
    assert len([name for name in os.listdir(tmp_path) if not name.startswith(".")]) == 2
    [half] = [name for name in os.listdir(tmp_path) if ".part-" in name]
    third = net.live("-o", str(tmp_path), "-f", "udp")
    assert half not in os.listdir(tmp_path)
    net.send(7013, 2)
    third.end()
    starts = [event for event in events(tmp_path) if event["event"] == "start"]
    assert [start.get("lost_since") for start in starts] == [None, None, starts[1]["time"]]
    assert [event["number"] for event in events(tmp_path) if event["event"] == "file"] == [1, 2]
    assert [row["server_port"] for row in records(tmp_path)] == [7011, 7013]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_counts_on_request(net: Wire, tmp_path: Path) -> None:
    """SIGUSR1 prints one line with packets, losses, open flows and rows, and the run goes on."""
    run = net.live("-o", str(tmp_path), "-f", "udp")
    net.send(7014, 5)
    time.sleep(0.7)
    run.send(signal.SIGUSR1)
    until(lambda: "flows open" in run.said, "counts", 3)
    [line] = [line for line in run.said.splitlines() if "flows open" in line]
    assert line.startswith("flowgauge: 5 packets in ")
    assert line.endswith("0 lost, 1 flows open, 0 rows in 0 files")
    assert run.end() == 0


def test_losses_are_counted(net: Wire, tmp_path: Path) -> None:
    """Frames for which the ring had no room are in the counts and in the manifest."""
    run = net.live("-o", str(tmp_path), "--ring", "2M")
    run.send(signal.SIGSTOP)
    net.send(7015, 40_000)
    run.send(signal.SIGCONT)
    run.send(signal.SIGUSR1)
    until(lambda: "flows open" in run.said, "counts", 5)
    assert run.end() == 0
    stop = events(tmp_path)[-1]
    assert stop["lost"] > 1000
    assert stop["packets"] + stop["lost"] >= 40_000
    assert f"{stop['lost']:,} lost" in run.said


def arrived(pipe: Any, seconds: float) -> str:
    """What comes within so many seconds."""
    ready, _, _ = select.select([pipe], [], [], seconds)
    assert ready, f"nothing within {seconds} s"
    return str(pipe.read(1 << 20).decode())


@pytest.mark.parametrize(("via", "format"), [("ring", "jsonl"), ("tcpdump", "csv")])
def test_idle_flows_leave_in_silence_and_at_once(net: Wire, via: str, format: str) -> None:
    """With nothing on the wire a flow is written when its timeout and the next multiple of 30 s have passed, and
    its line is in the pipe within 2 s of that."""
    reading, writing = os.pipe()
    arguments = ("-o", "-", "--format", format, "--idle-timeout", "3", "-f", "udp port 7016", "--via", via)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        with os.fdopen(writing, "wb") as output:
            run = net.live(*arguments, output=output)
        text = arrived(pipe, 5) if format == "csv" else ""  # the names of the columns are there from the start
        net.send(7016, 2)
        begin = time.monotonic()
        text += arrived(pipe, 45)
        seconds = time.monotonic() - begin
        row = json.loads(text) if format == "jsonl" else next(csv.DictReader(text.splitlines()))
        assert [str(row[name]) for name in ("server_port", "up_packets", "end_reason")] == ["7016", "2", "idle"]
        assert 5 < seconds < 38  # 6 s, up to 30 s, 1 s behind which nothing is on its way, and turns of 0.5 s
        assert run.end() == 0


def test_an_interface_that_goes_down_is_metered_again(net: Wire, tmp_path: Path) -> None:
    """Down and up, deleted and made anew: the run goes on with what comes then, and says so."""
    run = net.live("-o", str(tmp_path), "-f", "udp")
    net.send(7017, 1)
    net.here.sh("ip", "link", "set", "w0", "down")
    until(lambda: "is down" in run.said, "down", 5)
    net.here.sh("ip", "link", "set", "w0", "up")
    until(lambda: "w0 is up" in run.said, "up", 5)
    net.here.sh("ip", "address", "replace", f"{HERE}/24", "dev", "w0")
    net.send(7018, 2)
    net.here.sh("ip", "link", "delete", "w0")
    until(lambda: run.said.count("is down") == 2, "deleted", 5)
    net.connect()
    until(lambda: run.said.count("w0 is up") == 2, "made anew", 5)
    net.send(7019, 3)
    assert run.end() == 0
    found = {row["server_port"]: row["up_packets"] for row in records(tmp_path)}
    assert found == {7017: 1, 7018: 2, 7019: 3}


def test_an_interface_that_is_down_at_first(net: Wire, tmp_path: Path) -> None:
    """A run may start before its interface is up."""
    net.here.sh("ip", "link", "set", "w0", "down")
    run = net.live("-o", str(tmp_path), "-f", "udp")
    net.here.sh("ip", "link", "set", "w0", "up")
    net.here.sh("ip", "address", "replace", f"{HERE}/24", "dev", "w0")
    until(lambda: "w0 is up" in run.said, "up", 5)
    net.send(7020, 2)
    assert run.end() == 0
    assert [(row["server_port"], row["up_packets"]) for row in records(tmp_path)] == [(7020, 2)]


def test_promiscuous_on_request_and_only_while_it_runs(net: Wire, tmp_path: Path) -> None:
    """The interface is promiscuous with --promiscuous, and as before afterwards."""

    def promiscuity() -> int:
        [link] = json.loads(net.here.sh("ip", "-json", "-details", "link", "show", "w0"))
        return int(link["promiscuity"])

    plain = net.live("-o", str(tmp_path / "plain"))
    assert promiscuity() == 0
    plain.end()
    run = net.live("-o", str(tmp_path / "all"), "--promiscuous")
    assert promiscuity() == 1
    assert run.end() == 0
    assert promiscuity() == 0


def test_max_flows_bounds_what_is_known(net: Wire, tmp_path: Path) -> None:
    """Beyond --max-flows the flows least recently seen leave, and no packet is lost by that."""
    run = net.live("-o", str(tmp_path), "-f", "udp", "--max-flows", "10")
    for port in range(7100, 7120):
        net.send(port, 2)
    assert run.end() == 0
    rows = records(tmp_path)
    assert sum(row["up_packets"] for row in rows) == 40
    assert {row["end_reason"] for row in rows} == {"limit", "stop"}


def test_a_folder_has_one_run(net: Wire, tmp_path: Path) -> None:
    """A second run for the same folder is refused, and does not touch what the first writes."""
    run = net.live("-o", str(tmp_path), "-f", "udp")
    before = sorted(os.listdir(tmp_path))
    code, said = net.refused("-i", "w0", "-o", str(tmp_path))
    assert (code, sorted(os.listdir(tmp_path))) == (3, before)
    assert "another run writes its flows here" in said
    net.send(7021, 1)
    assert run.end() == 0
    assert len(records(tmp_path)) == 1


FULL = """
mount -t tmpfs -o size=64k none "$2"
"$1" -m flowgauge live -i w0 -o "$2" --format csv -f 'udp portrange 8000-8300' --duration 8s --quiet &
for _ in $(seq 60); do grep -qs start "$2/manifest.jsonl" && break; sleep 0.2; done
sleep 1
"$1" -c "
import socket
for port in range(8000, 8300):
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b'x', ('10.9.0.2', port))
"
wait $!
echo $?
ls -A "$2"
"""


def test_a_full_disk_ends_the_run(net: Wire, tmp_path: Path) -> None:
    """Where records cannot be written the run ends with 3 and says so; no half file is left, and no stop is noted."""
    done = net.here.run("unshare", "--mount", "sh", "-c", FULL, "sh", sys.executable, str(tmp_path))
    assert done.stdout.split() == ["3", "manifest.jsonl"]
    assert done.stderr.count("\n") == 1
    assert "No space left on device; free some space" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-i", "nope"), 1, "there is no interface 'nope'; there are lo"),
        (("-i", "nope", "--via", "tcpdump"), 1, "there is no interface 'nope'; there are lo"),
        (("-i", "w0", "-f", "tcp port"), 2, "the filter cannot be compiled"),
        (("-i", "w0", "--snaplen", "0"), 2, "snaplen is a number of bytes"),
        (("-i", "w0", "--snaplen", "-5"), 2, "snaplen is a number of bytes"),
        (("-i", "w0", "--ring", "100T"), 2, "half of this machine"),
        (("-i", "w0", "--rotate", "soon"), 2, "rotate is a time above 0"),
        (("-i", "w0", "--rotate-size", "-1M"), 2, "rotate-size is a size above 0"),
        (("-i", "w0", "--format", "nonsense"), 2, "format 'nonsense' is not one of"),
        (("-i", "w0", "--via", "magic"), 2, "via is ring or tcpdump"),
        (("-i", "any", "--promiscuous"), 2, "promiscuous is for one interface"),
        (("-i", "w0", "--top"), 2, "top is drawn on a terminal"),
        (("-i", "w0", "--label", "{app}"), 2, "No such option"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_made(
    net: Wire, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """One clear message, the exit code for it, and no folder."""
    ended, errors = net.refused("-o", str(tmp_path / "out"), *arguments)
    assert ended == code, errors
    assert said in errors
    assert not (tmp_path / "out").exists()


def test_rotation_of_standard_output_is_refused(net: Wire) -> None:
    """One stream cannot become several files."""
    code, errors = net.refused("-i", "w0", "-o", "-", "--rotate", "1m")
    assert (code, "one stream" in errors) == (2, True)


@pytest.mark.parametrize("via", ["ring", "tcpdump"])
def test_without_the_privilege(net: Wire, tmp_path: Path, via: str) -> None:
    """Without CAP_NET_RAW it ends with 1 and says what to do, or what tcpdump says."""
    powerless = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    code, errors = net.refused("-i", "w0", "-o", str(tmp_path / "out"), "--via", via, prefix=powerless)
    assert code == 1
    assert ("setcap cap_net_raw" in errors) if via == "ring" else ("permission" in errors)


def interpreter_for_all() -> tuple[str, str]:
    """A Python that every user can run, and the PYTHONPATH that gives it the packages of this one."""
    path = ":".join([str(Path(fg.__file__).parents[1]), *(entry for entry in sys.path if "site-packages" in entry)])
    trial = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"PYTHONPATH={path}")
    for python in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([*trial, python, "-c", "import flowgauge.cli, numba"], capture_output=True, check=False)
        if done.returncode == 0:
            return python, path
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but there is no Python here that another user can run")
    pytest.skip("no Python here that another user can run")


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """A folder that every user may write to; those of pytest are closed again whenever another one starts."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.parametrize("via", ["ring", "tcpdump"])
def test_under_sudo_all_but_the_capture_runs_as_the_user(net: Wire, folder_for_all: Path, via: str) -> None:
    """The process and the files are of the user who called sudo; the child that captures still ends with it."""
    python, path = interpreter_for_all()
    user = ("env", "SUDO_UID=65534", "NUMBA_DISABLE_JIT=1", f"PYTHONPATH={path}")
    out = folder_for_all / "out"
    arguments = ("-i", "w0", "-o", str(out), "-f", "udp", "--via", via, "--features", "core")
    process = net.here.start(*user, python, "-m", "flowgauge", "live", *arguments)
    until(lambda: (out / "manifest.jsonl").exists(), "manifest", 60)
    time.sleep(1)
    assert Path("/proc", str(process.pid), "status").read_text().split("Uid:")[1].split()[:3] == ["65534"] * 3
    net.send(7022, 2)
    process.terminate()
    assert process.wait(30) == 0
    assert (out / "manifest.jsonl").stat().st_uid == 65534
    assert [row["up_packets"] for row in records(out)] == [2]
    until(lambda: not programs(net), "end of the child", 5)


def programs(net: Wire) -> list[int]:
    """The capture programs that run here."""
    found = []
    for pid in net.here.sh("ip", "netns", "pids", net.here.name).split():
        with contextlib.suppress(OSError):
            found += [int(pid)] if Path("/proc", pid, "comm").read_text().strip() in ("tcpdump", "dumpcap") else []
    return found


def test_the_child_ends_with_the_run(net: Wire, tmp_path: Path) -> None:
    """tcpdump is gone after SIGINT, which it does not get, and after kill -9 of the run."""
    for number in (signal.SIGINT, signal.SIGKILL):
        run = net.live("-o", str(tmp_path / str(number)), "--via", "tcpdump", "-f", "udp")
        assert len(programs(net)) == 1
        net.send(7023, 2)
        time.sleep(0.6)
        code = run.end(number)
        until(lambda: not programs(net), "end of the child", 5)
        assert code == (0 if number == signal.SIGINT else -9)
    assert [row["up_packets"] for row in records(tmp_path / "2")] == [2]


def test_a_child_that_ends_is_a_failure(net: Wire, tmp_path: Path) -> None:
    """When tcpdump is killed, what it delivered is written, and the run ends with 1 and says so."""
    run = net.live("-o", str(tmp_path), "--via", "tcpdump", "-f", "udp")
    net.send(7024, 2)
    time.sleep(0.6)
    for pid in programs(net):
        os.kill(pid, signal.SIGTERM)
    assert run.process.wait(30) == 1
    assert "tcpdump has ended" in run.said
    assert [row["up_packets"] for row in records(tmp_path)] == [2]


def test_sums_of_live_are_those_of_the_wire(net: Wire, tmp_path: Path) -> None:
    """Every packet that the ring delivered is in a flow or has another reason, over many blocks of the ring."""
    run = net.live("-o", str(tmp_path), "-f", "udp port 7025", "--ring", "8M")
    for _ in range(3):
        net.send(7025, 20_000, pause=0)
    assert run.end() == 0
    stop = events(tmp_path)[-1]
    table = pa.Table.from_pylist(records(tmp_path))
    assert stop["packets"] + stop["lost"] == 60_000
    assert pc.sum(table["up_packets"]).as_py() == stop["packets"]
