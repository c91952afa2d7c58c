"""Recording between two network namespaces: what is written is what passed, and says what it is."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import flowgauge as fg
import netlab
from flowgauge.kernels.packet import make_batch
from flowgauge.sources.capture import open_capture
from netlab import Host, until

pytestmark = pytest.mark.netns

HERE, THERE, OTHER = "10.77.0.1", "10.77.0.2", "10.77.0.3"
PACKETS = ("-f", "udp")  # neither ARP nor what IPv6 does by itself
NOBODY = 65534

# Sends numbered datagrams: address, port of the sender, port, how many, seconds between two.
SEND = """
import socket, sys, time
to, own, port, count, pause = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("", own))
    for number in range(count):
        sock.sendto(number.to_bytes(4, "big") * (1 + number % 40), (to, port))
        time.sleep(pause)
"""

# Receives datagrams on some ports, so that nothing is answered by ICMP.
SINK = """
import select, socket
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(9000, 9010)]
for port, sock in enumerate(socks, 9000):
    sock.bind(("", port))
while True:
    for sock in select.select(socks, [], [])[0]:
        sock.recv(65536)
"""


class Cable(NamedTuple):
    """Two machines; recording is done at `here`."""

    here: Host
    there: Host

    def send(self, count: int, port: int = 9000, own: int = 0, to: str = THERE, pause: float = 0.0) -> None:
        """Datagrams from here to there."""
        arguments = map(str, (to, own, port, count, pause))
        assert self.here.run(sys.executable, "-c", SEND, *arguments).returncode == 0

    def sends(self, count: int, port: int = 9000, own: int = 0, pause: float = 0.01) -> subprocess.Popen[bytes]:
        """The same, beside what else happens."""
        return self.here.start(sys.executable, "-c", SEND, *map(str, (THERE, own, port, count, pause)))


@pytest.fixture(scope="module")
def cable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cable]:
    netlab.require()
    folder = tmp_path_factory.mktemp("cable")
    here, there = Host("rh", folder), Host("rt", folder)
    try:
        ends = ("eth0", "netns", here.name, "type", "veth", "peer", "name", "eth0", "netns", there.name)
        netlab.sh("ip", "link", "add", *ends)
        for host, addresses in ((here, (HERE,)), (there, (THERE, OTHER))):
            host.sh("ip", "link", "set", "eth0", "up")
            for address in addresses:
                host.sh("ip", "address", "add", f"{address}/24", "dev", "eth0")
        there.start(sys.executable, "-c", SINK)
        until(lambda: there.sh("ss", "-Hlun", "sport = 9009").strip(), "the receiver")
        here.run("ping", "-c", "1", THERE)
        yield Cable(here, there)
    finally:
        here.remove()
        there.remove()


class Running:
    """A `flowgauge record` that runs, and what it says."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        *arguments: str,
        before: Sequence[str] = (),
        interface: str = "eth0",
        **variables: str,
    ) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        program = (sys.executable, "-m", "flowgauge", "record", "-i", interface)
        command = ["ip", "netns", "exec", host.name, *before, *program]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], stdout=log, stderr=log, cwd=folder, env=os.environ | variables
            )

    def said(self) -> str:
        return self.log.read_text()

    def waits_for(self, text: str = "flowgauge: recording", count: int = 1) -> None:
        """Until it has said this so many times."""
        until(lambda: self.said().count(text) >= count or self.process.poll() is not None, text, 120)
        assert self.said().count(text) >= count, self.said()
        time.sleep(0.2)  # the take begins right behind the line

    def ends(self, code: int = 0) -> str:
        """Wait for its end, by itself."""
        assert self.process.wait(60) == code, self.said()
        return self.said()

    def stop(self, number: int = signal.SIGINT) -> str:
        """End it by a signal, when what has been sent has arrived."""
        time.sleep(0.3)
        self.process.send_signal(number)
        return self.ends()


@contextlib.contextmanager
def recording(cable: Cable, folder: Path, *arguments: str, **variables: str) -> Iterator[Running]:
    """A recording that has begun."""
    running = Running(cable.here, folder, *arguments, **variables)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def frames(path: Path) -> list[tuple[int, bytes, int]]:
    """(time in ns, bytes, bytes on the wire) of every packet of a sound capture."""
    found, batch = [], make_batch()
    with open_capture(path) as capture:
        while rows := capture.read(batch):
            for row in batch.packets[:rows]:
                begin = int(row.offset)
                data = capture.buffer[begin : begin + int(row.caplen)].tobytes()
                found.append((int(row.time), data, int(row.frame_len)))
        assert capture.damage is None
    return found


