"""tcpdump and dumpcap as children, without an interface."""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path

import pytest

import captures
import packets
from flowgauge.capture import program
from flowgauge.capture.program import Program, Wanted
from flowgauge.errors import ConfigError, MissingDependency
from flowgauge.run import Hooks, Run
from flowgauge.sources import pipe
from flowgauge.sources.pipe import PipeCapture

pytestmark = pytest.mark.skipif(not os.path.exists("/bin/sh"), reason="needs a shell")


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only one of programs, but for those of the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")
    return folder


def install(folder: Path, name: str, script: str) -> None:
    """A program in Python."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{script}\n")
    path.chmod(0o755)


def capture_of(*ports: int) -> bytes:
    return captures.write_pcap([packets.sent(0, packets.eth(packets.ip4(packets.udp(1, port)))) for port in ports])


def metered(wanted: Wanted, turns: int = 0) -> Run:
    left = iter(range(turns))
    source = PipeCapture(Program(wanted), wanted)
    run = Run(source, Hooks(should_stop=lambda: next(left, None) is None), filter=wanted.expression)  # type: ignore[arg-type]
    for _ in run.batches():
        pass
    return run


def writes(content: bytes, behind: str) -> str:
    return f"out = sys.stdout.buffer; out.write({content!r}); out.flush()\n{behind}"


def test_the_options_of_tcpdump(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wanted is said in tcpdump's words; the expression cannot be taken for an option."""
    install(bin, "tcpdump", "")
    monkeypatch.setattr(program.sys, "platform", "linux")
    name, [path, *arguments] = program._command(Wanted("eth0", "-w x", 100, memory=2 << 20))
    assert (name, path) == ("tcpdump", str(bin / "tcpdump"))
    assert " ".join(arguments) == (
        "-i eth0 -w - -s 100 -p -n -U --immediate-mode --time-stamp-precision=nano -B 2048 -- -w x"
    )
    monkeypatch.setattr(program.sys, "platform", "darwin")
    _, arguments = program._command(Wanted("en0", promiscuous=True))
    assert " ".join(arguments[1:]) == "-i en0 -w - -n -U --immediate-mode"


def test_dumpcap_where_there_is_no_tcpdump(bin: Path) -> None:
    """dumpcap gets the same by its own words; without both the error says what to install."""
    with pytest.raises(MissingDependency, match="apt-get install tcpdump"):
        Program(Wanted("eth0"))
    install(bin, "dumpcap", "")
    name, arguments = program._command(Wanted("eth0", "port 53", 100, memory=2 << 20))
    assert (name, " ".join(arguments[1:])) == ("dumpcap", "-i eth0 -w - -s 100 -p -q -P -B 2 -f port 53")


def test_it_waits_until_it_is_let_go(bin: Path, tmp_path: Path) -> None:
    """Nothing is captured while kernels are compiled; a child that is not let go ends when its gate is closed."""
    mark = tmp_path / "ran"
    install(bin, "tcpdump", f"open({str(mark)!r}, 'w')")
    held = Program(Wanted("eth0"))
    time.sleep(0.2)
    held.close()
    assert not mark.exists()


def test_what_the_child_writes_is_metered(bin: Path) -> None:
    """Packets of the pipe are rows at once; a stop ends the child, whose last packets and count of losses are taken."""
    last = f"""
def end(*_):
    out.write({capture_of(3)[24:]!r}); out.flush()
    sys.exit("7 packets dropped by kernel")
signal.signal(signal.SIGTERM, end)
"""
    install(bin, "tcpdump", last + writes(capture_of(1, 2), "time.sleep(60)"))
    run = metered(Wanted("eth0"), turns=1)
    assert run.stats.packets == 3
    assert run.stats.counters["lost"] == 7
    assert not run.stats.failed


def test_silence_is_known(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the child writes nothing the source says so, and gives the time."""
    install(bin, "tcpdump", writes(capture_of(1), "time.sleep(60)"))
    from flowgauge.kernels.packet import make_batch
    from flowgauge.sources.clock import Clock

    wanted = Wanted("eth0")
    with PipeCapture(Program(wanted), wanted) as source:
        source.begin(Clock())
        batch = make_batch(32)
        assert [max(source.steps(batch), default=0) for _ in range(2)] == [1, 0]
        assert source.beat(batch) == 1
        assert abs(int(batch.packets[0].time) / 1e9 - time.time()) < 5


def test_a_batch_smaller_than_what_came(bin: Path) -> None:
    """What has no room in the rows comes with the next ones, before anything is read."""
    install(bin, "tcpdump", writes(capture_of(*range(1, 100)), "time.sleep(60)"))
    wanted = Wanted("eth0")
    source = PipeCapture(Program(wanted), wanted)
    turns = iter(range(20))
    run = Run(source, Hooks(should_stop=lambda: next(turns, None) is None), rows=16)  # type: ignore[arg-type]
    assert sum(len(batch) for batch in run.batches()) == 99
    assert run.stats.packets == 99


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sys.exit('tcpdump: eth0: You do not have permission')", "eth0: tcpdump: eth0: You do not have permission"),
        (writes(b"\xd4\xc3\xb2", ""), "eth0: tcpdump has ended"),
        (writes(b"not a capture, but long enough", ""), "eth0: tcpdump writes no pcap"),
        (
            writes(capture_of(1), "sys.exit('tcpdump: The interface disappeared')"),
            "eth0: tcpdump: The interface disappeared",
        ),
        (
            writes(capture_of(1) + struct.pack("<IIII", 0, 0, 1 << 31, 0) + bytes(99), ""),
            "eth0: at byte 82 of what tcpdump",
        ),
    ],
)
def test_a_child_that_fails_is_a_failure(bin: Path, script: str, said: str) -> None:
    """What the child says is the reason; the packets before were metered."""
    install(bin, "tcpdump", script)
    run = metered(Wanted("eth0"), turns=1000)
    assert run.stats.failed["eth0"].startswith(said)


def test_a_child_that_does_not_begin(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that writes nothing, not even a header, is not waited for for ever."""
    monkeypatch.setattr(pipe, "_OPEN_SECONDS", 0.2)
    install(bin, "tcpdump", "time.sleep(60)")
    assert metered(Wanted("eth0")).stats.failed == {"eth0": "eth0: tcpdump does not begin"}


def test_the_filter_is_that_of_the_child(bin: Path) -> None:
    """A run whose filter is not the child's would meter what it should not."""
    from flowgauge.sources.clock import Clock

    install(bin, "tcpdump", "")
    source = PipeCapture(Program(Wanted("eth0", "udp")), Wanted("eth0", "udp"))
    with pytest.raises(ConfigError, match="the filter of a capture program"):
        source.begin(Clock(), None)


def test_losses_as_the_programs_say_them() -> None:
    """Of tcpdump what kernel and interface dropped, of dumpcap the second number of the interface."""
    held = Program.__new__(Program)
    held._said = "9 packets captured\n2 packets dropped by kernel\n1 packet dropped by interface\n"
    assert held.lost == 3
    held._said = "Packets captured: 5\nPackets received/dropped on interface 'eth0': 5/4 (pcap:4/dumpcap:0) (55.6%)\n"
    assert held.lost == 4
