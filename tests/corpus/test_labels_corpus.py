"""Labels in real captures, read exactly: those of ptcpdump and pcapML, and what other captures do not say."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowgauge as fg
from corpus_folder import CORPUS, corpus_files, needs_corpus

pytestmark = [pytest.mark.corpus, needs_corpus]

PTCPDUMP = CORPUS / "formats" / "ptcpdump" / "testdata" / "format"
PCAPML = CORPUS / "formats" / "pcapml"
OFF: dict[str, Any] = {"idle_timeout": "off", "active_timeout": "off", "no_tcp_end": True}


def rows_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fg.read(path, **OFF, **options).to_pylist()
    return found


@pytest.mark.parametrize("name", ["curl-thread", "tcp"])
def test_ptcpdump_says_the_same_of_its_captures(name: str) -> None:
    """Process, pid and packets are those that ptcpdump itself prints of the capture."""
    printed = PTCPDUMP / f"{name}.pcapng.-v.out.txt"
    said = set(re.findall(r"\n    Process \(pid (\d+), cmd (\S+),", printed.read_text()))
    packets = len(re.findall(r"^\S+ \S+ (?:In|Out) ", printed.read_text(), re.MULTILINE))
    rows = rows_of(PTCPDUMP / f"{name}.pcapng")
    assert {(str(row["pid"]), row["process"]) for row in rows} == said
    assert sum(row["packets"] for row in rows) == packets
    assert all(row["label_by"] == "ptcpdump" and row["label_conflicts"] == 0 for row in rows)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("curl-user", ("curl", "/usr/bin/curl", 99722, 1000)),
        ("dns", ("dig", "/usr/bin/dig", 380281, None)),
        ("icmp", ("ping", "/usr/bin/ping", 459141, None)),
    ],
)
def test_ptcpdump_captures(name: str, expected: tuple[Any, ...]) -> None:
    """App, process, pid and user id of all flows; replies without a comment are in the flow of their request."""
    rows = rows_of(PTCPDUMP / f"{name}.pcapng")
    assert rows
    assert {tuple(row[name] for name in ("app", "process", "pid", "uid")) for row in rows} == {expected}


def test_a_capture_of_ptcpdump_without_comments_has_no_labels() -> None:
    """The columns are there only where packets say something."""
    assert "label_by" not in fg.read(PTCPDUMP / "arp.pcapng").column_names


def _comments(content: bytes) -> Iterator[tuple[tuple[Any, ...], str]]:
    """(unordered endpoints, comment) of each IPv4 packet of a little-endian pcapng file, read by hand."""
    at, links = 0, []
    while at < len(content):
        kind, length = struct.unpack_from("<II", content, at)
        if kind == 1:
            links.append(struct.unpack_from("<H", content, at + 8)[0])
        elif kind == 6:
            index, _, _, caplen = struct.unpack_from("<IIII", content, at + 8)
            data = content[at + 28 : at + 28 + caplen]
            option = at + 28 + caplen + -caplen % 4
            code, size = struct.unpack_from("<HH", content, option)
            assert code == 1
            packet = data if links[index] == 101 else data[14:]
            ends = sorted((packet[12 + 4 * n : 16 + 4 * n], packet[20 + 2 * n : 22 + 2 * n]) for n in (0, 1))
            yield (packet[9], *ends), content[option + 4 : option + 4 + size].decode()
        at += length


@pytest.mark.parametrize("name", ["keyed", "legacy", "test"])
def test_pcapml_captures_have_the_labels_of_their_comments(name: str) -> None:
    """Each flow has the label and the sample of its packets' comments, as a reading by hand finds them."""
    path = PCAPML / f"{name}.pcapng"
    expected: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    for key, text in _comments(path.read_bytes()):
        keyed = re.match(r"s=([^,]*),proc=([^,]*)", text)
        sample, label = keyed.groups() if keyed else text.split(",")[:2]
        expected.setdefault(key, set()).add((label, sample))
    found: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    for row in rows_of(path):
        ends = sorted(
            (bytes(map(int, row[f"{end}_ip"].split("."))), row[f"{end}_port"].to_bytes(2, "big"))
            for end in ("client", "server")
        )
        found.setdefault((row["protocol"], *ends), set()).add((row["app"], row["sample"]))
        assert (row["label_by"], row["label_conflicts"]) == ("pcapml", 0)
    assert found == expected


def test_only_captures_with_labels_have_the_columns() -> None:
    """No capture of the corpus but those of ptcpdump and pcapML, and what was made to hold labels, says anything."""
    others = [*corpus_files("ndpi", "*.pcap*")[::20], *corpus_files("zeek", "*.pcap")[::5]]
    assert len(others) > 10
    for path in others:
        assert "label_by" not in fg.read(path, features="core").column_names, path


def test_rules_agree_with_tcpdump(tmp_path: Path) -> None:
    """Packets that a rule labels are those that the same filter lets through elsewhere."""
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        pytest.skip("tcpdump is not there")
    path = PCAPML / "test.pcap"
    (tmp_path / "labels.csv").write_text("BPF:tcp and greater 100,big\n")
    rows = rows_of(path, rules=tmp_path / "labels.csv")
    output = subprocess.run([tcpdump, "-nr", path, "tcp and greater 100"], capture_output=True, check=True, text=True)
    ends = {frozenset(re.findall(r"(\d+(?:\.\d+){4})", line)) for line in output.stdout.splitlines()}
    labelled = {
        frozenset(f"{row[f'{end}_ip']}.{row[f'{end}_port']}" for end in ("client", "server"))
        for row in rows
        if row["app"] == "big"
    }
    assert ends and labelled == ends