def inside(path: Path) -> dict[str, Any]:
    with open_capture(path) as capture:
        return capture.inside


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


LINKEDIN = ("--app", "linkedin", "--action", "login")


def test_two_apps_with_two_actions_are_labelled_by_themselves(cable: Cable, tmp_path: Path) -> None:
    """What extract makes of a folder of recordings has the labels that were given when they were made."""
    wanted = {}
    for port, (app, action) in enumerate((a, b) for a in ("linkedin", "chat") for b in ("login", "call")):
        with recording(cable, tmp_path, "--app", app, "--action", action, *PACKETS, "-o", "captures") as running:
            running.waits_for()
            cable.send(port + 1, 9000 + port)
            running.stop()
        wanted[9000 + port] = (app, action, port + 1)
    captures = tmp_path / "captures"
    command = [sys.executable, "-m", "flowgauge", "extract", str(captures), "-o", str(tmp_path / "flows.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in (tmp_path / "flows.jsonl").read_text().splitlines()]
    assert {row["server_port"]: (row["app"], row["action"], row["packets"]) for row in rows} == wanted
    assert "chat/call" in done.stdout
    assert sorted(path.name for path in captures.glob("*.pcapng")) == [
        "chat_call_01.pcapng",
        "chat_login_01.pcapng",
        "linkedin_call_01.pcapng",
        "linkedin_login_01.pcapng",
    ]
    assert [line["label"]["app"] for line in manifest(captures)] == ["linkedin", "linkedin", "chat", "chat"]
    templated = fg.read(captures, label="{app}_{action}_{n}.pcap")
    assert set(zip(templated["app"].to_pylist(), templated["action"].to_pylist(), strict=True)) == {
        (app, action) for app, action, _ in wanted.values()
    }


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="no capinfos (apt-get install tshark)")
def test_a_capture_says_what_it_is(cable: Cable, tmp_path: Path) -> None:
    """Wireshark's and tcpdump's readers find interface, filter, nanoseconds, system, counts and the label's JSON."""
    arguments = (*LINKEDIN, "--set", "os=android", "--client", THERE, "-f", "not port 22", "--snaplen", "100")
    with recording(cable, tmp_path, *arguments, "-o", "captures") as running:
        running.waits_for()
        cable.send(50)
        running.stop()
    path = tmp_path / "captures" / "linkedin_login_01.pcapng"
    said = subprocess.run(["capinfos", "-M", str(path)], capture_output=True, text=True, check=True).stdout
    for line in ("nanoseconds (9)", "Name = eth0", f"Filter string = host {THERE} and (not port 22)", "flowgauge "):
        assert line in said
    assert "Operating system = Linux" in said and "Number of stat entries = 1" in said
    assert "Capture length = 100" in said
    comment = next(line for line in said.splitlines() if line.startswith("Capture comment:")).partition(":")[2]
    told = json.loads(comment)["flowgauge"]
    assert told["label"] == {"app": "linkedin", "action": "login", "os": "android"}
    session = told["session"]
    assert (session["client"], session["filter"], session["interface"]) == (THERE, "not port 22", "eth0")
    assert (session["take"], session["of"]) == (1, 1)
    read = subprocess.run(["tcpdump", "-nr", str(path), "udp"], capture_output=True, text=True, check=True).stdout
    assert len(read.splitlines()) == 50
    assert all(len(data) <= 100 for _, data, _ in frames(path)) and max(size for *_, size in frames(path)) > 100
    (line,) = manifest(tmp_path / "captures")
    assert (line["file"], line["packets"], line["lost"]) == (path.name, len(frames(path)), 0)
    assert fg.read(path)["os"].to_pylist() == ["android"] * fg.read(path).num_rows


def test_packets_are_those_that_tcpdump_records_beside(cable: Cable, tmp_path: Path) -> None:
    """No packet is missing, added, changed or out of order, and times are the system's."""
    other = tmp_path / "other.pcap"
    with recording(cable, tmp_path, *LINKEDIN, *PACKETS, "-o", "captures") as running:
        running.waits_for()
        command = ("tcpdump", "-i", "eth0", "--time-stamp-precision=nano", "-Uw", str(other), "udp")
        beside = cable.here.start(*command)
        until(lambda: other.exists() and other.stat().st_size >= 24, "tcpdump")
        time.sleep(0.3)
        cable.send(5000)
        cable.send(20, pause=0.05)
        running.stop()
        time.sleep(0.5)
        beside.terminate()
        beside.wait(10)
    recorded, wanted = frames(tmp_path / "captures" / "linkedin_login_01.pcapng"), frames(other)
    assert len(wanted) == 5020
    assert [packet[1:] for packet in recorded] == [packet[1:] for packet in wanted]
    assert max(abs(a[0] - b[0]) for a, b in zip(recorded, wanted, strict=True)) < 1_000_000


def counts(path: Path) -> dict[int, int]:
    """The 64-bit options of the statistics block that a capture ends with: 4 are frames received, 5 those lost."""
    content = path.read_bytes()
    (length,) = struct.unpack("=I", content[-4:])
    block, at, found = content[-length:], 20, {}
    assert struct.unpack("=I", block[:4]) == (5,)
    while at < length - 8:
        code, size = struct.unpack_from("=HH", block, at)
        (found[code],) = struct.unpack_from("=Q", block, at + 4)
        at += 4 + size
    return found


def test_no_packet_is_lost_in_silence(cable: Cable, tmp_path: Path) -> None:
    """What the system had no room for is counted, for each take: packets recorded and lost are those that were sent."""
    arguments = ("--ring", "2M", "--duration", "12", "--repeat", "2", *PACKETS, "-o", "captures")
    with recording(cable, tmp_path, *LINKEDIN, *arguments) as running:
        running.waits_for()
        running.process.send_signal(signal.SIGSTOP)  # no longer reads its ring
        cable.send(40_000)
        running.process.send_signal(signal.SIGCONT)
        running.waits_for("recording eth0: take 2")
        said = running.stop()
    paths = [tmp_path / "captures" / f"linkedin_login_{number:02}.pcapng" for number in (1, 2)]
    recorded = len(frames(paths[0]))
    lost = counts(paths[0])[5]
    assert lost > 0 and recorded > 0 and recorded + lost == 40_000 == counts(paths[0])[4]
    assert [(line["packets"], line["lost"]) for line in manifest(tmp_path / "captures")] == [(recorded, lost), (0, 0)]
    assert f"{lost:,} lost" in said and "packets were lost: a larger --ring" in said
    assert counts(paths[1])[5] == 0


def test_takes_follow_each_other(cable: Cable, tmp_path: Path) -> None:
    """Several takes have numbers that go on from run to run, their length, and between them the pause."""
    traffic = cable.sends(30_000, pause=0.002)
    for numbers in ((1, 2, 3), (4,)):
        arguments = ("--duration", "0.5", "--repeat", str(len(numbers)), "--pause", "0.4", *PACKETS, "-o", "captures")
        with recording(cable, tmp_path, *LINKEDIN, *arguments) as running:
            running.ends()
    cable.here.stop(traffic)
    takes = [frames(tmp_path / "captures" / f"linkedin_login_{number:02}.pcapng") for number in (1, 2, 3, 4)]
    assert min(map(len, takes)) > 100
    for take in takes:
        assert 0.3e9 < take[-1][0] - take[0][0] < 1.2e9
    assert all(after[0][0] - before[-1][0] > 0.35e9 for before, after in itertools.pairwise(takes))
    assert [line["session"]["take"] for line in manifest(tmp_path / "captures")] == [1, 2, 3, 1]


def test_a_ring_of_files_keeps_the_last(cable: Cable, tmp_path: Path) -> None:
    """With a size and a number of files, the last pieces are there, each complete and labelled, with no packet between
    them missing."""
    arguments = ("--file-size", "10k", "--files", "3", *PACKETS, "-o", "captures")
    with recording(cable, tmp_path, *LINKEDIN, *arguments) as running:
        running.waits_for()
        cable.send(600, pause=0.004)
        running.stop()
    paths = sorted((tmp_path / "captures").glob("*.pcapng"))
    numbers = [int(path.stem.rpartition("-")[2]) for path in paths]
    assert len(paths) == 3 and numbers == list(range(numbers[0], numbers[0] + 3)) and numbers[0] > 3
    sent = [int.from_bytes(data[42:46], "big") for path in paths for _, data, _ in frames(path)]
    assert sent == list(range(sent[0], 600))
    assert all(path.stat().st_size < 40_000 for path in paths)
    assert [inside(path)["label"]["app"] for path in paths] == ["linkedin"] * 3
    assert [inside(path)["session"]["piece"] for path in paths] == numbers
    noted = manifest(tmp_path / "captures")
    complete = [line["file"] for line in noted if line["event"] == "capture"]
    removed = [line["file"] for line in noted if line["event"] == "removed"]
    assert len(complete) == numbers[-1] and complete == [*removed, *(path.name for path in paths)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_completes_the_take(cable: Cable, tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM end the take in order: nothing hidden is left, no further take begins."""
    arguments = ("--duration", "60", "--repeat", "3", *PACKETS, "-o", "captures")
    with recording(cable, tmp_path, *LINKEDIN, *arguments) as running:
        running.waits_for()
        cable.send(7)
        running.stop(number)
    assert len(frames(tmp_path / "captures" / "linkedin_login_01.pcapng")) == 7
    assert sorted(path.name for path in (tmp_path / "captures").iterdir()) == [
        "linkedin_login_01.pcapng",
        "manifest.jsonl",
    ]


def test_a_killed_recording_is_kept_under_its_hidden_name(cable: Cable, tmp_path: Path) -> None:
    """What was written before a kill can be read, and the next take has another number."""
    captures = tmp_path / "captures"
    with recording(cable, tmp_path, *LINKEDIN, *PACKETS, "-o", "captures") as running:
        running.waits_for()
        cable.send(5)
        time.sleep(0.5)
        running.process.kill()
        running.process.wait()
    assert len(frames(captures / ".linkedin_login_01.pcapng.part")) == 5
    with recording(cable, tmp_path, *LINKEDIN, *PACKETS, "--duration", "0.2", "-o", "captures") as running:
        running.ends()
    assert (captures / "linkedin_login_02.pcapng").exists()


def test_only_the_client_is_recorded(cable: Cable, tmp_path: Path) -> None:
    """Of an address, what it sends and receives, and what the filter selects of that."""
    with recording(cable, tmp_path, *LINKEDIN, "--client", OTHER, "-f", "udp", "-o", "captures") as running:
        running.waits_for()
        cable.send(3, to=THERE)
        cable.send(4, to=OTHER)
        running.stop()
    assert len(frames(tmp_path / "captures" / "linkedin_login_01.pcapng")) == 4


def test_a_filter_that_the_system_cannot_run(cable: Cable, tmp_path: Path) -> None:
    """One that looks for VLAN tags is run here, on whole frames; a take of which nothing passes it ends in time."""
    traffic = cable.sends(30_000, pause=0.002)
    for filter, passes in (("vlan 5", False), ("udp and not vlan", True)):
        arguments = ("-f", filter, "--duration", "0.5", "-o", f"passes-{passes}")
        with recording(cable, tmp_path, *LINKEDIN, *arguments) as running:
            running.ends()
        assert bool(frames(tmp_path / f"passes-{passes}" / "linkedin_login_01.pcapng")) == passes
    cable.here.stop(traffic)


def test_the_client_by_its_mac_address(cable: Cable, tmp_path: Path) -> None:
    """Of a MAC address, what is sent from it and to it."""
    mac = json.loads(cable.there.sh("ip", "-j", "link", "show", "eth0"))[0]["address"]
    for client, packets in ((mac.upper(), 5), ("02:00:00:00:00:01", 0)):
        with recording(cable, tmp_path, *LINKEDIN, "--client", client, *PACKETS, "-o", f"of-{packets}") as running:
            running.waits_for()
            cable.send(5)
            said = running.stop()
        assert len(frames(tmp_path / f"of-{packets}" / "linkedin_login_01.pcapng")) == packets
        assert ("no packet" in said) == (packets == 0)


def test_a_phone_is_recorded_at_its_gateway(tmp_path: Path) -> None:
    """At the gateway's interface of the LAN, a client's connections have the addresses of phone and server."""
    with netlab.lab(tmp_path) as net:
        net.up()
        arguments = (*LINKEDIN, "--client", netlab.PHONE, "-f", "tcp", "-o", "captures")
        running = Running(net.gateway, tmp_path, *arguments, interface=net.lan_interface)
        try:
            running.waits_for(f"flowgauge: recording {net.lan_interface}")
            assert net.get() and net.get(host=net.other)
            running.stop()
        finally:
            running.process.kill()
    (flow,) = fg.read(tmp_path / "captures").to_pylist()
    assert (flow["client_ip"], flow["server_ip"], flow["server_port"]) == (netlab.PHONE, netlab.INTERNET, 80)
    assert (flow["app"], flow["action"], flow["end_reason"]) == ("linkedin", "login", "fin")


def test_an_interface_that_goes_down_and_up(cable: Cable, tmp_path: Path) -> None:
    """The take goes on when the interface is up again, with the socket that was opened as root."""
    with user_folder() as folder:
        arguments = (*LINKEDIN, *PACKETS, "-o", "captures")
        running = Running(cable.here, folder, *arguments, before=for_everybody(folder), **as_nobody(folder))
        try:
            running.waits_for()
            cable.send(3)
            cable.here.sh("ip", "link", "set", "eth0", "down")
            running.waits_for("the interface is down")
            cable.here.sh("ip", "link", "set", "eth0", "up")
            time.sleep(1.5)
            cable.here.run("ping", "-c", "1", THERE)
            cable.send(4)
            running.stop()
        finally:
            running.process.kill()
        assert len(frames(folder / "captures" / "linkedin_login_01.pcapng")) == 7


@contextlib.contextmanager
def user_folder() -> Iterator[Path]:
    """A folder of nobody's, who cannot enter those of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="flowgauge-record-"))
    os.chown(folder, NOBODY, NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


# Lets everybody enter the closed folder $1 for what is below $2 in it; $3 is an empty folder. The mounts end with it.
OPENED = """
if [ -n "$1" ]; then
  mount --bind "$1" "$3" && mount -t tmpfs -o mode=755 tmpfs "$1" && mkdir -p "$1/$2" && mount --bind "$3/$2" "$1/$2"
fi
shift 3
exec "$@"
"""


def for_everybody(folder: Path) -> list[str]:
    """What to put before a command so that nobody can run this Python, also where it is at home in root's."""
    python = Path(sys.base_prefix)
    closed = [part for part in reversed(python.parents) if not part.stat().st_mode & 0o001]
    held = folder / "held"
    held.mkdir()
    below = str(python.relative_to(closed[0])) if closed else ""
    return ["sh", "-c", OPENED, "sh", *map(str, closed[:1] or [""]), below, str(held)]


def as_nobody(folder: Path) -> dict[str, str]:
    """The variables that sudo sets, and a cache of that user's."""
    return {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY), "FLOWGAUGE_CACHE_DIR": str(folder / "cache")}


# Says of the process what it is when privileges are given up, and after each further step.
SPY = """
import os, sys
from flowgauge.capture import privilege
real = privilege.drop
def drop():
    assert os.geteuid() == 0 and not {"numba", "flowgauge.kernels._jit"} & set(sys.modules), "too early"
    real()
    print("dropped to", os.getresuid(), os.getresgid(), os.getgroups(), flush=True)
privilege.drop = drop
from flowgauge.cli import main
sys.argv = ["flowgauge", "record", *sys.argv[1:]]
main()
"""


def test_all_is_done_as_the_user_who_called_sudo(cable: Cable) -> None:
    """Privileges are given up before kernels are loaded or compiled, for good; all files are the user's alone."""
    with user_folder() as folder:
        arguments = ("-i", "eth0", *LINKEDIN, "--duration", "0.3", "--repeat", "2", "-o", "captures")
        command = ["ip", "netns", "exec", cable.here.name, *for_everybody(folder)]
        command += [sys.executable, "-c", SPY, *arguments]
        variables = os.environ | as_nobody(folder)
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables, timeout=120)
        assert done.returncode == 0, done.stderr
        assert f"dropped to ({NOBODY}, {NOBODY}, {NOBODY}) ({NOBODY}, {NOBODY}, {NOBODY}) [{NOBODY}]" in done.stdout
        written = list(folder.rglob("*"))
        assert {path.stat().st_uid for path in written if path.name != "held"} == {NOBODY}
        captures = list((folder / "captures").iterdir())
        assert {path.name for path in captures} == {
            "linkedin_login_01.pcapng",
            "linkedin_login_02.pcapng",
            "manifest.jsonl",
        }
        assert {path.stat().st_mode & 0o777 for path in captures} == {0o600}
        assert any(path.suffix == ".nbc" for path in written), "no kernel was compiled: nothing was tested"


def test_flows_are_metered_at_the_same_time(cable: Cable, tmp_path: Path) -> None:
    """The table beside a capture is what extract makes of the capture, but for the reason why its flows ended."""
    with recording(cable, tmp_path, *LINKEDIN, *PACKETS, "--flows", "-o", "captures") as running:
        running.waits_for()
        for port in (9000, 9001, 9002):
            cable.send(10, port, own=20000 + port)
        said = running.stop()
    path = tmp_path / "captures" / "linkedin_login_01.pcapng"
    import pyarrow.parquet as pq

    columns = ["server_port", "client_port", "packets", "frame_bytes", "start", "end", "app", "action"]
    live, later = (
        table.select(columns).sort_by("server_port").to_pylist()
        for table in (pq.read_table(path.with_suffix(".parquet")), fg.read(path))
    )
    assert len(live) == 3 and live == later
    assert "linkedin_login_01.parquet" in said


def test_flows_that_are_not_of_the_take_are_marked(cable: Cable, tmp_path: Path) -> None:
    """With a baseline, flows that were open before a take, and those to servers of the baseline, say so."""
    arguments = (
        "--baseline",
        "1.5",
        "--duration",
        "1.5",
        "--repeat",
        "2",
        "--pause",
        "1.5",
        *PACKETS,
        "-o",
        "captures",
    )
    with recording(cable, tmp_path, *LINKEDIN, *arguments) as running:
        running.waits_for("recording eth0: baseline")
        going_on = cable.sends(5000, 9001, own=31001)
        cable.send(3, 9002, own=31002)  # a server of the idle phone
        running.waits_for("recording eth0: take 1")
        cable.send(3, 9002, own=31003)
        cable.send(3, 9003, own=31004)
        until(lambda: "linkedin_login_01" in running.said(), "the end of take 1")
        time.sleep(0.4)
        cable.send(3, 9004, own=31005)  # begins in the pause
        running.waits_for("recording eth0: take 2")
        cable.send(3, 9004, own=31005)
        cable.send(3, 9005, own=31006)
        running.ends()
        cable.here.stop(going_on)
    rows = fg.read(tmp_path / "captures").to_pylist()
    found = {(row["app"], row["action"], row["client_port"]): row["background"] for row in rows if row["app"]}
    assert found == {
        ("linkedin", "login", 31001): "open",
        ("linkedin", "login", 31003): "baseline",
        ("linkedin", "login", 31004): None,
        ("linkedin", "login", 31005): "open",
        ("linkedin", "login", 31006): None,
    }
    idle = [row for row in rows if row["app"] is None]
    assert {(row["baseline"], row["client_port"]) for row in idle} == {("true", 31001), ("true", 31002)}
    assert (tmp_path / "captures" / "baseline_01.pcapng").exists()


ADB = """#!/bin/sh
case "$*" in
  "shell dumpsys activity activities")
    echo "  mLastPausedActivity: ActivityRecord{1f u0 com.example.launcher/.Home t1}"
    echo "    topResumedActivity=ActivityRecord{8f1c2 u0 com.example.chat/.MainActivity t77}" ;;
  "shell dumpsys package com.example.chat")
    echo "    versionCode=77 minSdk=26"
    echo "    versionName=4.1.2" ;;
  *) echo "error: not expected: $*" >&2; exit 1 ;;
esac
"""
NO_PHONE = "#!/bin/sh\necho 'adb: no devices/emulators found' >&2\nexit 1\n"


def path_with_adb(folder: Path, script: str) -> str:
    program = folder / "bin" / "adb"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_the_app_in_front_of_the_phone_is_noted(cable: Cable, tmp_path: Path) -> None:
    """With adb, its package and version are in the session, and where no app is given its package is the app."""
    path = path_with_adb(tmp_path, ADB)
    for app, name in (((), "com.example.chat_login_01"), (("--app", "chat"), "chat_login_01")):
        arguments = (*app, "--action", "login", "--adb", "--duration", "0.2", "-o", "captures")
        with recording(cable, tmp_path, *arguments, PATH=path) as running:
            running.ends()
        told = inside(tmp_path / "captures" / f"{name}.pcapng")
        assert told["session"]["android"] == {"package": "com.example.chat", "version": "4.1.2"}
    assert fg.info(tmp_path / "captures" / "com.example.chat_login_01.pcapng").labels == {
        "app": "com.example.chat",
        "action": "login",
    }


OTHER_APP_THEN = """#!/bin/sh
case "$*" in
  "shell dumpsys activity activities")
    if [ -e "$0.asked" ]; then app=mail; else app=chat; touch "$0.asked"; fi
    echo "  mResumedActivity: ActivityRecord{8f1c2 u0 com.example.$app/.Main t77}" ;;
esac
"""


def test_each_take_has_the_app_of_its_own(cable: Cable, tmp_path: Path) -> None:
    """Where another app is in front at the next take, that is its label."""
    path = path_with_adb(tmp_path, OTHER_APP_THEN)
    arguments = ("--action", "login", "--adb", "--duration", "0.2", "--repeat", "2", "-o", "captures")
    with recording(cable, tmp_path, *arguments, PATH=path) as running:
        running.ends()
    assert [line["label"]["app"] for line in manifest(tmp_path / "captures")] == [
        "com.example.chat",
        "com.example.mail",
    ]
    assert (tmp_path / "captures" / "com.example.mail_login_01.pcapng").exists()


def test_without_a_phone_recording_goes_on(cable: Cable, tmp_path: Path) -> None:
    """Without a phone the recording says so and goes on; without any app it does not begin."""
    path = path_with_adb(tmp_path, NO_PHONE)
    with recording(cable, tmp_path, *LINKEDIN, "--adb", "--duration", "0.2", "-o", "captures", PATH=path) as running:
        said = running.ends()
    assert "adb: no devices/emulators found; recording goes on without it" in said
    assert "android" not in inside(tmp_path / "captures" / "linkedin_login_01.pcapng")["session"]
    with recording(cable, tmp_path, "--action", "login", "--adb", "-o", "captures", PATH=path) as running:
        said = running.ends(2)
    assert "no devices/emulators found; give the app with --app" in said and "Traceback" not in said


def test_a_full_disk_completes_the_capture(cable: Cable, tmp_path: Path) -> None:
    """When the disk is full, the error says so, and what was recorded before is a sound capture."""
    disk = tmp_path / "disk"
    disk.mkdir()
    netlab.sh("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk))
    try:
        with recording(cable, tmp_path, *LINKEDIN, *PACKETS, "-o", str(disk)) as running:
            running.waits_for()
            cable.send(2000, pause=0.0005)
            said = running.ends(3)
        recorded = frames(disk / "linkedin_login_01.pcapng")
    finally:
        netlab.sh("umount", str(disk))
    assert "No space left on device; what was recorded before is complete" in said and "Traceback" not in said
    assert len(recorded) > 100
    assert [int.from_bytes(data[42:46], "big") for _, data, _ in recorded] == list(range(len(recorded)))


def test_a_template_of_the_user_s_names_the_captures(cable: Cable, tmp_path: Path) -> None:
    """Names have the fields and folders of the template, by which extract reads the same labels."""
    template = "{os}/{app}_{version}_{action}_{n}.pcapng"
    arguments = (*LINKEDIN, "--set", "os=android", "--set", "version=2.1", "--label", template, "--duration", "0.2")
    with recording(cable, tmp_path, *arguments, "-o", "captures") as running:
        running.ends()
    path = tmp_path / "captures" / "android" / "linkedin_2.1_login_01.pcapng"
    assert manifest(tmp_path / "captures")[0]["file"] == "android/linkedin_2.1_login_01.pcapng"
    assert inside(path)["label"] == {"app": "linkedin", "action": "login", "os": "android", "version": "2.1"}
    assert fg.read(path, label=template).num_rows == fg.read(path).num_rows
