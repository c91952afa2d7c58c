"""The summary: what it shows, what it leaves out, how it reads."""

from __future__ import annotations

import pytest

from flowgauge.cli.summary import COUNTERS, failures, notes, summary
from flowgauge.cli.text import aligned, counted, size
from flowgauge.stats import RunStats


def test_a_full_summary_reads_like_this() -> None:
    """Counts have thousands separators, blocks are aligned, zero counts are left out, labels are ranked."""
    stats = RunStats(
        files=12,
        input_bytes=4_500_000,
        packets=56_789,
        packet_bytes=45_100_000,
        flows=1200,
        rows=1234,
        seconds=0.5,
        compile_seconds=17.25,
        reasons={"metered": 56_000, "not_ip": 789, "bad_ihl": 0},
        counters={"clock_jump": 0, "rst_ignored": 2},
        ended={"fin": 800, "eof": 134, "rst": 0, "idle": 300},
        labels={"skype/call": 34, "dns/lookup": 1200},
        failed={"a": "a: gone"},
        skipped=["b", "c"],
    )
    assert summary(stats).splitlines() == [
        "files     12 read, 1 failed, 2 skipped",
        "packets   56,789",
        "bytes     45.1 MB on the wire, 4.5 MB read",
        "flows     1,200, 1,234 rows written",
        "ended by  fin 800, idle 300, eof 134",
        "time      0.50 s (113,578 packets/s, 90.2 MB/s); kernels compiled in 17.2 s, once",
        "",
        "packets by reason",
        "  metered  56,000  counted in a flow",
        "  not_ip      789  neither IPv4 nor IPv6 (ARP, LLDP, …)",
        "",
        "oddities",
        "  rst_ignored  2  connections that went on after a reset",
        "",
        "records by label (app/action)",
        "  dns/lookup  1,200",
        "  skype/call     34",
    ]


def test_an_empty_run_has_a_summary() -> None:
    """Nothing read is shown as zeros, without a division by zero and without empty blocks."""
    assert summary(RunStats()).splitlines() == [
        "files    0 read",
        "packets  0",
        "bytes    0 B on the wire, 0 B read",
        "flows    0",
        "time     0.00 s (0 packets/s, 0 B/s)",
    ]


def test_an_interruption_is_said() -> None:
    """The summary of an interrupted run says so."""
    assert "; interrupted" in summary(RunStats(interrupted=True))


def test_many_labels_are_cut() -> None:
    """At most twenty labels are listed, then how many more there are."""
    lines = summary(RunStats(labels={f"app{i}/x": i + 1 for i in range(25)})).splitlines()
    assert lines[-1] == "  and 5 more labels"
    assert sum("/x" in line for line in lines) == 20


def test_failures_name_their_file_once() -> None:
    """A reason that names its file is shown as it is, another behind the name; damage says that the rest counts."""
    stats = RunStats(failed={"a.pcap": "a.pcap: gone"}, damaged={"b.pcap": "cut off at byte 7"})
    assert failures(stats) == ["a.pcap: gone", "b.pcap: cut off at byte 7; the packets before were metered"]


def test_notes_name_five_files_at_most() -> None:
    """Skipped and unlabelled files take one line each, with five names and the number of the rest."""
    files = [f"{i}.pcap" for i in range(1000)]
    assert list(notes(RunStats(skipped=files[:2], unlabelled=files, limited=True))) == [
        "skipped 2 files without a capture: 0.pcap, 1.pcap",
        "1,000 files not matched by the label template, labels are empty: "
        "0.pcap, 1.pcap, 2.pcap, 3.pcap, 4.pcap, and 995 more",
        "max_flows was reached: records of the least recently used flows ended early (end_reason=limit)",
    ]
    assert list(notes(RunStats())) == []


def test_copies_are_a_note() -> None:
    """Many copies of packets are one line that names the option."""
    assert list(notes(RunStats(duplicates_suspected=0.4949))) == [
        "about 49% of the packets are copies of others within a millisecond; --dedup 1ms leaves them out"
    ]


@pytest.mark.parametrize("name", COUNTERS)
def test_every_oddity_has_a_meaning(name: str) -> None:
    """Each counter that RunStats documents is explained where it is shown."""
    assert RunStats.__doc__ is not None
    assert name in RunStats.__doc__
    assert COUNTERS[name] in summary(RunStats(counters={name: 1}))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1.5e9, "1.5 GB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_sizes_are_decimal(count: float, text: str) -> None:
    """Bytes are shown in decimal units with one digit behind the point."""
    assert size(count) == text


def test_rows_are_aligned() -> None:
    """Cells begin in the same column, nothing trails, and no row is an empty text."""
    assert aligned([("a", "b", ""), ("long", "c", "d")], "  ") == "  a     b\n  long  c  d"
    assert aligned([]) == ""
    assert (counted(1, "file"), counted(2000, "file")) == ("1 file", "2,000 files")


TRUTH = {
    "table": "labels.csv",
    "offset_s": 10800.0,
    "offset_found": True,
    "rows": 12,
    "rows_matched": 1,
    "records": 2000,
    "records_matched": 1500,
    "unmatched_rows": list(range(2, 12)),
}


def test_a_table_of_labels_says_what_of_it_matches() -> None:
    """Rows and records, the clock that was found, and the first rows that no record matches."""
    stats = RunStats(truth=TRUTH)
    line = "labels.csv: 1,500 of 2,000 records matched by 1 of 12 rows; its clock is 10,800 s behind (found)"
    assert f"truth    {line}" in summary(stats).splitlines()
    assert list(notes(stats)) == [
        "11 rows of labels.csv without a record: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (counted from 1)"
    ]


def test_a_table_that_matches_nothing_is_told_with_what_to_try() -> None:
    """Mostly its clock is that of another zone."""
    stats = RunStats(truth={**TRUTH, "offset_s": 0.0, "offset_found": False, "rows_matched": 0, "records_matched": 0})
    assert "truth    labels.csv: 0 of 2,000 records matched by 0 of 12 rows" in summary(stats).splitlines()
    (note,) = notes(stats)
    assert note.startswith("no record matches a row of labels.csv") and "--truth-offset auto" in note
    (note,) = notes(RunStats(truth={**TRUTH, "rows_matched": 0, "records_matched": 0}))
    assert note.startswith("no record matches a row of labels.csv, whatever its clock")
