"""Each finding about the quality of data is there for the smallest table that has the fault, and not otherwise."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from flow_tables import BEGIN, flows_of, generated
from flowgauge.config import DEFAULT_FEATURES
from flowgauge.report.flows import Flows
from flowgauge.report.quality import Finding, quality
from flowgauge.stats import RunStats

YEAR_1980 = 315_532_800 * 10**9


def found(table: pa.Table, run: RunStats | None = None) -> dict[str, Finding]:
    """The findings by name; each name occurs once."""
    findings = quality(Flows(table), run)
    assert len({finding.name for finding in findings}) == len(findings)
    return {finding.name: finding for finding in findings}


def faults(table: pa.Table, run: RunStats | None = None) -> dict[str, str]:
    """Severities of what is not fine."""
    return {name: finding.severity for name, finding in found(table, run).items() if finding.severity != "ok"}


def labelled(**counts: int) -> list[dict[str, Any]]:
    """So many sound flows of each app, one after the other, from two files."""
    apps = [app for app, count in counts.items() for _ in range(count)]
    return [{"app": app, "start": BEGIN + place, "source": f"{place % 2}.pcap"} for place, app in enumerate(apps)]


def run(**values: Any) -> RunStats:
    """A run of two files and a hundred packets that nothing is wrong with, but for these."""
    return RunStats(**{"files": 2, "packets": 100, "counters": {"lost": 0}, **values})


def test_sound_flows_have_no_fault() -> None:
    """Of a sound flow and run every check says that it is fine, and advises nothing."""
    findings = found(flows_of({}), run())
    assert len(findings) >= 14
    assert {finding.severity for finding in findings.values()} == {"ok"}
    assert {finding.advice for finding in findings.values()} == {""}


def test_sound_labels_have_no_fault() -> None:
    """Two labels with ten flows each, of two files, are fine."""
    assert not faults(flows_of(*labelled(mail=10, chat=10)), run())


@pytest.mark.parametrize(
    ("change", "name", "severity"),
    [
        ({"app": None, "action": None}, "Flows without a label", "note"),
        ({"client_by": "port"}, "Caught in the middle", "bad"),
        ({"client_by": "first"}, "Caught in the middle", "bad"),
        ({"up_packets": 10, "down_packets": 0}, "One-sided flows", "bad"),
        ({"up_packets": 0, "down_packets": 10}, "One-sided flows", "bad"),
        ({"up_packets": 10, "down_packets": 0, "protocol": 17}, "One-sided flows", "bad"),
        ({"up_gap_bytes": 1}, "Bytes that the capture lacks", "note"),
        ({"down_gap_bytes": 4400}, "Bytes that the capture lacks", "bad"),
        ({"up_retransmitted_packets": 1}, "Sent again", "warn"),
        ({"down_retransmitted_packets": 2}, "Sent again", "bad"),
        ({"clock_back": 1}, "Time that goes back", "bad"),
        ({"start": YEAR_1980, "end": YEAR_1980}, "Clock not set", "bad"),
        ({"end_reason": "limit"}, "Flows ended for lack of room", "bad"),
        ({"part": 1}, "Flows in parts", "note"),
    ],
)
def test_a_fault_of_one_flow(change: dict[str, Any], name: str, severity: str) -> None:
    """One flow with a fault has its finding, with advice, and no other."""
    table = flows_of(change)
    assert faults(table) == {name: severity}
    assert found(table)[name].advice


@pytest.mark.parametrize(
    "change",
    [
        {"client_by": "synack"},
        {"client_by": "port", "protocol": 17, "tcp_state": None},
        {"down_packets": 0, "protocol": 1, "tcp_state": None, "client_by": "icmp"},
        *(
            {"down_packets": 0, "protocol": 17, "server_ip": address, "client_by": "port"}
            for address in ("224.0.0.251", "239.255.255.250", "ff02::fb", "255.255.255.255", "192.168.1.255")
        ),
    ],
)
def test_what_is_no_fault(change: dict[str, Any]) -> None:
    """A SYN+ACK is a beginning, other protocols have none, and groups need not answer."""
    assert not faults(flows_of(change))


@pytest.mark.parametrize("address", ["223.0.0.1", "240.0.0.1", "22.4.0.1", "fe80::ff02", "192.168.255.1"])
def test_addresses_that_look_like_groups(address: str) -> None:
    """An address that only resembles that of a group has to answer."""
    assert "One-sided flows" in faults(flows_of({"down_packets": 0, "protocol": 17, "server_ip": address}))


@pytest.mark.parametrize(
    ("values", "name", "severity"),
    [
        ({"counters": {"clock_jump": 1, "lost": 0}}, "Clock jumps", "bad"),
        ({"counters": {"no_time": 1, "lost": 0}}, "Clock jumps", "bad"),
        ({"counters": {"lost": 1}}, "Packets that the system lost", "warn"),
        ({"duplicates_suspected": 0.05}, "Copies of packets", "warn"),
        ({"duplicates_suspected": 0.5}, "Copies of packets", "bad"),
        ({"reasons": {"metered": 99, "truncated_ip": 1}}, "Truncated packets", "bad"),
        ({"reasons": {"metered": 99, "truncated_transport": 1}}, "Truncated packets", "bad"),
        ({"damaged": {"a.pcap": "cut off"}}, "Damaged files", "warn"),
        ({"failed": {"a.pcap": "no", "b.pcap": "no"}}, "Damaged files", "bad"),
    ],
)
def test_a_fault_of_the_run(values: dict[str, Any], name: str, severity: str) -> None:
    """What a run counted has its finding, and no other; without the run nothing is said of it."""
    assert faults(flows_of({}), run(**values)) == {name: severity}
    assert name not in found(flows_of({}))


def test_unlabelled_files_are_named() -> None:
    """Flows without a label are counted, and files of which no flow has one are named, those of the run too."""
    rows = labelled(mail=20, chat=20)
    table = flows_of(*rows, {"app": None, "source": "bare.pcap", "start": BEGIN + 99})
    finding = found(table, run(unlabelled=["empty.pcap"]))["Flows without a label"]
    assert (finding.severity, finding.value) == ("warn", "1 flow (2.4 %)")
    assert "bare.pcap, empty.pcap" in finding.text and "0.pcap" not in finding.text


def test_half_labelled_files_are_not_named() -> None:
    """A file of which some flows have a label is not one without."""
    finding = found(flows_of({}, {"app": None, "start": BEGIN + 1}))["Flows without a label"]
    assert finding.severity == "bad" and "one.pcap" not in finding.text


@pytest.mark.parametrize(
    ("change", "repeated"),
    [
        ({}, True),
        ({"flow_id": 7}, True),
        ({"frame_bytes": 1}, False),
        ({"client_port": 9}, False),
        ({"part": 1}, False),
    ],
)
def test_a_flow_that_is_there_twice(change: dict[str, Any], repeated: bool) -> None:
    """Flows with the same ends, times and counts are the same, whatever number their run gave them."""
    findings = faults(flows_of({}, change))
    assert ("Flows that are there twice" in findings) == repeated


def test_repeated_flows_are_counted() -> None:
    """Each row beyond the first of the same flow counts, wherever it stands."""
    table = flows_of(*labelled(mail=5), *labelled(mail=3), *labelled(mail=1))
    assert found(table)["Flows that are there twice"].value.startswith("4 flows")


def test_rare_labels() -> None:
    """A label with nine flows is rare, one with ten is not."""
    finding = found(flows_of(*labelled(mail=9, chat=10)))["Rare labels"]
    assert finding.severity == "warn" and "mail" in finding.text and "chat" not in finding.text
    assert set(faults(flows_of(*labelled(mail=9, chat=10)))) == {"Rare labels"}


@pytest.mark.parametrize(("many", "unequal"), [(999, False), (1000, True)])
def test_unequal_labels(many: int, unequal: bool) -> None:
    """A label with a hundred times the flows of another drowns it."""
    assert faults(flows_of(*labelled(mail=10, chat=many))) == ({"Unequal labels": "warn"} if unequal else {})


def test_labels_of_one_file() -> None:
    """A label that is in one file only is named, as long as there is another label."""
    rows = [*labelled(mail=10, chat=10)[:10], *({**row, "source": "x.pcap"} for row in labelled(mail=10, chat=10)[10:])]
    finding = found(flows_of(*rows))["Labels of one file"]
    assert finding.severity == "note" and "chat" in finding.text and "mail" not in finding.text


def test_fingerprints_need_their_group() -> None:
    """Without group splt a finding says how to get the fingerprints."""
    table = flows_of({}, features=DEFAULT_FEATURES)
    assert faults(table) == {"No fingerprints": "note"}
    assert "--features splt" in found(table)["No fingerprints"].advice


def test_the_worst_comes_first() -> None:
    """Findings are in the order bad, warn, note, ok."""
    severities = [finding.severity for finding in quality(Flows(generated(2000, features=("core", "tcp"))), run())]
    order = ["bad", "warn", "note", "ok"]
    assert severities == sorted(severities, key=order.index) and len(set(severities)) >= 3


def test_columns_that_are_missing_are_not_judged() -> None:
    """What only group tcp tells is not said to be fine without it."""
    assert not {"Bytes that the capture lacks", "Sent again"} & found(flows_of({}, features=("core",))).keys()
