"""A run with a filter is a run on the packets that pass."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import flowgauge as fg
from captures import enhanced, interface, section, write_pcap
from flowgauge.config import make_config
from flowgauge.errors import ConfigError, SourceError
from flowgauge.run import Hooks, Run
from packets import Sent, capture, eth, ip4, sent, tcp, udp
from tcpdump import needs_libpcap, needs_tcpdump, select

pytestmark = needs_libpcap

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples" / "captures").glob("*.pcap"))
PLACES = ["flow_id", "first_packet", "source"]
"""Columns that name places in the file."""


def _stats(content: bytes, **options: Any) -> fg.RunStats:
    return fg.extract(io.BytesIO(content), io.BytesIO(), format="csv", **options)


def _mixed(count: int = 300) -> list[Sent]:
    """TCP packets to port 443 and datagrams, in turns; each third twice, each fifth late."""
    frames = []
    for number in range(count):
        content = tcp(40000 + number % 7, 443, "A", seq=number) if number % 2 else udp(50000, 53, bytes(number))
        frame = sent(number / 100 - (0.05 if number % 5 == 0 else 0), eth(ip4(content)))
        frames += [frame] * (2 if number % 3 == 0 else 1)
    return frames


@needs_tcpdump
@pytest.mark.parametrize(
    "options",
    [{}, {"dedup": "1ms"}, {"reorder": "100ms"}, {"dedup": "1ms", "reorder": "100ms", "join": True}, {"rows": 17}],
    ids=str,
)
def test_records_are_those_of_what_tcpdump_selects(options: dict[str, Any]) -> None:
    """Whatever else is done before metering, records and counts are those of a capture made by tcpdump."""
    content = capture(_mixed())
    for expression in ("tcp port 443", "udp and less 200", "port 40003"):
        selected = write_pcap(select(content, expression), ns=True)
        found, expected = (
            Run(io.BytesIO(data), Hooks(), **options, **more)
            for data, more in ((content, {"filter": expression}), (selected, {}))
        )
        tables = [pa.Table.from_batches(run.batches()).drop_columns(PLACES) for run in (found, expected)]
        assert tables[0].num_rows > 0
        assert tables[0].to_pylist() == tables[1].to_pylist()
        assert found.stats.counters == expected.stats.counters
        left_out = found.stats.reasons.pop("filtered")
        assert expected.stats.reasons.pop("filtered") == 0 < left_out
        assert found.stats.reasons == expected.stats.reasons
        assert found.stats.packets == expected.stats.packets + left_out


def test_places_are_those_in_the_file() -> None:
    """Frame number and record offset of a record's first packet are those that the file has."""
    content = capture(_mixed())
    whole, found = fg.read(io.BytesIO(content)), fg.read(io.BytesIO(content), filter="tcp")
    kept = [row for row in whole.to_pylist() if row["protocol"] == 6]
    assert len(kept) == found.num_rows > 1
    assert [(row["flow_id"], row["first_packet"]) for row in found.to_pylist()] == [
        (row["flow_id"], row["first_packet"]) for row in kept
    ]


def test_packets_left_out_are_counted() -> None:
    """A packet that does not pass is counted as filtered, with its bytes on the wire, and in no other way."""
    frames = [sent(0, eth(ip4(tcp(1, 2)))), sent(1, eth(ip4(udp(1, 2, bytes(100)))), captured=20), sent(2, b"short")]
    stats = _stats(capture(frames), filter="tcp")
    assert stats.packets == 3
    assert {name: count for name, count in stats.reasons.items() if count} == {"metered": 1, "filtered": 2}
    assert stats.packet_bytes == sum(frame.length for frame in frames)


def test_nothing_passes() -> None:
    """A capture of which nothing passes gives no records, and is no failure."""
    stats = _stats(capture(_mixed()), filter="icmp")
    assert (stats.rows, stats.failed, stats.damaged) == (0, {}, {})
    assert stats.reasons["filtered"] == stats.packets > 300


def test_a_run_in_which_nothing_passes_can_be_stopped() -> None:
    """The stop signal and the progress are looked at also while nothing passes."""
    content = write_pcap([sent(0, eth(ip4(udp(1, 2, bytes(60000)))))] * 200)
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(0)
        return len(asked) == 2

    stats = _stats(content, filter="tcp", should_stop=should_stop, threads=1)
    assert stats.interrupted
    assert 0 < stats.reasons["filtered"] == stats.packets < 200


@pytest.mark.parametrize("reorder", [{}, {"reorder": "1ms"}])
def test_a_link_type_that_cannot_be_filtered_fails_its_capture_only(tmp_path: Path, reorder: dict[str, str]) -> None:
    """The capture is named with link type and reason; what came before and the other captures are metered."""
    good = eth(ip4(tcp(1, 443)))
    mixed = section() + interface(1) + interface(189) + enhanced(1, good) + enhanced(2, bytes(64), index=1)
    (tmp_path / "a.pcapng").write_bytes(mixed + enhanced(3, good))
    (tmp_path / "b.pcap").write_bytes(write_pcap([sent(0, good)]))
    stats = fg.extract(tmp_path, io.BytesIO(), format="csv", filter="tcp port 443", **reorder)
    (message,) = stats.failed.values()
    assert message.endswith(
        "a.pcapng: the filter 'tcp port 443' cannot be applied to USB (Linux): "
        "USB link-layer type filtering not implemented; the packets before were metered"
    )
    assert (stats.rows, stats.packets) == (2, 2)
    with pytest.raises(SourceError, match="cannot be applied to USB"):
        fg.read(tmp_path, filter="tcp port 443", **reorder)


def test_a_bad_expression_is_said_before_anything_is_read(tmp_path: Path) -> None:
    """Nothing is written for an expression that cannot be compiled, and for what is no expression."""
    output = tmp_path / "flows.csv"
    with pytest.raises(ConfigError, match="unknown port 'sesame'"):
        fg.extract(EXAMPLES[0], output, filter="port sesame")
    with pytest.raises(ConfigError, match="pcap-filter expression such as 'tcp port 443', not 443"):
        fg.read(EXAMPLES[0], filter=443)
    assert not output.exists()


def test_the_filter_is_in_the_metadata() -> None:
    """The expression is among the options that made the table; not so beside hidden addresses, which it may name."""
    metadata = fg.read(EXAMPLES[0], filter="tcp").schema.metadata
    assert json.loads(metadata[b"flowgauge_options"])["filter"] == "tcp"
    assert json.loads(fg.read(EXAMPLES[0]).schema.metadata[b"flowgauge_options"])["filter"] is None
    assert make_config(filter="host 10.0.0.1", anonymize="env").results()["filter"] == "hidden"


def test_the_command_shows_where_an_expression_is_wrong(tmp_path: Path) -> None:
    """`extract -f` marks the word, ends with the code of wrong usage and writes nothing."""
    output = tmp_path / "flows.csv"
    command = [sys.executable, "-m", "flowgauge", "extract", str(EXAMPLES[0]), "-o", str(output), "-f"]
    done = subprocess.run([*command, "tcp prot 443"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, output.exists()) == (2, "", False)
    assert done.stderr.splitlines()[1:] == ["  tcp prot 443", "      ^^^^"]
    assert done.stderr.startswith("flowgauge: the filter cannot be compiled: ")
    done = subprocess.run([*command, "tcp port 443"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not selected by the filter" in done.stdout
