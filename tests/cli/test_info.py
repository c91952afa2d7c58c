"""`flowgauge info`: one block a capture, one line for each that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import captures
import packets
from flowgauge.cli import app

FRAMES = [
    packets.sent(0, packets.eth(packets.ip4(packets.udp(1000, 53, b"q")))),
    packets.sent(2, packets.eth(packets.other(0x88CC, bytes(46)))),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one capture, in which the command runs."""
    (tmp_path / "dns_lookup_1.pcap").write_bytes(captures.write_pcap(FRAMES, ns=True))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowgauge.kernels._jit.is_warm", lambda: True)
    return tmp_path


def info(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["info", *arguments])


def test_info_reads_like_this(folder: Path) -> None:
    """Container, interface, links, packets, time span, sizes, reasons and labels are aligned lines under the name."""
    result = info("dns_lookup_1.pcap", "--label", "{app}_{action}_*.pcap")
    first, last = (f"{second:%Y-%m-%dT%H:%M:%S}.000000000Z" for second in map(packets_time, FRAMES))
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines[0] == "dns_lookup_1.pcap"
    assert dict(line.split(maxsplit=1) for line in lines[1:] if line and "interface" not in line) == {
        "container": "pcap",
        "links": "Ethernet 2",
        "packets": "2",
        "time": f"{first} to {last} (2.000 s)",
        "bytes": f"{len((folder / lines[0]).read_bytes())} B stored, 103 B captured, 103 B on the wire",
        "metered": "1  counted in a flow",
        "not_ip": "1  neither IPv4 nor IPv6 (ARP, LLDP, …)",
        "labels": "app=dns, action=lookup",
    }


def packets_time(frame: packets.Sent) -> object:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(frame[0] // 1_000_000_000, tz=timezone.utc)


def test_info_as_json_is_one_object_a_line(folder: Path) -> None:
    """With --json each capture is one line that any JSON reader reads."""
    (folder / "other.pcap").write_bytes(captures.write_pcap([]))
    objects = [json.loads(line) for line in info(".", "--json", "--label", "{app}_*").stdout.splitlines()]
    assert [(found["name"], found["packets"]) for found in objects] == [("./dns_lookup_1.pcap", 2), ("./other.pcap", 0)]
    assert [found["labels"] for found in objects] == [{"app": "dns"}, None]


def test_what_cannot_be_read_is_named_and_the_rest_shown(folder: Path) -> None:
    """A named file that is no capture is one line and exit code 1; the captures beside it are shown."""
    (folder / "notes").write_text("notes")
    result = info("notes", "dns_lookup_1.pcap")
    assert result.exit_code == 1
    assert result.stdout.startswith("dns_lookup_1.pcap\n")
    assert result.stderr.startswith("flowgauge: notes is neither pcap nor pcapng")
    assert result.stderr.count("\n") == 1


def test_other_files_of_a_folder_are_skipped(folder: Path) -> None:
    """Files of a folder that are no captures, also only once decompressed, are named in one line."""
    (folder / "notes").write_text("notes")
    (folder / "notes.gz").write_bytes(captures.COMPRESSORS["gzip"](b"notes"))
    result = info(str(folder))
    assert result.exit_code == 0
    assert result.stderr.startswith("flowgauge: skipped 2 files without a capture: ")


def test_damage_is_shown_with_the_packets_before_it(folder: Path) -> None:
    """A cut-off capture is no failure: its packets are shown, and where it breaks."""
    path = folder / "dns_lookup_1.pcap"
    path.write_bytes(path.read_bytes()[:-1])
    result = info(path.name)
    assert result.exit_code == 0
    assert "  packets    1\n" in result.stdout
    assert "  damage     " in result.stdout


def test_a_missing_file_is_one_line(folder: Path) -> None:
    """A path that is not there is named, with exit code 1."""
    result = info("nowhere.pcap")
    assert (result.exit_code, result.stderr) == (1, "flowgauge: nowhere.pcap: no such file or folder\n")


def test_a_bad_template_is_wrong_usage(folder: Path) -> None:
    """A template that cannot be ends the command before anything is read."""
    result = info(".", "--label", "{app")
    assert (result.exit_code, result.stdout) == (2, "")


def test_many_interfaces_are_cut(folder: Path) -> None:
    """At most eight interfaces are listed, then how many more there are."""
    blocks = b"".join([captures.section(), *(captures.interface() for _ in range(20))])
    (folder / "many").write_bytes(blocks)
    assert info("many").stdout.count("  interface") == 9
    assert "  interface  and 12 more\n" in info("many").stdout


def test_oddities_and_absent_times_are_shown(folder: Path) -> None:
    """Counters above zero are explained, and a capture without packets has no time span."""
    (folder / "simple").write_bytes(captures.section() + captures.interface() + captures.simple(bytes(60)))
    (folder / "empty").write_bytes(captures.write_pcap([]))
    assert "  no_time    1  records without a time; the clock stands for it\n" in info("simple").stdout
    assert "  time       none\n" in info("empty").stdout
    assert "  links      none\n" in info("empty").stdout


def test_a_capture_cut_in_its_header_has_failed(folder: Path) -> None:
    """A capture of a folder whose header is not whole is no other file: it is named, with exit code 1."""
    (folder / "cut").write_bytes(captures.write_pcap([])[:10])
    result = info(".")
    assert result.exit_code == 1
    assert result.stderr.startswith("flowgauge: ./cut ")
    assert result.stderr.count("\n") == 1


def test_the_first_run_says_that_it_compiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no kernels are cached, one line tells why it takes its time."""
    monkeypatch.setattr("flowgauge.kernels._jit.is_warm", lambda: False)
    assert info("dns_lookup_1.pcap").stderr == "flowgauge: compiling kernels, once; `flowgauge warmup` does it ahead\n"


def test_a_name_that_does_not_match_is_said(folder: Path) -> None:
    """With a template that does not match, the labels say so."""
    assert "  labels     not matched by the template\n" in info("dns_lookup_1.pcap", "--label", "{app}-x").stdout
